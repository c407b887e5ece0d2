"""Conjunctions with one literal in the place of one or two, where that gives fewer bits a point."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.bit_rows import ones_of
from fastmem.kernels.bits import popcount, trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.open_conjunctions import EMPTY, FULL, ONE, inside_all, list_points

CHOICE = 600
_PAIRED = 16
"""A literal and so many after it are tried in pairs: conjunctions are rarely longer."""


@njit(nogil=True, cache=True)
def _missing_all(rows, some, sides, n, missing):
    """Find the literals of the first n candidates that miss all points; returns how many.

    some (m,) int32 the points, sides (>= n,) uint8 as in `Tables`; missing (2, n_words) uint64 is
    filled: candidates k, as bits, whose literal 2 k, and 2 k + 1, misses them.
    """
    n_words = missing.shape[1]
    missing[0] = EMPTY
    missing[1] = FULL
    for point in some:
        row = rows[point]
        for w in range(n_words):
            missing[0, w] |= row[w]
            missing[1, w] &= row[w]
    count = EMPTY
    for w in range(n_words):
        left = min(np.int64(WORD_BITS), n - w * WORD_BITS)
        valid = FULL if left == WORD_BITS else (ONE << np.uint64(max(np.int64(0), left))) - ONE
        missing[0, w] = ~missing[0, w] & valid
        missing[1, w] &= valid
        rest = missing[0, w]
        while rest != EMPTY:
            k = w * WORD_BITS + trailing_zeros(rest)
            rest &= rest - ONE
            if sides[k] < 2:
                missing[0, w] ^= ONE << np.uint64(k & 63)
        count += popcount(missing[0, w]) + popcount(missing[1, w])
    return np.int64(count)


@njit(nogil=True, cache=True)
def _larger(missing, w, bit, inside, p, literal, most):
    """The literal, and how many of p points are inside, of those of candidate ``bit`` of word w.

    ``inside`` of them have its bit; what was found before stays where no more are inside.
    """
    k = w * WORD_BITS + trailing_zeros(bit)
    if missing[0, w] & bit and inside > most:
        most, literal = inside, np.int64(2 * k)
    if missing[1, w] & bit and p - inside > most:
        most, literal = p - inside, np.int64(2 * k + 1)
    return literal, most


@njit(nogil=True, cache=True)
def _best_missing(columns, missing, own, p):
    """The literal of ``missing`` that most of the p points ``own`` (W,) are inside; and how many.

    Ties: the lowest. -1 and 0 where none is.
    """
    most, literal = np.int64(0), np.int64(-1)
    for w in range(missing.shape[1]):
        rest = missing[0, w] | missing[1, w]
        while rest != EMPTY:
            bit = rest & (~rest + ONE)
            rest ^= bit
            k = w * WORD_BITS + trailing_zeros(bit)
            column = columns[k]
            count = EMPTY
            for v in range(own.shape[0]):
                count += popcount(column[v] & own[v])
            inside = np.int64(count)
            literal, most = _larger(missing, w, bit, inside, p, literal, most)
    return literal, most


@njit(nogil=True, cache=True)
def _best_counted(counts, missing, p):
    """The same, where counts (n,) int32 say how many of the points each candidate has."""
    most, literal = np.int64(0), np.int64(-1)
    for w in range(missing.shape[1]):
        rest = missing[0, w] | missing[1, w]
        while rest != EMPTY:
            bit = rest & (~rest + ONE)
            rest ^= bit
            k = w * WORD_BITS + trailing_zeros(bit)
            inside = np.int64(counts[k])
            literal, most = _larger(missing, w, bit, inside, p, literal, most)
    return literal, most


@njit(nogil=True, cache=True)
def _count_outside(columns, literals, outside):
    """outside (3, W) uint64: points that are outside none, one and two of the literals."""
    none, one, two = outside[0], outside[1], outside[2]
    none[:] = FULL
    one[:] = EMPTY
    two[:] = EMPTY
    for literal in literals:
        column = columns[literal >> 1]
        flip = EMPTY if literal & 1 else FULL
        for w in range(none.shape[0]):
            here = column[w] ^ flip
            two[w] = (two[w] & ~here) | (one[w] & here)
            one[w] = (one[w] & ~here) | (none[w] & here)
            none[w] &= ~here


@njit(nogil=True, cache=True)
def _only_outside(columns, literals, pair, outside, wanted, found):
    """found (W,) uint64 = those of ``wanted`` outside no literal but these; returns how many.

    pair: two places among ``literals``, or twice the same.
    """
    literal, other = literals[pair[0]], literals[pair[1]]
    a, b = columns[literal >> 1], columns[other >> 1]
    flip_a = EMPTY if literal & 1 else FULL
    flip_b = EMPTY if other & 1 else FULL
    none, one, two = outside[0], outside[1], outside[2]
    both = EMPTY if pair[0] == pair[1] else FULL  # a literal may stand there twice
    count = EMPTY
    for w in range(wanted.shape[0]):
        outside_a, outside_b = a[w] ^ flip_a, b[w] ^ flip_b
        alone = none[w] | (one[w] & (outside_a | outside_b))
        found[w] = wanted[w] & (alone | (two[w] & outside_a & outside_b & both))
        count += popcount(found[w])
    return np.int64(count)


@njit(nogil=True, cache=True)
def improve_conjunction(points, tables, literals, n_literals, own, lists, room):
    """Put one literal in the place of one or two, as long as that gives fewer bits a point.

    own (W,) uint64: open points of the class; all others are outside. lists: room for points of p
    and of q. The best of all such changes is made each time (ties: the first). Returns how many
    literals there are, how many points of ``own`` are inside, and the work.
    """
    work = np.int64(0)
    columns, n_words = points.columns, own.shape[0]
    ours, theirs = own.copy(), np.empty(n_words, np.uint64)
    others, outside = points.alive & ~own, np.empty((3, n_words), np.uint64)
    coverage = inside_all(columns, literals, n_literals, ours)
    missing = np.empty((2, points.rows.shape[1]), np.uint64)
    while True:
        best = tables.lengths[n_literals] - tables.gamma * tables.logs[coverage]
        change, at, and_at, covers = np.int64(-1), 0, 0, np.int64(0)
        _count_outside(columns, literals[:n_literals], outside)
        for i in range(n_literals):
            for j in range(i, min(n_literals, i + _PAIRED)):
                length = tables.lengths[n_literals - (j > i)]
                pair = i, j
                work += n_words
                n_q = _only_outside(columns, literals, pair, outside, others, theirs)
                if n_q > tables.instead:
                    continue
                n_p = _only_outside(columns, literals, pair, outside, own, ours)
                if length - tables.gamma * tables.logs[n_p] >= best:
                    continue
                list_points(theirs, theirs, EMPTY, max(np.int64(1), n_q), lists[1])
                n_missing = _missing_all(
                    points.rows, lists[1][:n_q], tables.sides, tables.n_keyed, missing
                )
                work += points.rows.shape[1] * n_q
                if n_missing == 0:
                    continue
                if n_missing * n_words < points.rows.shape[1] * (n_p + CHOICE // 2):
                    work += n_missing * n_words
                    literal, most = _best_missing(columns, missing, ours, n_p)
                else:
                    list_points(ours, ours, EMPTY, max(np.int64(1), n_p), lists[0])
                    ones_of(points.rows, lists[0], n_p, room.planes, room.counts[0])
                    work += points.rows.shape[1] * (n_p + CHOICE // 2)
                    literal, most = _best_counted(room.counts[0], missing, n_p)
                if most > 0:
                    score = length - tables.gamma * tables.logs[most]
                    if score < best:
                        best, change, at, and_at, covers = score, literal, i, j, most
        if change < 0:
            break
        literals[at] = np.int32(change)
        coverage = covers
        if and_at > at:
            for i in range(and_at, n_literals - 1):
                literals[i] = literals[i + 1]
            n_literals -= 1
    return n_literals, coverage, work
