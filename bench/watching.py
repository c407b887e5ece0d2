"""What the rounds of a fit on shards took, as a transport is watched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from bench.wire import ByKind
from fastmem.distributed.peers import Question
from fastmem.distributed.shard import Command

Messages = Sequence[Sequence[Command]]
Questions = Mapping[int, Sequence[Question]]


class Watch:
    """A transport, and what its rounds took.

    Attributes
    ----------
    n_shards, n_rounds, sent, received, fetched : int
        Shards that there were, rounds, and bytes of all messages and replies, and from shard to
        shard.
    seconds : list of float
        Of each round, as the driver sees it.
    in_shards : list of list of float
        Of each round and shard, where known; of the processor.
    work : dict of str to list of float
        Seconds of all shards by command, and what they did in these: values of points, of patterns
        by masks, ...
    peaks : list of float
        Largest resident memory of each worker, bytes.
    empty : float
        Seconds of a round that asks for nothing.
    driver : float
        Seconds of the processor in this process, beside those of shards that are in it.
    kinds : ByKind
    lacking : list of float
        Of each region that is known at the end, the share of all blocks that never came to it.
    """

    def __init__(self, n_shards: int = 0) -> None:
        self.n_shards = n_shards
        self.n_rounds = self.sent = self.received = self.fetched = 0
        self.seconds: list[float] = []
        self.in_shards: list[list[float]] = []
        self.work: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.peaks: list[float] = []
        self.empty = self.driver = 0.0
        self.kinds, self.lacking = ByKind(), list[float]()

    @property
    def shard_seconds(self) -> float:
        """Seconds in which a shard was at work, of the slowest in each round."""
        return sum(max(some) for some in self.in_shards)

    def note(
        self, messages: Messages, sent: int, received: int, seconds: float,
        in_shards: Sequence[float],
    ) -> None:  # fmt: skip
        """Take note of a round."""
        self.kinds.add(messages, sent, received, max(in_shards, default=0.0))
        self.received += received
        self._add(sent, seconds, in_shards)

    def note_fetch(
        self, questions: Questions, sent: int, fetched: int, seconds: float,
        in_shards: Sequence[float],
    ) -> None:  # fmt: skip
        """Take note of a round in which shards fetch from each other."""
        self.kinds.add_fetch(questions, sent, fetched, max(in_shards, default=0.0))
        self.fetched += fetched
        self._add(sent, seconds, in_shards)

    def _add(self, sent: int, seconds: float, in_shards: Sequence[float]) -> None:
        self.n_rounds += 1
        self.sent += sent
        self.seconds.append(seconds)
        if in_shards:
            self.in_shards.append(list(in_shards))
