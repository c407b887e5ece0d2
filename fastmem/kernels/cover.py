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

from fastmem.kernels.bits import popcount
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import TILE

GROUP = 4
"""Masks counted at once; stacks of masks are padded to a multiple of it with empty masks."""
_EMPTY = np.uint64(0)
_ALWAYS = np.uint64(1 << 60)
_MANY = np.int32(2**31 - 1)
_OUT = np.int32(2**29)


@njit(nogil=True, cache=True)
def _room_for_counts():
    """An array (GROUP, TILE) uint64 on whole cache lines: counts are 1.17 times as fast there."""
    words = np.empty(GROUP * TILE + 7, np.uint64)
    start = (-np.int64(words.ctypes.data) % np.int64(64)) // np.int64(8)
    return words[start : start + GROUP * TILE].reshape((GROUP, TILE))


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
def minima(tiles, sizes, first_tile, last_tile, step, masks, skip, least, nearest):
    """Smallest counts of each mask over the tiles first_tile..last_tile-1, and where they are.

    masks (B, n_words) uint64, B a multiple of GROUP; skip (B, 2) int64: the tiles skip[b, 0] up to
    skip[b, 1] - 1, the class of the mask, do not count for mask b. Updates, in row
    tile // step of least and nearest (rows, B) int64, least[:, b] and the position
    TILE * tile + column of the first point at the minimum.
    """
    counts = _room_for_counts()
    for tile in range(first_tile, last_tile):
        size = sizes[tile]
        r = tile // step
        for first in range(0, masks.shape[0], GROUP):
            needed = False
            for b in range(first, first + GROUP):
                needed = needed or tile < skip[b, 0] or tile >= skip[b, 1]
            if not needed:
                continue
            _count_group(tiles[tile], TILE, masks, first, counts)
            for q in range(GROUP):
                b = first + q
                if skip[b, 0] <= tile < skip[b, 1]:
                    continue
                row = counts[q]
                smallest = _ALWAYS
                for i in range(size):
                    smallest = min(smallest, row[i])
                if np.int64(smallest) < least[r, b]:
                    least[r, b] = np.int64(smallest)
                    for i in range(size):
                        if row[i] == smallest:
                            nearest[r, b] = tile * TILE + i
                            break


