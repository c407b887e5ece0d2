"""What goes to shards and comes back, by what it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastmem.distributed.peers import Question
from fastmem.distributed.region import Order
from fastmem.distributed.shard import Command

KINDS = ("shuffle", "ground", "cells", "blocks", "other")
"""Bringing points to their regions; what is uncovered there, whenever it is gathered anew; cells
that grow; blocks of other regions, which shards fetch, or which are sent with the cells that wait;
all else."""
_KIND_OF = {
    "leaf_counts": "shuffle", "leaf_points": "shuffle", "begin_region": "shuffle",
    "settle": "shuffle", "has_all": "shuffle", "n_settled": "shuffle", "complete": "shuffle",
    "equip": "shuffle", "placed": "shuffle", "stand": "ground", "grow": "cells", "blocks": "blocks",
}  # fmt: skip


class ByKind:
    """Sums of rounds, by kind.

    Attributes
    ----------
    rounds : dict of str to int
    sent, received, fetched : dict of str to int
        Bytes, those from shard to shard apart.
    seconds : dict of str to float
        Of the slowest shards, where known.
    n_waits : int
        Rounds in which cells grow that had to wait for blocks.
    """

    def __init__(self) -> None:
        some = (dict.fromkeys(KINDS, 0) for _ in range(4))
        self.rounds, self.sent, self.received, self.fetched = some
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self.n_waits = 0
        self._is_placed = False

    def add(
        self, messages: Sequence[Sequence[Command]], sent: int, received: int, seconds: float
    ) -> None:
        """Take note of a round."""
        commands = [message[-1] for message in messages if message] or [("nothing",)]
        names = {command[2] if command[0] == "in_region" else command[0] for command in commands}
        (name,) = names
        kind = _KIND_OF.get(name, "other")
        if name == "placed" and self._is_placed:  # of what is uncovered, which is gathered
            kind = "ground"
        self._is_placed = self._is_placed or name == "equip"
        copied = 0
        if name == "grow":
            orders: list[Order] = [command[3] for command in commands]
            copied = sum(some.nbytes for order in orders for some in order.blocks or ())
            self.n_waits += copied > 0 or any(command[4].number > 0 for command in commands)
        self.rounds[kind] += 1
        self.sent[kind] += sent - copied
        self.sent["blocks"] += copied
        self.received[kind] += received
        self.seconds[kind] += seconds

    def add_fetch(
        self, questions: Mapping[int, Sequence[Question]], sent: int, fetched: int, seconds: float
    ) -> None:
        """Take note of a round in which shards fetch from each other."""
        (name,) = {command[2] for some in questions.values() for _, command in some}
        kind = _KIND_OF[name]
        self.rounds[kind] += 1
        self.sent[kind] += sent
        self.fetched[kind] += fetched
        self.seconds[kind] += seconds
