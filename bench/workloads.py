"""Data sets and sizes of what is measured: full, tiny for a smoke run, or those of the check."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmem
from fastmem.datasets import digits784, unit_moons

Points = NDArray[np.float32]
Codes = NDArray[np.intp]
Data = tuple[Any, NDArray[np.int64]]


@dataclass(frozen=True)
class Workload:
    """A data set and the settings with which it is memorised.

    Attributes
    ----------
    name : str
    kind : {"moons", "digits"}
    n_samples, width : int
        Points and hyperplanes.
    covered : "auto", "all" or tuple of int
        Classes that get a block.
    selection : {"random", "merge"}
    projection : {"gaussian", "structured"}
    """

    name: str
    kind: str
    n_samples: int
    width: int
    covered: str | tuple[int, ...]
    selection: str
    projection: str = "gaussian"

    def data(self) -> tuple[Points, Codes]:
        """Points (N, d) float32 and class codes (N,)."""
        return _data(self.kind, self.n_samples)

    def fit(self, **changes: Any) -> fastmem.Network:
        """Memorise the data set: lambda = 1, seed 0."""
        X, y = self.data()
        settings: dict[str, Any] = {
            "width": self.width,
            "max_bias": 1.0,
            "selection": self.selection,
            "projection": self.projection,
            "covered": self.covered if isinstance(self.covered, str) else list(self.covered),
            "seed": 0,
        }
        return fastmem.interpolate(X, y, **(settings | changes))


@dataclass(frozen=True)
class Sizes:
    """Sizes of all that is measured.

    Attributes
    ----------
    moons, digits, more_digits : int
        Points of the workloads moons-1m, digits784-20k and digits784-70k.
    width, wide, structured : int
        Hyperplanes: of the first two, of the third, and of the third where they are structured.
    sign_rows : int
        Points of 784 features whose signs are computed; of fewer features more.
    count_rows, count_masks : int
        Each of the masks is counted on each of the rows.
    text_rows, text_columns, text_width : int
        Sparse documents, and the hyperplanes for them.
    ball_points : int
        Points of clusters that balls cover.
    noisy_rows : int
        Rows of a noisy table, of which cells are looked for among neighbours.
    """

    moons: int
    digits: int
    more_digits: int
    width: int
    wide: int
    structured: int
    sign_rows: int
    count_rows: int
    count_masks: int
    text_rows: int
    text_columns: int
    text_width: int
    ball_points: int
    noisy_rows: int

    @property
    def moons_random(self) -> Workload:
        """The workload moons-1m, selected as in the paper."""
        return Workload("moons-1m", "moons", self.moons, self.width, (1,), "random")

    @property
    def moons_merge(self) -> Workload:
        """The same with merged cells."""
        return replace(self.moons_random, selection="merge")

    @property
    def digits_random(self) -> Workload:
        """The workload digits784-20k, selected as in the paper, one versus rest."""
        return Workload("digits784-20k", "digits", self.digits, self.width, "all", "random")

    @property
    def digits_merge(self) -> Workload:
        """The same with merged cells."""
        return replace(self.digits_random, selection="merge")

    @property
    def digits_random_structured(self) -> Workload:
        """The workload digits784-20k with structured hyperplanes, selected as in the paper."""
        return replace(self.digits_random, projection="structured")

    @property
    def digits_merge_structured(self) -> Workload:
        """The same with merged cells."""
        return replace(self.digits_merge, projection="structured")

    @property
    def more_digits_merge(self) -> Workload:
        """The workload digits784-70k with merged cells and the default choice of classes."""
        return Workload("digits784-70k", "digits", self.more_digits, self.wide, "auto", "merge")

    @property
    def more_digits_structured(self) -> Workload:
        """The same with structured hyperplanes."""
        return replace(self.more_digits_merge, width=self.structured, projection="structured")


FULL = Sizes(
    moons=1_000_000,
    digits=20_000,
    more_digits=70_000,
    width=2_048,
    wide=9_984,
    structured=10_240,
    sign_rows=20_000,
    count_rows=70_000,
    count_masks=64,
    text_rows=50_000,
    text_columns=1 << 16,
    text_width=512,
    ball_points=100_000,
    noisy_rows=100_000,
)
SMOKE = Sizes(
    moons=3_000,
    digits=400,
    more_digits=500,
    width=512,
    wide=640,
    structured=640,
    sign_rows=300,
    count_rows=500,
    count_masks=8,
    text_rows=300,
    text_columns=1 << 10,
    text_width=128,
    ball_points=600,
    noisy_rows=5_000,
)
CHECK = replace(
    FULL, moons=100_000, digits=5_000, sign_rows=1_200, count_rows=9_600, count_masks=128
)
"""Sizes at which a call of an entry lasts milliseconds: ``python -m bench.check`` prints them."""


def smoke_wanted() -> bool:
    """Whether the environment asks for tiny sizes: FASTMEM_BENCH_SMOKE=1."""
    return os.environ.get("FASTMEM_BENCH_SMOKE", "0") not in ("", "0")


@cache
def _data(kind: str, n_samples: int) -> tuple[Points, Codes]:
    X, y = unit_moons(n_samples) if kind == "moons" else digits784(n_samples)
    return X, y


def hashed_text(n_samples: int, n_columns: int, n_classes: int = 4, seed: int = 0) -> Data:
    """Make documents as a hashing vectoriser gives them: CSR float32, rows of norm 1.

    Words have Zipf frequencies (1 / rank). A document has 60 to 140 of them, six of ten from the
    300 words of its class's topic. A value is 1 + log of the word's count.
    """
    from scipy import sparse

    generator = np.random.default_rng(seed)
    y = generator.integers(0, n_classes, n_samples)
    values, columns, counts = [], [], []
    for start in range(0, n_samples, 20_000):
        labels = y[start : start + 20_000]
        lengths = generator.integers(60, 141, len(labels))
        rows = np.repeat(np.arange(len(labels)), lengths)
        uniform = generator.uniform(size=len(rows))
        topical = generator.uniform(size=len(rows)) < 0.6
        ranks = np.where(topical, 300.0, n_columns) ** uniform
        words = ranks.astype(np.int64) + topical * (100_003 * (1 + labels[rows]))
        cells = np.sort(rows * n_columns + words * 7_919 % n_columns)
        cells, times = np.unique(cells, return_counts=True)
        rows, hashed = np.divmod(cells, n_columns)
        weights = (1 + np.log(times)).astype(np.float32)
        norms = np.sqrt(np.bincount(rows, weights.astype(np.float64) ** 2))
        values.append((weights / norms[rows]).astype(np.float32))
        columns.append(hashed.astype(np.int32))
        counts.append(np.bincount(rows, minlength=len(labels)))
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    parts = (np.concatenate(values), np.concatenate(columns), bounds)
    return sparse.csr_matrix(parts, shape=(n_samples, n_columns)), y


def blobs(n_samples: int, n_features: int, seed: int = 0) -> Data:
    """Make points of 16 Gaussian clusters in two classes, dense float32."""
    generator = np.random.default_rng(seed)
    centers = generator.standard_normal((16, n_features)).astype(np.float32)
    members = generator.integers(0, 16, n_samples)
    X = np.empty((n_samples, n_features), np.float32)
    for start in range(0, n_samples, 1000):
        some = members[start : start + 1000]
        noise = generator.standard_normal((len(some), n_features), np.float32)
        X[start : start + 1000] = 0.3 * centers[some] + noise
    return X, members % 2
