"""Slice and 3D views drawn offscreen by Slicer's own displayable managers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing
from XVRegistrationLib.scene.standalone.app import start
from XVRegistrationLib.scene.standalone.graphics import missing_graphics, offscreen_window
from XVRegistrationLib.scene.transforms import show_image_upright

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from XVRegistrationLib.scene.standalone.app import StandaloneApplication

_SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLLinearTransformsDisplayableManager",
)
_THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLTransformsDisplayableManager3D",
    "vtkMRMLLinearTransformsDisplayableManager",
    "vtkMRMLVolumeRenderingDisplayableManager",
)


class _View:
    """A renderer in a window that is never shown, and the displayable managers that fill it from the scene."""

    def __init__(self, factory_class: Any, managers: tuple[str, ...], size: tuple[int, int]) -> None:
        reason = missing_graphics()
        if reason:
            raise InputError(reason)
        self.application = start()
        self.logic: Any = None
        self.renderer: Any = vtk.vtkRenderer()
        self.window: Any = offscreen_window(size)
        self.window.AddRenderer(self.renderer)
        # Markups and handles need an interactor; this one waits for no one's events.
        self.interactor: Any = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        factory = factory_class.GetInstance()
        for manager in managers:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._group: Any = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.SetRenderer(self.renderer)
        self._group.Initialize(factory, self.renderer)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        width, height = self.window.GetSize()
        return width, height

    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) red, green, blue of the view as it is now."""
        pixels = self._grab()
        width, height, _ = pixels.GetDimensions()
        rows = vtk_to_numpy(pixels.GetPointData().GetScalars()).reshape(height, width, -1)
        return np.ascontiguousarray(rows[::-1, :, :3])

    def save_png(self, path: str | os.PathLike[str]) -> Path:
        """Write the view as it is now to a PNG; return its absolute path."""
        target = Path(path).resolve()
        with replacing(target) as temporary:
            writer = vtk.vtkPNGWriter()
            writer.SetInputData(self._grab())
            writer.SetFileName(str(temporary))
            writer.Write()
            if not temporary.stat().st_size:
                raise InputError(f"{target} could not be written; check that its disk has room.")
        return target

    def close(self) -> None:
        """Detach the view from the scene and free its graphics memory; its node stays in the scene."""
        self._group.SetMRMLDisplayableNode(None)
        for logics in (self.application.logic.GetSliceLogics(), self.application.logic.GetViewLogics()):
            logics.RemoveItem(self.logic)
        self.logic.SetMRMLScene(None)
        self.window.Finalize()

    def _grab(self) -> Any:
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.ShouldRerenderOff()  # it was drawn just now
        grabber.Update()
        return grabber.GetOutput()


class SliceView(_View):
    """A slice view with its own slice node, by `name` as in Slicer's layouts ("Red", ...)."""

    def __init__(self, name: str = "Red", size: tuple[int, int] = (600, 600)) -> None:
        super().__init__(slicer.vtkMRMLSliceViewDisplayableManagerFactory, _SLICE_MANAGERS, size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.logic = new_slice_logic(self.application, name)
        self.node: Any = self.logic.GetSliceNode()
        # Before the scene's own actors, so that it is drawn under them.
        self._add_image_actor()
        self._group.SetMRMLDisplayableNode(self.node)
        self.logic.ResizeSliceNode(*size)

    def _add_image_actor(self) -> None:
        """Draw the logic's blended image one to one; in Slicer the Qt view does this."""
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(actor)
        actor.SetVisibility(False)
        self._image_actor = actor

    def show_volume(self, volume_node: Any, orientation: str = "Axial", offset: float | None = None) -> None:
        """Show a volume in a standard orientation, through its middle or at `offset`, mm along the slice normal."""
        self._set_background(volume_node)
        self.node.SetOrientation(orientation)
        self.logic.FitSliceToBackground()
        if offset is not None:
            self.logic.SetSliceOffset(offset)

    def show_xray(self, xray_node: Any) -> None:
        """Show an X-ray upright and filling the view, as its file shows it."""
        self._set_background(xray_node)
        show_image_upright(self.node, xray_node, self.size)

    def _set_background(self, volume_node: Any) -> None:
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume_node.GetID())
        self.logic.ResizeSliceNode(*self.size)
        self.connect_image()

    def connect_image(self) -> None:
        """Draw the volumes that the composite node names, after somebody else set them."""
        self.logic.UpdatePipeline()
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())
        self._image_actor.SetVisibility(True)


class ThreeDView(_View):
    """A 3D view with its own view node, by `name` as in Slicer's layouts ("1", ...)."""

    def __init__(self, name: str = "1", size: tuple[int, int] = (800, 600)) -> None:
        super().__init__(slicer.vtkMRMLThreeDViewDisplayableManagerFactory, _THREE_D_MANAGERS, size)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(self.application.logic)
        self.logic.SetMRMLScene(self.application.scene)
        self.application.logic.GetViewLogics().AddItem(self.logic)
        existing = self.application.scene.GetSingletonNode(name, "vtkMRMLViewNode")
        self.node: Any = existing or self.logic.AddViewNode(name)
        self._group.SetMRMLDisplayableNode(self.node)
        self._style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self._style.SetDisplayableManagers(self._group)
        self._style.SetInteractor(self.interactor)

    @property
    def camera(self) -> Any:
        """The vtkCamera, which Slicer keeps in the view's camera node."""
        return self.renderer.GetActiveCamera()


def new_slice_logic(application: StandaloneApplication, name: str) -> Any:
    """A vtkMRMLSliceLogic with the slice node of that name, which is added if the scene has none."""
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(application.logic)
    logic.SetMRMLScene(application.scene)
    application.logic.GetSliceLogics().AddItem(logic)
    # Adding a node whose name is taken would leave the logic with one that is not in the scene.
    existing = application.scene.GetSingletonNode(name, "vtkMRMLSliceNode")
    if existing is None:
        logic.AddSliceNode(name)
    else:
        logic.SetSliceNode(existing)
    return logic
