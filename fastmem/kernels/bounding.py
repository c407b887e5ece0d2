"""Bounding tiles: what the patterns of 192 neighbours have in common, and where they vary.

Of points in a spatial order (``kernels.spatial``) most hyperplanes have a whole tile on one side. A
ball and a box about the tile decide that for all of its points at once (``bound_tiles``); only the
others are evaluated for each point, and only bits that vary are stored.

The proof. As in ``kernels.signs`` let x^ be the float32 vector of a point in the filter's frame,
and f(z) = <w, z> + beta^ in real numbers. The bound proved there, ``slack`` at radius r, holds for
sums of any order, so also for exact ones: |f(x^) - s (<w, x> + b)| <= slack(r), r the largest |x^|.
The centre c is a float32 vector in the same frame, and its computed sum F is as far from f(c) at
most: |F - f(c)| <= slack(|c|). And |f(x^) - f(c)| = |<w, x^ - c>| is at most |w| rho, rho the
largest |x^ - c| (the ball), and at most sum |w_k| eta_k, eta_k the largest |x^_k - c_k| (the box).
So all points are on the side of F where
|F| > slack(r) + slack(|c|) + min(|w| rho, sum |w_k| eta_k). rho, |w| and eta_k are computed in
float64 and enlarged by 1e-6 before they are rounded to float32; sums and products of what is not
negative are right in float32 to (d + 4) 2^-24 of themselves, which the factor 1.0001 covers up to
MOST_FEATURES, and lose at most 2^-149 (d + 2)(1 + |w|) by underflow, which a third slack covers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import deposit_bits, extract_bits, popcount, trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.exact import exact_sign
from fastmem.kernels.layout import GROUPS, TILE, TILE_ROWS, WORD_BITS
from fastmem.kernels.products import compare, sign_words
from fastmem.kernels.queue import take, take_many
from fastmem.kernels.signs import FloatFilter, fill_slack, load_points, row_number

MOST_FEATURES = 256
_EMPTY = np.uint64(0)
_ONE = np.uint64(1)
_LOG_BITS = np.uint64(6)
_LOW_BITS = np.uint64(WORD_BITS - 1)


class Bounded(NamedTuple):
    """Patterns of points as bounding tiles.

    all_of, any_of (n_groups, n_words, TILE) uint64: AND and OR of the patterns of tile t are column
    t % TILE of the tile t // TILE: they are counted like patterns. varies (n_tiles, n_words)
    uint64: the bits that are not the same for all. starts (n_tiles,) int64: tile t has the m words
    of its varying bits, in ascending order, at data[starts[t] : starts[t] + m TILE], as a tile
    (m, TILE). sizes (n_tiles,) int64: points in each tile. data (room,) uint64.
    """

    all_of: np.ndarray
    any_of: np.ndarray
    varies: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    data: np.ndarray


class _Room(NamedTuple):
    """Room to work in: for points, a tile's bounds, and the hyperplanes that these leave open."""

    raw: np.ndarray
    scaled: np.ndarray
    centre: np.ndarray
    halves: np.ndarray
    sums: np.ndarray
    widths: np.ndarray
    slack: np.ndarray
    slacks: np.ndarray
    norms: np.ndarray
    radius: np.ndarray
    pair: np.ndarray
    positive: np.ndarray
    doubtful: np.ndarray
    which: np.ndarray
    bits: np.ndarray
    packed: np.ndarray
    all_of: np.ndarray
    any_of: np.ndarray


@njit(nogil=True, cache=True)
def new_room(planes, dtype):
    """Room to bound points of a dtype in, for hyperplanes ``planes``, a `FloatFilter`."""
    n_words, d = planes.panels.shape[0], planes.panels.shape[1]
    return _Room(
        np.empty((TILE, d), dtype),
        np.empty((GROUPS, d, TILE_ROWS), np.float32),
        np.empty(d, np.float32),
        np.empty(d, np.float32),
        np.empty(WORD_BITS, np.float32),
        np.empty(WORD_BITS, np.float32),
        np.empty(WORD_BITS, np.float32),
        np.empty((n_words, WORD_BITS), np.float32),
        (planes.norms * (1.0 + 1e-6)).astype(np.float32),
        np.full(1, -1.0),
        np.empty(2, np.uint64),
        np.empty(TILE_ROWS, np.uint64),
        np.empty(TILE_ROWS, np.uint64),
        np.empty(n_words * WORD_BITS, np.int64),
        np.empty((n_words, TILE), np.uint64),
        np.empty((n_words, TILE), np.uint64),
        np.empty(n_words, np.uint64),
        np.empty(n_words, np.uint64),
    )


