"""Margins of second layers: how far points are inside, or outside, the cells of each class.

The margin of a neuron (u, m) is m - <u, a(x)>, and the neuron is on where it is positive. Which of
two kinds it is depends on what the activations a(x) are.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.kernels.bounded_margins import Neurons
from fastmem.kernels.cover import margins
from fastmem.kernels.layout import TILE
from fastmem.kernels.relu import sum_margins
from fastmem.kernels.relu_lanes import Masks
from fastmem.patterns.words import padded, tiles_of
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.second_layer.real_sums import RealSums, rows_in_parts

_SCORES = 1 << 20
"""Margins that a task computes: 8 MB where there are many blocks."""


class Margins(Protocol):
    """The largest margin of each block of neurons.

    Attributes
    ----------
    left_out : float
        The score of a class without a block: above the margins where all neurons are off, below
        those where one is on.
    """

    left_out: float

    def task_rows(self, points: Points) -> int:
        """Points for which ``of`` should be called at once."""

    def of(
        self, points: Points, start: int, stop: int, tiles: np.ndarray, stop_when_on: bool
    ) -> np.ndarray:
        """Margins of the points start..stop-1, whose patterns are ``tiles``.

        Returns float64 of shape (n_blocks, stop - start), -inf for a block without neurons. With
        ``stop_when_on`` (one block only) only the signs are right.
        """


def margins_of(
    first: Hyperplanes, second: CoverLayer, blocks: np.ndarray, n_blocks: int
) -> Margins:
    """Margins for the activations that the second layer takes from the first.

    blocks (m,) int64 says to which of ``n_blocks`` blocks each neuron belongs.
    """
    if second.activation == "relu":
        return RealMargins(first, second, blocks, n_blocks)
    return CountMargins(second, blocks, n_blocks)


class CountMargins:
    """Margins of neurons that count ones: see ``kernels.cover.margins``.

    Parameters
    ----------
    second : CoverLayer
    blocks : ndarray of shape (m,), int64
        The block of each neuron.
    n_blocks : int

    Attributes
    ----------
    n_blocks : int
    n_words : int
        Words of all masks.
    """

    left_out = 0.5

    def __init__(self, second: CoverLayer, blocks: np.ndarray, n_blocks: int) -> None:
        self._masks = padded(second.masks)
        self._thresholds = padded(second.thresholds.astype(np.int64))
        self._blocks = np.full(len(self._masks), -1, np.int64)  # the padding belongs to none
        self._blocks[: len(second)] = blocks
        self._second, self.n_words = second, second.masks.size
        self.n_blocks = n_blocks
        self._without_neurons = np.setdiff1d(np.arange(n_blocks), blocks)

    @cached_property
    def neurons(self) -> Neurons:
        """The neurons as bounds on groups of points are computed by."""
        masks, m = np.ascontiguousarray(self._second.masks), len(self._second)
        return Neurons(masks, tiles_of(masks), self._thresholds[:m], self._blocks[:m])

    def task_rows(self, points: Points) -> int:
        """Points for which ``of`` should be called at once."""
        return _SCORES // max(1, self.n_blocks)

    def of(
        self, points: Points, start: int, stop: int, tiles: np.ndarray, stop_when_on: bool
    ) -> np.ndarray:
        """See `Margins`."""
        return self.of_tiles(tiles, stop - start, stop_when_on)

    def of_tiles(self, tiles: np.ndarray, n_points: int, stop_when_on: bool = False) -> np.ndarray:
        """As ``of``, of patterns alone, whether or not there are points that have them."""
        sizes = np.full(len(tiles), TILE, np.int64)
        sizes[-1] = n_points - (len(tiles) - 1) * TILE
        best = np.full((self.n_blocks, len(tiles) * TILE), np.iinfo(np.int64).min)
        margins(tiles, sizes, self._masks, self._thresholds, self._blocks, stop_when_on, best)
        return self.as_floats(best[:, :n_points])

    def as_floats(self, best: np.ndarray) -> np.ndarray:
        """Margins as ``of`` returns them: counts, (n_blocks, P) int64, as float64."""
        largest: np.ndarray = best.astype(np.float64)
        largest[self._without_neurons] = -np.inf
        return largest


class RealMargins:
    """Margins of neurons that add up real activations: see ``kernels.relu.sum_margins``.

    Parameters
    ----------
    first : Hyperplanes
    second : CoverLayer
    blocks : ndarray of shape (m,), int64
        The block of each neuron.
    n_blocks : int
    """

    left_out = 0.0

    def __init__(
        self, first: Hyperplanes, second: CoverLayer, blocks: np.ndarray, n_blocks: int
    ) -> None:
        self._first, self._second = first, second
        self._thresholds = second.thresholds.copy()
        self._blocks = blocks.astype(np.int64)
        self._n_blocks = n_blocks
        self._prepared: dict[bool, tuple[RealSums, Masks]] = {}

    def _sums(self, points: Points) -> tuple[RealSums, Masks]:
        """What the kernel needs to know of both layers, for dense or for sparse points."""
        if points.is_sparse not in self._prepared:
            sums = RealSums(self._first, points.is_sparse)
            self._prepared[points.is_sparse] = sums, sums.masks(self._second.masks)
        return self._prepared[points.is_sparse]

    def task_rows(self, points: Points) -> int:
        """Points for which ``of`` should be called at once."""
        return self._sums(points)[0].task_rows(points, len(self._thresholds))

    def of(
        self, points: Points, start: int, stop: int, tiles: np.ndarray, stop_when_on: bool
    ) -> np.ndarray:
        """See `Margins`."""
        sums, masks = self._sums(points)
        best = np.full((self._n_blocks, stop - start), -np.inf)
        for part, rows in rows_in_parts(points, start, stop, tiles, self.task_rows(points)):
            here = np.full((self._n_blocks, part.stop - part.start), -np.inf)
            sum_margins(sums.layer, masks, self._thresholds, self._blocks, rows, stop_when_on, here)
            best[:, part] = here
        return best


def lead_of_second(scores: np.ndarray) -> np.ndarray:
    """The second of two classes' scores less the first, (N,) float64."""
    with np.errstate(invalid="ignore"):
        difference = scores[:, 1] - scores[:, 0]
    # two blocks without neurons: -inf - -inf
    return np.nan_to_num(difference, copy=False, nan=0.0, posinf=np.inf, neginf=-np.inf)
