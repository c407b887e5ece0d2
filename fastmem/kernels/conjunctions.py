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
from fastmem.kernels.bits import popcount
from fastmem.kernels.compiling import njit
from fastmem.kernels.improving import CHOICE, improve_conjunction
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.open_conjunctions import (
    EMPTY,
    FULL,
    ONE,
    Room,
    inside_all,
    list_points,
    own_points,
)
from fastmem.kernels.queue import take

_PLANES = 32
_PASSES = 8


class Grown(NamedTuple):
    """Conjunctions, one a task.

    classes and exponents (T,) int64: what is to be grown. literals (T, MOST_LITERALS) int32 and
    n_literals (T,) int64: what they begin with, none as a rule, and then what was grown: none where
    no conjunction is without points of other classes. coverage (T,) int64: open points of the class
    inside. work (T,) int64: about how many words were looked at, the same on every machine.
    """

    classes: np.ndarray
    exponents: np.ndarray
    literals: np.ndarray
    n_literals: np.ndarray
    coverage: np.ndarray
    work: np.ndarray


@njit(nogil=True, cache=True)
def best_literal(inside, others, p, q, tables, exponent, first, last):
    """The best literal of the candidates first..last-1 by the gain above, -1 if none tells.

    inside, others (n,) int32: how many of the p and of the q points have each candidate's bit.
    Ties: the lowest literal.
    """
    logs, powers, sides = tables.logs, tables.powers[exponent], tables.sides
    base = logs[p] - logs[p + q]
    best, literal = -np.inf, np.int64(-1)
    for k in range(first, last):
        p1, q1 = np.int64(inside[k]), np.int64(others[k])
        if sides[k] == 1:
            p1, q1 = p - p1, q - q1
        for side in range(2 - np.int64(sides[k]), 2):
            if p1 > 0 and q1 < q and powers[p1] * -base > best:
                gain = powers[p1] * (logs[p1] - logs[p1 + q1] - base)
                if gain > best:
                    best, literal = gain, np.int64(2 * k + side)
            p1, q1 = p - p1, q - q1
    return literal


@njit(nogil=True, cache=True)
def choose_literal(inside, others, p, q, tables, exponent, n):
    """The best literal of the key, or of the stored rows where none of the key tells."""
    n_keyed = tables.n_keyed
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
        if ((rows[points[i], word] >> shift) ^ flip) & ONE:
            i += 1
        else:
            j -= 1
            points[i], points[j] = points[j], points[i]
    return i


@njit(nogil=True, cache=True)
def narrow(rows, points, n_points, literal, counts, room):
    """Keep the points inside a literal, and with them their counts; returns how many they are.

    points int32, counts (64 n_words,) int32: of the points before, and then of those that are kept.
    """
    n_inside = keep_inside(rows, points, n_points, literal)
    n_outside = n_points - n_inside
    if n_inside <= n_outside:  # the fewer are counted
        room.points[:n_inside] = points[:n_inside]
        ones_of(rows, room.points, n_inside, room.planes, counts)
    elif n_outside:
        room.points[:n_outside] = points[n_inside:n_points]
        ones_of(rows, room.points, n_outside, room.planes, room.some)
        for k in range(counts.shape[0]):
            counts[k] -= room.some[k]
    return n_inside


@njit(nogil=True, cache=True)
def grow_by_gain(rows, p, q, tables, exponent, n, literals, room):
    """Grow a conjunction until q is empty; returns the number of literals, -1 if it never is.

    p and q: int32 points, which are reordered, and their number; literals, room for them (k,)
    int32; n candidates, counted in ``room``.
    """
    p_list, inside = p
    q_list, others = q
    n_literals = np.int64(0)
    while others > 0:
        if n_literals == literals.shape[0]:
            return np.int64(-1)
        literal = choose_literal(
            room.counts[0], room.counts[1], inside, others, tables, exponent, n
        )
        if literal < 0:
            return np.int64(-1)
        literals[n_literals] = literal
        n_literals += 1
        inside = narrow(rows, p_list, inside, literal, room.counts[0], room)
        others = narrow(rows, q_list, others, literal, room.counts[1], room)
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
        once[:] = EMPTY
        twice[:] = EMPTY
        for j in range(n_literals):
            column = columns[literals[j] >> 1]
            flip = EMPTY if literals[j] & 1 else FULL
            for w in range(n_words):
                outside = column[w] ^ flip
                twice[w] |= once[w] & outside
                once[w] |= outside
        for w in range(n_words):
            once[w] &= ~twice[w]
        worst, most = np.int64(-1), np.int64(-1)
        for j in range(n_literals):
            column = columns[literals[j] >> 1]
            flip = EMPTY if literals[j] & 1 else FULL
            needed, freed = EMPTY, EMPTY
            for w in range(n_words):
                alone = once[w] & (column[w] ^ flip)
                needed |= alone & others[w]
                freed += popcount(alone & own[w])
            if needed == EMPTY and np.int64(freed) > most:
                worst, most = np.int64(j), np.int64(freed)
        if worst < 0:
            break
        for j in range(worst, n_literals - 1):
            literals[j] = literals[j + 1]
        n_literals -= 1
    return n_literals


