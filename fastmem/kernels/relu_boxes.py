"""Sums of ReLU activations over boxes of points: linear, but for few terms.

Frame as in ``kernels.relu_lanes``, but in float64: y = s (x - c), f_h(y) = <w_h, y> + s beta_h.
Boxes stand about each tile of a spatial order, and about FAN tiles that follow one another. The AND
and the OR of a box's patterns (``kernels.bounding``) say exactly of most hyperplanes h on which
side all its points are: there max(f_h, 0) is f_h, or 0. The others are open. Let a be a box's
centre and P the hyperplanes of a mask u that have all points at 1, and those open ones that have
f_h(a) > 0. Then at each of its points

    s S(y) = sum over P of f_h(y) + sum over the open h in u of max(-+f_h(y), 0),

with the minus for h in P. The first sum is A + <G, y - a> and differs from A by at most
dev = min(|G| rho, sum |G_k| eta_k), where rho and eta_k are the farthest that a point is from a,
also along each axis. A term of the second is between 0 and top_h = max(band_h - |f_h(a)|, 0), with
band_h = min(|w_h| rho, sum |w_hk| eta_k). So A - dev <= s S <= A + dev + sum of top_h: that decides
most boxes for all points at once. What it leaves is looked at with the open terms, oriented as they
stand there, in the place of all hyperplanes: first for each tile of the box, then for each point of
a tile.

The rounding. R bounds |y| in a box (its corners are within), so that |a|, and the distances of its
points and of its tiles' centres from each other, are at most 2 R, and all numbers that a hyperplane
adds, in the three steps together, at most 10 (|w_h| R + |s beta_h|). Each passes through less than
n + 2 d + 40 roundings, those of y included, in whatever order sums are made. So all that is
computed of s S is within E = 64 (n + 2 d + 40) 2^-53 (sum of |w_h| R + |s beta_h|) + sum of floors,
over u; floors hold the errors of beta and more than what is lost to underflow. What is beyond
2^300, or no number, makes E infinite. Where E leaves both sides of a comparison, or of a
threshold's rounding, a point goes to the stages 2 and 3 of ``kernels.relu``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.exact import UNIT64
from fastmem.kernels.layout import TILE, TILE_ROWS, WORD_BITS
from fastmem.kernels.products import DOUBLES, add_products
from fastmem.kernels.queue import take
from fastmem.kernels.relu_lanes import Layer, Masks, Rows
from fastmem.kernels.signs import row_number

FAN = 16
"""Tiles that share a box."""
_GROUPS = TILE // DOUBLES
_LARGEST = 2.0**300
_EMPTY = np.uint64(0)
_ONE = np.uint64(1)
_LOW_BITS = np.uint64(WORD_BITS - 1)
_LOG_BITS = np.uint64(6)


class Boxes(NamedTuple):
    """Boxes in the frame: centres, halves (m, d), reaches and radii (m,), all float64.

    Of the docstring above a, eta, rho and R.
    """

    centres: np.ndarray
    halves: np.ndarray
    reaches: np.ndarray
    radii: np.ndarray


class Places(NamedTuple):
    """Where points are, by tile, in boxes of up to FAN tiles.

    points (N, d) float32 or float64; rows (N,) int32 or int64; those of tile t are
    rows[begins[t] : begins[t] + sizes[t]]. Box b has the tiles firsts[b] to firsts[b + 1] - 1, all
    of class codes[b].
    """

    points: np.ndarray
    rows: np.ndarray
    begins: np.ndarray
    sizes: np.ndarray
    firsts: np.ndarray
    codes: np.ndarray


class Stack(NamedTuple):
    """Masks, their errors, and their ones as numbers side by side.

    masks the fields of a `Masks`; norms (n,) float64 of the hyperplanes; panels
    (ceil(B / DOUBLES), n, DOUBLES) float64.
    """

    masks: Masks
    norms: np.ndarray
    panels: np.ndarray


class _Terms(NamedTuple):
    """Terms max(f, 0), the first n_terms[0] of them, f being plus or minus f_h.

    before where a term stands among those that it was left from, numbers h, signs, weights (d, n),
    biases, norms. entries (c, n, TILE_ROWS): the weights once more, where columns have them.
    """

    n_terms: np.ndarray
    before: np.ndarray
    numbers: np.ndarray
    signs: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    norms: np.ndarray
    entries: np.ndarray


class Room(NamedTuple):
    """Room to work in.

    every, some (n_words,): AND and OR. columns (c, n, TILE_ROWS): what each term adds to A, to G,
    and to what may come on top. sums (groups of masks, c, TILE_ROWS, DOUBLES) of columns. lines
    (B, d + 2): such sums of each open mask for a box; for a tile in of_tile. which, chosen (B,):
    the masks that are open in a box, and of these those in a tile. picks: their ones among terms.
    For points y and y - a, (GROUPS, d, DOUBLES); open terms (GROUPS, n / TILE_ROWS, TILE_ROWS,
    DOUBLES) and their weights (n / TILE_ROWS, d, TILE_ROWS); ones of TILE_ROWS masks, looks
    (GROUPS, TILE_ROWS, DOUBLES) s S of these, found (TILE,) of one. pattern, rows: for the stages
    that follow.
    """

    all_terms: _Terms
    box_terms: _Terms
    tile_terms: _Terms
    z: np.ndarray
    bands: np.ndarray
    factors: np.ndarray
    turns: np.ndarray
    every: np.ndarray
    some: np.ndarray
    columns: np.ndarray
    sums: np.ndarray
    lines: np.ndarray
    of_tile: np.ndarray
    which: np.ndarray
    chosen: np.ndarray
    picks: np.ndarray
    y: np.ndarray
    moved: np.ndarray
    terms: np.ndarray
    weights: np.ndarray
    ones: np.ndarray
    looks: np.ndarray
    found: np.ndarray
    pattern: np.ndarray
    rows: Rows


@njit(nogil=True, cache=True)
def _new_terms(d, n):
    n_columns = (d + 2 + TILE_ROWS - 1) // TILE_ROWS
    return _Terms(
        np.zeros(1, np.int64), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n),
        np.empty((d, n)), np.empty(n), np.empty(n), np.zeros((n_columns, n, TILE_ROWS)),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def new_room(layer, norms, n_masks, n_words):
    """Room for up to so many masks, and all terms; norms (n,) float64 as in `Stack`."""
    n, d = layer.weights.shape
    groups = (n_masks + DOUBLES - 1) // DOUBLES
    n_columns = (d + 2 + TILE_ROWS - 1) // TILE_ROWS
    terms = _new_terms(d, n)
    terms.n_terms[0] = n
    for h in range(n):
        terms.numbers[h] = h
        terms.signs[h] = 1.0
        terms.biases[h] = layer.scale * layer.shifted[h]
        terms.norms[h] = norms[h]
        for k in range(d):
            weight = np.float64(layer.weights[h, k])
            terms.weights[k, h] = weight
            terms.entries[(k + 1) // TILE_ROWS, h, (k + 1) % TILE_ROWS] = weight
    n_rows = (n + TILE_ROWS - 1) // TILE_ROWS
    return Room(
        terms, _new_terms(d, n), _new_terms(d, n), np.empty(n), np.empty(n), np.empty(n),
        np.empty(n), np.empty(n_words, np.uint64), np.empty(n_words, np.uint64),
        np.zeros((n_columns, n, TILE_ROWS)), np.empty((groups, n_columns, TILE_ROWS, DOUBLES)),
        np.empty((n_masks, d + 2)), np.empty((n_masks, d + 2)),
        np.empty(n_masks, np.int64), np.empty(n_masks, np.int64), np.zeros((groups, n, DOUBLES)),
        np.empty((_GROUPS, d, DOUBLES)), np.empty((_GROUPS, d, DOUBLES)),
        np.empty((_GROUPS, n_rows, TILE_ROWS, DOUBLES)), np.zeros((n_rows, d, TILE_ROWS)),
        np.empty((1, n, TILE_ROWS)), np.empty((_GROUPS, TILE_ROWS, DOUBLES)), np.empty(TILE),
        np.empty(n_words, np.uint64),
        Rows(
            np.zeros(TILE * d), np.empty(0, np.int32), np.arange(TILE + 1) * d,
            np.zeros((1, n_words, TILE), np.uint64), np.arange(TILE),
        ),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _load(layer, places, tile, y):
    """y (GROUPS, d, DOUBLES) of the points of a tile."""
    begin = places.begins[tile]
    for i in range(places.sizes[tile]):
        row = row_number(places.rows, begin + i)
        here = y[i // DOUBLES]
        for k in range(y.shape[1]):
            value = np.float64(places.points[row, k])
            here[k, i % DOUBLES] = layer.scale * (value - layer.origin[k])


@njit(nogil=True, cache=True)
def surround(queue, stop, layer, places, size, tiles):
    """Fill the boxes about tiles: a worker; a task is ``size`` tiles.

    layer, places and tiles are the fields of a `Layer`, `Places` and `Boxes` as plain tuples.
    """
    layer, places, tiles = Layer(*layer), Places(*places), Boxes(*tiles)
    d = places.points.shape[1]
    y = np.empty((_GROUPS, d, DOUBLES))
    while True:
        task = take(queue)
        if task >= stop:
            return
        for tile in range(task * size, min((task + 1) * size, places.sizes.shape[0])):
            count = places.sizes[tile]
            _load(layer, places, tile, y)
            centre = tiles.centres[tile]
            norm = far = reach = 0.0
            for k in range(d):
                low = high = y[0, k, 0]
                for i in range(1, count):
                    low = min(low, y[i // DOUBLES, k, i % DOUBLES])
                    high = max(high, y[i // DOUBLES, k, i % DOUBLES])
                centre[k] = 0.5 * low + 0.5 * high
                half = max(high - centre[k], centre[k] - low)
                tiles.halves[tile, k] = half
                norm += centre[k] * centre[k]
                far += half * half
            for i in range(count):
                square = 0.0
                for k in range(d):
                    square += (y[i // DOUBLES, k, i % DOUBLES] - centre[k]) ** 2
                if not square <= reach:
                    reach = square
            tiles.reaches[tile] = math.sqrt(reach)
            # 2^-400: squares below 2^-1022 vanish
            tiles.radii[tile] = (math.sqrt(norm) + math.sqrt(far)) * (1.0 + 1e-9) + 2.0**-400


@njit(nogil=True, cache=True)
def gather_bits(bounded, first, last, every, some):
    """AND and OR of the patterns of the tiles first..last-1."""
    for word in range(every.shape[0]):
        both, either = ~_EMPTY, _EMPTY
        for tile in range(first, last):
            group, column = tile // TILE, tile % TILE
            both &= bounded.all_of[group, word, column]
            either |= bounded.any_of[group, word, column]
        every[word] = both
        some[word] = either


@njit(nogil=True, cache=True)
def divide_terms(terms, boxes, box, room, left):
    """What each term adds in a box, in room.columns; those that are open to ``left``."""
    count, d = terms.n_terms[0], terms.weights.shape[0]
    z, bands, columns = room.z, room.bands, room.columns
    for j in range(count):
        z[j] = terms.biases[j]
        bands[j] = 0.0
    for k in range(d):
        centre, half = boxes.centres[box, k], boxes.halves[box, k]
        row = terms.weights[k]
        for j in range(count):
            z[j] += row[j] * centre
            bands[j] += abs(row[j]) * half
    reach = boxes.reaches[box]
    last = columns.shape[0] - 1
    at_top = d + 1 - last * TILE_ROWS
    factors, turns = room.factors, room.turns
    n_left = 0
    for j in range(count):
        h, sign = np.uint64(terms.numbers[j]), terms.signs[j]
        word, bit = h >> _LOG_BITS, h & _LOW_BITS
        are_ones = room.every[word] >> bit & _ONE != _EMPTY
        is_open = not are_ones and room.some[word] >> bit & _ONE != _EMPTY
        is_linear = are_ones == (sign > 0.0)
        if is_open:
            is_linear = z[j] > 0.0
            bands[j] = max(min(terms.norms[j] * reach, bands[j]) - abs(z[j]), 0.0)
            turns[n_left] = -1.0 if is_linear else 1.0
            left.before[n_left] = j
            n_left += 1
        else:
            bands[j] = 0.0
        factors[j] = 1.0 if is_linear else 0.0
    for column in range(last + 1):
        entries, out = terms.entries[column], columns[column]
        for j in range(count):
            factor = factors[j]
            for row in range(TILE_ROWS):
                out[j, row] = factor * entries[j, row]
        kept = left.entries[column]
        for i in range(n_left):
            j, turn = left.before[i], turns[i]
            for row in range(TILE_ROWS):
                kept[i, row] = turn * entries[j, row]
    for j in range(count):
        columns[0, j, 0] = factors[j] * z[j]
        columns[last, j, at_top] = bands[j]
    for i in range(n_left):
        j, turn = left.before[i], turns[i]
        left.numbers[i] = terms.numbers[j]
        left.signs[i] = turn * terms.signs[j]
        left.biases[i] = turn * terms.biases[j]
        left.norms[i] = terms.norms[j]
    for k in range(d):
        weights, kept = terms.weights[k], left.weights[k]
        for i in range(n_left):
            kept[i] = turns[i] * weights[left.before[i]]
    left.n_terms[0] = n_left


@njit(nogil=True, cache=True)
def add_columns(panels, count, n_masks, room):
    """room.sums = sums of the columns of the first ``count`` terms over each mask's ones."""
    for group in range((n_masks + DOUBLES - 1) // DOUBLES):
        sums = room.sums[group]
        for column in range(sums.shape[0]):
            for row in range(TILE_ROWS):
                for lane in range(DOUBLES):
                    sums[column, row, lane] = 0.0
            if count:
                add_products(panels, group, 0, count, room.columns, column, sums)


@njit(nogil=True, cache=True)
def sum_at(room, place, c):
    """The sum of column c for the mask at a place of the panels."""
    return room.sums[place // DOUBLES, c // TILE_ROWS, c % TILE_ROWS, place % DOUBLES]


@njit(nogil=True, cache=True)
def pick_ones(masks, n_open, room):
    """The ones of the open masks among the terms that a box leaves, in room.picks."""
    left = room.box_terms
    for o in range(n_open):
        words = masks.words[room.which[o]]
        picks, lane = room.picks[o // DOUBLES], o % DOUBLES
        for j in range(left.n_terms[0]):
            h = np.uint64(left.numbers[j])
            picks[j, lane] = np.float64(words[h >> _LOG_BITS] >> (h & _LOW_BITS) & _ONE)


@njit(nogil=True, cache=True)
def line_in_tile(boxes, box, tiles, tile, o, room):
    """A, G and what may come on top of an open mask in a tile of the box."""
    before, line = room.lines[o], room.of_tile[o]
    d = before.shape[0] - 2
    total = before[0] + sum_at(room, o, 0)
    for k in range(d):
        total += before[k + 1] * (tiles.centres[tile, k] - boxes.centres[box, k])
        line[k + 1] = before[k + 1] + sum_at(room, o, k + 1)
    line[0] = total
    line[d + 1] = sum_at(room, o, d + 1)


@njit(nogil=True, cache=True)
def deviation(line, boxes, box):
    """How far <G, y - a> is from 0 at most."""
    square = along = 0.0
    for k in range(line.shape[0] - 2):
        square += line[k + 1] * line[k + 1]
        along += abs(line[k + 1]) * boxes.halves[box, k]
    return min(math.sqrt(square) * boxes.reaches[box], along)


@njit(nogil=True, cache=True)
def error_of(layer, masks, b, radius):
    """E of a mask in a box."""
    n, d = layer.weights.shape
    relative = 64.0 * (n + 2.0 * d + 40.0) * UNIT64
    # NaN is not below either
    if not layer.largest[0] * radius + layer.largest[1] < _LARGEST or relative > 0.01:
        return np.inf
    return 1.001 * (relative * (masks.norms[b] * radius + masks.levels[b]) + masks.floors[b])


@njit(nogil=True, cache=True)
def look(layer, places, tiles, tile, room):
    """Bring a tile's points, and the terms that are open in it."""
    left, y = room.tile_terms, room.y
    count, d = left.n_terms[0], y.shape[1]
    _load(layer, places, tile, y)
    for i in range(places.sizes[tile], TILE):
        for k in range(d):
            y[i // DOUBLES, k, i % DOUBLES] = tiles.centres[tile, k]
    for j in range(count):
        for k in range(d):
            room.weights[j // TILE_ROWS, k, j % TILE_ROWS] = left.weights[k, j]
    for group in range(_GROUPS):
        for k in range(d):
            centre = tiles.centres[tile, k]
            for i in range(DOUBLES):
                room.moved[group, k, i] = y[group, k, i] - centre
        for rows in range((count + TILE_ROWS - 1) // TILE_ROWS):
            terms = room.terms[group, rows]
            for row in range(TILE_ROWS):
                j = min(rows * TILE_ROWS + row, count - 1)
                for i in range(DOUBLES):
                    terms[row, i] = left.biases[j]
            add_products(y, group, 0, d, room.weights, rows, room.terms[group])
            for row in range(TILE_ROWS):
                for i in range(DOUBLES):
                    terms[row, i] = max(terms[row, i], 0.0)


@njit(nogil=True, cache=True)
def add_up_masks(chosen, room):
    """s S of up to TILE_ROWS masks, in room.looks, at the points that `look` has brought."""
    left, ones = room.tile_terms, room.ones
    count = left.n_terms[0]
    for row in range(chosen.shape[0]):
        o = chosen[row]
        picks, lane = room.picks[o // DOUBLES], o % DOUBLES
        for j in range(count):
            ones[0, j, row] = picks[left.before[j], lane]
        line = room.of_tile[o]
        for group in range(_GROUPS):
            out = room.looks[group, row]
            for i in range(DOUBLES):
                out[i] = line[0]
            for k in range(room.moved.shape[1]):
                slope, moved = line[k + 1], room.moved[group, k]
                for i in range(DOUBLES):
                    out[i] += slope * moved[i]
    for row in range(chosen.shape[0], TILE_ROWS):
        for j in range(count):
            ones[0, j, row] = 0.0
    if count:
        terms = room.terms.reshape((_GROUPS, -1, DOUBLES))
        for group in range(_GROUPS):
            add_products(terms, group, 0, count, ones, 0, room.looks[group : group + 1])
