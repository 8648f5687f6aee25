"""Reading an X-ray from any file: DICOM with its geometry, other images with the geometry that the user gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.damaged import guarded
from XVRegistrationLib.imaging.dicom.dataset import is_dicom
from XVRegistrationLib.imaging.dicom.frames import checked_frame, grey_of_colours, reduced
from XVRegistrationLib.imaging.dicom.subtraction import line_integrals, mean_of, note_of, subtraction_by
from XVRegistrationLib.imaging.dicom.xray import Given, is_subtractable, read_dicom_parts, read_dicom_run, whole
from XVRegistrationLib.imaging.partial import PartialXray, arguments_for, mirrored_origin, user_distance, user_spacing
from XVRegistrationLib.imaging.picture_meaning import with_recognised_meaning

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.dicom.subtraction import Subtract
    from XVRegistrationLib.imaging.xray import Scale, Xray

_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# Their headers state where pixels lie in mm. PNG, TIFF and JPEG at best state a resolution for printing.
_SPACED_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
_PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def read_xray(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool = False,
    scale: Scale | None = None,
    frame: int | str | None = None,
) -> Xray:
    """X-ray of a DICOM, NIfTI, MetaImage, NRRD, PNG or TIFF file, with its geometry in mm.

    Only DICOM states the distance source-detector; for other files `sid` is needed, and `spacing` for pictures. `scale`
    says what bright pixels mean: without it DICOM's tags decide, and other files are taken as shown, dense being bright.
    `frame` as in `read_xray_parts`. Raises InputError, which says what is missing.
    """
    parts = read_xray_parts(path, sid=sid, spacing=spacing, mirrored=mirrored, scale=scale, frame=frame)
    if _is_taken_for_dicom(Path(path)):
        return whole(parts, path)
    if parts.missing:
        raise InputError(
            f"{path} does not state {' and '.join(parts.absent.values())}; give it in mm, or use the DICOM file.",
            give=arguments_for(parts.missing),
        )
    return parts.complete()


def read_xray_parts(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool | None = None,
    scale: Scale | None = None,
    frame: int | str | None = None,
    subtract: Subtract = False,
) -> PartialXray:
    """What a file states of an X-ray, for the same files and options as `read_xray`; what it lacks is left open.

    With `mirrored` None an image of a C-arm that states its angle is taken as mirrored, others as not. `frame` says which
    of a run's frames: an index from 0, or "min", "max" or "mean" over the run of the radiation at each pixel. `subtract`
    subtracts the mask frames that a DICOM file names, or the mean of those (from 0) that it lists itself, of any run. Raises InputError for a run without `frame`.
    """
    path = Path(path)
    given = Given(sid, spacing, mirrored)
    with guarded(path):
        if _is_taken_for_dicom(path):
            return _scaled(read_dicom_parts(path, **given._asdict(), frame=frame, subtract=subtract), scale)
        _check_mask(path, subtract)
        images, file_spacing = _read_images(path)
        which = checked_frame(frame, len(images), path)
        return _of_stack(path, images, which, file_spacing, given, scale, subtract)


def read_run(
    path: str | os.PathLike[str],
    frames: slice | None = None,
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool | None = None,
    scale: Scale | None = None,
    subtract: Subtract = False,
) -> list[PartialXray]:
    """What a file states of each of its frames, in order, or of those in a slice of their indices from 0; decoded once.

    A file of one frame is a run of one. Options as in `read_xray_parts`.
    """
    path, given = Path(path), Given(sid, spacing, mirrored)
    with guarded(path):
        if _is_taken_for_dicom(path):
            return [_scaled(x, scale) for x in read_dicom_run(path, frames, **given._asdict(), subtract=subtract)]
        _check_mask(path, subtract)
        images, file_spacing = _read_images(path)
        chosen = [
            i for i in range(len(images))[frames or slice(None)] if isinstance(subtract, bool) or i not in subtract
        ]
        if not chosen:
            raise InputError(f"None of the {len(images)} frames of {path} is among those asked for.")
        return [_of_stack(path, images, i, file_spacing, given, scale, subtract) for i in chosen]


def can_be_subtracted(path: str | os.PathLike[str], frame: int | str | None = None) -> bool:
    """Whether a file says which of its frames are the mask of `frame` (an index from 0), or of any.

    Raises InputError for a file that cannot be read.
    """
    path = Path(path)
    with guarded(path):
        return _is_taken_for_dicom(path) and is_subtractable(path, frame if isinstance(frame, int) else None)


def _check_mask(path: Path, subtract: Subtract) -> None:
    """Raise InputError where a file that is not DICOM is to say itself what is subtracted."""
    if subtract is True:
        raise InputError(
            f"{path} is no DICOM file: nothing says which frames are the mask of others; name the mask frames yourself, or "
            "use it as it is."
        )


def _of_stack(
    path: Path,
    images: NDArray[Any],
    which: int | str,
    file_spacing: tuple[float, float] | None,
    given: Given,
    scale: Scale | None,
    subtract: Subtract,
) -> PartialXray:
    """The X-ray of one of some images (N, H, W), or of what is made of all; of a subtracted one it is line integrals."""
    # Without a scale dense is bright, and then the least radiation is the highest value.
    dense_first = {"min": "max", "max": "min", "mean": "mean"}
    if isinstance(which, int):
        pixels = images[which]
    else:
        pixels = reduced(images, which if scale == "intensity" else dense_first[which])
    # DICOM at least says how an image is to be shown; a picture says nothing, and is asked itself.
    plain = with_recognised_meaning(_picture(path, pixels, which, len(images), file_spacing, given, scale))
    if isinstance(subtract, bool):
        return plain
    numbers = [which] if isinstance(which, int) else [i for i in range(len(images)) if i not in subtract]
    mask = subtraction_by(subtract, numbers[0] if numbers else 0, len(images), path).mask
    background = mean_of([line_integrals(images[n], plain.scale) for n in mask])
    frames = (line_integrals(images[n], plain.scale) - background for n in numbers)
    difference = next(frames) if isinstance(which, int) else reduced(frames, dense_first[which])
    pixels, counts, notes = _finite(difference)
    return dataclasses.replace(
        plain, pixels=pixels, scale="attenuation", mask=counts, notes=(*notes, *note_of(subtract))
    )


def _scaled(parts: PartialXray, scale: Scale | None) -> PartialXray:
    """A DICOM file's X-ray of which the user may have said what bright pixels mean."""
    if scale is None:
        return parts
    return dataclasses.replace(parts, scale=scale, origins={**parts.origins, "scale": "user"})


