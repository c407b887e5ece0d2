"""Conjunctions of a decision list, each grown among the points that no neuron before it claims.

A *literal* 2 k is candidate k of the rows of hyperplanes, 2 k + 1 its mirror, whose bit is the
complement. A conjunction of class c is grown by the literal that tells most of the points p of c
from the others, q: it maximises p1^e (log2(p1 / (p1 + q1)) - log2(p0 / (p0 + q0))) where p0, q0
points are inside before and p1, q1 after it (Quinlan's FOIL, 1990, for e = 1), until q is empty. It
is thinned at once. All counts are whole numbers, and logarithms and powers come from tables that
are the same on all machines.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.bit_rows import GROUP, ROW_WORDS, ones_of
from fastmem.kernels.bits import popcount, trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.queue import take

MOST_LITERALS = 1024
_PLANES = 32
_EMPTY = np.uint64(0)
_FULL = np.uint64(2**64 - 1)
_ONE = np.uint64(1)


class Open(NamedTuple):
    """Points that no neuron claims yet.

    rows (M + 1, n_words) uint64, as in ``kernels.bit_rows``, and columns (n, W) uint64: the bits of
    n candidates at M points; codes (M,) int32, their classes. alive (W,) uint64: the open points.
    members int32: those of class c are members[first[c] : first[c] + sizes[c]]; first and sizes
    (K,) int64. counts (K + 1, 64 n_words) int32: how many of the open points of a class, and last
    of all, each candidate has on its positive side.
    """

    rows: np.ndarray
    columns: np.ndarray
    codes: np.ndarray
    alive: np.ndarray
    members: np.ndarray
    first: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray


class Tables(NamedTuple):
    """What decides between literals.

    logs (>= M + 1,) float64: log2 of whole numbers, logs[0] unused; powers (E, >= M + 1) float64:
    p^e for each exponent e; n_keyed (1,) int64: only where none of so many candidates tells p from
    q those after them, whose rows are stored, are asked.
    """

    logs: np.ndarray
    powers: np.ndarray
    n_keyed: np.ndarray


class Grown(NamedTuple):
    """Conjunctions, one a task.

    classes and exponents (T,) int64: what is to be grown. literals (T, MOST_LITERALS) int32 and
    n_literals (T,) int64: what was, 0 where no conjunction is without points of other classes;
    covered (T, W) uint64: the open points of the class that are inside, and how many, (T,) int64.
    """

    classes: np.ndarray
    exponents: np.ndarray
    literals: np.ndarray
    n_literals: np.ndarray
    covered: np.ndarray
    coverage: np.ndarray


@njit(nogil=True, cache=True)
def best_literal(inside, others, p, q, tables, exponent, first, last):
    """The best literal of the candidates first..last-1 by the gain above, -1 if none tells.

    inside, others (n,) int32: how many of the p and of the q points have each candidate's bit.
    Ties: the lowest literal.
    """
    logs, powers = tables.logs, tables.powers[exponent]
    base = logs[p] - logs[p + q]
    best, literal = -np.inf, np.int64(-1)
    for k in range(first, last):
        p1, q1 = np.int64(inside[k]), np.int64(others[k])
        for side in range(2):
            if p1 > 0 and q1 < q and powers[p1] * -base > best:
                gain = powers[p1] * (logs[p1] - logs[p1 + q1] - base)
                if gain > best:
                    best, literal = gain, np.int64(2 * k + side)
            p1, q1 = p - p1, q - q1
    return literal


@njit(nogil=True, cache=True)
def choose_literal(inside, others, p, q, tables, exponent, n):
    """The best literal of the key, or of the stored rows where none of the key tells."""
    n_keyed = tables.n_keyed[0]
    literal = best_literal(inside, others, p, q, tables, exponent, np.int64(0), n_keyed)
    if literal < 0 and n_keyed < n:
        literal = best_literal(inside, others, p, q, tables, exponent, n_keyed, np.int64(n))
    return literal


@njit(nogil=True, cache=True)
def keep_inside(rows, points, n_points, literal):
    """Put the points that are inside a literal first; returns how many they are."""
    word, shift = (literal >> 1) >> 6, np.uint64((literal >> 1) & 63)
    flip = np.uint64(literal & 1)
    i, j = np.int64(0), np.int64(n_points)
    while i < j:
        if ((rows[points[i], word] >> shift) ^ flip) & _ONE:
            i += 1
        else:
            j -= 1
            points[i], points[j] = points[j], points[i]
    return i


@njit(nogil=True, cache=True)
def narrow(rows, points, n_points, literal, counts, some, planes):
    """Keep the points inside a literal, and with them their counts; returns how many they are.

    points int32 (room for GROUP more behind n_points); counts (64 n_words,) int32 of what they are
    before and after; some, as long as points and as counts: room to work in.
    """
    n_inside = keep_inside(rows, points, n_points, literal)
    if 2 * n_inside <= n_points:
        for i in range(n_inside):
            some[0][i] = points[i]
        ones_of(rows, some[0], n_inside, planes, counts)
    elif n_inside < n_points:
        n_outside = n_points - n_inside
        for i in range(n_outside):
            some[0][i] = points[n_inside + i]
        ones_of(rows, some[0], n_outside, planes, some[1])
        for k in range(counts.shape[0]):
            counts[k] -= some[1][k]
    return n_inside


@njit(nogil=True, cache=True)
def grow_by_gain(rows, p, q, tables, exponent, n, literals, counts, some, planes):
    """Grow a conjunction until q is empty; returns the number of literals, -1 if it never is.

    p and q int32: points and their number, lists that are reordered; literals: those that are there
    and room; counts (2, 64 n_words) int32: of p and q.
    """
    inside, others = p[1][0], q[1][0]
    n_literals = np.int64(0)
    while others > 0:
        if n_literals == literals.shape[0]:
            return np.int64(-1)
        literal = choose_literal(counts[0], counts[1], inside, others, tables, exponent, n)
        if literal < 0:
            return np.int64(-1)
        literals[n_literals] = literal
        n_literals += 1
        inside = narrow(rows, p[0], inside, literal, counts[0], some, planes)
        others = narrow(rows, q[0], others, literal, counts[1], some, planes)
    p[1][0], q[1][0] = inside, others
    return n_literals


@njit(nogil=True, cache=True)
def thin_conjunction(columns, own, others, literals, n_literals):
    """Drop literals while every point of ``others`` stays outside; returns how many stay.

    own, others (W,) uint64: points of the class and those that must be outside. Each time the
    literal goes that keeps most points of ``own`` outside by itself (ties: the first).
    """
    n_words = own.shape[0]
    once, twice = np.empty(n_words, np.uint64), np.empty(n_words, np.uint64)
    while n_literals > 1:
        once[:] = _EMPTY
        twice[:] = _EMPTY
        for j in range(n_literals):
            column = columns[literals[j] >> 1]
            flip = _EMPTY if literals[j] & 1 else _FULL
            for w in range(n_words):
                outside = column[w] ^ flip
                twice[w] |= once[w] & outside
                once[w] |= outside
        for w in range(n_words):
            once[w] &= ~twice[w]
        worst, most = np.int64(-1), np.int64(-1)
        for j in range(n_literals):
            column = columns[literals[j] >> 1]
            flip = _EMPTY if literals[j] & 1 else _FULL
            needed, freed = _EMPTY, _EMPTY
            for w in range(n_words):
                alone = once[w] & (column[w] ^ flip)
                needed |= alone & others[w]
                freed += popcount(alone & own[w])
            if needed == _EMPTY and np.int64(freed) > most:
                worst, most = np.int64(j), np.int64(freed)
        if worst < 0:
            break
        for j in range(worst, n_literals - 1):
            literals[j] = literals[j + 1]
        n_literals -= 1
    return n_literals


@njit(nogil=True, cache=True)
def inside_all(columns, literals, n_literals, points):
    """Take from ``points`` (W,) uint64 those outside any literal; returns how many stay."""
    for j in range(n_literals):
        column = columns[literals[j] >> 1]
        flip = _FULL if literals[j] & 1 else _EMPTY
        for w in range(points.shape[0]):
            points[w] &= column[w] ^ flip
    count = _EMPTY
    for w in range(points.shape[0]):
        count += popcount(points[w])
    return np.int64(count)


@njit(nogil=True, cache=True)
def grow_conjunctions(queue, stop, points, tables, grown):
    """Worker: grow the conjunction of each task among all open points, and thin it."""
    n, n_words = points.columns.shape[0], points.alive.shape[0]
    width = points.rows.shape[1] * WORD_BITS
    n_open = np.int64(0)
    largest = np.int64(0)
    for size in points.sizes:
        n_open += size
        largest = max(largest, size)
    planes = np.empty((_PLANES, ROW_WORDS), np.uint64)
    counts = np.empty((2, width), np.int32)
    some = np.empty(n_open + GROUP, np.int32), np.empty(width, np.int32)
    p_list = np.empty(largest + GROUP, np.int32)
    q_list = np.empty(n_open + GROUP, np.int32)
    p_size, q_size = np.empty(1, np.int64), np.empty(1, np.int64)
    own, others = np.empty(n_words, np.uint64), np.empty(n_words, np.uint64)
    while True:
        task = take(queue)
        if task >= stop:
            break
        code, exponent = grown.classes[task], grown.exponents[task]
        literals = grown.literals[task]
        n_own = points.sizes[code]
        members = points.members[points.first[code] : points.first[code] + n_own]
        total, ours = points.counts[points.counts.shape[0] - 1], points.counts[code]
        for k in range(width):
            counts[0, k] = ours[k]
            counts[1, k] = total[k] - ours[k]
        grown.n_literals[task] = 0
        literal = choose_literal(
            counts[0], counts[1], n_own, n_open - n_own, tables, exponent, n
        )
        if literal < 0:
            continue
        literals[0] = literal
        column = points.columns[literal >> 1]
        flip = _FULL if literal & 1 else _EMPTY
        n_p, n_q = np.int64(0), np.int64(0)
        for w in range(n_words):
            rest = points.alive[w] & (column[w] ^ flip)
            while rest != _EMPTY:
                point = np.int32(w * WORD_BITS + trailing_zeros(rest))
                rest &= rest - _ONE
                if points.codes[point] == code:
                    p_list[n_p] = point
                    n_p += 1
                else:
                    q_list[n_q] = point
                    n_q += 1
        ones_of(points.rows, p_list, n_p, planes, counts[0])
        ones_of(points.rows, q_list, n_q, planes, counts[1])
        p_size[0], q_size[0] = n_p, n_q
        more = grow_by_gain(
            points.rows, (p_list, p_size), (q_list, q_size), tables, exponent, n, literals[1:],
            counts, some, planes,
        )  # fmt: skip
        if more < 0:
            continue
        own[:] = _EMPTY
        for point in members:
            own[point >> 6] |= _ONE << np.uint64(point & 63)
        for w in range(n_words):
            others[w] = points.alive[w] & ~own[w]
        n_literals = thin_conjunction(points.columns, own, others, literals, more + 1)
        covered = grown.covered[task]
        for w in range(n_words):
            covered[w] = own[w]
        grown.coverage[task] = inside_all(points.columns, literals, n_literals, covered)
        grown.n_literals[task] = n_literals


@njit(nogil=True, cache=True)
def claim(points, code, covered):
    """Take the points ``covered`` (W,) uint64, all open and of class ``code``, from ``points``."""
    width = points.rows.shape[1] * WORD_BITS
    first, size = points.first[code], points.sizes[code]
    gone = np.empty(size + GROUP, np.int32)
    n_gone, kept = np.int64(0), first
    for i in range(first, first + size):
        point = points.members[i]
        if (covered[point >> 6] >> np.uint64(point & 63)) & _ONE:
            gone[n_gone] = point
            n_gone += 1
        else:
            points.members[kept] = point
            kept += 1
    points.sizes[code] = kept - first
    for w in range(covered.shape[0]):
        points.alive[w] &= ~covered[w]
    planes = np.empty((_PLANES, ROW_WORDS), np.uint64)
    counts = np.empty(width, np.int32)
    ones_of(points.rows, gone, n_gone, planes, counts)
    last = points.counts.shape[0] - 1
    for k in range(width):
        points.counts[code, k] -= counts[k]
        points.counts[last, k] -= counts[k]
