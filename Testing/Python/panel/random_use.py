"""Random use of a session: legal and illegal calls in any order, what a user does to the scene meanwhile, and what is held then.

A walk is a seed: `Walk(...).run(...)` does the same again, as far as the engine's answers come at the same steps.
"""

from __future__ import annotations

import gc
import inspect
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import slicer
import slicer.util
import vtk

from Testing.Python.panel.patients import CAMERA, bones, mr, patient, pose_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.detector_motion import AXES
from XVRegistrationLib.panel.comparing import WAYS
from XVRegistrationLib.panel.joint_relations import RELATIONS
from XVRegistrationLib.scene.pairs import keep_calibrated_pose, pair
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
from XVRegistrationLib.scene.xrays import nodes_of, set_pose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from XVRegistrationLib.panel.session import Session

TIMEOUT = 60.0
_NUMBERS = (0.0, 1.0, -3.0, 25.0, 700.0, 1e9, -1e9, 1e-12, float("nan"), float("inf"))
_BOXES = (
    "biplane",
    "estimateGeometry",
    "liveDrr",
    "showLabels",
    "showOutlines",
    "showTargets",
    "useBank",
    "useCurrent",
    "useHeader",
    "useNetwork",
    "usePreset",
)
_TOLD = (
    "patient_view",
    "model_view",
    "rows",
    "landmarks",
    "adjust_view",
    "comparisons",
    "relations",
    "run_view",
    "library",
)


