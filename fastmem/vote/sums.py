"""Sums over cosine features of points of a fit, all of whole numbers: parts of them add up exactly.

So it makes no difference in which order points are, nor on how many machines.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from fastmem.inputs import Points
from fastmem.kernels.butterflies import LANES
from fastmem.kernels.feature_sums import TASK_TILES, class_sums, normal_products
from fastmem.kernels.layout import WORD_BITS
from fastmem.machine.loops import run_loop
from fastmem.machine.threads import ranges
from fastmem.readout.costs import FEATURE_BYTES, PART_BYTES
from fastmem.readout.waves import FeatureTiles, waves_of
from fastmem.vote.gram import add_gram


class Recipe(NamedTuple):
    """What features are made by; see `waves_of`."""

    key: int
    exponent: int
    offsets: np.ndarray
    n: int
    multiplier: int


class NormalSums(NamedTuple):
    """What ``kernels.feature_sums.normal_products`` says of some points.

    Attributes
    ----------
    sums : ndarray of shape (n, K), float64
    totals : ndarray of shape (K,), float64
    largest : ndarray of shape (K,), float32
    """

    sums: np.ndarray
    totals: np.ndarray
    largest: np.ndarray


class FeatureSums(Protocol):
    """Cosine features of some points of a fit, wherever these are."""

    @property
    def n_waves(self) -> int:
        """Features n."""

    def add_gram(self, products: np.ndarray) -> None:
        """Add up the products of all features; see `gram.add_gram`."""

    def by_class(self, n_classes: int) -> np.ndarray:
        """Sums of the features over the points of each class, (n, K) int64."""

    def normal(self, weights: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> NormalSums:
        """See `NormalSums`: weights (n, K), shift and scale (K,), all float32."""


class SumsHere:
    """`FeatureSums` of points that are here.

    Parameters
    ----------
    points : Points
    codes : ndarray of integers
        Of the rows.
    rows : ndarray of int, or None
        Of which points, in any order; None for all.
    recipe : Recipe
    n_threads : int

    Attributes
    ----------
    features : FeatureTiles
    """

    def __init__(
        self, points: Points, codes: np.ndarray, rows: np.ndarray | None, recipe: Recipe,
        n_threads: int,
    ) -> None:  # fmt: skip
        self._codes = codes
        self._n_threads = n_threads
        self.features = FeatureTiles(points, rows, waves_of(*recipe), n_threads, FEATURE_BYTES)

    @property
    def n_waves(self) -> int:
        """Features n."""
        return self.features.n_waves

    def add_gram(self, products: np.ndarray) -> None:
        """See `FeatureSums`."""
        add_gram(self.features, self._codes, products, self._n_threads)

    def by_class(self, n_classes: int) -> np.ndarray:
        """See `FeatureSums`."""
        n = self.n_waves
        sums = np.zeros((n, n_classes), np.int64)
        at_once = max(1, FEATURE_BYTES // (2 * LANES * n))
        for first, last in ranges(self.features.n_tiles, at_once):
            here = self._codes[first * LANES : last * LANES].astype(np.int64)
            tiles = self.features.tiles(first, last)
            run_loop(class_sums, n // WORD_BITS, self._n_threads, (tiles, here, sums))
        return sums

    def normal(self, weights: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> NormalSums:
        """See `FeatureSums`."""
        features = self.features
        n, n_columns = weights.shape
        found = NormalSums(
            np.zeros((n, n_columns)), np.zeros(n_columns), np.zeros(n_columns, np.float32)
        )
        task_bytes = n * (8 * n_columns + TASK_TILES * LANES)
        tasks_at_once = max(1, min(PART_BYTES // task_bytes, 64))
        for first, last in ranges(features.n_tiles, TASK_TILES * tasks_at_once):
            tiles = features.tiles(first, last)
            n_tasks = -(-(last - first) // TASK_TILES)
            parts = NormalSums(
                np.empty((n_tasks, n, n_columns)), np.empty((n_tasks, n_columns)),
                np.empty((n_tasks, n_columns), np.float32),
            )  # fmt: skip
            n_rows = min(features.n_rows - first * LANES, (last - first) * LANES)
            others = tiles, n_rows, weights, shift, scale, tuple(parts)
            run_loop(normal_products, n_tasks, self._n_threads, others)
            here = parts.sums.sum(axis=0), parts.totals.sum(axis=0), parts.largest.max(axis=0)
            found = joined([found, NormalSums(*here)])
        return found


def joined(parts: list[NormalSums]) -> NormalSums:
    """What is said of all points, by what is said of some each."""
    sums, totals, largest = zip(*parts, strict=True)
    return NormalSums(np.sum(sums, axis=0), np.sum(totals, axis=0), np.max(largest, axis=0))
