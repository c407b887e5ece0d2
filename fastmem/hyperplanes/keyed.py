"""Hyperplanes of a few entries each, +-1 at columns that a key of 64 bits names.

A bit costs as many additions as a row has entries. A file holds the key, how far the hyperplanes
spread, and an origin of few bits, instead of weights and biases. ``kernels.keyed_rows`` says what
the rows are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.hyperplanes.extent import extent_of
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.numbered import NumberedHyperplanes
from fastmem.inputs import Points, check_keyed
from fastmem.inputs.points import row_ranges
from fastmem.kernels.keyed_rows import keyed_biases, keyed_entries
from fastmem.machine.arrays import frozen

SHORT_BITS = 8
"""Significant bits of the reach and of the levels of an origin: two bytes each in a file."""
MOST_CODES = 1 << 16
"""Features whose origin has codes."""


@dataclass(frozen=True, eq=False)
class CoarseOrigin:
    """A point of few bits a coordinate: low + step * codes.

    Attributes
    ----------
    low, step : float
        float32 numbers; step is at least 0.
    codes : ndarray of shape (d,), uint8
        All 0 for one number at all coordinates.

    Raises
    ------
    InvalidInputError
        Where the numbers are not these.
    """

    low: float
    step: float
    codes: np.ndarray

    def __post_init__(self) -> None:
        codes = self.codes
        if not isinstance(codes, np.ndarray) or codes.dtype != np.uint8 or codes.ndim != 1:
            raise InvalidInputError("codes is no uint8 array of one dimension; convert it")
        for name in ("low", "step"):
            object.__setattr__(self, name, float32_number(getattr(self, name), name))
        if self.step < 0:
            raise InvalidInputError(f"step is {self.step}; pass a distance of levels, 0 or above")
        if len(codes) > MOST_CODES and codes.any():
            raise InvalidInputError(
                f"codes are there for {len(codes):,} features; pass zeros for more than "
                f"{MOST_CODES:,}"
            )
        object.__setattr__(self, "codes", frozen(codes.copy()))

    def __reduce__(self) -> tuple[type, tuple[float, float, np.ndarray]]:
        """Through the constructor, which makes the codes read-only again."""
        return CoarseOrigin, (self.low, self.step, self.codes)

    @cached_property
    def point(self) -> np.ndarray:
        """The coordinates, (d,) float64; products are exact."""
        return frozen(self.low + self.step * self.codes.astype(np.float64))


class ShortEntries(NamedTuple):
    """Entries of hyperplanes that are not zero, row after row.

    starts (n + 1,) int64: those of row h are starts[h]..starts[h + 1] - 1 of columns (entries,)
    int32 and weights float32. A column may be there twice: its weights add.
    """

    starts: np.ndarray
    columns: np.ndarray
    weights: np.ndarray


class KeyedHyperplanes(NumberedHyperplanes):
    """Hyperplanes of a few entries +-1 that are computed from a key.

    Attributes
    ----------
    key : int
        0 to 2^64 - 1.
    rows : ndarray of shape (n,), int32
        2 k for the k-th row of the key, 2 k + 1 for minus it; or -1 - i for row i of ``extra``.
    n_entries : int
        Entries of a row, s: 1 to 65,535.
    reach : float
        A float32 number: biases about the origin are uniform on (-reach, reach).
    center : CoarseOrigin
        The origin that the biases are about.
    extra : ndarray of shape (n_extra, d), float32
        Rows that are stored.
    extra_biases : ndarray of shape (n_extra,), float64
    radius : float
        As of Hyperplanes: a guess from ``reach``.
    weights : ndarray of shape (n, d), float32
        All rows, small whole numbers where they come from the key, computed when first asked for.
    biases : ndarray of shape (n,), float64
        Likewise.

    Raises
    ------
    InvalidInputError
        Where shapes, dtypes or values cannot be hyperplanes.
    """

    key: int
    n_entries: int
    reach: float
    center: CoarseOrigin
    extra_biases: np.ndarray

    _defining = (
        "key", "rows", "n_entries", "reach", "center", "extra", "extra_biases",
    )  # fmt: skip

    def __init__(
        self,
        key: int,
        rows: np.ndarray,
        n_entries: int,
        reach: float,
        center: CoarseOrigin,
        extra: np.ndarray | None = None,
        extra_biases: np.ndarray | None = None,
    ) -> None:
        if extra is None or extra_biases is None:
            extra, extra_biases = np.empty((0, len(center.codes)), np.float32), np.empty(0)
        key, rows, n_entries, extra, extra_biases = check_keyed(
            key, rows, n_entries, extra, extra_biases
        )
        if len(center.codes) != extra.shape[1]:
            raise InvalidInputError(
                f"center has {len(center.codes)} coordinates where extra has {extra.shape[1]} "
                f"columns; pass one for each feature"
            )
        reach = float32_number(reach, "reach")
        if reach < 0:
            raise InvalidInputError(f"reach is {reach}; pass a distance, 0 or above")
        # biases reach some standard deviations of a row's sum
        radius = 2 * reach * math.sqrt(extra.shape[1] / n_entries) or 1.0
        self._set(
            key=key, rows=rows, n_entries=n_entries, reach=reach, center=center, extra=extra,
            extra_biases=extra_biases, origin=center.point, radius=radius,
        )  # fmt: skip
        self._set(biases=self._biases())

    def _generated(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shape = len(numbers), self.n_entries
        columns, weights = np.empty(shape, np.int32), np.empty(shape, np.float32)
        units = np.empty(len(numbers))
        key, whole = np.uint64(self.key), numbers.astype(np.int64)
        keyed_entries(key, whole, self.n_features, columns, weights, units)
        return columns, weights, units

    def _biases(self) -> np.ndarray:
        is_extra = self.rows < 0
        made = np.empty(np.count_nonzero(~is_extra))
        center = self.center
        columns, weights, units = self._generated(self.rows[~is_extra])
        keyed_biases(
            columns, weights, units, center.codes, center.low, center.step, self.reach, made
        )
        biases = np.empty(len(self.rows))
        biases[~is_extra] = made
        biases[is_extra] = self.extra_biases[-1 - self.rows[is_extra]]
        return biases

    def generated(self, numbers: np.ndarray) -> np.ndarray:
        """Weights of the generated rows of these numbers, (len(numbers), d) float32."""
        columns, entries, _ = self._generated(numbers)
        weights = np.zeros((len(numbers), self.n_features), np.float32)
        np.add.at(weights, (np.arange(len(numbers))[:, None], columns), entries)
        return weights

    @cached_property
    def entries(self) -> ShortEntries:
        """What is not zero, without the zeros between."""
        is_extra = self.rows < 0
        sizes = np.full(len(self.rows), self.n_entries, np.int64)
        places = [np.flatnonzero(row) for row in self.extra]
        sizes[is_extra] = [len(some) for some in places]
        starts = np.zeros(len(self.rows) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        columns, weights = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
        made, signs, _ = self._generated(self.rows[~is_extra])
        at = starts[:-1][~is_extra][:, None] + np.arange(self.n_entries)
        columns[at], weights[at] = made, signs
        for h, some in zip(np.flatnonzero(is_extra), places, strict=True):
            columns[starts[h] : starts[h + 1]] = some
            weights[starts[h] : starts[h + 1]] = self.extra[-1 - self.rows[h], some]
        return ShortEntries(frozen(starts), frozen(columns), frozen(weights))

    def _with_stored(
        self, rows: np.ndarray, extra: np.ndarray, extra_biases: np.ndarray
    ) -> KeyedHyperplanes:
        return KeyedHyperplanes(
            self.key, rows, self.n_entries, self.reach, self.center, extra, extra_biases
        )

    def _with(self, rows: np.ndarray, extra: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        return self._with_stored(rows, extra, biases[rows < 0])

    def about(self, origin: np.ndarray, radius: float) -> Hyperplanes:
        """See Hyperplanes; with stored weights, because the origin is part of the biases."""
        return self.explicit.about(origin, radius)

    def numbered(self, rows: np.ndarray) -> KeyedHyperplanes:
        """Other rows of the key, (n,) int32; what is stored stays as it is."""
        return self._with_stored(rows, self.extra, self.extra_biases)


def as_keyed(first: Hyperplanes) -> KeyedHyperplanes:
    """Hyperplanes as rows of a key; those of another kind with all weights stored."""
    if isinstance(first, KeyedHyperplanes):
        return first
    rows = -1 - np.arange(len(first), dtype=np.int32)
    center = CoarseOrigin(0.0, 0.0, np.zeros(first.n_features, np.uint8))
    return KeyedHyperplanes(0, rows, 1, 0.0, center, first.weights, first.biases)


def float32_number(value: float, name: str) -> float:
    """A finite number that float32 holds.

    Raises
    ------
    InvalidInputError
        For any other.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    with np.errstate(over="ignore"):
        if not np.isfinite(number) or float(np.float32(number)) != number:
            raise InvalidInputError(
                f"{name} is {value!r}; pass a finite number that float32 holds exactly"
            )
    return number


