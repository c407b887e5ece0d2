"""Single stages of a fit, set up by themselves: the only place here that knows its insides."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from numba import njit
from numpy.typing import NDArray

import fastmem
from bench.workloads import Workload
from fastmem.hyperplanes.extent import extent_of
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes, StructuredRows
from fastmem.inputs import check_points
from fastmem.inputs.contradictions import refuse_contradictions
from fastmem.kernels.bits import popcount
from fastmem.machine.threads import run_tasks
from fastmem.patterns.by_class import Patterns
from fastmem.second_layer.class_cover import ClassCover, least_counts
from fastmem.second_layer.real_sums import real_thresholds
from fastmem.second_layer.selection import choose_neurons

Words = NDArray[np.uint64]


def structured_planes(d: int, width: int) -> StructuredHyperplanes:
    """Structured hyperplanes with biases up to 1 for points in the unit ball."""
    source = StructuredRows(np.random.default_rng(d), np.zeros(d), 1.0)
    return source.start(width, np.zeros(d), 1.0)


def _filled(codes: NDArray[np.intp], code: int, rows: Words) -> Patterns:
    """Patterns of two classes; those of class ``code`` are ``rows`` (N, n_words)."""
    patterns = Patterns(codes, 2, rows.shape[1])
    first, last = patterns.first_tile[code : code + 2]
    for tile in range(first, last):
        size = int(patterns.sizes[tile])
        start = (tile - int(first)) * patterns.tiles.shape[2]
        patterns.tiles[tile, :, :size] = rows[start : start + size].T
    return patterns


def fit_with_rounds(rounds: int | None, X: Any, y: Any, **settings: Any) -> fastmem.Network:
    """Memorise with structured hyperplanes of some rounds, or with Gaussian ones for None."""
    if rounds is None:
        return fastmem.interpolate(X, y, **settings)
    with patch(
        "fastmem.hyperplanes.sources.StructuredRows", partial(StructuredRows, rounds=rounds)
    ):
        return fastmem.interpolate(X, y, projection="structured", **settings)


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
        self.cover = ClassCover(patterns, 64 * n_words, 0, generator, n_threads)

    def minima(self) -> NDArray[np.int64]:
        """Return the smallest count of each mask over all rows: shape (B,)."""
        result: NDArray[np.int64] = least_counts([self.cover] * len(self.masks), self.masks)[0]
        return result


class Coverage:
    """Neurons with random masks that are added to a class of random patterns.

    The thresholds are such that together they cover about a tenth of the points.

    Attributes
    ----------
    rows : ndarray of uint64, shape (N, n_words)
        The patterns of the class.
    masks : ndarray of uint64, shape (B, n_words)
    thresholds : ndarray of int64, shape (B,)
    """

    def __init__(self, n_rows: int, n_words: int, n_masks: int, n_threads: int) -> None:
        generator = np.random.default_rng(0)
        self.rows: Words = generator.integers(2**64, size=(n_rows, n_words), dtype=np.uint64)
        self.masks: Words = generator.integers(2**64, size=(n_masks, n_words), dtype=np.uint64)
        some = np.bitwise_count(self.rows[:500, None] & self.masks).sum(axis=2, dtype=np.int64)
        level = int(np.quantile(some, 0.1 / n_masks)) + 1
        self.thresholds = np.full(n_masks, level, np.int64)
        codes = np.zeros(n_rows + 1, np.intp)
        codes[-1] = 1
        patterns = _filled(codes, 0, self.rows)
        self.cover = ClassCover(patterns, 64 * n_words, 0, generator, n_threads)
        self._uncovered = self.cover.uncovered.copy()

    def accept(self) -> ClassCover:
        """Give the neurons to the cover, which has none; return it."""
        cover = self.cover
        cover.uncovered[:] = self._uncovered
        cover.remaining = int(self._uncovered.sum())
        for neurons in (cover.masks, cover.thresholds, cover.gained):
            neurons.clear()
        cover.accept(self.masks, self.thresholds)
        return cover

    def covered(self, cover: ClassCover) -> NDArray[np.bool_]:
        """Which of the rows the neurons reach: shape (N,)."""
        return ~cover.uncovered.reshape(-1)[: len(self.rows)]


class Extents:
    """The passes over the points themselves that come before the hyperplanes."""

    def __init__(self, X: NDArray[Any], y: NDArray[Any], n_threads: int) -> None:
        self.points = check_points(X)
        self.classes, self.codes = np.unique(y, return_inverse=True)
        self.n_threads = n_threads

    def refuse(self) -> None:
        """Look for equal rows with different labels."""
        refuse_contradictions(self.points, self.codes, self.classes, self.n_threads)

    def extent(self) -> tuple[NDArray[np.float64], float]:
        """Return the mean and the radius."""
        found = extent_of(self.points, self.n_threads)
        return found.mean, found.radius


class Selection:
    """The second layer alone, on the sign patterns of a workload.

    Attributes
    ----------
    patterns : Patterns
        Packed, sorted by class.
    hyperplanes : Hyperplanes
    codes : sequence of int
        The covered classes.
    """

    def __init__(self, workload: Workload, n_threads: int) -> None:
        X, y = workload.data()
        generator = np.random.default_rng(0)
        weights = generator.standard_normal((workload.width, X.shape[1]), dtype=np.float32)
        self.hyperplanes = Hyperplanes(weights, generator.uniform(-1, 1, workload.width))
        self.n_threads = n_threads
        self.selection = workload.selection
        self.patterns = Patterns(y, int(y.max()) + 1)
        self.patterns.fill(check_points(X), self.hyperplanes, n_threads)
        everything = range(self.patterns.n_classes)
        self.codes: Any = everything if workload.covered == "all" else workload.covered

    def select(self) -> list[ClassCover]:
        """Run fresh covers of the covered classes to their ends; return them."""
        seeds = np.random.default_rng(0).spawn(len(self.codes))
        n = len(self.hyperplanes)
        covers = [
            ClassCover(self.patterns, n, code, seed, self.n_threads)
            for code, seed in zip(self.codes, seeds, strict=True)
        ]
        kept, _ = choose_neurons(covers, self.selection, self.n_threads, False, lambda *_: None)
        return kept


def uncoverable(X: Any, y: Any, hyperplanes: Hyperplanes, code: int) -> int:
    """Count the points of a class that no neuron can cover, given the hyperplanes."""
    patterns = Patterns(y.astype(np.uint16), int(y.max()) + 1)
    patterns.fill(check_points(X), hyperplanes, 1)
    cover = ClassCover(patterns, len(hyperplanes), code, np.random.default_rng(0), 1)
    choose_neurons([cover], "random", 1, False, lambda *_: None)
    return len(cover.failed)


def least_sums(X: Any, y: Any, network: fastmem.Network, n_threads: int) -> NDArray[np.float64]:
    """Least sums of ReLU activations over the points of other classes, one a neuron: (m,)."""
    first, second = network.first, network.second
    return real_thresholds(check_points(X), y, first, second.masks, second.owners, n_threads)


class Popcounts:
    """Popcounts of words in the first cache, no memory touched: the most that counting can do.

    Attributes
    ----------
    n_words : int
        Words counted by a call, on all threads together.
    """

    def __init__(self, n_threads: int, repeats: int) -> None:
        generator = np.random.default_rng(0)
        self.words: Words = generator.integers(2**64, size=1024, dtype=np.uint64)
        self.repeats = np.int64(repeats)
        self.n_threads = n_threads
        self.n_words = n_threads * repeats * len(self.words)

    def __call__(self) -> None:
        """Count on every thread."""
        run_tasks(self._count, range(self.n_threads), self.n_threads)

    def _count(self, _: int) -> int:
        return int(_count_again(self.words, self.repeats))


@njit(nogil=True)
def _count_again(words: Any, repeats: Any) -> Any:
    """Add up popcounts of the words, each time masked anew, so that no sum is known before."""
    total = np.int64(0)
    for repeat in range(repeats):
        mask = np.uint64(repeat) * np.uint64(0x9E3779B97F4A7C15)
        for i in range(len(words)):
            total += np.int64(popcount(words[i] & mask))
    return total
