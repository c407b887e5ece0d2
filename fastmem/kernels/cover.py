"""Second layer: counts |u and q|, their minima over the other classes, coverage, and merged cells.

``tiles`` are as in ``kernels.signs``: uint64 (n_tiles, n_words, TILE); ``sizes`` (n_tiles,) int64
says how many columns of each tile are points. A mask u is a row of n_words uint64 words; the count
of a point is the number of ones that its pattern has inside the mask.

Counts are made for four masks and a whole tile at once, with no exit inside a row: 43 G words/s
out of cache and 29 G words/s out of memory on 2 cores, where FAISS IndexBinaryFlat makes 8 to 13
in the same process; one mask at a time makes 26 to 28.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastmem.kernels.bits import popcount
from fastmem.kernels.signs import TILE

GROUP = 4
"""Masks counted at once; stacks of masks are padded to a multiple of it with empty masks."""
_EMPTY = np.uint64(0)
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
def _count_group(words, columns, masks, first, counts):
    """counts[q, i] = |masks[first + q] and column i| for q < GROUP and i < columns.

    words (n_words, TILE) uint64, counts (GROUP, TILE) uint64.
    """
    n_words = words.shape[0]
    c0, c1, c2, c3 = counts[0], counts[1], counts[2], counts[3]
    for i in range(columns):
        c0[i] = _EMPTY
        c1[i] = _EMPTY
        c2[i] = _EMPTY
        c3[i] = _EMPTY
    for word in range(0, n_words - 1, 2):
        a0, a1 = masks[first, word], masks[first, word + 1]
        b0, b1 = masks[first + 1, word], masks[first + 1, word + 1]
        d0, d1 = masks[first + 2, word], masks[first + 2, word + 1]
        e0, e1 = masks[first + 3, word], masks[first + 3, word + 1]
        even, odd = words[word], words[word + 1]
        for i in range(columns):
            p, q = even[i], odd[i]
            c0[i] += popcount(p & a0) + popcount(q & a1)
            c1[i] += popcount(p & b0) + popcount(q & b1)
            c2[i] += popcount(p & d0) + popcount(q & d1)
            c3[i] += popcount(p & e0) + popcount(q & e1)
    if n_words % 2:
        word = n_words - 1
        a0, b0 = masks[first, word], masks[first + 1, word]
        d0, e0 = masks[first + 2, word], masks[first + 3, word]
        last = words[word]
        for i in range(columns):
            p = last[i]
            c0[i] += popcount(p & a0)
            c1[i] += popcount(p & b0)
            c2[i] += popcount(p & d0)
            c3[i] += popcount(p & e0)


@njit(nogil=True, cache=True)
def minima(tiles, sizes, first_tile, last_tile, masks, skip, least, nearest):
    """Smallest count of each mask over the tiles first_tile..last_tile-1, and where it is.

    masks (B, n_words) uint64, B a multiple of GROUP; skip (2,) int64: the tiles skip[0] up to
    skip[1] - 1, the class of the masks, do not count. Updates least (B,) int64 and nearest (B,)
    int64, the position TILE * tile + column of the first point that attains the minimum.
    """
    counts = np.empty((GROUP, TILE), np.uint64)
    for tile in range(first_tile, last_tile):
        if skip[0] <= tile < skip[1]:
            continue
        size = sizes[tile]
        for first in range(0, masks.shape[0], GROUP):
            _count_group(tiles[tile], TILE, masks, first, counts)
            for q in range(GROUP):
                row = counts[q]
                smallest = _ALWAYS
                for i in range(size):
                    smallest = min(smallest, row[i])
                if np.int64(smallest) < least[first + q]:
                    least[first + q] = np.int64(smallest)
                    for i in range(size):
                        if row[i] == smallest:
                            nearest[first + q] = tile * TILE + i
                            break


@njit(nogil=True, cache=True)
def cover(tiles, sizes, first_tile, last_tile, masks, thresholds, uncovered, gained):
    """Clear ``uncovered`` where a neuron is on: count < thresholds[b].

    masks (B, n_words) uint64, B a multiple of GROUP (thresholds of the padding are 0);
    uncovered (n_tiles, TILE) bool. gained (B,) int64 grows by the points that neuron b is the
    first to cover.
    """
    counts = np.empty((GROUP, TILE), np.uint64)
    for tile in range(first_tile, last_tile):
        size = sizes[tile]
        still = uncovered[tile]
        for first in range(0, masks.shape[0], GROUP):
            remaining = 0
            for i in range(size):
                remaining += still[i]
            if remaining == 0:
                break
            _count_group(tiles[tile], TILE, masks, first, counts)
            for q in range(GROUP):
                threshold = np.uint64(thresholds[first + q])
                row = counts[q]
                for i in range(size):
                    if still[i] and row[i] < threshold:
                        still[i] = False
                        gained[first + q] += 1


@njit(nogil=True, cache=True)
def margins(tiles, sizes, masks, thresholds, blocks, stop_when_on, best):
    """best[k, i] = max over the neurons b of block k of thresholds[b] - count of point i.

    masks (B, n_words) uint64 and thresholds (B,) int64, B a multiple of GROUP; blocks (B,) int64,
    the row of ``best`` that neuron b belongs to, or -1 for padding. best (n_blocks, n_tiles * TILE)
    int64 is filled by the caller with the least value. With ``stop_when_on`` (one block only) a
    tile is left as soon as all its points are on: then only the sign of best is right.
    """
    counts = np.empty((GROUP, TILE), np.uint64)
    for tile in range(sizes.shape[0]):
        size = sizes[tile]
        columns = (size + 7) // 8 * 8
        start = tile * TILE
        for first in range(0, masks.shape[0], GROUP):
            _count_group(tiles[tile], columns, masks, first, counts)
            for q in range(GROUP):
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


@njit(nogil=True, cache=True)
def _subtract(words, delta, changed, n_changed, counts):
    """counts[i] -= |delta and column i|, over the words of ``delta`` that are not zero."""
    for j in range(0, n_changed - 1, 2):
        d0, d1 = delta[changed[j]], delta[changed[j + 1]]
        even, odd = words[changed[j]], words[changed[j + 1]]
        for i in range(TILE):
            counts[i] -= np.int32(popcount(even[i] & d0) + popcount(odd[i] & d1))
    if n_changed % 2:
        d0 = delta[changed[n_changed - 1]]
        last = words[changed[n_changed - 1]]
        for i in range(TILE):
            counts[i] -= np.int32(popcount(last[i] & d0))


@njit(nogil=True, cache=True)
def grow_cell(tiles, sizes, own_first, own_last, uncovered, seed, valid, counts, best_mask):
    """Merge cells greedily, from the uncovered point at position ``seed`` on.

    S = {seed}, u_S = AND of (1 - Phi(x)) over S, m_S = min of |u_S and Phi(x+)| over the points of
    the tiles outside own_first..own_last-1. While m_S >= 1 and some uncovered point is off
    (count >= m_S), the uncovered point of smallest count among them joins S (ties: lowest
    position). The step that covers most uncovered points is kept (ties: the earliest).

    uncovered (own_last - own_first, TILE) bool; valid (n_words,) uint64 the ones of a full mask;
    counts (n_tiles, TILE) int32 is work space. Fills best_mask (n_words,); returns m_S and the number of
    uncovered points covered, both 0 where the seed cannot be covered.

    One step only looks at the words in which the mask changes: 9 of 32 on average on
    digits784-20k at n = 2,048, with 28 steps a neuron.
    """
    n_tiles, n_words = tiles.shape[0], tiles.shape[1]
    tile = seed // TILE
    column = seed - tile * TILE
    mask = np.empty(n_words, np.uint64)
    delta = np.empty(n_words, np.uint64)
    changed = np.empty(n_words, np.int64)
    for word in range(n_words):
        mask[word] = valid[word] & ~tiles[tile, word, column]
        # the counts start at 0 and fall by the negative of the mask's counts: see below
        delta[word] = mask[word]
        changed[word] = word
    n_changed = n_words
    first_step = True
    best_covered = 0
    best_threshold = 0
    while True:
        threshold = np.int32(2**31 - 1)
        for tile in range(n_tiles):
            row = counts[tile]
            if first_step:
                row[:] = 0
            _subtract(tiles[tile], delta, changed, n_changed, row)
            if first_step:
                for i in range(TILE):
                    row[i] = -row[i]
            if tile < own_first or tile >= own_last:
                for i in range(sizes[tile]):
                    threshold = min(threshold, row[i])
        first_step = False
        if threshold < 1:
            break
        covered = 0
        lowest = np.int32(2**31 - 1)
        lowest_tile = -1
        for tile in range(own_first, own_last):
            row, still = counts[tile], uncovered[tile - own_first]
            lowest_here = np.int32(2**31 - 1)
            for i in range(sizes[tile]):
                on = row[i] < threshold
                covered += still[i] & on
                candidate = row[i] if still[i] & (not on) else np.int32(2**31 - 1)
                lowest_here = min(lowest_here, candidate)
            if lowest_here < lowest:
                lowest = lowest_here
                lowest_tile = tile
        if covered > best_covered:
            best_covered = covered
            best_threshold = np.int64(threshold)
            best_mask[:] = mask
        if lowest_tile < 0:
            break
        for i in range(sizes[lowest_tile]):
            if uncovered[lowest_tile - own_first, i] and counts[lowest_tile, i] == lowest:
                column = i
                break
        n_changed = 0
        for word in range(n_words):
            lost = mask[word] & tiles[lowest_tile, word, column]
            if lost != _EMPTY:
                delta[word] = lost
                mask[word] ^= lost
                changed[n_changed] = word
                n_changed += 1
    return best_threshold, best_covered
