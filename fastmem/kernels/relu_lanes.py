"""Sums of ReLU activations, stage 1: float32 for all hyperplanes of a mask, LANES points at once.

u = 2^-24. Let c be the origin and s the scale (a power of two) of the filter, x^ = fl(s (x - c))
and beta^ = fl(s beta), beta = b + <w, c>. As in ``kernels.signs``, z^ = <w, x^> + beta^ errs by at
most e = 1.1 (m + 2) u (|w|_2 r + |beta^|) + s e_beta + 2^-148 (d + 2) (1 + |w|_2), where
r >= |x^|_2 and m is the length of a sum: min(d, DEPTH) + d / DEPTH + 3, or the nonzeros of a row.
No bits are looked at: max(z^, 0) is as near to max(z, 0). A sum of t numbers >= 0 rounds by at most
1.01 t u times itself, in any order. So s S is within 1.02 t u S^ + sum of e of S^, and a sum of the
first few terms bounds it from below, up to the same errors: so a mask is left as soon as all lanes
have shown that they do not matter.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.exact import UNIT32
from fastmem.kernels.layout import TILE_ROWS, WORD_BITS
from fastmem.kernels.products import add_products

LANES = 64
"""Points side by side."""
DEPTH = 64
"""Features summed at once: e is six times smaller than with 512, for a little more time."""
DONE = np.float32(-1.0)
"""What a lane needs to have reached that is not asked for."""
_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)


class Layer(NamedTuple):
    """Hyperplanes, and the frame of the filters.

    weights (n, d) float32; biases (n,), origin (d,) float64: the stored numbers, and c, which is 0
    for sparse rows; scale: s. For stage 1 groups (ceil(n / TILE_ROWS), d, TILE_ROWS) float32, the
    weights of some hyperplanes side by side, and short (groups TILE_ROWS,) float32, beta^; of
    padding 0. For stage 2 shifted, slopes, floors (n,) float64: beta, e_h <= slopes r + floors.
    largest: of all |w|_2 and of all |beta^|.
    """

    weights: np.ndarray
    biases: np.ndarray
    origin: np.ndarray
    scale: float
    groups: np.ndarray
    short: np.ndarray
    shifted: np.ndarray
    slopes: np.ndarray
    floors: np.ndarray
    largest: tuple[float, float]


class Masks(NamedTuple):
    """Masks u: words (B, n_words) uint64, and of each, (B,) float64, its ones t and sums over them.

    norms of |w|_2, levels of |beta^|, floors of s e_beta + 2^-148 (d + 2) (1 + |w|_2).
    """

    words: np.ndarray
    counts: np.ndarray
    norms: np.ndarray
    levels: np.ndarray
    floors: np.ndarray


class Rows(NamedTuple):
    """Points and their patterns.

    The values of row i are values[starts[i]:starts[i + 1]], float64; columns int32 says where they
    stand, and of size 0 stands for all columns in order. Its pattern is at places[i] of tiles.
    """

    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    tiles: np.ndarray
    places: np.ndarray


class Lanes(NamedTuple):
    """LANES points, from row ``start[0]`` on, and their activations as far as needed.

    panel (1, d, LANES) float32, x^ of dense points; scaled (nonzeros,) float32, x^ of sparse ones.
    The first state[1] of the groups of activations, (n_groups, TILE_ROWS, LANES) float32, are
    computed. numbers: r, and m of stage 1. sums, needed (LANES,) float32.
    """

    state: np.ndarray
    numbers: np.ndarray
    panel: np.ndarray
    scaled: np.ndarray
    activations: np.ndarray
    sums: np.ndarray
    needed: np.ndarray
    ones: np.ndarray


@njit(nogil=True, cache=True)
def new_lanes(layer, rows):
    """Arrays for the points of ``rows``."""
    d = layer.groups.shape[1]
    most = 0
    for start in range(0, rows.places.shape[0], LANES):
        stop = min(start + LANES, rows.places.shape[0])
        most = max(most, rows.starts[stop] - rows.starts[start])
    is_sparse = rows.columns.shape[0] > 0
    return Lanes(
        np.zeros(2, np.int64),
        np.zeros(2, np.float64),
        np.zeros((1, 0 if is_sparse else d, LANES), np.float32),
        np.empty(most if is_sparse else 0, np.float32),
        np.empty((layer.groups.shape[0], TILE_ROWS, LANES), np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(WORD_BITS, np.int64),
    )


@njit(nogil=True, cache=True)
def load_lanes(layer, rows, start, lanes):
    """Bring the points start, ..., start + LANES - 1, as far as there are any, to the lanes."""
    stop = min(start + LANES, rows.places.shape[0])
    lanes.state[0] = start
    lanes.state[1] = 0
    panel = lanes.panel[0]
    longest = 0
    largest = 0.0
    for i in range(start, stop):
        first = rows.starts[i]
        size = rows.starts[i + 1] - first
        longest = max(longest, size)
        squares = 0.0
        if rows.columns.shape[0]:
            for k in range(size):
                value = np.float32(layer.scale * rows.values[first + k])
                lanes.scaled[first - rows.starts[start] + k] = value
                squares += np.float64(value) * np.float64(value)
        else:
            for k in range(size):
                value = np.float32(layer.scale * (rows.values[first + k] - layer.origin[k]))
                panel[k, i - start] = value
                squares += np.float64(value) * np.float64(value)
        if not squares <= largest:
            largest = squares
    if not rows.columns.shape[0]:
        panel[:, stop - start :] = np.float32(0.0)
        longest = min(longest, DEPTH) + longest // DEPTH + 1
    lanes.numbers[0] = math.sqrt(largest) * (1.0 + 1e-9)
    lanes.numbers[1] = longest + 3.0


@njit(nogil=True, cache=True)
def _activate(layer, rows, lanes, last):
    """Compute the groups of activations up to ``last``."""
    d = layer.groups.shape[1]
    start = lanes.state[0]
    stop = min(start + LANES, rows.places.shape[0])
    for group in range(lanes.state[1], last + 1):
        sums = lanes.activations[group]
        for row in range(TILE_ROWS):
            for lane in range(LANES):
                sums[row, lane] = layer.short[group * TILE_ROWS + row]
        if rows.columns.shape[0]:
            base = rows.starts[start]
            weights = layer.groups[group]
            part = np.zeros(TILE_ROWS, np.float32)
            for i in range(start, stop):
                part[:] = np.float32(0.0)
                for k in range(rows.starts[i], rows.starts[i + 1]):
                    value = lanes.scaled[k - base]
                    here = weights[rows.columns[k]]
                    for row in range(TILE_ROWS):
                        part[row] += here[row] * value
                for row in range(TILE_ROWS):
                    sums[row, i - start] += part[row]
        else:
            for first in range(0, d, DEPTH):
                add_products(
                    lanes.panel, 0, first, min(first + DEPTH, d), layer.groups, group,
                    lanes.activations,
                )  # fmt: skip
        for row in range(TILE_ROWS):
            for lane in range(LANES):
                value = sums[row, lane]
                sums[row, lane] = value if value > np.float32(0.0) else np.float32(0.0)
    lanes.state[1] = max(lanes.state[1], last + 1)


@njit(nogil=True, cache=True)
def slack_of(layer, masks, b, lanes):
    """(relative, absolute): s S and S^ of mask b are within relative S^ + absolute, in any lane."""
    radius = lanes.numbers[0]
    relative = 1.02 * (masks.counts[b] + 4.0) * UNIT32
    each = 1.1 * (lanes.numbers[1] + 2.0) * UNIT32
    # 2^120: no partial sum can overflow below it
    if not layer.largest[0] * radius + layer.largest[1] < 1.3e36 or relative + each > 0.01:
        return 0.0, np.inf
    absolute = each * (masks.norms[b] * radius + masks.levels[b]) + masks.floors[b]
    return relative, 1.001 * absolute


@njit(nogil=True, cache=True)
def sum_reaching(scale, limit, relative, absolute):
    """A float32 such that S >= limit wherever S^, or a partial sum, is at least so large.

    NaN, which no sum reaches, where there is none.
    """
    # 2^-148: a small number may be rounded down to the next multiple of 2^-149
    least = (scale * limit + absolute) * (1.0 + 1.02 * relative) * (1.0 + 1e-6) + 2.0**-148
    return np.float32(least) if least < 3e38 else np.float32(np.nan)


@njit(nogil=True, cache=True)
def add_up(layer, rows, words, lanes):
    """Add up S^ of a mask in all lanes; returns False as soon as all have reached ``needed``."""
    sums, needed, ones = lanes.sums, lanes.needed, lanes.ones
    activations = lanes.activations.reshape((-1, LANES))
    for lane in range(LANES):
        sums[lane] = np.float32(0.0)
    for word in range(words.shape[0]):
        bits = words[word]
        if bits == _NO_BITS:
            continue
        count = 0
        while bits != _NO_BITS:
            ones[count] = word * WORD_BITS + trailing_zeros(bits)
            bits &= bits - _ONE
            count += 1
        last = ones[count - 1] // TILE_ROWS
        if last >= lanes.state[1]:
            _activate(layer, rows, lanes, last)
        for j in range(0, count - 3, 4):
            a, b = activations[ones[j]], activations[ones[j + 1]]
            c, d = activations[ones[j + 2]], activations[ones[j + 3]]
            for lane in range(LANES):
                sums[lane] += (a[lane] + b[lane]) + (c[lane] + d[lane])
        for j in range(count - count % 4, count):
            a = activations[ones[j]]
            for lane in range(LANES):
                sums[lane] += a[lane]
        below = 0
        for lane in range(LANES):
            below += not sums[lane] >= needed[lane]
        if below == 0:
            return False
    return True


@njit(nogil=True, cache=True)
def lowest_lane(lanes, size):
    """The lane of the least sum among those that have not reached ``needed``, or -1."""
    at = -1
    for lane in range(size):
        # NaN has not reached it either
        is_open = not lanes.sums[lane] >= lanes.needed[lane]
        if is_open and (at < 0 or not lanes.sums[lane] >= lanes.sums[at]):
            at = lane
    return at
