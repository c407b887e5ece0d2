"""What `bench.check` divides times by: work as BLAS or a plain loop does it, never fastmem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.cases import Call
from bench.peers import sgemm_in_blocks
from fastmem.machine.arrays import aligned_zeros


def _aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that starts a cache line: elsewhere the same loop takes longer."""
    copied: NDArray[Any] = aligned_zeros(array.shape, array.dtype)
    copied[...] = array
    return copied


@njit(nogil=True, cache=True)
def _popcounts(tiles, masks, counts):
    """counts[b, i] = |masks[b] and column i| of each tile in turn, by shifts that LLVM knows.

    tiles (n_tiles, n_words, columns), masks (B, n_words), counts (B, columns); uint64.
    """
    twos, fours = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
    eights, ones = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
    for tile in range(tiles.shape[0]):
        for b in range(masks.shape[0]):
            counts[b] = np.uint64(0)
            for j in range(tiles.shape[1]):
                mask = masks[b, j]
                for i in range(tiles.shape[2]):
                    x = tiles[tile, j, i] & mask
                    x = x - ((x >> np.uint64(1)) & twos)
                    x = (x & fours) + ((x >> np.uint64(2)) & fours)
                    x = (x + (x >> np.uint64(4))) & eights
                    counts[b, i] += (x * ones) >> np.uint64(56)


def sgemm(smoke: bool) -> Call:
    """Multiply 256 x 784 by 784 x 2,048 in float32."""
    rows, width = (16, 64) if smoke else (256, 2_048)
    generator = np.random.default_rng(0)
    X = _aligned(generator.standard_normal((rows, 784), dtype=np.float32))
    weights = _aligned(generator.standard_normal((width, 784), dtype=np.float32))
    return lambda: sgemm_in_blocks(X, weights)


def popcount(smoke: bool) -> Call:
    """Count the ones of 1,024 masks of 32 words in 1,920 rows, 0.5 MB."""
    generator = np.random.default_rng(0)
    n_tiles, n_masks = (1, 16) if smoke else (10, 1_024)
    tiles = _aligned(generator.integers(2**64, size=(n_tiles, 32, 192), dtype=np.uint64))
    masks = _aligned(generator.integers(2**64, size=(n_masks, 32), dtype=np.uint64))
    counts = _aligned(np.empty((n_masks, 192), np.uint64))
    return lambda: _popcounts(tiles, masks, counts)


CALIBRATIONS: dict[str, Callable[[bool], Call]] = {
    "sgemm": sgemm,
    "popcount": popcount,
}
