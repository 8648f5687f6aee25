"""X-rays of a tube voltage by nanodrr: it goes through each material of a CT, and the beam's attenuation is made of what it finds."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.simulation import NanodrrRenderer
from XVRegistrationLib.rendering.materials import material_densities

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.evaluation.simulation import Renderer
    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.rendering.spectrum import Tube


def renderer_of(volume: Volume, tube: Tube | None) -> Renderer:
    """What X-rays of a volume are made by: at one energy, or of a tube. Raises InputError for a tube and a volume that is no CT."""
    return NanodrrRenderer(volume) if tube is None else PolyenergeticRenderer(volume, tube)


class PolyenergeticRenderer:
    """nanodrr with the soft tissue and the bone of one CT loaded, on the CPU, and a tube's beam."""

    def __init__(self, volume: Volume, tube: Tube) -> None:
        """Take over a CT in HU; InputError for a volume of anything else."""
        from XVRegistrationLib.rendering.spectrum import beam

        if volume.units != "HU":
            raise InputError(f"{volume.name} is no CT in Hounsfield units, and X-rays of a tube voltage need one.")
        densities = material_densities(volume.array)
        self._beam = beam(tube, tuple(densities))
        # g/cm3 are tenths of g/cm2 per mm; nanodrr takes what is no HU as it is.
        self._renderers = [
            NanodrrRenderer(dataclasses.replace(volume, array=d / np.float32(10), units="1/mm"))
            for d in densities.values()
        ]

    def line_integral(self, pose: ArrayLike, intrinsics: Intrinsics) -> NDArray[np.float32]:
        """(H, W) -ln(I / I0), as stored (mirrored if it says so)."""
        import torch

        from XVRegistrationLib.rendering.polyenergetic import attenuated

        area = np.stack([renderer.line_integral(pose, intrinsics) for renderer in self._renderers])
        image: NDArray[np.float32] = attenuated(torch.from_numpy(area)[None], self._beam)[0].numpy()
        return image
