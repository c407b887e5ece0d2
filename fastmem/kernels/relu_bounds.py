"""Sums of ReLU activations over bounding boxes: their minima, and coverage, with few looks at points.

Frame and errors as in ``kernels.relu_lanes``, but in float64: y = s (x - c), f_h(y) = <w_h, y> +
s beta_h. Boxes stand about each tile of a spatial order, and about FAN tiles that follow one
another. In a box with the centre a, every hyperplane is on one side but those with
|f_h(a)| < band_h = min(|w_h| rho, sum |w_hk| eta_k), rho and eta_k the farthest that a point is from
a, also along each axis. So with P = {h in u: f_h(a) > 0} the sum of a mask u is linear but for few
terms:

    s S(y) = sum over P of f_h(y) + sum over the open h in u of max(-+f_h(y), 0),

with the minus for h in P. The first sum is A + <G, y - a> and differs from A by at most
dev = min(|G| rho, sum |G_k| eta_k); a term of the second is between 0 and band_h - |f_h(a)|. So
A - dev <= s S <= A + dev + sum of (band_h - |f_h(a)|): that decides most boxes for all their points
at once. What it leaves is looked at with the terms that are open, oriented as they stand there, in
the place of the hyperplanes: first for each tile of the box, then for each point of a tile.

The rounding. R bounds |y| for all y in a box (the corners are in it), so that |a|, and the distances
of its points and of its tiles' centres from each other, are at most 2 R, and every number that one
hyperplane adds, in any of the three steps, is at most 10 (|w_h| R + |s beta_h|) in all. Each passes
through less than n + 2 d + 40 roundings, those of y included, whatever the order of sums, and a
term that is wrongly taken for one side is within these of 0. So all that is computed of s S is
within E = 64 (n + 2 d + 40) 2^-53 (sum of |w_h| R + |s beta_h|) + sum of floors, over u; the floors
hold the errors of beta and what is lost to underflow. NaN, infinities and what is beyond 2^300 make
E infinite. Where E leaves both sides of a comparison, or of a threshold's rounding, a point goes to
the stages 2 and 3 of ``kernels.relu``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmem.kernels.bounding import Bounded, unpack_one
from fastmem.kernels.compiling import njit
from fastmem.kernels.exact import UNIT64
from fastmem.kernels.layout import TILE, WORD_BITS
from fastmem.kernels.queue import take
from fastmem.kernels.relu_exact import exact_sum, interval, is_below, rounded_down
from fastmem.kernels.relu_lanes import Layer, Masks, Rows
from fastmem.kernels.signs import row_number

FAN = 16
"""Tiles that share a box."""
LANES = 8
"""Hyperplanes, and terms that are open, are padded to a multiple."""
_LARGEST = 2.0**300
_SMALLEST = 2.0**-1000
"""A smaller sum may be rounded when the scale is divided out."""
_ONE = np.uint64(1)
_LOW_BITS = np.uint64(WORD_BITS - 1)
_LOG_BITS = np.uint64(6)


class Planes(NamedTuple):
    """Hyperplanes in the frame: weights (d, m) float32 or float64, biases and norms (m,) float64.

    m is a multiple of LANES; padding has weights 0 and biases -1.
    """

    weights: np.ndarray
    biases: np.ndarray
    norms: np.ndarray


class Boxes(NamedTuple):
    """Boxes in the frame: centres, halves (m, d), reaches and radii (m,), all float64.

    Of the docstring above a, eta, rho and R.
    """

    centres: np.ndarray
    halves: np.ndarray
    reaches: np.ndarray
    radii: np.ndarray


class Places(NamedTuple):
    """Where points are: of a class by tile, in boxes of up to FAN tiles.

    points (N, d) float32 or float64; rows (N,) int32 or int64; those of tile t are rows[begins[t] :
    begins[t] + sizes[t]]. Box b has the tiles firsts[b] to firsts[b + 1] - 1, all of class codes[b].
    """

    points: np.ndarray
    rows: np.ndarray
    begins: np.ndarray
    sizes: np.ndarray
    firsts: np.ndarray
    codes: np.ndarray


class _Open(NamedTuple):
    """Terms max(f_h, 0) that a box leaves open, count[0] of them, and where they stood before."""

    count: np.ndarray
    numbers: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    norms: np.ndarray


class _Room(NamedTuple):
    """Room to work in.

    columns (d + 2, m): what each term adds to A, to G and to the upper bound. lines (B, d + 2):
    these of each mask for a box, line (d + 2,) for a tile. moved, terms, sums: of a tile's points
    y - a, the terms that are open, and s S. rows: one tile, for the stages that follow.
    """

    of_box: _Open
    of_tile: _Open
    columns: np.ndarray
    ones: np.ndarray
    lines: np.ndarray
    line: np.ndarray
    found: np.ndarray
    states: np.ndarray
    y: np.ndarray
    moved: np.ndarray
    terms: np.ndarray
    sums: np.ndarray
    pattern: np.ndarray
    rows: Rows


@njit(nogil=True, cache=True)
def _new_open(d, m):
    return _Open(
        np.zeros(1, np.int64), np.empty(m, np.int64), np.empty((d, m)), np.empty(m), np.empty(m)
    )


@njit(nogil=True, cache=True)
def _new_room(planes, n_masks, n_words):
    d, m = planes.weights.shape
    return _Room(
        _new_open(d, m), _new_open(d, m), np.zeros((d + 2, m)), np.zeros((n_masks, m)),
        np.empty((n_masks, d + 2)), np.empty(d + 2), np.empty(d + 2), np.empty(n_masks, np.int64),
        np.empty((d, TILE)), np.empty((d, TILE)), np.empty((m, TILE)), np.empty(TILE),
        np.empty(n_words, np.uint64),
        Rows(
            np.zeros(TILE * d), np.empty(0, np.int32), np.arange(TILE + 1) * d,
            np.zeros((1, n_words, TILE), np.uint64), np.arange(TILE),
        ),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def surround(queue, stop, layer, places, size, tiles):
    """Fill the boxes about tiles: a worker; a task is ``size`` tiles. tiles a `Boxes`."""
    layer, places, tiles = Layer(*layer), Places(*places), Boxes(*tiles)
    d = places.points.shape[1]
    y = np.empty((d, TILE))
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
                low = high = y[k, 0]
                for i in range(1, count):
                    low = min(low, y[k, i])
                    high = max(high, y[k, i])
                centre[k] = 0.5 * low + 0.5 * high
                half = max(high - centre[k], centre[k] - low)
                tiles.halves[tile, k] = half
                norm += centre[k] * centre[k]
                far += half * half
            for i in range(count):
                square = 0.0
                for k in range(d):
                    square += (y[k, i] - centre[k]) ** 2
                if not square <= reach:
                    reach = square
            tiles.reaches[tile] = math.sqrt(reach)
            tiles.radii[tile] = (math.sqrt(norm) + math.sqrt(far)) * (1.0 + 1e-9) + 2.0**-400


@njit(nogil=True, cache=True)
def _load(layer, places, tile, y):
    """y (d, TILE) of the points of a tile."""
    begin = places.begins[tile]
    for i in range(places.sizes[tile]):
        row = row_number(places.rows, begin + i)
        for k in range(y.shape[0]):
            y[k, i] = layer.scale * (np.float64(places.points[row, k]) - layer.origin[k])


@njit(nogil=True, cache=True)
def _divide(terms, count, centre, halves, reach, columns, left):
    """What terms max(f_h, 0), h < count, are in a box, in columns; those that are open to ``left``.

    terms has weights (d, m), biases and norms (m,), of which count are used.
    """
    d = centre.shape[0]
    weights = terms.weights
    z, bands = columns[0], columns[d + 1]
    for h in range(count):
        z[h] = terms.biases[h]
        bands[h] = 0.0
    for k in range(d):
        c, half = centre[k], halves[k]
        row = weights[k]
        for h in range(count):
            z[h] += row[h] * c
            bands[h] += abs(row[h]) * half
    for h in range(count):
        bands[h] = max(min(terms.norms[h] * reach, bands[h]) - abs(z[h]), 0.0)
    n_left = 0
    for h in range(count):
        if bands[h] > 0.0:
            left.numbers[n_left] = h
            n_left += 1
    left.count[0] = n_left
    for j in range(n_left):
        h = left.numbers[j]
        sign = -1.0 if z[h] > 0.0 else 1.0
        left.biases[j] = sign * terms.biases[h]
        left.norms[j] = terms.norms[h]
        for k in range(d):
            left.weights[k, j] = sign * weights[k, h]
    for k in range(d):
        row, column = weights[k], columns[k + 1]
        for h in range(count):
            column[h] = np.float64(row[h]) if z[h] > 0.0 else 0.0
    for h in range(count):
        z[h] = max(z[h], 0.0)


@njit(nogil=True, cache=True)
def _add_columns(ones, columns, count, found):
    """found[c] = <ones, columns[c]> over the first ``count``; in ones zeros follow, to LANES."""
    for c in range(columns.shape[0]):
        column = columns[c]
        a = b = e = f = p = q = r = s = 0.0
        for j in range(0, count, LANES):
            a += ones[j] * column[j]
            b += ones[j + 1] * column[j + 1]
            e += ones[j + 2] * column[j + 2]
            f += ones[j + 3] * column[j + 3]
            p += ones[j + 4] * column[j + 4]
            q += ones[j + 5] * column[j + 5]
            r += ones[j + 6] * column[j + 6]
            s += ones[j + 7] * column[j + 7]
        found[c] = ((a + b) + (e + f)) + ((p + q) + (r + s))


@njit(nogil=True, cache=True)
def _deviation(line, halves, reach):
    """How far <G, y - a> is from 0 at most."""
    square = along = 0.0
    for k in range(halves.shape[0]):
        g = line[k + 1]
        square += g * g
        along += abs(g) * halves[k]
    return min(math.sqrt(square) * reach, along)


@njit(nogil=True, cache=True)
def _error(layer, masks, b, radius, d):
    """E of a mask in a box."""
    # NaN is not below either
    if not layer.largest[0] * radius + layer.largest[1] < _LARGEST:
        return np.inf
    n_roundings = np.float64(layer.weights.shape[0] + 2 * d + 40)
    relative = 64.0 * n_roundings * UNIT64
    if relative > 0.01:
        return np.inf
    return relative * (masks.norms[b] * radius + masks.levels[b]) * 1.001 + masks.floors[b] * 1.001


@njit(nogil=True, cache=True)
def _pick(words, left, ones):
    """ones[j] = whether the mask has the term that left.numbers[j] says, and zeros to LANES."""
    count = left.count[0]
    for j in range(count):
        h = np.uint64(left.numbers[j])
        ones[j] = np.float64(words[h >> _LOG_BITS] >> (h & _LOW_BITS) & _ONE)
    for j in range(count, (count + LANES - 1) // LANES * LANES):
        ones[j] = 0.0


@njit(nogil=True, cache=True)
def _clear_ends(left, columns):
    """Zeros after the terms that are open, to LANES, in columns that are to hold them."""
    count = left.count[0]
    for c in range(columns.shape[0]):
        for j in range(count, (count + LANES - 1) // LANES * LANES):
            columns[c, j] = 0.0


@njit(nogil=True, cache=True)
def _tile_line(boxes, box, tiles, tile, room, b):
    """A, G and what may come on top, in room.line, of mask b in a tile of a box."""
    line, found, before = room.line, room.found, room.lines[b]
    _add_columns(room.ones[b], room.columns, room.of_box.count[0], found)
    total = before[0] + found[0]
    for k in range(tiles.centres.shape[1]):
        total += before[k + 1] * (tiles.centres[tile, k] - boxes.centres[box, k])
        line[k + 1] = before[k + 1] + found[k + 1]
    line[0] = total
    line[-1] = found[-1]


@njit(nogil=True, cache=True)
def _look(layer, places, tile, centre, room):
    """Bring a tile's points, and the terms that are open in it."""
    size = places.sizes[tile]
    d = centre.shape[0]
    _load(layer, places, tile, room.y)
    for i in range(size, TILE):
        for k in range(d):
            room.y[k, i] = centre[k]
    for k in range(d):
        for i in range(TILE):
            room.moved[k, i] = room.y[k, i] - centre[k]
    left = room.of_tile
    for j in range(left.count[0]):
        out = room.terms[j]
        for i in range(TILE):
            out[i] = left.biases[j]
        for k in range(d):
            w, row = left.weights[k, j], room.y[k]
            for i in range(TILE):
                out[i] += w * row[i]
        for i in range(TILE):
            out[i] = max(out[i], 0.0)


