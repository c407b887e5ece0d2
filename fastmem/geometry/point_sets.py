"""Points as the distance kernels take them, and the units in which they measure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.hyperplanes.extent import extent_of
from fastmem.inputs import Points
from fastmem.kernels.distances import MARKS, TILE, Balls, PointTiles

_SPREAD = 256
_ROUND = 2.0**-53
_MOST_DENSE_BYTES = 1 << 32

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class Units:
    """The units of all distances: the mean of all points, a scale near 1 / R, directions of marks.

    ``radius`` is R in them, and ``slack`` what a computed distance may be off, as a share of it.
    """

    def __init__(self, points: Points, n_threads: int) -> None:
        where = extent_of(points, n_threads)
        self.mean = where.mean
        self.scale = 2.0 ** -max(math.frexp(where.radius)[1], -1000)
        self.radius = where.radius * self.scale
        self.slack = (points.n_features + 8) * _ROUND
        self.directions: Floats | None = None
        if points.n_features > MARKS:
            rows = np.linspace(0, points.n_samples - 1, min(_SPREAD, points.n_samples))
            some = self.scaled(points.dense(rows.astype(np.int64)))
            # of the small matrix: LAPACK takes seconds for the large one where cores are busy
            squares, vectors = np.linalg.eigh(some @ some.T)
            kept = squares > 1e-6 * squares[-1]
            vectors = vectors[:, kept][:, -MARKS:] / np.sqrt(squares[kept][-MARKS:])
            self.directions = np.zeros((points.n_features, MARKS))
            # orthonormal but for rounding, so made shorter by more than that
            self.directions[:, : vectors.shape[1]] = (1 - 1e-6) * (some.T @ vectors)

    def scaled(self, some: NDArray[Any]) -> Floats:
        """Scaled points about the mean, (m, d) float64."""
        scaled: Floats = (some.astype(np.float64) - self.mean) * self.scale
        return scaled

    def marks(self, some: NDArray[Any]) -> NDArray[np.float32]:
        """Marks of points, (m, p) float32."""
        scaled = self.scaled(some)
        if self.directions is not None:
            scaled = scaled @ self.directions
        return scaled.astype(np.float32)


class PointSet:
    """``n`` points in the arrays of `kernels.distances.PointTiles`, of which there may be more."""

    def __init__(self, n: int, n_features: int, dtype: Any) -> None:
        n_tiles, n_marks = max(1, -(-n // TILE)), min(n_features, MARKS)
        self.n = n
        self.tiles = np.zeros((n_tiles, n_features, TILE), dtype)
        self.marks = np.zeros((n_tiles, n_marks, TILE), np.float32)
        self.boxes = np.zeros((n_tiles, 2, n_marks), np.float32)

    @property
    def point_tiles(self) -> PointTiles:
        """What kernels take."""
        return PointTiles(self.tiles, self.marks, self.boxes)

    def append(self, point: Floats, mark: NDArray[np.float32]) -> None:
        """Add one point (d,) and its mark (p,); the arrays are doubled where they are full."""
        if self.n == len(self.tiles) * TILE:
            for name in ("tiles", "marks", "boxes"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        tile, column = divmod(self.n, TILE)
        self.tiles[tile, :, column] = point
        self.marks[tile, :, column] = mark
        low = mark if column == 0 else np.minimum(self.boxes[tile, 0], mark)
        high = mark if column == 0 else np.maximum(self.boxes[tile, 1], mark)
        self.boxes[tile, 0], self.boxes[tile, 1] = low, high
        self.n += 1

    def coordinates(self, places: Rows) -> Floats:
        """Coordinates of the points ``places``, (m, d) float64."""
        tile, column = np.divmod(places, TILE)
        return self.tiles[tile, :, column].astype(np.float64, order="C")

    def balls_around(self, places: Rows, limits: Floats | None = None) -> Balls:
        """Balls around any of the points; without limits each holds all points."""
        tile, column = np.divmod(places, TILE)
        marks = self.marks[tile, :, column].astype(np.float32, order="C")
        if limits is None:
            limits = np.full(len(places), np.inf)
        return Balls(self.coordinates(places), marks, limits)


def refuse_large(points: Points, what: str) -> None:
    """Raise InvalidInputError where sparse points are too large as dense ones, which what needs."""
    size = points.n_samples * points.n_features * points.dtype.itemsize
    if points.is_sparse and size > _MOST_DENSE_BYTES:
        raise InvalidInputError(
            f"X is a sparse matrix of {points.n_samples:,} rows and {points.n_features:,} columns, "
            f"which would take {size / 2**30:.1f} GiB as the dense array that {what} need, more "
            f"than {_MOST_DENSE_BYTES >> 30} GiB; pass fewer rows or columns"
        )
