"""How commands reach shards: a protocol of a few lines, and shards in this process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fastmem.distributed.parts import Part
from fastmem.distributed.shard import Command, Shard, StaleShard

ATTEMPTS = 5
"""Times that a shard may be lost in one round."""


class LostShardError(RuntimeError):
    """A shard was lost again and again."""


class Transport(Protocol):
    """The way to shards, wherever they are."""

    @property
    def n_shards(self) -> int:
        """How many there are."""

    def call(
        self,
        seqs: Sequence[int],
        messages: Sequence[Sequence[Command]],
        restore: Callable[[int], Sequence[Command]],
    ) -> list[list[Any]]:
        """Let each shard run its message from its number on; returns their replies, all of them.

        A shard that is lost or stale (`StaleShard`) is made anew from its parts, runs
        ``restore(shard)`` from 0 on, and then its message. After `ATTEMPTS` it raises
        LostShardError, which names shard and parts; what a command refuses is raised as it is.
        """


class LocalShards:
    """Shards in this process, for tests: all that is sent and received is pickled.

    Parameters
    ----------
    parts : sequence of sequence of Part
        The parts of each shard.
    loses : callable, optional
        ``loses(shard)`` says before a shard is called whether it was lost.
    n_threads : int

    Attributes
    ----------
    n_rounds, sent, received : int
        Calls, and bytes of messages and replies.
    n_lost : int
        Shards that were made anew.
    """

    def __init__(
        self,
        parts: Sequence[Sequence[Part]],
        loses: Callable[[int], bool] = lambda shard: False,
        n_threads: int = 1,
    ) -> None:
        self._parts, self._loses, self._n_threads = parts, loses, n_threads
        self._shards = [Shard(some, n_threads) for some in parts]
        self.n_rounds = self.sent = self.received = self.n_lost = 0

    @property
    def n_shards(self) -> int:
        """How many there are."""
        return len(self._shards)

    def call(
        self,
        seqs: Sequence[int],
        messages: Sequence[Sequence[Command]],
        restore: Callable[[int], Sequence[Command]],
    ) -> list[list[Any]]:
        """See Transport."""
        self.n_rounds += 1
        return [
            self._call_one(shard, seq, message, restore)
            for shard, (seq, message) in enumerate(zip(seqs, messages, strict=True))
        ]

    def _call_one(
        self,
        shard: int,
        seq: int,
        message: Sequence[Command],
        restore: Callable[[int], Sequence[Command]],
    ) -> list[Any]:
        for _ in range(ATTEMPTS):
            if self._loses(shard):
                self._shards[shard] = Shard(self._parts[shard], self._n_threads)
            try:
                return self._run(shard, seq, message)
            except StaleShard:
                self.n_lost += 1
                self._shards[shard] = Shard(self._parts[shard], self._n_threads)
                self._run(shard, 0, restore(shard))
        numbers = [part.number for part in self._parts[shard]]
        raise LostShardError(
            f"shard {shard}, which holds the parts {numbers}, was lost {ATTEMPTS} times in one "
            f"round; look at its machine, or fit on others"
        )

    def _run(self, shard: int, seq: int, message: Sequence[Command]) -> list[Any]:
        sent = pickle.dumps((seq, list(message)))
        replies = pickle.dumps(self._shards[shard].run(*pickle.loads(sent)))
        self.sent += len(sent)
        self.received += len(replies)
        result: list[Any] = pickle.loads(replies)
        return result