@njit(nogil=True, cache=True)
def _add_terms(room, b):
    """s S of mask b, in room.sums, at the points of the tile that `_look` has brought."""
    sums, line, ones = room.sums, room.line, room.ones[b]
    for i in range(TILE):
        sums[i] = line[0]
    for k in range(room.moved.shape[0]):
        g, row = line[k + 1], room.moved[k]
        for i in range(TILE):
            sums[i] += g * row[i]
    left = room.of_tile
    for j in range(left.count[0]):
        if ones[left.numbers[j]] != 0.0:
            row = room.terms[j]
            for i in range(TILE):
                sums[i] += row[i]


@njit(nogil=True, cache=True)
def _bring(places, bounded, tile, i, room):
    """Bring a point and its pattern for the stages that follow."""
    d = places.points.shape[1]
    row = row_number(places.rows, places.begins[tile] + i)
    for k in range(d):
        room.rows.values[i * d + k] = np.float64(places.points[row, k])
    unpack_one(bounded, tile * TILE + i, room.pattern)
    for word in range(room.pattern.shape[0]):
        room.rows.tiles[0, word, i] = room.pattern[word]


@njit(nogil=True, cache=True)
def _rounded_sum(layer, places, bounded, tile, i, words, error, limit, room):
    """S of a point rounded down; where that is at least ``limit``, perhaps only ``limit``."""
    low = (room.sums[i] - error) / layer.scale
    high = (room.sums[i] + error) / layer.scale
    if low > _SMALLEST and high < np.inf and rounded_down(low) == rounded_down(high):
        return rounded_down(low)
    _bring(places, bounded, tile, i, room)
    low, high = interval(layer, room.rows, i, words, limit)
    if low >= limit:
        return limit
    if rounded_down(low) == rounded_down(high):
        return rounded_down(low)
    return rounded_down(exact_sum(layer, room.rows, i, words))


