"""Single stages of a fit, set up by themselves: the only place here that knows the insides."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmem.kernels
from bench.workloads import Workload
from fastmem.blocks import Block, least_counts
from fastmem.frame import extent, refuse_contradictions
from fastmem.hyperplanes import Hyperplanes
from fastmem.inputs import check_points
from fastmem.patterns import Patterns
from fastmem.second_layer import choose_neurons

Words = NDArray[np.uint64]


def all_threads() -> int:
    """Cores that this process may use: the default of `interpolate`."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _filled(codes: NDArray[np.intp], code: int, rows: Words) -> Patterns:
    """Patterns of two classes; those of class ``code`` are ``rows`` (N, n_words)."""
    patterns = Patterns(codes, 2, rows.shape[1])
    first, last = patterns.first_tile[code : code + 2]
    for tile in range(first, last):
        size = int(patterns.sizes[tile])
        start = (tile - int(first)) * patterns.tiles.shape[2]
        patterns.tiles[tile, :, :size] = rows[start : start + size].T
    return patterns


class Counts:
    """Counts of random masks over random rows of packed patterns, as the selection runs them.

    Attributes
    ----------
    rows : ndarray of uint64, shape (N, n_words)
        The patterns of the other class.
    masks : ndarray of uint64, shape (B, n_words)
    """

    def __init__(self, n_rows: int, n_words: int, n_masks: int, n_threads: int) -> None:
        generator = np.random.default_rng(0)
        self.rows: Words = generator.integers(2**64, size=(n_rows, n_words), dtype=np.uint64)
        self.masks: Words = generator.integers(2**64, size=(n_masks, n_words), dtype=np.uint64)
        codes = np.ones(n_rows + 1, np.intp)
        codes[0] = 0
        patterns = _filled(codes, 1, self.rows)
        self.block = Block(patterns, 64 * n_words, 0, generator, n_threads)

    def minima(self) -> NDArray[np.int64]:
        """Return the smallest count of each mask over all rows: shape (B,)."""
        result: NDArray[np.int64] = least_counts([self.block] * len(self.masks), self.masks)[0]
        return result


class Coverage:
    """Neurons with random masks that are added to a class of random patterns.

    The thresholds are such that together they cover about a tenth of the points.
    """

    def __init__(self, n_rows: int, n_words: int, n_masks: int, n_threads: int) -> None:
        generator = np.random.default_rng(0)
        rows = generator.integers(2**64, size=(n_rows, n_words), dtype=np.uint64)
        self.masks: Words = generator.integers(2**64, size=(n_masks, n_words), dtype=np.uint64)
        some = np.bitwise_count(rows[:500, None] & self.masks).sum(axis=2, dtype=np.int64)
        level = int(np.quantile(some, 0.1 / n_masks)) + 1
        self.thresholds = np.full(n_masks, level, np.int64)
        codes = np.zeros(n_rows + 1, np.intp)
        codes[-1] = 1
        patterns = _filled(codes, 0, rows)
        self.block = Block(patterns, 64 * n_words, 0, generator, n_threads)
        self._uncovered = self.block.uncovered.copy()

    def accept(self) -> Block:
        """Give the neurons to the block, which has none; return it."""
        block = self.block
        block.uncovered[:] = self._uncovered
        block.remaining = int(self._uncovered.sum())
        for neurons in (block.masks, block.thresholds, block.gained):
            neurons.clear()
        block.accept(self.masks, self.thresholds)
        return block


class Extents:
    """The passes over the points themselves that come before the hyperplanes."""

    def __init__(self, X: NDArray[Any], y: NDArray[Any], n_threads: int) -> None:
        self.points = check_points(X)
        self.classes, self.codes = np.unique(y, return_inverse=True)
        self.n_threads = n_threads

    def refuse(self) -> None:
        """Look for equal rows with different labels."""
        refuse_contradictions(self.points, self.codes, self.classes, self.n_threads)

    def extent(self) -> Any:
        """Return the mean and the radius."""
        return extent(self.points, self.n_threads)


