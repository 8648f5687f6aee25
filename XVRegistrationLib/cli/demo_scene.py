"""The demo's Slicer scene: CT, segmentation, and every X-ray at its pose with what is drawn on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.cli.progress import console

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.drawing import Structures
    from XVRegistrationLib.imaging.volume import LabelMap, Volume
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.result import Registration


def write_scene(
    output: Path,
    volume: Volume,
    labels: LabelMap,
    registered: Sequence[tuple[Xray, Registration]],
    structures: Structures,
    targets: Sequence[tuple[str, NDArray[np.float64]]],
    surfaces: Sequence[str],
) -> str:
    """Write `scene.mrb` and, where the machine can draw, `scene.png`; the picture's name, or empty.

    `structures` are outlined on the X-rays, those named in `surfaces` are shown in 3D.
    """
    from XVRegistrationLib.scene.bundle import save_mrb
    from XVRegistrationLib.scene.overlays import add_targets, set_reprojected_labels
    from XVRegistrationLib.scene.results import write_registration
    from XVRegistrationLib.scene.standalone.app import start
    from XVRegistrationLib.scene.standalone.graphics import missing_graphics
    from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
    from XVRegistrationLib.scene.xrays import add_xray

    scene = start().scene
    ct = add_volume(scene, volume)
    segmentation = add_segmentation(scene, labels, ct)
    names, points = [name for name, _ in targets], np.array([point for _, point in targets])
    targets_node = None
    nodes = []
    for image, result in registered:
        xray = add_xray(scene, image, result.pose, volume_node=ct)
        write_registration(xray.xray, result.to_dict())
        # Masks of dozens of structures are large: those of one X-ray at a time.
        outlines = structures.outlines(result.pose, image.intrinsics)
        set_reprojected_labels(scene, xray, outlines, source_node=segmentation)
        targets_node, _ = add_targets(scene, xray, names, points, targets_node=targets_node)
        nodes.append(xray)
    missing = missing_graphics()
    picture = ""
    if missing:
        console.print(f"No picture of the 3D scene: {missing}")
    else:
        from XVRegistrationLib.scene.standalone.pictures import picture_3d

        picture_3d(
            scene,
            output / "scene.png",
            xray_nodes=nodes,
            segmentation_node=segmentation,
            segments=surfaces,
            ct_node=ct,
        )
        picture = "scene.png"
    save_mrb(scene, output / "scene.mrb", output / picture if picture else None)
    return picture
