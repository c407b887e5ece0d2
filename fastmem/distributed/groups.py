"""Groups of shards, each of which has a head that hands on messages and gathers answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import pairwise
from math import isqrt
from typing import Any

TREE_FROM = 12
"""Shards from which on they are asked in groups.

With so many a round of Dask takes the driver's processor 5.2 ms one by one; in groups 2.2, and
a head's 1.1. With 9 it is 4.5; 2.6, and 1.0: what is saved is lost to one more message on the way
(`python -m bench.rounds --groups`).
"""
_MOST_FAILURES = 5
"""Times that a group may not be reached, or answers stay away, until its shards are asked one by
one for good."""


class Groups:
    """Which shards are asked through the first of their group.

    There are about as many groups as a group has shards; none where shards are few. The head of a
    group has to know where the others are, and to reach them: until then, and where it does not,
    all are asked one by one.

    Parameters
    ----------
    n_shards : int
    join : callable
        ``join(group)`` lets the head of a group know the others; returns a future that says whether
        it reaches them.
    """

    def __init__(self, n_shards: int, join: Callable[[Sequence[int]], Future[bool]]) -> None:
        n = n_groups(n_shards) if n_shards >= TREE_FROM else 0
        bounds = [n_shards * i // n for i in range(n + 1)] if n else []
        self._groups = [range(start, stop) for start, stop in pairwise(bounds)]
        self._of = {shard: i for i, group in enumerate(self._groups) for shard in group}
        self._failures = [0] * n
        self._join, self._joined = join, dict[int, Future[bool]]()

    def ready(self, there: Collection[int]) -> Iterator[Sequence[int]]:
        """Groups whose heads reach all others; those that can be joined are, for later rounds."""
        for i, group in enumerate(self._groups):
            if self._failures[i] >= _MOST_FAILURES or not all(shard in there for shard in group):
                continue
            if i not in self._joined:
                self._joined[i] = begun(partial(self._join, group))
            elif self._joined[i].done():
                if came(self._joined[i]):
                    yield group
                else:  # which may be slow, and no more
                    self.fail(group)

    def change(self, shard: int) -> None:
        """Take note that a shard is to be elsewhere: its group is to be joined again."""
        self._joined.pop(self._of.get(shard, -1), None)

    def fail(self, group: Sequence[int]) -> None:
        """Take note that a head did not reach its group, or that not all answers came by it."""
        self._failures[self._of[group[0]]] += 1
        self.change(group[0])


def n_groups(n_shards: int) -> int:
    """As many groups as the largest has shards, about: a driver and heads call as many each."""
    return isqrt(n_shards)


# What an engine raises here does no harm: shards are asked themselves then, and tell


def begun(begin: Callable[..., Future[Any]]) -> Future[Any]:
    """A future, which has None if none is to be had."""
    try:
        return begin()
    except Exception:
        return done(None)


def done(value: Any) -> Future[Any]:
    """A future that has a value already."""
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def came(future: Future[Any]) -> Any:
    """What a future has; None where an engine failed."""
    try:
        return future.result()
    except Exception:
        return None


def without_repeats(messages: Sequence[bytes]) -> tuple[list[bytes], list[int]]:
    """Messages each once, and the place of each in them; it is known by what it is, not by value.

    So a message to all goes once to a group.
    """
    different = {id(message): message for message in messages}
    place_of = dict(zip(different, range(len(different)), strict=True))
    return list(different.values()), [place_of[id(message)] for message in messages]
