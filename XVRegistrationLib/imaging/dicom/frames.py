"""Stored values of a DICOM file's frames, one at a time: a run may be larger than memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import number_of_frames, quiet, read_dataset
from XVRegistrationLib.imaging.dicom.writer import save

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from pydicom.dataset import FileDataset

_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_PIXEL_MODULE = (
    "SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"
)  # fmt: skip
_MOST_DIFFERENCE = 2  # of the colours of a grey image, that lossy compression may have made
REDUCTIONS = ("min", "max", "mean")


def checked_frame(frame: int | str | None, count: int, path: Path) -> int | str:
    """Which of `count` frames is meant: an index from 0, or one of REDUCTIONS; InputError where that is not said."""
    if frame is None:
        if count == 1:
            return 0
        raise InputError(
            f"{path} holds {count} frames: say which one, 0 to {count - 1}, or min, max or mean over the run; or register all of "
            "them.",
            give=("frame",),
        )
    if isinstance(frame, str) and frame in REDUCTIONS:
        return frame
    if isinstance(frame, bool) or not isinstance(frame, int):
        raise InputError(f"A frame is a number from 0, or min, max or mean, not {frame!r}.", give=("frame",))
    if not 0 <= frame < count:
        has = f"{count} frames, 0 to {count - 1}" if count > 1 else "one frame, 0"
        raise InputError(f"{path} has no frame {frame}: it holds {has}.")
    return frame


def decoded(path: Path, dataset: FileDataset, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """(H, W) stored values of each of some frames (from 0), without bits that are not the image's; InputError if damaged.

    They have the machine's byte order. Only those frames are decoded. Overlays and rubbish in the bits beside BitsStored (PS3.5, 8.1.1) are removed.
    """
    frames = _decoded(path, dataset, indices)
    while True:
        try:
            with quiet():
                stored = next(frames)
                if stored.ndim == 3 and stored.shape[-1] in (3, 4):
                    stored = grey_of_colours(stored, path)
                stored = _own_bits(stored, dataset)
                stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        except StopIteration:
            return
        except InputError:
            raise
        # A damaged stream may fail anywhere in a decoder; whatever it is, the file is at fault and not the program.
        except Exception as e:
            reason = " ".join(str(e).split())
            raise InputError(f"The pixels of {path} cannot be decoded: {reason}") from e
        if stored.shape != (int(dataset.Rows), int(dataset.Columns)):
            raise InputError(f"{path} does not hold two-dimensional images: its pixels have shape {stored.shape}.")
        yield stored


def stored_values(path: str, frame: int | None) -> NDArray[Any] | None:
    """(H, W) values of a file, or of a frame of it, as they are stored; None where there is no such image."""
    try:
        return next(decoded(Path(path), read_dataset(Path(path)), [frame or 0]), None)
    except InputError:  # whoever reads the X-ray says what is wrong with it
        return None


def reduced(frames: Iterable[NDArray[Any]], how: str) -> NDArray[Any]:
    """(H, W) min, max or mean over frames, each pixel by itself, holding no more than two frames; the mean is float32."""
    total: NDArray[Any] | None = None
    count = 0
    for frame in frames:
        count += 1
        if total is None:
            total = frame.astype(np.float64) if how == "mean" else frame.copy()
        elif how == "mean":
            total += frame
        else:
            (np.minimum if how == "min" else np.maximum)(total, frame, out=total)
    if total is None:
        raise InputError(f"There is no frame to take the {how} of.")
    return (total / count).astype(np.float32) if how == "mean" else total


def _decoded(path: Path, dataset: FileDataset, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    twelve_bits = syntax == _JPEG_EXTENDED and int(dataset.get("BitsStored") or 0) > 8
    if twelve_bits or (syntax is not None and not _decoders(syntax)):
        yield from _by_simpleitk(path, dataset, indices)
    else:
        yield from _by_pydicom(path, dataset, indices)


def _decoders(syntax: str) -> tuple[str, ...]:
    """pydicom's decoders that there are for a transfer syntax, or its word for any where they cannot be told.

    Raises what pydicom does for a syntax that none of its decoders is for, such as a film's.
    """
    try:
        from pydicom.pixels.decoders.base import get_decoder
    except ImportError:  # before pydicom 3
        return ("",)
    decoder = get_decoder(syntax)  # type: ignore[arg-type,unused-ignore]
    return ("",) if decoder.is_native else tuple(decoder.available_plugins)


def _by_pydicom(path: Path, dataset: FileDataset, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    import pydicom

    colour = int(dataset.get("SamplesPerPixel") or 1) > 1
    try:
        from pydicom.pixels.utils import iter_pixels
    except ImportError:  # before pydicom 3, as in Slicer 5.10, which decodes whole runs only
        stack = pydicom.dcmread(path).pixel_array
        one = number_of_frames(dataset, path) == 1
        yield from ([stack][i] if one else stack[i] for i in indices)
        return
    # A deflated file is one compressed stream, header and all, and is taken apart as a whole.
    source = pydicom.dcmread(path) if dataset.file_meta.get("TransferSyntaxUID") == _DEFLATED else path
    # One decoder wherever it is installed: with others there a damaged frame would be tried by each, some of them slow.
    decoder = "gdcm" if "gdcm" in _decoders(dataset.file_meta.TransferSyntaxUID) else ""
    yield from iter_pixels(
        source, indices=list(indices), raw=not colour, decoding_plugin=decoder, correct_unused_bits=False
    )


def _by_simpleitk(path: Path, dataset: FileDataset, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Frames of a compression that no freely licensed decoder of pydicom has (JPEG with 12 bits), or none that is there.

    ITK has them all; it takes some 4 ms longer for a frame. Each frame is written as a file of its own, without anything else of the original, because ITK decodes whole runs and
    changes values for display.
    """
    import pydicom
    import SimpleITK as sitk
    from pydicom.encaps import encapsulate

    pixel_data = pydicom.dcmread(path)["PixelData"].value
    fragments = list(_fragments(pixel_data, number_of_frames(dataset, path)))
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frame.dcm"
        reader.SetFileName(str(file))
        for index in indices:
            _write_frame(file, dataset, encapsulate([fragments[index]]))
            yield sitk.GetArrayFromImage(reader.Execute())[0]


