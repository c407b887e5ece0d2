"""Where the points are: mean, radius and largest norm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs import Points
from fastmem.inputs.points import row_ranges
from fastmem.kernels.rows import add_columns, largest_squares
from fastmem.kernels.sparse import (
    add_sparse_columns,
    largest_sparse_squares,
)
from fastmem.machine.threads import run_tasks

_LARGEST = 2.0**990
"""Coordinates beyond this could overflow a bias."""
_SAMPLE = 1024
_SAMPLE_VALUES = 1 << 20
"""Values of sparse points that are made dense at a time: 8 MB."""


@dataclass(frozen=True)
class Extent:
    """Mean (d,) float64, largest distance from it, and largest norm."""

    mean: np.ndarray
    radius: float
    norm: float


def extent_of(points: Points, n_threads: int) -> Extent:
    """Mean and radius of the points.

    Sums are made for fixed ranges of rows and added in order: the same for any ``n_threads``.
    Sparse rows are added by one thread, into one sum: a sum a range could be larger than the rows.
    """
    tasks = row_ranges(points)
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
