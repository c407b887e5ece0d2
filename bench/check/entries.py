"""What `bench.check` times, and what it divides the times by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

import fastmem
from bench.parts import Counts, Coverage, Extents, Selection
from bench.peers import sgemm_in_blocks
from bench.workloads import FULL, Sizes, Workload
from fastmem.machine.arrays import aligned_zeros

Call = Callable[[], Any]

CHECK = replace(
    FULL,
    moons=100_000,
    digits=5_000,
    sign_rows=1_200,
    count_rows=9_600,
    count_words=32,
    count_masks=128,
)
"""Sizes at which one call of an entry lasts 2 to 170 ms on one thread."""

# --- calibrations: each kind of work as BLAS, NumPy or a plain loop does it, never fastmem ---


def _aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that starts a cache line: elsewhere the same loop takes up to 1.5 x as long."""
    copied: NDArray[Any] = aligned_zeros(array.shape, array.dtype)
    copied[...] = array
    return copied


@njit(nogil=True, cache=True)
def _popcounts(tiles, masks, counts):
    """counts[b, i] = |masks[b] and column i| of each tile in turn, by shifts that LLVM knows.

    tiles (n_tiles, n_words, columns), masks (B, n_words), counts (B, columns); uint64.
    """
    twos, fours = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
    eights, ones = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
    for tile in range(tiles.shape[0]):
        for b in range(masks.shape[0]):
            counts[b] = np.uint64(0)
            for j in range(tiles.shape[1]):
                mask = masks[b, j]
                for i in range(tiles.shape[2]):
                    x = tiles[tile, j, i] & mask
                    x = x - ((x >> np.uint64(1)) & twos)
                    x = (x & fours) + ((x >> np.uint64(2)) & fours)
                    x = (x + (x >> np.uint64(4))) & eights
                    counts[b, i] += (x * ones) >> np.uint64(56)


def sgemm(smoke: bool) -> Call:
    """Multiply 256 x 784 by 784 x 2,048 in float32: some 6 ms."""
    rows, width = (16, 64) if smoke else (256, 2_048)
    generator = np.random.default_rng(0)
    X = _aligned(generator.standard_normal((rows, 784), dtype=np.float32))
    weights = _aligned(generator.standard_normal((width, 784), dtype=np.float32))
    return lambda: sgemm_in_blocks(X, weights)


def popcount(smoke: bool) -> Call:
    """Count the ones of 1,024 masks of 32 words in 1,920 rows, 0.5 MB: some 5 ms."""
    generator = np.random.default_rng(0)
    n_tiles, n_masks = (1, 16) if smoke else (10, 1_024)
    tiles = _aligned(generator.integers(2**64, size=(n_tiles, 32, 192), dtype=np.uint64))
    masks = _aligned(generator.integers(2**64, size=(n_masks, 32), dtype=np.uint64))
    counts = _aligned(np.empty((n_masks, 192), np.uint64))
    return lambda: _popcounts(tiles, masks, counts)


CALIBRATIONS: dict[str, Callable[[bool], Call]] = {
    "sgemm": sgemm,
    "popcount": popcount,
}

# --- entries ---


def signs(d: int, times: int, sizes: Sizes, n_threads: int) -> Call:
    """Sign patterns of Gaussian points within the unit ball, in d dimensions."""
    generator = np.random.default_rng(d)
    X = generator.standard_normal((times * sizes.sign_rows, d), dtype=np.float32)
    X /= np.linalg.norm(X, axis=1).max()
    weights = generator.standard_normal((sizes.width, d), dtype=np.float32)
    hyperplanes = fastmem.Hyperplanes(weights, generator.uniform(-1, 1, sizes.width))
    return lambda: fastmem.sign_patterns(X, hyperplanes, n_threads=n_threads)


def counts(sizes: Sizes, n_threads: int) -> Call:
    """Smallest counts of masks over the points of another class."""
    return Counts(sizes.count_rows, sizes.count_words, sizes.count_masks, n_threads).minima


def coverage(sizes: Sizes, n_threads: int) -> Call:
    """Neurons that are added to a class: which of its points they cover."""
    return Coverage(sizes.count_rows, sizes.count_words, sizes.count_masks, n_threads).accept


