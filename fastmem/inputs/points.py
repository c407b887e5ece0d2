"""Checked points, handed out in blocks of rows and never copied as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fastmem.inputs.measures import MeasuresElsewhere
from fastmem.machine.arrays import frozen
from fastmem.machine.threads import ranges

BLOCK_BYTES = 1 << 24
MOST_COPIED = 64 << 20
"""Bytes of points that may be copied to one array, where that saves time."""
_TASK_VALUES = 1 << 21
"""Values that are summed at a time. A block of so many is never beyond ``max_block_rows``, so that
sums, and with them networks, do not depend on how the points are stored."""


class Points:
    """Checked points, handed out in blocks of rows and never copied as a whole.

    Made by `check_points`. Blocks are C-contiguous, aligned, native and flagged read-only, so a
    compiled kernel sees one array type a dtype. This class serves arrays that are all this
    already: its blocks are views.

    Attributes
    ----------
    n_samples, n_features : int
        The shape.
    dtype : numpy.dtype
        float32 or float64: what blocks hold.
    feature_names : list of str or None
        The column names of a data frame, where all of them are strings.
    max_block_rows : int
        A block of at most so many rows takes 16 MiB or less beyond the input, or is one row.
    """

    __slots__ = (
        "__weakref__", "_source", "dtype", "feature_names", "max_block_rows", "n_features",
        "n_samples",
    )  # fmt: skip
    is_sparse = False

    def __init__(self, source: np.ndarray) -> None:
        self._source: Any = frozen(source.view())
        self.n_samples, self.n_features = source.shape
        self.dtype = source.dtype
        self.feature_names: list[str] | None = None
        self.max_block_rows: int = self.n_samples or 1

    @property
    def array(self) -> np.ndarray | None:
        """All points as kernels take them, (n_samples, n_features); None where only blocks are."""
        source: np.ndarray = self._source
        return source

    @property
    def elsewhere(self) -> MeasuresElsewhere | None:
        """What measures the points where they are, if that is not here."""
        return None

    @property
    def is_one_array(self) -> bool:
        """Whether the points are in one array, here or if they were here."""
        return self.array is not None

    @property
    def row_values(self) -> int:
        """Values of a row that are stored and multiplied: its features, or its mean nonzeros."""
        return self.n_features

    def used_columns(self) -> np.ndarray | None:
        """Return the columns that are not all zeros, ascending, or None where most may be."""
        return None

    def block(self, start: int, stop: int) -> Any:
        """Return rows ``start`` to ``stop`` (exclusive), shape (stop - start, n_features).

        An ndarray, or `SparseRows` where ``is_sparse``.
        """
        view: np.ndarray = self._source[start:stop]
        return view

    def take(self, indices: np.ndarray) -> Any:
        """Return the rows at ``indices`` (from 0, any order), (len(indices), n_features)."""
        return frozen(self._source.take(indices, axis=0))

    def dense(self, indices: np.ndarray) -> np.ndarray:
        """Return the rows at ``indices`` as an ndarray, (len(indices), n_features)."""
        rows = self.take(indices)
        return rows.dense() if self.is_sparse else rows

    def at_hand(self, indices: np.ndarray) -> Points:
        """Return points of which the rows at ``indices`` can be taken at once, one by one."""
        return self


class ConvertedPoints(Points):
    """Points whose blocks are copied out: any strides, byte order or real dtype."""

    __slots__ = ()
    array = None

    def __init__(self, source: Any, shape: Sequence[int], dtype: np.dtype) -> None:
        self._source = source
        self.n_samples, self.n_features = shape
        self.dtype = dtype
        self.feature_names = None
        self.max_block_rows = max(1, BLOCK_BYTES // (self.n_features * dtype.itemsize))

    def block(self, start: int, stop: int) -> np.ndarray:
        """Return rows as in `Points`, copied."""
        return frozen(self._rows(slice(start, stop)))

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Return rows as in `Points`, copied."""
        return frozen(self._rows(np.asarray(indices)))

    def _rows(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.array(self._source[rows], dtype=self.dtype, order="C")


class ColumnPoints(ConvertedPoints):
    """Points in data frames: batches of rows, each an array (rows,) or (rows, k) a column."""

    __slots__ = ("_starts",)

    def __init__(self, source: Any, shape: Sequence[int], dtype: np.dtype) -> None:
        super().__init__(source, shape, dtype)
        self._starts = _starts(np.array([len(batch[0]) for batch in source]))

    @property
    def batches(self) -> list[list[np.ndarray]]:
        """Batches of rows, each an array (rows,) or (rows, k) a column."""
        return list(self._source)

    def _rows(self, rows: slice | np.ndarray) -> np.ndarray:
        starts = self._starts
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self.n_samples)
            block = np.empty((max(0, stop - start), self.n_features), self.dtype)
            first = int(np.searchsorted(starts, start, side="right")) - 1
            place = start
            for i in range(first, len(self._source)):
                if place >= stop:
                    break
                end = min(stop, int(starts[i + 1]))
                part = block[place - start : end - start]
                _fill(part, self._source[i], slice(place - int(starts[i]), end - int(starts[i])))
                place = end
            return block
        block = np.empty((len(rows), self.n_features), self.dtype)
        if len(self._source) == 1:
            _fill(block, self._source[0], rows)
            return block
        batches = np.searchsorted(starts, rows, side="right") - 1
        if len(rows) and (np.diff(batches) >= 0).all():  # as those of one class are
            bounds = np.flatnonzero(np.diff(batches, prepend=-1, append=len(starts)))
            for start, stop in pairwise(bounds.tolist()):
                i = int(batches[start])
                _fill(block[start:stop], self._source[i], rows[start:stop] - starts[i])
            return block
        for i in np.unique(batches).tolist():
            chosen = batches == i
            part = np.empty((np.count_nonzero(chosen), self.n_features), self.dtype)
            _fill(part, self._source[i], rows[chosen] - starts[i])
            block[chosen] = part
        return block


