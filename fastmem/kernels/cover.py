"""Second layer: minima of counts over the other classes, coverage, and margins.

``tiles`` are as in ``kernels.signs``: uint64 (n_tiles, n_words, TILE); ``sizes`` (n_tiles,) int64
says how many columns of each tile are points. A mask u is a row of n_words uint64 words; the count
of a point is the number of ones that its pattern has inside the mask (``kernels.counts``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import popcount
from fastmem.kernels.compiling import njit
from fastmem.kernels.counts import count_group, group_counts
from fastmem.kernels.layout import MASK_GROUP, TILE
from fastmem.kernels.queue import take

_ALWAYS = np.uint64(1 << 60)


@njit(nogil=True, cache=True)
def complements(tiles, positions, valid, masks):
    """masks[i] = the ones of ``valid`` (n_words,) that the pattern at positions[i] has not."""
    for i in range(positions.shape[0]):
        tile = positions[i] // TILE
        column = positions[i] - tile * TILE
        for word in range(tiles.shape[1]):
            masks[i, word] = valid[word] & ~tiles[tile, word, column]


@njit(nogil=True, cache=True)
def gather(tiles, positions, out, first):
    """Copy the patterns at ``positions`` (P,) int64 of ``tiles`` to ``first``, ... of ``out``."""
    for i in range(positions.shape[0]):
        tile = positions[i] // TILE
        column = positions[i] - tile * TILE
        out_tile = (first + i) // TILE
        out_column = first + i - out_tile * TILE
        for word in range(tiles.shape[1]):
            out[out_tile, word, out_column] = tiles[tile, word, column]


class TileTasks(NamedTuple):
    """Tasks of a loop that counts masks over tiles: each takes ``size`` tiles, the last the rest.

    tiles (n_tiles, n_words, TILE) uint64, sizes (n_tiles,) int64, masks (B, n_words) uint64, B a
    multiple of MASK_GROUP.
    """

    tiles: np.ndarray
    sizes: np.ndarray
    masks: np.ndarray
    size: int


@njit(nogil=True, cache=True)
def minima(queue, stop, tasks, skip, step, least, nearest):
    """Smallest counts of each mask over ranges of tiles, and where: a worker of ``kernels.queue``.

    tasks, the fields of a `TileTasks` as a plain tuple (see ``cells.grow_cell``), whose size
    is a multiple of ``step``; skip (B, 2) int64: the tiles skip[b, 0] up to skip[b, 1] - 1, the
    class of the mask, do not count for mask b. Updates, in row tile // step of least and nearest
    (rows, B) int64, least[:, b] and the position TILE * tile + column of the first point at the
    minimum.
    """
    tasks = TileTasks(*tasks)
    counts = group_counts()
    while True:
        task = take(queue)
        if task >= stop:
            return
        last = min((task + 1) * tasks.size, tasks.sizes.shape[0])
        for tile in range(task * tasks.size, last):
            _lower_minima(tasks, tile, skip, least[tile // step], nearest[tile // step], counts)


@njit(nogil=True, cache=True, inline="always")
def _lower_minima(tasks, tile, skip, least, nearest, counts):
    """`minima` over one tile: least and nearest (B,)."""
    masks, size = tasks.masks, tasks.sizes[tile]
    for first in range(0, masks.shape[0], MASK_GROUP):
        needed = False
        for b in range(first, first + MASK_GROUP):
            needed = needed or tile < skip[b, 0] or tile >= skip[b, 1]
        if not needed:
            continue
        count_group(tasks.tiles[tile], TILE, masks, first, counts)
        for q in range(MASK_GROUP):
            b = first + q
            if skip[b, 0] <= tile < skip[b, 1]:
                continue
            row = counts[q]
            smallest = _ALWAYS
            for i in range(size):
                smallest = min(smallest, row[i])
            if np.int64(smallest) < least[b]:
                least[b] = np.int64(smallest)
                for i in range(size):
                    if row[i] == smallest:
                        nearest[b] = tile * TILE + i
                        break


@njit(nogil=True, cache=True)
def cover(queue, stop, tasks, levels, uncovered, gained):
    """Clear ``uncovered`` where a count is below its mask's level: a worker, see ``kernels.queue``.

    tasks, the fields of a `TileTasks` as a plain tuple; levels (B,) int64, 0 for the padding;
    uncovered (n_tiles, TILE) bool. gained[task] (B,) int64 grows by the points that mask b is the
    first to cover.
    """
    tasks = TileTasks(*tasks)
    counts = group_counts()
    while True:
        task = take(queue)
        if task >= stop:
            return
        last = min((task + 1) * tasks.size, tasks.sizes.shape[0])
        for tile in range(task * tasks.size, last):
            _cover_tile(tasks, tile, levels, uncovered[tile], gained[task], counts)


@njit(nogil=True, cache=True, inline="always")
def _cover_tile(tasks, tile, levels, still, gained, counts):
    """`cover` for one tile: still (TILE,), gained (B,)."""
    size = tasks.sizes[tile]
    for first in range(0, tasks.masks.shape[0], MASK_GROUP):
        remaining = 0
        for i in range(size):
            remaining += still[i]
        if remaining == 0:
            return
        count_group(tasks.tiles[tile], TILE, tasks.masks, first, counts)
        for q in range(MASK_GROUP):
            level = np.uint64(levels[first + q])
            row = counts[q]
            for i in range(size):
                if still[i] and row[i] < level:
                    still[i] = False
                    gained[first + q] += 1


@njit(nogil=True, cache=True)
def accept_in_order(masks, valid, levels, accepted):
    """accepted[i] = levels[i] > 0, and no earlier accepted mask covers the point of mask i.

    masks (B, n_words) uint64, each 1 - Phi of a point; valid (n_words,) uint64; levels (B,) int64;
    accepted (B,) bool. The earlier mask a covers the point where
    |masks[a] and not masks[i]| < levels[a].
    """
    for i in range(masks.shape[0]):
        accepted[i] = levels[i] > 0
        for a in range(i):
            if not accepted[i]:
                break
            if accepted[a]:
                count = np.int64(0)
                for word in range(masks.shape[1]):
                    count += np.int64(popcount(masks[a, word] & valid[word] & ~masks[i, word]))
                accepted[i] = count >= levels[a]


@njit(nogil=True, cache=True)
def margins(tiles, sizes, masks, thresholds, blocks, stop_when_on, best):
    """best[k, i] = max over the neurons b of block k of thresholds[b] - count of point i.

    masks (B, n_words) uint64 and thresholds (B,) int64, B a multiple of MASK_GROUP; blocks (B,)
    int64, the row of ``best`` that neuron b belongs to, or -1 for padding. best (n_blocks,
    n_tiles * TILE) int64 is filled by the caller with the least value. With ``stop_when_on`` (one
    block only) a tile is left as soon as all its points are on: then only the sign of best is
    right.
    """
    counts = group_counts()
    for tile in range(sizes.shape[0]):
        size = sizes[tile]
        columns = (size + 7) // 8 * 8
        start = tile * TILE
        for first in range(0, masks.shape[0], MASK_GROUP):
            count_group(tiles[tile], columns, masks, first, counts)
            for q in range(MASK_GROUP):
                if blocks[first + q] < 0:
                    continue
                threshold = thresholds[first + q]
                row = counts[q]
                reached = best[blocks[first + q], start : start + TILE]
                for i in range(size):
                    reached[i] = max(reached[i], threshold - np.int64(row[i]))
            if stop_when_on:
                lowest = np.int64(1)
                reached = best[0, start : start + TILE]
                for i in range(size):
                    lowest = min(lowest, reached[i])
                if lowest > 0:
                    break
