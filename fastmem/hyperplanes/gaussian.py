"""Sources of hyperplanes, and rows that pass between two points."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.kernels.exact import shifted_biases
from fastmem.machine.arrays import frozen

_FEW_FEATURES = 64
"""Features up to which signs alone would make too few different rows."""
_SHARES = 15
"""The row across a segment has whole numbers up to so many."""


class RowSource(Protocol):
    """Where a first layer's hyperplanes come from; ``kind`` is their name in growth steps."""

    kind: ClassVar[str]

    def start(self, n: int, origin: np.ndarray, radius: float) -> Hyperplanes:
        """The first n hyperplanes; origin (d,) float64 and radius say where the points are."""

    def more(self, hyperplanes: Hyperplanes, n: int) -> Hyperplanes:
        """Those of ``start`` or ``more``, perhaps extended, and n more."""

    @property
    def max_targets(self) -> int:
        """Pairs for which ``between`` makes candidates at most."""

    def between(
        self,
        pairs: Iterable[np.ndarray],
        generator: np.random.Generator,
        n_random: int,
        origin: np.ndarray,
        radius: float,
    ) -> Hyperplanes:
        """Candidates that pass between pairs of points (low, high), high on the positive side.

        Each pair (2, d) float64. For each pair ``n_random`` random ones and, where it needs them,
        some that are made for it.
        """


class StoredCandidates:
    """A source of rows whose candidates between pairs are stored: those of ``rows_between``."""

    center: np.ndarray

    @property
    def max_targets(self) -> int:
        """See RowSource: so many that their candidates take some 16 MB."""
        return max(1, 2**22 // (8 * len(self.center)))

    def between(
        self,
        pairs: Iterable[np.ndarray],
        generator: np.random.Generator,
        n_random: int,
        origin: np.ndarray,
        radius: float,
    ) -> Hyperplanes:
        """See RowSource."""
        weights, biases = [], []
        for low, high in pairs:
            rows, shifts = rows_between(low, high, generator, n_random)
            weights.append(rows)
            # a rounded bias may be infinite for points of 1e308: such a row parts nothing
            biases.append(np.where(np.isfinite(shifts), shifts, 0.0))
        return Hyperplanes(np.concatenate(weights), np.concatenate(biases), origin, radius)


def through(weights: np.ndarray, point: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """biases - <weights, point>: the hyperplanes of ``biases`` about ``point``, (n,) float64.

    Not a BLAS product, whose last bits depend on its threads.
    """
    moved, errors = np.empty(len(weights)), np.empty(len(weights))
    shifted_biases(frozen(weights), frozen(biases), frozen(-point), moved, errors)
    return moved


def rows_between(
    low: np.ndarray, high: np.ndarray, generator: np.random.Generator, n_random: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hyperplanes that pass between two different points, ``high`` on the positive side.

    low, high (d,) float64. Returns weights (n_random + 2, d) float32 and biases: n_random random
    rows turned the right way round and put in the middle, then the one across the segment from
    low to high, then an axis row w = +-e_k, b = -+low_k. Rounding can spoil any but the last, which
    is exact: e_k(low) + b = 0, and positive at high, where their k-th coordinates differ.

    As these rows are stored, their weights have few digits: random ones are signs, or few features
    Gaussian numbers to a quarter, and the one across is rounded to whole shares.
    """
    gap = high - low
    if not np.isfinite(gap).all():
        gap = high / 2 - low / 2
    d, axis = len(low), int(np.argmax(np.abs(gap)))
    # towards 1, so that neither the squares nor float32 overflow or vanish
    direction = np.ldexp(gap, -int(np.frexp(gap[axis])[1]))
    weights = generator.standard_normal((n_random + 2, d), np.float32)
    few = np.copysign(1.0, weights) if d > _FEW_FEATURES else np.rint(4.0 * weights) / 4.0
    weights[:n_random] = few[:n_random]
    short = np.rint(_SHARES * direction)
    length = np.sqrt(np.sum(short * short))
    weights[n_random] = np.ldexp(short, int(np.frexp(np.sqrt(d) / length)[1]) - 1)
    weights[:n_random][np.sum(weights[:n_random] * direction, axis=1) < 0] *= -1
    middle = low / 2 + high / 2
    biases = through(weights, middle, np.zeros(len(weights)))
    weights[-1] = 0.0
    weights[-1, axis] = np.sign(gap[axis])
    biases[-1] = -weights[-1, axis] * low[axis]
    return weights, biases
