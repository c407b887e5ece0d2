"""What the machine itself allows: matrix products, memory copies, popcounts; and FAISS's counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.measuring import Timing
from bench.parts import Counts, Popcounts, all_threads
from bench.peers import FaissCounts, Float32, sgemm_in_blocks
from bench.report.points import Point, point

COPIED_AT_ONCE = 1 << 28
"""Bytes of the largest buffer that is really copied: beyond the caches, seconds go with bytes."""


def sgemm(X: Float32, width: int, runs: int, budget: float) -> Timing:
    """Time the first layer's matrix product alone, in row blocks, nothing kept."""
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((width, X.shape[1]), dtype=np.float32)
    return Timing(lambda: sgemm_in_blocks(X, weights), runs, slow=budget, budget=budget)


def copy(n_bytes: int, runs: int) -> Timing:
    """Time a copy of so many bytes on one thread, by a memory copy of at most COPIED_AT_ONCE."""
    size = max(1, min(n_bytes, COPIED_AT_ONCE))
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    timing = Timing(lambda: np.copyto(target, source), runs)
    timing.seconds = [seconds * n_bytes / size for seconds in timing.seconds]
    return timing


def first_layer_bytes(X: Float32, width: int) -> int:
    """Count the bytes a first layer cannot do without: points read, packed patterns written."""
    return int(X.nbytes) + len(X) * (-(-width // 64)) * 8


def counts(
    n_rows: int, n_masks: int, n_words: tuple[int, ...], runs: int, repeats: int
) -> list[Point]:
    """Measure counts of masks over whole rows: fastmem, FAISS, and the two limits of the machine.

    Parameters
    ----------
    n_rows, n_masks : int
        Each of the masks is counted on each of the rows.
    n_words : tuple of int
        Words in a row, 64 bits each.
    runs : int
    repeats : int
        How often the popcount limit goes through its 1,024 words.

    Returns
    -------
    list of Point
        ``rate`` in words a second, by words in a row.
    """
    threads = all_threads()
    limit = Popcounts(threads, repeats)
    timings: dict[str, tuple[Timing, int]] = {
        "popcounts in cache": (Timing(limit, runs), limit.n_words),
        "memory copy": (copy(COPIED_AT_ONCE, runs), COPIED_AT_ONCE // 8),
    }
    points: list[Point] = []
    for words in n_words:
        problem = Counts(n_rows, words, n_masks, threads)
        peer = FaissCounts(problem.rows, threads)
        n_counted = n_rows * n_masks * words
        timings["fastmem"] = Timing(problem.minima, runs), n_counted
        timings["FAISS IndexBinaryFlat"] = _faiss(peer, problem, runs), n_counted
        points += [
            point("counts", series, words, timing, rate=counted / timing.median)
            for series, (timing, counted) in timings.items()
        ]
    return points


def _faiss(peer: FaissCounts, problem: Any, runs: int) -> Timing:
    return Timing(lambda: peer.minima(problem.masks), runs)
