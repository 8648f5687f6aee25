"""A segmentation that is changed, removed or replaced while its label map is made: in the end the present one is known."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import slicer.util

from Testing.Python.panel.patients import bones
from Testing.Python.panel.sessions import TIMEOUT, choose
from XVRegistrationLib.panel import labels as panel_labels
from XVRegistrationLib.scene.label_maps import label_map_of
from XVRegistrationLib.scene.volumes import add_segmentation


@pytest.fixture
def slow(session, monkeypatch):
    """A session with a patient, in which a tick makes one slice of a label map."""
    choose(session)
    clock = itertools.count(1000.0, 0.6 * panel_labels._STEP_SECONDS)
    monkeypatch.setattr(panel_labels, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr("XVRegistrationLib.scene.label_maps._SLAB", 1)
    return session


def _write(node, index, value):
    """Fill a segment of the segmentation with 0 or 1."""
    segment = node.GetSegmentation().GetNthSegmentID(index)
    volume = slicer.util.getNode("patient")
    array = np.full(slicer.util.arrayFromVolume(volume).shape, value, np.uint8)
    array[:, 5:] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segment, volume)


def _erase(session, node):
    _write(node, 0, 0)


def _paint(session, node):
    node.GetSegmentation().AddEmptySegment("new", "new")
    _write(node, node.GetSegmentation().GetNumberOfSegments() - 1, 1)


def _rename(session, node):
    node.GetSegmentation().GetNthSegment(1).SetName("renamed")


def _remove_one(session, node):
    node.GetSegmentation().RemoveSegment(node.GetSegmentation().GetNthSegmentID(0))


def _remove_all(session, node):
    node.GetSegmentation().RemoveAllSegments()


def _remove_node(session, node):
    session.scene.RemoveNode(node)


def _choose_none(session, node):
    session.parameters.segmentation = None


def _choose_another(session, node):
    session.parameters.segmentation = add_segmentation(session.scene, bones(2), name="another")


def _choose_another_and_back(session, node):
    _choose_another(session, node)
    session.tick()
    session.parameters.segmentation = node


CHANGES = {
    _erase: {"bone 2", "bone 3"},
    _paint: {"bone 1", "bone 2", "bone 3", "new"},
    _rename: {"bone 1", "renamed", "bone 3"},
    _remove_one: {"bone 2", "bone 3"},
    _remove_all: set(),
    _remove_node: set(),
    _choose_none: set(),
    _choose_another: {"bone 1", "bone 2"},
    _choose_another_and_back: {"bone 1", "bone 2", "bone 3"},
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__[1:].replace("_", " "))
def test_the_structures_in_the_end_are_those_of_the_present_segmentation(slow, change):
    labels = slow._viewing._labels
    node = slow.parameters.segmentation = add_segmentation(slow.scene, bones(3))
    for _ in range(40):  # some of the map has been made, and some not
        slow.tick()
    assert labels.busy
    assert not labels.known
    change(slow, node)
    # An edited one is looked at twice, some ticks apart, and made anew.
    for _ in range(3):
        slow.wait(TIMEOUT)
        for _ in range(100):
            slow.tick()
    assert not labels.busy
    assert {name for name, _color in labels.names.values()} == CHANGES[change], slow.log
    if labels.known:
        assert labels.names == label_map_of(slow.parameters.segmentation, slow.parameters.volume)[2]
