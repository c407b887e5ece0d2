"""Codes of signs for categories of many levels: from a key, so that none has to be stored."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

_SPARE_BITS = 6
"""Beyond the two bits a level that make a collision as likely as not."""
MOST_BITS = 512


def code_bits(levels: Iterable[str], key: int) -> int:
    """The fewest columns, a multiple of 8, in which all levels have signs of their own.

    Begun where a collision has a chance of some 2**-7: 24 for 200 levels, 32 for 4,000.
    """
    levels = list(levels)
    wanted = 2 * max(1, len(levels) - 1).bit_length() + _SPARE_BITS
    n_bits = -(-wanted // 8) * 8
    while len({_digest(level, n_bits, key) for level in levels}) < len(levels):
        n_bits += 8
    return n_bits


def codes(levels: Iterable[str], n_bits: int, key: int) -> np.ndarray:
    """Signs of each level, (levels, n_bits) float32 of -1 and 1."""
    digests = b"".join(_digest(level, n_bits, key) for level in levels)
    octets = np.frombuffer(digests, np.uint8).reshape(-1, n_bits // 8)
    return 2 * np.unpackbits(octets, axis=1).astype(np.float32) - 1


def _digest(level: str, n_bits: int, key: int) -> bytes:
    return blake2b(
        level.encode("utf-8", "surrogatepass"), digest_size=n_bits // 8, key=key.to_bytes(8)
    ).digest()