def _fill(block: np.ndarray, columns: Sequence[np.ndarray], rows: slice | np.ndarray) -> None:
    """Write some rows of columns, of one or several features each, into a block."""
    j = 0
    for column in columns:
        if column.ndim == 1:
            block[:, j] = column[rows]
            j += 1
        else:
            block[:, j : j + column.shape[1]] = column[rows]
            j += column.shape[1]


class SparsePoints(ConvertedPoints):
    """Points in a checked CSR matrix; only the rows asked for are densified."""

    __slots__ = ("has_duplicates",)
    has_duplicates: bool

    def _rows(self, rows: slice | np.ndarray) -> np.ndarray:
        bounds = self._source.indptr
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self.n_samples)
            counts = np.diff(bounds[start : max(start, stop) + 1])
            which: Any = slice(bounds[start], bounds[max(start, stop)])
        else:
            starts = bounds[rows].astype(np.int64)
            counts = bounds[rows + 1] - starts
            which = np.arange(counts.sum()) + np.repeat(starts + counts - counts.cumsum(), counts)
        block = np.zeros((len(counts), self.n_features), self.dtype)
        cells = np.repeat(np.arange(len(counts)) * self.n_features, counts)
        cells += self._source.indices[which]
        entries = self._source.data[which]  # these conversions are exact
        if self.has_duplicates:
            np.add.at(block.reshape(-1), cells, entries)
        else:
            block.reshape(-1)[cells] = entries
        return block


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Rows as ``kernels.sparse`` takes them: columns ascend and occur once; zeros may be stored.

    Attributes
    ----------
    values : ndarray of shape (nonzeros,), float32 or float64
    columns : ndarray of shape (nonzeros,), int32 (int64 beyond 2^31 features)
    starts : ndarray of shape (rows + 1,), int64
        From 0; the nonzeros of row i are starts[i]..starts[i + 1] - 1.
    n_features : int
    """

    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    n_features: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def dense(self) -> np.ndarray:
        """Return the rows as an ndarray of shape (rows, n_features)."""
        rows = np.zeros((len(self), self.n_features), self.values.dtype)
        rows[np.repeat(np.arange(len(self)), np.diff(self.starts)), self.columns] = self.values
        return frozen(rows)


class NarrowPoints(Points):
    """Points in a checked CSR matrix that are mostly zeros: handed out as `SparseRows`."""

    __slots__ = ()
    is_sparse = True
    array = None

    def __init__(self, matrix: Any, dtype: np.dtype, has_duplicates: bool) -> None:
        self._source = _canonical(matrix, dtype) if has_duplicates else matrix
        self.n_samples, self.n_features = matrix.shape
        self.dtype = dtype
        self.feature_names = None
        # a copy of a block: values, and columns of 4 or 8 bytes
        self.max_block_rows = max(1, BLOCK_BYTES // (16 * self.row_values))

    @property
    def row_values(self) -> int:
        """Mean nonzeros of a row, rounded up."""
        return 1 + int(self._source.indptr[-1]) // max(1, self.n_samples)

    def block(self, start: int, stop: int) -> SparseRows:
        """Return rows as in `Points`, sparse."""
        bounds = self._source.indptr
        start, stop, _ = slice(start, stop).indices(self.n_samples)
        stop = max(start, stop)
        which = slice(bounds[start], bounds[stop])
        starts = _starts(np.diff(bounds[start : stop + 1]))
        return self._rows(self._source.data[which], self._source.indices[which], starts)

    def used_columns(self) -> np.ndarray | None:
        """Return the columns that occur, or None where most columns may."""
        if 2 * int(self._source.indptr[-1]) > self.n_features:
            return None
        return np.unique(self._source.indices).astype(np.int64)

    def take(self, indices: np.ndarray) -> SparseRows:
        """Return rows as in `Points`, sparse."""
        from fastmem.kernels.sparse import take_rows  # this module needs NumPy only

        rows = np.asarray(indices)
        bounds = self._source.indptr
        starts = _starts(bounds[rows + 1] - bounds[rows])
        data, columns = self._source.data, self._source.indices
        if data.dtype != self.dtype:  # kernels are compiled for two dtypes only
            which = np.arange(starts[-1]) + np.repeat(bounds[rows] - starts[:-1], np.diff(starts))
            return self._rows(data[which], columns[which], starts)
        values = np.empty(starts[-1], self.dtype)
        places = np.empty(starts[-1], columns.dtype)
        data, columns, bounds, rows = map(frozen, (data, columns, bounds, rows))
        take_rows(data, columns, bounds, rows, starts, values, places)
        return self._rows(values, places, starts)

    def _rows(self, data: np.ndarray, indices: np.ndarray, starts: np.ndarray) -> SparseRows:
        kind = np.int32 if self.n_features < 1 << 31 else np.int64
        values = frozen(np.ascontiguousarray(data, self.dtype))
        columns = frozen(np.ascontiguousarray(indices, kind))
        return SparseRows(values, columns, frozen(starts), self.n_features)


class PointsOfPoints(Points):
    """Points made of others as they are handed out; those say which columns are used.

    Parameters
    ----------
    points : Points
    n_samples : int
    dtype : numpy.dtype
    """

    __slots__ = ("_points", "is_sparse")
    array = None

    def __init__(self, points: Points, n_samples: int, dtype: np.dtype) -> None:
        self._points = points
        self.n_samples, self.n_features = n_samples, points.n_features
        self.dtype, self.is_sparse = dtype, points.is_sparse
        self.feature_names = points.feature_names
        self.max_block_rows = points.max_block_rows

    @property
    def row_values(self) -> int:
        """Values of a row, as of the other points."""
        return self._points.row_values

    def used_columns(self) -> np.ndarray | None:
        """Return columns as in `Points`, those that are used by any of the other points."""
        return self._points.used_columns()


class SomePoints(PointsOfPoints):
    """Some rows of points, in any order."""

    __slots__ = ("_rows",)

    def __init__(self, points: Points, rows: np.ndarray) -> None:
        super().__init__(points, len(rows), points.dtype)
        self._rows = rows

    def block(self, start: int, stop: int) -> Any:
        """Return rows as in `Points`, copied."""
        return self._points.take(self._rows[start:stop])

    def take(self, indices: np.ndarray) -> Any:
        """Return rows as in `Points`, copied."""
        return self._points.take(self._rows[indices])


def some_points(points: Points, rows: np.ndarray) -> Points:
    """Return some rows of points; in one array where they are dense and few."""
    if not are_copied(points, len(rows)):
        return SomePoints(points, rows)
    some = Points(points.take(rows))
    some.feature_names = points.feature_names
    return some


def are_copied(points: Points, n_rows: int) -> bool:
    """Whether `some_points` copies so many rows."""
    size = n_rows * points.n_features * points.dtype.itemsize
    return not points.is_sparse and size <= 2 * BLOCK_BYTES


def fits_one_array(points: Points) -> bool:
    """Whether points are in one array, or are dense and few enough to be copied to one."""
    size = points.n_samples * points.n_features * points.dtype.itemsize
    return points.is_one_array or (not points.is_sparse and size <= MOST_COPIED)


def in_one_array(points: Points) -> Points:
    """Return dense points whose ``array`` is there: copied, where they came in another way."""
    if points.array is not None:
        return points
    size = points.max_block_rows
    whole = np.empty((points.n_samples, points.n_features), points.dtype)
    for start, stop in ranges(points.n_samples, size):
        whole[start:stop] = points.block(start, stop)
    copied = Points(whole)
    copied.feature_names = points.feature_names
    return copied


def _starts(counts: np.ndarray) -> np.ndarray:
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


def _canonical(matrix: Any, dtype: np.dtype) -> Any:
    """Copy a CSR matrix with ascending columns, duplicates summed in the order they stand in."""
    from scipy import sparse

    n_samples = matrix.shape[0]
    size = max(1, BLOCK_BYTES * n_samples // (64 * max(1, int(matrix.indptr[-1]))))
    values, columns, counts = [], [], []
    for start in range(0, n_samples, size):
        bounds = matrix.indptr[start : start + size + 1].astype(np.int64)
        which = slice(bounds[0], bounds[-1])
        entries = matrix.data[which].astype(dtype)
        rows = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        order = np.lexsort((matrix.indices[which], rows))  # stable
        cells = np.stack([rows, matrix.indices[which]])[:, order]
        new = np.ones(len(order), bool)
        new[1:] = (cells[:, 1:] != cells[:, :-1]).any(axis=0)
        sums = np.zeros(np.count_nonzero(new), dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            np.add.at(sums, np.cumsum(new) - 1, entries[order])
        values.append(sums)
        columns.append(cells[1, new].astype(matrix.indices.dtype))
        counts.append(np.bincount(cells[0, new], minlength=len(bounds) - 1))
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    parts = (np.concatenate(values), np.concatenate(columns), bounds)
    return sparse.csr_matrix(parts, shape=matrix.shape, copy=False)


def row_ranges(points: Points) -> list[tuple[int, int]]:
    """Ranges of rows in which points are summed and hashed: the same however they are stored."""
    size = max(1, _TASK_VALUES // points.row_values)
    if points.is_sparse:  # their sums are made in one order, whatever the ranges
        size = min(size, points.max_block_rows)
    return ranges(points.n_samples, size)
