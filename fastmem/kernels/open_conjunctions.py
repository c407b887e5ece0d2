"""Points that no conjunction of a list claims yet, and sets of them as words.

``kernels.conjunctions`` grows conjunctions among them, ``kernels.improving`` makes these shorter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import popcount, trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import WORD_BITS

MOST_LITERALS = 1024
EMPTY = np.uint64(0)
FULL = np.uint64(2**64 - 1)
ONE = np.uint64(1)


class Open(NamedTuple):
    """Points that no neuron claims yet.

    rows (M + 1, n_words) uint64, as in ``kernels.bit_rows``, and columns (n, W) uint64: the bits of
    n candidates at M points; codes (M,) int32, their classes. alive (W,) uint64: the open points.
    sizes (K,) int64: how many of them each class has. own (K, W) uint64: those of each class; or,
    where classes are many, (0, W), and those of class c are members[first[c] : first[c] +
    sizes[c]], int32, first (K,) int64. counts (K + 1, 64 n_words) int32: how many of the open
    points of each class, and, last, of all, each candidate has on its positive side; or
    (1, 64 n_words), of all alone.
    """

    rows: np.ndarray
    columns: np.ndarray
    codes: np.ndarray
    alive: np.ndarray
    sizes: np.ndarray
    own: np.ndarray
    members: np.ndarray
    first: np.ndarray
    counts: np.ndarray


class Tables(NamedTuple):
    """What decides between literals.

    logs (>= M + 1,) float64: log2 of whole numbers, logs[0] unused; powers (E, >= M + 1) float64:
    p^e for each exponent e. sides (n,) uint8: 2 where both literals of a candidate may be used, 1
    where only 2 k + 1 may: a point lies on the hyperplane, has no bit on either side, and counts as
    inside a literal of either. Only where
    none of the first ``n_keyed`` candidates tells p from q those after them, whose rows are stored,
    are asked. About ``most`` points of p and of q at most are counted for all literals but the
    first; where none of those of q is left, others are. lengths (MOST_LITERALS + 1,) float64: log2
    of the bits of k literals; gamma, the power of the coverage that they are divided by. Grown
    conjunctions are improved by it: a literal takes the place of others where no more than
    ``instead`` points, which it has to miss, depend on them; 0: they are not.
    """

    logs: np.ndarray
    powers: np.ndarray
    sides: np.ndarray
    n_keyed: int
    most: int
    lengths: np.ndarray
    gamma: float
    instead: int


class Room(NamedTuple):
    """What a worker works in.

    planes as of `ones_of`; counts (2, 64 n_words) int32 of p and of q; a list of points and counts.
    """

    planes: np.ndarray
    counts: np.ndarray
    points: np.ndarray
    some: np.ndarray


@njit(nogil=True, cache=True)
def own_points(points, code, own):
    """Set the bits of the open points of a class in own (W,) uint64; returns how many."""
    first, size = points.first[code], points.sizes[code]
    if points.own.shape[0]:
        own[:] = points.own[code]
        return size
    own[:] = EMPTY
    for point in points.members[first : first + size]:
        own[point >> 6] |= ONE << np.uint64(point & 63)
    return size


@njit(nogil=True, cache=True)
def list_points(inside, wanted, flip, most, some):
    """List about ``most`` points of ``inside`` and (``wanted`` ^ flip), (W,) uint64, in ``some``.

    All of them where they are no more; else those of every so many words. Returns how many.
    """
    count = EMPTY
    for w in range(inside.shape[0]):
        count += popcount(inside[w] & (wanted[w] ^ flip))
    stride = max(np.int64(1), np.int64(count) // most)
    listed = np.int64(0)
    for start in range(stride):
        for w in range(start, inside.shape[0], stride):
            rest = inside[w] & (wanted[w] ^ flip)
            while rest != EMPTY:
                some[listed] = np.int32(w * WORD_BITS + trailing_zeros(rest))
                listed += 1
                rest &= rest - ONE
        if listed:  # nearly always by the first words
            break
    return listed


@njit(nogil=True, cache=True)
def inside_all(columns, literals, n_literals, points):
    """Take from ``points`` (W,) uint64 those outside any literal; returns how many stay."""
    for j in range(n_literals):
        column = columns[literals[j] >> 1]
        flip = FULL if literals[j] & 1 else EMPTY
        for w in range(points.shape[0]):
            points[w] &= column[w] ^ flip
    count = EMPTY
    for w in range(points.shape[0]):
        count += popcount(points[w])
    return np.int64(count)
