"""Margins of points in a spatial order: bounds for 192 at once, and counts where these leave doubt.

The patterns of a bounding tile (``kernels.bounding``) lie between their AND and their OR, so the
margins of a neuron (u, m) lie between m - |u and OR| and m - |u and AND|. One whose upper bound all
points of the tile have reached by other neurons changes nothing; the rest is counted, on the bits
that vary inside the tile alone. It is the same margins as ``kernels.cover.margins`` gives.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.bits import popcount
from fastmem.kernels.bounded_cover import pack_mask
from fastmem.kernels.bounding import bound_points, new_room, open_filter
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import TILE

_EMPTY = np.uint64(0)
_LEAST = np.int64(np.iinfo(np.int64).min)
_MOST = np.int64(np.iinfo(np.int64).max)


class Neurons(NamedTuple):
    """Neurons of a second layer.

    masks (m, n_words) uint64; tiles (ceil(m / TILE), n_words, TILE) uint64: mask b once more, as
    column b % TILE of the tile b // TILE. thresholds (m,) int64; blocks (m,) int64, the block that
    each belongs to.
    """

    masks: np.ndarray
    tiles: np.ndarray
    thresholds: np.ndarray
    blocks: np.ndarray


class _Room(NamedTuple):
    """Room to work in: lows, gaps (m to whole tiles,) uint64, |mask and AND|, |mask and varies|.

    varies (n_words,), part (n_words + 1,), counts (TILE,) uint64; reached (n_blocks, TILE), floors,
    tops, firsts (n_blocks,) int64: the margins so far, the least of them, the largest upper bound
    and whose it is.
    """

    lows: np.ndarray
    gaps: np.ndarray
    varies: np.ndarray
    part: np.ndarray
    counts: np.ndarray
    reached: np.ndarray
    floors: np.ndarray
    tops: np.ndarray
    firsts: np.ndarray


@njit(nogil=True, cache=True)
def _count_bounds(words, columns, all_of, varies, lows, gaps):
    """lows[i] = |column i and all_of|, gaps[i] = |column i and varies|, for i < columns."""
    for i in range(columns):
        lows[i] = _EMPTY
        gaps[i] = _EMPTY
    for word in range(words.shape[0]):
        every, vary = all_of[word], varies[word]
        row = words[word]
        if vary == _EMPTY:
            for i in range(columns):
                lows[i] += popcount(row[i] & every)
        else:
            for i in range(columns):
                lows[i] += popcount(row[i] & every)
                gaps[i] += popcount(row[i] & vary)


@njit(nogil=True, cache=True)
def _raise_margins(packed, n_packed, part, upper, counts, reached):
    """reached[i] = max(reached[i], upper - |part and packed bits of point i|), i < TILE.

    Returns the least of them. part (n_packed,) uint64, counts (TILE,) uint64 is room.
    """
    for i in range(TILE):
        counts[i] = _EMPTY
    for word in range(n_packed):
        mask, row = part[word], packed[word]
        if mask != _EMPTY:
            for i in range(TILE):
                counts[i] += popcount(row[i] & mask)
    least = _MOST
    for i in range(TILE):
        margin = max(reached[i], upper - np.int64(counts[i]))
        reached[i] = margin
        least = min(least, margin)
    return least


@njit(nogil=True, cache=True)
def _bound_margins(neurons, all_of, room):
    """Fill all of ``room`` but part and counts: by bounds, all points have reached the floors."""
    room.floors[:] = _LEAST
    room.tops[:] = _LEAST
    room.firsts[:] = -1
    for group in range(neurons.tiles.shape[0]):
        first = group * TILE
        size = min(TILE, neurons.masks.shape[0] - first)
        lows, gaps = room.lows[first : first + TILE], room.gaps[first : first + TILE]
        _count_bounds(neurons.tiles[group], (size + 7) // 8 * 8, all_of, room.varies, lows, gaps)
        for i in range(size):
            k = neurons.blocks[first + i]
            upper = neurons.thresholds[first + i] - np.int64(lows[i])
            room.floors[k] = max(room.floors[k], upper - np.int64(gaps[i]))
            if upper > room.tops[k]:
                room.tops[k] = upper
                room.firsts[k] = first + i
    for k in range(room.floors.shape[0]):
        room.reached[k] = room.floors[k]


@njit(nogil=True, cache=True)
def _count_margins(neurons, packed, n_packed, stop_when_on, room):
    """Raise room.reached to the margins of all points of a tile.

    Those of least floor are known by then: what has the largest upper bound is counted first.
    """
    floors, part = room.floors, room.part
    for k in range(floors.shape[0]):
        if room.tops[k] <= floors[k] or (stop_when_on and (floors[k] > 0 or room.tops[k] <= 0)):
            continue
        b = room.firsts[k]
        pack_mask(room.varies, neurons.masks[b], part)
        floors[k] = _raise_margins(
            packed, n_packed, part, room.tops[k], room.counts, room.reached[k]
        )
    for b in range(neurons.masks.shape[0]):
        k = neurons.blocks[b]
        upper = neurons.thresholds[b] - np.int64(room.lows[b])
        if upper <= floors[k] or b == room.firsts[k] or (stop_when_on and upper <= 0):
            continue
        if stop_when_on and floors[k] > 0:
            return
        pack_mask(room.varies, neurons.masks[b], part)
        floors[k] = _raise_margins(packed, n_packed, part, upper, room.counts, room.reached[k])


@njit(nogil=True, cache=True)
def bounded_margins(points, rows, planes, neurons, stop_when_on, best):
    """best[k, i] = max over the neurons b of block k of thresholds[b] - count of point rows[i].

    points (N, d) float32 or float64, d <= MOST_FEATURES; rows (P,) int32, neighbours next to each
    other; planes a `FloatFilter`; neurons the fields of `Neurons` as a plain tuple. best
    (n_blocks, P) int64 is filled, with the least value for a block without neurons. With
    ``stop_when_on`` (one block only) only the sign of best is right.
    """
    neurons = Neurons(*neurons)
    n_words = planes.panels.shape[0]
    n_blocks, n_points = best.shape
    points_room, some = new_room(planes, points.dtype), open_filter(planes, n_words)
    room = _Room(
        aligned_zeros(neurons.tiles.shape[0] * TILE, np.uint64),
        aligned_zeros(neurons.tiles.shape[0] * TILE, np.uint64),
        np.empty(n_words, np.uint64), np.empty(n_words + 1, np.uint64),
        aligned_zeros(TILE, np.uint64), np.empty((n_blocks, TILE), np.int64),
        np.empty(n_blocks, np.int64), np.empty(n_blocks, np.int64), np.empty(n_blocks, np.int64),
    )  # fmt: skip
    all_of, any_of, packed = points_room.all_of, points_room.any_of, points_room.packed
    for start in range(0, n_points, TILE):
        stop = min(n_points, start + TILE)
        n_packed, _ = bound_points(points, rows, start, stop, planes, some, points_room)
        for word in range(n_packed):
            packed[word, stop - start :] = packed[word, 0]  # another such point changes nothing
        for word in range(n_words):
            room.varies[word] = any_of[word] & ~all_of[word]
        _bound_margins(neurons, all_of, room)
        _count_margins(neurons, packed, n_packed, stop_when_on, room)
        best[:, start:stop] = room.reached[:, : stop - start]
