"""A scene as the first version with a panel saved it (21 November 2026), before verdicts, reviews and runs, opens and goes on."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util

from Testing.Python.panel.patients import CAMERA, line_integrals, patient
from Testing.Python.panel.sessions import TIMEOUT, error_of, row_of
from XVRegistrationLib.geometry.camera import image_to_camera
from XVRegistrationLib.scene.bundle import load_mrb
from XVRegistrationLib.scene.xrays import intrinsics_from_node, volume_node_of

_RESULT = """
{"name": "front", "pose": [[-0.989546, 0.052137, 0.134465, -105.125767], [-0.138644, -0.087156, -0.9865, 677.54986],
[-0.039714, -0.994829, 0.093473, -60.431117], [0.0, 0.0, 0.0, 1.0]],
"pose_convention": "camera -> RAS, mm%3B camera: x along columns, y along rows, z towards the detector",
"intrinsics": {"sdd": 1020.0, "spacing": [5.0, 5.0], "principal_point": [38.5, 34.5], "size": [78, 70], "mirrored": false},
"similarity": 0.93, "seconds": 4.5, "winner": "bank", "starts": [], "versions": {"torch": "2.4.0"}, "scale": "attenuation",
"volume_ijk_to_ras": [[2.0, 0.0, 0.0, -96.0], [0.0, 2.0, 0.0, -80.0], [0.0, 0.0, 2.0, -64.0], [0.0, 0.0, 0.0, 1.0]]}
"""
_FRONT = (
    "XVRegistration.Color:0;XVRegistration.Mirrored:false;XVRegistration.Name:front;"
    "XVRegistration.Origin.mirrored:assumed;XVRegistration.Origin.principal_point:assumed;"
    "XVRegistration.Origin.sdd:user;XVRegistration.Origin.spacing:tag;XVRegistration.PixelSpacing:5.0 5.0;"
    "XVRegistration.PrincipalPoint:38.5 34.5;"
    f"XVRegistration.Registration:{' '.join(_RESULT.split())};"
    "XVRegistration.SDD:1020.0;XVRegistration.Scale:attenuation;XVRegistration.Size:78 70"
).replace('"', "&quot;")
_TILTED = (
    "XVRegistration.Color:1;XVRegistration.Missing:sdd;XVRegistration.Name:tilted;XVRegistration.Origin.spacing:tag;"
    "XVRegistration.PixelSpacing:5.0 5.0;XVRegistration.Scale:attenuation;XVRegistration.Size:78 70"
)
_OF_FRONT = (
    "XVRegistration.Frustum:vtkMRMLModelNode1;XVRegistration.Volume:vtkMRMLScalarVolumeNode1;"
    "storage:vtkMRMLVolumeArchetypeStorageNode2;transform:vtkMRMLLinearTransformNode1;"
)
_OF_TILTED = "XVRegistration.Volume:vtkMRMLScalarVolumeNode1;storage:vtkMRMLVolumeArchetypeStorageNode3;"
_POSE = (
    "-0.989546 0.0521368 0.134465 -105.126 -0.138644 -0.0871557 -0.9865 677.55 "
    "-0.0397135 -0.994829 0.093473 -60.4311 0 0 0 1"
)
_SCENE = f"""<?xml version="1.0" encoding="UTF-8"?>
<MRML version="slicer-core 4.0.0 0">
<SubjectHierarchy id="vtkMRMLSubjectHierarchyNode1" name="SubjectHierarchy" attributes="SubjectHierarchyVersion:2">
<SubjectHierarchyItem id="3" name="Scene" parent="0" type="" attributes="Level^Scene|">
<SubjectHierarchyItem id="5" dataNode="vtkMRMLScalarVolumeNode1" parent="3" type=""></SubjectHierarchyItem>
<SubjectHierarchyItem id="6" name="front" parent="3" type="" attributes="Level^Folder|XVRegistration.Folder^true|">
<SubjectHierarchyItem id="7" dataNode="vtkMRMLScalarVolumeNode2" parent="6" type=""></SubjectHierarchyItem>
<SubjectHierarchyItem id="8" dataNode="vtkMRMLModelNode1" parent="6" type=""></SubjectHierarchyItem>
<SubjectHierarchyItem id="9" dataNode="vtkMRMLLinearTransformNode1" parent="6" type=""></SubjectHierarchyItem>
</SubjectHierarchyItem>
<SubjectHierarchyItem id="12" name="tilted" parent="3" type="" attributes="Level^Folder|XVRegistration.Folder^true|">
<SubjectHierarchyItem id="13" dataNode="vtkMRMLScalarVolumeNode3" parent="12" type=""></SubjectHierarchyItem>
</SubjectHierarchyItem></SubjectHierarchyItem></SubjectHierarchy>
<Volume id="vtkMRMLScalarVolumeNode1" name="patient" references="storage:vtkMRMLVolumeArchetypeStorageNode1;"></Volume>
<Volume id="vtkMRMLScalarVolumeNode2" name="X-ray (front)" attributes="{_FRONT}" references="{_OF_FRONT}"></Volume>
<LinearTransform id="vtkMRMLLinearTransformNode1" name="C-arm pose (front)" attributes="XVRegistration.Part:Pose"
 matrixTransformToParent="{_POSE}"></LinearTransform>