@njit(nogil=True, cache=True)
def _class_counts(points, code, some, planes, counts):
    """counts (2, 64 n_words) int32: of all open points of a class, and of all others."""
    n_classes = points.counts.shape[0] - 1
    if n_classes:
        ours = points.counts[code]
        for k in range(counts.shape[1]):
            counts[0, k] = ours[k]
    else:
        first, size = points.first[code], points.sizes[code]
        for i in range(size):
            some[i] = points.members[first + i]
        ones_of(points.rows, some, size, planes, counts[0])
    total = points.counts[n_classes]
    for k in range(counts.shape[1]):
        counts[1, k] = total[k] - counts[0, k]


@njit(nogil=True, cache=True)
def grow_conjunctions(queue, stop, points, tables, grown):
    """Worker: grow the conjunction of each task among all open points, and thin it."""
    n, n_words = points.columns.shape[0], points.alive.shape[0]
    width = points.rows.shape[1] * WORD_BITS
    n_open, largest = np.int64(0), np.int64(0)
    for size in points.sizes:
        n_open += size
        largest = max(largest, size)
    room = Room(
        np.empty((_PLANES, ROW_WORDS), np.uint64), np.empty((2, width), np.int32),
        np.empty(n_open + GROUP, np.int32), np.empty(width, np.int32),
    )  # fmt: skip
    counts = room.counts
    p_list = np.empty(largest + GROUP, np.int32)
    q_list = np.empty(n_open + GROUP, np.int32)
    own, others = np.empty(n_words, np.uint64), np.empty(n_words, np.uint64)
    inside = np.empty(n_words, np.uint64)
    while True:
        task = take(queue)
        if task >= stop:
            break
        code, exponent = grown.classes[task], grown.exponents[task]
        literals, n_given = grown.literals[task], grown.n_literals[task]
        grown.n_literals[task] = 0
        n_own = own_points(points, code, own)
        if n_given == 0:
            _class_counts(points, code, p_list, room.planes, counts)
            literal = choose_literal(
                counts[0], counts[1], n_own, n_open - n_own, tables, exponent, n
            )
            if literal < 0:
                continue
            literals[0] = literal
            n_given = 1
        n_literals = np.int64(n_given)
        while True:
            for w in range(n_words):
                inside[w] = points.alive[w]
            inside_all(points.columns, literals, n_literals, inside)
            n_q = list_points(inside, own, FULL, tables.most, q_list)
            if n_q == 0:
                break
            n_p = list_points(inside, own, EMPTY, tables.most, p_list)
            ones_of(points.rows, p_list, n_p, room.planes, counts[0])
            ones_of(points.rows, q_list, n_q, room.planes, counts[1])
            more = grow_by_gain(
                points.rows, (p_list, n_p), (q_list, n_q), tables, exponent, n,
                literals[n_literals:], room,
            )  # fmt: skip
            # points are counted about twice; to choose a literal takes as long as some hundred
            grown.work[task] += points.rows.shape[1] * (2 * (n_p + n_q) + CHOICE * abs(more))
            if more < 0:
                break
            n_literals += more
        if n_q > 0:
            continue
        grown.work[task] += _PASSES * n_literals * n_words
        for w in range(n_words):
            others[w] = points.alive[w] & ~own[w]
        n_literals = thin_conjunction(points.columns, own, others, literals, n_literals)
        if tables.instead:
            n_literals, grown.coverage[task], work = improve_conjunction(
                points, tables, literals, n_literals, own, (p_list, q_list), room
            )
            grown.work[task] += work
        else:
            grown.coverage[task] = inside_all(points.columns, literals, n_literals, own)
        grown.n_literals[task] = n_literals


@njit(nogil=True, cache=True)
def claim(points, code, literals):
    """Take the open points of a class that are inside literals (k,) int32; returns how many."""
    width = points.rows.shape[1] * WORD_BITS
    first, size = points.first[code], points.sizes[code]
    covered = np.empty(points.alive.shape[0], np.uint64)
    own_points(points, code, covered)
    inside_all(points.columns, literals, literals.shape[0], covered)
    gone = np.empty(size + GROUP, np.int32)
    n_gone = list_points(covered, covered, EMPTY, size, gone)
    points.sizes[code] -= n_gone
    for w in range(covered.shape[0]):
        points.alive[w] &= ~covered[w]
    if points.own.shape[0]:
        for w in range(covered.shape[0]):
            points.own[code, w] &= ~covered[w]
    else:
        kept = first
        for i in range(first, first + size):
            point = points.members[i]
            if not (covered[point >> 6] >> np.uint64(point & 63)) & ONE:
                points.members[kept] = point
                kept += 1
    planes = np.empty((_PLANES, ROW_WORDS), np.uint64)
    counts = np.empty(width, np.int32)
    ones_of(points.rows, gone, n_gone, planes, counts)
    n_classes = points.counts.shape[0] - 1
    for k in range(width):
        if n_classes:
            points.counts[code, k] -= counts[k]
        points.counts[n_classes, k] -= counts[k]
    return n_gone


@njit(nogil=True, cache=True)
def neurons_on(queue, stop, columns, literals, starts, points, on):
    """Worker: on[j] = those of ``points`` (W,) uint64 that neuron j is on for.

    columns (n, W) uint64; neuron j has the literals literals[starts[j] : starts[j + 1]], int32.
    """
    while True:
        j = take(queue)
        if j >= stop:
            break
        inside = on[j]
        for w in range(points.shape[0]):
            inside[w] = points[w]
        inside_all(columns, literals[starts[j] :], starts[j + 1] - starts[j], inside)
