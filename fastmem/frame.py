"""Where the points are: mean, radius, and equal points with different labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastmem.inputs import InvalidInputError, Points
from fastmem.kernels.rows import add_columns, fingerprints, largest_squares
from fastmem.kernels.sparse import (
    add_sparse_columns,
    largest_sparse_squares,
    sparse_fingerprints,
)
from fastmem.kernels.threads import ranges, run_tasks

_TASK_VALUES = 1 << 21
"""Values that are summed at a time. A block of so many is never beyond ``max_block_rows``, so that
sums, and with them networks, do not depend on how the points are stored."""
_LARGEST = 2.0**990
"""Coordinates beyond this could overflow a bias."""


class ContradictionError(InvalidInputError):
    """Equal points with different labels: no function can be right on all of them.

    Attributes
    ----------
    pairs : list of (int, int)
        The first few such pairs of rows.
    count : int
        Points that share their coordinates with a point of another class.
    """

    def __init__(self, message: str, pairs: list[tuple[int, int]], count: int) -> None:
        super().__init__(message)
        self.pairs, self.count = pairs, count


@dataclass(frozen=True)
class Extent:
    """Mean (d,) float64, largest distance from it, and largest norm."""

    mean: np.ndarray
    radius: float
    norm: float


def _tasks(points: Points) -> list[tuple[int, int]]:
    size = max(1, _TASK_VALUES // points.row_values)
    if points.is_sparse:  # their sums are made in one order, whatever the ranges
        size = min(size, points.max_block_rows)
    return ranges(points.n_samples, size)


def extent(points: Points, n_threads: int) -> Extent:
    """Mean and radius of the points.

    Sums are made for fixed ranges of rows and added in order: the same for any ``n_threads``.
    Sparse rows are added by one thread, into one sum: a sum a range could be larger than the rows.
    """
    tasks = _tasks(points)
    sums = np.zeros((1 if points.is_sparse else len(tasks), points.n_features))
    largest = np.zeros(len(tasks))

    def sum_up(index: int) -> None:
        block, share = points.block(*tasks[index]), 1.0 / points.n_samples
        if points.is_sparse:
            largest[index] = add_sparse_columns(
                block.values, block.columns, block.starts, share, sums[0]
            )
        else:
            largest[index] = add_columns(block, share, sums[index])

    run_tasks(sum_up, range(len(tasks)), 1 if points.is_sparse else n_threads)
    if largest.max() > _LARGEST:
        raise InvalidInputError(
            f"X has a coordinate of magnitude {largest.max():.3g}, beyond {_LARGEST:.3g} where "
            f"biases would overflow; divide X by a power of two"
        )
    mean = sums.sum(axis=0)
    # a power of two: squares of scaled coordinates neither overflow nor vanish
    exponent = math.frexp(float(largest.max()))[1] if largest.any() else 0
    scale = 2.0 ** -max(exponent, -1000)
    squares = np.zeros((len(tasks), 2))
    scaled_mean = scale * mean
    of_mean = float(np.sum(scaled_mean * scaled_mean))

    def measure(index: int) -> None:
        block = points.block(*tasks[index])
        if points.is_sparse:
            squares[index] = largest_sparse_squares(
                block.values, block.columns, block.starts, mean, of_mean, scale
            )
        else:
            squares[index] = largest_squares(block, mean, scale)

    run_tasks(measure, range(len(tasks)), n_threads)
    norm, radius = np.sqrt(squares.max(axis=0)) / scale
    return Extent(mean, float(radius), float(norm))


def _hashes(points: Points, n_threads: int) -> np.ndarray:
    hashes = np.empty(points.n_samples, np.uint64)

    def work(task: tuple[int, int]) -> None:
        block, out = points.block(*task), hashes[task[0] : task[1]]
        if points.is_sparse:
            sparse_fingerprints(block.values, block.columns, block.starts, out)
        else:
            fingerprints(block, out)

    run_tasks(work, _tasks(points), n_threads)
    return hashes


def contradictions(points: Points, codes: np.ndarray, n_threads: int) -> list[np.ndarray]:
    """Groups of rows, ascending, that are equal but have more than one label.

    Only rows whose 64-bit hashes occur more than once are compared: 8 bytes a point, whatever the
    number of features, and 8 more where there are such rows.
    """
    hashes = _hashes(points, n_threads)
    hashes.sort()
    repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(repeated):
        return []
    hashes = _hashes(points, n_threads)
    rows = np.flatnonzero(np.isin(hashes, repeated))
    rows = rows[np.argsort(hashes[rows], kind="stable")]
    starts = np.searchsorted(hashes[rows], repeated)
    groups: list[np.ndarray] = []
    for members in np.split(rows, starts[1:]):
        if (codes[members] != codes[members[0]]).any():
            groups += _contradictions(points, codes, members)
    return groups


def settle_contradictions(points: Points, codes: np.ndarray, n_threads: int) -> np.ndarray:
    """Give equal points their most frequent label, of equally frequent ones the first.

    Returns codes; the same array where no points contradict each other.
    """
    groups = contradictions(points, codes, n_threads)
    if not groups:
        return codes
    settled = codes.copy()
    for group in groups:
        settled[group] = np.bincount(codes[group]).argmax()
    return settled


def refuse_contradictions(
    points: Points, codes: np.ndarray, classes: np.ndarray, n_threads: int
) -> None:
    """Raise ContradictionError where equal points have different labels."""
    groups = contradictions(points, codes, n_threads)
    if not groups:
        return
    count = sum(len(group) for group in groups)
    pairs: list[tuple[int, int]] = []
    for group in groups:
        other = group[np.flatnonzero(codes[group] != codes[group[0]])[0]]
        pairs.append((int(group[0]), int(other)))
    pairs = sorted(pairs)[:3]
    named = ", ".join(
        f"rows {i} ({classes[codes[i]]}) and {j} ({classes[codes[j]]})" for i, j in pairs
    )
    raise ContradictionError(
        f"X holds {count} points that equal a point of another label ({named}"
        f"{', ...' if count > 2 * len(pairs) else ''}); remove or relabel them, or give width= as "
        f"a number to memorise the rest",
        pairs,
        count,
    )


def _contradictions(points: Points, codes: np.ndarray, members: np.ndarray) -> list[np.ndarray]:
    """Groups of truly equal rows among ``members`` (equal hashes) with more than one label."""
    groups: dict[bytes, list[int]] = {}
    for row in members:
        key = (points.dense(np.array([row]))[0] + 0.0).tobytes()
        groups.setdefault(key, []).append(int(row))
    found = (np.array(sorted(group)) for group in groups.values())
    return [group for group in found if (codes[group] != codes[group[0]]).any()]
