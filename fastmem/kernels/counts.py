"""Counts |u and q|: how many ones the pattern of a point has inside a mask, for whole tiles.

``words`` (n_words, TILE) uint64 is one tile, a mask u a row of n_words uint64 words. There is no
exit inside a row: counting on at full vector speed is cheaper than asking. Four masks at once take
each word from memory once, so stacks of masks are padded to a multiple of MASK_GROUP.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.bits import popcount
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import MASK_GROUP, TILE

_EMPTY = np.uint64(0)


@njit(nogil=True, cache=True)
def group_counts():
    """An array (MASK_GROUP, TILE) uint64 for ``count_group``."""
    return aligned_zeros(MASK_GROUP * TILE, np.uint64).reshape((MASK_GROUP, TILE))


@njit(nogil=True, cache=True)
def count_group(words, columns, masks, first, counts):
    """counts[q, i] = |masks[first + q] and column i| for q < MASK_GROUP and i < columns.

    masks (B, n_words) uint64, counts (MASK_GROUP, TILE) uint64.
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
def count_mask(words, mask, counts):
    """counts[i] = |mask and column i|: mask (n_words,) uint64, counts (TILE,) int32."""
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
