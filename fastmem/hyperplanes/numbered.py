"""Hyperplanes whose weights are computed from their numbers."""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes, PanelMaker
from fastmem.kernels.sparse import transpose
from fastmem.machine.arrays import frozen


class NumberedHyperplanes(Hyperplanes):
    """Hyperplanes whose weights are computed from their numbers, and some that are stored.

    Attributes
    ----------
    rows : ndarray of shape (n,), int32
        Number, at least 0, of the generated row; or -1 - i for row i of ``extra``.
    extra : ndarray of shape (n_extra, d), float32
        Rows that are stored, in order of use.
    biases, origin, radius
        As of Hyperplanes.
    """

    rows: np.ndarray
    extra: np.ndarray

    def __repr__(self) -> str:
        return (
            f"<fastmem.{type(self).__name__}: {len(self)} in {self.n_features} dimensions, "
            f"{len(self.extra)} stored>"
        )

    def generated(self, numbers: np.ndarray) -> np.ndarray:
        """Weights of the generated rows of these numbers, (len(numbers), d) float32."""
        raise NotImplementedError

    def _with(self, rows: np.ndarray, extra: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        """The same kind with other rows."""
        raise NotImplementedError

    @property
    def keeps_weights(self) -> bool:
        """Whether all weights are in memory, once they have been used."""
        return False

    @cached_property
    def weights(self) -> np.ndarray:
        """All weights, (n, d) float32: the numbers that define the bits."""
        return frozen(self.weights_of(slice(None)))

    def weights_of(self, some: slice) -> np.ndarray:
        """Weights of some of the hyperplanes, float32."""
        rows = self.rows[some]
        weights = np.empty((len(rows), self.n_features), np.float32)
        weights[rows >= 0] = self.generated(rows[rows >= 0])
        weights[rows < 0] = self.extra[-1 - rows[rows < 0]]
        return weights

    @property
    def n_nonzero(self) -> int:
        """Weights and biases that are not zero."""
        size = max(1, (1 << 22) // self.n_features)  # never all weights at once
        counts = (
            np.count_nonzero(self.weights_of(slice(i, i + size))) for i in range(0, len(self), size)
        )
        return int(sum(counts) + np.count_nonzero(self.biases))

    def panel_maker(self, start: int, stop: int) -> PanelMaker:
        """See Hyperplanes."""
        return partial(transpose, self.weights_of(slice(start, stop)), np.arange(stop - start))

    @cached_property
    def explicit(self) -> Hyperplanes:
        """The same hyperplanes with all their weights stored."""
        return Hyperplanes(self.weights_of(slice(None)), self.biases, self.origin, self.radius)

    def extended(self, weights: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        """These hyperplanes and, after them, others, whose weights are stored."""
        more = -1 - np.arange(len(self.extra), len(self.extra) + len(weights), dtype=np.int32)
        return self._with(
            np.concatenate([self.rows, more]),
            np.concatenate([self.extra, weights]),
            np.concatenate([self.biases, biases]),
        )

    def subset(self, kept: np.ndarray) -> Hyperplanes:
        """The hyperplanes ``kept``, numbers in ascending order, as the same kind."""
        rows = self.rows[kept]
        is_extra = rows < 0
        extra = self.extra[-1 - rows[is_extra]]
        rows[is_extra] = -1 - np.arange(len(extra))
        return self._with(rows, extra, self.biases[kept])
