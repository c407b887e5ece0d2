"""Minima of counts, and coverage, over bounding tiles (``kernels.bounding``).

For every point x of a tile |u and AND| <= |u and x| <= |u and OR|: nearly all tiles are decided
without a look at their points. Tiles that are not are scanned: |u and x| is |u and AND| and the
ones of u among the tile's varying bits that x has.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.bits import extract_bits, popcount
from fastmem.kernels.bounding import Bounded
from fastmem.kernels.compiling import njit
from fastmem.kernels.counts import count_group, group_counts
from fastmem.kernels.layout import MASK_GROUP, TILE, WORD_BITS
from fastmem.kernels.queue import take

_EMPTY = np.uint64(0)
_NEVER = np.int64(2**62)


@njit(nogil=True, cache=True)
def lower_bounds(queue, stop, bounded, masks, bounds):
    """bounds[b, t] = |masks[b] and AND of tile t|: a worker; a task is a group of TILE tiles.

    bounded the fields of a `Bounded` as a plain tuple; masks (B, n_words) uint64, B a multiple of
    MASK_GROUP; bounds (B, n_tiles) int32.
    """
    bounded = Bounded(*bounded)
    counts = group_counts()
    while True:
        group = take(queue)
        if group >= stop:
            return
        start = group * TILE
        size = min(TILE, bounds.shape[1] - start)
        for first in range(0, masks.shape[0], MASK_GROUP):
            count_group(bounded.all_of[group], (size + 7) // 8 * 8, masks, first, counts)
            for q in range(MASK_GROUP):
                row, out = counts[q], bounds[first + q]
                for i in range(size):
                    out[start + i] = np.int32(row[i])


@njit(nogil=True, cache=True)
def pack_mask(varies, mask, packed):
    """The ones of a mask among a tile's varying bits, as its points have theirs; how many words."""
    at = np.int64(0)
    packed[0] = _EMPTY
    for word in range(mask.shape[0]):
        vary = varies[word]
        if vary == _EMPTY:
            continue
        bits = extract_bits(mask[word], vary)
        shift = at % WORD_BITS
        packed[at // WORD_BITS] |= bits << np.uint64(shift)
        n_bits = np.int64(popcount(vary))
        if shift + n_bits >= WORD_BITS:
            # what is beyond the word, or nothing: the next one begins
            rest = _EMPTY
            if shift > 0:
                rest = bits >> np.uint64(WORD_BITS - shift)
            packed[at // WORD_BITS + 1] = rest
        at += n_bits
    return (at + WORD_BITS - 1) // WORD_BITS


@njit(nogil=True, cache=True)
def _scan(bounded, tile, mask, lower, packed, counts):
    """counts[i] = |mask and point i| of a tile, (TILE,) uint64; ``lower`` is the tile's bound.

    packed (n_words + 1,) uint64 is room.
    """
    n_packed = pack_mask(bounded.varies[tile], mask, packed)
    base = np.uint64(lower)
    for i in range(TILE):
        counts[i] = base
    for word in range(n_packed):
        part = packed[word]
        if part != _EMPTY:
            start = bounded.starts[tile] + word * TILE
            bits = bounded.data[start : start + TILE]
            for i in range(TILE):
                counts[i] += popcount(bits[i] & part)


@njit(nogil=True, cache=True)
def _least_of(counts, size):
    """The least of counts[:size], and the first place that has it."""
    least = counts[0]
    for i in range(1, size):
        least = min(least, counts[i])
    place = 0
    while counts[place] != least:
        place += 1
    return np.int64(least), place


@njit(nogil=True, cache=True)
def scan_least(queue, stop, bounded, masks, skip, bounds, least, nearest):
    """Scan the tile of the least bound of each mask: a worker; a task is a mask.

    skip (B, 2) int64: the tiles skip[b, 0] up to skip[b, 1] - 1 do not count for mask b; bounds as
    of `lower_bounds`. least, nearest (B,) int64: the least count there, and TILE * tile + column of
    the first point that has it; untouched where all tiles are skipped.
    """
    bounded = Bounded(*bounded)
    packed = np.empty(masks.shape[1] + 1, np.uint64)
    counts = aligned_zeros(TILE, np.uint64)
    while True:
        b = take(queue)
        if b >= stop:
            return
        best, best_tile = np.int32(2**31 - 1), np.int64(-1)
        for tile in range(bounds.shape[1]):
            if bounds[b, tile] < best and not skip[b, 0] <= tile < skip[b, 1]:
                best, best_tile = bounds[b, tile], np.int64(tile)
        if best_tile >= 0:
            _scan(bounded, best_tile, masks[b], best, packed, counts)
            least[b], place = _least_of(counts, bounded.sizes[best_tile])
            nearest[b] = best_tile * TILE + place


@njit(nogil=True, cache=True)
def scan_minima(queue, stop, bounded, masks, skip, bounds, size, levels, known, least, nearest):
    """Smallest counts of each mask over ranges of tiles, and where: a worker.

    A task is ``size`` tiles. Of these only tiles are scanned whose bound is below the least count
    so far, which begins with known[b], or below levels[b]; both (B,) int64. skip and bounds as of
    `scan_least`. least, nearest (tasks, B) int64: least[task, b] and nearest[task, b] change where
    a scanned point is below known[b] or levels[b].
    """
    bounded = Bounded(*bounded)
    packed = np.empty(masks.shape[1] + 1, np.uint64)
    counts = aligned_zeros(TILE, np.uint64)
    while True:
        task = take(queue)
        if task >= stop:
            return
        first, last = task * size, min((task + 1) * size, bounds.shape[1])
        for b in range(masks.shape[0]):
            if skip[b, 0] <= first and last <= skip[b, 1]:
                continue
            limit = max(known[b], levels[b])
            for tile in range(first, last):
                lower = bounds[b, tile]
                if lower >= limit or skip[b, 0] <= tile < skip[b, 1]:
                    continue
                _scan(bounded, tile, masks[b], lower, packed, counts)
                count, place = _least_of(counts, bounded.sizes[tile])
                if count < limit:
                    least[task, b], nearest[task, b] = count, tile * TILE + place
                    limit = count


@njit(nogil=True, cache=True)
def first_zeros(
    queue, stop, bounded, masks, skip, bounds, wanted, numbers, starts, first_tile, found
):
    """The first point of count 0 of each wanted mask, by class and number: a worker.

    A task is a mask; wanted (B,) bool. skip and bounds as of `scan_least`; starts, first_tile
    (K + 1,) int64: where the points and the tiles of each class begin; numbers (N,) int32 or int64
    of the points in their class. found (B,) int64 are positions.
    """
    bounded = Bounded(*bounded)
    packed = np.empty(masks.shape[1] + 1, np.uint64)
    counts = aligned_zeros(TILE, np.uint64)
    while True:
        b = take(queue)
        if b >= stop:
            return
        if not wanted[b]:
            continue
        for code in range(first_tile.shape[0] - 1):
            best = _NEVER
            for tile in range(first_tile[code], first_tile[code + 1]):
                if bounds[b, tile] > 0 or skip[b, 0] <= tile < skip[b, 1]:
                    continue
                _scan(bounded, tile, masks[b], 0, packed, counts)
                place = starts[code] + (tile - first_tile[code]) * TILE
                for i in range(bounded.sizes[tile]):
                    if counts[i] == _EMPTY and numbers[place + i] < best:
                        best = np.int64(numbers[place + i])
                        found[b] = tile * TILE + i
            if best < _NEVER:
                break


@njit(nogil=True, cache=True)
def cover_bounded(queue, stop, bounded, first, last, masks, levels, uncovered, gained):
    """Clear ``uncovered`` where a count is below its mask's level: a worker.

    The tiles first..last-1; task t is the t-th group of TILE tiles that has any of them. masks
    (B, n_words) uint64, levels (B,) int64, 0 for the padding; uncovered (last - first, TILE) bool.
    gained[task] (B,) int64 grows by the points that mask b is the first to cover.
    """
    bounded = Bounded(*bounded)
    packed = np.empty(masks.shape[1] + 1, np.uint64)
    counts = aligned_zeros(TILE, np.uint64)
    lows, highs = group_counts(), group_counts()
    left = np.zeros(TILE, np.int64)
    while True:
        task = take(queue)
        if task >= stop:
            return
        group = first // TILE + task
        begin, end = max(first, group * TILE), min(last, (group + 1) * TILE)
        total = np.int64(0)
        for tile in range(begin, end):
            count = np.int64(0)
            row = uncovered[tile - first]
            for i in range(TILE):
                count += row[i]
            left[tile - group * TILE] = count
            total += count
        columns = (end - group * TILE + 7) // 8 * 8
        for b in range(0, masks.shape[0], MASK_GROUP):
            if total == 0:
                break
            count_group(bounded.all_of[group], columns, masks, b, lows)
            count_group(bounded.any_of[group], columns, masks, b, highs)
            for q in range(MASK_GROUP):
                level = np.uint64(levels[b + q])
                if level == _EMPTY:
                    continue
                for tile in range(begin, end):
                    column = tile - group * TILE
                    if left[column] == 0 or lows[q, column] >= level:
                        continue
                    still = uncovered[tile - first]
                    before = left[column]
                    if highs[q, column] < level:
                        for i in range(TILE):
                            still[i] = False
                        left[column] = 0
                    else:
                        lower = lows[q, column]
                        _scan(bounded, tile, masks[b + q], lower, packed, counts)
                        for i in range(bounded.sizes[tile]):
                            still[i] = still[i] and counts[i] >= level
                        count = np.int64(0)
                        for i in range(TILE):
                            count += still[i]
                        left[column] = count
                    gained[task, b + q] += before - left[column]
                    total -= before - left[column]
