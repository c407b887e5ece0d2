"""Sums of ReLU activations: S = <u, max(W x + b, 0)> of a mask u and a point x, compared exactly.

Layout of ``tiles``, points and masks as in ``kernels.signs`` and ``kernels.cover``. Which terms of
a sum count is said by the exact bits, so that S is a sum of positive numbers, and 0 exactly where
the count |u and Phi(x)| is 0.

Whatever is decided about a sum is decided for the real number that the stored weights, biases and
coordinates define, as a sign pattern's bit is. Three stages do it, each rigorous:

1. float32, all hyperplanes of a mask and 64 points side by side, u = 2^-24. Let c be the origin
   and s the scale (a power of two) of the frame, x^ = fl(s (x - c)) and beta^ = fl(s beta),
   beta = b + <w, c>. As in ``kernels.signs``, z^ = <w, x^> + beta^ errs by at most
   e = 1.1 (m + 2) u (|w|_2 r + |beta^|) + s e_beta + 2^-148 (d + 2) (1 + |w|_2), where r >= |x^|_2
   and m is the length of a sum: min(d, DEPTH) + d / DEPTH + 3, or the nonzeros of a row. No bits
   are looked at: max(z^, 0) is as near to max(z, 0). A sum of t numbers >= 0 rounds by at most
   1.01 t u times itself, in any order. So s S is within 1.02 t u S^ + sum of e of S^, and a sum of
   the first few terms bounds it from below, up to the same errors: so a mask is left as soon as 64
   points have shown that they do not matter, which saves a third of the additions for 512 random
   masks of digits784-20k at n = 1,024, a sixth for merged ones. 17 G additions/s on one core.
2. float64, one point, u = 2^-53, only terms whose bit is one: z_h errs by at most
   e_h = 1.1 (d + 4) u (|w|_2 r + |beta|) + e_beta, again by Cauchy-Schwarz, and the sum of t of
   them, where what comes out negative becomes 0, by sum of e_h + 1.1 (t + 4) u times itself.
3. Where stage 2 leaves both sides of what is asked for: integer arithmetic in one fixed-point
   accumulator for all the t (d + 1) products of the sum.

NaN and infinities, which an overflow may leave, fail every comparison and so reach stage 3.

Thresholds are sums rounded down to 24 significant bits (0 below 2^-1050). That is far coarser than
the bound of stage 2, so that it decides nearly all of them, too; stage 3 would have to decide
nearly all roundings to 53 bits. And as rounding down is monotone, the least of the rounded sums is
the rounded least sum, whatever the order in which points are looked at.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.exact import LIMB_MASK, LIMBS, LOWEST_EXPONENT, UNIT32, UNIT64, add_product
from fastmem.kernels.layout import TILE, TILE_ROWS, WORD_BITS
from fastmem.kernels.products import add_products

LANES = 64
"""Points side by side."""
DEPTH = 64
"""Features summed at once: e is six times smaller than with 512, for 6 % more time."""
LEAST_POSITIVE = 2.0**-1050
"""The least threshold."""
_LARGEST = (2.0**24 - 1.0) * 2.0**1000
_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)
_TINY = 2.0**-1074
_DONE = np.float32(-1.0)
"""What a lane needs to have reached that is not asked for."""


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


class _Lanes(NamedTuple):
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


# Stage 1 --------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _new_lanes(layer, rows):
    d = layer.groups.shape[1]
    most = 0
    for start in range(0, rows.places.shape[0], LANES):
        stop = min(start + LANES, rows.places.shape[0])
        most = max(most, rows.starts[stop] - rows.starts[start])
    is_sparse = rows.columns.shape[0] > 0
    return _Lanes(
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
def _load_lanes(layer, rows, start, lanes):
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
def _slack(layer, masks, b, lanes):
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
def _reaching(scale, limit, relative, absolute):
    """A float32 such that S >= limit wherever S^, or a partial sum, is at least so large.

    NaN, which no sum reaches, where there is none.
    """
    # 2^-148: a small number may be rounded down to the next multiple of 2^-149
    least = (scale * limit + absolute) * (1.0 + 1.02 * relative) * (1.0 + 1e-6) + 2.0**-148
    return np.float32(least) if least < 3e38 else np.float32(np.nan)


@njit(nogil=True, cache=True)
def _add_up(layer, rows, words, lanes):
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
def _lowest(lanes, size):
    """The lane of the least sum among those that have not reached ``needed``, or -1."""
    at = -1
    for lane in range(size):
        # NaN has not reached it either
        is_open = not lanes.sums[lane] >= lanes.needed[lane]
        if is_open and (at < 0 or not lanes.sums[lane] >= lanes.sums[at]):
            at = lane
    return at


# Stages 2 and 3: one point --------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _radius(layer, rows, i):
    """At least |x - c|_2 of point i."""
    start = rows.starts[i]
    size = rows.starts[i + 1] - start
    squares = 0.0
    for k in range(size):
        moved = rows.values[start + k]
        if rows.columns.shape[0] == 0:
            moved -= layer.origin[k]
        squares += (layer.scale * moved) ** 2
    # 2^-500: squares below 2^-1022 vanish
    return (math.sqrt(squares) * (1.0 + 1e-9) + 2.0**-500 * size) / layer.scale


@njit(nogil=True, cache=True)
def _product(layer, rows, i, h):
    """z_h of point i in float64."""
    weights = layer.weights[h]
    start = rows.starts[i]
    size = rows.starts[i + 1] - start
    values = rows.values[start : start + size]
    total = layer.shifted[h]
    if rows.columns.shape[0]:
        columns = rows.columns[start : start + size]
        for k in range(size):
            total += np.float64(weights[columns[k]]) * values[k]
        return total
    origin = layer.origin
    total_1 = total_2 = total_3 = 0.0
    # four sums at once, or each addition would wait for the one before
    for k in range(0, size - 3, 4):
        total += np.float64(weights[k]) * (values[k] - origin[k])
        total_1 += np.float64(weights[k + 1]) * (values[k + 1] - origin[k + 1])
        total_2 += np.float64(weights[k + 2]) * (values[k + 2] - origin[k + 2])
        total_3 += np.float64(weights[k + 3]) * (values[k + 3] - origin[k + 3])
    for k in range(size - size % 4, size):
        total += np.float64(weights[k]) * (values[k] - origin[k])
    return total + (total_1 + (total_2 + total_3))


@njit(nogil=True, cache=True)
def _interval(layer, rows, i, words, limit):
    """Numbers low <= S <= high for point i and a mask; where S >= limit, perhaps only low <= S."""
    tile = rows.places[i] // TILE
    column = rows.places[i] - tile * TILE
    radius = _radius(layer, rows, i)
    total = errors = bound = 0.0
    count = 0
    for word in range(words.shape[0]):
        bits = words[word] & rows.tiles[tile, word, column]
        while bits != _NO_BITS:
            h = word * WORD_BITS + trailing_zeros(bits)
            bits &= bits - _ONE
            product = _product(layer, rows, i, h)
            error = layer.slopes[h] * radius + layer.floors[h]
            if abs(product) < np.inf and error < np.inf:
                total += max(product, 0.0)
                errors += error
            else:
                errors = np.inf
            count += 1
            bound = 1.01 * errors + 1.1 * (count + 4) * UNIT64 * total
            if total - bound >= limit:
                return total - bound, np.inf
    return total - bound, total + bound


@njit(nogil=True, cache=True)
def _exact_sum(layer, rows, i, words):
    """S of point i and a mask rounded down to a float64; the largest one where it is beyond.

    A limb takes 2^30 products, of which a weight makes two.
    """
    tile = rows.places[i] // TILE
    column = rows.places[i] - tile * TILE
    start = rows.starts[i]
    is_sparse = rows.columns.shape[0] > 0
    limbs = np.zeros(LIMBS, np.int64)
    for word in range(words.shape[0]):
        bits = words[word] & rows.tiles[tile, word, column]
        while bits != _NO_BITS:
            h = word * WORD_BITS + trailing_zeros(bits)
            bits &= bits - _ONE
            for k in range(rows.starts[i + 1] - start):
                feature = np.int64(rows.columns[start + k]) if is_sparse else np.int64(k)
                weight = np.float64(layer.weights[h, feature])
                value = rows.values[start + k]
                if weight != 0.0 and value != 0.0:
                    add_product(limbs, weight, value)
            if layer.biases[h] != 0.0:
                add_product(limbs, 1.0, layer.biases[h])
    top = -1
    carry = np.int64(0)
    for j in range(LIMBS):
        total = limbs[j] + carry
        limbs[j] = total & LIMB_MASK
        carry = (total - limbs[j]) >> np.int64(32)
        if limbs[j] != 0:
            top = j
    if top < 0:
        return 0.0
    # the highest 53 bits are in three limbs; what is below them is cut off
    mantissa = limbs[top]
    length = 0
    while mantissa >> np.int64(length) != 0:
        length += 1
    missing = 53 - length
    mantissa = mantissa << np.int64(missing)
    place = top - 1
    while missing > 0:
        digit = limbs[place] if place >= 0 else np.int64(0)
        if missing >= 32:
            mantissa |= digit << np.int64(missing - 32)
        else:
            mantissa |= digit >> np.int64(32 - missing)
        missing -= 32
        place -= 1
    exponent = 32 * top - LOWEST_EXPONENT + length - 53
    if exponent > 971:
        return 1.7976931348623157e308
    if exponent < -1074:
        mantissa = mantissa >> np.int64(min(-1074 - exponent, 60))
        exponent = -1074
    return math.ldexp(np.float64(mantissa), exponent)


@njit(nogil=True, cache=True)
def _is_below(layer, rows, i, words, limit):
    """Whether S < limit, a float64 of at least 0."""
    low, high = _interval(layer, rows, i, words, limit)
    if low >= limit:
        return False
    if high < limit:
        return True
    return _exact_sum(layer, rows, i, words) < limit


@njit(nogil=True, cache=True)
def _down(number):
    """A float64 rounded down as thresholds are; what is negative or NaN becomes 0."""
    if not number >= LEAST_POSITIVE:
        return 0.0
    if number >= _LARGEST:
        return _LARGEST
    fraction, exponent = math.frexp(number)
    return math.ldexp(math.floor(fraction * 16777216.0), exponent - 24)


# What is asked for ----------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def least_sums(layer, masks, owners, rows, codes, least):
    """Lower least[b] to the least sum of mask b over the points of other classes, rounded down.

    owners (B,) and codes (P,) int64, the classes of masks and points; least (B,) float64.
    """
    n_points = rows.places.shape[0]
    lanes = _new_lanes(layer, rows)
    for start in range(0, n_points, LANES):
        size = min(LANES, n_points - start)
        _load_lanes(layer, rows, start, lanes)
        for b in range(masks.words.shape[0]):
            relative, absolute = _slack(layer, masks, b, lanes)
            reaching = _reaching(layer.scale, least[b], relative, absolute)
            others = 0
            for lane in range(LANES):
                is_other = lane < size and codes[min(start + lane, n_points - 1)] != owners[b]
                lanes.needed[lane] = reaching if is_other else _DONE
                others += is_other
            if others == 0 or not _add_up(layer, rows, masks.words[b], lanes):
                continue
            lane = _lowest(lanes, size)
            while lane >= 0:
                lanes.needed[lane] = _DONE
                i = start + lane
                low, high = _interval(layer, rows, i, masks.words[b], least[b])
                if not low >= least[b]:
                    found = _down(low)
                    if found != _down(high):
                        found = _down(_exact_sum(layer, rows, i, masks.words[b]))
                    least[b] = min(least[b], found)
                    reaching = _reaching(layer.scale, least[b], relative, absolute)
                    for k in range(size):
                        if lanes.needed[k] != _DONE:
                            lanes.needed[k] = reaching
                lane = _lowest(lanes, size)


@njit(nogil=True, cache=True)
def sums_below(layer, masks, limits, rows, below):
    """below[b, i] = whether the sum of mask b and point i is below limits[b].

    limits (B,) float64, below (B, P) bool.
    """
    n_points = rows.places.shape[0]
    lanes = _new_lanes(layer, rows)
    for start in range(0, n_points, LANES):
        size = min(LANES, n_points - start)
        _load_lanes(layer, rows, start, lanes)
        for b in range(masks.words.shape[0]):
            relative, absolute = _slack(layer, masks, b, lanes)
            reaching = _reaching(layer.scale, limits[b], relative, absolute)
            for lane in range(LANES):
                lanes.needed[lane] = reaching if lane < size else _DONE
            below[b, start : start + size] = False
            if not _add_up(layer, rows, masks.words[b], lanes):
                continue
            for lane in range(size):
                total = np.float64(lanes.sums[lane])
                if total >= reaching:
                    continue
                i = start + lane
                if total * (1.0 + relative) + absolute < layer.scale * limits[b] * (1.0 - 1e-6):
                    below[b, i] = True
                else:
                    below[b, i] = _is_below(layer, rows, i, masks.words[b], limits[b])


@njit(nogil=True, cache=True)
def sum_margins(layer, masks, thresholds, blocks, rows, stop_when_on, best):
    """best[k, i] = max over the neurons b of block k of thresholds[b] - the sum of point i.

    thresholds (B,) float64, blocks (B,) int64 the row of ``best`` that neuron b belongs to; best
    (n_blocks, P) float64 is filled by the caller with -inf. The numbers are those of stage 1, and
    depend on the point alone. Their sign is exact: positive where a neuron of the block is on, else
    negative; where stage 1 is in doubt or wrong, it is the number next to 0 on that side. A neuron
    is left as soon as it cannot be the best for any of LANES points. With ``stop_when_on`` (one
    block only) points that are on are left: then only the sign of best is right.
    """
    n_points = rows.places.shape[0]
    scale = layer.scale
    lanes = _new_lanes(layer, rows)
    for start in range(0, n_points, LANES):
        size = min(LANES, n_points - start)
        _load_lanes(layer, rows, start, lanes)
        for b in range(masks.words.shape[0]):
            relative, absolute = _slack(layer, masks, b, lanes)
            threshold = thresholds[b]
            reached = best[blocks[b], start : start + size]
            for lane in range(LANES):
                lanes.needed[lane] = _DONE
            for lane in range(size):
                if not (stop_when_on and reached[lane] > 0.0):
                    limit = threshold - reached[lane]
                    lanes.needed[lane] = _reaching(scale, limit, relative, absolute)
            if not _add_up(layer, rows, masks.words[b], lanes):
                continue
            for lane in range(size):
                if lanes.sums[lane] >= lanes.needed[lane]:
                    continue
                total = np.float64(lanes.sums[lane])
                middle = scale * threshold
                if total * (1.0 + relative) + absolute < middle * (1.0 - 1e-6):
                    is_on = True
                elif total * (1.0 - relative) - absolute > middle * (1.0 + 1e-6):
                    is_on = False
                else:
                    is_on = _is_below(layer, rows, start + lane, masks.words[b], threshold)
                margin = threshold - total / scale
                margin = max(margin, _TINY) if is_on else min(margin, -_TINY)
                reached[lane] = max(reached[lane], margin)
