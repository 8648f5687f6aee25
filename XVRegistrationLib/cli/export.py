"""`xvregistration export`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.cli.progress import console
from XVRegistrationLib.cli.register import structures_of
from XVRegistrationLib.cli.xray_options import one_frame, subtraction_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import read_text
from XVRegistrationLib.imaging.dicom.dataset import is_dicom
from XVRegistrationLib.imaging.segmentation_files import read_segmentation
from XVRegistrationLib.imaging.volume import read_label_names, read_volume
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.imaging.xray import BRIGHT, Xray
from XVRegistrationLib.imaging.xray_files import read_xray_parts
from XVRegistrationLib.imaging.xray_labels import ProjectedLabel
from XVRegistrationLib.registration.export import Exported, write_exports, write_readme
from XVRegistrationLib.registration.result import Registration
from XVRegistrationLib.registration.target_files import read_targets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.drawing import Structures


def run(options: argparse.Namespace) -> int:
    """Write what other programs read of registrations into a folder. All input is checked before anything is written."""
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; give a folder for the files.")
    found = [_registration(path) for path in options.results]
    targets = [] if options.targets is None else read_targets(options.targets)
    files = options.xrays or []
    if len(files) == 1 and all(frame_of(result.name, files[0]) is not None for result in found):
        files = files * len(found)  # all of one run
    if files and len(files) != len(found):
        raise InputError(f"Give one X-ray for each result: got {len(files)} for {len(found)}.")
    if options.volume is not None and not files:
        raise InputError("The scene shows the X-rays: give them with --xrays.")
    if options.keep_identity and not files:
        raise InputError("--keep-identity is about what the X-rays' headers say: give them with --xrays.")
    if subtraction_of(options) is not False and not files:
        option = "--subtract" if options.subtract else "--mask-frames"
        raise InputError(f"{option} is about what the X-rays show: give them with --xrays.")
    frame = one_frame(options)
    structures = structures_of(options)
    items = [
        exported(registration, files[i] if files else None, frame, options, structures)
        for i, registration in enumerate(found)
    ]
    inputs = [*options.results, *files, *(p for p in (options.labels, options.targets, options.label_names) if p)]
    keep_inputs(inputs, output, [item.registration.name for item in items])
    # The scene shows the values as they are; what was made of them in the registration is in the model.
    volume = None if options.volume is None else read_volume(options.volume, Reading(believed=True))
    written = write_exports(output, items, targets, keep_identity=options.keep_identity)
    if volume is not None:
        written.append(_write_scene(output, options, volume, items, targets))
        write_readme(output, written)
    console.print(f"{len(written)} files are in {output}; README.txt says what each holds.", markup=False)
    if any(item.dicom is not None and item.labels for item in items):
        kept = (
            "keep what the X-rays' headers say of the patient" if options.keep_identity else "do not name the patient"
        )
        console.print(f"The DICOM segmentations {kept}; they refer to the X-rays by their UIDs.", markup=False)
    return 0


def exported(
    found: Registration,
    file: str | None,
    frame: int | str | None,
    options: argparse.Namespace,
    structures: Structures | None,
) -> Exported:
    xray, dicom = None, None
    if file is not None:
        camera = found.intrinsics
        frame = frame_of(found.name, file) if frame is None else frame
        scale = None if options.bright is None else BRIGHT[options.bright]
        parts = read_xray_parts(
            file,
            sid=camera.sdd,
            spacing=camera.spacing,
            mirrored=camera.mirrored,
            scale=scale,
            frame=frame,
            subtract=subtraction_of(options),
        )
        if parts.size != camera.size:
            raise InputError(
                f"{file} has {parts.size[0]} x {parts.size[1]} pixels; the result is for {camera.size[0]} x {camera.size[1]}."
            )
        xray = Xray(found.name, parts.pixels, camera, parts.scale, mask=parts.mask)
        dicom = Path(file) if is_dicom(Path(file)) else None
    outlines = [] if structures is None else structures.outlines(found.pose, found.intrinsics)
    number = frame if isinstance(frame, int) else None
    return Exported(found, xray, tuple(ProjectedLabel(*outline) for outline in outlines), dicom, number)


def frame_of(name: str, file: str) -> int | str | None:
    """The frame of a run by what the result of its registration is called: RUN-0003, RUN-min and RUN.dcm-0003 are of RUN.dcm.

    A single image that is itself called so, IMG-0003.dcm, has no such frame.
    """
    before, _, after = name.rpartition("-")
    path = Path(file)
    if not before or before not in (path.stem, path.name, path.name.removesuffix(".nii.gz")):
        return None
    return int(after) if re.fullmatch(r"[0-9]{4,9}", after) else after if after in ("min", "max", "mean") else None


def _write_scene(
    output: Path,
    options: argparse.Namespace,
    volume: Any,
    items: Sequence[Exported],
    targets: Sequence[tuple[str, NDArray[np.float64]]],
) -> Path:
    """Save volume, structures, targets, and the X-rays that are there, as a Slicer scene."""
    from XVRegistrationLib.scene.bundle import save_mrb
    from XVRegistrationLib.scene.overlays import add_targets, set_reprojected_labels
    from XVRegistrationLib.scene.results import write_registration
    from XVRegistrationLib.scene.standalone.app import start
    from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
    from XVRegistrationLib.scene.xrays import add_xray

    scene = start().scene
    ct = add_volume(scene, volume)
    segmentation = None
    if options.labels is not None:
        names = None if options.label_names is None else read_label_names(options.label_names)
        segmentation = add_segmentation(scene, read_segmentation(options.labels, names), ct)
    targets_node = None
    for item in items:
        assert item.xray is not None  # as `run` has checked
        nodes = add_xray(scene, item.xray, item.registration.pose, volume_node=ct)
        write_registration(nodes.xray, item.registration.to_dict())
        drawn = [(label.name, label.color, label.mask) for label in item.labels]
        if drawn:
            set_reprojected_labels(scene, nodes, drawn, source_node=segmentation)
        if targets:
            points = np.array([point for _, point in targets])
            targets_node, _ = add_targets(
                scene, nodes, [name for name, _ in targets], points, targets_node=targets_node
            )
    return save_mrb(scene, output / "scene.mrb")


def _registration(path: str) -> Registration:
    return registration_in(path, json_in(path))


def json_in(path: str) -> Any:
    """The content of a JSON file; InputError for a file that is none."""
    text = read_text(path, "a result", instead="give the file of a result (NAME.json)")
    try:
        return json.loads(text)
    except ValueError as e:
        raise InputError(f"{path} is not the result of a registration (NAME.json of `xvregistration register`).") from e


def registration_in(path: str, content: Any) -> Registration:
    """The registration in what the file `path` holds; InputError where there is none."""
    try:
        if isinstance(content, dict) and "pose" in content and content["pose"] is None:
            raise InputError(f"the X-ray has no pose: {content.get('reason')}")
        return Registration.from_dict(content)
    except InputError as e:
        raise e if str(e).startswith(path) else InputError(f"{path}: {e}") from e
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
        raise InputError(f"{path} is not the result of a registration (NAME.json of `xvregistration register`).") from e


def keep_inputs(inputs: Sequence[str], output: Path, names: Sequence[str]) -> None:
    """Raise InputError where a file that is read would be replaced."""
    for path in map(Path, inputs):
        if path.resolve().parent != output.resolve():
            continue
        stem_taken = any(path.name.startswith(f"{name}_") for name in names)
        if stem_taken or path.name in ("registrations.json", "registrations.csv", "README.txt"):
            raise InputError(f"{path} could be overwritten; choose another -o.")