def _fragments(pixel_data: bytes, count: int) -> Iterator[bytes]:
    """The compressed bytes of each frame."""
    try:
        from pydicom.encaps import generate_frames
    except ImportError:  # before pydicom 3
        from pydicom.encaps import generate_pixel_data_frame

        yield from generate_pixel_data_frame(pixel_data, count)
        return
    yield from generate_frames(pixel_data, number_of_frames=count)


def _write_frame(file: Path, dataset: FileDataset, pixel_data: bytes) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset

    one = Dataset()
    for keyword in _PIXEL_MODULE:
        setattr(one, keyword, dataset.get(keyword))
    # Without a rescale and not MONOCHROME1: ITK would invert that.
    one.PhotometricInterpretation = "MONOCHROME2"
    one.SOPClassUID, one.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    one.add_new("PixelData", "OB", pixel_data)
    one["PixelData"].is_undefined_length = True
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    save(one, file)


def grey_of_colours(colours: NDArray[Any], path: Path) -> NDArray[Any]:
    """(..., H, W) of an image (..., H, W, 3 or 4) that is stored as colours but shows none; InputError where it shows some."""
    red, green, blue = (colours[..., n].astype(np.int32) for n in range(3))
    if max(np.abs(red - green).max(), np.abs(red - blue).max()) > _MOST_DIFFERENCE:
        raise InputError(f"{path} is a colour image; an X-ray of grey values is needed.")
    return colours[..., 0]


def _own_bits(stored: NDArray[Any], dataset: FileDataset) -> NDArray[Any]:
    """Values of the bits HighBit - BitsStored + 1 to HighBit alone, with their sign."""
    allocated = 8 * stored.dtype.itemsize
    bits = int(dataset.get("BitsStored") or allocated)
    if stored.dtype.kind not in "iu" or not 0 < bits < allocated:
        return stored
    # What a decoder returns lies in the lowest bits, wherever it was before compression.
    native = not dataset.file_meta.TransferSyntaxUID.is_encapsulated
    high = int(dataset.get("HighBit", bits - 1)) if native else bits - 1
    if not bits - 1 <= high < allocated:
        high = bits - 1
    own = stored if stored.flags.writeable else stored.copy()
    np.left_shift(own, allocated - 1 - high, out=own)
    return np.right_shift(own, allocated - bits, out=own)