def margins(times: int, sizes: Sizes, n_threads: int) -> Call:
    """Predict points of 2 features by many random neurons, so that margins are most of it."""
    generator = np.random.default_rng(0)
    X = generator.uniform(-1, 1, (times * sizes.sign_rows, 2)).astype(np.float32)
    weights = generator.standard_normal((sizes.width, 2), dtype=np.float32)
    first = fastmem.Hyperplanes(weights, generator.uniform(-1, 1, sizes.width))
    neurons = 8 * sizes.count_masks
    masks = generator.integers(2**64, size=(neurons, first.n_words), dtype=np.uint64)
    owners = np.sort(np.arange(neurons) % 2).astype(np.int32)
    second = fastmem.CoverLayer(masks, np.full(neurons, 9, np.int32), owners)
    network = fastmem.Network(np.arange(3), first, second, (0, 1))
    return lambda: network.predict(X, n_threads=n_threads)


def select(selection: str, sizes: Sizes, n_threads: int) -> Call:
    """Choose the second layer for the digits, given the sign patterns."""
    problem = Selection(sizes.digits_random, n_threads)
    return lambda: problem.select(problem.covers(), selection)


def fingerprints(sizes: Sizes, n_threads: int) -> Call:
    """Look for equal points with different labels, before a fit."""
    return Extents(*sizes.digits_random.data(), n_threads).refuse


def extent(sizes: Sizes, n_threads: int) -> Call:
    """Find the mean and the radius of the points, before a fit."""
    return Extents(*sizes.digits_random.data(), n_threads).extent


def fit(workload: str, sizes: Sizes, n_threads: int, **changes: Any) -> Call:
    """Memorise a workload."""
    chosen: Workload = getattr(sizes, workload)
    chosen.data()
    return lambda: chosen.fit(n_threads=n_threads, **changes)


def predict(workload: str, sizes: Sizes, n_threads: int) -> Call:
    """Predict the points of a workload that was memorised."""
    chosen: Workload = getattr(sizes, workload)
    network, X = chosen.fit(n_threads=1), chosen.data()[0]
    return lambda: network.predict(X, n_threads=n_threads)


TOLERANCE = 1.25
"""A ratio worse than the baseline's by more than this factor is a regression."""


@dataclass(frozen=True)
class Entry:
    """One line of the table.

    Attributes
    ----------
    name : str
    calibration : {"sgemm", "popcount"}
        Its time is divided by that of this calibration.
    prepare : callable
        Given sizes and a number of threads, returns the call that is timed.
    n_threads : int
        Of the call. With one, processor time is measured; with more, wall-clock time.
    tolerance : float
    """

    name: str
    calibration: str
    prepare: Callable[[Sizes, int], Call]
    n_threads: int = 1
    tolerance: float = TOLERANCE


# Of the two calibrations the one with which the ratio moved least beside processes that copied
# memory, counted ones or ran plain Python. A copy of memory was tried as a third: beside others
# that copy, ratios to it moved by a factor of 2, and no kernel here is bound by memory.
ENTRIES = [
    Entry("signs-2", "sgemm", partial(signs, 2, 10)),
    Entry("signs-784", "sgemm", partial(signs, 784, 1)),
    Entry("counts", "popcount", counts),
    Entry("coverage", "popcount", coverage),
    Entry("margins", "popcount", partial(margins, 4)),
    Entry("select-random", "popcount", partial(select, "random")),
    Entry("select-merge", "popcount", partial(select, "merge")),
    Entry("fingerprints", "popcount", fingerprints),
    Entry("extent", "popcount", extent, tolerance=1.12),  # two kernels, a half each, and steady
    Entry("fit-moons", "sgemm", partial(fit, "moons_random")),
    Entry("fit-digits", "sgemm", partial(fit, "digits_merge")),
    Entry("fit-auto", "sgemm", partial(fit, "digits_merge", width="auto")),
    Entry("predict-moons", "sgemm", partial(predict, "moons_merge")),
    Entry("margins-2-threads", "popcount", partial(margins, 16), n_threads=2, tolerance=1.4),
]
