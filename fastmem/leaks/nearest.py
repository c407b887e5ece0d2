"""The training points nearest to reconstructions, and what is known of their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastmem.inputs import Points, SparseRows
from fastmem.machine.threads import ranges

_PART_VALUES = 1 << 20
"""Values that are looked at together: 8 MB."""


@dataclass(frozen=True)
class Values:
    """What is known of the values of points.

    Attributes
    ----------
    low, high : ndarray of shape (d,), float64
        The least and the greatest of each column.
    are_whole : bool
        Whether all are whole numbers.
    """

    low: np.ndarray
    high: np.ndarray
    are_whole: bool


def dense_blocks(points: Points) -> Iterator[tuple[int, np.ndarray]]:
    """The points as float64 rows, some at a time, each with the number of its first row."""
    size = max(1, min(points.max_block_rows, _PART_VALUES // points.n_features))
    for start, stop in ranges(points.n_samples, size):
        rows = points.block(start, stop)
        dense = rows.dense() if isinstance(rows, SparseRows) else rows
        yield start, np.asarray(dense, np.float64)


def values_of(points: Points) -> Values:
    """Go through all points once."""
    low = np.full(points.n_features, np.inf)
    high = -low
    are_whole = True
    for _, rows in dense_blocks(points):
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
        are_whole = are_whole and bool((rows == np.rint(rows)).all())
    return Values(low, high, are_whole)


def nearest_rows(
    points: Points, targets: np.ndarray, among: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the points nearest to each target: of all, and of those that it could be.

    Parameters
    ----------
    points : Points
    targets : ndarray of shape (B, d), float64
    among : ndarray of shape (B, N), bool

    Returns
    -------
    ndarray of shape (B,), int64
        The nearest row of all; of equals the first.
    ndarray of shape (B,), int64
        The nearest row among those, or -1 where there is none,
    ndarray of shape (B,), float64
        and its distance.
    """
    nearest, own = np.full(len(targets), -1), np.full(len(targets), -1)
    least, least_own = np.full(len(targets), np.inf), np.full(len(targets), np.inf)
    for start, rows in dense_blocks(points):
        for b, target in enumerate(targets):
            gaps = ((rows - target) ** 2).sum(axis=1)
            place = int(gaps.argmin())
            if gaps[place] < least[b]:
                nearest[b], least[b] = start + place, gaps[place]
            gaps[~among[b, start : start + len(rows)]] = np.inf
            place = int(gaps.argmin())
            if gaps[place] < least_own[b]:
                own[b], least_own[b] = start + place, gaps[place]
    return nearest, own, np.sqrt(least_own)
