"""Gaussian hyperplanes, which a key of 64 bits stands for: ``kernels.normals`` says how.

The model file holds the key instead of weights. In memory they are made once and kept, but for
layers that would not fit, of a million columns, or many rows of ten thousand: these have their
weights computed whenever they are needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from typing import ClassVar, Self

import numpy as np

from fastmem.hyperplanes.bias_law import BiasLaw, checked_law, reaches_of, seeds_of
from fastmem.hyperplanes.gaussian import rows_between, through
from fastmem.hyperplanes.hyperplanes import Hyperplanes, PanelMaker, checked_origin, checked_radius
from fastmem.hyperplanes.numbered import NumberedHyperplanes
from fastmem.inputs import WEIGHT_BYTES, check_seeded
from fastmem.kernels.normals import normal_panels, normal_rows
from fastmem.kernels.sparse import transpose
from fastmem.machine.arrays import frozen
from fastmem.machine.threads import ranges, run_tasks

_TASK_BYTES = 8 << 20
_FEW_FEATURES = 4096
"""Features up to which candidates of all pairs get rows of their own beside those of the key: they
take 32 KB a pair at most."""
_STORED_VALUES = 1 << 19
_GROUP_VALUES = 1 << 16
"""Features of pairs whose candidates are made at a time."""
_SHORT = 2.0**-8
"""A bias in the middle of a pair is kept in float32 where that moves it by so small a share of the
way to either point."""


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
    law : BiasLaw or None
        How biases come from the key; those of which rows do is seen by comparing.
    weights : ndarray of shape (n, d), float32
        All rows, computed when first asked for: 4 n d bytes, which may be too many.

    Raises
    ------
    InvalidInputError
        Where shapes, dtypes or values cannot be hyperplanes.
    """

    key: int
    law: BiasLaw | None
    weight_bytes: int = WEIGHT_BYTES
    """Weights of more bytes are not kept, but computed whenever points are looked at."""

    _defining = ("key", "rows", "extra", "biases", "origin", "radius", "law")

    def __init__(
        self,
        key: int,
        rows: np.ndarray,
        extra: np.ndarray,
        biases: np.ndarray,
        origin: np.ndarray | None = None,
        radius: float = 1.0,
        law: BiasLaw | None = None,
    ) -> None:
        key, rows, extra, biases = check_seeded(key, rows, extra, biases)
        self._set(
            key=key, rows=rows, extra=extra, biases=biases,
            origin=checked_origin(origin, extra.shape[1]), radius=checked_radius(radius),
            law=checked_law(law, extra.shape[1]),
        )  # fmt: skip

    @property
    def keeps_weights(self) -> bool:
        """Whether all weights are few enough to be kept in memory."""
        return 4 * len(self) * self.n_features <= self.weight_bytes

    def limited(self, weight_bytes: int, weights: np.ndarray | None = None) -> Self:
        """The layer itself, which is to keep so many bytes of weights at most, its own if given.

        Only for one that nobody else has seen yet.
        """
        object.__setattr__(self, "weight_bytes", weight_bytes)
        if weights is not None and self.keeps_weights:
            vars(self)["weights"] = frozen(weights)
        return self

    def generated(self, numbers: np.ndarray) -> np.ndarray:
        """Weights of the generated rows of these numbers, (len(numbers), d) float32."""
        weights = np.empty((len(numbers), self.n_features), np.float32)
        normal_rows(*seeds_of(self.key, numbers), weights)
        return weights

    def weights_of(self, some: slice) -> np.ndarray:
        """Weights of some of the hyperplanes, float32."""
        kept = vars(self).get("weights")
        return super().weights_of(some) if kept is None else kept[some]

    def keyed_biases(self, n_threads: int = 1) -> np.ndarray:
        """Biases that the law gives the rows of the key, (n,) float64; 0 for stored rows."""
        biases = np.zeros(len(self))
        if self.law is None:
            return biases
        of_key = self.rows >= 0
        reaches, shares = self.law.uniform(self.key, self.rows[of_key])
        biases[of_key] = reaches * shares
        center = self.law.center

        def shift(task: tuple[int, int]) -> None:
            some = slice(*task)
            moved = through(self.weights_of(some), center, biases[some])
            biases[some] = np.where(of_key[some], moved, 0.0)

        if center.any():
            size = max(1, _TASK_BYTES // (4 * self.n_features))
            run_tasks(shift, ranges(len(self), size), n_threads)
        return biases

    def _with(self, rows: np.ndarray, extra: np.ndarray, biases: np.ndarray) -> SeededHyperplanes:
        made = SeededHyperplanes(self.key, rows, extra, biases, self.origin, self.radius, self.law)
        return made.limited(self.weight_bytes)

    def extended(self, weights: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        """These hyperplanes and, after them, others, whose weights are stored."""
        return self._and(super().extended(weights, biases), weights)

    def subset(self, kept: np.ndarray) -> Hyperplanes:
        """The hyperplanes ``kept``, numbers in ascending order, as the same kind."""
        some = super().subset(kept)
        if "weights" in vars(self) and isinstance(some, SeededHyperplanes):
            some.limited(self.weight_bytes, self.weights[kept])
        return some

    def joined(self, others: Hyperplanes) -> Hyperplanes:
        """These hyperplanes and, after them, others; of the same key, none is stored anew."""
        if not isinstance(others, SeededHyperplanes) or others.key != self.key:
            return super().joined(others)
        rows = np.where(others.rows < 0, others.rows - len(self.extra), others.rows)
        both = self._with(
            np.concatenate([self.rows, rows.astype(np.int32)]),
            np.concatenate([self.extra, others.extra]),
            np.concatenate([self.biases, others.biases]),
        )
        return self._and(both, vars(others).get("weights"))

    def _and(self, both: Hyperplanes, weights: np.ndarray | None) -> Hyperplanes:
        """Both layers, with the weights of this one and those after them, where they are kept."""
        kept = vars(self).get("weights")
        if kept is None or not isinstance(both, SeededHyperplanes) or not both.keeps_weights:
            return both
        if weights is None:
            weights = both.weights_of(slice(len(self), len(both)))
        return both.limited(self.weight_bytes, np.concatenate([kept, weights]))

    def panel_maker(self, start: int, stop: int) -> PanelMaker:
        """See Hyperplanes."""
        if "weights" in vars(self):
            return partial(transpose, self.weights, np.arange(start, stop))
        rows = self.rows[start:stop]

        def make(columns: np.ndarray, first: int, last: int, panels: np.ndarray) -> None:
            groups, _, lanes = panels.shape
            seeds = np.zeros(groups * lanes, np.uint64)
            signs = np.zeros(groups * lanes, np.float32)
            some = np.flatnonzero(rows >= 0)
            seeds[some], signs[some] = seeds_of(self.key, rows[some])
            normal_panels(seeds, signs, columns, first, last, panels)
            for h in np.flatnonzero(rows < 0):
                row = self.extra[-1 - rows[h]]
                kept = row[columns[first:last]] if len(columns) else row[first:last]
                panels[h // lanes, first:last, h % lanes] = kept

        return make


@dataclass(frozen=True)
class GaussianRows:
    """Source of the paper's hyperplanes: W_i ~ N(0, I_d), b_i ~ Uniform[-max_bias, max_bias].

    All numbers come from a key. The data are centred at ``center`` by folding it into the biases:
    <w, x - center> + b = <w, x> + (b - <w, center>). With ``norms`` (k,) of some points, b_i is
    uniform on [-r, r] for a random one of them, see `BiasLaw`. Weights of more than
    ``weight_bytes`` are not kept; the hyperplanes are the same.
    """

    kind: ClassVar[str] = "gaussian"
    generator: np.random.Generator
    center: np.ndarray
    max_bias: float
    norms: np.ndarray | None = None
    n_threads: int = 1
    weight_bytes: int = WEIGHT_BYTES
    key: int = field(init=False)
    law: BiasLaw = field(init=False)
    _numbers: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", int(self.generator.integers(2**64, dtype=np.uint64)))
        law = BiasLaw(reaches_of(self.max_bias, self.norms), self.center)
        object.__setattr__(self, "law", law)
        object.__setattr__(self, "_numbers", count(0, 2))

    @property
    def max_targets(self) -> int:
        """See RowSource: so many that their candidates take some 16 MB."""
        return max(256, _STORED_VALUES // len(self.center))

    def start(self, n: int, origin: np.ndarray, radius: float) -> SeededHyperplanes:
        """See RowSource."""
        d = len(self.center)
        numbers = np.array([next(self._numbers) for _ in range(n)], np.int32)
        none = np.empty((0, d), np.float32)
        law = self.law
        bare = SeededHyperplanes(self.key, numbers, none, np.zeros(n), origin, radius, law)
        bare.limited(self.weight_bytes)
        weights = None
        if bare.keeps_weights:
            weights = np.empty((n, d), np.float32)

            def make(task: tuple[int, int]) -> None:
                weights[slice(*task)] = bare.generated(numbers[slice(*task)])

            run_tasks(make, ranges(n, max(1, _TASK_BYTES // (4 * d))), self.n_threads)
            bare.limited(self.weight_bytes, weights)
        biases = bare.keyed_biases(self.n_threads)
        made = SeededHyperplanes(self.key, numbers, none, biases, origin, radius, law)
        return made.limited(self.weight_bytes, weights)

    def more(self, hyperplanes: Hyperplanes, n: int) -> Hyperplanes:
        """See RowSource."""
        return hyperplanes.joined(self.start(n, hyperplanes.origin, hyperplanes.radius))

    def between(
        self,
        pairs: Iterable[np.ndarray],
        generator: np.random.Generator,
        n_random: int,
        origin: np.ndarray,
        radius: float,
    ) -> Hyperplanes:
        """Candidates that pass between pairs; see RowSource.

        Random rows are new ones of the key. After them come the last two rows of ``rows_between``,
        which are stored: where rows are not long, and where the points of a pair are too near for
        float64 to tell that a random row passes between them.
        """
        numbers: list[int] = []
        extra: list[np.ndarray] = []
        biases: list[float] = []
        d = len(self.center)
        waiting, size = iter(pairs), max(1, _GROUP_VALUES // d)
        while group := list(islice(waiting, size)):
            ends = np.array(group)
            rows, levels, usable = self._random_between(ends, n_random)
            for j, (low, high) in enumerate(group):
                numbers.extend(rows[j, usable[j]].tolist())
                biases.extend(levels[j, usable[j]].tolist())
                if d > _FEW_FEATURES and usable[j].any():
                    continue
                for row, shift in zip(*rows_between(low, high, generator, 0), strict=True):
                    numbers.append(-1 - len(extra))
                    extra.append(row)
                    # a rounded bias may be infinite for points of 1e308: such a row parts nothing
                    biases.append(float(shift) if np.isfinite(shift) else 0.0)
        stored = np.array(extra, np.float32).reshape(len(extra), len(self.center))
        made = SeededHyperplanes(
            self.key, np.array(numbers, np.int32), stored, np.array(biases), origin, radius,
            self.law,
        )  # fmt: skip
        return made.limited(self.weight_bytes)

    def _random_between(
        self, pairs: np.ndarray, n: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """New rows of the key that pass between the points of pairs (g, 2, d): n for each.

        Their numbers and biases, and which of them float64 can tell that they do; (g, n) each.
        """
        columns = np.flatnonzero((pairs != 0).any(axis=(0, 1)))
        new = np.array([next(self._numbers) for _ in range(len(pairs) * n)])
        panels = np.empty((1, max(1, len(columns)), len(new)), np.float32)
        normal_panels(*seeds_of(self.key, new), columns, 0, len(columns), panels)
        shape = len(pairs), n, len(columns)
        weights = panels[0, : len(columns)].T.astype(np.float64).reshape(shape)
        low, high = pairs[:, :1, columns], pairs[:, 1:, columns]
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.sum(weights * (high - low), axis=2)
            products = weights * (low / 2 + high / 2)
            sizes, levels = np.sum(np.abs(products), axis=2), -np.sum(products, axis=2)
            short = levels.astype(np.float32).astype(np.float64)
            is_near = np.abs(short - levels) < _SHORT * np.abs(steps)
            apart = np.abs(steps) > 1e-12 * sizes
        turned = steps < 0
        levels = np.where(is_near, short, levels) * np.where(turned, -1.0, 1.0)
        return new.reshape(steps.shape) + turned, levels, np.isfinite(levels) & apart
