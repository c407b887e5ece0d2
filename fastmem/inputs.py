"""The only place that looks at what users pass.

Every refusal is an `InvalidInputError` whose one sentence names the value, where it is and the
remedy. What passes is handed on as plain arrays that kernels may trust.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np

__all__ = [
    "InvalidInputError",
    "Points",
    "Settings",
    "SparseRows",
    "check_count",
    "check_hyperplanes",
    "check_interpolate",
    "check_known_labels",
    "check_label",
    "check_labels",
    "check_memory",
    "check_points",
    "check_radius_factor",
    "check_seed",
    "check_seeded",
    "check_structured",
    "check_threads",
    "stores_weights",
]

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_EXACT = 2**53  # every integer up to this magnitude is a float64
_SCAN = 1 << 16  # values scanned at a time: their mask stays in the second-level cache
_BLOCK_BYTES = 1 << 24
_MAX_WIDTH = 1_000_000
_MAX_THREADS = 1024
_MAX_MEMORY = 2**62
_SIZE = r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b\s*"
WEIGHT_BYTES = 1 << 28
"""Weights of more bytes are not stored, unless a memory limit says otherwise."""
AUTO_ROWS = 1024
"""Rows that a width of "auto" is taken for, before it is known."""
MEMORY_BESIDE = 256 << 20
"""Bytes that a fit takes beside its input, its sign patterns and what grows with the points."""
_SPARSE = 4
"""Rows stay sparse where at most one value in so many is not zero: 256 hyperplanes then take 0.6
to 0.85 of the time for dense rows, at one value in eight 0.35 to 0.5, at one in fifty 0.06 to 0.2
(d = 200 to 20,000)."""
_SPARSE_FEATURES = 128
STRUCTURED_FROM = 128
"""Features from which on projection="auto" takes structured hyperplanes for dense points: the first
layer then takes 0.4 times as long as Gaussian rows' at n = 2,048, 0.11 times at d = 784 (20,000
points); at d = 64 0.7 times, below nothing is gained. Widths are the same: bench.agreement."""
MAX_BLOCK = 1 << 16
"""Rows of the largest block of structured hyperplanes, and so their most features: D^1.5 = 2^24 is
the last integer up to which float32 holds all, see kernels/hadamard.py."""
_UNREADABLE = (TypeError, ValueError, RuntimeError, OverflowError)  # what np.asarray raises
_LABEL_KINDS: dict[str, tuple[type, ...]] = {  # a bool is an int in Python: bool comes first
    "bool": (bool, np.bool_),
    "int": (int, np.integer),
    "float": (float, np.floating),
    "str": (str,),
}

_Place = Callable[[Sequence[int]], str]  # index of a value -> its name in a message

_MAX_GENERATED = 1 << 21
"""Rows in all blocks: a transform takes some 40 bytes a row, whether it is used or not."""


class InvalidInputError(ValueError):
    """An argument that fastmem cannot use; the message names it, where it is and the remedy."""


def _refuse(sentence: str) -> NoReturn:
    raise InvalidInputError(sentence)


def _show(value: Any) -> str:
    """Return a short text of a value, without NumPy's type around it."""
    value = value.item() if isinstance(value, np.generic) else value
    text = str(value) if isinstance(value, np.longdouble) else repr(value)
    return " ".join(text[:57].split()) + "..." if len(text) > 60 else text.replace("\n", " ")


