"""The frustum of a run whose frames have different geometries: played with them, so that 3D shows the one of the frame in view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.frustum import update_frustum
from XVRegistrationLib.scene.hierarchy import add_to_folder, folder_of, remove_nodes
from XVRegistrationLib.scene.runs import item_of, new_sequence, play, run_of
from XVRegistrationLib.scene.xrays import PART, color_of, nodes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.geometry.camera import Intrinsics


def play_frusta(node: Any, intrinsics: Sequence[Intrinsics]) -> None:
    """Draw the frustum of a run that has a pose by the geometry of each frame, in their order.

    Where all are alike one frustum serves them, and there is no sequence of frusta.
    """
    run, nodes = run_of(node), nodes_of(node)
    assert run is not None
    assert nodes is not None
    scene, items = node.GetScene(), node.GetNodeReference(PREFIX + "Frusta")
    if all(one == intrinsics[0] for one in intrinsics):
        remove_nodes(scene, [items])
        update_frustum(nodes.frustum, intrinsics[0], color_of(node))
        return
    if items is None:
        items = new_sequence(scene, node, "Frusta", f"Frusta ({nodes.name})")
        add_to_folder(scene, [items], folder_of(scene, node))
    for number, one in enumerate(intrinsics):
        item = slicer.vtkMRMLModelNode()
        item.SetName("C-arm frustum")
        item.SetAttribute(PART, "Frustum")
        update_frustum(item, one, color_of(node))
        items.SetDataNodeAtValue(item, str(number))
    update_frustum(nodes.frustum, intrinsics[item_of(node)], color_of(node))
    if run.browser.GetProxyNode(items) is not nodes.frustum:
        play(run.browser, items, nodes.frustum, keep_changes=False)
