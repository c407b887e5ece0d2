"""How near the patterns of its own class and of the others are to a point's.

delta(a, x) = |Phi(x) and not Phi(a)| is the count of x in the mask of a's own neuron. The least
over the other classes is that neuron's threshold m(a); here the k least of either side are found
at once, and the number of hyperplanes from which on m(a) is at least 1: a pair of points is
separated from the first hyperplane on whose bit is 0 for a and 1 for x.

Tiles are as in ``kernels.signs``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.bits import trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.counts import count_mask
from fastmem.kernels.layout import TILE, WORD_BITS

FAR = np.int32(2**31 - 1)
"""Count of a point that is not there: a class has fewer than k points."""
_NO_BITS = np.uint64(0)


class References(NamedTuple):
    """Points that all are compared with, sorted by class.

    tiles (n_tiles, n_words, TILE) uint64, sizes (n_tiles,) int64, how many columns of each are
    points; first_tile (K + 1,) int64: the tiles first_tile[c] to first_tile[c + 1] - 1 hold class
    c; valid (n_words,) uint64, the ones of a full mask.
    """

    tiles: np.ndarray
    sizes: np.ndarray
    first_tile: np.ndarray
    valid: np.ndarray


class Queries(NamedTuple):
    """Points of one class, ``code``: the first ``size`` columns of one tile.

    words (n_words, TILE) uint64; selves (TILE,) int64, the position of each among the references,
    where it does not count, or -1.
    """

    words: np.ndarray
    size: int
    code: int
    selves: np.ndarray


class Nearness(NamedTuple):
    """What `nearest_counts` finds, each (TILE,), for the first ``size`` queries.

    own_mean float64, the mean of the k least counts in the own class (of all, where there are
    fewer; -1 where there is none); other_mean float64 and other_class int64, the least such mean
    over the other classes and which it is (of equals the first); threshold int32, the least count
    over all other classes, m, and nearest int64, the position of the first point that has it;
    company int32, the points of the own class, beside the query, that its own neuron covers: those
    with a count below m.
    """

    own_mean: np.ndarray
    other_mean: np.ndarray
    other_class: np.ndarray
    threshold: np.ndarray
    nearest: np.ndarray
    company: np.ndarray


def new_nearness() -> Nearness:
    """Arrays for `nearest_counts` to fill."""
    means, counts = np.empty((2, TILE)), np.empty((2, TILE), np.int32)
    which = np.empty((2, TILE), np.int64)
    return Nearness(means[0], means[1], which[0], counts[0], which[1], counts[1])


@njit(nogil=True, cache=True)
def _keep_least(counts, size, tile, except_at, least, at):
    """Insert the counts of one tile, but for the position ``except_at``, into the k least so far.

    counts (TILE,) int32; least (k,) int32 ascending, at (k,) int64 their positions. Of equal
    counts the lowest position comes first.
    """
    k = least.shape[0]
    smallest = FAR
    for i in range(size):
        smallest = min(smallest, counts[i])
    if smallest >= least[k - 1]:
        return
    for i in range(size):
        count = counts[i]
        position = np.int64(tile) * TILE + i
        if count >= least[k - 1] or position == except_at:
            continue
        place = k - 1
        while place > 0 and least[place - 1] > count:
            least[place] = least[place - 1]
            at[place] = at[place - 1]
            place -= 1
        least[place] = count
        at[place] = position


@njit(nogil=True, cache=True)
def nearest_counts(queries, references, k, found):
    """Fill ``found``: how near its own class and the nearest other class are to each query."""
    tiles, sizes, first_tile = references.tiles, references.sizes, references.first_tile
    size, own, selves = queries.size, queries.code, queries.selves
    n_words = tiles.shape[1]
    counts = np.empty(TILE, np.int32)
    masks = np.empty((size, n_words), np.uint64)
    for q in range(size):
        for word in range(n_words):
            masks[q, word] = references.valid[word] & ~queries.words[word, q]
    least = np.empty((size, k), np.int32)
    at = np.empty((size, k), np.int64)
    found.own_mean[:] = -1.0
    found.other_mean[:] = -1.0
    found.other_class[:] = -1
    found.threshold[:] = FAR
    found.nearest[:] = -1
    found.company[:] = 0
    n_classes = first_tile.shape[0] - 1
    for turn in range(n_classes):
        # its own class comes last: company needs the threshold
        last = turn == n_classes - 1
        c = own if last else (turn if turn < own else turn + 1)
        least[:] = FAR
        for tile in range(first_tile[c], first_tile[c + 1]):
            for q in range(size):
                count_mask(tiles[tile], masks[q], counts)
                itself = selves[q] if last else np.int64(-1)
                _keep_least(counts, sizes[tile], tile, itself, least[q], at[q])
                if last:
                    level = found.threshold[q]
                    inside = np.int32(0)
                    for i in range(sizes[tile]):
                        inside += np.int32(counts[i] < level)
                    # its own count is 0
                    is_here = selves[q] >= 0 and selves[q] // TILE == tile
                    found.company[q] += inside - np.int32(is_here and level > 0)
        for q in range(size):
            total, n_found = 0.0, 0
            while n_found < k and least[q, n_found] < FAR:
                total += least[q, n_found]
                n_found += 1
            mean = total / n_found if n_found else -1.0
            if last:
                found.own_mean[q] = mean
                continue
            if n_found and (found.other_class[q] < 0 or mean < found.other_mean[q]):
                found.other_mean[q] = mean
                found.other_class[q] = c
            if least[q, 0] < found.threshold[q]:
                found.threshold[q] = least[q, 0]
                found.nearest[q] = at[q, 0]


@njit(nogil=True, cache=True)
def separation_widths(queries, references, widths):
    """widths[q] = least n such that the first n hyperplanes part query q from all other classes.

    From then on m of the query is at least 1. 64 n_words + 1 where all hyperplanes are too few.
    widths (TILE,) int64. Pairs are parted early as a rule, so nearly all of the work is on the
    first words.
    """
    tiles, sizes = references.tiles, references.sizes
    first_own = references.first_tile[queries.code]
    last_own = references.first_tile[queries.code + 1]
    n_words = tiles.shape[1]
    mask = np.empty(n_words, np.uint64)
    for q in range(queries.size):
        for word in range(n_words):
            mask[word] = references.valid[word] & ~queries.words[word, q]
        reached = np.int64(0)
        for tile in range(tiles.shape[0]):
            if first_own <= tile < last_own:
                continue
            words = tiles[tile]
            # pairs parted by the first 64 * known hyperplanes cannot raise what is reached
            known = min(reached // WORD_BITS, n_words - 1)
            for i in range(sizes[tile]):
                parted = _NO_BITS
                for word in range(known):
                    parted |= words[word, i] & mask[word]
                    if parted:
                        break
                if parted:
                    continue
                word = known
                bits = words[word, i] & mask[word]
                while not bits and word < n_words - 1:
                    word += 1
                    bits = words[word, i] & mask[word]
                if not bits:
                    reached = np.int64(n_words * WORD_BITS + 1)
                    break
                reached = max(reached, word * WORD_BITS + trailing_zeros(bits) + 1)
            if reached > n_words * WORD_BITS:
                break
        widths[q] = reached


@njit(nogil=True, cache=True)
def rows_needed(negative, positive, first, last):
    """Rows of the first layer until all pairs are separated, and the pair that needs most.

    negative (N-, n_words) and positive (N+, n_words) uint64 sign patterns; only the rows
    first..last-1 of ``negative``. Returns (rows, i, j); rows is 64 n_words + 1 where none does.
    """
    n_words = negative.shape[1]
    most = np.int64(0)
    worst = np.int64(-1)
    other = np.int64(-1)
    for i in range(first, last):
        for j in range(positive.shape[0]):
            rows = np.int64(n_words * WORD_BITS + 1)
            for word in range(n_words):
                bits = positive[j, word] & ~negative[i, word]
                if bits != _NO_BITS:
                    rows = np.int64(word * WORD_BITS) + np.int64(trailing_zeros(bits)) + 1
                    break
            if rows > most:
                most = rows
                worst = np.int64(i)
                other = np.int64(j)
    return most, worst, other
