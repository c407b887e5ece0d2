"""How near training points, and others, are to the neurons of their class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.inputs.points import some_points
from fastmem.network.margins import margins_of
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.patterns.words import rows_of
from fastmem.second_layer.cover_layer import CoverLayer


@dataclass(frozen=True)
class OwnCounts:
    """Counts of points at the neurons of their class.

    Attributes
    ----------
    score : ndarray of shape (N,), float64
        The largest 1 - c / m over the neurons (u, m) of the point's class, where c = <u, a(x)>: 1
        where a mask misses the point wholly; -inf for a class without neurons.
    in_full : ndarray of shape (N,), bool
        Whether a mask is 1 - Phi(x), the whole pattern.
    n_zero : ndarray of shape (m,), int64
        Points of the neuron's class with count 0.
    is_full : ndarray of shape (m,), bool
        Whether the neuron's mask is the whole pattern of one of the points.
    """

    score: np.ndarray
    in_full: np.ndarray
    n_zero: np.ndarray
    is_full: np.ndarray


def own_counts(
    points: Points, codes: np.ndarray, first: Hyperplanes, second: CoverLayer, n_threads: int
) -> OwnCounts:
    """Count all points at the neurons of their class, in one pass a class.

    Parameters
    ----------
    points : Points
        Scaled as the network's are.
    codes : ndarray of shape (N,), integer
        The class of each point, as in ``second.owners``.
    first, second
        The layers of a network.
    n_threads : int
    """
    score = np.full(points.n_samples, -np.inf)
    in_full = np.zeros(points.n_samples, np.bool_)
    n_zero = np.zeros(len(second), np.int64)
    is_full = np.zeros(len(second), np.bool_)
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        neurons = np.flatnonzero(second.owners == code)
        if len(neurons):
            own = CoverLayer(
                second.masks[neurons], second.thresholds[neurons], second.owners[neurons]
            )
            counts = _counts(some_points(points, rows), first, own, n_threads)
            score[rows], in_full[rows] = counts.score, counts.in_full
            n_zero[neurons], is_full[neurons] = counts.n_zero, counts.is_full
    return OwnCounts(score, in_full, n_zero, is_full)


def _counts(points: Points, first: Hyperplanes, second: CoverLayer, n_threads: int) -> OwnCounts:
    """Count points of one class at its neurons."""
    # each neuron is a block of its own, whose margin is m - c
    margins = margins_of(first, second, np.arange(len(second)), len(second))
    levels = second.thresholds.astype(np.float64)[:, None]
    sizes = np.bitwise_count(second.masks).sum(axis=1, dtype=np.int64)[:, None]
    score = np.empty(points.n_samples)
    in_full = np.empty(points.n_samples, np.bool_)
    found: list[tuple[np.ndarray, np.ndarray]] = []

    def use(start: int, stop: int, tiles: np.ndarray) -> None:
        here = margins.of(points, start, stop, tiles, False)
        ones = np.bitwise_count(rows_of(tiles, stop - start)).sum(axis=1, dtype=np.int64)
        is_zero = here == levels
        # a mask that misses a point wholly is its pattern's complement if it is as large
        is_whole = is_zero & (sizes == len(first) - ones)
        here /= levels
        score[start:stop] = here.max(axis=0)
        in_full[start:stop] = is_whole.any(axis=0)
        found.append((is_zero.sum(axis=1), is_whole.any(axis=1)))

    tiles_of_blocks(points, first, n_threads, use, margins.task_rows(points))
    n_zero = np.sum([zeros for zeros, _ in found], axis=0)
    return OwnCounts(score, in_full, n_zero, np.logical_or.reduce([full for _, full in found]))
