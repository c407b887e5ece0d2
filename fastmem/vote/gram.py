"""Gram matrices of the cosine features of some points, with their sums by class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.butterflies import LANES
from fastmem.kernels.gram import MOST_POINTS, gram_products, spread_features
from fastmem.kernels.layout import TILE_ROWS, WORD_BITS
from fastmem.kernels.panel_products import PANEL_ROWS
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.loops import run_loop
from fastmem.machine.threads import ranges
from fastmem.readout.costs import PANEL_BYTES
from fastmem.readout.waves import FeatureTiles

_EXACT = 1 << 27
"""Points up to which products of two sums fit 64 bits."""


class Gram(NamedTuple):
    """Sums over M points, all of them whole numbers.

    Attributes
    ----------
    products : ndarray of shape (n + K, n), float64
        Of each feature (the lower triangle counts) and each class's indicator with each feature.
    room : ndarray of shape (>= n + K, n), float64
        What ``products`` is the first rows of.
    sums : ndarray of shape (n,), float64
        Of the features.
    counts : ndarray of shape (K,), int64
        Points of each class.
    """

    products: np.ndarray
    room: np.ndarray
    sums: np.ndarray
    counts: np.ndarray

    def ridge_rows(self, penalty: float, n_more: int, last: bool) -> np.ndarray:
        """The centred matrix with ``penalty`` on its diagonal, right sides and room for rows.

        Parameters
        ----------
        penalty : float
        n_more : int
        last : bool
            Make it in place, in ``room``: ``products`` is lost.

        Returns
        -------
        ndarray of shape (n + T + n_more, n), float64
            Or some rows more, as ``kernels.cholesky`` takes it.
        """
        n, n_points = len(self.sums), int(self.counts.sum())
        right = covariances(self.products[n:].astype(np.int64), self.counts)
        n_rows = -(-(n + len(right) + n_more) // PANEL_ROWS) * PANEL_ROWS
        matrix = self.room[:n_rows] if last and len(self.room) >= n_rows else np.zeros((n_rows, n))
        for first, stop in ranges(n, 256):  # the sum of rounded numbers has one order only
            share = self.sums[first:stop, None] / n_points
            block = self.products[first:stop, :stop] - share * self.sums[:stop]
            matrix[first:stop, :stop] = block
        matrix[np.arange(n), np.arange(n)] += penalty
        matrix[n : n + len(right)] = right
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


def mean_target(counts: np.ndarray) -> np.ndarray:
    """Mean of what is regressed where classes have counts (K,) points: (T,) float64.

    Of two classes -1/2 and 1/2, in one column; of more an indicator each.
    """
    shares = counts / int(counts.sum())
    return (shares[1:] - shares[:1]) / 2 if len(counts) == 2 else shares


def covariances(by_class: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """F^T Y for centred targets, from sums of the features of each class: (T, n) float64.

    by_class (K, n) and counts (K,) int64. Exact up to a division: features that are the same for
    all get 0.
    """
    n_points = int(counts.sum())
    if n_points > _EXACT:
        by_class, counts = by_class.astype(object), counts.astype(object)
    scaled = by_class * n_points - counts[:, None] * by_class.sum(axis=0)
    return ((scaled[1:] if len(counts) == 2 else scaled) / n_points).astype(np.float64)


def centred_targets(codes: np.ndarray, level: np.ndarray) -> np.ndarray:
    """What is regressed for points of classes ``codes`` (S,), less its mean: (S, T) float64."""
    if len(level) == 1:
        return codes[:, None] - 0.5 - level
    targets = np.tile(-level, (len(codes), 1))
    targets[np.arange(len(codes)), codes] += 1.0
    return targets


def gram_room(n: int, n_classes: int, n_more: int) -> np.ndarray:
    """Zeros for the Gram matrix of n features, (rows, n) float64; see `Gram`.

    ``n_more`` rows more than there are features and classes.
    """
    return np.zeros((-(-(n + n_classes + 1 + n_more) // PANEL_ROWS) * PANEL_ROWS, n))


def gram_in(room: np.ndarray, counts: np.ndarray) -> Gram:
    """The Gram matrix of points with counts (K,) int64, whose `add_gram` was made in ``room``."""
    n, n_classes = room.shape[1], len(counts)
    return Gram(room[: n + n_classes], room, room[n + n_classes].copy(), counts)


def add_gram(
    features: FeatureTiles, codes: np.ndarray, products: np.ndarray, n_threads: int
) -> None:
    """Add products of the features of points with class ``codes`` (M,), in this order.

    products (n + K + 1, n) float64, C-contiguous: of each feature (the lower triangle counts), each
    class's indicator and 1 with each feature. All are whole numbers, exact up to 2^39 points.
    """
    if not features.n_tiles:
        return
    n_rows, n = products.shape
    n_groups = -(-n_rows // TILE_ROWS)
    some = max(1, min(MOST_POINTS, PANEL_BYTES // (2 * (n + n_rows))) // LANES)
    at_once = min(some, features.n_tiles)
    points = at_once * LANES
    panels = aligned_zeros((n // WORD_BITS, points // 2, WORD_BITS, 2), np.int16)
    groups = aligned_zeros((n_groups, points // 2, TILE_ROWS, 2), np.int16)
    pairs = panels.view(np.int32)[..., 0], groups.view(np.int32)[..., 0]
    for first, last in ranges(features.n_tiles, at_once):
        tiles = features.tiles(first, last)
        run_loop(spread_features, last - first, n_threads, (tiles, panels, groups))
        used = (last - first) * LANES // 2
        panels[:, used:] = 0
        groups[:, used:] = 0
        here = codes[first * LANES : last * LANES]
        for row in range(n, n_rows):
            indicator = here == row - n if row < n_rows - 1 else np.ones(len(here))
            column = np.zeros(points, np.int16)
            column[: len(here)] = indicator
            groups[row // TILE_ROWS, :, row % TILE_ROWS] = column.reshape(-1, 2)
        run_loop(gram_products, n // WORD_BITS, n_threads, (*pairs, products))