def _typed(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    return f"{_show(value)} ({type(value).__name__})"


def _listed(labels: np.ndarray) -> str:
    text = ", ".join(_show(label) for label in labels[:10])
    return text if len(labels) <= 10 else f"{text}, ... ({len(labels)} in all)"


def _at(name: str, index: Sequence[Any] | np.ndarray) -> str:
    return f"{name}[{', '.join(str(int(i)) for i in index)}]"


# --- points -----------------------------------------------------------------------------------


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

    __slots__ = ("_source", "dtype", "feature_names", "max_block_rows", "n_features", "n_samples")
    is_sparse = False

    def __init__(self, source: np.ndarray) -> None:
        self._source: Any = _frozen(source.view())
        self.n_samples, self.n_features = source.shape
        self.dtype = source.dtype
        self.feature_names: list[str] | None = None
        self.max_block_rows: int = self.n_samples or 1

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
        return _frozen(self._source.take(indices, axis=0))

    def dense(self, indices: np.ndarray) -> np.ndarray:
        """Return the rows at ``indices`` as an ndarray, (len(indices), n_features)."""
        rows = self.take(indices)
        return rows.dense() if self.is_sparse else rows


class _ConvertedPoints(Points):
    """Points whose blocks are copied out: any strides, byte order or real dtype."""

    __slots__ = ()

    def __init__(self, source: Any, shape: Sequence[int], dtype: np.dtype) -> None:
        self._source = source
        self.n_samples, self.n_features = shape
        self.dtype = dtype
        self.feature_names = None
        self.max_block_rows = max(1, _BLOCK_BYTES // (self.n_features * dtype.itemsize))

    def block(self, start: int, stop: int) -> np.ndarray:
        return _frozen(self._rows(slice(start, stop)))

    def take(self, indices: np.ndarray) -> np.ndarray:
        return _frozen(self._rows(np.asarray(indices)))

    def _rows(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.array(self._source[rows], dtype=self.dtype, order="C")


class _ColumnPoints(_ConvertedPoints):
    """Points in one array a column: a data frame of several dtypes."""

    __slots__ = ()

    def _rows(self, rows: slice | np.ndarray) -> np.ndarray:
        block = np.empty((len(self._source[0][rows]), self.n_features), self.dtype)
        for j, column in enumerate(self._source):
            block[:, j] = column[rows]
        return block


class _SparsePoints(_ConvertedPoints):
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
        return _frozen(rows)


class _NarrowPoints(Points):
    """Points in a checked CSR matrix that are mostly zeros: handed out as `SparseRows`."""

    __slots__ = ()
    is_sparse = True

    def __init__(self, matrix: Any, dtype: np.dtype, has_duplicates: bool) -> None:
        self._source = _canonical(matrix, dtype) if has_duplicates else matrix
        self.n_samples, self.n_features = matrix.shape
        self.dtype = dtype
        self.feature_names = None
        # a copy of a block: values, and columns of 4 or 8 bytes
        self.max_block_rows = max(1, _BLOCK_BYTES // (16 * self.row_values))

    @property
    def row_values(self) -> int:
        return 1 + int(self._source.indptr[-1]) // max(1, self.n_samples)

    def block(self, start: int, stop: int) -> SparseRows:
        bounds = self._source.indptr
        start, stop, _ = slice(start, stop).indices(self.n_samples)
        stop = max(start, stop)
        which = slice(bounds[start], bounds[stop])
        starts = _starts(np.diff(bounds[start : stop + 1]))
        return self._rows(self._source.data[which], self._source.indices[which], starts)

    def used_columns(self) -> np.ndarray | None:
        if 2 * int(self._source.indptr[-1]) > self.n_features:
            return None
        return np.unique(self._source.indices).astype(np.int64)

    def take(self, indices: np.ndarray) -> SparseRows:
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
        data, columns, bounds, rows = map(_frozen_view, (data, columns, bounds, rows))
        take_rows(data, columns, bounds, rows, starts, values, places)
        return self._rows(values, places, starts)

    def _rows(self, data: np.ndarray, indices: np.ndarray, starts: np.ndarray) -> SparseRows:
        kind = np.int32 if self.n_features < 1 << 31 else np.int64
        values = _frozen_view(np.ascontiguousarray(data, self.dtype))
        columns = _frozen_view(np.ascontiguousarray(indices, kind))
        return SparseRows(values, columns, _frozen_view(starts), self.n_features)


def _starts(counts: np.ndarray) -> np.ndarray:
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


def _canonical(matrix: Any, dtype: np.dtype) -> Any:
    """Copy a CSR matrix with ascending columns, duplicates summed in the order they stand in."""
    from scipy import sparse

    n_samples = matrix.shape[0]
    size = max(1, _BLOCK_BYTES * n_samples // (64 * max(1, int(matrix.indptr[-1]))))
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


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _frozen_view(array: np.ndarray) -> np.ndarray:
    return _frozen(array.view())


def check_points(X: Any, *, n_features: int | None = None, name: str = "X") -> Points:
    """Check a table of points and wrap it.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        float32 or float64 with any strides and byte order, or any other real dtype all of whose
        values are exact in float64; also numpy.memmap, scipy.sparse (CSR as it is, other formats
        through CSR; duplicate entries are summed), a data frame of numeric columns, nested lists.
    n_features : int, optional
        The number of columns there must be. When given, zero rows are allowed.
    name : str
        What messages call the argument.

    Returns
    -------
    Points
        float32 where X is float32 or narrower (float16, bool, 8- and 16-bit integers), else
        float64.

    Raises
    ------
    InvalidInputError
        X is not such a table, is empty, or holds NaN, an infinity, or a value that float64 cannot
        hold exactly.
    """
    # The short way, about 2 microseconds, for one-row predictions in a loop.
    if type(X) is np.ndarray and X.ndim == 2 and (X.dtype is _FLOAT64 or X.dtype is _FLOAT32):
        flags, (rows, columns) = X.flags, X.shape
        if flags.c_contiguous and flags.aligned and rows and columns:
            expected = n_features is None or columns == n_features
            if expected and (np.isfinite(X).all() if X.size <= _SCAN else _all_usable(X)):
                return Points(X)
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        return _frame_points(X, n_features, name)
    if _is_sparse(X):
        return _sparse_points(X, n_features, name)
    return _array_points(_as_array(X, name), n_features, name)


def _is_sparse(X: Any) -> bool:
    sparse = sys.modules.get("scipy.sparse")  # not imported yet: then nothing is sparse
    return sparse is not None and sparse.issparse(X)


def _as_array(X: Any, name: str) -> np.ndarray:
    """Return X as a plain array that holds the same values."""
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        masked = np.argwhere(np.ma.getmaskarray(X))
        _refuse(
            f"{_at(name, masked[0])} is masked, and {len(masked)} values in all are; "
            f"remove those rows, or fill them with {name}.filled(value)"
        )
    try:
        array = np.asarray(X)
    except _UNREADABLE as error:
        rows = X if isinstance(X, list | tuple) else []
        lengths = [len(row) if hasattr(row, "__len__") else 1 for row in rows]
        if len(set(lengths)) > 1:
            row = next(i for i, length in enumerate(lengths) if length != lengths[0])
            _refuse(
                f"row {row} of {name} has {lengths[row]} values but row 0 has {lengths[0]}; "
                f"give every row the same number of values"
            )
        sentence = f"{name} is a {type(X).__name__} that NumPy cannot read ({error})"
        raise InvalidInputError(f"{sentence}; pass an array of real numbers") from error
    if isinstance(X, list | tuple) and array.dtype.kind == "f" and (abs(array) >= _EXACT).any():
        exact = np.asarray(X, dtype=object)  # NumPy has rounded ints that stand beside floats
        rounded = np.argwhere((exact != array) & (array == array))
        if len(rounded):
            _refuse_inexact(_at(name, rounded[0]), exact[tuple(rounded[0])], name)
    return array


def _array_points(
    array: np.ndarray, n_features: int | None, name: str, place: _Place | None = None
) -> Points:
    if array.ndim == 0:
        _refuse(
            f"{name} is {_typed(array.item())}, not a table of numbers; "
            f"pass an array of shape (n_samples, n_features)"
        )
    _check_dtype(array, name)
    if array.ndim == 1:
        _refuse(
            f"{name} is one-dimensional with {len(array)} values; "
            f"pass np.asarray({name}).reshape(-1, 1) for rows of one feature "
            f"or np.asarray({name}).reshape(1, -1) for one row of {len(array)} features"
        )
    if array.ndim > 2:
        _refuse(
            f"{name} has shape {array.shape}, {array.ndim} dimensions; "
            f"pass np.reshape({name}, (len({name}), -1)), which has one row a point"
        )
    _check_shape(array.shape, n_features, name)
    _check_values(array, name, place)
    dtype = _block_dtype(array.dtype)
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return Points(array.view(dtype))  # without the dtype's metadata
    return _ConvertedPoints(array, array.shape, dtype)


def _frame_points(X: Any, n_features: int | None, name: str) -> Points:
    names = list(X.columns)
    _check_shape((len(X), len(names)), n_features, name)

    def place(index: Sequence[int]) -> str:
        return f"{name} at row {index[0]}, column {_show(names[index[1]])},"

    points: Points
    if _is_one_array(X):
        points = _array_points(X.to_numpy(), n_features, name, place)
    else:
        columns: list[np.ndarray] = []
        for j, label in enumerate(names):
            column = X.iloc[:, j] if hasattr(X, "iloc") else X[label]
            columns.append(_column_values(column, f"column {_show(label)} of {name}"))
            _check_values(columns[j], name, lambda index: place((index[0], len(columns) - 1)))
        dtype = _block_dtype(*(column.dtype for column in columns))
        points = _ColumnPoints(columns, (len(X), len(names)), dtype)
    if all(isinstance(label, str) for label in names):
        points.feature_names = names
    return points


def _is_one_array(frame: Any) -> bool:
    """Say whether the frame is one numeric array inside, so that to_numpy() copies nothing."""
    dtypes = set(frame.dtypes) if hasattr(frame, "iloc") else ()
    if not all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in dtypes):
        return False
    return len(dtypes) == 1 and np.may_share_memory(
        frame.iloc[:1].to_numpy(), frame.iloc[:, :1].to_numpy()
    )


def _column_values(column: Any, title: str) -> np.ndarray:
    """Return a data frame's column as a numeric array; nullable columns are converted once."""
    dtype = column.dtype
    if hasattr(dtype, "numpy_dtype"):  # pandas' nullable and Arrow columns
        missing = np.asarray(column.isna())
        if missing.any():
            _refuse(
                f"{title} has no value at row {missing.argmax()}, and {missing.sum()} of its "
                f"{len(missing)} values are missing; fill them or remove those rows"
            )
        column = column.astype(dtype.numpy_dtype)
    values: np.ndarray = column.to_numpy()
    if values.dtype.kind not in "biuf" or str(dtype) == "category":
        first = f" and its first value is {_typed(values[0])}" if len(values) else ""
        _refuse(
            f"{title} has dtype {dtype}{first}; "
            f"encode it as numbers (pandas.get_dummies, pandas.to_numeric) or drop it"
        )
    return values


def _sparse_points(X: Any, n_features: int | None, name: str) -> Points:
    from scipy import sparse

    if X.ndim != 2:
        _refuse(f"{name} is a sparse array of shape {X.shape}; pass {name}.reshape(1, -1)")
    _check_shape(X.shape, n_features, name)
    try:
        if X.format != "csr":
            if hasattr(X, "check_format"):
                X.check_format(full_check=True)
            X = X.tocsr()
        # A new matrix on the same arrays: flags kept in the user's object may be out of date.
        matrix = sparse.csr_matrix((X.data, X.indices, X.indptr), shape=X.shape, copy=False)
        matrix.check_format(full_check=True)
        has_duplicates = not matrix.has_canonical_format  # or is not sorted
    except (*_UNREADABLE, IndexError) as error:
        sentence = f"{name} is a damaged sparse matrix ({error})"
        raise InvalidInputError(f"{sentence}; build it again from its entries") from error
    _check_dtype(matrix.data, name)

    def place(entry: Sequence[int]) -> str:
        row = np.searchsorted(matrix.indptr, entry[0], side="right") - 1
        return _at(name, (row, matrix.indices[entry[0]]))

    _check_values(matrix.data, name, place)
    n_values = matrix.shape[0] * matrix.shape[1]
    if matrix.shape[1] >= _SPARSE_FEATURES and _SPARSE * int(matrix.indptr[-1]) <= n_values:
        narrow = _NarrowPoints(matrix, _block_dtype(matrix.dtype), has_duplicates)
        if has_duplicates:  # sums of finite entries may be infinite
            matrix = narrow._source
            _check_values(matrix.data, name, place)
        return narrow
    points = _SparsePoints(matrix, matrix.shape, _block_dtype(matrix.dtype))
    points.has_duplicates = has_duplicates
    if has_duplicates:  # sums of finite entries may be infinite
        for start in range(0, points.n_samples, points.max_block_rows):
            with np.errstate(over="ignore", invalid="ignore"):
                block = points.block(start, start + points.max_block_rows)
            _check_values(block, name, lambda i, above=start: _at(name, (i[0] + above, i[1])))  # type: ignore[misc]
    return points


def _check_shape(shape: Sequence[int], n_features: int | None, name: str) -> None:
    if n_features is not None and shape[1] != n_features:
        _refuse(
            f"{name} has {shape[1]} features but {n_features} are expected; pass the same "
            f"{n_features} features as at the fit, in the same order"
        )
    if shape[1] == 0 or (shape[0] == 0 and n_features is None):
        what = "columns" if shape[1] == 0 else "rows"
        _refuse(f"{name} has no {what}, shape {tuple(shape)}; pass at least one point and feature")


def _check_dtype(array: np.ndarray, name: str) -> None:
    kind = array.dtype.kind
    if kind in "biuf":
        return
    title = f"{name} has dtype {array.dtype}"
    if kind in "OSUT":
        number = (int, float, np.integer, np.floating)
        for index, value in np.ndenumerate(array):
            if not isinstance(value, number):
                _refuse(
                    f"{title}, and {_at(name, index)} is {_typed(value)}; encode what is no "
                    f"number, or pass np.asarray({name}, dtype=float) if these are numbers as text"
                )
        _refuse(f"{title}; pass np.asarray({name}, dtype=float)")
    remedy = "pass float32 or float64"
    if kind == "c":
        remedy = f"pass real and imaginary parts as columns, np.hstack([{name}.real, {name}.imag])"
    elif kind in "mM":
        remedy = "turn times into numbers, for instance seconds since the first"
    elif array.dtype.names:
        remedy = f"pass numpy.lib.recfunctions.structured_to_unstructured({name})"
    _refuse(f"{title}; {remedy}")


def _block_dtype(*dtypes: np.dtype) -> np.dtype:
    """Return float32 where it holds every value of these real dtypes, else float64."""
    narrow = all(dtype.itemsize <= (4 if dtype.kind == "f" else 2) for dtype in dtypes)
    return _FLOAT32 if narrow else _FLOAT64


def _check_values(values: np.ndarray, name: str, place: _Place | None = None) -> None:
    """Refuse real values that are not finite, or not exact in float64; scans in blocks."""
    if _all_usable(values):
        return
    rows = max(1, _SCAN * len(values) // values.size)
    count, first = 0, None
    for start in range(0, len(values), rows):
        unusable = np.argwhere(_unusable(values[start : start + rows]))
        if first is None and len(unusable):
            first = (int(unusable[0][0]) + start, *map(int, unusable[0][1:]))
        count += len(unusable)
    assert first is not None
    where = place(first) if place else _at(name, first)
    if np.isfinite(values[first]):
        _refuse_inexact(where, values[first], name)
    _refuse(
        f"{where} is {_show(values[first])}, and {count} of {values.size} values "
        f"{'is' if count == 1 else 'are'} NaN or infinite; remove those rows or fill them"
    )


def _refuse_inexact(where: str, value: Any, name: str) -> NoReturn:
    _refuse(
        f"{where} is {_show(value)}, which float64 cannot hold exactly; subtract an offset, "
        f"or round {name} yourself with np.asarray({name}, dtype=float)"
    )


def _all_usable(values: np.ndarray) -> bool:
    """Say whether all values are finite and exact in float64, without a large copy.

    Masks of 65,536 values at a time run at the speed of memory (70,000 x 784 float32 in 9 ms), as
    sums would, and unlike sums of large finite values they cannot overflow.
    """
    if values.dtype.kind in "biu" and values.dtype.itemsize < 8:
        return True
    if values.flags.c_contiguous:
        values = values.reshape(-1)
    elif values.flags.f_contiguous:
        values = values.T.reshape(-1)
    rows = max(1, _SCAN * len(values) // max(1, values.size))
    parts = (values[start : start + rows] for start in range(0, len(values), rows))
    if values.dtype.kind == "f" and values.dtype.itemsize <= 8:
        return all(np.isfinite(part).all() for part in parts)
    return not any(_unusable(part).any() for part in parts)


def _unusable(part: np.ndarray) -> np.ndarray:
    """Return the mask of the values that are not finite, or not exact in float64."""
    mask: np.ndarray = ~np.isfinite(part)
    if part.dtype.kind == "f" and part.dtype.itemsize > 8:
        with np.errstate(over="ignore", under="ignore"):
            mask |= part.astype(np.float64) != part
    elif part.dtype.kind in "iu" and (part.min() < -_EXACT or part.max() > _EXACT):
        magnitude = part.astype(np.uint64)
        magnitude = np.where(part < 0, -magnitude, magnitude)
        lowest_bit = np.maximum(magnitude & -magnitude, np.uint64(1))
        mask |= magnitude // lowest_bit > np.uint64(_EXACT)
    return mask


# --- labels -----------------------------------------------------------------------------------


def check_labels(y: Any, n_samples: int, *, name: str = "y") -> tuple[np.ndarray, np.ndarray]:
    """Check labels and number them: ``classes[codes]`` equals y.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Integers, strings, bools, or floats that are whole numbers; also a pandas Series or
        Categorical, and lists or object arrays of labels of one kind.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        The labels that occur, at least two, ascending; bool, integer, float or str dtype.
    codes : ndarray of shape (n_samples,), intp

    Raises
    ------
    InvalidInputError
        y is not such a sequence, has another length, a missing label, or one class only.
    """
    classes, codes = _encode(_label_array(y, n_samples, name))
    if len(classes) == 1:
        _refuse(
            f"{name} holds one class only, {_show(classes[0])}, {n_samples} times; "
            f"pass labels of at least two classes"
        )
    return classes, codes


def check_known_labels(
    y: Any, n_samples: int, classes: np.ndarray, *, name: str = "y"
) -> np.ndarray:
    """Check labels against the classes of a network: ``classes[codes]`` equals y.

    Labels are as in `check_labels`, but not every class need occur; returns the codes, shape
    (n_samples,), intp. Raises InvalidInputError also for a label that is not among the classes.
    """
    found, codes = _encode(_label_array(y, n_samples, name))
    known = {label: code for code, label in enumerate(classes.tolist())}
    table = np.array([known.get(label, -1) for label in found.tolist()], dtype=np.intp)
    if (table < 0).any():
        first = int(np.argmax(table[codes] < 0))
        _refuse(
            f"{name}[{first}] is {_show(found[codes[first]])}, which is not a class of the "
            f"network; its classes are {_listed(classes)}"
        )
    known_codes: np.ndarray = table[codes]
    return known_codes


def _label_array(y: Any, n_samples: int, name: str) -> np.ndarray:
    """Return labels as a 1-D array: bool, integer, whole float, str, or objects all str."""
    if _is_sparse(y):
        _refuse(f"{name} is a sparse matrix; pass a plain array of {n_samples} labels")
    if isinstance(y, np.ma.MaskedArray) and np.ma.is_masked(y):
        masked = np.argwhere(np.ma.getmaskarray(y))[0]
        _refuse(f"{_at(name, masked)} is masked; remove the points that have no label")
    # A list is read as objects: NumPy would turn a number beside a string into a string.
    dtype = object if isinstance(y, list | tuple) else None
    try:
        labels = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y, dtype=dtype)
    except _UNREADABLE as error:
        sentence = f"{name} is a {type(y).__name__} that NumPy cannot read ({error})"
        raise InvalidInputError(f"{sentence}; pass an array of labels") from error
    if labels.ndim == 0:
        _refuse(f"{name} is {_typed(y)}, not a sequence; pass an array of {n_samples} labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        _refuse(f"{name} has shape {labels.shape}, a column; pass np.ravel({name})")
    if labels.ndim > 1:
        _refuse(
            f"{name} has shape {labels.shape}; pass one label for each point, "
            f"for one-hot rows np.argmax({name}, axis=1)"
        )
    if len(labels) != n_samples:
        _refuse(
            f"{name} has {len(labels)} labels but there are {n_samples} points; "
            f"pass one label for each point"
        )
    if n_samples == 0:
        _refuse(f"{name} is empty; pass at least one labelled point")
    if labels.dtype.kind in "OT":
        labels = _object_labels(labels.tolist(), name)
    kind = labels.dtype.kind
    if kind not in "biufUO" or (kind == "f" and labels.dtype.itemsize > 8):
        _refuse(
            f"{name} has dtype {labels.dtype} and {name}[0] is {_show(labels[0])}; "
            f"labels are integers, strings or bools, so convert it to one of these"
        )
    if kind == "f":
        whole = np.isfinite(labels) & (np.trunc(labels) == labels)
        if not whole.all():
            first = int(np.argmin(whole))
            _refuse_fraction(_at(name, [first]), labels[first])
    return labels.astype(labels.dtype.newbyteorder("="), copy=False)


def _object_labels(values: list[Any], name: str) -> np.ndarray:
    """Return Python objects, all one kind of label, as an array; strings stay objects."""
    types = list(map(type, values))
    kind_of = {
        found: next((kind for kind, of in _LABEL_KINDS.items() if issubclass(found, of)), "other")
        for found in set(types)
    }
    kinds = set(kind_of.values())
    if "other" in kinds:
        i = min(types.index(found) for found, kind in kind_of.items() if kind == "other")
        remedy = "labels are integers, strings or bools, so convert it to one of these"
        if types[i].__name__ in ("NoneType", "NAType", "NaTType"):
            remedy = "remove the points that have no label"
        _refuse(f"{name}[{i}] is {_typed(values[i])}; {remedy}")
    for i, value in enumerate(values if "float" in kinds else ()):
        if kind_of[types[i]] == "float" and not float(value).is_integer():
            _refuse_fraction(_at(name, [i]), value)
    if len(kinds) > 1 and kinds != {"int", "float"}:
        i = next(i for i, found in enumerate(types) if kind_of[found] != kind_of[types[0]])
        _refuse(
            f"{name} mixes kinds of label, {name}[0] is {_typed(values[0])} but {name}[{i}] is "
            f"{_typed(values[i])}; make all of them strings or all integers"
        )
    if "str" in kinds:
        labels = np.empty(len(values), dtype=object)
        labels[:] = values
        return labels
    if "int" not in kinds:
        return np.array(values, dtype=bool if "bool" in kinds else np.float64)
    whole = [int(value) for value in values]
    for dtype in (np.int64, np.uint64):
        try:
            return np.array(whole, dtype=dtype)
        except OverflowError:
            continue
    _refuse(f"{name} reaches {_show(max(whole, key=abs))}, beyond 64 bits; number the classes")


def _refuse_fraction(where: str, value: Any) -> NoReturn:
    problem = "not a whole number" if math.isfinite(value) else "not a label"
    _refuse(
        f"{where} is {_show(value)}, {problem}; labels are integers, strings or bools, "
        f"so give such points a class or remove them"
    )


def _encode(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes, ascending, and each label's place among them (intp)."""
    if labels.dtype.kind in "OU":  # sorting a million strings takes several times as long
        known: dict[str, int] = {}
        numbers = (known.setdefault(label, len(known)) for label in labels.tolist())
        codes = np.fromiter(numbers, dtype=np.intp, count=len(labels))
        names = sorted(known)
        rank = np.empty(len(names), dtype=np.intp)
        rank[[known[label] for label in names]] = np.arange(len(names))
        classes = np.array(names)
        if classes.tolist() != names:  # NumPy drops them
            ended = next(label for label in names if label.endswith("\0"))
            _refuse(f"the label {_show(ended)} ends in NUL, which NumPy drops; strip your labels")
        return classes, rank[codes]
    low, high = labels.min(), labels.max()
    span = int(high) - int(low)
    if span > max(1 << 16, 4 * len(labels)):
        classes, codes = np.unique(labels, return_inverse=True)
        return classes, codes.astype(np.intp, copy=False)
    values = np.zeros(span + 1, dtype=labels.dtype)
    occurs = np.zeros(span + 1, dtype=bool)
    codes = np.empty(len(labels), dtype=np.intp)
    parts = [slice(i, i + _SCAN) for i in range(0, len(labels), _SCAN)]
    for part in parts:  # each copy of all labels would take as much as the codes
        some = labels[part]
        signed = some.astype(np.int64) if labels.dtype.kind in "bi" else some
        offsets = (signed - signed.dtype.type(low)).astype(np.intp)
        values[offsets], occurs[offsets], codes[part] = some, True, offsets
    rank = np.cumsum(occurs) - 1
    for part in parts:
        codes[part] = rank[codes[part]]
    return values[occurs], codes


# --- settings of a fit ------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """The checked parameters of a fit; a width or bias of None stands for "auto"."""

    width: int | None
    smallest: bool  # width="smallest"
    max_bias: float | None
    selection: str
    activation: str
    projection: str
    covered: Literal["auto", "all"] | tuple[int, ...]  # class codes, ascending
    center: bool
    seed: np.random.SeedSequence  # its entropy is one int, which repeats the fit as seed=
    n_threads: int
    max_width: int | None
    margin: float
    compact: bool
    memory_limit: int | None
    progress: bool | Callable[[str, int, int, int], object]


def check_interpolate(
    classes: np.ndarray,
    n_features: int = 1,
    *,
    width: Any = "auto",
    max_bias: Any = "auto",
    selection: Any = "merge",
    activation: Any = "threshold",
    projection: Any = "auto",
    is_sparse: bool = False,
    covered: Any = "auto",
    center: Any = True,
    seed: Any = None,
    n_threads: Any = None,
    progress: Any = False,
    max_width: Any = None,
    margin: Any = 0.0,
    compact: Any = False,
    memory_limit: Any = None,
) -> Settings:
    """Check the parameters of `fastmem.interpolate`, given classes and columns found.

    Raises InvalidInputError for a parameter that has a value it cannot take.
    """
    automatic, smallest = _is_text(width, "auto", "smallest"), _is_text(width, "smallest")
    width = None if automatic else _whole(width, "width", "'auto', 'smallest'", high=_MAX_WIDTH)
    if max_width is not None:
        max_width = _whole(max_width, "max_width", "None")
        if not automatic:
            _refuse(
                f"max_width is {max_width} but width is {width}; max_width limits width='auto' "
                f"or 'smallest' only, so leave one of them out"
            )
    if not _is_text(selection, "merge", "random"):
        hint = _hint(selection, ["merge", "random"])
        _refuse(f"selection is {_typed(selection)}; pass 'merge' or 'random'{hint}")
    if not _is_text(activation, "threshold", "relu"):
        hint = _hint(activation, ["threshold", "relu"])
        _refuse(f"activation is {_typed(activation)}; pass 'threshold' or 'relu'{hint}")
    if not _is_text(projection, "auto", "gaussian", "structured"):
        hint = _hint(projection, ["auto", "gaussian", "structured"])
        _refuse(
            f"projection is {_typed(projection)}; pass 'auto', 'gaussian' or 'structured'{hint}"
        )
    if projection == "auto":
        pays = STRUCTURED_FROM <= n_features <= MAX_BLOCK and not is_sparse
        projection = "structured" if pays else "gaussian"
    if projection == "structured" and n_features > MAX_BLOCK:
        _refuse(
            f"projection is 'structured' but X has {n_features} columns, more than {MAX_BLOCK:,}; "
            f"pass 'gaussian'"
        )
    if not isinstance(compact, bool | np.bool_):
        _refuse(f"compact is {_typed(compact)}; pass True or False")
    if compact and selection == "random":
        _refuse(
            "compact is True but selection is 'random'; compact chooses merged cells anew, so "
            "leave one of them out"
        )
    if not isinstance(center, bool | np.bool_):
        _refuse(f"center is {_typed(center)}; pass True or False")
    if not callable(progress) and not isinstance(progress, bool | np.bool_):
        function = "a function of (stage, done, total, neurons)"
        _refuse(f"progress is {_typed(progress)}; pass True, False or {function}")
    settings = Settings(
        width=width,
        smallest=smallest,
        max_bias=_max_bias(max_bias),
        selection=str(selection),
        activation=str(activation),
        projection=str(projection),
        covered=_covered(covered, classes),
        center=bool(center),
        seed=check_seed(seed),
        n_threads=check_threads(n_threads),
        max_width=max_width,
        margin=_share(margin, "margin"),
        compact=bool(compact),
        memory_limit=_memory_limit(memory_limit),
        progress=progress if callable(progress) else bool(progress),
    )
    if settings.activation == "relu" and not stores_weights(settings, n_features):
        _refuse(
            f"activation is 'relu' but weights of {n_features:,} features are too many to be "
            f"stored, which real activations need; pass 'threshold', a smaller width"
            f"{'' if memory_limit is None else ', a larger memory_limit'} or fewer features"
        )
    return settings


def check_threads(n_threads: Any) -> int:
    """Return a number of threads, 1 to 1,024; None stands for the cores this process may use."""
    if n_threads is not None:
        return _whole(n_threads, "n_threads", "None (all cores)", high=_MAX_THREADS)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_count(name: str, value: Any, low: int) -> int:
    """Return an int of at least ``low``."""
    return _whole(value, name, "a number", low=low)


def check_label(name: str, value: Any, classes: np.ndarray) -> int:
    """Return the code of a label, which must be among the classes."""
    label = value.item() if isinstance(value, np.generic) else value
    known = {known_label: code for code, known_label in enumerate(classes.tolist())}
    same_kind = isinstance(label, bool) == (classes.dtype.kind == "b")  # 1 == True in Python
    if same_kind and isinstance(label, str | int | float) and label in known:
        return known[label]
    _refuse(f"{name} is {_typed(label)}, which is not a class of y; pass one of {_listed(classes)}")


def check_radius_factor(value: Any) -> float:
    """Return the constant of the bound on a covering's radii, above 0 and at most 1."""
    factor = _share(value, "radius_factor")
    if factor == 0.0:
        _refuse("radius_factor is 0, so that no ball holds more than its centre; pass 0.25")
    return factor


def _share(value: Any, name: str) -> float:
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if is_number and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    _refuse(f"{name} is {_typed(value)}; pass a number from 0 to 1")


def _is_text(value: Any, *choices: str) -> bool:
    return isinstance(value, str) and value in choices


def _hint(value: Any, choices: Sequence[str]) -> str:
    """Return " (did you mean ...?)" for a string close to a choice, else nothing."""
    from difflib import get_close_matches

    close = get_close_matches(value.lower(), choices, 1) if isinstance(value, str) else []
    return f" (did you mean {close[0]!r}?)" if close else ""


def _whole(value: Any, name: str, otherwise: str, low: int = 1, high: int | None = None) -> int:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if is_whole and value >= low and (high is None or value <= high):
        return int(value)
    bounds = f"of at least {low}" if high is None else f"from {low} to {high:,}"
    _refuse(f"{name} is {_typed(value)}; pass {otherwise} or an int {bounds}")


def _max_bias(value: Any) -> float | None:
    if _is_text(value, "auto"):
        return None
    number = math.nan
    is_real = isinstance(value, int | float | np.integer | np.floating)
    if is_real and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            number = float(value)
    if 0 <= number < math.inf:
        return number
    _refuse(f"max_bias is {_typed(value)}; pass 'auto' or a finite number of at least 0")


def _memory_limit(value: Any) -> int | None:
    """Return a limit in bytes: None, an int, or text such as "4 GB" or "512 MiB"."""
    if value is None:
        return None
    number = value
    if isinstance(value, str):
        found = re.fullmatch(_SIZE, value, re.ASCII | re.IGNORECASE)
        if found is None:
            _refuse(
                f"memory_limit is {_typed(value)}; pass None, a number of bytes, or a text like "
                f"'4 GB' or '512 MiB'"
            )
        amount, prefix, binary = found.groups()
        unit = (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
        number = math.floor(float(amount) * unit)
    return _whole(number, "memory_limit", "None, a text like '4 GB'", high=_MAX_MEMORY)


def stores_weights(settings: Settings, n_features: int) -> bool:
    """Whether Gaussian weights are stored, or computed again and again because they are many."""
    n = settings.width or min(settings.max_width or AUTO_ROWS, AUTO_ROWS)
    room = WEIGHT_BYTES if settings.memory_limit is None else settings.memory_limit // 4
    return 4 * n * n_features <= room


def check_memory(memory_limit: int | None, n_samples: int) -> int | None:
    """Return the bytes of a limit that are left for sign patterns in memory; None without limit.

    What a fit takes beside them is counted as 256 MiB and 32 bytes a point. Raises
    InvalidInputError for a limit below that.
    """
    if memory_limit is None:
        return None
    beside = MEMORY_BESIDE + 32 * n_samples
    if memory_limit < beside:
        _refuse(
            f"memory_limit is {memory_limit:,} bytes, but a fit of {n_samples:,} points takes up "
            f"to {beside:,} bytes beside their sign patterns; pass at least that"
        )
    return memory_limit - beside


def _covered(value: Any, classes: np.ndarray) -> Literal["auto", "all"] | tuple[int, ...]:
    if _is_text(value, "auto"):
        return "auto"
    if _is_text(value, "all"):
        return "all"
    value = value.tolist() if hasattr(value, "tolist") else value
    labels = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if not labels:
        _refuse("covered is empty; name at least one class, or pass 'auto' or 'all'")
    known = {label: code for code, label in enumerate(classes.tolist())}
    codes = []
    for label in labels:
        label = label.item() if isinstance(label, np.generic) else label
        same_kind = isinstance(label, bool) == (classes.dtype.kind == "b")  # 1 == True in Python
        if not (same_kind and isinstance(label, str | int | float) and label in known):
            hint = _hint(label, ["auto", "all", *(c for c in known if isinstance(c, str))])
            _refuse(
                f"covered names {_typed(label)}, which is not a class of y{hint}; "
                f"pass 'auto', 'all' or classes among {_listed(classes)}"
            )
        if known[label] in codes:
            _refuse(f"covered names {_show(label)} twice; name each class once")
        codes.append(known[label])
    if len(codes) < len(classes) - 1:
        _refuse(
            f"covered names {len(codes)} of {len(classes)} classes, and points of the others could "
            f"not be told apart; name all classes but one, or give the others one label"
        )
    return tuple(sorted(codes))


def check_seed(value: Any) -> np.random.SeedSequence:
    """Return a new seed sequence of one int; a generator moves on, a sequence stays as it is."""
    sequence = np.random.SeedSequence
    if value is None:
        return sequence()
    if isinstance(value, np.random.Generator):
        return sequence(int.from_bytes(value.bytes(16), "little"))
    if isinstance(value, sequence):
        is_one_int = isinstance(value.entropy, int | np.integer)
        if is_one_int and not value.spawn_key and value.pool_size == sequence().pool_size:
            return sequence(int(value.entropy))  # type: ignore[arg-type]
        return sequence(int.from_bytes(value.generate_state(4).tobytes(), "little"))
    if isinstance(value, np.random.RandomState) or value is np.random:
        _refuse(
            "seed is NumPy's legacy generator (RandomState); "
            "pass an int or numpy.random.default_rng(seed)"
        )
    return sequence(_whole(value, "seed", "None, a Generator, a SeedSequence", low=0))


# --- hyperplanes ------------------------------------------------------------------------------


def check_hyperplanes(weights: Any, biases: Any) -> tuple[np.ndarray, np.ndarray]:
    """Check the numbers that define hyperplanes.

    Parameters
    ----------
    weights : array-like of shape (n, n_features)
        Values that float32 holds exactly.
    biases : array-like of shape (n,)
        Values that float64 holds exactly.

    Returns
    -------
    weights : ndarray of shape (n, n_features), float32
    biases : ndarray of shape (n,), float64
        Both C-contiguous and flagged read-only; views where the arguments are so already.

    Raises
    ------
    InvalidInputError
        Wrong shapes, NaN or infinite values, values that would be rounded, or no hyperplane.
    """
    points = check_points(weights, name="weights")
    exact = points.block(0, points.n_samples)
    with np.errstate(over="ignore", under="ignore"):
        narrow = exact.astype(np.float32, copy=False)
    if narrow is not exact and (narrow != exact).any():
        first = np.argwhere(narrow != exact)[0]
        _refuse(
            f"{_at('weights', first)} is {_show(exact[tuple(first)])}, which float32 cannot hold "
            f"exactly; round yourself with np.asarray(weights, dtype=np.float32)"
        )
    levels = _as_array(biases, "biases")
    if levels.shape != (len(exact),):
        _refuse(
            f"biases has shape {levels.shape} but weights has {len(exact)} rows; "
            f"pass one bias for each row, shape ({len(exact)},)"
        )
    _check_dtype(levels, "biases")
    _check_values(levels, "biases")
    return _frozen(narrow), _frozen(np.require(levels, np.float64, ["C", "A"]).view())


def _arrays(**wanted: tuple[Any, int, type[np.generic]]) -> Iterator[np.ndarray]:
    """The arrays, C-contiguous, if they have these dimensions and dtypes."""
    for name, (array, n_dimensions, dtype) in wanted.items():
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != n_dimensions:
            what = f"of shape {np.shape(array)} and dtype {getattr(array, 'dtype', 'none')}"
            _refuse(
                f"{name} is a {type(array).__name__} {what}; "
                f"pass a {n_dimensions}-dimensional array of {np.dtype(dtype)}"
            )
    return (np.ascontiguousarray(array) for array, _, _ in wanted.values())


def _check_lengths(rows: np.ndarray, biases: np.ndarray) -> None:
    if len(rows) < 1 or len(biases) != len(rows):
        _refuse(
            f"rows and biases have lengths {len(rows)} and {len(biases)}; "
            f"pass one bias for each row, and at least one row"
        )


def _check_stored(rows: np.ndarray, extra: np.ndarray, biases: np.ndarray) -> None:
    if not np.array_equal(rows[rows < 0], -1 - np.arange(len(extra))):
        _refuse(
            f"the negative numbers of rows are not -1 to -{len(extra)} in this order; "
            f"name each row of extra once, in order"
        )
    for name, array in (("extra", extra), ("biases", biases)):
        if array.size:
            _check_values(array, name)


def check_seeded(
    key: Any, rows: Any, extra: Any, biases: Any
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Check the numbers that define seeded hyperplanes.

    Parameters
    ----------
    key : int
        0 to 2^64 - 1.
    rows : ndarray of shape (n,), int32
        Numbers of generated rows, and -1, -2, ..., -n_extra in this order.
    extra : ndarray of shape (n_extra, n_features), float32
    biases : ndarray of shape (n,), float64

    Returns
    -------
    key, rows, extra, biases
        Arrays C-contiguous; views where they are so already.

    Raises
    ------
    InvalidInputError
        Wrong types, shapes or values, or no hyperplane.
    """
    key = _whole(key, "key", "the key of a layer", low=0, high=2**64 - 1)
    rows, extra, biases = _arrays(
        rows=(rows, 1, np.int32), extra=(extra, 2, np.float32), biases=(biases, 1, np.float64)
    )
    if extra.shape[1] < 1:
        _refuse("extra has no columns; pass one for each feature")
    _check_lengths(rows, biases)
    _check_stored(rows, extra, biases)
    return key, rows, extra, biases


def check_structured(
    signs: Any, rows: Any, extra: Any, biases: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Check the numbers that define structured hyperplanes.

    Parameters
    ----------
    signs : ndarray of shape (n_blocks, rounds, D / 64), uint64
        1 to 3 rounds; D is the least power of two that is at least 64 and at least n_features.
    rows : ndarray of shape (n,), int32
        Each number from 0 to n_blocks D - 1 at most once, and -1, -2, ..., -n_extra in this order.
    extra : ndarray of shape (n_extra, n_features), float32
    biases : ndarray of shape (n,), float64

    Returns
    -------
    signs, rows, extra, biases : ndarrays
        C-contiguous; views where the arguments are so already.

    Raises
    ------
    InvalidInputError
        Wrong types, shapes or values, or no hyperplane.
    """
    signs, rows, extra, biases = _arrays(
        signs=(signs, 3, np.uint64), rows=(rows, 1, np.int32), extra=(extra, 2, np.float32),
        biases=(biases, 1, np.float64),
    )  # fmt: skip
    n_blocks, rounds, words = signs.shape
    if n_blocks * 64 * words > _MAX_GENERATED:
        _refuse(
            f"signs has {n_blocks} blocks of {64 * words} rows; pass at most "
            f"{_MAX_GENERATED:,} rows in all"
        )
    d = extra.shape[1]
    if not 1 <= d <= MAX_BLOCK:
        _refuse(f"extra has {d} columns; pass 1 to {MAX_BLOCK:,} features")
    size = block_rows(d)
    if not 1 <= rounds <= 3 or 64 * words != size:
        _refuse(
            f"signs has shape {signs.shape}; pass 1 to 3 rounds of {size // 64} words, "
            f"as blocks of {size} rows for {d} features have"
        )
    beyond = _bits_beyond(signs[:, 0], d)
    if beyond.any():
        block = int(np.argmax(beyond))
        _refuse(f"signs[{block}, 0] has bits beyond the {d} features; clear them")
    _check_lengths(rows, biases)
    wrong = rows >= n_blocks * size
    if wrong.any():
        i = int(np.argmax(wrong))
        _refuse(
            f"rows[{i}] is {rows[i]} where {n_blocks} blocks have rows 0 to "
            f"{n_blocks * size - 1}; pass numbers of these"
        )
    generated = np.sort(rows[rows >= 0])
    twice = generated[1:] == generated[:-1]
    if twice.any():
        _refuse(f"rows holds {generated[int(np.argmax(twice))]} twice; name each row once")
    _check_stored(rows, extra, biases)
    return signs, rows, extra, biases


def block_rows(n_features: int) -> int:
    """D: rows in a block of structured hyperplanes, a power of two of at least 64."""
    return max(64, 1 << (n_features - 1).bit_length())


def _bits_beyond(words: np.ndarray, n: int) -> np.ndarray:
    """Whether each row of words, (m, n_words) uint64, has bits at n or beyond; (m,) bool."""
    spare = words[:, n // 64 :].copy()
    if n % 64:
        spare[:, 0] >>= np.uint64(n % 64)
    beyond: np.ndarray = np.asarray(spare.any(axis=1))
    return beyond
