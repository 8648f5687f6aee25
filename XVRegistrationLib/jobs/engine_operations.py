"""What the engine can be asked to do. Each operation gets a request and gives back JSON values and arrays, or the rest of its work.

Lengths are in mm, angles in degrees, poses 4x4 camera -> RAS as nested lists, intrinsics as `Intrinsics.to_dict`.
"""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.pictures import side_markers
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import check_rigid, transform_points
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.volume import LabelMap
from XVRegistrationLib.jobs.compare_operations import fit_landmarks, show_attention, show_errors, xray_in
from XVRegistrationLib.jobs.engine_patient import LABEL_PIXELS, Patient
from XVRegistrationLib.jobs.handed_volume import handed_volume, voxels_in
from XVRegistrationLib.jobs.joint_operations import register_together
from XVRegistrationLib.jobs.report_operations import draw_report, draw_run, export_xray
from XVRegistrationLib.jobs.xray_operations import read_xray, show_steps
from XVRegistrationLib.networks.attention_on_xray import attends
from XVRegistrationLib.registration.card import CARD, DEFAULT_SOD
from XVRegistrationLib.registration.hypotheses import SOURCES, with_shifted
from XVRegistrationLib.registration.model import PatientModel, load_model, nominal_view, prepare_model, save_model
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.rendering.labels import LabelGrid, label_grid, project_labels
from XVRegistrationLib.rendering.render import render, sample_distance
from XVRegistrationLib.training.suitability import suitability

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from XVRegistrationLib.jobs.engine_server import Answer, Request, Rest

VOLUMES = 1
"""How many patients the engine keeps: a chest CT and what is made of it take about 1 GB. Another one is handed over anew."""


