"""Gaussian hyperplanes whose weights are computed when they are needed, from a key of 64 bits.

For layers that would not fit in memory: a million columns, or many rows of ten thousand.
``kernels.normals`` says what the weights are. The model file holds the key instead of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar

import numpy as np

from fastmem.hyperplanes.gaussian import reaches, rows_between, through
from fastmem.hyperplanes.hyperplanes import Hyperplanes, PanelMaker, checked_origin, checked_radius
from fastmem.hyperplanes.numbered import NumberedHyperplanes
from fastmem.inputs import check_seeded
from fastmem.kernels.normals import normal_panels, normal_rows, row_seeds
from fastmem.machine.threads import ranges, run_tasks

_TASK_BYTES = 8 << 20


class SeededHyperplanes(NumberedHyperplanes):
    """Gaussian hyperplanes that are computed from a key.

    Attributes
    ----------
    key : int
        0 to 2^64 - 1.
    rows : ndarray of shape (n,), int32
        2 k for the k-th row of the key, 2 k + 1 for minus it; or -1 - i for row i of ``extra``.
    extra : ndarray of shape (n_extra, d), float32
        Rows that are stored.
    biases : ndarray of shape (n,), float64
    origin, radius
        As of Hyperplanes.
    weights : ndarray of shape (n, d), float32
        All rows, computed when first asked for: 4 n d bytes, which may be too many.

    Raises
    ------
    InvalidInputError
        Where shapes, dtypes or values cannot be hyperplanes.
    """

    key: int

    _defining = ("key", "rows", "extra", "biases", "origin", "radius")

    def __init__(
        self,
        key: int,
        rows: np.ndarray,
        extra: np.ndarray,
        biases: np.ndarray,
        origin: np.ndarray | None = None,
        radius: float = 1.0,
    ) -> None:
        key, rows, extra, biases = check_seeded(key, rows, extra, biases)
        self._set(
            key=key, rows=rows, extra=extra, biases=biases,
            origin=checked_origin(origin, extra.shape[1]), radius=checked_radius(radius),
        )  # fmt: skip

    def generated(self, numbers: np.ndarray) -> np.ndarray:
        """Weights of the generated rows of these numbers, (len(numbers), d) float32."""
        weights = np.empty((len(numbers), self.n_features), np.float32)
        normal_rows(*_seeds(self.key, numbers), weights)
        return weights

    def _with(self, rows: np.ndarray, extra: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        return SeededHyperplanes(self.key, rows, extra, biases, self.origin, self.radius)

    def joined(self, others: Hyperplanes) -> Hyperplanes:
        """These hyperplanes and, after them, others; of the same key, none is stored anew."""
        if not isinstance(others, SeededHyperplanes) or others.key != self.key:
            return super().joined(others)
        rows = np.where(others.rows < 0, others.rows - len(self.extra), others.rows)
        return self._with(
            np.concatenate([self.rows, rows.astype(np.int32)]),
            np.concatenate([self.extra, others.extra]),
            np.concatenate([self.biases, others.biases]),
        )

    def panel_maker(self, start: int, stop: int) -> PanelMaker:
        """See Hyperplanes."""
        rows = self.rows[start:stop]

        def make(columns: np.ndarray, first: int, last: int, panels: np.ndarray) -> None:
            groups, _, lanes = panels.shape
            seeds = np.zeros(groups * lanes, np.uint64)
            signs = np.zeros(groups * lanes, np.float32)
            some = np.flatnonzero(rows >= 0)
            seeds[some], signs[some] = _seeds(self.key, rows[some])
            normal_panels(seeds, signs, columns, first, last, panels)
            for h in np.flatnonzero(rows < 0):
                row = self.extra[-1 - rows[h]]
                kept = row[columns[first:last]] if len(columns) else row[first:last]
                panels[h // lanes, first:last, h % lanes] = kept

        return make


def _seeds(key: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seeds, signs = np.empty(len(numbers), np.uint64), np.empty(len(numbers), np.float32)
    row_seeds(np.uint64(key), numbers.astype(np.int64), seeds, signs)
    return seeds, signs


@dataclass(frozen=True)
class SeededRows:
    """Source of the paper's hyperplanes, as GaussianRows, with weights that are not stored."""

    kind: ClassVar[str] = "gaussian"
    max_targets: ClassVar[int] = 256
    generator: np.random.Generator
    center: np.ndarray
    max_bias: float
    n_threads: int
    norms: np.ndarray | None = None
    key: int = field(init=False)
    _numbers: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", int(self.generator.integers(2**64, dtype=np.uint64)))
        object.__setattr__(self, "_numbers", count(0, 2))

    def draw(self, n: int, origin: np.ndarray, radius: float) -> SeededHyperplanes:
        """The next n hyperplanes."""
        numbers = np.array([next(self._numbers) for _ in range(n)], np.int32)
        reach = reaches(self.generator, n, self.max_bias, self.norms)
        biases = reach * self.generator.uniform(-1.0, 1.0, n)
        none = np.empty((0, len(self.center)), np.float32)
        made = SeededHyperplanes(self.key, numbers, none, biases, origin, radius)
        size = max(1, _TASK_BYTES // (4 * len(self.center)))

        def shift(task: tuple[int, int]) -> None:
            some = slice(*task)
            biases[some] = through(made.weights_of(some), self.center, biases[some])

        if self.center.any():
            run_tasks(shift, ranges(n, size), self.n_threads)
        return SeededHyperplanes(self.key, numbers, none, biases, origin, radius)

    def start(self, n: int, origin: np.ndarray, radius: float) -> Hyperplanes:
        """See RowSource."""
        return self.draw(n, origin, radius)

    def more(self, hyperplanes: Hyperplanes, n: int) -> Hyperplanes:
        """See RowSource."""
        return hyperplanes.joined(self.draw(n, hyperplanes.origin, hyperplanes.radius))

    def between(
        self,
        pairs: Iterable[np.ndarray],
        generator: np.random.Generator,
        n_random: int,
        origin: np.ndarray,
        radius: float,
    ) -> Hyperplanes:
        """Candidates that pass between pairs; see RowSource.

        Random rows are new ones of the key. Only where they pass too near to both points for
        float64 to tell are the last two rows of ``rows_between`` made, which are stored.
        """
        numbers: list[int] = []
        extra: list[np.ndarray] = []
        biases: list[float] = []
        for low, high in pairs:
            columns = np.flatnonzero((low != 0) | (high != 0))
            new = np.array([next(self._numbers) for _ in range(n_random)])
            panels = np.empty((1, max(1, len(columns)), n_random), np.float32)
            normal_panels(*_seeds(self.key, new), columns, 0, len(columns), panels)
            weights = panels[0, : len(columns)].T.astype(np.float64)
            gap, middle = high[columns] - low[columns], low[columns] / 2 + high[columns] / 2
            with np.errstate(over="ignore", invalid="ignore"):
                steps = np.sum(weights * gap, axis=1)
                sizes = np.sum(np.abs(weights * middle), axis=1)
                levels = -np.sum(weights * middle, axis=1)
            apart = np.abs(steps) > 1e-12 * sizes
            signs = np.where(steps < 0, -1.0, 1.0)
            usable = np.isfinite(levels) & apart
            numbers.extend(int(i) for i in (new + (steps < 0))[usable])
            biases.extend(float(b) for b in (signs * levels)[usable])
            if not usable.any():
                rows, shifts = rows_between(low, high, generator, 0)
                for row, shift in zip(rows, shifts, strict=True):
                    numbers.append(-1 - len(extra))
                    extra.append(row)
                    biases.append(float(shift) if np.isfinite(shift) else 0.0)
        stored = np.array(extra, np.float32).reshape(len(extra), len(self.center))
        return SeededHyperplanes(
            self.key, np.array(numbers, np.int32), stored, np.array(biases), origin, radius
        )
