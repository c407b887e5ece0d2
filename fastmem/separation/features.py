"""Features of points: max(W x + b, 0) in float64 with a bound on its error, or exact sign bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points, SparseRows
from fastmem.kernels.exact import UNIT64, shifted_biases
from fastmem.machine.arrays import frozen
from fastmem.machine.threads import ranges
from fastmem.patterns.of_points import fill
from fastmem.patterns.words import new_tiles, rows_of, unpacked
from fastmem.separation.products import columns_of, multiplied

_BLOCK_VALUES = 1 << 21
"""Coordinates and features of a block of points: 16 MB."""
_TINY = 1e-290


class Features:
    """Features of one first layer.

    Parameters
    ----------
    first : Hyperplanes
    activation : {"relu", "threshold"}

    Attributes
    ----------
    norms, slopes, floors, levels : ndarray of shape (n,), float64
        Feature h of a point at most r from the origin is at most norms[h] r + levels[h], and off by
        slopes[h] r + floors[h] at most. Sign bits are exact.
    """

    def __init__(self, first: Hyperplanes, activation: str) -> None:
        self.first, self.is_real = first, activation == "relu"
        n, d = len(first), first.n_features
        self.norms, self.levels = np.zeros(n), np.ones(n)
        self.slopes, self.floors = np.zeros(n), np.zeros(n)
        if not self.is_real:
            return
        weights = first.weights
        shifted, errors = np.empty(n), np.empty(n)
        shifted_biases(weights, frozen(first.biases), frozen(first.origin), shifted, errors)
        wide = weights.astype(np.float64)
        self._columns = columns_of(wide, shifted)
        with np.errstate(over="ignore"):
            relative = 1.1 * (d + 4) * UNIT64  # products of a rounded x - c, then their sum
            self.norms = np.sqrt((wide * wide).sum(axis=1)) * (1 + 1e-9)
            self.levels = np.abs(shifted) + errors
            self.slopes = relative * self.norms
            self.floors = relative * np.abs(shifted) + errors + _TINY

    def __len__(self) -> int:
        return len(self.first)

    def of(self, block: np.ndarray | SparseRows, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
        """Features of a block of points, (m, n) float64, and r of each, (m,) float64.

        They depend on the point alone, not on the others of the block.
        """
        if not self.is_real:
            tiles = new_tiles(_length(block), self.first.n_words)
            fill(self.first, block, tiles)
            bits = unpacked(rows_of(tiles, _length(block)), len(self.first))
            return bits.astype(np.float64), np.zeros(len(bits))
        dense = block.dense() if isinstance(block, SparseRows) else block
        scale = self.first.scale
        with np.errstate(over="ignore", invalid="ignore"):
            moved = dense - self.first.origin
            squares = ((moved * scale) ** 2).sum(axis=1)
            radii = (np.sqrt(squares) * (1 + 1e-9) + 1e-150) / scale
        return multiplied(moved, self._columns, n_threads, from_zero=True), radii

    def of_points(self, points: Points, rows: np.ndarray, n_threads: int) -> np.ndarray:
        """Features of some points, (len(rows), n) float64, times the scale of the first layer.

        The scale is a power of two that brings the points to norm 1.
        """
        found = np.empty((len(rows), len(self)))
        for start, stop in ranges(len(rows), self._rows(points)):
            values, _ = self.of(points.take(rows[start:stop]), n_threads)
            found[start:stop] = values * self.unit
        return found

    @property
    def unit(self) -> float:
        """What features are multiplied with, so that their squares neither overflow nor vanish."""
        return self.first.scale if self.is_real else 1.0

    def blocks(
        self, points: Points, n_threads: int
    ) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """Ranges start..stop-1 of all points, with what `of` says of them."""
        for start, stop in ranges(points.n_samples, min(self._rows(points), points.max_block_rows)):
            yield start, stop, *self.of(points.block(start, stop), n_threads)

    def _rows(self, points: Points) -> int:
        return max(1, _BLOCK_VALUES // (len(self) + points.n_features))


def _length(block: Any) -> int:
    return len(block)
