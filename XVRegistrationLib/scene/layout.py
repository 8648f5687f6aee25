"""The module's own arrangements of views: the X-ray large, or two side by side, with 3D, axial slice and a chart."""

from __future__ import annotations

from typing import Any

LAYOUT_ID, BIPLANE_LAYOUT_ID = 4711, 4712
XRAY_VIEW, SECOND_VIEW = "XVXray", "XVXray2"
"""Names of the X-rays' slice views; the node of the first has the ID vtkMRMLSliceNodeXVXray."""
PLOT_VIEW = "XVTraining"


def _xray(name: str, label: str, color: str, group: int) -> str:
    # Its own view group: linking the CT's slice views does not drag the X-ray's along.
    return f"""
<view class="vtkMRMLSliceNode" singletontag="{name}">
  <property name="orientation" action="default">Coronal</property>
  <property name="viewlabel" action="default">{label}</property>
  <property name="viewcolor" action="default">{color}</property>
  <property name="viewgroup" action="default">{group}</property>
</view>"""


_FIRST = _xray(XRAY_VIEW, "X", "#E8A838", 47)
_SECOND = _xray(SECOND_VIEW, "X2", "#38A8E8", 48)
_IN_3D = """
<view class="vtkMRMLViewNode" singletontag="1">
  <property name="viewlabel" action="default">1</property>
</view>"""
_AXIAL = """
<view class="vtkMRMLSliceNode" singletontag="Red">
  <property name="orientation" action="default">Axial</property>
  <property name="viewlabel" action="default">R</property>
  <property name="viewcolor" action="default">#F34A33</property>
</view>"""
_PLOT = f"""
<view class="vtkMRMLPlotViewNode" singletontag="{PLOT_VIEW}">
  <property name="viewlabel" action="default">T</property>
</view>"""

LAYOUTS = {
    LAYOUT_ID: f"""
<layout type="horizontal" split="true">
  <item splitSize="600">{_FIRST}</item>
  <item splitSize="400">
    <layout type="vertical" split="true">
      <item splitSize="600">{_IN_3D}</item>
      <item splitSize="400">
        <layout type="horizontal" split="true">
          <item>{_AXIAL}</item>
          <item>{_PLOT}</item>
        </layout>
      </item>
    </layout>
  </item>
</layout>
""".strip(),
    BIPLANE_LAYOUT_ID: f"""
<layout type="vertical" split="true">
  <item splitSize="600">
    <layout type="horizontal" split="true">
      <item splitSize="500">{_FIRST}</item>
      <item splitSize="500">{_SECOND}</item>
    </layout>
  </item>
  <item splitSize="400">
    <layout type="horizontal" split="true">
      <item splitSize="400">{_IN_3D}</item>
      <item splitSize="300">{_AXIAL}</item>
      <item splitSize="300">{_PLOT}</item>
    </layout>
  </item>
</layout>
""".strip(),
}
"""ID -> description."""


def add_layouts(layout_node: Any) -> None:
    """Make the arrangements known to Slicer under their IDs; a second time changes nothing."""
    for number, description in LAYOUTS.items():
        if layout_node.IsLayoutDescription(number):
            layout_node.SetLayoutDescription(number, description)
        else:
            layout_node.AddLayoutDescription(number, description)
