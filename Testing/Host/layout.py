"""The layout manager: arranges view widgets as the layout node's XML says; the logic behind it is Slicer's own."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal, Slot

from Testing.Host.cpp_classes import cpp_class
from Testing.Host.views import VIEW_WIDGETS


@cpp_class(slicer)
class qSlicerLayoutManager(QtCore.QObject):
    """`slicer.app.layoutManager()`."""

    layoutChanged = Signal(int)

    def __init__(self, application_logic: Any, viewport: Any) -> None:
        super().__init__()
        self._host_application_logic = application_logic
        self._host_viewport = viewport
        self._host_column = QtWidgets.QVBoxLayout(viewport)
        self._host_column.setContentsMargins(0, 0, 0, 0)
        self._host_widgets: dict[str, Any] = {}  # of the nodes by ID
        self._host_root: Any = None
        self._host_shown: tuple[int, str] | None = None
        self._host_paused = 0
        self._host_logic: Any = slicer.vtkMRMLLayoutLogic()
        self._host_logic.SetMRMLScene(application_logic.GetMRMLScene())
        self._host_node().AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._host_arrange())
        if self._host_node().GetViewArrangement() <= slicer.vtkMRMLLayoutNode.SlicerLayoutInitialView:
            self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
        self._host_arrange()

    def _host_node(self) -> Any:
        return self._host_logic.GetLayoutNode()

    def _host_arrange(self) -> None:
        """Build the arrangement that the layout node describes, of the widgets that are there and new ones."""
        node = self._host_node()
        if node is None:
            return
        wanted = node.GetViewArrangement(), node.GetCurrentLayoutDescription() or ""
        if wanted == self._host_shown or not wanted[1]:
            return
        self._host_shown = wanted
        for widget in self._host_widgets.values():
            widget.setParent(None)
        if self._host_root is not None:
            self._host_column.removeWidget(self._host_root)
            self._host_root.setParent(None)
            self._host_root.deleteLater()
        self._host_root = self._host_build(node.GetLayoutRootElement())
        self._host_column.addWidget(self._host_root)
        self._host_root.show()
        self.layoutChanged.emit(wanted[0])

    def _host_build(self, element: Any) -> Any:
        """The widget of a <layout> or <view> of the description."""
        children = [element.GetNestedElement(i) for i in range(element.GetNumberOfNestedElements())]
        if element.GetName() == "view":
            return self._host_widget_of(self._host_logic.GetViewFromElement(element))
        items = [child for child in children if child.GetName() == "item"]
        parts = [self._host_build(item.GetNestedElement(0)) for item in items]
        kind = element.GetAttribute("type") or "horizontal"
        if kind == "tab":
            tabs = QtWidgets.QTabWidget()
            for item, part in zip(items, parts, strict=True):
                tabs.addTab(part, item.GetAttribute("name") or "")
            return tabs
        if kind == "grid":
            frame = QtWidgets.QWidget()
            grid = QtWidgets.QGridLayout(frame)
            grid.setContentsMargins(0, 0, 0, 0)
            for item, part in zip(items, parts, strict=True):
                grid.addWidget(part, int(item.GetAttribute("row") or 0), int(item.GetAttribute("column") or 0))
            return frame
        orientation = QtCore.Qt.Orientation.Vertical if kind == "vertical" else QtCore.Qt.Orientation.Horizontal
        splitter = QtWidgets.QSplitter(orientation)
        for part in parts:
            splitter.addWidget(part)
            part.show()
        splitter.setSizes([int(item.GetAttribute("splitSize") or 500) for item in items])
        return splitter

    def _host_widget_of(self, node: Any) -> Any:
        if node is None:
            return QtWidgets.QWidget()
        if node.GetID() not in self._host_widgets:
            if node.GetClassName() not in VIEW_WIDGETS:
                return QtWidgets.QLabel(f"{node.GetClassName()} is not drawn in this host")
            self._host_widgets[node.GetID()] = VIEW_WIDGETS[node.GetClassName()](node)
        widget = self._host_widgets[node.GetID()]
        widget.show()
        return widget

    def _host_of_kind(self, name: str) -> list[Any]:
        return [w for w in self._host_widgets.values() if w.mrmlAbstractViewNode().IsA(name)]

    def _host_close(self) -> None:
        """Detach all views from the scene."""
        for widget in self._host_widgets.values():
            widget._host_close()
        self._host_widgets = {}

    layout = Property(int, lambda self: self._host_node().GetViewArrangement(), lambda self, i: self.setLayout(i))
    threeDViewCount = Property(int, lambda self: len(self._host_of_kind("vtkMRMLViewNode")))
    plotViewCount = Property(int, lambda self: len(self._host_of_kind("vtkMRMLPlotViewNode")))
    tableViewCount = Property(int, lambda self: 0)

    def mrmlScene(self) -> Any:
        return self._host_logic.GetMRMLScene()

    def layoutLogic(self) -> Any:
        return self._host_logic

    def mrmlSliceLogics(self) -> Any:
        return self._host_application_logic.GetSliceLogics()

    def mrmlViewLogics(self) -> Any:
        return self._host_application_logic.GetViewLogics()

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(w.mrmlSliceNode().GetLayoutName() for w in self._host_of_kind("vtkMRMLSliceNode"))

    def sliceWidget(self, name: str) -> Any:
        widgets = self._host_of_kind("vtkMRMLSliceNode")
        return next((w for w in widgets if w.mrmlSliceNode().GetLayoutName() == name), None)

    def threeDWidget(self, which: int | str) -> Any:
        widgets = self._host_of_kind("vtkMRMLViewNode")
        if isinstance(which, str):
            return next((w for w in widgets if w.mrmlViewNode().GetLayoutName() == which), None)
        return widgets[which] if which < len(widgets) else None

    def plotWidget(self, index: int) -> Any:
        widgets = self._host_of_kind("vtkMRMLPlotViewNode")
        return widgets[index] if index < len(widgets) else None

    def activeMRMLThreeDViewNode(self) -> Any:
        widget = self.threeDWidget(0)
        return widget.mrmlViewNode() if widget is not None else None

    def activeMRMLPlotViewNode(self) -> Any:
        widget = self.plotWidget(0)
        return widget.mrmlPlotViewNode() if widget is not None else None

    def viewWidget(self, node: Any) -> Any:
        return self._host_widgets.get(node.GetID())

    @Slot(int)
    def setLayout(self, layout: int) -> None:
        if not self._host_node().IsLayoutDescription(layout):
            raise ValueError(f"There is no layout {layout}")
        self._host_node().SetViewArrangement(layout)

    @Slot()
    def resetThreeDViews(self) -> None:
        for widget in self._host_of_kind("vtkMRMLViewNode"):
            widget.threeDView().resetFocalPoint()

    @Slot()
    def resetSliceViews(self) -> None:
        for widget in self._host_of_kind("vtkMRMLSliceNode"):
            widget.fitSliceToBackground()

    @Slot(bool)
    def setRenderPaused(self, pause: bool) -> None:
        self._host_paused += 1 if pause else -1
