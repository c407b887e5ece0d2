"""Shards in actors of Ray, and the way to them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, ClassVar

import ray
import ray.exceptions as errors
from ray.experimental import get_object_locations
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fastmem.distributed.answers import Answers
from fastmem.distributed.groups import without_repeats
from fastmem.distributed.parts import Part
from fastmem.distributed.shard import Shard
from fastmem.distributed.transport import LostShardError, RemoteShards
from fastmem.distributed.versions import require_same, versions
from fastmem.errors import InvalidInputError
from fastmem.ray.blocks import Blocks, labels_in, points_in, rows_of
from fastmem.ray.reserving import Room, reserve, shared_out
from fastmem.version import __version__

_STARTING_LOOKS, _LIVING_LOOKS = 600, 60
"""Looks after a shard, half a second each, until one counts as lost that shows no sign of life: in
a process that has still to start, and in another. Looks are counted, and not time, as this process
may be stopped, too."""
_LOADING_LOOKS = 20
"""Looks after shards that are loaded, until processors are given up, as Ray may need them to make
their blocks again."""
_PUT_BYTES = 100_000
"""A message of so many bytes goes to the object store once, and not into each call."""


_TO_REACH = 5.0
"""Seconds in which an actor must reach others for them to be asked through it."""


class _Keeper:
    """An actor with a shard: it answers in one thread, asks others in one, and lives in another.

    In one more it tells others, which it must while it asks them.
    """

    def load(
        self,
        expected: dict[str, str],
        pieces: Sequence[tuple[int, Any, int, int]],
        columns: tuple[Sequence[str], str],
        n_threads: int,
        memory_limit: int | None,
    ) -> Exception | None:
        """Make a shard of numbered parts, which are rows of blocks; returns what is refused."""
        try:
            place = f"the node {ray.util.get_node_ip_address()}"
            require_same(expected, place)
            names, label = columns
            parts = []
            for number, ref, start, stop in pieces:
                block, name = rows_of(ray.get(ref), start, stop), f"part {number} of the dataset"
                parts.append(Part(number, points_in(block, names, name), labels_in(block, label)))
            self._shard = Shard(parts, n_threads, memory_limit, f"an actor on {place}")
            self._answers = Answers(self._shard)
        except errors.ObjectLostError as lost:
            return LostShardError(
                f"a block of the dataset is lost, and Ray cannot make it again "
                f"({type(lost).__name__}); read the dataset from files, so that it can"
            )
        except Exception as refusal:
            return refusal
        return None

    def answer(self, seq: int, message: bytes) -> bytes:
        """See `Answers.answer`."""
        return self._answers.answer(seq, message)

    def answer_another(self, seq: int, message: bytes) -> bytes:
        """See `Answers.relayed`."""
        return self._answers.relayed(seq, message)

    @ray.method(concurrency_group="others")
    def join(self, others: list[Any]) -> bool:
        """Learn of other actors; returns whether they are reached."""
        self._others = others
        signs = [other.live.remote() for other in others]
        return len(ray.wait(signs, num_returns=len(signs), timeout=_TO_REACH)[0]) == len(signs)

    @ray.method(concurrency_group="others")
    def relay(self, seqs: list[int], places: list[int], messages: list[Any]) -> list[bytes | None]:
        """Let this actor and the others answer, each its message by place; None where one fails."""
        asked = [
            other.answer_another.remote(seq, messages[place])
            for other, seq, place in zip(self._others, seqs[1:], places[1:], strict=True)
        ]
        own = messages[places[0]]
        answered = self.answer_another(seqs[0], own if isinstance(own, bytes) else ray.get(own))
        return [answered, *map(_reply, asked)]

    @ray.method(concurrency_group="others")
    def fetch(self, number: int, others: list[Any], questions: list[Any]) -> list[int]:
        """Keep what others tell, each its question."""
        asked = [
            other.tell.remote(question) for other, question in zip(others, questions, strict=True)
        ]
        told = [_reply(one) or b"" for one in asked]
        self._answers.told.keep(number, told)
        return [len(some) for some in told]

    @ray.method(concurrency_group="told")
    def tell(self, question: bytes) -> bytes:
        """See `Answers.tell`."""
        return self._answers.tell(question)

    @ray.method(concurrency_group="life")
    def live(self) -> int:
        """Show that the process is there and not stopped; returns its number."""
        return os.getpid()


_remote: Any = ray.remote  # whose types do not know of groups
_Actor = _remote(concurrency_groups={"life": 1, "others": 1, "told": 1}, max_restarts=0)(_Keeper)


def _reply(asked: Any) -> bytes | None:
    try:
        answer: bytes = ray.get(asked)
        return answer
    except errors.RayError:
        return None


class _Watch:
    """Whether an actor lives."""

    def __init__(self, actor: Any) -> None:
        self._actor, self._sign, self._looks, self._has_started = actor, None, 0, False

    def look(self, has_started: bool) -> bool:
        """Whether it does, as far as one knows; and as one knows elsewhere, its process started."""
        self._has_started |= has_started
        if self._sign is None:
            self._sign, self._looks = self._actor.live.remote(), 0
            return True
        if ray.wait([self._sign], timeout=0)[0]:  # also where it died, which its calls will tell
            self._sign, self._has_started = None, True
            return True
        self._looks += 1
        return self._looks < (_LIVING_LOOKS if self._has_started else _STARTING_LOOKS)


class RayShards(RemoteShards):
    """Shards of a dataset's blocks, each in an actor.

    Processors are reserved beside the actors, which themselves ask for none: so one that was lost
    can always be made again, and processors are given up then, as Ray may need them to make blocks
    again.

    Parameters
    ----------
    blocks : Blocks
    columns : tuple of list of str and str
        Those of features, and that of labels.
    num_actors, num_cpus : int or None
        As of `interpolate`.
    """

    _lost: ClassVar = (
        errors.RayActorError,
        errors.WorkerCrashedError,
        errors.NodeDiedError,
        errors.ObjectLostError,
        errors.OutOfMemoryError,
        errors.ActorUnschedulableError,
    )

    def __init__(
        self,
        blocks: Blocks,
        columns: tuple[Sequence[str], str],
        num_actors: int | None,
        num_cpus: int | None,
    ) -> None:
        self._room: Room | None = reserve(num_actors, num_cpus)
        self._nodes, self._n_threads = self._room.nodes, self._room.num_cpus
        self._refs, self._columns = blocks.refs, columns
        self._actors: dict[int, Any] = {}
        self._watches: dict[int, _Watch] = {}
        self._put: tuple[bytes, Any] = b"", None
        self._loading_looks = 0
        try:
            found = get_object_locations(blocks.refs)
            places = [found.get(ref, {}).get("node_ids", []) for ref in blocks.refs]
            self._pieces = shared_out(blocks.sizes, places, self._nodes)
            super().__init__([[number for number, _ in some] for some in self._pieces])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all actors."""
        for shard in [*self._actors]:
            self._end(shard)
        self._give_up_room()

    def _give_up_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and ray.is_initialized():
            room.give_up()

    def _end(self, shard: int) -> None:
        actor = self._actors.pop(shard, None)
        self._watches.pop(shard, None)
        if actor is not None and ray.is_initialized():
            with suppress(errors.RayError):
                ray.kill(actor)

    def _begin(self, shard: int) -> Future[Any]:
        if shard in self._actors:
            self._end(shard)
            self._give_up_room()
        node = NodeAffinitySchedulingStrategy(self._nodes[shard], soft=True)
        actor = _Actor.options(num_cpus=0, scheduling_strategy=node).remote()
        self._actors[shard], self._watches[shard] = actor, _Watch(actor)
        begun = actor.load.remote(
            versions(), self._pieces_of(shard), self._columns, self._n_threads,
            self._memory_limit(shard),
        )  # fmt: skip
        return _then(begun.future(), _raised, _not_importable)

    def _memory_limit(self, shard: int) -> int | None:
        """Its share of what Ray says that processes of its node may have."""
        node = self._nodes[shard]
        known = {one["NodeID"]: one["Resources"].get("memory") for one in ray.nodes()}
        memory = known.get(node)
        return None if memory is None else int(memory) // self._nodes.count(node)

    def _pieces_of(self, shard: int) -> list[tuple[int, Any, int, int]]:
        return [
            (number, self._refs[piece.block], piece.start, piece.stop)
            for number, piece in self._pieces[shard]
        ]

    def _send(self, shard: int, seq: int, message: bytes) -> Future[bytes]:
        sent = self._on_the_way(message)
        future: Future[bytes] = self._actors[shard].answer.remote(seq, sent).future()
        return future

    def _join(self, shards: Sequence[int]) -> Future[bool]:
        head, *others = (self._actors[shard] for shard in shards)
        future: Future[bool] = head.join.remote(others).future()
        return future

    def _relay(
        self, shards: Sequence[int], seqs: Sequence[int], messages: Sequence[bytes]
    ) -> Future[list[bytes | None]]:
        different, places = without_repeats(messages)
        sent = [self._on_the_way(message) for message in different]
        head = self._actors[shards[0]]
        future: Future[list[bytes | None]] = head.relay.remote(list(seqs), places, sent).future()
        return future

    def _fetch(
        self, shard: int, number: int, others: Sequence[int], questions: Sequence[bytes]
    ) -> Future[list[int]]:
        asked = [self._actors[other] for other in others]
        sent = [self._on_the_way(question) for question in questions]
        future: Future[list[int]] = self._actors[shard].fetch.remote(number, asked, sent).future()
        return future

    def _on_the_way(self, message: bytes) -> Any:
        if len(message) < _PUT_BYTES:
            return message
        if self._put[0] is not message:
            self._put = message, ray.put(message)
        return self._put[1]

    def _look_after(self, shards: Collection[int]) -> None:
        self._loading_looks += not self._there.issuperset(shards)
        if self._loading_looks > _LOADING_LOOKS:
            self._give_up_room()
        for shard in shards:
            if not self._watches[shard].look(shard in self._there):
                ray.kill(self._actors[shard])

    def _name(self, shard: int) -> str:
        addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
        return f"shard {shard}, an actor that began on the node {addresses[self._nodes[shard]]}"


def _raised(refusal: Exception | None) -> None:
    if refusal is not None:
        raise refusal


def _not_importable(error: BaseException) -> BaseException:
    """A sentence for an actor that died because its process has no fastmem; other errors as such.

    It would die again and again. Ray tells of it in a text alone.
    """
    missing = re.search(r"ModuleNotFoundError: (No module named \S+)", str(error))
    if missing is None or "failed to import on the worker" not in str(error):
        return error
    return InvalidInputError(
        f"fastmem cannot be imported by workers of Ray ({missing[1]}); install it on all nodes, "
        f"pip install fastmem-nets=={__version__}, or pass a runtime_env to ray.init"
    )


def _then(
    future: Future[Any],
    step: Callable[[Any], Any],
    instead: Callable[[BaseException], BaseException] = lambda error: error,
) -> Future[Any]:
    """What becomes of a future's result, and of its error."""
    after: Future[Any] = Future()

    def go_on(done: Future[Any]) -> None:
        try:
            after.set_result(step(done.result()))
        except BaseException as error:
            after.set_exception(instead(error))

    future.add_done_callback(go_on)
    return after