@njit(nogil=True, cache=True)
def open_filter(planes, n_words):
    """A filter for the hyperplanes that a tile's bounds leave open; filled tile by tile."""
    d = planes.panels.shape[1]
    return FloatFilter(
        planes.weights, planes.biases, np.zeros((n_words, d, WORD_BITS), np.float32),
        np.empty((n_words, WORD_BITS), np.float32), np.empty((n_words, WORD_BITS)),
        np.empty((n_words, WORD_BITS)), planes.origin, planes.shifted, planes.errors, planes.scale,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _load_tile(points, rows, start, stop, planes, room):
    """The rows start..stop-1 as they are, in room.raw, and in the filter's frame, in room.scaled.

    Returns the largest norm, as ``signs.load_points`` does.
    """
    d, count = points.shape[1], stop - start
    raw = room.raw
    # the rows lie anywhere: nothing else is done, so that many are under way at once
    for i in range(count):
        row = row_number(rows, start + i)
        for k in range(d):
            raw[i, k] = points[row, k]
    return load_points(raw, rows[:0], 0, count, planes, room.scaled)


@njit(nogil=True, cache=True)
def _surround(scaled, count, centre, halves):
    """The box about ``count`` points of ``load_points``; returns rho and the centre's norm.

    centre, halves (d,) float32 are filled.
    """
    norm = 0.0
    for k in range(centre.shape[0]):
        low, high = scaled[0, k, 0], scaled[0, k, 0]
        for group in range((count + TILE_ROWS - 1) // TILE_ROWS):
            for row in range(min(TILE_ROWS, count - group * TILE_ROWS)):
                x = scaled[group, k, row]
                low = min(low, x)
                high = max(high, x)
        middle = np.float32(0.5 * (np.float64(low) + np.float64(high)))
        c = np.float64(middle)
        centre[k] = middle
        half = max(abs(np.float64(low) - c), abs(np.float64(high) - c))
        halves[k] = np.float32(half * (1.0 + 1e-6))
        norm += c * c
    squares = np.empty(TILE_ROWS)
    reach = 0.0
    for group in range((count + TILE_ROWS - 1) // TILE_ROWS):
        for row in range(TILE_ROWS):
            squares[row] = 0.0
        for k in range(centre.shape[0]):
            for row in range(TILE_ROWS):
                gap = np.float64(scaled[group, k, row]) - np.float64(centre[k])
                squares[row] += gap * gap
        for row in range(min(TILE_ROWS, count - group * TILE_ROWS)):
            if not squares[row] <= reach:
                reach = squares[row]
    return math.sqrt(reach) * (1.0 + 1e-6), math.sqrt(norm) * (1.0 + 1e-9)


@njit(nogil=True, cache=True)
def _refresh_slack(planes, radius, room):
    """Three times the slack of each hyperplane, at the next power of two from ``radius`` on.

    Tiles next to each other share it.
    """
    if radius <= room.radius[0] and 2.0 * radius > room.radius[0]:
        return
    room.radius[0] = 2.0 ** math.ceil(math.log2(radius)) if 1e-300 < radius < 1e300 else radius
    for word in range(room.slacks.shape[0]):
        fill_slack(planes, word, room.radius[0], room.centre.shape[0], room.slack)
        for h in range(WORD_BITS):
            room.slacks[word, h] = np.float32(3.0) * room.slack[h]


@njit(nogil=True, cache=True)
def _bound_word(planes, word, reach, room):
    """Fill room.pair: the hyperplanes of a word that have all points at 1, and the open ones."""
    sums, widths, slack = room.sums, room.widths, room.slack
    slacks, norms = room.slacks[word], room.norms[word]
    for h in range(WORD_BITS):
        sums[h] = planes.scaled_biases[word, h]
        widths[h] = 0.0
    for k in range(room.centre.shape[0]):
        c, half = room.centre[k], room.halves[k]
        row = planes.panels[word, k]
        for h in range(WORD_BITS):
            sums[h] += row[h] * c
            widths[h] += abs(row[h]) * half
    for h in range(WORD_BITS):
        slack[h] = np.float32(1.0001) * (slacks[h] + min(norms[h] * reach, widths[h]))
    compare(sums, slack, room.pair)


@njit(nogil=True, cache=True)
def _copy_open(planes, some, which, count):
    """Bring the hyperplanes which[:count] side by side; returns how many words they take."""
    n_words = (count + WORD_BITS - 1) // WORD_BITS
    d = planes.panels.shape[1]
    for word in range(n_words):
        here = which[word * WORD_BITS : min(count, (word + 1) * WORD_BITS)]
        panel = some.panels[word]
        biases, norms, floors = some.scaled_biases[word], some.norms[word], some.floors[word]
        for lane in range(here.shape[0]):
            h = np.uint64(here[lane])
            from_word, from_lane = h >> _LOG_BITS, h & _LOW_BITS
            for k in range(d):
                panel[k, lane] = planes.weights[h, k]
            biases[lane] = planes.scaled_biases[from_word, from_lane]
            norms[lane] = planes.norms[from_word, from_lane]
            floors[lane] = planes.floors[from_word, from_lane]
        for lane in range(here.shape[0], WORD_BITS):
            for k in range(d):
                panel[k, lane] = 0.0
            biases[lane] = -1.0
            norms[lane] = 0.0
            floors[lane] = 0.0
    return n_words


@njit(nogil=True, cache=True)
def _fill_open(some, count, n_open, n_words, radius, room):
    """Bits of the open hyperplanes of each point, in room.bits; returns the doubtful ones."""
    d = room.raw.shape[1]
    groups = (count + TILE_ROWS - 1) // TILE_ROWS
    doubts = 0
    for word in range(n_words):
        fill_slack(some, word, radius, d, room.slack)
        for group in range(groups):
            sign_words(
                some.panels, word, 0, d, room.scaled, group, some.scaled_biases,
                word * WORD_BITS, 0, room.slack, room.positive, room.doubtful,
            )  # fmt: skip
            i = group * TILE_ROWS
            for row in range(min(TILE_ROWS, count - i)):
                bits, doubt = room.positive[row], room.doubtful[row]
                while doubt != _EMPTY:
                    bit = trailing_zeros(doubt)
                    doubt &= doubt - _ONE
                    doubts += 1
                    if word * WORD_BITS + bit >= n_open:
                        continue
                    h = room.which[word * WORD_BITS + bit]
                    if exact_sign(
                        some.weights[h], room.raw[i + row], some.biases[h], some.origin,
                        some.shifted[h], some.errors[h],
                    ):  # fmt: skip
                        bits |= _ONE << np.uint64(bit)
                room.bits[word, i + row] = bits
    return doubts


@njit(nogil=True, cache=True)
def _pack_varying(n_words, count, n_open, room):
    """Bring the open bits that vary side by side, in room.packed; the others to room.all_of.

    Returns the words that they take.
    """
    at = np.int64(0)
    for word in range(n_words):
        bits = room.bits[word]
        every, some = bits[0], bits[0]
        for i in range(1, count):
            every &= bits[i]
            some |= bits[i]
        for lane in range(min(WORD_BITS, n_open - word * WORD_BITS)):
            h = room.which[word * WORD_BITS + lane]
            bit = _ONE << np.uint64(h % WORD_BITS)
            if every >> np.uint64(lane) & _ONE != _EMPTY:
                room.all_of[h // WORD_BITS] |= bit
            if some >> np.uint64(lane) & _ONE != _EMPTY:
                room.any_of[h // WORD_BITS] |= bit
        vary = some & ~every
        if vary == _EMPTY:
            continue
        n_bits = np.int64(popcount(vary))
        target, shift = at // WORD_BITS, np.uint64(at % WORD_BITS)
        row = room.packed[target]
        if shift == _EMPTY:
            for i in range(count):
                row[i] = extract_bits(bits[i], vary)
        else:
            for i in range(count):
                row[i] |= extract_bits(bits[i], vary) << shift
        if n_bits + at % WORD_BITS > WORD_BITS:
            following = room.packed[target + 1]
            back = np.uint64(WORD_BITS) - shift
            for i in range(count):
                following[i] = extract_bits(bits[i], vary) >> back
        at += n_bits
    return (at + WORD_BITS - 1) // WORD_BITS


@njit(nogil=True, cache=True)
def bound_tiles(queue, stop, points, rows, tasks, planes, bounded, used, doubts):
    """Fill bounding tiles of dense points: a worker, see ``kernels.queue``.

    points (N, d) float32 or float64, d <= MOST_FEATURES; rows (m,) int32 or int64. Task t, tasks
    (T, 3) int64: the points rows[tasks[t, 0] : tasks[t, 1]], of one class, fill the tiles from
    tasks[t, 2] on. planes a `FloatFilter`; bounded the fields of a `Bounded` as a plain tuple;
    used (1,) int64: the words of data in use, in multiples of TILE. doubts (T,) int64: bits that
    float32 did not decide.
    """
    bounded = Bounded(*bounded)
    n_words = planes.panels.shape[0]
    room = new_room(planes, points.dtype)
    some = open_filter(planes, n_words)
    while True:
        task = take(queue)
        if task >= stop:
            return
        start, end, tile = tasks[task]
        doubt = 0
        while start < end:
            last = min(end, start + TILE)
            doubt += _bound_tile(points, rows, start, last, tile, planes, some, bounded, used, room)
            start = last
            tile += 1
        doubts[task] = doubt


@njit(nogil=True, cache=True, inline="always")
def bound_points(points, rows, start, stop, planes, some, room):
    """The patterns of at most TILE points, rows[start:stop], as a bounding tile in ``room``.

    Their AND and OR are room.all_of and room.any_of, (n_words,) uint64, and the varying bits of
    point i are room.packed[:n, i], n the words that these take. some is an `open_filter` and room
    a `new_room` for ``planes``. Returns n and how many bits float32 did not decide.
    """
    n_words = planes.panels.shape[0]
    count = stop - start
    largest = _load_tile(points, rows, start, stop, planes, room)
    reach, norm = _surround(room.scaled, count, room.centre, room.halves)
    which = room.which
    n_open = 0
    _refresh_slack(planes, max(largest, norm), room)
    for word in range(n_words):
        _bound_word(planes, word, np.float32(reach), room)
        room.all_of[word] = room.pair[0]
        room.any_of[word] = room.pair[0]
        rest = room.pair[1]
        while rest != _EMPTY:
            which[n_open] = word * WORD_BITS + trailing_zeros(rest)
            n_open += 1
            rest &= rest - _ONE
    n_some = _copy_open(planes, some, which, n_open)
    doubts = _fill_open(some, count, n_open, n_some, largest, room)
    return _pack_varying(n_some, count, n_open, room), doubts


@njit(nogil=True, cache=True, inline="always")
def _bound_tile(points, rows, start, stop, tile, planes, some, bounded, used, room):
    count = stop - start
    n_packed, doubts = bound_points(points, rows, start, stop, planes, some, room)
    first = take_many(used, n_packed * TILE)
    bounded.starts[tile] = first
    for word in range(n_packed):
        row = bounded.data[first + word * TILE : first + (word + 1) * TILE]
        for i in range(count):
            row[i] = room.packed[word, i]
        for i in range(count, TILE):
            row[i] = _EMPTY
    group, column = tile // TILE, tile % TILE
    for word in range(planes.panels.shape[0]):
        bounded.all_of[group, word, column] = room.all_of[word]
        bounded.any_of[group, word, column] = room.any_of[word]
        bounded.varies[tile, word] = room.any_of[word] & ~room.all_of[word]
    return doubts


@njit(nogil=True, cache=True, inline="always")
def unpack_one(bounded, position, pattern):
    """Write the pattern of a point, (n_words,) uint64."""
    tile = position // TILE
    at = bounded.starts[tile] + position - tile * TILE
    group, column = tile // TILE, tile % TILE
    shift = _EMPTY  # bits of data[at] that have been used
    for word in range(bounded.varies.shape[1]):
        bits = bounded.all_of[group, word, column]
        vary = bounded.varies[tile, word]
        if vary != _EMPTY:
            n_bits = popcount(vary)
            packed = bounded.data[at] >> shift
            shift += n_bits
            if shift >= np.uint64(WORD_BITS):
                shift -= np.uint64(WORD_BITS)
                at += TILE
                if shift != _EMPTY:
                    packed |= bounded.data[at] << (n_bits - shift)
            bits |= deposit_bits(packed, vary)
        pattern[word] = bits


@njit(nogil=True, cache=True)
def unpack_points(bounded, positions, out, first):
    """Copy the patterns at ``positions`` (P,) int64 of bounding tiles to ``first``, ... of ``out``.

    bounded the fields of a `Bounded` as a plain tuple; out (n_tiles, n_words, TILE) uint64.
    """
    bounded = Bounded(*bounded)
    pattern = np.empty(bounded.varies.shape[1], np.uint64)
    for i in range(positions.shape[0]):
        unpack_one(bounded, positions[i], pattern)
        tile = (first + i) // TILE
        column = first + i - tile * TILE
        for word in range(pattern.shape[0]):
            out[tile, word, column] = pattern[word]


@njit(nogil=True, cache=True)
def unpack_complements(bounded, positions, valid, masks):
    """masks[i] = the ones of ``valid`` (n_words,) that the pattern at positions[i] has not."""
    bounded = Bounded(*bounded)
    for i in range(positions.shape[0]):
        row = masks[i]
        unpack_one(bounded, positions[i], row)
        for word in range(row.shape[0]):
            row[word] = valid[word] & ~row[word]
