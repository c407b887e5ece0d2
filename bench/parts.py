"""Single stages of a fit, set up by themselves: the only place here that knows the insides."""

from __future__ import annotations

import os
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

import fastmem
from bench.workloads import Workload
from fastmem.blocks import Block, least_counts
from fastmem.hyperplanes import Hyperplanes
from fastmem.inputs import check_points
from fastmem.patterns import Patterns
from fastmem.second_layer import choose_neurons
from fastmem.structured import StructuredHyperplanes, StructuredRows

Words = NDArray[np.uint64]


def all_threads() -> int:
    """Cores that this process may use: the default of `interpolate`."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def structured_planes(d: int, width: int) -> StructuredHyperplanes:
    """Structured hyperplanes with biases up to 1 for points in the unit ball."""
    source = StructuredRows(np.random.default_rng(d), np.zeros(d), 1.0)
    return source.start(width, np.zeros(d), 1.0)


def fit_with_rounds(rounds: int | None, X: Any, y: Any, **settings: Any) -> fastmem.Network:
    """Memorise with structured hyperplanes of some rounds, or with Gaussian ones for None."""
    if rounds is None:
        return fastmem.interpolate(X, y, **settings)
    with patch("fastmem.algorithm.StructuredRows", partial(StructuredRows, rounds=rounds)):
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
        patterns = Patterns(codes, 2, n_words)
        first = int(patterns.first_tile[1])
        for tile in range(first, len(patterns.sizes)):
            size = int(patterns.sizes[tile])
            start = (tile - first) * patterns.tiles.shape[2]
            patterns.tiles[tile, :, :size] = self.rows[start : start + size].T
        self.block = Block(patterns, 64 * n_words, 0, generator, n_threads)

    def minima(self) -> NDArray[np.int64]:
        """Return the smallest count of each mask over all rows: shape (B,)."""
        result: NDArray[np.int64] = least_counts([self.block] * len(self.masks), self.masks)[0]
        return result


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
