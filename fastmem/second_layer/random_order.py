"""The random order in which the points of a class are gone through."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.keyed_order import keyed_order, keyed_places
from fastmem.machine.threads import ranges, run_tasks

MOST_SHUFFLED = 1 << 22
"""Points up to which they are shuffled. The order of more comes from a key: a part of it can be
computed without the rest, so that points may be in several places."""
_TASK_POINTS = 1 << 18


class RandomOrder:
    """The numbers 0 to n - 1 in random order, of which any stretch can be had.

    It takes 4 bytes a number up to `MOST_SHUFFLED` of them, and no memory beyond.

    Parameters
    ----------
    n : int
        At most 2^31.
    generator : numpy.random.Generator
    """

    def __init__(self, n: int, generator: np.random.Generator) -> None:
        self._n = n
        self._shuffled: np.ndarray | None = None
        if n <= MOST_SHUFFLED:
            self._shuffled = generator.permutation(np.arange(n, dtype=np.int32))
        else:
            self._key = generator.integers(2**64, dtype=np.uint64)

    def __len__(self) -> int:
        return self._n

    def stretch(self, start: int, stop: int, n_threads: int = 1) -> np.ndarray:
        """The numbers at the places start..stop-1, int32; the same for any ``n_threads``."""
        if self._shuffled is not None:
            return self._shuffled[start:stop]
        numbers = np.empty(max(0, min(stop, self._n) - start), np.int32)

        def fill(task: tuple[int, int]) -> None:
            keyed_order(self._key, self._n, start + task[0], numbers[slice(*task)])

        run_tasks(fill, ranges(len(numbers), _TASK_POINTS), n_threads)
        return numbers

    def put_in_order(self, numbers: np.ndarray, first: int = 0, n_threads: int = 1) -> np.ndarray:
        """Those of some different numbers, int32, that are at the place ``first`` or after it.

        In this order.
        """
        if self._shuffled is not None:
            is_wanted = np.zeros(self._n, np.bool_)
            is_wanted[numbers] = True
            ahead = self._shuffled[first:]
            return ahead[is_wanted[ahead]]
        places = np.empty(len(numbers), np.int32)

        def find(task: tuple[int, int]) -> None:
            part = slice(*task)
            keyed_places(self._key, self._n, numbers[part], places[part])

        run_tasks(find, ranges(len(numbers), _TASK_POINTS), n_threads)
        kept = np.flatnonzero(places >= first)
        return numbers[kept[np.argsort(places[kept])]]


def random_order(n: int, generator: np.random.Generator, n_threads: int) -> np.ndarray:
    """Return the numbers 0 to n - 1 in random order, (n,) int32; the same for any ``n_threads``."""
    return RandomOrder(n, generator).stretch(0, n, n_threads)
