"""One image after the other through detector and display while it lies in the processor's nearest cache, in C++ that Warp compiles.

What it computes is stated by `randomize.shown_by` in torch, which takes three times as long: the same images come out of both. Loops
run over the pixels of a row, with no branch and no call in them, so that the compiler puts them into vector registers;
exponential and logarithm are polynomials (Cephes' expf and logf, 2e-7 of the value).
"""

from __future__ import annotations

from typing import Any

import torch
import warp as wp

import XVRegistrationLib.rendering.kernels  # noqa: F401  starts Warp, quietly

wp.set_module_options({"enable_backward": False})

SETTINGS = (
    "thickness",  # factor of the line integrals
    "spot",  # the focal spot's blur, a standard deviation, px
    "scatter_rows",  # the scatter's width along rows' and columns' numbers, px
    "scatter_columns",
    "scatter",  # scattered over primary radiation, a unit of -ln(I / I0)
    "photons",
    "darkest",
    "power",
    "sharpening",
    "left",  # what stays open: from here
    "right",  # to before here, px
    "top",
    "bottom",
)
"""What each image is shown by: columns of `show`'s settings."""

_WIDTHS = slice(1, 4)

_SNIPPET = r"""
    struct Fast {
        static inline float exp(float x) {
            x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
            const int n = (int)(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
            const float r = x - (float)n * 0.693359375f + (float)n * 2.12194440e-4f;
            const float p = ((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r
                + 1.6666665459e-1f) * r + 5.0000001201e-1f;
            const int bits = (n + 127) << 23;
            float power;
            __builtin_memcpy(&power, &bits, 4);
            return (p * r * r + r + 1.0f) * power;
        }
        static inline float log(float x) {  // of a positive, normal number
            int bits;
            __builtin_memcpy(&bits, &x, 4);
            // Halves and exponents such that the fraction lies between sqrt(1/2) and sqrt(2).
            const int e = (bits - 0x3f3504f3) >> 23;
            const int rest = bits - (e << 23);
            float f;
            __builtin_memcpy(&f, &rest, 4);
            f -= 1.0f;
            const float z = f * f, n = (float)e;
            const float p = (((((((7.0376836292e-2f * f - 1.1514610310e-1f) * f + 1.1676998740e-1f) * f - 1.2420140846e-1f) * f
                + 1.4249322787e-1f) * f - 1.6668057665e-1f) * f + 2.0000714765e-1f) * f - 2.4999993993e-1f) * f + 3.3333331174e-1f;
            return f + (p * f * z - 2.12194440e-4f * n - 0.5f * z) + 0.693359375f * n;
        }
    };
    #define EACH(i, n) _Pragma("clang loop vectorize(enable)") for (int i = 0; i < (n); ++i)
    const int H = height, W = width, P = H * W, rows = (H + block - 1) / block, columns = (W + block - 1) / block;
    const float* set = settings.data + (long long)b * settings.shape[1];
    const float scale = set[0], share = set[4], least = set[6], power = set[7], sharp = set[8], a_photon = 1.0f / set[5];
    const float* __restrict integral = integrals.data + (long long)b * P;
    const float* __restrict normal = noise.data + (long long)b * P;
    float* __restrict image = images.data + (long long)b * P;
    float* __restrict primary = work.data + (long long)b * work.shape[1];
    float* __restrict coarse = primary + P;
    float* __restrict of_columns = coarse + rows * columns;
    float* __restrict taps = of_columns + columns * W;
    float* __restrict by_row = taps + far;
    float* __restrict by_column = by_row + 2 * H + 1;
    float* __restrict line = by_column + 2 * W + 1;  // longer than a row
    float* __restrict sum = line + W + 2 * far;
    float* __restrict low = sum + W;
    float* __restrict high = low + W;

    // A Gaussian's shares at distances of 0, 1, ... px as far as 2.5 of its widths and a pixel; both sides add up to one.
    auto gaussian = [&](float sigma) {
        sigma = sigma < 1.0e-3f ? 1.0e-3f : sigma;
        const int reach = (int)(2.5f * sigma) + 1;
        float all = 0.0f;
        for (int d = 0; d <= reach; ++d) {
            taps[d] = Fast::exp(-0.5f * ((float)d / sigma) * ((float)d / sigma));
            all += d == 0 ? taps[d] : 2.0f * taps[d];
        }
        for (int d = 0; d <= reach; ++d)
            taps[d] /= all;
        return reach;
    };
    // What a pixel i gets from all at s and beyond, if those are as wide as blocks: from[n + i - s].
    auto beyond = [&](float sigma, int n, float* from) {
        const float own = (float)(block * block - 1) / 12.0f;  // variance of a block's mean
        const int reach = gaussian(__builtin_sqrtf(sigma * sigma > own ? sigma * sigma - own : 0.0f));
        float tail = 0.0f;
        for (int d = reach > n ? reach : n; d > 0; --d) {
            tail += d <= reach ? taps[d] : 0.0f;
            if (d <= n) {
                from[n - d] = tail;
                from[n + d - 1] = 1.0f - tail;
            }
        }
        from[2 * n] = 1.0f;
    };
    beyond(set[2], H, by_row);
    beyond(set[3], W, by_column);
    for (int l = 0; l < columns; ++l) {
        const float* __restrict begin = by_column + W - l * block;
        const float* __restrict end = by_column + W - (l + 1) * block;
        float* __restrict to = of_columns + l * W;
        if (l == 0 && l == columns - 1) { EACH(i, W) to[i] = 1.0f; }
        else if (l == 0) { EACH(i, W) to[i] = 1.0f - end[i]; }
        else if (l == columns - 1) { EACH(i, W) to[i] = begin[i]; }
        else { EACH(i, W) to[i] = begin[i] - end[i]; }
    }
    const int reach = gaussian(set[1]);

    // exp(-p), and block by block the means of what is lost on the way.
    for (int k = 0; k < rows; ++k) {
        const int from = k * block, to = from + block < H ? from + block : H;
        __builtin_memset(sum, 0, W * sizeof(float));
        for (int j = from; j < to; ++j) {
            const float* __restrict p = integral + j * W;
            float* __restrict open = primary + j * W;
            EACH(i, W) {
                const float x = scale * p[i], y = Fast::exp(-x);
                open[i] = y;
                sum[i] += x * y;
            }
        }
        for (int l = 0; l < columns; ++l) {
            const int first = l * block, end = first + block < W ? first + block : W;
            float all = 0.0f;
            for (int i = first; i < end; ++i)
                all += sum[i];
            coarse[k * columns + l] = share * all / (float)((to - from) * (end - first));
        }
    }
    EACH(i, W) { low[i] = 1.0e30f; high[i] = -1.0e30f; }
    for (int j = 0; j < H; ++j) {
        // Scatter, from the blocks to this row, and along it.
        float* __restrict value = image + j * W;
        __builtin_memset(sum, 0, columns * sizeof(float));
        for (int k = 0; k < rows; ++k) {
            const float w = (k == 0 ? 1.0f : by_row[H + j - k * block]) - (k == rows - 1 ? 0.0f : by_row[H + j - (k + 1) * block]);
            const float* __restrict from = coarse + k * columns;
            EACH(l, columns) sum[l] += w * from[l];
        }
        __builtin_memset(value, 0, W * sizeof(float));
        int l = 0;
        for (; l + 3 < columns; l += 4) {
            const float w0 = sum[l], w1 = sum[l + 1], w2 = sum[l + 2], w3 = sum[l + 3];
            const float* __restrict from = of_columns + l * W;
            EACH(i, W) value[i] += w0 * from[i] + w1 * from[W + i] + w2 * from[2 * W + i] + w3 * from[3 * W + i];
        }
        for (; l < columns; ++l) {
            const float w = sum[l];
            const float* __restrict from = of_columns + l * W;
            EACH(i, W) value[i] += w * from[i];
        }
        // The focal spot's blur: rows about this one, then along it.
        float* middle = line + far;
        const float* __restrict here = primary + j * W;
        EACH(i, W) middle[i] = taps[0] * here[i];
        for (int r = 1; r <= reach; ++r) {
            const float w = taps[r];
            const float* __restrict above = primary + (j - r < 0 ? 0 : j - r) * W;
            const float* __restrict below = primary + (j + r >= H ? H - 1 : j + r) * W;
            EACH(i, W) middle[i] += w * (above[i] + below[i]);
        }
        for (int r = 1; r <= reach; ++r) {
            middle[-r] = middle[0];
            middle[W - 1 + r] = middle[W - 1];
        }
        EACH(i, W) value[i] += taps[0] * middle[i];
        for (int r = 1; r <= reach; ++r) {
            const float w = taps[r];
            const float *before = middle - r, *after = middle + r;
            for (int i = 0; i < W; ++i)
                value[i] += w * (before[i] + after[i]);
        }
        // Photons are counted, and the logarithm is taken.
        const float* __restrict e = normal + j * W;
        EACH(i, W) {
            float s = value[i];
            s += __builtin_sqrtf((s > least ? s : least) * a_photon) * e[i];
            s = Fast::log(s > least ? s : least);
            value[i] = s;
            low[i] = s < low[i] ? s : low[i];
            high[i] = s > high[i] ? s : high[i];
        }
    }
    float lowest = low[0], most = high[0];
    for (int i = 1; i < W; ++i) {
        lowest = low[i] < lowest ? low[i] : lowest;
        most = high[i] > most ? high[i] : most;
    }
    // Dark where the beam was weak, from 0 to 1, to a power.
    const float stretch = 1.0f / (most - lowest > 1.0e-6f ? most - lowest : 1.0e-6f);
    EACH(i, P) {
        const float x = (most - image[i]) * stretch;
        const float y = Fast::exp(power * Fast::log(x > 1.0e-30f ? x : 1.0e-30f));
        primary[i] = x > 0.0f ? y : 0.0f;
    }
    // Sharpened by what differs from the nine pixels about each.
    EACH(i, W) high[i] = -1.0e30f;
    for (int j = 0; j < H; ++j) {
        const float* __restrict here = primary + j * W;
        const float* __restrict above = primary + (j > 0 ? j - 1 : 0) * W;
        const float* __restrict below = primary + (j < H - 1 ? j + 1 : H - 1) * W;
        float* __restrict value = image + j * W;
        EACH(i, W) line[i + 1] = above[i] + here[i] + below[i];
        line[0] = line[1];
        line[W + 1] = line[W];
        EACH(i, W) {
            const float nine = line[i] + line[i + 1] + line[i + 2];
            const float x = here[i] + sharp * (here[i] - nine / 9.0f);
            value[i] = x;
            high[i] = x > high[i] ? x : high[i];
        }
    }
    most = high[0];
    for (int i = 1; i < W; ++i)
        most = high[i] > most ? high[i] : most;
    const int left = (int)set[9], right = (int)set[10], top = (int)set[11], bottom = (int)set[12];
    if (left > 0 || right < W || top > 0 || bottom < H)
        for (int j = 0; j < H; ++j) {
            const int begin = j >= top && j < bottom ? left : W, end = right > begin ? right : begin;
            for (int i = 0; i < begin; ++i)
                image[j * W + i] = most;
            for (int i = end; i < W; ++i)
                image[j * W + i] = most;
        }
    #undef EACH
"""