@njit(nogil=True, cache=True)
def _least_in_tile(layer, places, bounded, tile, words, error, limit, room):
    """The lesser of ``limit`` and the least sum of a tile's points, rounded down."""
    size = places.sizes[tile]
    first = 0
    for i in range(1, size):
        if room.sums[i] < room.sums[first]:
            first = i
    # the least first: it most often shows the others to be greater
    for at in range(-1, size):
        i = first if at < 0 else at
        if i == at and i == first:
            continue
        if not room.sums[i] - error >= layer.scale * limit:
            limit = min(
                limit, _rounded_sum(layer, places, bounded, tile, i, words, error, limit, room)
            )
    return limit


@njit(nogil=True, cache=True)
def least_in_boxes(
    queue, stop, layer, planes, places, bounded, boxes, tiles, masks, dense, owners, size, least
):
    """Lower least[task, b] to the least sum of mask b in the task's boxes, rounded down: a worker.

    A task is ``size`` boxes, of which those of class owners[b] (B,) int64 do not count for mask b.
    layer, planes, places, bounded, boxes, tiles and masks are the fields of a `Layer`, `Planes`,
    `Places`, `Bounded`, `Boxes` (twice) and `Masks` as plain tuples; dense (B, m) float64 the
    masks' ones. least (T, B) float64 holds numbers that some point of another class reaches, or
    infinity.
    """
    layer, planes, places, bounded = Layer(*layer), Planes(*planes), Places(*places), Bounded(*bounded)
    boxes, tiles, masks = Boxes(*boxes), Boxes(*tiles), Masks(*masks)
    d, m = planes.weights.shape
    n_masks, n_words = masks.words.shape
    room = _new_room(planes, n_masks, n_words)
    left = room.of_box
    while True:
        task = take(queue)
        if task >= stop:
            return
        reached = least[task]
        for box in range(task * size, min((task + 1) * size, boxes.reaches.shape[0])):
            halves, reach, radius = boxes.halves[box], boxes.reaches[box], boxes.radii[box]
            _divide(planes, m, boxes.centres[box], halves, reach, room.columns, left)
            n_open = 0
            for b in range(n_masks):
                if owners[b] == places.codes[box]:
                    continue
                line = room.lines[b]
                _add_columns(dense[b], room.columns, m, line)
                error = _error(layer, masks, b, radius, d)
                if line[0] - _deviation(line, halves, reach) - error >= layer.scale * reached[b]:
                    continue
                room.states[n_open] = b
                n_open += 1
            if n_open == 0:
                continue
            for o in range(n_open):
                _pick(masks.words[room.states[o]], left, room.ones[room.states[o]])
            for tile in range(places.firsts[box], places.firsts[box + 1]):
                halves, reach = tiles.halves[tile], tiles.reaches[tile]
                _clear_ends(left, room.columns)
                _divide(
                    left, left.count[0], tiles.centres[tile], halves, reach, room.columns,
                    room.of_tile,
                )  # fmt: skip
                is_loaded = False
                for o in range(n_open):
                    b = room.states[o]
                    _tile_line(boxes, box, tiles, tile, room, b)
                    error = _error(layer, masks, b, radius, d)
                    low = room.line[0] - _deviation(room.line, halves, reach) - error
                    if low >= layer.scale * reached[b]:
                        continue
                    if not is_loaded:
                        _look(layer, places, tile, tiles.centres[tile], room)
                        is_loaded = True
                    _add_terms(room, b)
                    reached[b] = _least_in_tile(
                        layer, places, bounded, tile, masks.words[b], error, reached[b], room
                    )