class Selection:
    """The second layer alone, on the sign patterns of a workload.

    Attributes
    ----------
    patterns : Patterns
        Packed, sorted by class.
    hyperplanes : Hyperplanes
    """

    def __init__(self, workload: Workload, n_threads: int) -> None:
        X, y = workload.data()
        generator = np.random.default_rng(0)
        weights = generator.standard_normal((workload.width, X.shape[1]), dtype=np.float32)
        self.hyperplanes = Hyperplanes(weights, generator.uniform(-1, 1, workload.width))
        self.workload = workload
        self.n_threads = n_threads
        self.patterns = Patterns(y, int(y.max()) + 1)
        self.patterns.fill(check_points(X), self.hyperplanes, n_threads)

    def blocks(self) -> list[Block]:
        """Return fresh blocks of the covered classes, without a neuron."""
        covered: Any = self.workload.covered
        codes = range(self.patterns.n_classes) if covered == "all" else covered
        seeds = np.random.default_rng(0).spawn(len(codes))
        n = len(self.hyperplanes)
        return [
            Block(self.patterns, n, code, seed, self.n_threads)
            for code, seed in zip(codes, seeds, strict=True)
        ]

    def select(self, blocks: list[Block], selection: str) -> list[Block]:
        """Run the blocks to their ends; which blocks are kept, all of them, is returned."""
        kept, _ = choose_neurons(blocks, selection, self.n_threads, False, lambda *_: None)
        return kept


def kernels() -> dict[str, Any]:
    """Return the compiled kernels by name; none with NUMBA_DISABLE_JIT=1."""
    found = {}
    for info in pkgutil.iter_modules(fastmem.kernels.__path__):
        module = importlib.import_module(f"fastmem.kernels.{info.name}")
        for name, value in vars(module).items():
            own = getattr(getattr(value, "py_func", None), "__module__", "") == module.__name__
            if own and not name.startswith("_"):
                found[name] = value
    return found


@contextmanager
def slowed(name: str, factor: float) -> Iterator[SlowedKernel]:
    """Let a kernel take ``factor`` times as long, wherever fastmem calls it."""
    kernel = kernels()[name]
    slow = SlowedKernel(kernel, factor)
    places = [
        (module, key)
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("fastmem.")
        for key, value in list(vars(module).items())
        if value is kernel
    ]
    for module, key in places:
        setattr(module, key, slow)
    try:
        yield slow
    finally:
        for module, key in places:
            setattr(module, key, kernel)


class SlowedKernel:
    """A kernel that also runs on copies of what it may write, for a part of its range.

    The range is one that the names of its parameters tell: tiles, words, positions or points. What
    has none is run again as a whole, at every other call for a factor of 1.5.

    Attributes
    ----------
    calls : int
        How often it was called.
    """

    _RANGES = (("first_tile", "last_tile"), ("first_word", "last_word"))
    _ROWS = ("positions", "sizes", "points")
    _KEPT = frozenset(
        {"tiles", "sizes", "own", "others", "masks", "thresholds", "points", "weights", "panels"}
    )
    """Only read, or written with what is there again: large, and not worth a copy."""

    def __init__(self, kernel: Any, factor: float) -> None:
        self.kernel, self.factor = kernel, factor
        self.names = list(inspect.signature(kernel.py_func).parameters)
        self.calls = 0
        self._owed = 0.0
        self._lock = threading.Lock()

    def __call__(self, *args: Any) -> Any:
        """Do the extra work first, because the kernel changes what it works on."""
        size = self._size(args)
        with self._lock:
            self.calls += 1
            self._owed += (self.factor - 1) * size
            units = int(self._owed + 0.5)
            self._owed -= units
        while units > 0:
            self.kernel(*self._part(args, min(units, size)))
            units -= size
        return self.kernel(*args)

    def _size(self, args: Sequence[Any]) -> int:
        for first, last in self._RANGES:
            if first in self.names:
                low, high = args[self.names.index(first)], args[self.names.index(last)]
                return max(1, int(high - low))
        for rows in self._ROWS:
            if rows in self.names:
                return max(1, len(args[self.names.index(rows)]))
        return 1

    def _part(self, args: Sequence[Any], units: int) -> list[Any]:
        part = [
            value.copy() if isinstance(value, np.ndarray) and name not in self._KEPT else value
            for name, value in zip(self.names, args, strict=True)
        ]
        for first, last in self._RANGES:
            if first in self.names:
                at = self.names.index(last)
                part[at] = min(part[at], part[self.names.index(first)] + units)
                return part
        for rows in self._ROWS:
            if rows in self.names:
                at = self.names.index(rows)
                part[at] = part[at][:units]
                return part
        return part
