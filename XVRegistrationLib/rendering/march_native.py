"""The innermost loop of the ray march, in the C++ that Warp compiles for both CPU and CUDA.

On a CPU the sixteen rays of a small tile of pixels go side by side, one in each lane of the vector unit: their samples lie in the same
few cache lines, and what they come to next is asked for in time. On CUDA every thread takes a ray of its own. It is C++ because Warp's
Python has no vectors that a compiler could put into registers, no way to ask for memory ahead, and none to load two neighbours
at once: the two voxels along i that a sample lies between are one 32-bit word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import warp as wp

from XVRegistrationLib.rendering.grid import NEAR

if TYPE_CHECKING:
    from XVRegistrationLib.rendering.grid import DensityGrid

TILE = 4
"""Pixels along a side of what goes side by side on a CPU."""
RAYS = TILE * TILE
SAMPLES = 16
"""Samples of a ray that are gone through together: one test of whether anything is there."""
AHEAD = 12
"""How many samples ahead a CPU asks for memory."""

_WALK = r"""
#if defined(__CUDA_ARCH__)
    constexpr int LANES = 1;
    const unsigned short* codes = (const unsigned short*)voxels.codes.data;
    #define NEIGHBOURS(low, high, at) const float low = (float)codes[at], high = (float)codes[(at) + 1];
