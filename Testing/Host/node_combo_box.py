"""Slicer's combo box of MRML nodes, re-created on PySide6 over the real scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
import vtk
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal, Slot

from Testing.Host.cpp_classes import cpp_class, lay_out_row, stored

if TYPE_CHECKING:
    from collections.abc import Iterable


def _forget(observations: Iterable[tuple[Any, int]]) -> None:
    for observed, tag in observations:
        observed.RemoveObserver(tag)


def _fill(self: Any) -> None:
    self._host_fill()


@cpp_class(slicer)
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Lists the nodes of some classes in the scene and has one of them, or none, as its current node."""

    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAddedByUserAction = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    currentNodeRenamed = Signal(str)
    nodeAboutToBeEdited = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._host_scene: Any = None
        self._host_tags: list[tuple[Any, int]] = []
        self._host_observed: dict[str, tuple[Any, int]] = {}
        self._host_attributes: list[tuple[str, str, str | None]] = []
        self._host_labels: dict[str, str] = {}
        self._host_nodes: list[Any] = []
        self._host_current: Any = None
        self._host_actions: dict[int, Any] = {}
        self._host_combo_box = QtWidgets.QComboBox()
        self._host_combo_box.setEnabled(False)  # until there is a scene
        lay_out_row(self, self._host_combo_box)
        self._host_combo_box.activated.connect(self._host_activated)
        # The Python half of a deleted widget may live on; its observers must not.
        tags, observed = self._host_tags, self._host_observed
        self.destroyed.connect(lambda: _forget([*tags, *observed.values()]))

    nodeTypes = stored("QStringList", "nodeTypes", [], _fill)
    hideChildNodeTypes = stored("QStringList", "hideChildNodeTypes", [], _fill)
    showHidden = stored(bool, "showHidden", False, _fill)
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True, _fill)
    noneEnabled = stored(bool, "noneEnabled", False, _fill)
    noneDisplay = stored(str, "noneDisplay", "None", _fill)
    addEnabled, removeEnabled = stored(bool, "addEnabled", True, _fill), stored(bool, "removeEnabled", True, _fill)
    editEnabled, renameEnabled = stored(bool, "editEnabled", False, _fill), stored(bool, "renameEnabled", False, _fill)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    baseName = stored(str, "baseName", "")
    interactionNodeSingletonTag = stored(str, "interactionNodeSingletonTag", "Singleton")
    currentNodeID = Property(
        str,
        lambda self: self._host_current.GetID() if self._host_current is not None else "",
        lambda self, node_id: self.setCurrentNodeID(node_id),
        notify=currentNodeIDChanged,
    )

    def mrmlScene(self) -> Any:
        return self._host_scene

    def currentNode(self) -> Any:
        return self._host_current

    def nodeCount(self) -> int:
        return len(self._host_nodes)

    def nodeFromIndex(self, index: int) -> Any:
        return self._host_nodes[index] if 0 <= index < len(self._host_nodes) else None

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        self._host_attributes.append((node_type, name, value))
        self._host_fill()

    def removeAttribute(self, node_type: str, name: str) -> None:
        self._host_attributes = [a for a in self._host_attributes if a[:2] != (node_type, name)]
        self._host_fill()

    def setNodeTypeLabel(self, label: str, node_type: str) -> None:
        self._host_labels[node_type] = label

    def nodeTypeLabel(self, node_type: str) -> str:
        return self._host_labels.get(node_type, node_type.removeprefix("vtkMRML").removesuffix("Node"))

    @Slot(object)
    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._host_scene:
            return
        _forget(self._host_tags)
        self._host_tags.clear()
        self._host_scene = scene
        self._host_combo_box.setEnabled(scene is not None)
        if scene is not None:
            self._host_observe(scene)
        self._host_fill()

    @Slot(object)
    def setCurrentNode(self, node: Any) -> None:
        if isinstance(node, str):
            self.setCurrentNodeID(node)
        else:
            self._host_select(node if node in self._host_nodes else None)

    @Slot(str)
    def setCurrentNodeID(self, node_id: str) -> None:
        self.setCurrentNode(self._host_scene.GetNodeByID(node_id) if self._host_scene is not None and node_id else None)

    @Slot(int)
    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    @Slot()
    def addNode(self, node_type: str = "") -> Any:
        scene, kind = self._host_scene, node_type or next(iter(self.nodeTypes), "")
        if scene is None or not kind:
            return None
        node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(self.baseName or self.nodeTypeLabel(kind)))
        for of_type, name, value in self._host_attributes:
            if of_type == kind:
                node.SetAttribute(name, value or "")
        self._host_fill()
        if self.selectNodeUponCreation:
            self._host_select(node)
        return node

    @Slot()
    def removeCurrentNode(self) -> None:
        if self._host_current is not None:
            self._host_scene.RemoveNode(self._host_current)

    @Slot()
    def editCurrentNode(self) -> None:
        self.nodeAboutToBeEdited.emit(self._host_current)

    @Slot()
    def renameCurrentNode(self) -> None:
        node = self._host_current
        if node is None:
            return
        normal = QtWidgets.QLineEdit.EchoMode.Normal
        name, ok = QtWidgets.QInputDialog.getText(self, "Rename", "New name:", normal, node.GetName())
        if ok:
            node.SetName(name)

    def _host_observe(self, scene: Any) -> None:
        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(_caller: Any, _event: str, node: Any) -> None:
            if not scene.IsBatchProcessing():
                self._host_fill()
            if self._host_accepts(node):
                self.nodeAdded.emit(node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def about_to_be_removed(_caller: Any, _event: str, node: Any) -> None:
            if node in self._host_nodes:
                self.nodeAboutToBeRemoved.emit(node)
                self._host_fill(without=node)

        for event, observer in (
            (scene.NodeAddedEvent, added),
            (scene.NodeAboutToBeRemovedEvent, about_to_be_removed),
            (scene.EndBatchProcessEvent, lambda *_: self._host_fill()),
        ):
            self._host_tags.append((scene, scene.AddObserver(event, observer)))

    def _host_accepts(self, node: Any) -> bool:
        if node is None or (node.GetHideFromEditors() and not self.showHidden):
            return False
        if any(node.IsA(hidden) for hidden in self.hideChildNodeTypes):
            return False
        for kind in self.nodeTypes:
            if node.IsA(kind) if self.showChildNodeTypes else node.GetClassName() == kind:
                wanted = [(name, value) for of_type, name, value in self._host_attributes if of_type == kind]
                if all(
                    node.GetAttribute(name) is not None and (value is None or node.GetAttribute(name) == value)
                    for name, value in wanted
                ):
                    return True
        return False

    def _host_fill(self, without: Any = None) -> None:
        """List the scene's nodes again; the current one stays if it is still there."""
        scene, combo_box = self._host_scene, self._host_combo_box
        every = [] if scene is None else [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
        self._host_nodes = [node for node in every if node is not without and self._host_accepts(node)]
        self._host_watch_names()
        combo_box.blockSignals(True)
        combo_box.clear()
        if self.noneEnabled:
            combo_box.addItem(self.noneDisplay, None)
        for node in self._host_nodes:
            combo_box.addItem(node.GetName() or "", node.GetID())
        self._host_add_actions()
        combo_box.blockSignals(False)
        self._host_select(self._host_current if self._host_current in self._host_nodes else None)

    def _host_add_actions(self) -> None:
        """The entries below the nodes that create, remove and rename one."""
        self._host_actions = {}
        if self._host_scene is None:
            return
        offered: list[tuple[str, Any]] = []
        if self.addEnabled:
            offered += [
                (f"Create new {self.nodeTypeLabel(kind)}", lambda kind=kind: self._host_add_by_user(kind))
                for kind in self.nodeTypes
            ]
        kind = self.nodeTypeLabel(next(iter(self.nodeTypes), ""))
        offered += [(f"Edit current {kind}...", self.editCurrentNode)] if self.editEnabled else []
        offered += [(f"Rename current {kind}...", self.renameCurrentNode)] if self.renameEnabled else []
        offered += [(f"Delete current {kind}", self.removeCurrentNode)] if self.removeEnabled else []
        if offered:
            self._host_combo_box.insertSeparator(self._host_combo_box.count)
        for text, action in offered:
            self._host_actions[self._host_combo_box.count] = action
            self._host_combo_box.addItem(text)

    def _host_add_by_user(self, kind: str) -> None:
        node = self.addNode(kind)
        if node is not None:
            self.nodeAddedByUserAction.emit(node)
            self.nodeAddedByUser.emit(node)

    def _host_watch_names(self) -> None:
        present = {node.GetID(): node for node in self._host_nodes}
        for node_id in self._host_observed.keys() - present.keys():
            node, tag = self._host_observed.pop(node_id)
            node.RemoveObserver(tag)
        for node_id in present.keys() - self._host_observed.keys():
            node = present[node_id]
            tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, _event: self._host_renamed(caller))
            self._host_observed[node_id] = node, tag

    def _host_renamed(self, node: Any) -> None:
        index = self._host_combo_box.findData(node.GetID())
        if index < 0 or self._host_combo_box.itemText(index) == node.GetName():
            return
        self._host_combo_box.setItemText(index, node.GetName())
        if node is self._host_current:
            self.currentNodeRenamed.emit(node.GetName())

    def _host_select(self, node: Any) -> None:
        combo_box = self._host_combo_box
        combo_box.blockSignals(True)
        nothing = 0 if self.noneEnabled else -1
        combo_box.setCurrentIndex(combo_box.findData(node.GetID()) if node is not None else nothing)
        combo_box.blockSignals(False)
        if node is not self._host_current:
            self._host_current = node
            self.currentNodeChanged.emit(node)
            self.currentNodeChanged[bool].emit(node is not None)
            self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def _host_activated(self, index: int) -> None:
        if index in self._host_actions:
            self._host_actions[index]()
            self._host_select(self._host_current)
            return
        node_id = self._host_combo_box.itemData(index)
        node = self._host_scene.GetNodeByID(node_id) if node_id else None
        self.nodeActivated.emit(node)
        self._host_select(node)
