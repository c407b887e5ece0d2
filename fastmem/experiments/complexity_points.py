"""The points of the study of complexity: scaled as a fit would, and nested samples of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.inputs import Points, Settings, exactly_scaled
from fastmem.machine.clock import Clock
from fastmem.network.report import Scaling
from fastmem.problem import checked_problem
from fastmem.widths.scaling import chosen_scale

SMALLEST_SAMPLE = 20
MOST_SAMPLES = 7

Array = NDArray[Any]


def scaled_as_by_a_fit(
    X: Any, y: Any, points: Points, scale: Any, settings: Settings
) -> tuple[Any, Scaling]:
    """The points times powers of two, as a fit would choose them, and what was done."""
    problem = checked_problem(
        X, y, scale=scale, contradictions="majority", seed=settings.seed,
        n_threads=settings.n_threads,
    )  # fmt: skip
    problem, scaling = chosen_scale(problem, Clock())
    if problem.scale is None:
        return X, scaling
    if points.is_sparse:
        return X.tocsr().multiply(problem.scale).tocsr(), scaling
    return exactly_scaled(points, problem.scale).block(0, points.n_samples), scaling


class Usable:
    """The points without contradictions, in an order whose beginnings are samples of them.

    Every class stands among the first few of the order, so that each sample has all of them.
    """

    def __init__(
        self, X: Any, y: Any, codes: Array, usable: Array, generator: np.random.Generator
    ) -> None:
        self.X, self.y = X, np.asarray(y).reshape(-1)
        if self.y.dtype == object:
            self.y = np.array(self.y.tolist())
        self.codes = codes
        order = generator.permutation(np.flatnonzero(usable))
        first = np.unique(codes[order], return_index=True)[1]
        self.rows = np.concatenate([order[np.sort(first)], np.delete(order, first)])

    def sample(self, n: int) -> tuple[Any, Array]:
        """The first n points of the order, as users give them, and their labels."""
        rows = np.sort(self.rows[:n])
        return rows_of(self.X, rows), self.y[rows]

    def sizes(self, most: int) -> list[int]:
        """Sizes of nested samples, each twice the one before, up to all points or so many."""
        sizes = [min(most, len(self.rows))]
        least = max(SMALLEST_SAMPLE, 2 * len(np.unique(self.codes)))
        while len(sizes) < MOST_SAMPLES and sizes[-1] // 2 >= least:
            sizes.append(sizes[-1] // 2)
        return sizes[::-1]


def rows_of(X: Any, rows: Array) -> Any:
    """Some rows of points, as users give them."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if hasattr(X, "tocsr"):
        return X.tocsr()[rows]
    return np.asarray(X)[rows]