class Walk:
    """One user with one session, who knows no rules."""

    def __init__(self, session: Session, seed: int, files: list[Path], folder: Path) -> None:
        """`files` can be read as X-rays, `folder` is where files are written."""
        self.session = session
        self.random = np.random.default_rng(seed)
        self.seed = seed
        self.files = files
        self.folder = folder
        self.log: list[str] = []
        self._known: list[Any] = []
        """Every image node there has been since the scene was closed, also those that were removed."""
        self._actions: list[Callable[[], Any]] = [
            method for name, method in inspect.getmembers(self, inspect.ismethod) if name.startswith("do_")
        ]

    def begin(self) -> None:
        """Choose a CT and X-rays, as most users begin."""
        s = self.session
        s.parameters.volume = add_volume(s.scene, patient())
        s.add_files(self.files)
        s.wait(TIMEOUT)
        for number, row in enumerate(s.rows()[:2]):
            s.complete_geometry(row.node, sdd=CAMERA.sdd)
            set_pose(nodes_of(row.node), pose_of(number))
        self.log.append("begin")

    def step(self) -> None:
        """One action, and a look at everything; AssertionError with the steps so far for any exception but InputError."""
        action = self._actions[self.random.integers(len(self._actions))]
        self.log.append(action.__name__.removeprefix("do_"))
        try:
            try:
                action()
            except InputError as e:
                self.log[-1] += f" -> {e}"
            for _ in range(int(self.random.integers(1, 4))):
                self.session.tick()
            self._known += [row.node for row in self.session.rows() if row.node not in self._known]
            self._look()
        except Exception as e:
            steps = "\n".join(f"{i}: {line}" for i, line in enumerate(self.log[-40:], max(0, len(self.log) - 40)))
            said = "\n".join(self.session.log[-10:])
            raise AssertionError(f"seed {self.seed}, step {len(self.log)}: {e!r}\n{steps}\nsaid:\n{said}") from e

    def end(self) -> None:
        """Close the scene; nothing that was there is known any more."""
        self.log.append("close the scene")
        self.session.scene.Clear(0)
        self._known.clear()
        self.session.set_parameters(type(self.session.parameters)())
        self.session.tick()

    def _look(self) -> None:
        s = self.session
        for name in _TOLD:
            getattr(s, name)()
        node = self._xray()
        for name, can in inspect.getmembers(s, inspect.ismethod):
            if name.startswith("can_"):
                needs = [p for p in inspect.signature(can).parameters.values() if p.default is p.empty]
                text = can(node) if needs else can()
                assert isinstance(text, str), name

    # What can be chosen from

    def _one_of(self, things: Any) -> Any:
        things = list(things)
        return things[self.random.integers(len(things))] if things else None

    def _number(self) -> float:
        return float(self._one_of((*_NUMBERS, *self.random.normal(0, 20, 6))))

    def _xray(self) -> Any:
        """Mostly an X-ray of the table; at times one that is gone, or the CT."""
        rows = [row.node for row in self.session.rows()]
        if rows and self.random.random() < 0.8:
            return self._one_of(rows)
        return self._one_of(
            [*self._known, *([] if self.session.parameters.volume is None else [self.session.parameters.volume])]
        )

    def _some(self, node: Any) -> str:
        name = "nothing" if node is None else str(node.GetName())
        self.log[-1] += f" {name!r}{'' if node is None or node.GetScene() else ' (gone)'}"
        return name

    def _on_xray(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        node = self._xray()
        if node is not None:
            self._some(node)
            self.log[-1] += f" {args} {kwargs}" if args or kwargs else ""
            call(node, *args, **kwargs)

    # X-rays

    def do_add_files(self) -> None:
        if len(self.session.rows()) < 5:
            self.session.add_files([self._one_of([*self.files, self.folder / "missing.dcm", self.folder])])

    def do_add_nodes(self) -> None:
        candidates = [*self.session.candidates(), *self._known]
        if candidates and len(self.session.rows()) < 5:
            self.session.add_nodes([self._one_of(candidates)])

    def do_remove(self) -> None:
        if len(self.session.rows()) > 1:
            self._on_xray(self.session.remove)

    def do_check(self) -> None:
        self._on_xray(self.session.set_checked, bool(self.random.random() < 0.7))

    def do_complete(self) -> None:
        what: dict[str, Any] = {
            "sdd": self._one_of((CAMERA.sdd, 900.0, self._number())),
            "spacing": (5.0, self._one_of((5.0, 4.0, self._number()))),
            "mirrored": bool(self.random.random() < 0.5),
            "dense_is_bright": bool(self.random.random() < 0.5),
        }
        name = self._one_of(what)
        self._on_xray(self.session.complete_geometry, **{name: what[name]})

    def do_c_arm(self) -> None:
        self._on_xray(self.session.complete_by_c_arm, self._one_of([*(n for n, _t in self.session.c_arms()), "none"]))

    def do_calibration(self) -> None:
        node = self._xray()
        if self.random.random() < 0.5:
            self._on_xray(self.session.complete_by_calibration, self.files[0])
        elif node is not None and node.GetScene() is not None:
            keep_calibrated_pose(node, pose_of(int(self.random.integers(2))))

    def do_frame(self) -> None:
        self._on_xray(self.session.show_frame, int(self.random.integers(-1, 5)))

    def do_read_again(self) -> None:
        frame = self._one_of((None, 0, 2, 9, "min", "mean", "run"))
        subtract = self._one_of((None, None, True, False, (0,), (7,)))
        self._on_xray(self.session.read_again, frame=frame, subtract=subtract)

    def do_ignore(self) -> None:
        rectangles = [[self._number() for _ in range(4)] for _ in range(int(self.random.integers(0, 3)))]
        self._on_xray(self.session.ignore, self._one_of((rectangles, [[5, 5, 20, 10]])))

    def do_ignore_another(self) -> None:
        self._on_xray(self.session.ignore_another)

    def do_steps(self) -> None:
        self._on_xray(self.session.show_steps)

    # Registering

    def do_register(self) -> None:
        if self.random.random() < 0.5:
            self.session.register()
        else:
            self._on_xray(lambda node: self.session.register([node]))

    def do_register_run(self) -> None:
        if self.random.random() < 0.3:
            self._on_xray(self.session.register_run)

    def do_register_together(self) -> None:
        self.session.parameters.relation = str(self._one_of(("", *RELATIONS, "nonsense")))
        self.session.register_together()

    def do_refine(self) -> None:
        self.session.refine_from_here()

    def do_cancel(self) -> None:
        self.session.cancel_registration()

    def do_review(self) -> None:
        decision = self._one_of(("accepted", "rejected", "open", None, "nonsense"))
        self._on_xray(self.session.review, decision, self._one_of((None, "", "a note\nof two lines & <more>")))

    def do_report(self) -> None:
        if self.random.random() < 0.2:
            self.session.report(self.folder / self._one_of(("report.html", "missing/report.html")))

    def do_export(self) -> None:
        if self.random.random() < 0.1:
            self.session.export(self.folder / "export", bundle=False)

    # Looking and correcting

    def do_show(self) -> None:
        self._on_xray(self.session.show)

    def do_show_beside(self) -> None:
        self._on_xray(self.session.show_beside)

    def do_pair(self) -> None:
        rows = [row.node for row in self.session.rows()]
        if len(rows) > 1:
            pair(rows[0], rows[-1])

    def do_next_frame(self) -> None:
        self.session.show_next_frame()

    def do_compare(self) -> None:
        self.session.compare(str(self._one_of((*WAYS, "nonsense"))))

    def do_window(self) -> None:
        part = str(self._one_of(("xray", "drr", "nonsense")))
        if self.random.random() < 0.5:
            self.session.set_window(part, self._number(), self._number())
        else:
            self.session.usual_window(part)

    def do_nudge(self) -> None:
        axis, amount = self._one_of((*AXES, "nonsense")), self._number()
        self.log[-1] += f" {axis} {amount}"
        self.session.nudge(axis, amount)

    def do_motion(self) -> None:
        motion = [self._number() for _ in range(int(self._one_of((6, 6, 6, 5))))]
        self.log[-1] += f" {motion}"
        self.session.set_motion(motion)

    def do_undo(self) -> None:
        self.session.undo_pose()

    def do_redo(self) -> None:
        self.session.redo_pose()

    def do_reset(self) -> None:
        self.session.reset_pose()

    def do_copy_and_paste(self) -> None:
        node = self._xray()
        text = self.session.copy_pose(node) if self.random.random() < 0.5 else "1 0 0 0 0 1 0 0 0 0 1 nan 0 0 0 1"
        self.session.paste_pose(text)

    def do_landmark(self) -> None:
        name = str(self._one_of(("", "1", "2", "3", "4")))
        if self.random.random() < 0.5:
            self.session.mark_in_ct(name, tuple(self.random.normal(0, 40, 3)))
        else:
            self.session.mark_in_xray(name, tuple(self.random.uniform(0, 70, 2)))

    def do_remove_landmark(self) -> None:
        self.session.remove_landmark(str(self._one_of(("1", "2", "nonsense"))))

    def do_fit(self) -> None:
        self.session.fit_landmarks()

    # Parameters

    def do_box(self) -> None:
        name = self._one_of(_BOXES)
        setattr(self.session.parameters, name, not getattr(self.session.parameters, name))

    def do_blend(self) -> None:
        self.session.parameters.blend = float(self.random.random())

    def do_node_parameter(self) -> None:
        p, scene = self.session.parameters, self.session.scene
        name = self._one_of(("xray", "secondXray", "targets", "segmentation"))
        self.log[-1] += f" {name}"
        if name in ("xray", "secondXray"):
            node = self._xray()
            setattr(p, name, node if node is not None and node.GetScene() is scene else None)
        elif name == "targets":
            node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
            for point in self.random.normal(0, 40, (2, 3)):
                node.AddControlPoint(*point)
            p.targets = self._one_of((node, None))
        else:
            p.segmentation = self._one_of((None, add_segmentation(scene, bones(3))))

    def do_volume(self) -> None:
        if self.random.random() < 0.15:
            p, scene = self.session.parameters, self.session.scene
            volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)
            other = self._one_of((patient(flipped=True), mr()))
            p.volume = self._one_of((None, *volumes, add_volume(scene, other)))
            self._some(p.volume)

    def do_nonsense_parameter(self) -> None:
        p = self.session.parameters
        name, value, usual = self._one_of(
            (("preset", "nonsense", "thorax-ap"), ("comparison", "nonsense", "blend"), ("relation", "nonsense", ""))
        )
        setattr(p, name, value if self.random.random() < 0.2 else usual)

    def do_training(self) -> None:
        self._one_of((self.session.cancel_training, self.session.resume_training))()

    def do_model(self) -> None:
        if self.random.random() < 0.5:
            self._one_of((self.session.choose_model, self.session.delete_model))(self.folder / "no model")

    # What else happens to a scene

    def do_delete_a_node(self) -> None:
        if self.random.random() > 0.3:
            return
        scene = self.session.scene
        nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
        spare = [
            n
            for n in nodes
            if not n.GetSingletonTag() and not n.GetHideFromEditors() and not n.IsA("vtkMRMLDisplayNode")
        ]
        kept = (
            "vtkMRMLColorNode",
            "vtkMRMLStorageNode",
            "vtkMRMLAbstractViewNode",
            "vtkMRMLSliceCompositeNode",
            "vtkMRMLCameraNode",
        )
        node = self._one_of([n for n in spare if not any(n.IsA(kind) for kind in kept)])
        if node is not None:
            self._some(node)
            scene.RemoveNode(node)

    def do_move_by_hand(self) -> None:
        node = self._xray()
        pose = None if node is None else node.GetParentTransformNode()
        if pose is not None:
            matrix = slicer.util.arrayFromTransformMatrix(pose)
            matrix[:3, 3] += self.random.normal(0, 10, 3)
            pose.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))

    def do_transform_a_transform(self) -> None:
        """Put a C-arm under another transform, that may be none that a C-arm can be under, or take it out."""
        node, scene = self._xray(), self.session.scene
        pose = None if node is None else node.GetParentTransformNode()
        if pose is None:
            return
        kind = self._one_of(("none", "none", "rigid", "scaled", "warped"))
        self._some(pose)
        self.log[-1] += f" {kind}"
        parent = None
        if kind != "none":
            parent = scene.AddNewNodeByClass(
                "vtkMRMLTransformNode" if kind == "warped" else "vtkMRMLLinearTransformNode", kind
            )
        if kind in ("rigid", "scaled"):
            matrix = np.diag([1.0, 1.0, 1.0, 1.0]) if kind == "rigid" else np.diag([2.0, 1.0, 1.0, 1.0])
            matrix[:3, 3] = 5.0, 0.0, -3.0
            parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        elif kind == "warped":
            warp = vtk.vtkThinPlateSplineTransform()
            parent.SetAndObserveTransformToParent(warp)
        pose.SetAndObserveTransformNodeID(None if parent is None else parent.GetID())

    def do_rename(self) -> None:
        node = self._xray()
        if node is not None and node.GetScene() is not None:
            node.SetName(str(self._one_of(("a", "", "X-ray (b)", "ü/\\:"))))

    def do_wait(self) -> None:
        self.session.wait(TIMEOUT)

    def do_let_time_pass(self) -> None:
        end = time.monotonic() + float(self.random.uniform(0, 0.6))
        while time.monotonic() < end:
            self.session.tick()
            time.sleep(0.02)


def observers_of(scene: Any) -> int:
    """How many observers a scene has."""
    return str(scene).count("vtkObserver")


def python_objects() -> int:
    """How many objects Python looks after."""
    gc.collect()
    return len(gc.get_objects())


def resident_mb(of_children: bool = False) -> float:
    """Memory of this process, or of its children, MB."""
    me = psutil.Process()
    processes = me.children(recursive=True) if of_children else [me]
    return sum(p.memory_info().rss for p in processes) / 1e6
