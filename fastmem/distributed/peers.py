"""What shards fetch from each other, so that it need not pass the driver."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastmem.distributed.shard import Command

Question = tuple[int, Command]
"""A shard, and what it is to tell another one."""
MOST_FAILURES = 5
"""Times in a row that a shard does not get all answers, until it fetches nothing any more."""


class Fetched(NamedTuple):
    """In place of an argument of a command: what its shard was told by others.

    There the argument is a list, of an answer to each question, None where none came; or an empty
    list, where the shard keeps nothing by this number.

    Attributes
    ----------
    number : int
        Of a fetch, from 1 on.
    """

    number: int


class Told:
    """Answers of others that a shard keeps until a message asks for them, those of one fetch.

    They may come after the driver has given them up, and while a message runs.
    """

    def __init__(self) -> None:
        self._kept: tuple[int, Sequence[bytes]] = 0, ()

    def keep(self, number: int, answers: Sequence[bytes]) -> None:
        """Keep pickled answers, empty where none came, instead of those of a fetch before."""
        if number > self._kept[0]:
            self._kept = number, answers

    def put_in(self, commands: Sequence[Command]) -> list[Command]:
        """Commands whose arguments are `Fetched` no more; then nothing is kept."""
        return [
            tuple(self._take(one.number) if isinstance(one, Fetched) else one for one in command)
            for command in commands
        ]

    def _take(self, number: int) -> list[Any]:
        kept, answers = self._kept
        if number < kept:
            return []
        self._kept = number, ()
        return [pickle.loads(some) if some else None for some in answers] if number == kept else []
