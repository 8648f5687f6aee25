"""The innermost loop of the ray march, in the C++ that Warp compiles for both CPU and CUDA.

On a CPU sixteen samples of a ray go through the vector unit together, on CUDA every thread takes its own ray one sample after the
other. It is C++ because Warp's Python has no vectors that a compiler could put into registers, and no way to load two neighbours
at once: the two voxels along i that a sample lies between are one word.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import warp as wp

from XVRegistrationLib.rendering.channels import MOST_CHANNELS, NEAR

SAMPLES = 16
"""Samples that are looked at together: one test of whether anything is there, and on a CPU one step of the vector unit."""

_WALK = """
#if defined(__CUDA_ARCH__)
    constexpr int LANES = 1;
#else
    constexpr int LANES = SAMPLES;
#endif
    // The code of a density at a voxel, and at the next one along i, of what was loaded there.
    #define LOW(corner, density) ((float)(int)((w##corner >> (16 * (density))) & 0xffff))
    #define HIGH(corner, density) ((float)(int)(((WIDTH == 4 ? u##corner : w##corner >> (16 * WIDTH)) >> (16 * (density))) & 0xffff))
    const char* voxels = (const char*)codes.data;
    const size_t row = nx, plane = (size_t)nx * ny;
    EACH_SUM
    // A brick says whether anything is near it: as far as half a group of samples reaches from its middle, if steps are not too long.
    bool leap = true;
    for (int a = 0; a < 3; ++a)
        leap = leap && 0.25f * SAMPLES * step * (d[a] < 0 ? -d[a] : d[a]) + 1.0f <= (float)(NEAR << brick[a]);

    for (int group = first; group <= last; group += SAMPLES) {
        const float begin = middle + ((float)group + 0.5f) * step;
        if (leap) {
            bool empty = true;
            for (int half = 0; half < 2; ++half) {
                const float t = begin + (0.25f * (SAMPLES - 1) + 0.5f * SAMPLES * half) * step;
                int bx = (int)(s[0] + t * d[0]) >> brick[0], by = (int)(s[1] + t * d[1]) >> brick[1], bz = (int)(s[2] + t * d[2]) >> brick[2];
                bx = bx < 0 ? 0 : (bx < mx ? bx : mx - 1);
                by = by < 0 ? 0 : (by < my ? by : my - 1);
                bz = bz < 0 ? 0 : (bz < mz ? bz : mz - 1);
                empty = empty && !occupied.data[(bz * my + by) * mx + bx];
            }
            if (empty)
                continue;
        }
        for (int part = 0; part < SAMPLES; part += LANES) {
            #pragma clang loop vectorize(enable)
            for (int l = 0; l < LANES; ++l) {
                const int k = part + l;
                const float t = begin + (float)k * step;
                const float px = s[0] + t * d[0], py = s[1] + t * d[1], pz = s[2] + t * d[2];
                int ix = (int)px, iy = (int)py, iz = (int)pz;
                ix = ix < 0 ? 0 : (ix > nx - 2 ? nx - 2 : ix);
                iy = iy < 0 ? 0 : (iy > ny - 2 ? ny - 2 : iy);
                iz = iz < 0 ? 0 : (iz > nz - 2 ? nz - 2 : iz);
                const float fx = px - (float)ix, fy = py - (float)iy, fz = pz - (float)iz;
                const float on = group + k <= last ? 1.0f : 0.0f;
                const size_t at = ((size_t)iz * ny + iy) * nx + ix;
                LOAD
                EACH_SAMPLE
            }
        }
    }
    wp::vec_t<7 * MOST, float> total(0.0f);
    for (int l = 0; l < LANES; ++l) {
        EACH_TOTAL
    }
    #undef LOW
    #undef HIGH
    return total;
"""
_SUMS = """
    float sum@[LANES], gx@[LANES], gy@[LANES], gz@[LANES], tx@[LANES], ty@[LANES], tz@[LANES];
    for (int l = 0; l < LANES; ++l)
        sum@[l] = gx@[l] = gy@[l] = gz@[l] = tx@[l] = ty@[l] = tz@[l] = 0.0f;