#else
    constexpr int LANES = RAYS;
    const char* codes = (const char*)voxels.codes.data;
    #define NEIGHBOURS(low, high, at) \
        unsigned int word_##low; \
        __builtin_memcpy(&word_##low, codes + 2 * (long long)(at), 4); \
        const float low = (float)(int)(word_##low & 0xffffu), high = (float)(int)(word_##low >> 16);
#endif
#if defined(__CUDA_ARCH__)
    #define VECTORIZED
#else
    #define VECTORIZED _Pragma("clang loop vectorize(enable)")
#endif
    // What lies between eight corners, and its slopes, into the sums of density m.
    #define TAKE(m, v000, v001, v010, v011, v100, v101, v110, v111) { \
        const float dx00 = v001 - v000, dx01 = v011 - v010, dx10 = v101 - v100, dx11 = v111 - v110; \
        const float c00 = v000 + dx00 * fx, c01 = v010 + dx01 * fx; \
        const float c10 = v100 + dx10 * fx, c11 = v110 + dx11 * fx; \
        const float dy0 = c01 - c00, dy1 = c11 - c10; \
        const float e0 = c00 + dy0 * fy, e1 = c10 + dy1 * fy; \
        sum##m[l] += on * (e0 + (e1 - e0) * fz); \
        SLOPES(m) }
    const int nx = voxels.size[0], ny = voxels.size[1], nz = voxels.size[2];
    const int mx = voxels.bricks[0], my = voxels.bricks[1], mz = voxels.bricks[2];
    const int row = nx, plane = nx * ny;
    const wp::vec3i brick = voxels.brick;
    const unsigned char* occupied = voxels.occupied.data;
    const float sx = s[0], sy = s[1], sz = s[2];
    float dx[LANES], dy[LANES], dz[LANES], middle[LANES];
    int first[LANES], last[LANES];
    SUMS
    int begin = 0, end = -1;
    // A brick says whether anything is near it: as far as half a group of samples reaches from its middle, if steps are not too long.
    bool leap = true;
    for (int l = 0; l < LANES; ++l) {
        dx[l] = rays.dx[l], dy[l] = rays.dy[l], dz[l] = rays.dz[l], middle[l] = rays.middle[l];
        first[l] = rays.first[l], last[l] = rays.last[l];
        if (first[l] <= last[l]) {
            begin = begin > end || first[l] < begin ? first[l] : begin;
            end = last[l] > end ? last[l] : end;
        }
        const float d[3] = {dx[l], dy[l], dz[l]};
        for (int a = 0; a < 3; ++a)
            leap = leap && 0.25f * SAMPLES * step * (d[a] < 0 ? -d[a] : d[a]) + 1.0f <= (float)(NEAR << brick[a]);
    }
    // The cell that a sample at t mm lies in: its place in memory, and the sample's place in it.
    #define CELL(l, t) \
        const float px = sx + (t) * dx[l], py = sy + (t) * dy[l], pz = sz + (t) * dz[l]; \
        int ix = (int)px, iy = (int)py, iz = (int)pz; \
        ix = ix < 0 ? 0 : (ix > nx - 2 ? nx - 2 : ix); \
        iy = iy < 0 ? 0 : (iy > ny - 2 ? ny - 2 : iy); \
        iz = iz < 0 ? 0 : (iz > nz - 2 ? nz - 2 : iz); \
        const int at = iz * plane + iy * row + ix;

    for (int group = begin; group <= end; group += SAMPLES) {
        if (leap) {
            int anything = 0;
            for (int half = 0; half < 2; ++half) {
                const float away = ((float)group + 0.5f + 0.25f * (SAMPLES - 1) + 0.5f * SAMPLES * half) * step;
                VECTORIZED
                for (int l = 0; l < LANES; ++l) {
                    const float t = middle[l] + away;
                    int bx = (int)(sx + t * dx[l]) >> brick[0], by = (int)(sy + t * dy[l]) >> brick[1], bz = (int)(sz + t * dz[l]) >> brick[2];
                    bx = bx < 0 ? 0 : (bx < mx ? bx : mx - 1);
                    by = by < 0 ? 0 : (by < my ? by : my - 1);
                    bz = bz < 0 ? 0 : (bz < mz ? bz : mz - 1);
                    anything |= occupied[(bz * my + by) * mx + bx];
                }
            }
            if (!anything)
                continue;
        }
        const int stop = group + SAMPLES - 1 < end ? group + SAMPLES - 1 : end;
        for (int k = group; k <= stop; ++k) {
            const float away = ((float)k + 0.5f) * step;
#if !defined(__CUDA_ARCH__)
            // Outer lanes of each row of the tile, every other sample: what lies between are the same cache lines.
            if (k & 1)
                for (int l = 0; l < LANES; l += (l & 1) ? 1 : TILE - 1) {
                    CELL(l, middle[l] + away + AHEAD * step)
                    const char* next = codes + 2 * (long long)at;
                    __builtin_prefetch(next);
                    __builtin_prefetch(next + 2 * (long long)row);
                    __builtin_prefetch(next + 2 * (long long)plane);
                    __builtin_prefetch(next + 2 * (long long)(plane + row));
                }
#endif
            VECTORIZED
            for (int l = 0; l < LANES; ++l) {
                const float t = middle[l] + away;
                CELL(l, t)
                const float fx = px - (float)ix, fy = py - (float)iy, fz = pz - (float)iz;
                NEIGHBOURS(v000, v001, at)
                NEIGHBOURS(v010, v011, at + row)
                NEIGHBOURS(v100, v101, at + plane)
                NEIGHBOURS(v110, v111, at + plane + row)
                const float on = k >= first[l] && k <= last[l] ? 1.0f : 0.0f;
                DENSITIES
            }
        }
    }
    #undef NEIGHBOURS
    #undef VECTORIZED
    #undef TAKE
    #undef SLOPES
    #undef CELL
    RETURN
"""
_SLOPES = r"""
    #define SLOPES(m) \
        const float dx0 = dx00 + (dx01 - dx00) * fy, dx1 = dx10 + (dx11 - dx10) * fy; \
        const float hx = on * (dx0 + (dx1 - dx0) * fz), hy = on * (dy0 + (dy1 - dy0) * fz), hz = on * (e1 - e0); \
        gx##m[l] += hx; \
        gy##m[l] += hy; \
        gz##m[l] += hz; \
        tx##m[l] += t * hx; \
        ty##m[l] += t * hy; \
        tz##m[l] += t * hz;
"""
_NO_SLOPES = """
    #define SLOPES(m)
"""
_ONE = "TAKE(0, v000, v001, v010, v011, v100, v101, v110, v111)"
_BONE = r"""
                // Of the corners, not of what lies between them: as if bone had a volume of its own.
                #define BONE(v) const float above##v = v - knee, all##v = flat * v, low##v = above##v < all##v ? above##v : all##v, \
                    bone##v = low##v > 0.0f ? low##v : 0.0f;
                BONE(v000) BONE(v001) BONE(v010) BONE(v011) BONE(v100) BONE(v101) BONE(v110) BONE(v111)
                #undef BONE
                TAKE(1, bonev000, bonev001, bonev010, bonev011, bonev100, bonev101, bonev110, bonev111)
"""
_VALUE = ("sum",)
_ALL = ("sum", "gx", "gy", "gz", "tx", "ty", "tz")


def _source(densities: int, sums: tuple[str, ...]) -> str:
    names = [f"{name}{m}" for m in range(densities) for name in sums]
    arrays = f"float {', '.join(f'{name}[LANES]' for name in names)};\n    for (int l = 0; l < LANES; ++l)\n        "
    arrays += " = ".join(f"{name}[l]" for name in names) + " = 0.0f;"
    rows = "".join(f"        total.data[{n}][l] = {name}[l];\n" for n, name in enumerate(names))
    result = f"wp::mat_t<{len(names)}, RAYS, float> total(0.0f);\n    for (int l = 0; l < LANES; ++l) {{\n{rows}    }}\n    return total;"
    text = (_SLOPES if sums == _ALL else _NO_SLOPES) + _WALK
    text = text.replace("DENSITIES", _ONE if densities == 1 else _ONE + _BONE)
    text = text.replace("SUMS", arrays).replace("RETURN", result)
    for name, number in (("RAYS", RAYS), ("TILE", TILE), ("SAMPLES", SAMPLES), ("AHEAD", AHEAD), ("NEAR", NEAR)):
        text = text.replace(name, str(number))
    return text


# What these are is made when the program runs.
_PerRay: Any = wp.types.vector(length=RAYS, dtype=wp.float32)
_IndexPerRay: Any = wp.types.vector(length=RAYS, dtype=wp.int32)
_ValueSums: Any = wp.types.matrix(shape=(1, RAYS), dtype=wp.float32)
_AllSums: Any = wp.types.matrix(shape=(7, RAYS), dtype=wp.float32)
_TissueValueSums: Any = wp.types.matrix(shape=(2, RAYS), dtype=wp.float32)
_TissueSums: Any = wp.types.matrix(shape=(14, RAYS), dtype=wp.float32)


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


@wp.struct
class RayTile:
    """Rays that go side by side, s + t d in grid indices: samples `first` to `last` at t = middle + (k + 1/2) step, mm.

    On CUDA the first alone counts.
    """

    dx: _PerRay
    dy: _PerRay
    dz: _PerRay
    middle: _PerRay
    first: _IndexPerRay
    last: _IndexPerRay


def voxels_of(grid: DensityGrid) -> Any:
    """A grid as the walk takes it: `Voxels`."""
    codes, _ = grid.codes
    voxels = Voxels()
    voxels.codes = wp.from_torch(codes.view(torch.int16).reshape(-1))
    voxels.size = wp.vec3i(*codes.shape[::-1])
    voxels.occupied = wp.from_torch(grid.occupied.reshape(-1))
    voxels.bricks = wp.vec3i(*grid.occupied.shape[::-1])
    voxels.brick = wp.vec3i(*(side.bit_length() - 1 for side in grid.brick))
    return voxels


@wp.func_native(f"""
#if defined(__CUDA_ARCH__)
    return 1;
#else
    return {TILE};
#endif
""")
def tile_side() -> int:
    """Pixels along a side of a tile, in a kernel."""


@wp.func_native(_source(1, _VALUE))
def walk_value(voxels: Voxels, s: wp.vec3, rays: RayTile, step: float) -> _ValueSums:
    """Of each ray the sum of its samples, in codes."""


@wp.func_native(_source(1, _ALL))
def walk_all(voxels: Voxels, s: wp.vec3, rays: RayTile, step: float) -> _AllSums:
    """The same sum, that of the gradients (3), and that of t times the gradients (3), by grid indices."""


@wp.func_native(_source(2, _VALUE))
def walk_tissues_value(
    voxels: Voxels, s: wp.vec3, rays: RayTile, step: float, knee: float, flat: float
) -> _TissueValueSums:
    """`walk_value`, and that of what voxels of code v have as bone: v - knee or flat v, what is less, but nothing negative."""


@wp.func_native(_source(2, _ALL))
def walk_tissues(voxels: Voxels, s: wp.vec3, rays: RayTile, step: float, knee: float, flat: float) -> _TissueSums:
    """`walk_all`, and that of bone as in `walk_tissues_value`."""
