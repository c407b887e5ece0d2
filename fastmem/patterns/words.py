"""Bits in words of 64, and words in tiles."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.layout import MASK_GROUP, TILE, WORD_BITS


def new_tiles(n_points: int, n_words: int) -> np.ndarray:
    """Room for the patterns of ``n_points`` points."""
    return np.empty((-(-n_points // TILE), n_words, TILE), np.uint64)


def rows_of(tiles: np.ndarray, n_points: int) -> np.ndarray:
    """Tiles as one row of words a point, (n_points, n_words) uint64."""
    return tiles.transpose(0, 2, 1).reshape(-1, tiles.shape[1])[:n_points]


def tiles_of(rows: np.ndarray) -> np.ndarray:
    """The reverse of ``rows_of``: columns beyond the last point are zero."""
    tiles = np.zeros((-(-len(rows) // TILE), rows.shape[1], TILE), np.uint64)
    for tile, first in zip(tiles, range(0, len(rows), TILE), strict=True):
        some = rows[first : first + TILE]
        tile[:, : len(some)] = some.T
    return tiles


def unpacked(words: np.ndarray, n: int) -> np.ndarray:
    """The first n bits of each row of words, (m, n_words) uint64, as bool (m, n)."""
    octets = np.ascontiguousarray(words, "<u8").view(np.uint8)
    return np.unpackbits(octets, axis=1, count=n, bitorder="little").view(np.bool_)


def packed(bits: np.ndarray) -> np.ndarray:
    """The reverse of ``unpacked``: bool (m, n) to words, (m, ceil(n / 64)) uint64."""
    octets = np.zeros((len(bits), -(-bits.shape[1] // WORD_BITS) * 8), np.uint8)
    some = np.packbits(bits, axis=1, bitorder="little")
    octets[:, : some.shape[1]] = some
    return octets.view("<u8").astype(np.uint64, copy=False)


def valid_bits(n: int) -> np.ndarray:
    """Words whose first n bits are one, (ceil(n / 64),) uint64."""
    words = np.full(-(-n // WORD_BITS), 2**64 - 1, np.uint64)
    if n % WORD_BITS:
        words[-1] = (1 << n % WORD_BITS) - 1
    return words


def padded(rows: np.ndarray) -> np.ndarray:
    """A copy with rows of zeros up to a multiple of MASK_GROUP."""
    out = np.zeros((-(-len(rows) // MASK_GROUP) * MASK_GROUP, *rows.shape[1:]), rows.dtype)
    out[: len(rows)] = rows
    return out
