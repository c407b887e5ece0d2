"""What is measured of all points of a fit, wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Measures(Protocol):
    """Where points are. It is measured of some points at a time, and joined in any order."""

    n_samples: int

    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest number of each column, (d,) float64 each."""

    def sums(self, middle: np.ndarray, digits: np.ndarray) -> np.ndarray:
        """Sums of columns, (d,) int64, of rint((x - middle) 2^digits)."""

    def largest_squares(self, mean: np.ndarray, scale: float) -> tuple[float, float]:
        """The largest square of a norm, and of a distance from ``mean``; of points times scale."""


class MeasuresElsewhere(Measures, Protocol):
    """`Measures` of points on other machines, and which of them may be equal."""

    @property
    def votes(self) -> Any:
        """What a fit with decision="vote" asks there: see ``vote.elsewhere``."""

    def n_rounds(self) -> int:
        """How often other machines were asked so far."""

    def rooms(self) -> Sequence[Any]:
        """What each place has for a fit: see ``fit_memory.Room``."""

    def equal_hashes(self, like: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, int]:
        """Rows whose hashes occur more than once, ascending, and the place of each one's hash.

        Among all hashes that do, of which the number comes last; or, given rows ``like``, all rows
        that have the hash of one of them.
        """

    def digests(self, rows: np.ndarray) -> np.ndarray:
        """See ``equal_rows.row_digests``."""

    def relabel(self, rows: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, Any]:
        """Give rows, ascending int64, other labels for good.

        Returns the codes that still occur, (k,) int64, and the labels of all points: codes[rows] is
        a place among them.
        """

    def once(self, rows: np.ndarray) -> tuple[Any, Any]:
        """Drop all points for good but some rows, ascending; returns `Points` and their labels."""

    def ranges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``spread.ranges_of``."""

    def spread_sums(self, middle: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """See ``spread.spread_sums``."""

    def magnitudes(self) -> tuple[float, float]:
        """See ``scaled_points.magnitudes``."""

    def first_inexact(self, scale: np.ndarray, too_large: bool) -> Any:
        """See ``scaled_points.first_inexact``."""

    def times(self, scale: np.ndarray, dtype: np.dtype) -> Any:
        """The points, `Points`, multiplied by a scale for good, as numbers of a dtype."""