@njit(nogil=True, cache=True)
def cover(tiles, sizes, first_tile, last_tile, masks, thresholds, uncovered, gained):
    """Clear ``uncovered`` where a neuron is on: count < thresholds[b].

    masks (B, n_words) uint64, B a multiple of GROUP (thresholds of the padding are 0);
    uncovered (n_tiles, TILE) bool. gained (B,) int64 grows by the points that neuron b is the
    first to cover.
    """
    counts = _room_for_counts()
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

    masks (B, n_words) uint64 and thresholds (B,) int64, B a multiple of GROUP; blocks (B,) int64,
    the row of ``best`` that neuron b belongs to, or -1 for padding. best (n_blocks, n_tiles * TILE)
    int64 is filled by the caller with the least value. With ``stop_when_on`` (one block only) a
    tile is left as soon as all its points are on: then only the sign of best is right.
    """
    counts = _room_for_counts()
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
def _lower(words, delta, changed, n_changed, before, after):
    """after[i] = before[i] - |delta and column i| for one tile.

    words (n_words, TILE) uint64; before, after (TILE,) int32. Only the words changed[:n_changed]
    of ``delta`` are not zero.
    """
    for i in range(TILE):
        after[i] = before[i]
    for j in range(0, n_changed - 1, 2):
        d0, d1 = delta[changed[j]], delta[changed[j + 1]]
        even, odd = words[changed[j]], words[changed[j + 1]]
        for i in range(TILE):
            after[i] -= np.int32(popcount(even[i] & d0) + popcount(odd[i] & d1))
    if n_changed % 2:
        d0 = delta[changed[n_changed - 1]]
        last = words[changed[n_changed - 1]]
        for i in range(TILE):
            after[i] -= np.int32(popcount(last[i] & d0))


@njit(nogil=True, cache=True)
def _count(words, mask, counts):
    """counts[i] = |mask and column i| for one tile: words (n_words, TILE), counts (TILE,) int32."""
    n_words = words.shape[0]
    for i in range(TILE):
        counts[i] = 0
    for word in range(0, n_words - 1, 2):
        d0, d1 = mask[word], mask[word + 1]
        even, odd = words[word], words[word + 1]
        for i in range(TILE):
            counts[i] += np.int32(popcount(even[i] & d0) + popcount(odd[i] & d1))
    if n_words % 2:
        d0 = mask[n_words - 1]
        last = words[n_words - 1]
        for i in range(TILE):
            counts[i] += np.int32(popcount(last[i] & d0))


@njit(nogil=True, cache=True)
def _least(counts, size):
    least = _MANY
    for i in range(size):
        least = min(least, counts[i])
    return least


@njit(nogil=True, cache=True)
def _least_positive(counts):
    least = _MANY
    for i in range(TILE):
        least = min(least, counts[i] if counts[i] > 0 else _MANY)
    return least


@njit(nogil=True, cache=True)
def _stays_off(others, first, last, mask, level):
    """Whether the points first..last-1 of ``others`` all have at least ``level`` ones in mask."""
    for point in range(first, last):
        tile = point // TILE
        column = point - tile * TILE
        count = np.int64(0)
        for word in range(mask.shape[0]):
            count += np.int64(popcount(others[tile, word, column] & mask[word]))
            if count >= level:
                break
        if count < level:
            return False
    return True


@njit(nogil=True, cache=True)
def grow_cell(
    own, own_sizes, uncovered, others, others_sizes, valid, own_counts, others_counts, trial,
    nearest, mask, log, state, level, misses, budget,
):  # fmt: skip
    """Merge cells greedily, from the point at position state[0] of ``own`` on.

    S = {that point}, u_S = AND of (1 - Phi(x)) over S, m_S = min of |u_S and Phi(x+)| over
    ``others``. Again and again the uncovered point of smallest count among those with count >= 1
    (ties: lowest position) joins S, if m_S stays at least ``level``; if not, it is set aside. When
    ``misses`` + 1 points have been set aside, or none is left, the cell is finished. (Points set
    aside need not be tried again: m_S only falls.)

    own (tiles, n_words, TILE) the covered class, uncovered (tiles, TILE) bool, others (tiles,
    n_words, TILE), full but for the last tile; sizes int64; valid (n_words,) uint64 the ones of a
    full mask. Work space, at least (tiles, TILE) int32: own_counts, others_counts and trial, what
    may not join has a count beyond _OUT / 2; nearest, one int32 for each tile of ``own``. Fills
    mask (n_words,) uint64 with u_S.

    log (n + misses + 2,) int64 and state (4,) int64 hold what was decided: log[:state[1]] the
    points tried, p if it joined and -1 - p if it was set aside; state[2] is the number of points
    of ``others`` that log was decided with; state[3] becomes 1 where the first point cannot be
    covered. Given more points of ``others``, the next call goes back to the first decision that
    they overturn, so that the result is the one for all of them. Returns whether the cell is
    finished: after ``budget`` word operations it returns False, and the next call goes on.

    A step reads only the words in which the mask changes: on digits784-20k at n = 2,048, 9 of 32.
    Setting points aside costs few words, and halves the neurons: class 1 there has 64 without, 43
    with misses = 16, 38 with 64 and 36 without end, in 1, 1.2, 1.7 and 15 times the time.
    """
    n_words = own.shape[1]
    n_others = np.int64(0)
    for tile in range(others.shape[0]):
        n_others += others_sizes[tile]
    tile = state[0] // TILE
    column = state[0] - tile * TILE
    for word in range(n_words):
        mask[word] = valid[word] & ~own[tile, word, column]
    if not _stays_off(others, state[2], n_others, mask, level):
        state[3] = 1
        return True
    delta = np.empty(n_words, np.uint64)
    n_aside = np.int64(0)
    for step in range(state[1]):
        if log[step] < 0:
            n_aside += 1
            continue
        tile = log[step] // TILE
        column = log[step] - tile * TILE
        for word in range(n_words):
            delta[word] = mask[word] & ~own[tile, word, column]
        if not _stays_off(others, state[2], n_others, delta, level):
            log[step] = -1 - log[step]
            n_aside += 1
            state[1] = step + 1
            break
        mask[:] = delta
    state[2] = n_others
    if n_aside > misses:
        return True
    for tile in range(others.shape[0]):
        _count(others[tile], mask, others_counts[tile])
    for tile in range(own.shape[0]):
        row, still = own_counts[tile], uncovered[tile]
        _count(own[tile], mask, row)
        for i in range(TILE):
            row[i] += _OUT if not still[i] or i >= own_sizes[tile] else np.int32(0)
    for step in range(state[1]):
        if log[step] < 0:
            aside = -1 - log[step]
            own_counts[aside // TILE, aside % TILE] += _OUT
    for tile in range(own.shape[0]):
        nearest[tile] = _least_positive(own_counts[tile])
    changed = np.empty(n_words, np.int64)
    spent = 0  # without the counts: every call takes a step
    refuting = 0
    while spent < budget:
        near_tile = 0
        for tile in range(own.shape[0]):
            if nearest[tile] < nearest[near_tile]:
                near_tile = tile
        count = nearest[near_tile]
        if count >= _OUT // 2:
            return True
        row = own_counts[near_tile]
        column = 0
        while row[column] != count:
            column += 1
        n_changed = 0
        for word in range(n_words):
            delta[word] = mask[word] & own[near_tile, word, column]
            if delta[word] != _EMPTY:
                changed[n_changed] = word
                n_changed += 1
        joins = True
        for t in range(others.shape[0]):
            # what refuted the last point often refutes the next
            tile = (refuting + t) % others.shape[0]
            _lower(others[tile], delta, changed, n_changed, others_counts[tile], trial[tile])
            spent += n_changed * TILE
            if _least(trial[tile], others_sizes[tile]) < level:
                refuting = tile
                joins = False
                break
        point = near_tile * TILE + column
        log[state[1]] = point if joins else -1 - point
        state[1] += 1
        if not joins:
            row[column] += _OUT
            nearest[near_tile] = _least_positive(row)
            n_aside += 1
            if n_aside > misses:
                return True
            continue
        others_counts[: others.shape[0]] = trial[: others.shape[0]]
        for tile in range(own.shape[0]):
            row = own_counts[tile]
            _lower(own[tile], delta, changed, n_changed, row, row)
            nearest[tile] = _least_positive(row)
        spent += (n_changed + 1) * TILE * own.shape[0]
        for j in range(n_changed):
            mask[changed[j]] ^= delta[changed[j]]
    return False
