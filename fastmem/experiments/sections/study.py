"""What all sections share: the points, the classes, seeds, and where to say what is left out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.algorithm import interpolate
from fastmem.errors import UnseparatedWarning
from fastmem.experiments.complexity_points import Usable, rows_of
from fastmem.experiments.complexity_report import Label
from fastmem.experiments.hardness import Hardness
from fastmem.inputs import Points, check_points
from fastmem.machine.progress import ProgressCallback
from fastmem.network.network import Network

CURVE_POINTS = 200

Array = NDArray[Any]


class Skip(Exception):
    """Raised by a section that cannot run, with the reason in words."""


class Seeds:
    """A seed for each use, by its name; a new name at the end changes no other's.

    Parameters
    ----------
    root : numpy.random.SeedSequence
    """

    NAMES = (
        "hardness", "order", "widths", "classes", "covering", "bits", "separation", "wide",
        "patterns", "representation", "connectivity",
    )  # fmt: skip

    def __init__(self, root: np.random.SeedSequence) -> None:
        self._seeds = dict(zip(self.NAMES, root.spawn(len(self.NAMES)), strict=True))

    def __getitem__(self, name: str) -> np.random.SeedSequence:
        return self._seeds[name]

    def several(self, name: str, count: int) -> list[int]:
        """Numbers for so many networks."""
        # not spawn, whose children depend on how often it was called
        root = self._seeds[name]
        children = (
            np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, k))
            for k in range(count)
        )
        return [int(child.generate_state(1, np.uint64)[0]) for child in children]


@dataclass(frozen=True)
class Study:
    """What the sections share.

    Attributes
    ----------
    usable : Usable
        The points that can be memorised, times powers of two as a fit would choose them.
    given : Any
        All points as they came, of the same rows as ``usable.X``.
    classes : ndarray of shape (K,)
    hardness : Hardness
        Of all points.
    width, trials, most : int
        ``most``: points that networks are made of, where all of them would take long.
    fit : dict
        Arguments of each `interpolate`.
    seeds : Seeds
    tell : callable
        The progress.
    skipped : dict of str to str
        What is left out, and why; sections write parts of themselves here, and raise `Skip` where
        nothing is left.
    seconds : dict of str to float
    """

    usable: Usable
    given: Any
    classes: Array
    hardness: Hardness
    width: int
    trials: int
    most: int
    fit: dict[str, Any]
    seeds: Seeds
    tell: ProgressCallback
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block's seconds, and keep the reason where it is skipped."""
        with timed(self.seconds, name):
            try:
                yield
            except Skip as reason:
                self.skipped[name] = str(reason)

    @property
    def n_threads(self) -> int:
        """Threads to use."""
        return int(self.fit["n_threads"])

    def dense_sample(self, most: int) -> tuple[Points, Array]:
        """Up to so many points and their labels; skips the section where points are sparse."""
        X, y = self.usable.sample(most)
        points = check_points(X)
        if points.is_sparse:
            raise Skip("points are sparse")
        return points, y

    def given_rows(self, rows: Array) -> Any:
        """Some of the points as they came."""
        return rows_of(self.given, rows)

    @cached_property
    def wide(self) -> tuple[Network, Any, Array]:
        """A network of ``width`` hyperplanes, and the points and labels that it is of."""
        X, y = self.usable.sample(self.most)
        seed = self.seeds.several("wide", 1)[0]
        return memorised(X, y, width=self.width, seed=seed, **self.fit), X, y


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Write the seconds of the block."""
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 3)


def memorised(X: Any, y: Any, **settings: Any) -> Network:
    """Memorise points as they are; what is not separated is no warning here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnseparatedWarning)
        return interpolate(X, y, scale="none", **settings)


def plain(value: Any) -> Label:
    """A label as a Python object."""
    found: Label = value.item() if isinstance(value, np.generic) else value
    return found