def _picture(
    path: Path,
    pixels: NDArray[Any],
    which: int | str,
    count: int,
    file_spacing: tuple[float, float] | None,
    given: Given,
    scale: Scale | None,
) -> PartialXray:
    """The X-ray of a file that is not DICOM, of which the user says most."""
    distance = None if given.sid is None else user_distance(given.sid)
    used = user_spacing(given.spacing) if given.spacing is not None else file_spacing
    origins = {
        "sdd": "user",
        "spacing": "tag" if given.spacing is None else "user",
        "principal_point": "assumed",
        "size": "tag",
        "mirrored": mirrored_origin(given.mirrored),
        "scale": "assumed" if scale is None else "user",
    }
    absent = {"sdd": "the distance source-detector"} if distance is None else {}
    if used is None:
        absent["spacing"] = "the pixel spacing"
    pixels, mask, notes = _finite(pixels)
    name = path.name[: len(path.name) - len(_suffix(path))]
    if count > 1:
        name += f"-{which:04d}" if isinstance(which, int) else f"-{which}"
    return PartialXray(
        name=name,
        pixels=pixels,
        scale=scale or "attenuation",
        path=str(path.resolve()),
        mirrored=bool(given.mirrored),
        sdd=distance,
        spacing=used,
        mask=mask,
        frame=which if count > 1 and isinstance(which, int) else None,
        frames=count,
        origins={name: origin for name, origin in origins.items() if name not in absent},
        absent=absent,
        notes=notes,
    )


def _finite(pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None, tuple[str, ...]]:
    """Pixels (H, W) of which some may be no numbers: these do not count, and get the lowest value."""
    finite = np.isfinite(pixels)
    if finite.all() or not finite.any():  # of nothing else than those, `usable` says that it shows nothing
        return pixels, None, ()
    said = f"{1 - finite.mean():.1%} of its pixels are no numbers and do not count."
    return np.where(finite, pixels, pixels[finite].min()), finite, (said,)


def _is_taken_for_dicom(path: Path) -> bool:
    suffix = _suffix(path)
    return suffix in _DICOM_SUFFIXES or (suffix not in _SPACED_SUFFIXES + _PICTURE_SUFFIXES and is_dicom(path))


def _suffix(path: Path) -> str:
    """The extension in lower case, with `.nii.gz` as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _read_images(path: Path) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """Frames (N, H, W) as stored, N being 1 for a picture, and their spacing (dx, dy) in mm, None where none is stated."""
    import SimpleITK as sitk

    if not path.is_file():
        what = "is a folder; give the file of one X-ray" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as e:
        raise InputError(f"{path} cannot be read as an image: it is damaged or of an unknown format.") from e
    if image.GetDimension() > 3 and any(n != 1 for n in image.GetSize()[3:]):
        raise InputError(f"{path} has four dimensions (size {image.GetSize()}); give X-rays or a run of them.")
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        if array.shape[-1] not in (3, 4):
            raise InputError(f"{path} holds {array.shape[-1]} values a pixel; an X-ray of grey values is needed.")
        array = grey_of_colours(array, path)
    dx, dy = image.GetSpacing()[:2]
    # One millimetre both ways is what these formats report when nobody set a spacing.
    stated = _suffix(path) in _SPACED_SUFFIXES and not (np.isclose(dx, 1) and np.isclose(dy, 1)) and min(dx, dy) > 0
    return array.reshape(-1, *array.shape[-2:]), (float(dx), float(dy)) if stated else None
