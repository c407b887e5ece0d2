"""Points whose features are multiplied by powers of two.

A product with a power of two has the digits of the other factor: nothing is rounded, as long as it
is neither too large nor too small for its type. So all that is proved of the bits of points holds
for the scaled ones, and equal points stay equal and different ones different.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmem.inputs.points import BLOCK_BYTES, Points, PointsOfPoints, SparseRows, row_ranges
from fastmem.inputs.refusals import refuse, show, typed
from fastmem.machine.arrays import frozen

MAX_EXPONENT = 500
"""Scales are 2^-500 to 2^500: so scaled, no float32 number leaves the range of float64, where it
stays exact."""
_LEAST_32, _MOST_32 = -126, 127
"""Exponents of the normal numbers of float32."""
_LEAST_64, _MOST_64 = -1022, 1023
"""And of float64."""


def checked_scale(value: Any, n_features: int, name: str = "scale") -> np.ndarray:
    """Check powers of two, one a feature.

    Parameters
    ----------
    value : array-like of shape (n_features,)
    n_features : int
    name : str
        What messages call it.

    Returns
    -------
    ndarray of shape (n_features,), float64, read-only

    Raises
    ------
    InvalidInputError
        If they are not so many powers of two, or beyond 2^-500 to 2^500.
    """
    try:
        given = np.asarray(value)
    except (TypeError, ValueError):
        given = np.empty(0, object)
    if given.dtype.kind not in "iuf" or given.ndim != 1:
        refuse(
            f"{name} is {typed(value)}; pass 'none', 'auto', 'std' or {n_features} powers of two, "
            f"one a feature"
        )
    if len(given) != n_features:
        refuse(f"{name} has {len(given)} numbers for {n_features} features; pass one for each")
    with np.errstate(over="ignore"):
        scale = given.astype(np.float64)
    with np.errstate(invalid="ignore"):
        fractions, exponents = np.frexp(scale)
    right = (fractions == 0.5) & (np.abs(exponents - 1) <= MAX_EXPONENT)
    right &= scale.astype(given.dtype) == given  # an integer beyond 2^53 may have been rounded
    if not right.all():
        j = int(np.argmin(right))
        refuse(
            f"{name}[{j}] is {show(given[j].item())}, which is no power of two from "
            f"2^-{MAX_EXPONENT} to 2^{MAX_EXPONENT}; with others coordinates would be rounded, so "
            f"pass the nearest power of two"
        )
    return frozen(np.array(scale))


def exponents_of(scale: np.ndarray) -> list[int]:
    """Exponents of checked powers of two."""
    exponents: list[int] = (np.frexp(scale)[1] - 1).tolist()
    return exponents


def scaled(points: Points, scale: np.ndarray | None, name: str = "X") -> Points:
    """Multiply points by a checked scale, or return them as they are without one.

    The scaled points are float32 only where they and the products are normal numbers of float32 or
    0, as the largest and the least magnitude of all points tell; else they are float64, in which a
    product of a number of float32 is exact. Products of numbers of float64 are exact down to
    2^-1022 and rounded below, to the same number wherever the point stands.

    Parameters
    ----------
    points : Points
    scale : ndarray of shape (n_features,), float64, or None
    name : str
        What messages call the points.

    Raises
    ------
    InvalidInputError
        If a product is beyond float64.
    """
    if scale is None or not points.n_samples:
        return points
    return _times(points, scale, np.dtype(_scaled_dtype(points, scale, name)))


def exactly_scaled(points: Points, scale: np.ndarray | None) -> Points:
    """Multiply the points of a fit, none of which may be rounded: different ones stay different.

    Raises
    ------
    InvalidInputError
        As `scaled`, and if a product is below 2^-1022 and would be rounded.
    """
    if scale is None or not points.n_samples:
        return points
    dtype = np.dtype(_scaled_dtype(points, scale, "X"))
    smallest, _ = magnitudes(points)
    if math.frexp(smallest)[1] + math.frexp(float(scale.min()))[1] - 2 < _LEAST_64:
        _refuse_first(points, scale, "X", too_large=False)
    return _times(points, scale, dtype)


def _times(points: Points, scale: np.ndarray, dtype: np.dtype) -> Points:
    """Multiply points, in the type in which that is exact."""
    if points.elsewhere is not None:
        return points.elsewhere.times(scale, dtype)
    array = points.array
    if array is not None and array.size * dtype.itemsize <= BLOCK_BYTES:  # one row, as a rule
        whole = Points(np.multiply(array, scale.astype(dtype), dtype=dtype))
        whole.feature_names = points.feature_names
        return whole
    return ScaledPoints(points, scale, dtype)


class ScaledPoints(PointsOfPoints):
    """Points multiplied by powers of two, block by block as they are handed out."""

    __slots__ = ("_scale",)

    def __init__(self, points: Points, scale: np.ndarray, dtype: np.dtype) -> None:
        super().__init__(points, points.n_samples, dtype)
        self._scale = frozen(scale.astype(dtype))
        row_bytes = 16 * points.row_values if self.is_sparse else dtype.itemsize * self.n_features
        self.max_block_rows = min(points.max_block_rows, max(1, BLOCK_BYTES // row_bytes))

    def block(self, start: int, stop: int) -> Any:
        """Return rows as in `Points`, scaled."""
        return self._times(self._points.block(start, stop))

    def take(self, indices: np.ndarray) -> Any:
        """Return rows as in `Points`, scaled."""
        return self._times(self._points.take(indices))

    def _times(self, rows: Any) -> Any:
        if not isinstance(rows, SparseRows):
            return frozen(np.multiply(rows, self._scale, dtype=self.dtype))
        values = np.multiply(rows.values, self._scale[rows.columns], dtype=self.dtype)
        return SparseRows(frozen(values), rows.columns, rows.starts, rows.n_features)


def _scaled_dtype(points: Points, scale: np.ndarray, name: str) -> type:
    """The type in which products are exact; refuse those beyond float64."""
    low, high = float(scale.min()), float(scale.max())
    least, most = math.frexp(low)[1] - 1, math.frexp(high)[1] - 1
    smallest, largest = magnitudes(points)
    bottom, top = math.frexp(smallest)[1] - 1, math.frexp(largest)[1] - 1  # 2^e <= |x| < 2^(e + 1)
    if points.dtype == np.float32:
        fits = bottom + least >= _LEAST_32 and top + most <= _MOST_32
        return np.float32 if fits and least >= _LEAST_32 and most <= _MOST_32 else np.float64
    if top + most > _MOST_64:
        _refuse_first(points, scale, name, too_large=True)
    return np.float64


def magnitudes(points: Points) -> tuple[float, float]:
    """The least magnitude above 0 and the largest of all coordinates; 1 and 1 where all are 0."""
    if points.elsewhere is not None:
        return points.elsewhere.magnitudes()
    smallest, largest = math.inf, 0.0
    for start, stop in row_ranges(points):
        block = points.block(start, stop)
        sizes = np.abs(block.values if points.is_sparse else block)
        if not sizes.size:
            continue
        least = float(sizes.min())
        if least == 0.0:
            least = float(sizes.min(where=sizes > 0, initial=np.inf))
        smallest, largest = min(smallest, least), max(largest, float(sizes.max()))
    return (smallest, largest) if largest else (1.0, 1.0)


class Inexact(NamedTuple):
    """A coordinate that cannot be scaled: its row, column and value."""

    row: int
    column: int
    value: float


def first_inexact(points: Points, scale: np.ndarray, too_large: bool) -> Inexact | None:
    """The first coordinate whose product with the scale is infinite, or else is rounded."""
    if points.elsewhere is not None:
        return points.elsewhere.first_inexact(scale, too_large)
    for start, stop in row_ranges(points):
        block = points.block(start, stop)
        values = block.values if points.is_sparse else block
        factors = scale[block.columns] if points.is_sparse else scale
        with np.errstate(over="ignore"):
            product = values * factors
            wrong = np.isinf(product) if too_large else product / factors != values
        if not wrong.any():
            continue
        place = int(np.argmax(wrong))
        if points.is_sparse:
            i = int(np.searchsorted(block.starts, place, side="right")) - 1
            j = int(block.columns[place])
        else:
            i, j = divmod(place, points.n_features)
        return Inexact(start + i, j, float(values.reshape(-1)[place]))
    return None


def _refuse_first(points: Points, scale: np.ndarray, name: str, too_large: bool) -> None:
    """Refuse the first product with the scale that is infinite, or was rounded, if there is one."""
    found = first_inexact(points, scale, too_large)
    if found is not None:
        fault = "is beyond float64" if too_large else "has no room for its digits"
        cure = "a smaller number" if too_large else "a larger power of two for it"
        refuse(
            f"{name}[{found.row}, {found.column}] is {found.value:.6g}, which {fault} once it is "
            f"multiplied by {scale[found.column]:.6g}, the scale of its feature; pass {cure}"
        )
