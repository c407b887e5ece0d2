"""Single stages of a fit, set up by themselves: the only place here that knows its insides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import process_time
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
from fastmem.kernels.layout import MASK_GROUP, TILE
from fastmem.machine.threads import run_tasks
from fastmem.patterns import bounded_tiles
from fastmem.patterns.by_class import Patterns
from fastmem.second_layer.class_cover import ClassCover
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
        result: NDArray[np.int64] = ClassCover.least_counts(
            [self.cover] * len(self.masks), self.masks
        )[0]
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


without_bounding_tiles = partial(patch.object, bounded_tiles, "MODE", "never")
"""A context in which fits evaluate, store and count every point."""


@dataclass
class LoopWork:
    """What the compiled loops of a fit did.

    Attributes
    ----------
    pattern_bytes : int
        Bytes of patterns that were stored, by the largest of the fit's layouts.
    words : dict of str to int
        Words whose ones inside a mask were counted, by the name of the loop; at most so many, for
        kernels leave a tile, or a group of points, as soon as it is decided.
    seconds : dict of str to float
        What these loops took of the processors.
    """

    pattern_bytes: int = 0
    words: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, run_loop: Callable[..., None], worker: Any, *given: Any, **launches: Any) -> None:
        """Run a loop of fastmem, and take down what it did."""
        arguments = given[2]
        account = _ACCOUNTS.get(worker.__name__)
        before = account(arguments) if account else 0
        start = process_time()
        run_loop(worker, *given, **launches)
        took = process_time() - start
        name = worker.__name__
        self.seconds[name] = self.seconds.get(name, 0.0) + took
        if name in _LOOKED:
            looked, n_words = _LOOKED[name](arguments)
            before = int(looked.sum()) * n_words
        self.words[name] = self.words.get(name, 0) + before
        if name == "pattern_words":
            self.pattern_bytes = max(self.pattern_bytes, arguments[0].tiles.nbytes)
        if name == "bound_tiles":
            *others, _ = arguments[4]
            stored = sum(part.nbytes for part in others) + 8 * int(arguments[5][0])
            self.pattern_bytes = max(self.pattern_bytes, stored)


@contextmanager
def watched_loops() -> Iterator[LoopWork]:
    """Take down what the loops of fits do meanwhile; it costs some time, which is not theirs."""
    from fastmem.patterns import prepared
    from fastmem.second_layer import bounded_points, counting, near_cells
    from fastmem.widths import open_points

    work = LoopWork()
    with ExitStack() as stack:
        for module in (bounded_tiles, prepared, bounded_points, counting, near_cells, open_points):
            watched = partial(work.run, module.run_loop)  # type: ignore[attr-defined]
            stack.enter_context(patch.object(module, "run_loop", watched))
        yield work


def _minima_words(arguments: tuple[Any, ...]) -> int:
    (tiles, _, masks, _), skip = arguments[0], arguments[1]
    spared = 0
    for first in range(0, len(masks), MASK_GROUP):
        some = skip[first : first + MASK_GROUP]
        spared += max(0, int(some[:, 1].min() - some[:, 0].max()))
    return MASK_GROUP * TILE * tiles.shape[1] * (len(masks) // MASK_GROUP * len(tiles) - spared)


def _cover_words(arguments: tuple[Any, ...]) -> int:
    (_, _, masks, _), uncovered = arguments[0], arguments[2]
    return int(uncovered.any(axis=1).sum()) * TILE * masks.size


def _packed_words(varies: Words) -> NDArray[np.int64]:
    """Words of the varying bits of each tile."""
    return -(-np.bitwise_count(varies).sum(axis=1, dtype=np.int64) // 64)


def _lower_words(arguments: tuple[Any, ...]) -> int:
    (all_of, *_), masks = arguments[0], arguments[1]
    return len(all_of) * TILE * masks.size


def _scan_words(arguments: tuple[Any, ...]) -> int:
    """Words of tiles whose bounds are below what is known, and below the wanted level."""
    (_, _, varies, *_), _, skip, bounds, _, levels, known = arguments[:7]
    tiles = np.arange(bounds.shape[1])
    words = _packed_words(varies)
    total = 0
    for bound, (first, last), limit in zip(bounds, skip, np.maximum(known, levels), strict=False):
        total += int(words[(bound < limit) & ((tiles < first) | (tiles >= last))].sum())
    return TILE * total


def _least_words(arguments: tuple[Any, ...]) -> int:
    (_, _, varies, *_), masks = arguments[0], arguments[1]
    return len(masks) * TILE * int(_packed_words(varies).mean())


def _bounded_cover_words(arguments: tuple[Any, ...]) -> int:
    """Words of the bounds, and of tiles that these leave open and that have uncovered points."""
    (all_of, any_of, varies, *_), first, last, masks, levels, uncovered = arguments[:6]
    here = slice(first, last)
    some, words = uncovered.any(axis=1), _packed_words(varies[here])
    n_groups = (last - 1) // TILE - first // TILE + 1
    total = 2 * n_groups * TILE * masks.size
    columns = [
        part.transpose(0, 2, 1).reshape(-1, masks.shape[1])[here] for part in (all_of, any_of)
    ]
    for mask, level in zip(masks, levels, strict=True):
        low, high = (np.bitwise_count(part & mask).sum(axis=1, dtype=np.int64) for part in columns)
        total += TILE * int(words[some & (low < level) & (high >= level)].sum())
    return total


_ACCOUNTS: dict[str, Callable[[tuple[Any, ...]], int]] = {
    "minima": _minima_words,
    "cover": _cover_words,
    "lower_bounds": _lower_words,
    "scan_least": _least_words,
    "scan_minima": _scan_words,
    "cover_bounded": _bounded_cover_words,
}
_LOOKED: dict[str, Callable[[tuple[Any, ...]], tuple[Any, int]]] = {
    "grow_near": lambda given: (given[2][6], given[2][2].shape[1]),
    "look_for_lower": lambda given: (given[7], len(given[2])),
}
"""Loops that say themselves how many points and nodes they looked at."""
