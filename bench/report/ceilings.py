"""What the machine itself allows: matrix products, memory copies, popcounts."""

from __future__ import annotations

from functools import partial

import numpy as np

from bench.measuring import Timing, all_threads, time_alone
from bench.parts import Popcounts
from bench.peers import Float32, sgemm_in_blocks

COPIED_AT_ONCE = 1 << 28
"""Bytes of the largest buffer that is really copied: beyond the caches, seconds go with bytes."""


def sgemm(X: Float32, width: int, runs: int, budget: float) -> Timing:
    """Time the first layer's matrix product alone, in row blocks, nothing kept."""
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((width, X.shape[1]), dtype=np.float32)
    call = partial(sgemm_in_blocks, X, weights)
    return time_alone(call, runs, slow=budget, budget=budget)


def copy(n_bytes: int, runs: int) -> Timing:
    """Time a copy of so many bytes on one thread, by a memory copy of at most COPIED_AT_ONCE."""
    size = max(1, min(n_bytes, COPIED_AT_ONCE))
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    timing = time_alone(lambda: np.copyto(target, source), runs)
    timing.seconds = [seconds * n_bytes / size for seconds in timing.seconds]
    return timing


def first_layer_bytes(X: Float32, width: int) -> int:
    """Count the bytes a first layer cannot do without: points read, packed patterns written."""
    return int(X.nbytes) + len(X) * (-(-width // 64)) * 8


def counts(runs: int, repeats: int) -> dict[str, tuple[Timing, float]]:
    """Time popcounts in the first cache, on all cores, and a memory copy.

    Parameters
    ----------
    runs : int
    repeats : int
        How often the popcounts go through their 1,024 words.

    Returns
    -------
    dict of str to (Timing, float)
        With the words that a call takes.
    """
    limit = Popcounts(all_threads(), repeats)
    return {
        "popcounts in cache": (time_alone(limit, runs), float(limit.n_words)),
        "memory copy": (copy(COPIED_AT_ONCE, runs), COPIED_AT_ONCE / 8),
    }
