"""How commands reach shards: a protocol, what is done for lost shards, and some in this process."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Protocol

from fastmem.distributed.answers import RELAYED_BYTES, Answers, packed, questioned
from fastmem.distributed.groups import Groups, begun, came, done, without_repeats
from fastmem.distributed.parts import Part
from fastmem.distributed.peers import MOST_FAILURES, Fetched, Question
from fastmem.distributed.shard import Command, Shard, StaleShard

ATTEMPTS = 5
"""Times that a shard may be lost in one round."""
_PATIENCE = 0.5
"""Seconds after which a wait returns to Python in any case."""


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

    def fetch(
        self, questions: Mapping[int, Sequence[Question]]
    ) -> tuple[Fetched, dict[int, list[bool]]]:
        """Let shards ask others; returns what stands for the answers in a later message.

        And of each shard which answers came to it: whatever did not, as shards were lost or do not
        reach each other, is to be asked through the driver.
        """


class RemoteShards(ABC):
    """A transport to shards that an engine keeps; a class for each engine says how.

    All calls of a round go out side by side. A shard that is lost, or stale, is made anew while the
    others' replies are kept. At first none is there: each is begun when it is called.

    Many shards are asked in `Groups`. Whatever does not come through the head of a group, as it or
    another was lost, each shard of it is asked for itself, by the same number: it runs nothing
    twice.

    What a shard needs of others it fetches from them, where an engine lets them reach each other.

    Parameters
    ----------
    numbers : sequence of sequence of int
        The parts of each shard, by number.

    Attributes
    ----------
    n_rounds, sent, received : int
        Rounds, and bytes of messages and replies.
    n_fetches, fetched : int
        Times that shards were let ask others, and bytes of the answers, which do not come here.
    n_lost : int
        Shards that were lost or stale.
    """

    _lost: ClassVar[tuple[type[BaseException], ...]]
    """What the engine raises where a shard is no longer there, or cannot be reached."""

    def __init__(self, numbers: Sequence[Sequence[int]]) -> None:
        self._numbers = [sorted(some) for some in numbers]
        self._there: set[int] = set()
        self._groups = Groups(len(self._numbers), self._join)
        self._failures = [0] * len(self._numbers)
        self.n_rounds = self.sent = self.received = self.n_lost = 0
        self.n_fetches = self.fetched = 0

    @property
    def n_shards(self) -> int:
        """How many there are."""
        return len(self._numbers)

    @abstractmethod
    def _begin(self, shard: int) -> Future[Any]:
        """Begin to make a shard from its parts, anew if it was there; done when it can be called.

        Here, or through the future, one of ``_lost`` is raised where that failed; where the parts
        themselves cannot be made, their own error.
        """

    @abstractmethod
    def _send(self, shard: int, seq: int, message: bytes) -> Future[bytes]:
        """Begin to let a shard `answer`.

        Here, or through the future, one of ``_lost`` is raised where it cannot be reached.
        """

    def _join(self, shards: Sequence[int]) -> Future[bool]:
        """Begin to let the first of some shards know the others; whether it reaches them."""
        return done(False)

    def _relay(
        self, shards: Sequence[int], seqs: Sequence[int], messages: Sequence[bytes]
    ) -> Future[list[bytes | None]]:
        """Begin to let shards answer (`Answers.relayed`) through the first, which knows the others.

        None is the answer of one that it cannot reach. Where it cannot be reached itself, or one of
        them is lost, whatever is raised here, or through the future, does no harm.
        """
        raise NotImplementedError

    def _fetch(
        self, shard: int, number: int, others: Sequence[int], questions: Sequence[bytes]
    ) -> Future[list[int]]:
        """Begin to let a shard keep (`Told.keep`) what others tell it (`Answers.tell`).

        Of each question by its place the future has the bytes of the answer, 0 where none came.
        Others answer while they run messages, and while they fetch. Whatever is raised here, or
        through the future, does no harm.
        """
        return done([0] * len(others))

    def _look_after(self, shards: Collection[int]) -> None:
        """See that shards live which have not answered for a while; called again and again.

        One that does not is to be ended, so that what is waited for raises one of ``_lost``.
        """
        return

    def _name(self, shard: int) -> str:
        """What a user knows the shard by."""
        return f"shard {shard}"

    def call(
        self,
        seqs: Sequence[int],
        messages: Sequence[Sequence[Command]],
        restore: Callable[[int], Sequence[Command]],
    ) -> list[list[Any]]:
        """See Transport."""
        self.n_rounds += 1
        sent: dict[int, bytes] = {}  # mostly all are sent the same
        for message in messages:
            if id(message) not in sent:
                sent[id(message)] = packed(self.n_rounds, message)
        each = [sent[id(message)] for message in messages]
        relayed = self._relayed(seqs, each)
        ways = [
            self._way(shard, seq, each[shard], restore, relayed.get(shard))
            for shard, seq in enumerate(seqs)
        ]
        replies: list[list[Any]] = [[]] * len(ways)
        waiting: dict[int, Future[Any]] = {}
        going = [*range(len(ways))]
        while going:
            for shard in going:
                try:
                    waiting[shard] = next(ways[shard])
                except StopIteration as end:
                    replies[shard] = end.value
            # a wait without an end cannot be interrupted in every thread of every engine
            while waiting and not wait(waiting.values(), _PATIENCE, FIRST_COMPLETED).done:
                self._look_after(waiting)
            going = [shard for shard, future in waiting.items() if future.done()]
            for shard in going:
                del waiting[shard]
        return replies

    def fetch(
        self, questions: Mapping[int, Sequence[Question]]
    ) -> tuple[Fetched, dict[int, list[bool]]]:
        """See Transport."""
        self.n_fetches += 1
        waiting: dict[int, Future[Any]] = {}
        those = {shard: [shard, *(other for other, _ in some)] for shard, some in questions.items()}
        for shard, some in questions.items():
            if self._failures[shard] >= MOST_FAILURES or not self._there.issuperset(those[shard]):
                continue
            asked = [questioned(command) for _, command in some]
            self.sent += sum(map(len, asked))
            begin = partial(self._fetch, shard, self.n_fetches, those[shard][1:], asked)
            waiting[shard] = begun(begin)
        while left := wait(waiting.values(), _PATIENCE).not_done:
            slow = [those[shard] for shard, future in waiting.items() if future in left]
            self._look_after({*chain(*slow)})
        came_to = {shard: [False] * len(some) for shard, some in questions.items()}
        for shard, future in waiting.items():
            lengths = came(future) or [0]
            if len(lengths) == len(came_to[shard]):
                came_to[shard] = [length > 0 for length in lengths]
                self.fetched += sum(lengths)
            self._failures[shard] = 0 if all(came_to[shard]) else self._failures[shard] + 1
        return Fetched(self.n_fetches), came_to

    def _relayed(
        self, seqs: Sequence[int], messages: Sequence[bytes]
    ) -> dict[int, Generator[Future[Any], None, bytes | None]]:
        """Ways to the answers of shards that are asked through others, by shard."""
        found = {}
        for group in self._groups.ready(self._there):
            some = [messages[shard] for shard in group]
            different = [len(message) for message in without_repeats(some)[0]]
            if len(different) > 1 and sum(different) > RELAYED_BYTES:
                continue
            self.sent += sum(different)
            their_seqs = [seqs[shard] for shard in group]
            future = begun(partial(self._relay, group, their_seqs, some))
            found.update({shard: self._from(group, future, shard) for shard in group})
        return found

    def _from(
        self, group: Sequence[int], future: Future[list[bytes | None]], shard: int
    ) -> Generator[Future[Any], None, bytes | None]:
        yield future
        answers = came(future) or [None] * len(group)
        if shard == group[0] and None in answers:
            self._groups.fail(group)
        return answers[shard - group[0]]

    def _way(
        self,
        shard: int,
        seq: int,
        message: bytes,
        restore: Callable[[int], Sequence[Command]],
        relayed: Generator[Future[Any], None, bytes | None] | None,
    ) -> Generator[Future[Any], None, list[Any]]:
        """All that is done for a shard's replies; yields what is to be waited for."""
        last: BaseException | None = None
        lost_or_stale: tuple[type[BaseException], ...] = (StaleShard, *self._lost)
        for _ in range(ATTEMPTS):
            try:
                if relayed is not None:
                    way, relayed = relayed, None
                    if answered := (yield from way):
                        return self._opened(shard, answered)
                if shard not in self._there:
                    self._groups.change(shard)
                    begun = self._begin(shard)
                    yield begun
                    begun.result()
                    self._there.add(shard)
                    if seq:
                        yield from self._answers(shard, 0, packed(0, restore(shard)))
                return (yield from self._answers(shard, seq, message))
            except lost_or_stale as lost:
                last = lost
                self.n_lost += 1
                self._there.discard(shard)
        some = self._numbers[shard]
        parts = f"{some}" if len(some) <= 9 else f"[{', '.join(map(str, some[:8]))}, ...]"
        raise LostShardError(
            f"{self._name(shard)}, which holds the parts {parts}, was lost {ATTEMPTS} times in "
            f"one round; look at its machine, or fit on others"
        ) from last

    def _answers(
        self, shard: int, seq: int, message: bytes
    ) -> Generator[Future[Any], None, list[Any]]:
        self.sent += len(message)
        future = self._send(shard, seq, message)
        yield future
        return self._opened(shard, future.result())

    def _opened(self, shard: int, answered: bytes) -> list[Any]:
        self.received += len(answered)
        replies, refusal = pickle.loads(answered)
        if refusal is not None:
            if hasattr(refusal, "__notes__"):
                refusal.add_note(f"So it was on {self._name(shard)}.")
            raise refusal
        return list(replies)


