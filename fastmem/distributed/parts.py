"""Parts of a data set as they come, and as one set of points on a shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmem.distributed.numbering import Placing
from fastmem.errors import InvalidInputError
from fastmem.inputs import Points, check_points
from fastmem.inputs.labels import EncodedLabels, classes_and_codes
from fastmem.inputs.points import ColumnPoints, NarrowPoints, SparsePoints
from fastmem.inputs.values import is_scipy_sparse


class Part(NamedTuple):
    """A part of a data set.

    Attributes
    ----------
    number : int
        Its place among all parts: rows are in the order of parts, then as within them.
    points : array-like or CSR matrix of shape (rows, n_features)
        As `fastmem.interpolate` takes them; there may be no row.
    labels : array-like of shape (rows,)
        As `fastmem.interpolate` takes them.
    n_unlabelled : int
        Rows that were left out where it was read, because they have no label.
    """

    number: int
    points: Any
    labels: Any
    n_unlabelled: int = 0


class PartFacts(NamedTuple):
    """What is known of a part before the work.

    Attributes
    ----------
    number, n_rows, n_features : int
    dtype : numpy.dtype
        float32 or float64.
    labels : ndarray
        Those that occur, ascending; and
    counts : ndarray of int64
        how often each.
    n_stored : int or None
        Values that a CSR part stores; None for a dense one.
    names : list of str, or None
        Of the columns of a data frame.
    is_array : bool
        Whether its points are an array as kernels take it.
    has_objects : bool
        Whether its labels came as Python objects.
    """

    number: int
    n_rows: int
    n_features: int
    dtype: np.dtype
    labels: np.ndarray
    counts: np.ndarray
    n_stored: int | None = None
    names: list[str] | None = None
    is_array: bool = True
    has_objects: bool = False


def facts_of(part: Part) -> PartFacts:
    """Check a part, and count its labels."""
    n_rows = part.points.shape[0]
    if len(part.labels) != n_rows:
        raise InvalidInputError(
            f"part {part.number} has {n_rows} rows and {len(part.labels)} labels; pass X and y in "
            f"the same parts"
        )
    try:
        return _counted(part)
    except InvalidInputError as refused:
        raise InvalidInputError(f"in part {part.number}, {refused}") from refused


def _counted(part: Part) -> PartFacts:
    """As `facts_of`, of as many labels as rows."""
    labels, codes = _classes_of(part)
    counts = np.bincount(codes, minlength=len(labels))
    n_stored = _stored(part)
    n_rows = part.points.shape[0]
    known = part.number, n_rows
    if not n_rows:
        nothing = np.dtype(np.float32)
        return PartFacts(*known, part.points.shape[1], nothing, labels, counts, n_stored)
    points = check_points(part.points)
    names, is_array = points.feature_names, points.array is not None
    return PartFacts(
        *known, points.n_features, points.dtype, labels, counts, n_stored, names, is_array,
        _are_objects(part.labels),
    )  # fmt: skip


def _classes_of(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Labels that occur in a part, ascending, and the code of each point among them."""
    if not len(part.labels):
        return np.empty(0, np.int64), np.empty(0, np.intp)
    return classes_and_codes(part.labels, len(part.labels), "y", True)


def _are_objects(labels: Any) -> bool:
    """Whether labels are Python objects, also behind codes."""
    values = labels.classes if isinstance(labels, EncodedLabels) else labels
    if isinstance(values, list | tuple):
        return True
    kind = getattr(values, "dtype", None)
    if kind == "category" and hasattr(kind, "categories"):  # of pandas
        kind = kind.categories.dtype
    return isinstance(kind, np.dtype) and kind.kind == "O"


def _stored(part: Part) -> int | None:
    if not is_scipy_sparse(part.points):
        return None
    matrix = part.points.tocsr()
    if not matrix.has_canonical_format:
        raise InvalidInputError(
            "X has columns that do not ascend, or occur twice in a row; call sum_duplicates() on it"
        )
    return int(matrix.nnz)


def joined(parts: Sequence[Part], placing: Placing) -> tuple[Points, np.ndarray]:
    """Parts, in the order of their numbers, as one set of points, and their codes (uint16, int64).

    Dense parts are not copied, neither arrays nor the columns of frames.
    """
    dtype = np.dtype(placing.dtype)
    kind = placing.code_dtype
    some = [part for part in parts if part.points.shape[0]]
    codes = np.concatenate([
        np.empty(0, kind),
        *(_codes_among(placing.classes, *_classes_of(part), kind) for part in some),
    ])  # fmt: skip
    if placing.n_stored is not None:
        return _joined_sparse([part.points for part in some], placing, dtype), codes
    batches = []
    for part in some:
        points = check_points(part.points)
        if isinstance(points, ColumnPoints):
            batches += points.batches
            continue
        whole = points.array if points.array is not None else points.block(0, points.n_samples)
        if len(some) == 1 and whole.dtype == dtype:
            return Points(whole), codes
        batches.append([whole])
    return ColumnPoints(batches, (len(codes), placing.n_features), dtype), codes


def _codes_among(
    classes: np.ndarray, labels: np.ndarray, codes: np.ndarray, kind: np.dtype
) -> np.ndarray:
    """Codes of points among all classes, by those among some of them."""
    # in one type, or large integers would be compared as floats
    found: np.ndarray = np.searchsorted(classes, labels.astype(classes.dtype)).astype(kind)[codes]
    return found


def _joined_sparse(matrices: Sequence[Any], placing: Placing, dtype: np.dtype) -> Points:
    from scipy import sparse

    nothing = sparse.csr_matrix((0, placing.n_features), dtype=dtype)
    matrix = sparse.csr_matrix(sparse.vstack([nothing, *matrices], format="csr"))
    if placing.is_sparse:
        return NarrowPoints(matrix, dtype, has_duplicates=False)
    points = SparsePoints(matrix, matrix.shape, dtype)
    points.has_duplicates = False
    return points
