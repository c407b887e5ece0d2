"""The random order in which the points of a class are gone through."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.keyed_order import keyed_order
from fastmem.machine.threads import ranges, run_tasks

MOST_SHUFFLED = 1 << 22
"""Points up to which they are shuffled. The order of more comes from a key: a part of it can be
computed without the rest, so that points may be in several places."""
_TASK_POINTS = 1 << 18


def random_order(n: int, generator: np.random.Generator, n_threads: int) -> np.ndarray:
    """Return the numbers 0 to n - 1 in random order, (n,) int32; the same for any ``n_threads``."""
    order = np.arange(n, dtype=np.int32)
    if n <= MOST_SHUFFLED:
        return generator.permutation(order)
    key = generator.integers(2**64, dtype=np.uint64)

    def fill(task: tuple[int, int]) -> None:
        keyed_order(key, n, task[0], order[slice(*task)])

    run_tasks(fill, ranges(n, _TASK_POINTS), n_threads)
    return order
