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
_CHOICE = 600
_PASSES = 8
_PAIRED = 16
"""A literal and so many after it are tried in pairs: conjunctions are rarely longer."""
_MOST_INSTEAD = 512
"""Points that a literal alone is asked to miss in the place of others."""
_EMPTY = np.uint64(0)
_FULL = np.uint64(2**64 - 1)
_ONE = np.uint64(1)


class Open(NamedTuple):
    """Points that no neuron claims yet.

    rows (M + 1, n_words) uint64, as in ``kernels.bit_rows``, and columns (n, W) uint64: the bits of
    n candidates at M points; codes (M,) int32, their classes. alive (W,) uint64: the open points.
    members int32: those of class c are members[first[c] : first[c] + sizes[c]]; first and sizes
    (K,) int64. counts (K + 1, 64 n_words) int32: how many of the open points of each class, and,
    last, of all, each candidate has on its positive side; or (1, 64 n_words), of all alone.
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
    p^e for each exponent e. sides (n,) uint8: 2 where both literals of a candidate may be used, 1
    where only 2 k may: a point lies on the hyperplane, and has no bit on either side. Only where
    none of the first ``n_keyed`` candidates tells p from q those after them, whose rows are stored,
    are asked. About ``most`` points of p and of q at most are counted for all literals but the
    first; where none of those of q is left, others are. lengths (MOST_LITERALS + 1,) float64: log2
    of the bits of k literals; gamma, the power of the coverage that they are divided by, and
    whether conjunctions are improved by it when they are grown.
    """

    logs: np.ndarray
    powers: np.ndarray
    sides: np.ndarray
    n_keyed: int
    most: int
    lengths: np.ndarray
    gamma: float
    improves: bool


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


