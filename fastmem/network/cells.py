"""Cells: the class with the largest margin wins, and one that was left out where all are off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.network.in_order import order_pays, run_in_order
from fastmem.network.margins import CountMargins, margins_of
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.patterns.words import tiles_of
from fastmem.second_layer.cover_layer import CoverLayer


class Cells:
    """Margins of points for all classes.

    Parameters
    ----------
    first, second
        Layers of a network.
    covered : tuple of int
        The classes that have a block of neurons, ascending.
    n_classes : int
    """

    def __init__(
        self, first: Hyperplanes, second: CoverLayer, covered: tuple[int, ...], n_classes: int
    ) -> None:
        self._first, self._covered, self._n_classes = first, covered, n_classes
        blocks = np.searchsorted(covered, second.owners)
        self._margins = margins_of(first, second, blocks, len(covered))

    def codes(self, points: Points, n_threads: int) -> np.ndarray:
        """The class with the largest score of each point, of equals the first; (N,) intp."""
        codes = np.empty(points.n_samples, np.intp)
        # with one block of two classes, on or off is all that matters
        only_on = len(self._covered) == 1 and self._n_classes == 2

        def keep(rows: slice | np.ndarray, best: np.ndarray) -> None:
            if only_on:
                codes[rows] = np.where(best[0] > 0, self._covered[0], 1 - self._covered[0])
            else:
                codes[rows] = self._scores(best).argmax(axis=1)

        self._run(points, n_threads, only_on, keep)
        return codes

    def codes_of_patterns(self, rows: np.ndarray) -> np.ndarray:
        """As `codes`, of patterns (P, n_words) uint64; not with ReLU activations."""
        assert isinstance(self._margins, CountMargins)
        best = self._margins.of_tiles(tiles_of(rows), len(rows))
        return self._scores(best).argmax(axis=1)

    def scores(self, points: Points, n_threads: int) -> np.ndarray:
        """Margins of all classes, (N, K) float64."""
        scores = np.empty((points.n_samples, self._n_classes))

        def keep(rows: slice | np.ndarray, best: np.ndarray) -> None:
            scores[rows] = self._scores(best)

        self._run(points, n_threads, False, keep)
        return scores

    def _scores(self, best: np.ndarray) -> np.ndarray:
        scores = np.full((best.shape[1], self._n_classes), self._margins.left_out)
        scores[:, self._covered] = best.T
        return scores

    def _run(
        self,
        points: Points,
        n_threads: int,
        stop_when_on: bool,
        keep: Callable[[slice | np.ndarray, np.ndarray], object],
    ) -> None:
        """Stream blocks of rows through both layers; keep(rows, best) takes the margins of some."""
        margins = self._margins
        if isinstance(margins, CountMargins) and order_pays(
            points, self._first, margins, stop_when_on
        ):
            run_in_order(points, self._first, margins, n_threads, stop_when_on, keep)
            return

        def work(start: int, stop: int, tiles: np.ndarray) -> None:
            keep(slice(start, stop), margins.of(points, start, stop, tiles, stop_when_on))

        tiles_of_blocks(points, self._first, n_threads, work, margins.task_rows(points))
