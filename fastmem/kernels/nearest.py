"""How near the patterns of its own class and of the others are to a point's.

delta(a, x) = |Phi(x) and not Phi(a)| is the count of x in the mask of a's own neuron. The least
over the other classes is that neuron's threshold m(a); here the k least of either side are found
at once, and the number of hyperplanes from which on m(a) is at least 1.

``refs`` are tiles as in ``kernels.signs``, uint64 (n_tiles, n_words, TILE), sorted by class, and
``sizes`` (n_tiles,) int64 says how many columns of each are points; ``queries`` (n_words, TILE) is
one such tile, of which the first ``size`` columns are points, all of one class.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.bits import popcount, trailing_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import TILE, WORD_BITS

FAR = np.int32(2**31 - 1)
_NO_BITS = np.uint64(0)
"""Count of a point that is not there: a class has fewer than k points."""


@njit(nogil=True, cache=True)
def _count(words, mask, counts):
    """counts[i] = |mask and column i|: words (n_words, TILE), mask (n_words,), counts (TILE,)."""
    n_words = words.shape[0]
    for i in range(TILE):
        counts[i] = np.uint64(0)
    for word in range(0, n_words - 1, 2):
        m0, m1 = mask[word], mask[word + 1]
        even, odd = words[word], words[word + 1]
        for i in range(TILE):
            counts[i] += popcount(even[i] & m0) + popcount(odd[i] & m1)
    if n_words % 2:
        m0 = mask[n_words - 1]
        last = words[n_words - 1]
        for i in range(TILE):
            counts[i] += popcount(last[i] & m0)


@njit(nogil=True, cache=True)
def _keep_least(counts, size, tile, except_at, least, at):
    """Insert the counts of one tile, but for the position ``except_at``, into the k least so far.

    counts (TILE,) uint64; least (k,) int32 ascending, at (k,) int64 their positions. Of equal
    counts the lowest position comes first.
    """
    k = least.shape[0]
    smallest = np.uint64(FAR)
    for i in range(size):
        smallest = min(smallest, counts[i])
    if np.int64(smallest) >= np.int64(least[k - 1]):
        return
    for i in range(size):
        count = np.int32(counts[i])
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
def nearest_counts(
    queries, size, refs, sizes, first_tile, own, selves, valid, k,
    own_mean, other_mean, other_class, threshold, nearest, company,
):  # fmt: skip
    """How near its own class and the nearest other class are to each query.

    first_tile (K + 1,) int64: the tiles first_tile[c] to first_tile[c + 1] - 1 hold class c; own
    is the queries' class; selves (TILE,) int64, the position of each query among ``refs``, which
    does not count, or -1; valid (n_words,) uint64, the ones of a full mask.

    Fills, each (TILE,): own_mean float64, the mean of the k least counts in the own class (of all,
    where there are fewer; -1 where there is none); other_mean float64 and other_class int64, the
    least such mean over the other classes and which it is (of equals the first); threshold int32,
    the least count over all other classes, m, and nearest int64, the position of the first point
    that has it; company int32, the points of the own class, beside the query, that its own neuron
    covers: those with a count below m.
    """
    n_words = refs.shape[1]
    counts = np.empty(TILE, np.uint64)
    masks = np.empty((size, n_words), np.uint64)
    for q in range(size):
        for word in range(n_words):
            masks[q, word] = valid[word] & ~queries[word, q]
    least = np.empty((size, k), np.int32)
    at = np.empty((size, k), np.int64)
    own_mean[:] = -1.0
    other_mean[:] = -1.0
    other_class[:] = -1
    threshold[:] = FAR
    nearest[:] = -1
    company[:] = 0
    n_classes = first_tile.shape[0] - 1
    for turn in range(n_classes):
        # its own class comes last: company needs the threshold
        last = turn == n_classes - 1
        c = own if last else (turn if turn < own else turn + 1)
        least[:] = FAR
        for tile in range(first_tile[c], first_tile[c + 1]):
            for q in range(size):
                _count(refs[tile], masks[q], counts)
                itself = selves[q] if last else np.int64(-1)
                _keep_least(counts, sizes[tile], tile, itself, least[q], at[q])
                if last:
                    level = np.uint64(threshold[q])
                    inside = np.int32(0)
                    for i in range(sizes[tile]):
                        inside += np.int32(counts[i] < level)
                    # its own count is 0
                    is_here = selves[q] >= 0 and selves[q] // TILE == tile
                    company[q] += inside - np.int32(is_here and threshold[q] > 0)
        for q in range(size):
            total, found = 0.0, 0
            while found < k and least[q, found] < FAR:
                total += least[q, found]
                found += 1
            mean = total / found if found else -1.0
            if last:
                own_mean[q] = mean
                continue
            if found and (other_class[q] < 0 or mean < other_mean[q]):
                other_mean[q] = mean
                other_class[q] = c
            if least[q, 0] < threshold[q]:
                threshold[q] = least[q, 0]
                nearest[q] = at[q, 0]


@njit(nogil=True, cache=True)
def separation_widths(queries, size, refs, sizes, own, valid, widths):
    """widths[q] = least n such that the first n hyperplanes part query q from all other classes.

    The tiles own[0] to own[1] - 1 hold its own class.
    That is, every point of another class has one of its first n bits set where the query's is not:
    m of the query is at least 1. 64 n_words + 1 where all hyperplanes are too few. widths (TILE,)
    int64. Pairs are parted early as a rule, so nearly all of the work is on the first words.
    """
    n_words = refs.shape[1]
    mask = np.empty(n_words, np.uint64)
    one = np.uint64(1)
    for q in range(size):
        for word in range(n_words):
            mask[word] = valid[word] & ~queries[word, q]
        reached = np.int64(0)
        for tile in range(refs.shape[0]):
            if own[0] <= tile < own[1]:
                continue
            words = refs[tile]
            # pairs parted by the first 64 * known hyperplanes cannot raise what is reached
            known = min(reached // WORD_BITS, n_words - 1)
            for i in range(sizes[tile]):
                parted = np.uint64(0)
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
                lowest = np.int64(popcount((bits & (~bits + one)) - one))
                reached = max(reached, word * WORD_BITS + lowest + 1)
            if reached > n_words * WORD_BITS:
                break
        widths[q] = reached


@njit(nogil=True, cache=True)
def rows_needed(negative, positive, first, last):
    """Rows of the first layer until all pairs are separated, and the pair that needs most.

    negative (N-, n_words) and positive (N+, n_words) uint64 sign patterns; only the rows
    first..last-1 of ``negative``. A pair is separated from the first hyperplane on whose bit is 0
    for x^- and 1 for x^+. Returns (rows, i, j); rows is 64 n_words + 1 where none does.
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
