"""The gap between the classes, and the intrinsic dimension of a data set."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fastmem.inputs import Points
from fastmem.machine.extras import needs
from fastmem.machine.wording import reason

__all__ = ["class_gap", "dimension_estimates", "intrinsic_dimension"]

TREE_FEATURES = 12
"""Up to so many features, trees find the nearest points faster than products of all pairs."""
PRODUCTS = 2_000_000_000_000
"""Multiply-adds for the distances of all pairs at most; a report waits no longer for them."""
_BLOCK = 2048
_FEW = 4096
DIMENSION_POINTS = 5_000
NEIGHBOURS = 20

Array = NDArray[Any]


def class_gap(
    points: Points, codes: Array, nearest: Array, n_threads: int
) -> tuple[float, tuple[int, int], bool]:
    """Least distance of two points of different classes.

    Parameters
    ----------
    points : Points
        Dense ones.
    codes : ndarray of shape (n_samples,)
        Their classes.
    nearest : ndarray of shape (n_samples,)
        For each a row of another class that may be near: bounds the gap from above.
    n_threads : int
        For trees; products of matrices use what BLAS does.

    Returns
    -------
    delta : float
    rows : (int, int)
        A pair at that distance, the lower row first.
    is_exact : bool
        False where there are too many points for all pairs: delta may then be too large.
    """
    best, pair = _least(points, np.arange(len(nearest)), nearest)
    work = points.n_samples**2 * points.n_features
    if points.n_features > TREE_FEATURES and work > PRODUCTS:
        return best, pair, False
    near = _by_trees if points.n_features <= TREE_FEATURES else _by_products
    for rows, others in near(points, codes, best, n_threads):
        distance, found = _least(points, rows, others)
        if (distance, found) < (best, pair):
            best, pair = distance, found
    return best, pair, True


def _least(points: Points, rows: Array, others: Array) -> tuple[float, tuple[int, int]]:
    """The least distance among pairs of rows, and the first pair, ascending, that has it."""
    best, pair = np.inf, (-1, -1)
    size = max(1, min(points.max_block_rows, (1 << 21) // points.row_values))
    for start in range(0, len(rows), size):
        low = np.minimum(rows[start : start + size], others[start : start + size])
        high = np.maximum(rows[start : start + size], others[start : start + size])
        gaps = points.dense(low).astype(np.float64) - points.dense(high)
        # squares of these would overflow or vanish; a power of two rounds nothing
        scale = _scale_of(gaps)
        gaps = np.ldexp(gaps, -scale)
        distances = np.ldexp(np.sqrt(np.sum(gaps * gaps, axis=1)), scale)
        for i in np.flatnonzero(distances == distances.min()):
            found = float(distances[i]), (int(low[i]), int(high[i]))
            if found < (best, pair):
                best, pair = found
    return best, pair


def _by_trees(points: Points, codes: Array, best: float, n_threads: int) -> Any:
    """Pairs of each class with the nearest of all later ones, among them the closest of all."""
    dense = points.dense(np.arange(points.n_samples)).astype(np.float64)
    scale = _scale_of(dense)
    dense, best = np.ldexp(dense, -scale), float(np.ldexp(best, -scale))
    classes = np.unique(codes)
    for code in classes[:-1]:
        own, later = np.flatnonzero(codes == code), np.flatnonzero(codes > code)
        tree, asked, few, many = (
            (cKDTree(dense[own]), dense[later], own, later)
            if len(own) > len(later)
            else (cKDTree(dense[later]), dense[own], later, own)
        )
        reach = np.nextafter(best, np.inf) * (1 + 1e-12)
        distances, at = tree.query(asked, distance_upper_bound=reach, workers=n_threads)
        found = np.flatnonzero(np.isfinite(distances))
        if len(found):
            yield many[found], few[at[found]]


def _scale_of(values: Array) -> int:
    """Exponent of the largest value, where squares would leave the range of float64, else 0."""
    largest = float(np.abs(values).max(initial=0.0))
    usual = largest == 0 or 1e-100 < largest < 1e100
    return 0 if usual else int(np.frexp(largest)[1])


def _by_products(points: Points, codes: Array, best: float, n_threads: int) -> Any:
    """Pairs whose distance may be least, as far as float32 products can tell."""
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(int(codes.max()) + 2))
    some = points.dense(order[:: max(1, len(order) // _BLOCK)]).astype(np.float64)
    middle = some.mean(axis=0)
    scale = 2.0 ** -np.frexp(np.abs(some - middle).max() or 1.0)[1]
    moved = np.empty((len(order), points.n_features), np.float32)
    for start in range(0, len(order), _BLOCK):
        block = points.dense(order[start : start + _BLOCK]).astype(np.float64)
        moved[start : start + _BLOCK] = (block - middle) * scale
    squares = np.einsum("ij,ij->i", moved, moved, dtype=np.float64)
    # of a sum of d products in float32, and of the rounded points themselves
    slack = 4 * (points.n_features + 8) * 2.0**-24 * float(squares.max())
    for code in range(len(bounds) - 2):
        later = slice(bounds[code + 1], len(order))
        for start in range(bounds[code], bounds[code + 1], _BLOCK):
            own = slice(start, min(start + _BLOCK, bounds[code + 1]))
            for first in range(later.start, later.stop, _BLOCK):
                other = slice(first, min(first + _BLOCK, later.stop))
                distances = moved[own] @ moved[other].T
                distances *= -2
                distances += squares[other].astype(np.float32)
                distances += squares[own, None].astype(np.float32)
                limit = (best * scale) ** 2 + slack
                if distances.min() > limit:
                    continue
                rows, columns = np.nonzero(distances <= limit)
                for a in range(0, len(rows), _FEW):
                    yield (
                        order[own.start + rows[a : a + _FEW]],
                        order[other.start + columns[a : a + _FEW]],
                    )


@needs("study")
def intrinsic_dimension(X: Array) -> dict[str, float]:
    """Estimate the dimension of the surface that points lie near.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        At least some hundred different points. What an estimator raises, or gives that is no
        number, is left out: `dimension_estimates` says why.

    Returns
    -------
    dict of str to float
        "TwoNN": the maximum-likelihood estimate from the distances of the two nearest neighbours;
        "MLE": Levina and Bickel's from the nearest twenty.

    Raises
    ------
    ModuleNotFoundError
        If scikit-dimension is not installed.
    """
    return dimension_estimates(X)[0]


@needs("study")
def dimension_estimates(X: Array) -> tuple[dict[str, float], dict[str, str]]:
    """Estimate as `intrinsic_dimension`; also the estimators that failed, and why.

    Raises
    ------
    ModuleNotFoundError
        If scikit-dimension is not installed.
    """
    from skdim.id import MLE, TwoNN

    found: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name, kind in (("TwoNN", TwoNN(method="mle")), ("MLE", MLE(K=NEIGHBOURS))):
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                value = float(kind.fit(X).dimension_)
        except MemoryError:
            raise
        except Exception as error:  # of a library that refuses points in ways of its own
            failed[name] = f"scikit-dimension says: {reason(error)}"
        else:
            if math.isfinite(value):
                found[name] = value
            else:
                failed[name] = f"it is {value}, as where neighbours are equally far away"
    return found, failed
