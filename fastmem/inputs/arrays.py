"""Points in arrays and sparse matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs.points import ConvertedPoints, NarrowPoints, Points, SparsePoints
from fastmem.inputs.refusals import UNREADABLE, at, refuse, typed
from fastmem.inputs.values import (
    Place,
    block_dtype,
    check_characters,
    check_dtype,
    check_shape,
    check_values,
)

_SPARSE = 4
"""Rows stay sparse where at most one value in so many is not zero: with more, little
would be gained on dense rows."""
_SPARSE_FEATURES = 128


def array_points(
    array: np.ndarray, n_features: int | None, name: str, place: Place | None = None
) -> Points:
    """Check an array and wrap it; ``place`` names a value by its row and column."""
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


def stay_sparse(n_samples: int, n_features: int, n_stored: int) -> bool:
    """Whether CSR points of so many stored values are handed out as they are, and not as dense."""
    return n_features >= _SPARSE_FEATURES and _SPARSE * n_stored <= n_samples * n_features


def sparse_points(X: Any, n_features: int | None, name: str, place: Place | None = None) -> Points:
    """Check a SciPy sparse matrix and wrap it; ``place`` names a value by its row and column."""
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

    def cell(index: Sequence[int]) -> str:
        return place(index) if place else at(name, index)

    def entry(index: Sequence[int]) -> str:
        row = int(np.searchsorted(matrix.indptr, index[0], side="right")) - 1
        return cell((row, int(matrix.indices[index[0]])))

    check_values(matrix.data, name, entry)
    if stay_sparse(matrix.shape[0], matrix.shape[1], int(matrix.indptr[-1])):
        narrow = NarrowPoints(matrix, block_dtype(matrix.dtype), has_duplicates)
        if has_duplicates:  # sums of finite entries may be infinite
            matrix = narrow._source
            check_values(matrix.data, name, entry)
        return narrow
    points = SparsePoints(matrix, matrix.shape, block_dtype(matrix.dtype))
    points.has_duplicates = has_duplicates
    if has_duplicates:  # sums of finite entries may be infinite
        for start in range(0, points.n_samples, points.max_block_rows):
            with np.errstate(over="ignore", invalid="ignore"):
                block = points.block(start, start + points.max_block_rows)
            check_values(block, name, lambda i, above=start: cell((i[0] + above, i[1])))  # type: ignore[misc]
    return points
