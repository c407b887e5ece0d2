"""What is computed once of a first layer, and kept as long as the layer lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.kernels.signs import RowTasks
from fastmem.machine.loops import run_loop

Fill = Callable[[Any, np.ndarray, int], int]
"""fill(block, tiles, position): write some words of the patterns of ``block``, an ndarray or
`SparseRows`, at ``position`` of ``tiles``, on any thread; returns the doubtful bits."""


@dataclass(frozen=True)
class Pass:
    """Some words of the patterns of a set of points.

    Attributes
    ----------
    share : float
        Its share of the work for all words.
    prepare : callable
        ``prepare(n_threads)`` computes what all blocks need and gives what writes them.
    """

    share: float
    prepare: Callable[[int], Fill]


_IN_ORDER = np.empty(0, np.int32)


@dataclass(frozen=True)
class SignLoop:
    """A `Fill` of dense points that can also run over many of them at once, on several cores.

    Attributes
    ----------
    worker : kernel
        Of ``kernels.signs`` or ``kernels.hadamard``: it takes `RowTasks` and
    arguments : tuple
        what comes after them.
    """

    worker: Any
    arguments: tuple[Any, ...]

    def __call__(self, block: np.ndarray, tiles: np.ndarray, position: int) -> int:
        """See Fill: on this thread."""
        tasks = np.array([[0, len(block), position]])
        return self.run(block, _IN_ORDER, tasks, tiles, 1)

    def run(
        self,
        points: np.ndarray,
        rows: np.ndarray,
        tasks: np.ndarray,
        tiles: np.ndarray,
        n_threads: int,
        **launches: Any,
    ) -> int:
        """Write the patterns of ``rows`` of ``points``, task by task; see `RowTasks`.

        ``launches`` are the last parameters of `run_loop`. Returns the doubtful bits.
        """
        doubts = np.zeros(len(tasks), np.int64)
        what = RowTasks(points, rows, tasks, doubts, tiles)
        run_loop(self.worker, len(tasks), n_threads, (what, *self.arguments), **launches)
        return int(doubts.sum())


Layer = TypeVar("Layer", bound=Hyperplanes)
Key = TypeVarTuple("Key")
Prepared = TypeVar("Prepared")


def kept_with_the_layer(
    make: Callable[[Layer, *Key], Prepared],
) -> Callable[[Layer, *Key], Prepared]:
    """Call make(layer, *key) once for each layer and key; its result must not hold the layer."""
    kept: WeakKeyDictionary[Layer, dict[Any, Prepared]] = WeakKeyDictionary()

    @wraps(make)
    def prepared(layer: Layer, *key: *Key) -> Prepared:
        # no lock, which a child forked meanwhile would find taken: of two threads at once both may
        # make it, which is the same
        of_layer = kept.setdefault(layer, {})
        if key not in of_layer:
            of_layer[key] = make(layer, *key)
        return of_layer[key]

    return prepared
