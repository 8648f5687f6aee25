"""What is remembered about a patient: attributes and references of the CT's volume node, so saved with the scene."""

from __future__ import annotations

from typing import Any

from XVRegistrationLib.scene.attributes import PREFIX

_PATIENT = PREFIX + "Patient."


def remember(volume_node: Any, key: str, value: Any) -> None:
    """Keep a text or a node under a key; None or an empty text forgets it."""
    is_node = value is not None and not isinstance(value, str)
    text = None if is_node or not value else value
    node_id = value.GetID() if is_node else None
    # Setting what is there already would mark the scene as modified.
    if volume_node.GetAttribute(_PATIENT + key) != text:
        volume_node.SetAttribute(_PATIENT + key, text)
    if volume_node.GetNodeReferenceID(_PATIENT + key) != node_id:
        volume_node.SetNodeReferenceID(_PATIENT + key, node_id)


def recall(volume_node: Any, key: str) -> Any:
    """The text or the node that is remembered under a key; None if there is none, or the node is gone."""
    node = volume_node.GetNodeReference(_PATIENT + key)
    return node if node is not None else volume_node.GetAttribute(_PATIENT + key)
