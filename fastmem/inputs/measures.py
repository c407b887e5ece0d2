"""What is measured of all points of a fit, wherever they are."""

from __future__ import annotations

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
    """`Measures` of points on other machines, and which of them may be equal.

    Attributes
    ----------
    votes : Any
        What a fit with decision="vote" asks there; see ``vote.elsewhere``.
    """

    votes: Any

    def equal_hashes(self, like: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, int]:
        """Rows whose hashes occur more than once, ascending, and the place of each one's hash.

        Among all hashes that do, of which the number comes last; or, given rows ``like``, all rows
        that have the hash of one of them.
        """

    def digests(self, rows: np.ndarray) -> np.ndarray:
        """See ``equal_rows.row_digests``."""

    def relabelled(self, kept: np.ndarray, rows: np.ndarray, codes: np.ndarray) -> Any:
        """The points, `Points`, with some ``rows`` of other classes for good.

        kept : classes, by their old codes, that points have still; codes (N,) of all among these.
        """

    def once(self, rows: np.ndarray, codes: np.ndarray) -> Any:
        """Some of the points, `Points`, the others dropped for good: ascending, and their codes."""

    def ranges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``spread.ranges_of``."""

    def spread_sums(self, middle: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """See ``spread.spread_sums``."""

    def magnitudes(self) -> tuple[float, float]:
        """See ``scaled_points.magnitudes``."""

    def times(self, scale: np.ndarray, dtype: np.dtype) -> Any:
        """The points, `Points`, multiplied by a scale for good, as numbers of a dtype."""