"""
_SAMPLE = """
                const float v000@ = LOW(00, @), v001@ = HIGH(00, @), v010@ = LOW(01, @), v011@ = HIGH(01, @);
                const float v100@ = LOW(10, @), v101@ = HIGH(10, @), v110@ = LOW(11, @), v111@ = HIGH(11, @);
                const float dx00@ = v001@ - v000@, dx01@ = v011@ - v010@, dx10@ = v101@ - v100@, dx11@ = v111@ - v110@;
                const float c00@ = v000@ + dx00@ * fx, c01@ = v010@ + dx01@ * fx;
                const float c10@ = v100@ + dx10@ * fx, c11@ = v110@ + dx11@ * fx;
                const float dy0@ = c01@ - c00@, dy1@ = c11@ - c10@;
                const float e0@ = c00@ + dy0@ * fy, e1@ = c10@ + dy1@ * fy;
                sum@[l] += on * (e0@ + (e1@ - e0@) * fz);
                if (WITH_JACOBIAN) {
                    const float dx0@ = dx00@ + (dx01@ - dx00@) * fy, dx1@ = dx10@ + (dx11@ - dx10@) * fy;
                    const float hx = on * (dx0@ + (dx1@ - dx0@) * fz), hy = on * (dy0@ + (dy1@ - dy0@) * fz), hz = on * (e1@ - e0@);
                    gx@[l] += hx;
                    gy@[l] += hy;
                    gz@[l] += hz;
                    tx@[l] += t * hx;
                    ty@[l] += t * hy;
                    tz@[l] += t * hz;
                }
"""
_TOTAL = """
        total[7 * @] += sum@[l];
        total[7 * @ + 1] += gx@[l];
        total[7 * @ + 2] += gy@[l];
        total[7 * @ + 3] += gz@[l];
        total[7 * @ + 4] += tx@[l];
        total[7 * @ + 5] += ty@[l];
        total[7 * @ + 6] += tz@[l];
"""
# What lies at a voxel and at the next along i, in as few loads as there can be: a voxel has one code, two, or four.
_LOAD = """
                WORD w##, u##;
                __builtin_memcpy(&w##, voxels + 2 * WIDTH * (at + OFFSET), sizeof(WORD));
                __builtin_memcpy(&u##, voxels + 2 * WIDTH * (at + OFFSET) + (WIDTH == 4 ? 8 : 0), sizeof(WORD));
"""
_OFFSETS = {"00": "0", "01": "row", "10": "plane", "11": "plane + row"}

Sums = wp.types.vector(length=7 * MOST_CHANNELS, dtype=wp.float32)


def _source(channels: int, jacobian: bool) -> str:
    """The walk through so many densities, with or without derivatives."""
    width = channels if channels != 3 else MOST_CHANNELS

    def each(text: str) -> str:
        return "".join(text.replace("@", str(c)) for c in range(channels))

    load = "".join(_LOAD.replace("##", name).replace("OFFSET", offset) for name, offset in _OFFSETS.items())
    text = (
        _WALK.replace("EACH_SUM", each(_SUMS)).replace("EACH_SAMPLE", each(_SAMPLE)).replace("EACH_TOTAL", each(_TOTAL))
    )
    text = text.replace("LOAD", load)
    for name, value in {
        "WITH_JACOBIAN": str(jacobian).lower(),
        "SAMPLES": SAMPLES,
        "NEAR": NEAR,
        "MOST": MOST_CHANNELS,
        "WIDTH": width,
        "WORD": "unsigned int" if width == 1 else "unsigned long long",
    }.items():
        text = text.replace(name, str(value))
    return text


@cache
def walk_through(channels: int, jacobian: bool) -> Any:
    """The function for a kernel that walks along a ray through so many densities.

    It gives seven sums over the samples `first` to `last` for each density, in codes: the density itself and, with `jacobian`, its
    gradient by grid indices (3) and t times that (3). The ray is at `s + t d`, grid indices, its samples at t = middle +
    (k + 1/2) step.
    """

    @wp.func_native(_source(channels, jacobian))
    def walk(
        codes: wp.array(dtype=wp.int16),
        nx: int,
        ny: int,
        nz: int,
        occupied: wp.array(dtype=wp.uint8),
        mx: int,
        my: int,
        mz: int,
        brick: wp.vec3i,
        s: wp.vec3,
        d: wp.vec3,
        middle: float,
        first: int,
        last: int,
        step: float,
    ) -> Sums: ...

    return walk
