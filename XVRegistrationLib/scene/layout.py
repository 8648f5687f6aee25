"""The module's own arrangement of views: the X-ray large, and 3D, axial slice and training curve beside it."""

from __future__ import annotations

from typing import Any

LAYOUT_ID = 4711
XRAY_VIEW = "XVXray"
"""Name of the X-ray's slice view, whose node has the ID vtkMRMLSliceNodeXVXray."""
PLOT_VIEW = "XVTraining"

# Its own view group: linking the CT's slice views does not drag the X-ray's along.
LAYOUT_XML = f"""
<layout type="horizontal" split="true">
  <item splitSize="600">
    <view class="vtkMRMLSliceNode" singletontag="{XRAY_VIEW}">
      <property name="orientation" action="default">Coronal</property>
      <property name="viewlabel" action="default">X</property>
      <property name="viewcolor" action="default">#E8A838</property>
      <property name="viewgroup" action="default">47</property>
    </view>
  </item>
  <item splitSize="400">
    <layout type="vertical" split="true">
      <item splitSize="600">
        <view class="vtkMRMLViewNode" singletontag="1">
          <property name="viewlabel" action="default">1</property>
        </view>
      </item>
      <item splitSize="400">
        <layout type="horizontal" split="true">
          <item>
            <view class="vtkMRMLSliceNode" singletontag="Red">
              <property name="orientation" action="default">Axial</property>
              <property name="viewlabel" action="default">R</property>
              <property name="viewcolor" action="default">#F34A33</property>
            </view>
          </item>
          <item>
            <view class="vtkMRMLPlotViewNode" singletontag="{PLOT_VIEW}">
              <property name="viewlabel" action="default">T</property>
            </view>
          </item>
        </layout>
      </item>
    </layout>
  </item>
</layout>
""".strip()


def add_layout(layout_node: Any) -> None:
    """Make the arrangement known to Slicer under LAYOUT_ID; a second time changes nothing."""
    if layout_node.IsLayoutDescription(LAYOUT_ID):
        layout_node.SetLayoutDescription(LAYOUT_ID, LAYOUT_XML)
    else:
        layout_node.AddLayoutDescription(LAYOUT_ID, LAYOUT_XML)
