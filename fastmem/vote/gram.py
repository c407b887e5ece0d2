"""Gram matrices of the cosine features of some points, with their sums by class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.butterflies import LANES
from fastmem.kernels.cosines import EXACT_DEPTH
from fastmem.kernels.gram import gram_products, spread_features
from fastmem.kernels.layout import TILE_ROWS, WORD_BITS
from fastmem.kernels.panel_products import PANEL_ROWS
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.loops import run_loop
from fastmem.machine.threads import ranges
from fastmem.readout.waves import FeatureTiles

_AT_ONCE = EXACT_DEPTH // LANES


class Gram(NamedTuple):
    """Sums over M points, all of them whole numbers.

    Attributes
    ----------
    products : ndarray of shape (n + K, n), float64
        Of each feature (the lower triangle counts) and each class's indicator with each feature.
    sums : ndarray of shape (n,), float64
        Of the features.
    counts : ndarray of shape (K,), int64
        Points of each class.
    """

    products: np.ndarray
    sums: np.ndarray
    counts: np.ndarray

    def ridge_rows(self, penalty: float, targets: np.ndarray, n_more: int) -> np.ndarray:
        """The centred matrix with ``penalty`` on its diagonal, right sides and room for rows.

        targets (K, T) float64: the centred targets of each class's points. Returns
        (n + T + n_more, n) float64, or some rows of 0 more, as ``kernels.cholesky`` takes it.
        """
        n, n_points = len(self.sums), int(self.counts.sum())
        n_rows = n + targets.shape[1] + n_more
        matrix = np.zeros((-(-n_rows // PANEL_ROWS) * PANEL_ROWS, n))
        for first, last in ranges(n, 256):  # the sum of rounded numbers has one order only
            matrix[first:last, :last] = self.products[first:last, :last]
            share = self.sums[first:last, None] / n_points
            matrix[first:last, :last] -= share * self.sums[:last]
        matrix[np.arange(n), np.arange(n)] += penalty
        by_class = self.products[n:]
        for c in range(targets.shape[1]):
            row = matrix[n + c]
            row[:] = 0.0
            for code, target in enumerate(targets[:, c].tolist()):
                row += target * by_class[code]
        return matrix

    @property
    def mean(self) -> np.ndarray:
        """Mean of each feature."""
        return self.sums / int(self.counts.sum())

    @property
    def mean_square(self) -> float:
        """Mean diagonal entry of the centred matrix."""
        n = len(self.sums)
        squares = self.products[np.arange(n), np.arange(n)]
        centred = squares - self.sums * (self.sums / int(self.counts.sum()))
        return float(np.sum(centred)) / n


def gram_of(features: FeatureTiles, codes: np.ndarray, n_classes: int, n_threads: int) -> Gram:
    """Gram matrix of points with class ``codes`` (M,), in the order of ``features``."""
    n = features.n_waves
    n_rows = n + n_classes + 1
    n_groups = -(-n_rows // TILE_ROWS)
    products = np.zeros((n_rows, n))
    at_once = min(_AT_ONCE, features.n_tiles)
    points = at_once * LANES
    panels = aligned_zeros((n // WORD_BITS, points, WORD_BITS), np.float32)
    groups = aligned_zeros((n_groups, points, TILE_ROWS), np.float32)
    for first, last in ranges(features.n_tiles, at_once):
        tiles = features.tiles(first, last)
        run_loop(spread_features, last - first, n_threads, (tiles, panels, groups))
        panels[:, (last - first) * LANES :] = 0.0
        groups[:, (last - first) * LANES :] = 0.0
        here = codes[first * LANES : last * LANES]
        for row in range(n, n_rows):
            indicator = here == row - n if row < n_rows - 1 else np.ones(len(here))
            groups[row // TILE_ROWS, : len(here), row % TILE_ROWS] = indicator
            groups[row // TILE_ROWS, len(here) :, row % TILE_ROWS] = 0.0
        run_loop(gram_products, n // WORD_BITS, n_threads, (panels, groups, products))
    counts = np.bincount(codes, minlength=n_classes)
    return Gram(products[: n + n_classes], products[n + n_classes].copy(), counts)
