"""Minima of sums of ReLU activations, and coverage, over boxes with few looks at points.

The boxes, what is linear in them, and the proof: ``kernels.relu_boxes``.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.bounding import Bounded, unpack_one
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import TILE, TILE_ROWS
from fastmem.kernels.products import DOUBLES
from fastmem.kernels.queue import take
from fastmem.kernels.relu_boxes import (
    Boxes,
    Places,
    add_columns,
    add_up_masks,
    deviation,
    divide_terms,
    error_of,
    gather_bits,
    line_in_tile,
    look,
    new_room,
    pick_ones,
    sum_at,
)
from fastmem.kernels.relu_exact import exact_sum, interval, is_below, rounded_down
from fastmem.kernels.relu_lanes import Layer, Masks
from fastmem.kernels.signs import row_number

_SMALLEST = 2.0**-1000
"""A smaller sum may be rounded when the scale is divided out."""


@njit(nogil=True, cache=True)
def _take_row(row, room):
    """room.found = s S of a mask at all points."""
    for group in range(room.looks.shape[0]):
        for i in range(DOUBLES):
            room.found[group * DOUBLES + i] = room.looks[group, row, i]


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
    low = (room.found[i] - error) / layer.scale
    high = (room.found[i] + error) / layer.scale
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
    size, found = places.sizes[tile], room.found
    first = 0
    for i in range(1, size):
        if found[i] < found[first]:
            first = i
    # the least first: it most often shows the others to be greater
    for at in range(-1, size):
        i = first if at < 0 else at
        if (at < 0 or at != first) and not found[i] - error >= layer.scale * limit:
            limit = min(
                limit, _rounded_sum(layer, places, bounded, tile, i, words, error, limit, room)
            )
    return limit


@njit(nogil=True, cache=True)
def least_in_boxes(queue, stop, layer, places, bounded, boxes, tiles, stack, owners, size, least):
    """Lower least[task, b] to the least sum of mask b in the task's boxes, rounded down: a worker.

    A task is ``size`` boxes, of which those of class owners[b] (B,) int64 do not count for mask b.
    layer, places, bounded, boxes, tiles and stack are the fields of a `Layer`, `Places`, `Bounded`,
    `Boxes` (twice) and `Stack` as plain tuples. least (T, B) float64 holds numbers that some point
    of another class reaches, or infinity.
    """
    layer, places, bounded = Layer(*layer), Places(*places), Bounded(*bounded)
    boxes, tiles = Boxes(*boxes), Boxes(*tiles)
    masks = Masks(*stack[0])
    n_masks, n_words = masks.words.shape
    room = new_room(layer, stack[1], n_masks, n_words)
    while True:
        task = take(queue)
        if task >= stop:
            return
        reached = least[task]
        for box in range(task * size, min((task + 1) * size, boxes.reaches.shape[0])):
            first, last = places.firsts[box], places.firsts[box + 1]
            radius = boxes.radii[box]
            gather_bits(bounded, first, last, room.every, room.some)
            divide_terms(room.all_terms, boxes, box, room, room.box_terms)
            add_columns(stack[2], room.all_terms.n_terms[0], n_masks, room)
            n_open = 0
            for b in range(n_masks):
                if owners[b] == places.codes[box]:
                    continue
                line = room.lines[n_open]
                for c in range(line.shape[0]):
                    line[c] = sum_at(room, b, c)
                low = line[0] - deviation(line, boxes, box) - error_of(layer, masks, b, radius)
                if not low >= layer.scale * reached[b]:
                    room.which[n_open] = b
                    n_open += 1
            if n_open == 0:
                continue
            pick_ones(masks, n_open, room)
            for tile in range(first, last):
                gather_bits(bounded, tile, tile + 1, room.every, room.some)
                divide_terms(room.box_terms, tiles, tile, room, room.tile_terms)
                add_columns(room.picks, room.box_terms.n_terms[0], n_open, room)
                n_chosen = 0
                for o in range(n_open):
                    b = room.which[o]
                    line_in_tile(boxes, box, tiles, tile, o, room)
                    low = room.of_tile[o, 0] - deviation(room.of_tile[o], tiles, tile)
                    if not low - error_of(layer, masks, b, radius) >= layer.scale * reached[b]:
                        room.chosen[n_chosen] = o
                        n_chosen += 1
                if n_chosen:
                    look(layer, places, tiles, tile, room)
                for start in range(0, n_chosen, TILE_ROWS):
                    some = room.chosen[start : min(start + TILE_ROWS, n_chosen)]
                    add_up_masks(some, room)
                    for row in range(some.shape[0]):
                        b = room.which[some[row]]
                        _take_row(row, room)
                        reached[b] = _least_in_tile(
                            layer, places, bounded, tile, masks.words[b],
                            error_of(layer, masks, b, radius), reached[b], room,
                        )  # fmt: skip


@njit(nogil=True, cache=True)
def _cover_in_tile(layer, places, bounded, tile, words, error, limit, still, room):
    """Clear ``still`` where a sum is below a limit; returns how many."""
    scaled = layer.scale * limit
    cleared = 0
    for i in range(places.sizes[tile]):
        if not still[i] or room.found[i] - error >= scaled:
            continue
        if not room.found[i] + error < scaled:
            _bring(places, bounded, tile, i, room)
            if not is_below(layer, room.rows, i, words, limit):
                continue
        still[i] = False
        cleared += 1
    return cleared


@njit(nogil=True, cache=True)
def _count(still):
    count = np.int64(0)
    for i in range(TILE):
        count += still[i]
    return count


@njit(nogil=True, cache=True)
def cover_in_boxes(
    queue, stop, layer, places, bounded, boxes, tiles, stack, limits, range_, size, uncovered,
    gained,
):  # fmt: skip
    """Clear ``uncovered`` where a sum is below its mask's limit: a worker.

    As `least_in_boxes`; the boxes are range_[0] to range_[1] - 1 (int64), of one class. limits (B,)
    float64; uncovered (n_tiles, TILE) bool of the tiles from the first box's on. gained[task] (B,)
    int64 grows by the points that mask b is the first to cover.
    """
    layer, places, bounded = Layer(*layer), Places(*places), Bounded(*bounded)
    boxes, tiles = Boxes(*boxes), Boxes(*tiles)
    masks = Masks(*stack[0])
    n_masks, n_words = masks.words.shape
    room = new_room(layer, stack[1], n_masks, n_words)
    first_tile = places.firsts[range_[0]]
    while True:
        task = take(queue)
        if task >= stop:
            return
        start = range_[0] + task * size
        for box in range(start, min(start + size, range_[1])):
            first, last = places.firsts[box], places.firsts[box + 1]
            radius = boxes.radii[box]
            remaining = np.int64(0)
            for tile in range(first, last):
                remaining += _count(uncovered[tile - first_tile])
            if remaining == 0:
                continue
            gather_bits(bounded, first, last, room.every, room.some)
            divide_terms(room.all_terms, boxes, box, room, room.box_terms)
            add_columns(stack[2], room.all_terms.n_terms[0], n_masks, room)
            n_open = 0
            for b in range(n_masks):
                line = room.lines[n_open]
                for c in range(line.shape[0]):
                    line[c] = sum_at(room, b, c)
                spread = deviation(line, boxes, box) + error_of(layer, masks, b, radius)
                if not line[0] - spread >= layer.scale * limits[b]:
                    room.which[n_open] = b
                    n_open += 1
                    if line[0] + spread + line[-1] < layer.scale * limits[b]:
                        break  # nothing is left to the others
            if n_open == 0:
                continue
            pick_ones(masks, n_open, room)
            for tile in range(first, last):
                still = uncovered[tile - first_tile]
                remaining = _count(still)
                if remaining == 0:
                    continue
                gather_bits(bounded, tile, tile + 1, room.every, room.some)
                divide_terms(room.box_terms, tiles, tile, room, room.tile_terms)
                add_columns(room.picks, room.box_terms.n_terms[0], n_open, room)
                n_chosen, whole = 0, np.int64(-1)
                for o in range(n_open):
                    b = room.which[o]
                    line_in_tile(boxes, box, tiles, tile, o, room)
                    line = room.of_tile[o]
                    spread = deviation(line, tiles, tile) + error_of(layer, masks, b, radius)
                    if line[0] + spread + line[-1] < layer.scale * limits[b]:
                        whole = b
                        break
                    if not line[0] - spread >= layer.scale * limits[b]:
                        room.chosen[n_chosen] = o
                        n_chosen += 1
                if n_chosen:
                    look(layer, places, tiles, tile, room)
                for begin in range(0, n_chosen, TILE_ROWS):
                    some = room.chosen[begin : min(begin + TILE_ROWS, n_chosen)]
                    if remaining:
                        add_up_masks(some, room)
                    for row in range(some.shape[0]):
                        if remaining:
                            b = room.which[some[row]]
                            _take_row(row, room)
                            cleared = _cover_in_tile(
                                layer, places, bounded, tile, masks.words[b],
                                error_of(layer, masks, b, radius), limits[b], still, room,
                            )  # fmt: skip
                            gained[task, b] += cleared
                            remaining -= cleared
                if whole >= 0 and remaining:
                    for i in range(TILE):
                        still[i] = False
                    gained[task, whole] += remaining
