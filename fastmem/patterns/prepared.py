"""What is computed once of a first layer, and kept as long as the layer lives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes

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


Layer = TypeVar("Layer", bound=Hyperplanes)
Key = TypeVarTuple("Key")
Prepared = TypeVar("Prepared")


def kept_with_the_layer(
    make: Callable[[Layer, *Key], Prepared],
) -> Callable[[Layer, *Key], Prepared]:
    """Call make(layer, *key) once for each layer and key; its result must not hold the layer."""
    kept: WeakKeyDictionary[Layer, dict[Any, Prepared]] = WeakKeyDictionary()
    lock = threading.Lock()

    @wraps(make)
    def prepared(layer: Layer, *key: *Key) -> Prepared:
        with lock:
            of_layer = kept.setdefault(layer, {})
        if key not in of_layer:
            # two threads at once may both make it, which is the same
            of_layer[key] = make(layer, *key)
        return of_layer[key]

    return prepared
