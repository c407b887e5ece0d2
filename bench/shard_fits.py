"""Fits on shards beside that of one machine, whose file they must have."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fastmem
from bench.transports import fit_on
from bench.watching import Watch
from fastmem.datasets import digits784, unit_moons

COUNTS = ("least", "nearest", "cover")
"""Commands that count words of patterns and masks."""


def flipped(n_samples: int, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian points, float32, by the sign of a linear function, 2 % of them flipped."""
    generator = np.random.default_rng(0)
    X = generator.standard_normal((n_samples, n_features), np.float32)
    is_positive = X @ generator.standard_normal(n_features) > 0
    return X, (is_positive ^ (generator.random(n_samples) < 0.02)).astype(np.int64)


def clusters(n_samples: int, n_features: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Points of 20 Gaussian clusters, float32, in five classes."""
    generator = np.random.default_rng(0)
    centres = 1.5 * generator.standard_normal((20, n_features)).astype(np.float32)
    which = generator.integers(0, 20, n_samples)
    return generator.standard_normal((n_samples, n_features), np.float32) + centres[
        which
    ], which % 5


KINDS: dict[str, Any] = {
    "moons": unit_moons, "clusters": clusters, "digits": digits784,
    "flipped2": lambda n: flipped(n, 2), "flipped8": lambda n: flipped(n, 8),
}  # fmt: skip
"""Data sets, by name."""


@dataclass(frozen=True)
class Case:
    """A data set and settings.

    Attributes
    ----------
    kind : str
        Of `KINDS`.
    n_samples : int
    settings : dict
        Of ``interpolate``.
    """

    kind: str
    n_samples: int
    settings: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        """Name for a table."""
        width = self.settings.get("width", "auto")
        n_features = self.data()[0].shape[1]
        shape = f"{self.n_samples:,} x {n_features}"
        return f"{self.kind} {shape}, n = {width}, {self.settings['selection']}"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Points and labels."""
        return _data(self.kind, self.n_samples)


@cache
def _data(kind: str, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    make: Any = KINDS[kind]
    X, y = make(n_samples)
    return X, y


@dataclass(frozen=True)
class Measured:
    """A fit on shards.

    Attributes
    ----------
    case : Case
    n_shards, neurons : int
    watch : Watch
    seconds, here : float
        Of the fit, and those of the processor for that of one machine on one thread.
    """

    case: Case
    n_shards: int
    neurons: int
    watch: Watch
    seconds: float
    here: float

    @property
    def worked(self) -> float | None:
        """Seconds of the processor: the driver's, and of each round the slowest shard's."""
        watch = self.watch
        return watch.driver + watch.shard_seconds if watch.in_shards else None

    @property
    def words(self) -> float:
        """Words of patterns times masks."""
        return sum(self.watch.work[name][1] for name in COUNTS)


def saved(network: fastmem.Network) -> bytes:
    """The bytes of a network's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.npz"
        network.save(path)
        return path.read_bytes()


_HERE: dict[tuple[str, bool], tuple[float, bytes]] = {}
"""Fits on one machine, by case and whether columns have names: CPU seconds, and the file."""


def fit_here(case: Case, as_given: Any) -> tuple[float, bytes]:
    """Seconds of the processor for a fit on one machine, after one that compiles; and its file."""
    X, y = case.data()
    key = str(case), as_given is not None
    if key not in _HERE:
        X = X if as_given is None else as_given(X)
        for _ in range(2):
            start = time.process_time()
            network = fastmem.interpolate(X, y, **case.settings, seed=0, n_threads=1)
            spent = time.process_time() - start
        _HERE[key] = spent, saved(network)
    return _HERE[key]


def measure(case: Case, engine: Any, shards: Sequence[int]) -> list[Measured]:
    """Fit a case here, and on shards once each after a small one that compiles."""
    X, y = case.data()
    here, expected = fit_here(case, getattr(engine, "as_given", None))
    settings = case.settings | {"seed": 0, "n_threads": 1}
    few = np.arange(0, len(y), max(1, len(y) // 2000))
    found = []
    for n_shards in shards:
        fit_on(engine, X[few], y[few], n_shards, **settings)
        if engine == "local":  # the seconds of which are the model's
            fit_on(engine, X, y, n_shards, **settings)
        network, watch, spent = fit_on(engine, X, y, n_shards, **settings)
        if saved(network) != expected:
            raise AssertionError(f"{case} on {n_shards} shards is another network")
        found.append(Measured(case, watch.n_shards, len(network.second), watch, spent, here))
    return found
