"""The workloads of the design, section 6, at full size or tiny for a smoke run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmem
from fastmem.datasets import digits784, unit_moons

Points = NDArray[np.float32]
Codes = NDArray[np.intp]


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
    """Sizes of all that is measured."""

    moons: int
    digits: int
    more_digits: int
    width: int
    wide: int
    structured: int
    sign_rows: int
    count_rows: int
    count_masks: int
    count_words: int = 160

    @property
    def moons_random(self) -> Workload:
        """The workload moons-1m, selected as in the paper."""
        return Workload("moons-1m", "moons", self.moons, self.width, (1,), "random")

    @property
    def moons_merge(self) -> Workload:
        """The workload moons-1m with merged cells."""
        return Workload("moons-1m", "moons", self.moons, self.width, (1,), "merge")

    @property
    def digits_random(self) -> Workload:
        """The workload digits784-20k, selected as in the paper, one versus rest."""
        return Workload("digits784-20k", "digits", self.digits, self.width, "all", "random")

    @property
    def digits_merge(self) -> Workload:
        """The workload digits784-20k with merged cells, one versus rest."""
        return Workload("digits784-20k", "digits", self.digits, self.width, "all", "merge")

    @property
    def more_digits_merge(self) -> Workload:
        """The workload digits784-70k with merged cells and the default choice of classes."""
        return Workload("digits784-70k", "digits", self.more_digits, self.wide, "auto", "merge")

    @property
    def digits_structured(self) -> Workload:
        """The workload digits784-70k with merged cells and structured hyperplanes."""
        name, n = "digits784-70k", self.structured
        return Workload(name, "digits", self.more_digits, n, "auto", "merge", "structured")


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
)


def smoke_wanted() -> bool:
    """Whether the environment asks for tiny sizes: FASTMEM_BENCH_SMOKE=1."""
    return os.environ.get("FASTMEM_BENCH_SMOKE", "0") not in ("", "0")


@cache
def _data(kind: str, n_samples: int) -> tuple[Points, Codes]:
    X, y = unit_moons(n_samples) if kind == "moons" else digits784(n_samples)
    return X, y