class Operations:
    """The engine's memory, and what it does by name."""

    def __init__(self) -> None:
        self._patients: collections.OrderedDict[str, Patient] = collections.OrderedDict()
        self._by_name: dict[str, Callable[[Request], Answer | Rest]] = {
            "describe_volume": self.describe_volume,
            "prepare": self.prepare,
            "load_model": self.load_model,
            "nominal": self.nominal,
            "drr": self.drr,
            "read_xray": read_xray,
            "xray_steps": show_steps,
            "register": self.register,
            "register_together": lambda request: register_together(self._model(request), request),
            "labels": self.labels,
            "project_labels": self.project_labels,
            "draw_report": self.draw_report,
            "export_xray": self.export_xray,
            "draw_run": draw_run,
            "fit_landmarks": fit_landmarks,
            "error_map": lambda request: show_errors(self._patient(request), request),
            "attention_map": lambda request: show_attention(self._patient(request), request),
        }

    def run(self, request: Request) -> Answer | Rest:
        """Do what is asked; InputError for what cannot be done."""
        operation = self._by_name.get(request.operation)
        if operation is None:
            raise InputError(f"The engine has no operation {request.operation!r}.")
        try:
            return operation(request)
        except KeyError as e:
            if e.args and e.args[0] not in request.fields and e.args[0] not in request.arrays:
                raise InputError(f"The request {request.operation!r} lacks {e}.") from e
            raise
        finally:
            if request.operation != "draw_report":  # what that keeps is for the files of the same X-ray
                for patient in self._patients.values():
                    patient.forget_projected()

    def describe_volume(self, request: Request) -> Answer:
        """Take in a volume as `handed_volume` does under the key `volume`; say what it is, and in which file its voxels are."""
        f = request.fields
        handed = handed_volume(f)
        volume, described = handed.volume, handed.description
        self._patients[f["volume"]] = Patient(volume)
        self._patients.move_to_end(f["volume"])
        while len(self._patients) > VOLUMES:
            self._patients.popitem(last=False)
        return {
            "fingerprint": volume.fingerprint,
            "kind": described.kind,
            "field_of_view_mm": [float(n * s) for n, s in zip(volume.array.shape[::-1], volume.spacing, strict=True)],
            "spacing": volume.spacing.tolist(),
            "center": volume.center.tolist(),
            "value_range": list(described.value_range),
            "units": volume.units,
            "file": handed.file,
            "window": handed.window,
            "check": described.sentence,
            "ok": described.ok,
        }, {}

    def prepare(self, request: Request) -> Answer:
        """Load the model of the folder `model`, or make one with a bank about the nominal `view` and save it there.

        The answer's `doubts` are sentences on what speaks against the volume, for the preset `anatomy`; nothing is refused.
        """
        f, patient = request.fields, self._patient(request)
        folder, camera, sod = (
            Path(f["model"]),
            Intrinsics.from_dict(f["intrinsics"]),
            float(f.get("sod") or DEFAULT_SOD),
        )
        view = nominal_view(patient.volume, f["view"], sod)
        doubts = {"doubts": list(suitability(patient.volume, view, camera, f.get("anatomy") or "").sentences)}
        if (folder / CARD).exists():
            answer, arrays = self.load_model(request)
            return answer | doubts, arrays
        pose_range = PoseRange(
            tuple(f.get("rotation") or PoseRange.rotation), tuple(f.get("translation") or PoseRange.translation)
        )
        model = prepare_model(
            patient.volume,
            camera,
            view,
            pose_range=pose_range,
            progress=lambda done, total: request.progress(done=done, total=total),
            pyramid=patient.pyramid,
        )
        model.anatomy = f.get("anatomy") or ""
        save_model(folder, model)
        patient.model, patient.model_folder = model, folder
        return self._described(model, folder) | doubts, {}

    def load_model(self, request: Request) -> Answer:
        """Take the model of the folder `model` as it is now, with a network that has been trained in the meantime."""
        patient, folder = self._patient(request), Path(request.fields["model"])
        model = load_model(folder, patient.volume, patient.pyramid)
        patient.model, patient.model_folder = model, folder
        return self._described(model, folder), {}

    def nominal(self, request: Request) -> Answer:
        """What an X-ray from the nominal `view` should look like, and which side of the patient each side of it faces."""
        f, patient = request.fields, self._patient(request)
        pose = nominal_view(patient.volume, f["view"], float(f.get("sod") or DEFAULT_SOD)).pose
        camera = Intrinsics.from_dict(f["intrinsics"]).fitted(int(f.get("pixels", 256)))
        image = _live_image(patient, pose, camera)
        markers = side_markers(pose, camera)
        return {"markers": markers, "pose": pose.tolist(), "intrinsics": camera.to_dict()}, {"image": image}

    def drr(self, request: Request) -> Answer:
        """The volume as the camera sees it from `pose`, `pixels` along its longer side, quick rather than fine."""
        f, patient = request.fields, self._patient(request)
        camera = Intrinsics.from_dict(f["intrinsics"]).fitted(int(f.get("pixels", 256)))
        image = _live_image(patient, check_rigid(f["pose"]), camera)
        return {"pose": f["pose"], "intrinsics": camera.to_dict()}, {"image": image}

    def register(self, request: Request) -> Answer:
        """The pose of the X-ray with `pixels`, of which those in `mask` count; hypotheses come from `sources` and the poses in `starts`.

        Of the starts, those named in `by_angles` are tried shifted onto the X-ray as well.
        """
        f, model, xray = request.fields, self._model(request), xray_in(request)

        def progress(level: int, levels: int, similarity: float) -> None:
            request.progress(level=level, levels=levels, similarity=similarity)

        starts = with_shifted(model, xray, f.get("starts") or {}, f.get("by_angles", ()))
        found = register_xray(model, xray, f.get("sources", SOURCES), starts, progress)
        return found.to_dict(), {}

    def labels(self, request: Request) -> Answer:
        """Keep the structures with these `values` of the label map `labels_file` (.npy, K, J, I) for `project_labels`."""
        f, patient = request.fields, self._patient(request)
        values = [int(v) for v in f["values"]]
        names = dict(zip(values, f.get("names") or map(str, values), strict=True))
        patient.labels = label_grid(LabelMap(voxels_in(f["labels_file"]), _matrix(f["ijk_to_ras"]), names), values)
        return {"values": list(patient.labels.values)}, {}

    def project_labels(self, request: Request) -> Answer:
        """Masks (n, H, W) uint8 of the structures with these `values` (all without) that fall on the detector at `pose`.

        With `pixels` the masks have so many along their longer side; their camera is in `intrinsics`.
        """
        f, patient = request.fields, self._patient(request)
        camera = Intrinsics.from_dict(f["intrinsics"])
        if f.get("pixels") is not None:
            camera = camera.fitted(int(f["pixels"]))
        masks = project_labels(
            patient.labels or LabelGrid((), ()),
            check_rigid(f["pose"]),
            camera,
            values=f.get("values"),
            pixels=LABEL_PIXELS,
            check=request.check,
        )
        width, height = camera.size
        packed = np.stack(list(masks.values())) if masks else np.zeros((0, height, width), dtype=np.bool_)
        return {"values": list(masks), "pose": f["pose"], "intrinsics": camera.to_dict()}, {
            "masks": packed.view(np.uint8)
        }

    def draw_report(self, request: Request) -> Answer:
        """The pictures of a registered X-ray for a report: `report_operations.draw_report`."""
        patient = self._patient(request)
        return draw_report(request, patient.pyramid, patient.projected)

    def export_xray(self, request: Request) -> Rest:
        """The files of a registered X-ray for other programs: `report_operations.export_xray`."""
        return export_xray(request, self._patient(request).projected)

    def _patient(self, request: Request) -> Patient:
        key = request.fields["volume"]
        if key not in self._patients:
            raise InputError("The engine no longer has this volume; select it again.")
        self._patients.move_to_end(key)
        return self._patients[key]

    def _model(self, request: Request) -> PatientModel:
        """The model of the folder `model`, loaded if it is not the one in use."""
        patient = self._patient(request)
        if patient.model is None or patient.model_folder != Path(request.fields["model"]):
            self.load_model(request)
        assert patient.model is not None
        return patient.model

    def _described(self, model: PatientModel, folder: Path) -> dict[str, Any]:
        return {
            "model": str(folder),
            "fingerprint": model.volume.fingerprint,
            "bank_size": len(model.bank.poses),
            "network": model.network is not None,
            "attention": attends(model.network),
            "training": model.training,
            "view": dataclasses.asdict(model.view),
            "pose_range": dataclasses.asdict(model.pose_range),
            "intrinsics": model.intrinsics.to_dict(),
        }


def _live_image(patient: Patient, pose: NDArray[np.float64], camera: Intrinsics) -> NDArray[np.float32]:
    """Line integrals (h, w) float32, quick rather than fine: voxels of two pixels, and steps of three, at the patient.

    Measured on a chest CT at 256 px: 0.3 % away from the image at full resolution, in a seventh of its time.
    """
    depth = float(transform_points(np.linalg.inv(pose), patient.volume.center)[2])
    footprint = camera.footprint(depth)
    grid = patient.pyramid.matched_to(2 * footprint)
    image: NDArray[np.float32] = render(grid, pose[None], camera, sample_distance(grid, 3 * footprint))[0].numpy()
    return image


def _matrix(rows: Any) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64)
