"""Hyperplanes whose weights are stored, and what all kinds of first layers have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs import check_hyperplanes
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.sparse import transpose
from fastmem.machine.arrays import frozen

PanelMaker = Callable[[np.ndarray, int, int, np.ndarray], object]
"""make(columns, first, last, panels): panels[g, k, h] = weight of the hyperplane g L + h, among
those it is for, at columns[k], first <= k < last; panels (groups, c, L) float32. ``columns`` is
empty for all columns in order. Beyond the last hyperplane stands 0."""


@dataclass(frozen=True, eq=False)
class Hyperplanes:
    """The first layer: n hyperplanes in R^d, ``<weights[i], x> + biases[i] = 0``.

    Attributes
    ----------
    weights : ndarray of shape (n, d), float32
    biases : ndarray of shape (n,), float64
    origin : ndarray of shape (d,), float64
        Point near the data, and
    radius : float
        distance from it within which most data lie. Both speed up the float32 filter of
        :func:`fastmem.sign_patterns`; no bit depends on them.

    Raises
    ------
    InvalidInputError
        Where shapes, dtypes or values cannot be hyperplanes.
    """

    weights: np.ndarray
    biases: np.ndarray
    origin: np.ndarray = None  # type: ignore[assignment]
    radius: float = 1.0

    _defining: ClassVar[tuple[str, ...]] = ("weights", "biases", "origin", "radius")
    """Arguments of the constructor, in order."""

    def __post_init__(self) -> None:
        weights, biases = check_hyperplanes(self.weights, self.biases)
        self._set(
            weights=weights, biases=biases, origin=checked_origin(self.origin, weights.shape[1]),
            radius=checked_radius(self.radius),
        )  # fmt: skip

    def _set(self, **attributes: object) -> None:
        """Set attributes; of arrays read-only copies, which nobody can change unseen."""
        for name, value in attributes.items():
            if isinstance(value, np.ndarray):
                value = frozen(value.copy())
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """Pickle and copy what defines the layer, through the constructor.

        It makes the arrays read-only again: kernels would be compiled once more for writable ones.
        """
        return type(self), tuple(getattr(self, name) for name in self._defining)

    def __len__(self) -> int:
        return len(self.biases)

    @property
    def n_words(self) -> int:
        """Words of 64 bits in a sign pattern."""
        return -(-len(self) // WORD_BITS)

    @property
    def n_features(self) -> int:
        """The dimension d."""
        return len(self.origin)

    @property
    def keeps_weights(self) -> bool:
        """Whether all weights are in memory, once they have been used."""
        return True

    @property
    def n_nonzero(self) -> int:
        """Weights and biases that are not zero."""
        return int(np.count_nonzero(self.weights) + np.count_nonzero(self.biases))

    def extended(self, weights: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        """These hyperplanes and, after them, others: weights (m, d) float32, biases (m,)."""
        return Hyperplanes(
            np.concatenate([self.weights, weights]),
            np.concatenate([self.biases, biases]),
            self.origin,
            self.radius,
        )

    def subset(self, kept: np.ndarray) -> Hyperplanes:
        """The hyperplanes ``kept``, numbers in ascending order, as the same kind."""
        return Hyperplanes(self.weights[kept], self.biases[kept], self.origin, self.radius)

    def joined(self, others: Hyperplanes) -> Hyperplanes:
        """These hyperplanes and, after them, others."""
        return self.extended(others.weights, others.biases)

    def about(self, origin: np.ndarray, radius: float) -> Hyperplanes:
        """The same hyperplanes with another origin and radius."""
        arguments = {name: getattr(self, name) for name in self._defining}
        return type(self)(**arguments | {"origin": origin, "radius": radius})

    def panel_maker(self, start: int, stop: int) -> PanelMaker:
        """What writes the weights of the hyperplanes start..stop-1 for sparse points."""
        return partial(transpose, self.weights, np.arange(start, stop))

    @property
    def scale(self) -> float:
        """Power of two, so that scaling rounds nothing, that brings the points to norm 1."""
        exponent = int(np.ceil(np.log2(self.radius))) if self.radius > 0 else 0
        return float(2.0 ** -np.clip(exponent, -1000, 1000))


def checked_origin(origin: np.ndarray | None, d: int) -> np.ndarray:
    """A point of d finite coordinates; zeros for None."""
    point = np.zeros(d) if origin is None else np.array(origin, np.float64)
    if point.shape != (d,) or not np.isfinite(point).all():
        raise InvalidInputError(
            f"origin has shape {point.shape} or is not finite; pass {d} finite coordinates"
        )
    return point


def checked_radius(radius: float) -> float:
    """A finite distance."""
    if not 0 <= radius < np.inf:
        raise InvalidInputError(f"radius is {radius}; pass a finite distance")
    return radius
