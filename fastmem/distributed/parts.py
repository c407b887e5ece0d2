"""Parts of a data set as they come, and as one set of points on a shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmem.distributed.numbering import Placing
from fastmem.errors import InvalidInputError
from fastmem.inputs import Points, check_points
from fastmem.inputs.points import ColumnPoints


class Part(NamedTuple):
    """A part of a data set.

    Attributes
    ----------
    number : int
        Its place among all parts: rows are in the order of parts, then as within them.
    points : array-like or CSR matrix of shape (rows, n_features)
        As `fastmem.interpolate` takes them; there may be no row.
    labels : ndarray of shape (rows,)
    """

    number: int
    points: Any
    labels: np.ndarray


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
    """

    number: int
    n_rows: int
    n_features: int
    dtype: np.dtype
    labels: np.ndarray
    counts: np.ndarray


def facts_of(part: Part) -> PartFacts:
    """Check a part, and count its labels."""
    n_rows = part.points.shape[0]
    if len(part.labels) != n_rows:
        raise InvalidInputError(
            f"part {part.number} has {n_rows} rows and {len(part.labels)} labels; pass X and y in "
            f"the same parts"
        )
    labels, counts = np.unique(np.asarray(part.labels), return_counts=True)
    if not n_rows:
        dtype = np.dtype(np.float32)
        return PartFacts(part.number, 0, part.points.shape[1], dtype, labels, counts)
    points = check_points(part.points)
    if points.is_sparse:
        raise InvalidInputError(
            "X is sparse, which is not for several machines yet; pass dense parts, or fit on one"
        )
    return PartFacts(part.number, n_rows, points.n_features, points.dtype, labels, counts)


def joined(parts: Sequence[Part], placing: Placing) -> tuple[Points, np.ndarray]:
    """Parts, in the order of their numbers, as one set of points, and their codes (uint16, int64).

    Dense parts are not copied.
    """
    dtype = np.dtype(placing.dtype)
    kind = np.uint16 if len(placing.classes) <= 1 << 16 else np.int64
    codes = [np.empty(0, kind)]
    batches = []
    for part in parts:
        if not part.points.shape[0]:
            continue
        codes.append(np.searchsorted(placing.classes, np.asarray(part.labels)).astype(kind))
        points = check_points(part.points)
        whole = points.array if points.array is not None else points.block(0, points.n_samples)
        batches.append([whole])
    all_codes = np.concatenate(codes)
    if len(batches) == 1 and batches[0][0].dtype == dtype:
        return Points(batches[0][0]), all_codes
    return ColumnPoints(batches, (len(all_codes), placing.n_features), dtype), all_codes
