"""Where the points are: mean, radius and largest norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs import Points, SparseRows
from fastmem.inputs.measures import Measures
from fastmem.inputs.points import row_ranges
from fastmem.kernels.rows import add_whole_columns, largest_squares, raise_extremes
from fastmem.kernels.sparse import (
    add_whole_sparse_columns,
    largest_sparse_squares,
    raise_sparse_extremes,
)
from fastmem.machine.threads import run_tasks

_LARGEST = 2.0**990
"""Coordinates beyond this could overflow a bias."""
_SAMPLE = 1024
_SAMPLE_VALUES = 1 << 20
"""Values of sparse points that are made dense at a time: 8 MB."""


_DIGITS = 30
"""Binary digits of the whole numbers that coordinates are rounded to for their sums, which fit 64
bits for 2^32 rows; that moves a mean by less than 2^-31 of its column's half width."""
_PARTS = 8
"""The centre is moved by less than 1 / so many of the radius: a unit is at most this share of the
radius / sqrt(d), and each coordinate half a unit off at most. Widths stay the same
(fastmem/docs/pages/measurements.md)."""


@dataclass(frozen=True)
class Extent:
    """Where points are.

    Attributes
    ----------
    mean : ndarray of shape (d,), float64
        The same in whatever order, and on however many machines, the points are summed up.
    radius : float
        Largest distance from it.
    norm : float
        Largest norm.
    """

    mean: np.ndarray
    radius: float
    norm: float

    @cached_property
    def centre(self) -> np.ndarray:
        """The mean in few digits, which a model file holds: multiples of a power of two."""
        if not self.radius > 0:
            return self.mean
        size = self.radius / (_PARTS * math.sqrt(len(self.mean)))
        exponent = max(math.frexp(size)[1] - 1, -1022)
        whole = np.rint(np.ldexp(self.mean, -exponent))
        centre: np.ndarray = np.ldexp(whole, exponent) + 0.0
        return centre if np.isfinite(centre).all() else self.mean


def extent_of(points: Points, n_threads: int) -> Extent:
    """Mean and radius of the points.

    Coordinates are summed as whole multiples of a power of two from the middle of their column, so
    that the mean depends neither on ``n_threads`` nor on the order of the rows. Sparse rows are
    added by one thread, into one sum: a sum a range could be larger than the rows.
    """
    if points.elsewhere is not None:
        return measured_extent(points.elsewhere)
    return measured_extent(PointMeasures(points, n_threads))


def measured_extent(points: Measures) -> Extent:
    """Mean and radius of the points that are measured."""
    lows, highs = points.extremes()
    highest = max(float(np.abs(lows).max()), float(np.abs(highs).max()))
    if highest > _LARGEST:
        raise InvalidInputError(
            f"X has a coordinate of magnitude {highest:.3g}, beyond {_LARGEST:.3g} where "
            f"biases would overflow; divide X by a power of two"
        )
    middle = lows / 2 + highs / 2
    away = np.maximum(highs - middle, middle - lows)
    digits = np.minimum(_DIGITS - np.frexp(away)[1], 1000)
    sums = points.sums(middle, digits)
    mean = middle + np.ldexp(sums / points.n_samples, -digits)
    # a power of two: squares of scaled coordinates neither overflow nor vanish
    exponent = math.frexp(float(highest))[1] if highest else 0
    scale = 2.0 ** -max(exponent, -1000)
    norm, radius = np.sqrt(points.largest_squares(mean, scale)) / scale
    return Extent(mean, float(radius), float(norm))


class PointMeasures:
    """`Measures` of points that are here, on several threads."""

    def __init__(self, points: Points, n_threads: int) -> None:
        self._points, self._n_threads = points, n_threads
        self._tasks = row_ranges(points)
        self.n_samples = points.n_samples

    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """See Measures."""
        return _extremes(self._points, self._tasks, self._n_threads)

    def sums(self, middle: np.ndarray, digits: np.ndarray) -> np.ndarray:
        """See Measures."""
        scales = np.ldexp(1.0, digits)

        def add(block: np.ndarray | SparseRows, sums: np.ndarray) -> None:
            if isinstance(block, SparseRows):
                stored = block.values, block.columns, block.starts
                add_whole_sparse_columns(*stored, middle, scales, sums)
            else:
                add_whole_columns(block, middle, scales, sums)

        points = self._points
        start = np.zeros(points.n_features, np.int64)
        sums = _reduced(points, self._tasks, self._n_threads, start, add, np.add)
        if points.is_sparse:
            sums += points.n_samples * np.rint(-middle * scales).astype(np.int64)
        return sums

    def largest_squares(self, mean: np.ndarray, scale: float) -> tuple[float, float]:
        """See Measures."""
        points, tasks = self._points, self._tasks
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

        run_tasks(measure, range(len(tasks)), self._n_threads)
        norm, radius = squares.max(axis=0, initial=0.0)
        return float(norm), float(radius)


def _extremes(
    points: Points, tasks: list[tuple[int, int]], n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest number of each column, (d,) float64 each."""
    counts = np.zeros(points.n_features if points.is_sparse else 0, np.int64)

    def raise_(block: np.ndarray | SparseRows, extremes: np.ndarray) -> None:
        if isinstance(block, SparseRows):
            raise_sparse_extremes(block.values, block.columns, block.starts, extremes, counts)
        else:
            raise_extremes(block, extremes)

    start = np.full((2, points.n_features), -np.inf)
    extremes = _reduced(points, tasks, n_threads, start, raise_, np.maximum)
    if points.is_sparse:  # what is not stored is 0
        extremes[:, counts < points.n_samples] = np.maximum(
            extremes[:, counts < points.n_samples], 0.0
        )
    return -extremes[0], extremes[1]


def _reduced(
    points: Points,
    tasks: list[tuple[int, int]],
    n_threads: int,
    start: np.ndarray,
    take_in: Callable[[np.ndarray | SparseRows, np.ndarray], None],
    join: np.ufunc,
) -> np.ndarray:
    """Numbers like ``start``: take_in(block, numbers) for each range of rows, ``join`` of all."""
    found = np.stack([start] * (1 if points.is_sparse else max(1, len(tasks))))

    def work(index: int) -> None:
        take_in(points.block(*tasks[index]), found[0 if points.is_sparse else index])

    run_tasks(work, range(len(tasks)), 1 if points.is_sparse else n_threads)
    joined: np.ndarray = join.reduce(found, axis=0)
    return joined


def sample_norms(points: Points, centre: np.ndarray) -> np.ndarray:
    """Distances of up to 1,024 points, evenly spaced among all, from a centre (d,): float64.

    The same however the points are stored and whatever the number of threads.
    """
    size = min(points.n_samples, _SAMPLE)
    rows = np.arange(size, dtype=np.int64) * points.n_samples // size
    norms = np.empty(size)
    step = max(1, _SAMPLE_VALUES // points.n_features)
    for start in range(0, size, step):
        block = points.dense(rows[start : start + step]).astype(np.float64)
        with np.errstate(over="ignore"):
            block -= centre
        # a power of two, so that no square overflows or vanishes
        exponent = int(np.frexp(np.abs(block).max(initial=0.0))[1])
        np.ldexp(block, -exponent, out=block)
        norms[start : start + step] = np.ldexp(
            np.sqrt(np.einsum("ij,ij->i", block, block)), exponent
        )
    return norms
