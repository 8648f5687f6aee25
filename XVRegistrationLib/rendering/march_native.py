"""The innermost loop of the ray march, in the C++ that Warp compiles for both CPU and CUDA.

On a CPU sixteen samples of a ray go through the vector unit together, on CUDA every thread takes its own ray one sample after the
other. It is C++ because Warp's Python has no vectors that a compiler could put into registers, and no way to load two neighbours
at once: the two voxels along i that a sample lies between are one 32-bit word.
"""

from __future__ import annotations

import warp as wp

from XVRegistrationLib.rendering.grid import NEAR

SAMPLES = 16
"""Samples that are looked at together: one test of whether anything is there, and on a CPU one step of the vector unit."""

_WALK = r"""
#if defined(__CUDA_ARCH__)
    constexpr int LANES = 1;
    const unsigned short* codes = (const unsigned short*)voxels.codes.data;
    #define NEIGHBOURS(low, high, at) const float low = (float)codes[at], high = (float)codes[(at) + 1];
#else
    constexpr int LANES = SAMPLES;
    const char* codes = (const char*)voxels.codes.data;
    #define NEIGHBOURS(low, high, at) \
        unsigned int word_##low; \
        __builtin_memcpy(&word_##low, codes + 2 * (at), 4); \
        const float low = (float)(int)(word_##low & 0xffffu), high = (float)(int)(word_##low >> 16);
#endif
    const int nx = voxels.size[0], ny = voxels.size[1], nz = voxels.size[2];
    const int mx = voxels.bricks[0], my = voxels.bricks[1], mz = voxels.bricks[2];
    const wp::vec3i brick = voxels.brick;
    const size_t row = nx, plane = (size_t)nx * ny;
    float sum[LANES], gx[LANES], gy[LANES], gz[LANES], tx[LANES], ty[LANES], tz[LANES];
    for (int l = 0; l < LANES; ++l)
        sum[l] = gx[l] = gy[l] = gz[l] = tx[l] = ty[l] = tz[l] = 0.0f;

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
                empty = empty && !voxels.occupied.data[(bz * my + by) * mx + bx];
            }
            if (empty)
                continue;
        }
        for (int part = 0; part < SAMPLES; part += LANES) {
#if !defined(__CUDA_ARCH__)
            #pragma clang loop vectorize(enable)
#endif
            for (int l = 0; l < LANES; ++l) {
                const int k = part + l;
                const float t = begin + (float)k * step;
                const float px = s[0] + t * d[0], py = s[1] + t * d[1], pz = s[2] + t * d[2];
                int ix = (int)px, iy = (int)py, iz = (int)pz;
                ix = ix < 0 ? 0 : (ix > nx - 2 ? nx - 2 : ix);
                iy = iy < 0 ? 0 : (iy > ny - 2 ? ny - 2 : iy);
                iz = iz < 0 ? 0 : (iz > nz - 2 ? nz - 2 : iz);
                const float fx = px - (float)ix, fy = py - (float)iy, fz = pz - (float)iz;
                const size_t at = (size_t)iz * plane + (size_t)iy * row + ix;
                NEIGHBOURS(v000, v001, at)
                NEIGHBOURS(v010, v011, at + row)
                NEIGHBOURS(v100, v101, at + plane)
                NEIGHBOURS(v110, v111, at + plane + row)
                const float on = group + k <= last ? 1.0f : 0.0f;
                const float dx00 = v001 - v000, dx01 = v011 - v010, dx10 = v101 - v100, dx11 = v111 - v110;
                const float c00 = v000 + dx00 * fx, c01 = v010 + dx01 * fx;
                const float c10 = v100 + dx10 * fx, c11 = v110 + dx11 * fx;
                const float dy0 = c01 - c00, dy1 = c11 - c10;
                const float e0 = c00 + dy0 * fy, e1 = c10 + dy1 * fy;
                sum[l] += on * (e0 + (e1 - e0) * fz);
                if (WITH_JACOBIAN) {
                    const float dx0 = dx00 + (dx01 - dx00) * fy, dx1 = dx10 + (dx11 - dx10) * fy;
                    const float hx = on * (dx0 + (dx1 - dx0) * fz), hy = on * (dy0 + (dy1 - dy0) * fz), hz = on * (e1 - e0);
                    gx[l] += hx;
                    gy[l] += hy;
                    gz[l] += hz;
                    tx[l] += t * hx;
                    ty[l] += t * hy;
                    tz[l] += t * hz;
                }
            }
        }
    }
    #undef NEIGHBOURS
    RETURN
"""
_VALUE = """
    float total = 0.0f;
    for (int l = 0; l < LANES; ++l)
        total += sum[l];
    return total;
"""
_ALL = """
    wp::vec_t<7, float> total(0.0f);
    for (int l = 0; l < LANES; ++l) {
        total[0] += sum[l];
        total[1] += gx[l];
        total[2] += gy[l];
        total[3] += gz[l];
        total[4] += tx[l];
        total[5] += ty[l];
        total[6] += tz[l];
    }
    return total;
"""
vec7 = wp.types.vector(length=7, dtype=wp.float32)


@wp.struct
class Voxels:
    """What a ray walks through: a `DensityGrid`'s codes, and the bricks that hold anything."""

    codes: wp.array(dtype=wp.int16)
    size: wp.vec3i
    """Voxels along i, j and k."""
    occupied: wp.array(dtype=wp.uint8)
    bricks: wp.vec3i
    """Their number along i, j and k."""
    brick: wp.vec3i
    """Binary logarithms of the voxels along a brick's sides."""


def _source(jacobian: bool) -> str:
    text = _WALK.replace("WITH_JACOBIAN", "true" if jacobian else "false").replace(
        "RETURN", _ALL if jacobian else _VALUE
    )
    return text.replace("SAMPLES", str(SAMPLES)).replace("NEAR", str(NEAR))


@wp.func_native(_source(jacobian=False))
def walk_value(
    voxels: Voxels,
    s: wp.vec3,
    d: wp.vec3,
    middle: float,
    first: int,
    last: int,
    step: float,
) -> float:
    """Sum of the samples `first` to `last` of a ray at `s + t d`, grid indices, t = middle + (k + 1/2) step, in codes."""


@wp.func_native(_source(jacobian=True))
def walk_all(
    voxels: Voxels,
    s: wp.vec3,
    d: wp.vec3,
    middle: float,
    first: int,
    last: int,
    step: float,
) -> vec7:
    """The same sum, that of the gradients (3), and that of t times the gradients (3), by grid indices."""
