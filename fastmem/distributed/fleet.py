"""All shards as the driver sees them: rounds, what is put off to the next, and the journal."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastmem.distributed.peers import Fetched, Question
from fastmem.distributed.shard import Command
from fastmem.distributed.transport import Transport
from fastmem.hyperplanes.hyperplanes import Hyperplanes


class Fleet:
    """The shards of a fit, all of which are told and asked the same.

    What they are told (`tell`) is sent with what they are asked next, in one round.

    Attributes
    ----------
    n_rounds : int
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._seq = self.n_rounds = 0
        self._journal = _Journal()
        self._told: list[tuple[Command, Callable[[list[Any]], object]]] = []
        self._n_covers = 0
        # far from the numbers of any other fit, whose commands to the same shards are refused then
        first = secrets.randbits(62)
        self.ask(("be_at", first))
        self._seq = first

    def tell(
        self, *command: Any, then: Callable[[list[Any]], object] = lambda replies: None
    ) -> None:
        """Let all shards change their state, sometime; ``then`` is given their replies."""
        self._told.append((command, then))

    @property
    def n_shards(self) -> int:
        """How many shards there are."""
        return self._transport.n_shards

    def ask(self, *commands: Command) -> list[list[Any]]:
        """Return the replies of all shards to each command that changes nothing."""
        replies = self.ask_each([commands] * self.n_shards)
        return [list(some) for some in zip(*replies, strict=True)]

    def ask_one(self, shard: int, command: Command) -> Any:
        """Return the reply of one shard."""
        messages: list[list[Command]] = [[]] * self.n_shards
        messages[shard] = [command]
        return self.ask_each(messages)[shard][0]

    def ask_each(self, messages: Sequence[Sequence[Command]]) -> list[list[Any]]:
        """Return the replies of each shard to its own commands, which change nothing."""
        told, self._told = self._told, []
        first = [command for command, _ in told]
        self.n_rounds += 1
        # one list for shards that are asked the same, as a transport pickles each list once
        sent = {id(message): [*first, *message] for message in messages}
        replies = self._transport.call(
            [self._seq] * self.n_shards, [sent[id(message)] for message in messages], self._restore
        )
        for command in first:
            self._journal.add(command)
        self._seq += len(told)
        for i, (_, then) in enumerate(told):
            then([some[i] for some in replies])
        return [some[len(told) :] for some in replies]

    def fetch(
        self, questions: Mapping[int, Sequence[Question]]
    ) -> tuple[Fetched, dict[int, list[bool]]]:
        """Let shards ask others; see `Transport.fetch`."""
        self.n_rounds += 1
        return self._transport.fetch(questions)

    def flush(self) -> None:
        """Send what the shards were told, if anything."""
        if self._told:
            self.ask()

    def new_cover(self) -> int:
        """A number for a cover."""
        self._n_covers += 1
        return self._n_covers

    def _restore(self, _: int) -> Sequence[Command]:
        return [*self._journal.commands(), ("be_at", self._seq)]


class _Journal:
    """What leads a new shard to the state of the others."""

    def __init__(self) -> None:
        self._placed: list[Command] = []
        self._hyperplanes: Hyperplanes | None = None
        self._since: list[Command] = []

    def add(self, command: Command) -> None:
        """Take note of a command that all shards have run."""
        if command[0] in ("encode", "place", "relabel", "keep", "scale"):
            self._placed.append(command)
        elif command[0] == "fill":  # which ends all covers
            self._hyperplanes, self._since = command[1], []
        else:
            self._since.append(command)

    def commands(self) -> list[Command]:
        """All that is to be repeated."""
        filled = [] if self._hyperplanes is None else [("fill", self._hyperplanes, 0)]
        return [*self._placed, *filled, *self._since]


def in_order(
    pieces: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Join what shards have of a list: places in it, ascending, and what stands there."""
    which = np.concatenate([which for which, _ in pieces])
    found = np.concatenate([found for _, found in pieces])
    order = np.argsort(which, kind="stable")
    return which[order], found[order]