class LocalShards(RemoteShards):
    """Shards in this process, for tests: all that is sent and received is pickled.

    Parameters
    ----------
    parts : sequence of sequence of Part
        The parts of each shard.
    loses : callable, optional
        ``loses(shard)`` says before a shard is called whether it was lost.
    n_threads : int
    """

    _lost: ClassVar = ()

    def __init__(
        self,
        parts: Sequence[Sequence[Part]],
        loses: Callable[[int], bool] = lambda shard: False,
        n_threads: int = 1,
    ) -> None:
        super().__init__([[part.number for part in some] for some in parts])
        self._parts, self._loses, self._n_threads = parts, loses, n_threads
        self._shards: dict[int, Shard] = {}
        self._asked: dict[int, Answers] = {}

    def _begin(self, shard: int) -> Future[Any]:
        self._shards[shard] = made = Shard(self._parts[shard], self._n_threads)
        self._asked[shard] = Answers(made)
        return done(None)

    def _send(self, shard: int, seq: int, message: bytes) -> Future[bytes]:
        self._lose(shard, seq)
        return done(self._asked[shard].answer(seq, message))

    def _lose(self, shard: int, seq: int) -> None:
        if seq and self._loses(shard):
            self._begin(shard)  # which is stale then

    def _join(self, shards: Sequence[int]) -> Future[bool]:
        return done(True)

    def _relay(
        self, shards: Sequence[int], seqs: Sequence[int], messages: Sequence[bytes]
    ) -> Future[list[bytes | None]]:
        for shard in shards:
            self._lose(shard, seqs[0])
        each = zip(shards, seqs, messages, strict=True)
        return done([self._asked[shard].relayed(seq, message) for shard, seq, message in each])

    def _fetch(
        self, shard: int, number: int, others: Sequence[int], questions: Sequence[bytes]
    ) -> Future[list[int]]:
        for one in (shard, *others):
            self._lose(one, 1)
        told = [
            self._asked[other].tell(some) for other, some in zip(others, questions, strict=True)
        ]
        self._asked[shard].told.keep(number, told)
        return done([*map(len, told)])
