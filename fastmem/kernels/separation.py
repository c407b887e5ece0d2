"""The first hyperplane that separates each pair of points the right way round."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.bits import WORD_BITS, trailing_zeros
from fastmem.kernels.compiling import njit

_NO_BITS = np.uint64(0)


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