<Model id="vtkMRMLModelNode1" name="C-arm frustum (front)" attributes="XVRegistration.Part:Frustum"
 references="transform:vtkMRMLLinearTransformNode1;"></Model>
<Volume id="vtkMRMLScalarVolumeNode3" name="X-ray (tilted)" attributes="{_TILTED}" references="{_OF_TILTED}"></Volume>
<VolumeArchetypeStorage id="vtkMRMLVolumeArchetypeStorageNode1" fileName="Data/patient.nrrd"></VolumeArchetypeStorage>
<VolumeArchetypeStorage id="vtkMRMLVolumeArchetypeStorageNode2" fileName="Data/front.nrrd"></VolumeArchetypeStorage>
<VolumeArchetypeStorage id="vtkMRMLVolumeArchetypeStorageNode3" fileName="Data/tilted.nrrd"></VolumeArchetypeStorage>
</MRML>
"""
"""Without display nodes, the frustum's mesh, and attributes of nodes that say the same as their defaults."""


def _saved_earlier(folder):
    """The bundle."""
    standing = np.array([[-5.0, 0, 0, 0], [0, 0, -1, 0], [0, -5, 0, 0], [0, 0, 0, 1]])
    images = {
        "patient": (patient().array, patient().ijk_to_ras),
        "front": (line_integrals(patient(), 0)[None], image_to_camera(CAMERA)),
        "tilted": (line_integrals(patient(), 1)[None], standing),
    }
    path = folder / "earlier.mrb"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("earlier/earlier.mrml", _SCENE)
        for name, (array, ijk_to_ras) in images.items():
            lps, spacing = np.diag([-1, -1, 1, 1]) @ ijk_to_ras, np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
            image = sitk.GetImageFromArray(array)
            image.SetOrigin(lps[:3, 3].tolist())
            image.SetSpacing(spacing.tolist())
            image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
            sitk.WriteImage(image, str(folder / f"{name}.nrrd"))
            bundle.write(folder / f"{name}.nrrd", f"earlier/Data/{name}.nrrd")
    return path


def test_a_scene_of_the_first_panel_opens_with_its_xrays_and_they_are_registered(session, tmp_path):
    load_mrb(session.scene, _saved_earlier(tmp_path))
    session.parameters.volume = volume = slicer.util.getNode("patient")
    session.wait(TIMEOUT)
    front, tilted = (row.node for row in session.rows())
    assert [row.name for row in session.rows()] == ["front", "tilted"]
    assert (volume_node_of(front), volume_node_of(tilted)) == (volume, volume)
    assert intrinsics_from_node(front) == CAMERA
    assert error_of(front, 0) < 1e-3
    row = row_of(session, front)
    assert "An earlier version registered this X-ray, without a verdict" in row.hint
    assert (row.look, row.review, row_of(session, tilted).missing) == ("check", "open", ("sdd",))

    session.complete_geometry(tilted, sdd=CAMERA.sdd)
    session.register([front, tilted])
    session.wait(TIMEOUT)
    assert [row.look for row in session.rows()] == ["converged"] * 2, session.log
    assert [error_of(node, number) for number, node in enumerate((front, tilted))] == pytest.approx([0, 0], abs=1.0)
    # Slice views, where there are some, have transforms too.
    poses = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLLinearTransformNode")]
    assert sorted(name for name in poses if "pose" in name) == ["C-arm pose (front)", "C-arm pose (tilted)"]
