"""The X-ray's own view as it is drawn: upright, with its own overlays only, and the module's layout."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util
from vtk import vtkVector3d

from Testing.Python.mrml.phantom import GEOMETRIES, make_xray, pose_near
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.scene.layout import LAYOUT_ID, LAYOUTS, PLOT_VIEW, XRAY_VIEW, add_layouts
from XVRegistrationLib.scene.overlays import add_targets, set_drr, set_reprojected_labels
from XVRegistrationLib.scene.standalone.views import SliceView
from XVRegistrationLib.scene.volumes import add_segmentation
from XVRegistrationLib.scene.xray_view import clear_view, keep_upright, show_in_view
from XVRegistrationLib.scene.xrays import add_pending_xray, add_xray, set_pose

SIZE = (360, 300)
LABEL = (0.0, 1.0, 0.0)


@pytest.fixture
def view(scene):
    view = SliceView(XRAY_VIEW, SIZE)
    yield view
    view.close()


def draw(view, nodes, blend=0.0, **switches):
    """The view as (H, W, 3) floats after showing an X-ray in it."""
    show_in_view(view.node, view.logic.GetSliceCompositeNode(), nodes, blend, **switches)
    return seen(view)


def seen(view):
    view.connect_image()
    return view.image().astype(float)


def green(image):
    return (image[..., 1] - image[..., 0] > 20) & (image[..., 1] - image[..., 2] > 20)


def place_of(mask):
    rows, columns = np.nonzero(mask)
    return columns.mean(), rows.mean()


def on_screen(intrinsics, pixel):
    """Pixel (column, row) of a view of SIZE, which the image fills, that shows a stored pixel (column, row)."""
    (dx, dy), (width, height) = intrinsics.spacing, intrinsics.size
    mm_per_pixel = max(width * dx / SIZE[0], height * dy / SIZE[1])
    column = SIZE[0] / 2 + (pixel[0] + 0.5 - width / 2) * dx / mm_per_pixel
    row = SIZE[1] / 2 + (pixel[1] + 0.5 - height / 2) * dy / mm_per_pixel
    return column - 0.5, row - 0.5


def mask_with(intrinsics, rows, columns):
    mask = np.zeros(intrinsics.size[::-1], bool)
    mask[rows, columns] = True
    return mask


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("pose", ["AP", "PA", "RLAT"])
def test_image_labels_targets_and_drr_are_drawn_where_they_belong(scene, ct, view, geometry, pose):
    intrinsics, matrix = GEOMETRIES[geometry], pose_near(pose, ct.center)
    nodes = add_xray(scene, make_xray("x", intrinsics), matrix)
    mask = mask_with(intrinsics, slice(40, 60), slice(70, 100))
    set_reprojected_labels(scene, nodes, [("spine", LABEL, mask)])
    image = draw(view, nodes, outlines=False)
    half = np.array(on_screen(intrinsics, (84.5, 49.5)))
    assert place_of(green(image)) == pytest.approx(half, abs=1.0)
    corner = np.array(on_screen(intrinsics, (8, 8))).astype(int)
    assert image[corner[1], corner[0]].min() > 250

    plain = draw(view, nodes, labels=False, outlines=False)
    assert not green(plain).any()
    _, marks = add_targets(scene, nodes, [""], ct.center)
    # Its name would be drawn in the same colour, beside it.
    marks.GetDisplayNode().SetPointLabelsVisibility(False)
    marks.GetDisplayNode().SetSelectedColor(*LABEL)
    marks.GetDisplayNode().SetColor(*LABEL)
    expected = on_screen(intrinsics, project(ct.center, matrix, intrinsics))
    assert place_of(green(seen(view))) == pytest.approx(expected, abs=2.5)
    assert not green(draw(view, nodes, labels=False, outlines=False, targets=False)).any()

    drr = np.zeros((intrinsics.size[1] // 2, intrinsics.size[0] // 2), np.float32)
    drr[-len(drr) // 4 :, -drr.shape[1] // 4 :] = 5.0
    if abs(drr.shape[1] * intrinsics.size[1] - drr.shape[0] * intrinsics.size[0]) > max(intrinsics.size):
        pytest.fail("the test's own image does not fit")
    set_drr(scene, nodes, drr)
    blended = draw(view, nodes, 1.0, labels=False, targets=False)
    far = np.array(on_screen(intrinsics, (0.9 * intrinsics.size[0], 0.9 * intrinsics.size[1]))).astype(int)
    assert blended[far[1], far[0]].min() > 250, "the DRR's dense corner is bright, bottom right"
    assert blended[corner[1], corner[0]].max() < 5
    mixed = draw(view, nodes, 0.5, labels=False, targets=False)
    assert mixed[corner[1], corner[0]].mean() == pytest.approx(127, abs=5)


def test_overlays_show_in_this_view_only_and_those_of_another_xray_not_at_all(scene, ct, view):
    intrinsics = GEOMETRIES["centred"]
    first, second = (add_xray(scene, make_xray(n, intrinsics), pose_near("AP", ct.center)) for n in ("a", "b"))
    mask = mask_with(intrinsics, slice(40, 60), slice(70, 100))
    for nodes in (first, second):
        labels = set_reprojected_labels(scene, nodes, [("spine", LABEL, mask)])
        assert labels.GetDisplayNode().GetViewNodeIDs() == ()
    mine, other = (n.xray.GetNodeReference("XVRegistration.Labels").GetDisplayNode() for n in (first, second))
    assert green(draw(view, first)).any()
    assert mine.GetViewNodeIDs() == other.GetViewNodeIDs() == (view.node.GetID(),)
    assert (mine.GetVisibility(), other.GetVisibility()) == (True, False)
    _, late = add_targets(scene, second, ["late"], ct.center)
    assert late.GetDisplayNode().GetViewNodeIDs() == (view.node.GetID(),)
    assert not late.GetDisplayNode().GetVisibility()
    draw(view, second)
    assert (mine.GetVisibility(), other.GetVisibility(), late.GetDisplayNode().GetVisibility()) == (False, True, True)
    clear_view(view.node, view.logic.GetSliceCompositeNode())
    assert not green(view.image().astype(float)).any()


def test_what_is_not_ours_stays_as_the_user_has_it(scene, ct, view, label_map):
    targets = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    targets.CreateDefaultDisplayNodes()
    targets.AddControlPoint(vtkVector3d(*ct.center), "t")
    nodes = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center))
    add_targets(scene, nodes, ["t"], ct.center, targets_node=targets)
    draw(view, nodes, targets=False)
    assert targets.GetDisplayNode().GetViewNodeIDs() == ()
    assert targets.GetDisplayNode().GetVisibility()
    assert nodes.frustum.GetDisplayNode().GetVisibility3D()


def test_a_view_without_an_xray_shows_nothing_of_the_patient(scene, ct, view, label_map):
    for orientation in (view.node.SetOrientationToCoronal, view.node.SetOrientationToSagittal):
        orientation()
        for i, x in enumerate(ct.center):
            view.node.GetSliceToRAS().SetElement(i, 3, x)
        view.node.UpdateMatrices()
        segmentation = add_segmentation(scene, label_map)
        assert np.ptp(seen(view), axis=(0, 1)).max() > 20, "the plane cuts its structures"
        clear_view(view.node, view.logic.GetSliceCompositeNode())
        assert np.ptp(seen(view), axis=(0, 1)).max() == 0
        assert segmentation.GetDisplayNode().GetViewNodeIDs() == ()  # the user's own views show it as before
        scene.RemoveNode(segmentation)


def test_a_pending_xray_is_shown_upright_too(scene, view):
    xray = make_xray("x", GEOMETRIES["centred"])
    node = add_pending_xray(scene, "x", xray.pixels, {"spacing": (0.4, 0.4)}, {}, ["sdd"], "attenuation")
    image = draw(view, node)
    assert image[20:60, 20:60].min() > 250
    assert image[-60:-20, -60:-20].max() < 50


def test_the_view_follows_the_pose_and_keeps_pan_and_zoom_until_its_size_changes(scene, ct, view):
    intrinsics = GEOMETRIES["mirrored"]
    nodes = add_xray(scene, make_xray("x", intrinsics), pose_near("AP", ct.center))
    set_reprojected_labels(scene, nodes, [("s", LABEL, mask_with(intrinsics, slice(40, 60), slice(70, 100)))])
    fitted = draw(view, nodes)
    field = np.array(view.node.GetFieldOfView())
    view.node.SetFieldOfView(*(field * [0.5, 0.5, 1]))
    to_ras = view.node.GetSliceToRAS()
    for i in range(3):
        to_ras.SetElement(i, 3, to_ras.GetElement(i, 3) + 20 * to_ras.GetElement(i, 0) - 15 * to_ras.GetElement(i, 1))
    view.node.UpdateMatrices()
    zoomed = view.image().astype(float)
    assert np.abs(zoomed - fitted).mean() > 2
    rng = np.random.default_rng(2)
    for shift in rng.uniform(-30, 30, (5, 3)):
        set_pose(nodes, pose_near("RLAT", ct.center + shift))
        keep_upright(view.node, nodes)
    assert np.abs(view.image().astype(float) - zoomed).mean() < 0.5
    view.node.SetDimensions(300, 300, 1)
    keep_upright(view.node, nodes)
    assert max(view.node.GetFieldOfView()[:2]) >= 363 - 1e-6


def test_nodes_that_are_gone_are_not_shown_and_nothing_raises(scene, ct, view):
    nodes = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center))
    composite = view.logic.GetSliceCompositeNode()
    show_in_view(view.node, composite, nodes, 0.5)
    scene.RemoveNode(nodes.xray)
    keep_upright(view.node, nodes)
    show_in_view(view.node, composite, nodes, 0.5)
    clear_view(view.node, composite)
    assert composite.GetBackgroundVolumeID() is None


def test_the_layout_makes_its_views_once_and_can_be_added_again(scene):
    # The scene of another test may have left it; the layout's values are defaults, for a new node.
    scene.RemoveNode(scene.GetSingletonNode(XRAY_VIEW, "vtkMRMLSliceNode"))
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    node = logic.GetLayoutNode()
    for _ in range(2):
        add_layouts(node)
        node.SetViewArrangement(LAYOUT_ID)
    assert node.GetLayoutDescription(LAYOUT_ID) == LAYOUTS[LAYOUT_ID]
    xray = scene.GetSingletonNode(XRAY_VIEW, "vtkMRMLSliceNode")
    assert xray.GetID() == "vtkMRMLSliceNodeXVXray"
    assert (xray.GetLayoutLabel(), xray.GetViewGroup()) == ("X", 47)
    assert scene.GetSingletonNode("Red", "vtkMRMLSliceNode").GetViewGroup() != 47
    assert scene.GetSingletonNode("1", "vtkMRMLViewNode") is not None
    assert scene.GetSingletonNode(PLOT_VIEW, "vtkMRMLPlotViewNode") is not None
    logic.SetMRMLScene(None)