def keyed_candidates(
    key: int,
    n: int,
    n_entries: int,
    points: Points,
    *,
    width: float = 0.5,
    bits: int = 2,
    n_threads: int = 1,
) -> KeyedHyperplanes:
    """The first n rows of a key, about points: biases reach ``width`` root mean squares.

    Parameters
    ----------
    key : int
    n, n_entries : int
        Hyperplanes and entries of each.
    points : Points
        Of magnitudes that float32 holds: scale others.
    width : float
        Reach of the biases in standard deviations of the sum of a row's entries.
    bits : int
        Bits of a coordinate of the origin, 0 (one number for all) to 8.

    Returns
    -------
    KeyedHyperplanes
        Rows 0, 2, ..., 2 n - 2.
    """
    center = coarse_origin(extent_of(points, n_threads).mean, bits)
    spread = _spread(points, center.point)
    reach = _rounded(width * spread * np.sqrt(n_entries))
    rows = np.arange(0, 2 * n, 2, dtype=np.int32)
    return KeyedHyperplanes(key, rows, n_entries, reach, center)


def _spread(points: Points, center: np.ndarray) -> float:
    """Root mean square of all coordinates about a point (d,) float64."""
    total = float(points.n_samples * np.sum(center * center)) if points.is_sparse else 0.0
    for start, stop in row_ranges(points):
        block = points.block(start, stop)
        if points.is_sparse:  # what is not stored adds the square of its centre
            here = center[block.columns]
            total += float(np.sum((block.values - here) ** 2 - here * here))
        else:
            total += float(np.sum((block - center) ** 2))
    return float(np.sqrt(max(total, 0.0) / (points.n_samples * points.n_features)))


def _rounded(value: float) -> float:
    """A float32 number of SHORT_BITS significant bits, which sums in any order agree on."""
    fraction, exponent = math.frexp(value)
    whole = round(math.ldexp(fraction, SHORT_BITS))
    return float(np.float32(math.ldexp(whole, exponent - SHORT_BITS)))


def coarse_origin(mean: np.ndarray, bits: int) -> CoarseOrigin:
    """A point of ``bits`` bits a coordinate near ``mean`` (d,) float64: evenly spaced levels."""
    if bits == 0 or len(mean) > MOST_CODES:
        low = _rounded(float(mean.mean()))
        return CoarseOrigin(low, 0.0, np.zeros(len(mean), np.uint8))
    least, most = float(mean.min()), float(mean.max())
    levels = (1 << bits) - 1
    low, step = _rounded(least), _rounded((most - least) / levels)
    codes = np.zeros(len(mean))
    if step > 0:
        codes = np.clip(np.rint((mean - low) / step), 0, levels)
    return CoarseOrigin(low, step, codes.astype(np.uint8))
