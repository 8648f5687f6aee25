"""Where one patient lies in the space of another: a rigid registration of whole CTs, without a start by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.conventions import lps_to_ras, ras_to_lps
from XVRegistrationLib.geometry.rigid import invert, rigid, rotation_angle, transform_points, translation
from XVRegistrationLib.imaging.attenuation import finite_hu
from XVRegistrationLib.imaging.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FINEST, _MOST_VOXELS = 4.0, 64
"""mm, and voxels along a body: bodies are compared at 1 / 64 of their length, but not finer than 4 mm."""
_AIR, _DENSEST = -1000.0, 700.0  # HU; metal and its artefacts count as bone
_BODY = -300.0  # HU: fat is -100, what surrounds a body is air
_STARTS, _APART = 3, 4  # and voxels between them
_LEAST_COMMON = 0.25
"""What of the largest possible overlap of both scans a start must have."""
_LEAST_COVER = 0.5
# Measured: two chests 0.63, two pelves of bones alone 0.37; an abdomen on a chest, or on bones alone, up to 0.20 where at
# least half of the template is covered. Outlines 0.90 for the same part, 0.13 for an abdomen on bones.
_LEAST_SIMILARITY, _LEAST_OUTLINE = 0.28, 0.6
_MOST_TURN = 50.0  # degrees


@dataclass(frozen=True, eq=False)
class Placement:
    """How a patient lies in a template."""

    to_template: NDArray[np.float64]
    """(4, 4) rigid, the patient's RAS -> the template's RAS, mm."""
    similarity: float
    """Correlation of what is inside both bodies; 1 for the same patient, some 0.4 to 0.8 for two, 0 for other parts of them."""
    outline: float
    """Dice coefficient of both bodies where both were scanned."""
    cover: float
    """Share of the template's body that the patient's scan covers."""
    turn: float
    """Angle of the rotation, degrees."""

    @property
    def score(self) -> float:
        """The more, the better both lie on each other."""
        return max(self.similarity, 0.01) * self.outline * self.cover

    @property
    def ok(self) -> bool:
        """Whether both show the same part of the body."""
        return not self._wrong

    @property
    def _wrong(self) -> str:
        if self.cover < _LEAST_COVER:
            return f"its scan covers {self.cover:.0%} of the template's body and must cover {_LEAST_COVER:.0%}"
        if self.similarity < _LEAST_SIMILARITY or self.outline < _LEAST_OUTLINE:
            return "it shows another part of the body, or a patient who is too unlike"
        return f"it would be turned by {self.turn:.0f} degrees" if self.turn > _MOST_TURN else ""

    @property
    def sentence(self) -> str:
        """How alike they are, and what is wrong if anything is."""
        said = f"similarity {self.similarity:.2f}, {self.cover:.0%} in common, turned by {self.turn:.0f} degrees"
        if self.ok:
            return f"it registers to the template ({said})."
        return f"it does not register to the template: {self._wrong} ({said})."


@dataclass(frozen=True, eq=False)
class CoarseBody:
    """A volume as the preregistration sees it: a few millimetres a voxel, along the axes of RAS."""

    image: Any
    """SimpleITK image in LPS: HU + 1000 from air to bone, 0 beyond the scan."""
    scanned: Any
    """SimpleITK image of the same grid: 1 where the volume has voxels."""
    spacing: float
    """mm."""


def coarse_body(volume: Volume, spacing: float | None = None) -> CoarseBody:
    """A volume (HU) at `spacing` mm, by default at 1/64 of its body's length. InputError where there is no body in it."""
    import SimpleITK as sitk

    if volume.units != "HU":
        raise InputError(f"{volume.name} has no Hounsfield units; only CTs are registered to a template.")
    body = _bounds(volume)
    if spacing is None:
        spacing = max(_FINEST, float((body[1] - body[0]).max()) / _MOST_VOXELS)
    factors = np.maximum(1, np.floor(spacing / volume.spacing)).astype(int)
    pooled = mean_hu(volume.array, (int(factors[0]), int(factors[1]), int(factors[2]))) - np.float32(_AIR)
    source = sitk.GetImageFromArray(pooled)
    shift = np.eye(4)
    shift[:3, 3] = (factors - 1) / 2
    lps = ras_to_lps(volume.ijk_to_ras @ shift @ np.diag([*factors.astype(float), 1.0]))
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    source.SetSpacing(steps.tolist())
    source.SetDirection((lps[:3, :3] / steps).ravel().tolist())
    source.SetOrigin(lps[:3, 3].tolist())
    low, high = np.minimum(-body[0], -body[1]), np.maximum(-body[0], -body[1])
    low[2], high[2] = body[0][2], body[1][2]
    size = np.ceil((high - low) / spacing).astype(int) + 3
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing([spacing] * 3)
    grid.SetOrigin((low - spacing).tolist())
    image = sitk.Resample(source, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    everywhere = sitk.Cast(source * 0 + 1, sitk.sitkUInt8)
    scanned = sitk.Resample(everywhere, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    return CoarseBody(image, scanned, spacing)


def place(volume: Volume, template: Volume) -> Placement:
    """How a CT lies in a template, found without a start: translations first, all at once, then rigid motions of the best.

    Both are HU. Always an answer; whether it can be right, `Placement.ok` says. InputError where one has no body.
    """
    fixed = coarse_body(template)
    moving = coarse_body(volume, fixed.spacing)
    roughly = [_refined(fixed, moving, translation(shift), 2) for shift in _shifts(fixed, moving)]
    best = max(roughly, key=lambda motion: _judged(fixed, moving, motion).score)
    return _judged(fixed, moving, _refined(fixed, moving, best, 1))


def coarse_template(volume: Volume) -> Volume:
    """What preregistration keeps of a CT: HU clipped at bone, a few millimetres a voxel, without name or place."""
    import SimpleITK as sitk

    body = coarse_body(volume)
    array = np.rint(sitk.GetArrayFromImage(body.image) + _AIR).astype(np.int16)
    lps = np.diag([body.spacing] * 3 + [1.0])
    lps[:3, 3] = body.image.GetOrigin()
    return Volume(array, lps_to_ras(lps), "template")


def overlays(volume: Volume, template: Volume, placement: Placement) -> list[tuple[str, NDArray[np.float32]]]:
    """Titles and RGB pictures (H, W, 3), 0..1: coronal and sagittal slices before and after, template magenta, patient green."""
    import SimpleITK as sitk

    fixed = coarse_body(template)
    moving = coarse_body(volume, fixed.spacing)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    found: list[tuple[str, NDArray[np.float32]]] = []
    for when, to_template in (("before", np.eye(4)), ("after", placement.to_template)):
        to_moving = sitk.AffineTransform(3)
        motion = flip @ invert(to_template) @ flip
        to_moving.SetMatrix(motion[:3, :3].ravel().tolist())
        to_moving.SetTranslation(motion[:3, 3].tolist())
        seen = sitk.Resample(moving.image, fixed.image, to_moving, sitk.sitkLinear, 0.0)
        both = [np.clip((sitk.GetArrayFromImage(i) - 500) / 1200, 0, 1)[::-1] for i in (fixed.image, seen)]
        _, j, i = (n // 2 for n in both[0].shape)
        for plane, where in (("coronal", np.s_[:, j, :]), ("sagittal", np.s_[:, :, i])):
            a, b = both[0][where], both[1][where]
            found.append((f"{plane}, {when}", np.stack([a, b, a], axis=-1)))
    return found


def checked_place(volume: Volume, placement: Placement) -> None:
    """Raise InputError with a sentence where a volume does not register to the template."""
    if not placement.ok:
        raise InputError(f"{volume.name}: {placement.sentence}")


def mean_hu(array: NDArray[Any], factors: tuple[int, int, int]) -> NDArray[np.float32]:
    """Means of HU (K, J, I), clipped to air and bone, over blocks of (i, j, k) `factors` voxels; the rest is cut off."""
    fi, fj, fk = factors
    k, j, i = (n // f for n, f in zip(array.shape, factors[::-1], strict=True))
    out = np.empty((k, j, i), dtype=np.float32)
    for layer in range(k):
        part = finite_hu(array[layer * fk : (layer + 1) * fk, : j * fj, : i * fi])
        values = np.clip(part, _AIR, _DENSEST).astype(np.float32)
        out[layer] = values.reshape(fk, j, fj, i, fi).mean(axis=(0, 2, 4))
    return out


def _bounds(volume: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner (3,), RAS mm, of what is denser than air."""
    along = [np.zeros(n, dtype=bool) for n in volume.array.shape]
    for k, plane in enumerate(volume.array):
        dense = plane > _BODY
        along[0][k] = dense.any()
        along[1] |= dense.any(axis=1)
        along[2] |= dense.any(axis=0)
    if not along[0].any():
        raise InputError(f"{volume.name} holds nothing denser than air; a CT in Hounsfield units is needed.")
    ends = [(np.flatnonzero(a)[0], np.flatnonzero(a)[-1]) for a in along[::-1]]
    corners = np.array(np.meshgrid(*ends, indexing="ij"), dtype=np.float64).reshape(3, -1).T
    ras = transform_points(volume.ijk_to_ras, corners)
    return ras.min(axis=0), ras.max(axis=0)


def _shifts(fixed: CoarseBody, moving: CoarseBody) -> list[NDArray[np.float64]]:
    """The most promising translations (3,), LPS mm, of points of the fixed body to the moving one's.

    All translations by whole voxels are compared by the correlation where both were scanned (Padfield 2012).
    """
    import SimpleITK as sitk

    inputs = [sitk.Cast(i, sitk.sitkFloat32) for i in (fixed.image, moving.image, fixed.scanned, moving.scanned)]
    for image in inputs:
        image.SetOrigin([0.0] * 3)  # the filter wants them at one place
    scores = sitk.MaskedFFTNormalizedCorrelation(*inputs, 0, _LEAST_COMMON)
    values = sitk.GetArrayFromImage(scores)  # (K, J, I) of the translations
    apart = np.array(moving.image.GetOrigin()) - np.array(fixed.image.GetOrigin())
    found: list[NDArray[np.float64]] = []
    while len(found) < _STARTS and values.max() > 0:
        peak = np.array(np.unravel_index(int(values.argmax()), values.shape))
        # Of the moving image's first voxel in the fixed image, voxels.
        offset = peak[::-1] - (np.array(moving.image.GetSize()) - 1)
        found.append(apart - offset * fixed.spacing)
        values[tuple(slice(max(0, p - _APART), p + _APART + 1) for p in peak)] = 0.0
    return found or [apart]


def _refined(fixed: CoarseBody, moving: CoarseBody, start: NDArray[np.float64], shrink: int) -> NDArray[np.float64]:
    """The rigid motion (4, 4), LPS mm, of the fixed body's points to the moving one's, climbing from a `start` (4, 4).

    On a grid coarser by `shrink`.
    """
    import SimpleITK as sitk

    size = np.array(fixed.image.GetSize())
    center = np.array(fixed.image.TransformContinuousIndexToPhysicalPoint(((size - 1) / 2).tolist()))
    transform = sitk.Euler3DTransform()
    transform.SetCenter(center.tolist())
    transform.SetMatrix(start[:3, :3].ravel().tolist(), 1e-6)
    transform.SetTranslation((start[:3, :3] @ center + start[:3, 3] - center).tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(fixed.scanned)
    method.SetMetricMovingMask(moving.scanned)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=fixed.spacing * shrink, minStep=0.02 * fixed.spacing * shrink, numberOfIterations=60
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([0.5 * fixed.spacing * shrink])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed.image, moving.image)
    except RuntimeError:  # a start from which it leaves the moving image is judged as it is
        return start
    turn, middle = np.array(transform.GetMatrix()).reshape(3, 3), np.array(transform.GetCenter())
    return rigid(turn, middle + np.array(transform.GetTranslation()) - turn @ middle)


def _judged(fixed: CoarseBody, moving: CoarseBody, to_moving: NDArray[np.float64]) -> Placement:
    """What a rigid motion (4, 4), LPS mm, of the fixed body's points to the moving one's makes of both."""
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix(to_moving[:3, :3].ravel().tolist())
    transform.SetTranslation(to_moving[:3, 3].tolist())

    def seen(image: Any, interpolator: int) -> NDArray[Any]:
        return np.asarray(sitk.GetArrayFromImage(sitk.Resample(image, fixed.image, transform, interpolator, 0.0)))

    a, b = sitk.GetArrayFromImage(fixed.image), seen(moving.image, sitk.sitkLinear)
    both = (sitk.GetArrayFromImage(fixed.scanned) > 0) & (seen(moving.scanned, sitk.sitkNearestNeighbor) > 0)
    body_a, body_b = _body(a), _body(b)
    inside = body_a & body_b & both
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return Placement(
        flip @ invert(to_moving) @ flip,
        similarity=_correlation(a[inside], b[inside]),
        outline=float(2 * inside.sum() / max(1, (body_a & both).sum() + (body_b & both).sum())),
        cover=float((body_a & both).sum() / max(1, body_a.sum())),
        turn=float(np.degrees(rotation_angle(to_moving[:3, :3]))),
    )


def _body(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Where (K, J, I) HU + 1000 are a body, with the lungs and all else that it encloses in an axial slice."""
    dense = image > _BODY - _AIR
    return np.stack([ndimage.binary_fill_holes(plane) for plane in dense])


def _correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    if a.size < 2 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
