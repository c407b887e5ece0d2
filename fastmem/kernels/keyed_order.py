"""A random order of many points, any stretch of which is computed from a key by itself.

The numbers 0 to n - 1 are put in order by a cipher on the least number of bits that holds them: an
unbalanced Feistel network (Luby and Rackoff, 1988; Black and Rogaway, Ciphers with arbitrary finite
domains, 2002), whose values beyond n - 1 are enciphered again until they are below.
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.normals import mixed_words

ROUNDS = 12
"""Each changes one half of the bits. With 6 the orders of 6 elements are far from equally likely:
chi-square over degrees of freedom 40, here 2.3."""
_32 = np.uint64(32)


@njit(nogil=True, cache=True)
def _cipher(key, n):
    """Keys of the rounds, the bits of the low half, and masks of both."""
    bits = 2
    while (np.int64(1) << bits) < n:
        bits += 1
    low_bits = np.uint64(bits // 2)
    high_bits = np.uint64(bits) - low_bits
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << high_bits) - np.uint64(1)
    keys = np.empty(ROUNDS, np.uint64)
    mixed_words(key, 0, keys)
    for t in range(ROUNDS):
        keys[t] |= np.uint64(1)
    return keys, low_bits, low_mask, high_mask


@njit(nogil=True, cache=True)
def keyed_order(key, n, start, numbers):
    """numbers[i] = the number at place start + i of the order of 0..n-1 that a key gives.

    key uint64, n and start int64, start + len(numbers) <= n <= 2^31; numbers (m,) int32.
    """
    keys, low_bits, low_mask, high_mask = _cipher(key, n)
    for i in range(numbers.shape[0]):
        word = np.uint64(start + i)
        while True:
            low, high = word & low_mask, word >> low_bits
            for t in range(0, ROUNDS, 2):
                low ^= ((high ^ keys[t]) * keys[t] >> _32) & low_mask
                high ^= ((low ^ keys[t + 1]) * keys[t + 1] >> _32) & high_mask
            word = high << low_bits | low
            if word < np.uint64(n):
                break
        numbers[i] = np.int32(word)


@njit(nogil=True, cache=True)
def keyed_places(key, n, numbers, places):
    """The reverse of `keyed_order`: places[i] = where in the order numbers[i] stands.

    key uint64, n int64; numbers and places (m,) int32.
    """
    keys, low_bits, low_mask, high_mask = _cipher(key, n)
    for i in range(numbers.shape[0]):
        word = np.uint64(numbers[i])
        while True:
            low, high = word & low_mask, word >> low_bits
            for t in range(ROUNDS - 2, -1, -2):
                high ^= ((low ^ keys[t + 1]) * keys[t + 1] >> _32) & high_mask
                low ^= ((high ^ keys[t]) * keys[t] >> _32) & low_mask
            word = high << low_bits | low
            if word < np.uint64(n):
                break
        places[i] = np.int32(word)