@njit(nogil=True, cache=True)
def _cover_in_tile(layer, places, bounded, tile, words, error, limit, still, room):
    """Clear ``still`` where a sum is below a limit; returns how many."""
    scaled = layer.scale * limit
    cleared = 0
    for i in range(places.sizes[tile]):
        if not still[i] or room.sums[i] - error >= scaled:
            continue
        if not room.sums[i] + error < scaled:
            _bring(places, bounded, tile, i, room)
            if not is_below(layer, room.rows, i, words, limit):
                continue
        still[i] = False
        cleared += 1
    return cleared


@njit(nogil=True, cache=True)
def cover_in_boxes(
    queue, stop, layer, planes, places, bounded, boxes, tiles, masks, dense, limits, first, size,
    uncovered, gained,
):  # fmt: skip
    """Clear ``uncovered`` where a sum is below its mask's limit: a worker.

    As `least_in_boxes`; the boxes are those from ``first`` on, of one class. limits (B,) float64,
    uncovered (n_tiles, TILE) bool of the tiles from that box's on. gained[task] (B,) int64 grows by
    the points that mask b is the first to cover.
    """
    layer, planes, places, bounded = Layer(*layer), Planes(*planes), Places(*places), Bounded(*bounded)
    boxes, tiles, masks = Boxes(*boxes), Boxes(*tiles), Masks(*masks)
    d, m = planes.weights.shape
    n_masks, n_words = masks.words.shape
    room = _new_room(planes, n_masks, n_words)
    left = room.of_box
    first_tile = places.firsts[first]
    last_box = first
    while last_box < boxes.reaches.shape[0] and places.codes[last_box] == places.codes[first]:
        last_box += 1
    while True:
        task = take(queue)
        if task >= stop:
            return
        for box in range(first + task * size, min(first + (task + 1) * size, last_box)):
            begin, end = places.firsts[box], places.firsts[box + 1]
            remaining = 0
            for tile in range(begin, end):
                for i in range(TILE):
                    remaining += uncovered[tile - first_tile, i]
            if remaining == 0:
                continue
            halves, reach, radius = boxes.halves[box], boxes.reaches[box], boxes.radii[box]
            _divide(planes, m, boxes.centres[box], halves, reach, room.columns, left)
            n_open = 0
            for b in range(n_masks):
                line = room.lines[b]
                _add_columns(dense[b], room.columns, m, line)
                error = _error(layer, masks, b, radius, d)
                deviation = _deviation(line, halves, reach)
                if line[0] - deviation - error >= layer.scale * limits[b]:
                    continue
                _pick(masks.words[b], left, room.ones[b])
                room.states[n_open] = b
                n_open += 1
                if line[0] + deviation + line[d + 1] + error < layer.scale * limits[b]:
                    break  # nothing is left to the others
            if n_open == 0:
                continue
            for tile in range(begin, end):
                still = uncovered[tile - first_tile]
                remaining = 0
                for i in range(TILE):
                    remaining += still[i]
                if remaining == 0:
                    continue
                halves, reach = tiles.halves[tile], tiles.reaches[tile]
                _clear_ends(left, room.columns)
                _divide(
                    left, left.count[0], tiles.centres[tile], halves, reach, room.columns,
                    room.of_tile,
                )  # fmt: skip
                is_loaded = False
                for o in range(n_open):
                    b = room.states[o]
                    _tile_line(boxes, box, tiles, tile, room, b)
                    line = room.line
                    error = _error(layer, masks, b, radius, d)
                    deviation = _deviation(line, halves, reach)
                    if line[0] - deviation - error >= layer.scale * limits[b]:
                        continue
                    if line[0] + deviation + line[d + 1] + error < layer.scale * limits[b]:
                        for i in range(TILE):
                            still[i] = False
                        gained[task, b] += remaining
                        break
                    if not is_loaded:
                        _look(layer, places, tile, tiles.centres[tile], room)
                        is_loaded = True
                    _add_terms(room, b)
                    cleared = _cover_in_tile(
                        layer, places, bounded, tile, masks.words[b], error, limits[b], still, room
                    )
                    gained[task, b] += cleared
                    remaining -= cleared
                    if remaining == 0:
                        break
