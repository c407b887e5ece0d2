"""Tables of points: arrays, data frames and sparse matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmem.inputs.points import ColumnPoints, ConvertedPoints, NarrowPoints, Points, SparsePoints
from fastmem.inputs.refusals import UNREADABLE, InvalidInputError, at, refuse, show, typed
from fastmem.inputs.values import (
    FLOAT32,
    FLOAT64,
    SCAN,
    Place,
    all_usable,
    as_array,
    block_dtype,
    check_characters,
    check_dtype,
    check_shape,
    check_values,
    is_scipy_sparse,
)

_SPARSE = 4
"""Rows stay sparse where at most one value in so many is not zero: 256 hyperplanes then take 0.6
to 0.85 of the time for dense rows, at one value in eight 0.35 to 0.5, at one in fifty 0.06 to 0.2
(d = 200 to 20,000)."""
_SPARSE_FEATURES = 128


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
    if type(X) is np.ndarray and X.ndim == 2 and (X.dtype is FLOAT64 or X.dtype is FLOAT32):
        flags, (rows, columns) = X.flags, X.shape
        if flags.c_contiguous and flags.aligned and rows and columns:
            expected = n_features is None or columns == n_features
            if expected and (np.isfinite(X).all() if X.size <= SCAN else all_usable(X)):
                return Points(X)
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        return _frame_points(X, n_features, name)
    if is_scipy_sparse(X):
        return _sparse_points(X, n_features, name)
    return _array_points(as_array(X, name), n_features, name)


def _array_points(
    array: np.ndarray, n_features: int | None, name: str, place: Place | None = None
) -> Points:
    check_characters(array, name)
    if array.ndim == 0:
        refuse(
            f"{name} is {typed(array.item())}, not a table of numbers; "
            f"pass an array of shape (n_samples, n_features)"
        )
    check_dtype(array, name)
    if array.ndim == 1:
        refuse(
            f"{name} is one-dimensional with {len(array)} values; "
            f"pass np.asarray({name}).reshape(-1, 1) for rows of one feature "
            f"or np.asarray({name}).reshape(1, -1) for one row of {len(array)} features"
        )
    if array.ndim > 2:
        refuse(
            f"{name} has shape {array.shape}, {array.ndim} dimensions; "
            f"pass np.reshape({name}, (len({name}), -1)), which has one row a point"
        )
    check_shape(array.shape, n_features, name)
    check_values(array, name, place)
    dtype = block_dtype(array.dtype)
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return Points(array.view(dtype))  # without the dtype's metadata
    return ConvertedPoints(array, array.shape, dtype)


def _frame_points(X: Any, n_features: int | None, name: str) -> Points:
    names = list(X.columns)
    check_shape((len(X), len(names)), n_features, name)

    def place(index: Sequence[int]) -> str:
        return f"{name} at row {index[0]}, column {show(names[index[1]])},"

    points: Points
    if _is_one_array(X):
        points = _array_points(X.to_numpy(), n_features, name, place)
    else:
        columns: list[np.ndarray] = []
        for j, label in enumerate(names):
            column = X.iloc[:, j] if hasattr(X, "iloc") else X[label]
            columns.append(_column_values(column, f"column {show(label)} of {name}"))
            check_values(columns[j], name, lambda index: place((index[0], len(columns) - 1)))
        dtype = block_dtype(*(column.dtype for column in columns))
        points = ColumnPoints(columns, (len(X), len(names)), dtype)
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
            refuse(
                f"{title} has no value at row {missing.argmax()}, and {missing.sum()} of its "
                f"{len(missing)} values are missing; fill them or remove those rows"
            )
        column = column.astype(dtype.numpy_dtype)
    values: np.ndarray = column.to_numpy()
    if values.dtype.kind not in "biuf" or str(dtype) == "category":
        first = f" and its first value is {typed(values[0])}" if len(values) else ""
        refuse(
            f"{title} has dtype {dtype}{first}; "
            f"encode it as numbers (pandas.get_dummies, pandas.to_numeric) or drop it"
        )
    return values


def _sparse_points(X: Any, n_features: int | None, name: str) -> Points:
    from scipy import sparse

    if X.ndim != 2:
        refuse(f"{name} is a sparse array of shape {X.shape}; pass {name}.reshape(1, -1)")
    check_shape(X.shape, n_features, name)
    try:
        if X.format != "csr":
            if hasattr(X, "check_format"):
                X.check_format(full_check=True)
            X = X.tocsr()
        # A new matrix on the same arrays: flags kept in the user's object may be out of date.
        matrix = sparse.csr_matrix((X.data, X.indices, X.indptr), shape=X.shape, copy=False)
        matrix.check_format(full_check=True)
        has_duplicates = not matrix.has_canonical_format  # or is not sorted
    except (*UNREADABLE, IndexError) as error:
        sentence = f"{name} is a damaged sparse matrix ({error})"
        raise InvalidInputError(f"{sentence}; build it again from its entries") from error
    check_dtype(matrix.data, name)

    def place(entry: Sequence[int]) -> str:
        row = np.searchsorted(matrix.indptr, entry[0], side="right") - 1
        return at(name, (row, matrix.indices[entry[0]]))

    check_values(matrix.data, name, place)
    n_values = matrix.shape[0] * matrix.shape[1]
    if matrix.shape[1] >= _SPARSE_FEATURES and _SPARSE * int(matrix.indptr[-1]) <= n_values:
        narrow = NarrowPoints(matrix, block_dtype(matrix.dtype), has_duplicates)
        if has_duplicates:  # sums of finite entries may be infinite
            matrix = narrow._source
            check_values(matrix.data, name, place)
        return narrow
    points = SparsePoints(matrix, matrix.shape, block_dtype(matrix.dtype))
    points.has_duplicates = has_duplicates
    if has_duplicates:  # sums of finite entries may be infinite
        for start in range(0, points.n_samples, points.max_block_rows):
            with np.errstate(over="ignore", invalid="ignore"):
                block = points.block(start, start + points.max_block_rows)
            check_values(block, name, lambda i, above=start: at(name, (i[0] + above, i[1])))  # type: ignore[misc]
    return points
