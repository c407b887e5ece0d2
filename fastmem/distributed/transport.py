"""How commands reach shards: a protocol, what is done for lost shards, and some in this process."""

from __future__ import annotations

import pickle
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, ClassVar, Protocol

from fastmem.distributed.parts import Part
from fastmem.distributed.shard import Command, Shard, StaleShard
from fastmem.errors import InvalidInputError

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


def answer(shard: Shard, seq: int, message: bytes) -> bytes:
    """Let a shard run a pickled message; returns its replies, or what it refused, pickled.

    So an engine hands on bytes, and an error that it raises itself is never a shard's.
    """
    try:
        return _pickled((shard.run(seq, pickle.loads(message)), None))
    except Exception as refusal:
        try:
            sent = _pickled((None, _noted(refusal)))
            pickle.loads(sent)
        except Exception:  # of those that do not come out of a pickle, as they were made otherwise
            other = RuntimeError(f"{type(refusal).__name__}: {refusal}")
            return _pickled((None, _noted(other, refusal)))
        return sent


def _noted(refusal: Exception, of: Exception | None = None) -> Exception:
    """An error with a note of where it was raised, as its traceback stays behind, if it is a bug's.

    So it is, or of a full memory, where no user's input is refused in a sentence.
    """
    if not isinstance(refusal, InvalidInputError | StaleShard):
        refusal.add_note("".join(traceback.format_exception(of or refusal)).rstrip())
    return refusal


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


class RemoteShards(ABC):
    """A transport to shards that an engine keeps; a class for each engine says how.

    All calls of a round go out side by side. A shard that is lost, or stale, is made anew while the
    others' replies are kept. At first none is there: each is begun when it is called.

    Parameters
    ----------
    numbers : sequence of sequence of int
        The parts of each shard, by number.

    Attributes
    ----------
    n_rounds, sent, received : int
        Rounds, and bytes of messages and replies.
    n_lost : int
        Shards that were lost or stale.
    """

    _lost: ClassVar[tuple[type[BaseException], ...]]
    """What the engine raises where a shard is no longer there, or cannot be reached."""

    def __init__(self, numbers: Sequence[Sequence[int]]) -> None:
        self._numbers = [sorted(some) for some in numbers]
        self._there: set[int] = set()
        self.n_rounds = self.sent = self.received = self.n_lost = 0

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
                sent[id(message)] = _pickled(list(message))
        ways = [
            self._way(shard, seq, sent[id(message)], restore)
            for shard, (seq, message) in enumerate(zip(seqs, messages, strict=True))
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

    def _way(
        self, shard: int, seq: int, message: bytes, restore: Callable[[int], Sequence[Command]]
    ) -> Generator[Future[Any], None, list[Any]]:
        """All that is done for a shard's replies; yields what is to be waited for."""
        last: BaseException | None = None
        lost_or_stale: tuple[type[BaseException], ...] = (StaleShard, *self._lost)
        for _ in range(ATTEMPTS):
            try:
                if shard not in self._there:
                    begun = self._begin(shard)
                    yield begun
                    begun.result()
                    self._there.add(shard)
                    if seq:
                        yield from self._answers(shard, 0, _pickled(list(restore(shard))))
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
        answered = future.result()
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

    def _begin(self, shard: int) -> Future[Any]:
        self._shards[shard] = Shard(self._parts[shard], self._n_threads)
        return _done(None)

    def _send(self, shard: int, seq: int, message: bytes) -> Future[bytes]:
        if seq and self._loses(shard):
            self._begin(shard)  # which is stale then
        return _done(answer(self._shards[shard], seq, message))


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