@wp.func_native(_SNIPPET)
def _shown(  # type: ignore[no-untyped-def]
    b: int,
    integrals: wp.array3d(dtype=wp.float32),
    images: wp.array3d(dtype=wp.float32),
    noise: wp.array3d(dtype=wp.float32),
    settings: wp.array2d(dtype=wp.float32),
    work: wp.array2d(dtype=wp.float32),
    height: int,
    width: int,
    block: int,
    far: int,
):
    """Image b of its line integrals."""


@wp.kernel
def _show(  # type: ignore[no-untyped-def]
    integrals: wp.array3d(dtype=wp.float32),
    images: wp.array3d(dtype=wp.float32),
    noise: wp.array3d(dtype=wp.float32),
    settings: wp.array2d(dtype=wp.float32),
    work: wp.array2d(dtype=wp.float32),
    height: int,
    width: int,
    block: int,
    far: int,
):
    _shown(wp.tid(), integrals, images, noise, settings, work, height, width, block, far)


def show(integrals: torch.Tensor, noise: torch.Tensor, settings: torch.Tensor, block: int) -> torch.Tensor:
    """Images (B, H, W) that line integrals are shown as, with `noise` (B, H, W) of unit variance; all float32 on the CPU.

    `settings` are (B, 13): `SETTINGS`. Scatter is made from the means of blocks of `block` pixels a side.
    """
    batch, height, width = integrals.shape
    far = int(2.5 * float(settings[:, _WIDTHS].amax())) + 3
    blocks = -(-height // block), -(-width // block)
    room = height * width + blocks[0] * blocks[1] + blocks[1] * width + 3 * far + 2 * height + 6 * width + 2
    images, work = torch.empty_like(noise), torch.empty(batch, room)
    arrays: list[Any] = [wp.from_torch(each.contiguous()) for each in (integrals, images, noise, settings, work)]
    # On this thread: a batch is done before another one wakes up.
    wp.launch(_show, dim=batch, inputs=[*arrays, height, width, block, far], device="cpu")
    return images
