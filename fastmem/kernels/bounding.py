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
|F| > slack(r) + slack(|c|) + min(|w| rho, sum |w_k| eta_k). rho and eta_k are computed in float64
and enlarged by 1e-6; the sum of the box, of terms that are not negative, is right in float32 to
(d + 1) 2^-24 of itself, which the factor 1.0001 covers up to MOST_FEATURES, and loses at most
2^-149 (d + 1)(1 + |w|) by underflow, which a third slack covers.
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

    scaled: np.ndarray
    centre: np.ndarray
    halves: np.ndarray
    sums: np.ndarray
    widths: np.ndarray
    slack: np.ndarray
    pair: np.ndarray
    positive: np.ndarray
    doubtful: np.ndarray
    which: np.ndarray
    bits: np.ndarray
    packed: np.ndarray
    all_of: np.ndarray
    any_of: np.ndarray


@njit(nogil=True, cache=True)
def _new_room(d, n_words):
    return _Room(
        np.empty((GROUPS, d, TILE_ROWS), np.float32),
        np.empty(d, np.float32),
        np.empty(d, np.float32),
        np.empty(WORD_BITS, np.float32),
        np.empty(WORD_BITS, np.float32),
        np.empty(WORD_BITS, np.float32),
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
def _open_filter(planes, n_words):
    """A filter for the hyperplanes that a tile's bounds leave open; filled tile by tile."""
    d = planes.panels.shape[1]
    return FloatFilter(
        planes.weights, planes.biases, np.zeros((n_words, d, WORD_BITS), np.float32),
        np.empty((n_words, WORD_BITS), np.float32), np.empty((n_words, WORD_BITS)),
        np.empty((n_words, WORD_BITS)), planes.origin, planes.shifted, planes.errors, planes.scale,
    )  # fmt: skip


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
def _bound_word(planes, word, radius, reach, room):
    """Fill room.pair: the hyperplanes of a word that have all points at 1, and the open ones."""
    sums, widths, slack = room.sums, room.widths, room.slack
    d = room.centre.shape[0]
    for h in range(WORD_BITS):
        sums[h] = planes.scaled_biases[word, h]
        widths[h] = 0.0
    for k in range(d):
        c, half = room.centre[k], room.halves[k]
        for h in range(WORD_BITS):
            weight = planes.panels[word, k, h]
            sums[h] += weight * c
            widths[h] += abs(weight) * half
    fill_slack(planes, word, radius, d, slack)
    for h in range(WORD_BITS):
        ball = planes.norms[word, h] * reach
        bound = 3.0 * np.float64(slack[h]) + min(ball, np.float64(widths[h]))
        slack[h] = np.float32(1.0001 * bound)
    compare(sums, slack, room.pair)


@njit(nogil=True, cache=True)
def _copy_open(planes, some, which, count):
    """Bring the hyperplanes which[:count] side by side; returns how many words they take."""
    n_words = (count + WORD_BITS - 1) // WORD_BITS
    d = planes.panels.shape[1]
    for i in range(n_words * WORD_BITS):
        word, lane = i // WORD_BITS, i % WORD_BITS
        if i < count:
            h = which[i]
            from_word, from_lane = h // WORD_BITS, h % WORD_BITS
            for k in range(d):
                some.panels[word, k, lane] = planes.panels[from_word, k, from_lane]
            some.scaled_biases[word, lane] = planes.scaled_biases[from_word, from_lane]
            some.norms[word, lane] = planes.norms[from_word, from_lane]
            some.floors[word, lane] = planes.floors[from_word, from_lane]
        else:
            for k in range(d):
                some.panels[word, k, lane] = 0.0
            some.scaled_biases[word, lane] = -1.0
            some.norms[word, lane] = 0.0
            some.floors[word, lane] = 0.0
    return n_words


@njit(nogil=True, cache=True)
def _fill_open(points, rows, start, stop, some, which, n_open, n_words, radius, room):
    """Bits of the open hyperplanes of each point, in room.bits; returns the doubtful ones."""
    d = points.shape[1]
    groups = (stop - start + TILE_ROWS - 1) // TILE_ROWS
    doubts = 0
    for word in range(n_words):
        fill_slack(some, word, radius, d, room.slack)
        for group in range(groups):
            sign_words(
                some.panels, word, 0, d, room.scaled, group, some.scaled_biases,
                word * WORD_BITS, 0, room.slack, room.positive, room.doubtful,
            )  # fmt: skip
            i = group * TILE_ROWS
            for row in range(min(TILE_ROWS, stop - start - i)):
                bits, doubt = room.positive[row], room.doubtful[row]
                while doubt != _EMPTY:
                    bit = trailing_zeros(doubt)
                    doubt &= doubt - _ONE
                    doubts += 1
                    if word * WORD_BITS + bit >= n_open:
                        continue
                    h = which[word * WORD_BITS + bit]
                    point = points[row_number(rows, start + i + row)]
                    if exact_sign(
                        some.weights[h], point, some.biases[h], some.origin, some.shifted[h],
                        some.errors[h],
                    ):  # fmt: skip
                        bits |= _ONE << np.uint64(bit)
                room.bits[word, i + row] = bits
    return doubts


@njit(nogil=True, cache=True)
def _pack_varying(n_words, count, n_open, room):
    """Bring the open bits that vary side by side, in room.packed; the others to room.all_of.

    Returns the words that they take.
    """
    at = 0
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
    room = _new_room(points.shape[1], n_words)
    some = _open_filter(planes, n_words)
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
def _bound_tile(points, rows, start, stop, tile, planes, some, bounded, used, room):
    n_words = planes.panels.shape[0]
    count = stop - start
    largest = load_points(points, rows, start, stop, planes, room.scaled)
    reach, norm = _surround(room.scaled, count, room.centre, room.halves)
    which = room.which
    n_open = 0
    for word in range(n_words):
        _bound_word(planes, word, max(largest, norm), reach, room)
        room.all_of[word] = room.pair[0]
        room.any_of[word] = room.pair[0]
        rest = room.pair[1]
        while rest != _EMPTY:
            which[n_open] = word * WORD_BITS + trailing_zeros(rest)
            n_open += 1
            rest &= rest - _ONE
    n_some = _copy_open(planes, some, which, n_open)
    doubts = _fill_open(points, rows, start, stop, some, which, n_open, n_some, largest, room)
    n_packed = _pack_varying(n_some, count, n_open, room)
    first = take_many(used, n_packed * TILE)
    bounded.starts[tile] = first
    for word in range(n_packed):
        row = bounded.data[first + word * TILE : first + (word + 1) * TILE]
        for i in range(count):
            row[i] = room.packed[word, i]
        for i in range(count, TILE):
            row[i] = _EMPTY
    group, column = tile // TILE, tile % TILE
    for word in range(n_words):
        bounded.all_of[group, word, column] = room.all_of[word]
        bounded.any_of[group, word, column] = room.any_of[word]
        bounded.varies[tile, word] = room.any_of[word] & ~room.all_of[word]
    return doubts


@njit(nogil=True, cache=True)
def unpack_points(bounded, positions, out, first):
    """Copy the patterns at ``positions`` (P,) int64 of bounding tiles to ``first``, ... of ``out``.

    bounded the fields of a `Bounded` as a plain tuple; out (n_tiles, n_words, TILE) uint64.
    """
    bounded = Bounded(*bounded)
    n_words = bounded.varies.shape[1]
    for i in range(positions.shape[0]):
        tile = positions[i] // TILE
        at = bounded.starts[tile] + positions[i] - tile * TILE
        group, column = tile // TILE, tile % TILE
        out_tile = (first + i) // TILE
        out_column = first + i - out_tile * TILE
        shift = _EMPTY  # bits of data[at] that have been used
        for word in range(n_words):
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
            out[out_tile, word, out_column] = bits
