"""Groups of shards, each of which has a head that hands on messages and gathers answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from math import isqrt
from typing import Any

_MOST_FAILURES = 5
"""Times that answers of a group may stay away, until its shards are asked one by one for good."""


class Groups:
    """Which shards are asked through the first of their group.

    A group is as large as there are groups, about. Its head has to know where the others are, and
    to reach them: until then, and where it does not, all are asked one by one.

    Parameters
    ----------
    n_shards : int
    join : callable
        ``join(group)`` lets the head of a group know the others; returns a future that says whether
        it reaches them.
    """

    def __init__(self, n_shards: int, join: Callable[[Sequence[int]], Future[bool]]) -> None:
        n_groups = max(1, isqrt(n_shards))
        bounds = [n_shards * i // n_groups for i in range(n_groups + 1)]
        self._groups = [range(bounds[i], bounds[i + 1]) for i in range(n_groups)]
        self._of = {shard: i for i, group in enumerate(self._groups) for shard in group}
        self._failures = [0] * n_groups
        self._join, self._joined = join, dict[int, Future[bool]]()

    def ready(self, there: Collection[int]) -> Iterator[Sequence[int]]:
        """Groups whose heads reach all others; those that can be joined are, for later rounds."""
        for i, group in enumerate(self._groups):
            if self._failures[i] >= _MOST_FAILURES or not all(shard in there for shard in group):
                continue
            if i not in self._joined:
                self._joined[i] = self._join(group)
            elif self._joined[i].done() and came(self._joined[i]):
                yield group

    def change(self, shard: int) -> None:
        """Take note that a shard is to be elsewhere: its group is to be joined again."""
        self._joined.pop(self._of[shard], None)

    def fail(self, group: Sequence[int]) -> None:
        """Take note that not all answers of a group came through its head."""
        self._failures[self._of[group[0]]] += 1
        self.change(group[0])


def came(future: Future[Any]) -> Any:
    """What a future has, None where an engine failed: then shards are asked themselves, and tell."""
    try:
        return future.result()
    except Exception:
        return None