class Room(NamedTuple):
    """What a worker works in.

    planes as of `ones_of`; counts (2, 64 n_words) int32 of p and of q; a list of points and counts.
    """

    planes: np.ndarray
    counts: np.ndarray
    points: np.ndarray
    some: np.ndarray


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
        for side in range(sides[k]):
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
        if ((rows[points[i], word] >> shift) ^ flip) & _ONE:
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
def _list_points(inside, wanted, flip, most, some):
    """List about ``most`` points of ``inside`` and (``wanted`` ^ flip), (W,) uint64, in ``some``.

    All of them where they are no more; else those of every so many words. Returns how many.
    """
    count = _EMPTY
    for w in range(inside.shape[0]):
        count += popcount(inside[w] & (wanted[w] ^ flip))
    stride = max(np.int64(1), np.int64(count) // most)
    listed = np.int64(0)
    for start in range(stride):
        for w in range(start, inside.shape[0], stride):
            rest = inside[w] & (wanted[w] ^ flip)
            while rest != _EMPTY:
                some[listed] = np.int32(w * WORD_BITS + trailing_zeros(rest))
                listed += 1
                rest &= rest - _ONE
        if listed:  # nearly always by the first words
            break
    return listed


@njit(nogil=True, cache=True)
def _missing_all(rows, some, sides, n, missing):
    """Find the literals of the first n candidates that miss all points; returns how many.

    some (m,) int32 the points, sides (>= n,) uint8 as in `Tables`; missing (2, n_words) uint64 is
    filled: candidates k, as bits, whose literal 2 k, and 2 k + 1, misses them.
    """
    n_words = missing.shape[1]
    missing[0] = _EMPTY
    missing[1] = _FULL
    for point in some:
        row = rows[point]
        for w in range(n_words):
            missing[0, w] |= row[w]
            missing[1, w] &= row[w]
    count = _EMPTY
    for w in range(n_words):
        left = min(np.int64(WORD_BITS), n - w * WORD_BITS)
        valid = _FULL if left == WORD_BITS else (_ONE << np.uint64(max(np.int64(0), left))) - _ONE
        missing[0, w] = ~missing[0, w] & valid
        missing[1, w] &= valid
        rest = missing[1, w]
        while rest != _EMPTY:
            k = w * WORD_BITS + trailing_zeros(rest)
            rest &= rest - _ONE
            if sides[k] < 2:
                missing[1, w] ^= _ONE << np.uint64(k & 63)
        count += popcount(missing[0, w]) + popcount(missing[1, w])
    return np.int64(count)


@njit(nogil=True, cache=True)
def _best_missing(columns, missing, own, p):
    """The literal of ``missing`` that most of the p points ``own`` (W,) are inside; and how many.

    Ties: the lowest. -1 and 0 where none is.
    """
    most, literal = np.int64(0), np.int64(-1)
    for w in range(missing.shape[1]):
        rest = missing[0, w] | missing[1, w]
        while rest != _EMPTY:
            bit = rest & (~rest + _ONE)
            rest ^= bit
            k = w * WORD_BITS + trailing_zeros(bit)
            column = columns[k]
            count = _EMPTY
            for v in range(own.shape[0]):
                count += popcount(column[v] & own[v])
            inside = np.int64(count)
            if missing[0, w] & bit and inside > most:
                most, literal = inside, np.int64(2 * k)
            if missing[1, w] & bit and p - inside > most:
                most, literal = p - inside, np.int64(2 * k + 1)
    return literal, most


@njit(nogil=True, cache=True)
def _best_counted(counts, missing, p):
    """The same, where counts (n,) int32 say how many of the points each candidate has."""
    most, literal = np.int64(0), np.int64(-1)
    for w in range(missing.shape[1]):
        rest = missing[0, w] | missing[1, w]
        while rest != _EMPTY:
            bit = rest & (~rest + _ONE)
            rest ^= bit
            k = w * WORD_BITS + trailing_zeros(bit)
            inside = np.int64(counts[k])
            if missing[0, w] & bit and inside > most:
                most, literal = inside, np.int64(2 * k)
            if missing[1, w] & bit and p - inside > most:
                most, literal = p - inside, np.int64(2 * k + 1)
    return literal, most


@njit(nogil=True, cache=True)
def _count_outside(columns, literals, outside):
    """outside (3, W) uint64: points that are outside none, one and two of the literals."""
    none, one, two = outside[0], outside[1], outside[2]
    none[:] = _FULL
    one[:] = _EMPTY
    two[:] = _EMPTY
    for literal in literals:
        column = columns[literal >> 1]
        flip = _EMPTY if literal & 1 else _FULL
        for w in range(none.shape[0]):
            here = column[w] ^ flip
            two[w] = (two[w] & ~here) | (one[w] & here)
            one[w] = (one[w] & ~here) | (none[w] & here)
            none[w] &= ~here


@njit(nogil=True, cache=True)
def _only_outside(columns, literal, other, outside, wanted, found):
    """found (W,) uint64 = those of ``wanted`` outside no literal but these; returns how many."""
    a, b = columns[literal >> 1], columns[other >> 1]
    flip_a = _EMPTY if literal & 1 else _FULL
    flip_b = _EMPTY if other & 1 else _FULL
    none, one, two = outside[0], outside[1], outside[2]
    both = _EMPTY if literal == other else _FULL
    count = _EMPTY
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
                pair = literals[i], literals[j]
                work += n_words
                n_q = _only_outside(columns, pair[0], pair[1], outside, others, theirs)
                if n_q > _MOST_INSTEAD:
                    continue
                n_p = _only_outside(columns, pair[0], pair[1], outside, own, ours)
                if length - tables.gamma * tables.logs[n_p] >= best:
                    continue
                _list_points(theirs, theirs, _EMPTY, max(np.int64(1), n_q), lists[1])
                n_missing = _missing_all(
                    points.rows, lists[1][:n_q], tables.sides, tables.n_keyed, missing
                )
                work += points.rows.shape[1] * n_q
                if n_missing == 0:
                    continue
                if n_missing * n_words < points.rows.shape[1] * (n_p + _CHOICE // 2):
                    work += n_missing * n_words
                    literal, most = _best_missing(columns, missing, ours, n_p)
                else:
                    _list_points(ours, ours, _EMPTY, max(np.int64(1), n_p), lists[0])
                    ones_of(points.rows, lists[0], n_p, room.planes, room.counts[0])
                    work += points.rows.shape[1] * (n_p + _CHOICE // 2)
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


@njit(nogil=True, cache=True)
def _own_points(points, code, own):
    """Set the bits of the open points of a class in own (W,) uint64; returns how many."""
    first, size = points.first[code], points.sizes[code]
    own[:] = _EMPTY
    for point in points.members[first : first + size]:
        own[point >> 6] |= _ONE << np.uint64(point & 63)
    return size


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
        n_own = _own_points(points, code, own)
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
            n_q = _list_points(inside, own, _FULL, tables.most, q_list)
            if n_q == 0:
                break
            n_p = _list_points(inside, own, _EMPTY, tables.most, p_list)
            ones_of(points.rows, p_list, n_p, room.planes, counts[0])
            ones_of(points.rows, q_list, n_q, room.planes, counts[1])
            more = grow_by_gain(
                points.rows, (p_list, n_p), (q_list, n_q), tables, exponent, n,
                literals[n_literals:], room,
            )  # fmt: skip
            # points are counted about twice; to choose a literal takes as long as some hundred
            grown.work[task] += points.rows.shape[1] * (2 * (n_p + n_q) + _CHOICE * abs(more))
            if more < 0:
                break
            n_literals += more
        if n_q > 0:
            continue
        grown.work[task] += _PASSES * n_literals * n_words
        for w in range(n_words):
            others[w] = points.alive[w] & ~own[w]
        n_literals = thin_conjunction(points.columns, own, others, literals, n_literals)
        if tables.improves:
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
    _own_points(points, code, covered)
    inside_all(points.columns, literals, literals.shape[0], covered)
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
