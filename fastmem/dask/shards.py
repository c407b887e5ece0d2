"""Shards as actors of Dask's workers, one on each that has parts."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Any, ClassVar, Protocol
from uuid import uuid4

from distributed import Client, KilledWorker, get_worker
from distributed import Future as DaskFuture
from distributed.protocol import to_serialize

from fastmem.dask.clients import on_worker
from fastmem.distributed.answers import Answers
from fastmem.distributed.groups import without_repeats
from fastmem.distributed.parts import Part
from fastmem.distributed.shard import Shard
from fastmem.distributed.transport import LostShardError, RemoteShards
from fastmem.distributed.versions import require_same, versions

_PULSE = 0.5
"""Seconds between two looks at whether workers are still there."""
_GLANCE = 0.005
"""Seconds between two looks at whether something is made."""
_FOR_ANOTHER = 30.0
"""Seconds that a lost shard waits for a worker to join where all others are rather full."""
_HALF_FULL = 0.35
"""Share of a worker's memory up to which it takes a second shard, which is as large as the first.

Dask pauses workers at 0.8."""
_FOR_ANY = 300.0
"""Seconds that it waits for any worker at all."""
_CONNECTING_LOOKS = 20
"""Looks, a pulse each, in which a worker must be reached for others to speak to it themselves. They
are counted, and not time, as this process may be stopped, too."""


class _LostWorkerError(Exception):
    """A worker is gone, or its actor."""


class MakesParts(Protocol):
    """How parts are made, wherever, and again where a worker is lost."""

    def __len__(self) -> int: ...

    def delayed(self, numbers: Sequence[int]) -> list[Any]:
        """New tasks, of names never used before, that make some parts."""


class ShardActor:
    """A shard on a worker, whose threads it uses.

    Parameters
    ----------
    client : dict
        `versions` of the client.
    parts : list of Part
    """

    def __init__(self, client: dict[str, str], parts: list[Part]) -> None:
        worker = get_worker()
        name, limit = f"worker {worker.address}", worker.memory_manager.memory_limit
        require_same(client, name)
        self._answers = Answers(Shard(parts, worker.state.nthreads, limit, name))
        self._others: list[tuple[str, str]] = []
        self._reached: set[str] = set()

    def run(self, seq: int, message: bytes) -> bytes:
        """See `Answers.answer`."""
        return self._answers.answer(seq, message)

    def run_for_another(self, seq: int, message: bytes) -> bytes:
        """See `Answers.relayed`."""
        return self._answers.relayed(seq, message)

    # On the worker's loop, where they may wait for actors of the same worker

    async def join(self, others: list[tuple[str, str]]) -> bool:
        """Learn the names of other actors and their workers; returns whether they are reached."""
        self._others = others
        reached = [_reaches(get_worker(), host) for _, host in others]
        return all(await asyncio.gather(*reached))

    async def relay(self, plan: bytes, *messages: bytes) -> bytes:
        """Let this actor and the others answer, each from its number on, its message by place.

        ``plan`` and answers, of which those of lost actors are None, are pickled: Dask would look
        at each value of a list.
        """
        worker = get_worker()
        own, *rest = pickle.loads(plan)
        asked = [
            _answered(worker, host, key, "run_for_another", seq, messages[place])
            for (key, host), (seq, place) in zip(self._others, rest, strict=True)
        ]
        answers = asyncio.gather(*asked)
        seq, place = own
        answered = await asyncio.get_running_loop().run_in_executor(
            worker.executors["actor"], self.run_for_another, seq, messages[place]
        )
        return pickle.dumps([answered, *await answers], pickle.HIGHEST_PROTOCOL)

    async def fetch(self, number: int, plan: bytes, *questions: bytes) -> list[int]:
        """Keep what others tell, each its question; ``plan`` is pickled, as of `relay`."""
        asked = zip(pickle.loads(plan), questions, strict=True)
        told = await asyncio.gather(*(self._ask(key, host, some) for (key, host), some in asked))
        self._answers.told.keep(number, told)
        return [len(some) for some in told]

    async def _ask(self, key: str, host: str, question: bytes) -> bytes:
        """What another one tells; empty if it is not reached, which is to be known soon."""
        if host not in self._reached and not await _reaches(get_worker(), host):
            return b""
        self._reached.add(host)
        return await _answered(get_worker(), host, key, "tell", question) or b""

    async def tell(self, question: bytes) -> bytes:
        """See `Answers.tell`; in a thread in which nothing waits for another actor."""
        return await asyncio.to_thread(self._answers.tell, question)


async def _answered(worker: Any, host: str, key: str, function: str, *asked: Any) -> bytes | None:
    try:
        reply = await _run(worker, host, key, function, *asked)
    except Exception:
        return None
    return reply["result"] if reply["status"] == "OK" else None


class DaskShards(RemoteShards):
    """Shards on workers; a context, at the end of which no actor is left.

    Each part is made wherever the scheduler wants it, and stays there; a part that is lost is made
    again by its recipe, on another worker.

    Parameters
    ----------
    client : Client
    recipes : MakesParts
    """

    _lost: ClassVar = (_LostWorkerError, KilledWorker, CancelledError)

    def __init__(self, client: Client, recipes: MakesParts) -> None:
        self._client, self._recipes = client, recipes
        self._threads = ThreadPoolExecutor(256, thread_name_prefix="fastmem-dask")
        self._choosing = Lock()
        self._is_open = True
        self._is_direct = client.direct_to_workers is not False
        self._actors: dict[int, DaskFuture] = {}
        self._parts: dict[int, DaskFuture] = {}
        owned: dict[str, list[int]] = {}
        try:
            for number, host in enumerate(self._make_parts()):
                owned.setdefault(host, []).append(number)
        except KilledWorker as killed:
            self.close()
            raise LostShardError(f"{killed}") from killed
        except BaseException:
            self.close()
            raise
        super().__init__(list(owned.values()))
        self._host_of = dict(enumerate(owned))

    def __enter__(self) -> DaskShards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Let go of all actors and parts."""
        self._is_open = False
        for future in [*self._actors.values(), *self._parts.values()]:
            future.release()
        self._actors, self._parts = {}, {}
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _name(self, shard: int) -> str:
        return f"shard {shard}, last on worker {self._host_of[shard]}"

    # Parts ----------------------------------------------------------------------------------------

    def _make_parts(self) -> list[str]:
        """Make all parts; returns the worker of each."""
        numbers = list(range(len(self._recipes)))
        self._parts.update(enumerate(self._client.compute(self._recipes.delayed(numbers))))
        futures = list(self._parts.values())
        of_key = {future.key: number for number, future in self._parts.items()}
        last_seen = time.monotonic()
        while True:
            while not self._are_done(futures):
                last_seen = time.monotonic() if self._workers() else last_seen
                self._require_patience("the parts were to be made", last_seen)
            places = self._client.who_has(futures)
            hosts = {of_key[key]: min(where) for key, where in places.items() if where}
            if len(hosts) == len(numbers):
                return [hosts[number] for number in numbers]
            time.sleep(_PULSE)  # a worker has just gone, and its parts are being made again

    def _are_done(self, futures: list[DaskFuture]) -> bool:
        """Wait for a moment; raises what the first of them raised that did, however late."""
        # distributed.wait asks for the current client, and to be that changes Dask's configuration,
        # which side by side in threads is never as it was again
        end = time.monotonic() + _PULSE
        ended = "finished", "error", "cancelled"
        while time.monotonic() < end and any(future.status not in ended for future in futures):
            time.sleep(_GLANCE)
        for future in futures:
            if future.status == "error":
                raise future.exception()
            if future.status == "cancelled":
                raise CancelledError(f"{future.key} was cancelled")
            if future.status != "finished":
                return False
        return True

    # Actors ---------------------------------------------------------------------------------------

    def _begin(self, shard: int) -> Future[Any]:
        return self._threads.submit(self._make, shard)

    def _make(self, shard: int) -> None:
        try:
            self._make_actor(shard)
        except BaseException:
            self._release(shard)
            raise

    def _make_actor(self, shard: int) -> None:
        numbers = self._numbers[shard]
        if not all(number in self._parts for number in numbers):  # not for the first time
            self._release(shard)
            host = self._choose_host(shard)
            # or on others, where that one goes or is stopped meanwhile
            made = self._client.compute(
                self._recipes.delayed(numbers), workers=[host], allow_other_workers=True
            )
            self._parts.update(zip(numbers, made, strict=True))
        host = self._host_of[shard]
        self._require_host(host)
        key = f"fastmem-shard-{shard}-{uuid4().hex}"
        self._actors[shard] = actor = self._client.submit(
            on_worker(__name__, "ShardActor"), versions(), [self._parts[k] for k in numbers],
            key=key, actor=True, workers=[host],
        )  # fmt: skip
        while not self._are_done([actor]):
            self._require_host(host)
        for number in numbers:  # the actor has them
            self._parts.pop(number).release()
        if self._is_direct and not self._on_loop(_reaches(self._client, host)).result():
            self._require_host(host)  # or else all would go through the scheduler from now on
            self._is_direct = False

    def _release(self, shard: int) -> None:
        for number in self._numbers[shard]:
            if number in self._parts:
                self._parts.pop(number).release()
        if shard in self._actors:
            self._actors.pop(shard).release()

    def _require_scheduler(self) -> None:
        if not self._is_open or self._client.status in ("closing", "closed"):
            raise LostShardError(
                "the client was closed, or lost its scheduler, while a fit was going on; connect "
                "to the cluster and fit again"
            )

    def _require_host(self, host: str) -> None:
        if host not in self._workers():
            raise _LostWorkerError(f"worker {host} is gone, or takes no tasks")

    def _workers(self) -> dict[str, Any]:
        """Workers that take tasks, by address; and what the scheduler knows of them."""
        self._require_scheduler()
        try:
            known = self._client.scheduler_info(n_workers=-1)["workers"]
        except OSError as lost:
            raise _LostWorkerError("the scheduler cannot be reached") from lost
        return {host: facts for host, facts in known.items() if facts["status"] == "running"}

    def _require_patience(self, what: str, start: float) -> None:
        if time.monotonic() - start > _FOR_ANY:
            known = self._client.scheduler_info(n_workers=-1)["workers"].values()
            n_paused = sum(facts["status"] == "paused" for facts in known)
            remedy = "workers to the cluster"
            if n_paused:
                remedy = f"memory, as {n_paused} of {len(known)} are paused with theirs full,"
            raise LostShardError(
                f"{what}, and for {_FOR_ANY:.0f} s there has been no worker that takes tasks; add "
                f"{remedy} and fit again"
            )

    def _choose_host(self, shard: int) -> str:
        """A worker for a lost shard: without another one, if there is, or with room, or any.

        That on which it was lost may be listed still; it counts once it has been heard of again.
        """
        start, lost = time.monotonic(), self._host_of[shard]
        last_seen = _last_seen(self._workers(), lost)
        while True:
            workers = self._workers()
            if last_seen is not None and last_seen == _last_seen(workers, lost):
                del workers[lost]
            waited = time.monotonic() - start
            with self._choosing:
                others = [host for some, host in self._host_of.items() if some != shard]
                free = [host for host in workers if host not in others]
                some = free or [host for host in workers if _has_room(workers[host])]
                if waited > _FOR_ANOTHER:
                    some = some or list(workers)
                if some:
                    load = {host: (others.count(host), _memory(workers[host])) for host in some}
                    self._host_of[shard] = host = min(some, key=lambda host: load[host])
                    return host
            self._require_patience(f"{self._name(shard)}, was lost", start)
            time.sleep(_PULSE / 2)

    # Calls ----------------------------------------------------------------------------------------

    def _send(self, shard: int, seq: int, message: bytes) -> Future[bytes]:
        self._require_scheduler()
        return self._on_loop(self._ask([shard], "run", seq, message))

    def _join(self, shards: Sequence[int]) -> Future[bool]:
        if not self._is_direct:  # where workers may be such that nobody but the scheduler sees them
            return super()._join(shards)
        others = [(self._actors[shard].key, self._host_of[shard]) for shard in shards[1:]]
        return self._on_loop(self._ask(shards, "join", others))

    def _relay(
        self, shards: Sequence[int], seqs: Sequence[int], messages: Sequence[bytes]
    ) -> Future[list[bytes | None]]:
        self._require_scheduler()
        return self._on_loop(self._ask_through(shards, seqs, messages))

    async def _ask_through(
        self, shards: Sequence[int], seqs: Sequence[int], messages: Sequence[bytes]
    ) -> list[bytes | None]:
        different, places = without_repeats(messages)
        plan = pickle.dumps([*zip(seqs, places, strict=True)])
        answers: list[bytes | None]
        answers = pickle.loads(await self._ask(shards, "relay", plan, *different))
        return answers

    def _fetch(
        self, shard: int, number: int, others: Sequence[int], questions: Sequence[bytes]
    ) -> Future[list[int]]:
        if not self._is_direct:
            return super()._fetch(shard, number, others, questions)
        plan = pickle.dumps([(self._actors[other].key, self._host_of[other]) for other in others])
        return self._on_loop(self._ask([shard, *others], "fetch", number, plan, *questions))

    def _on_loop(self, coroutine: Any) -> Future[Any]:
        loop: Any = self._client.loop
        return asyncio.run_coroutine_threadsafe(coroutine, loop.asyncio_loop)

    async def _ask(self, shards: Sequence[int], function: str, *arguments: Any) -> Any:
        """Let the first of some actors run, and watch meanwhile whether all are still there.

        A worker may be stopped, and then nothing would ever come.
        """
        actors = [self._actors[shard] for shard in shards]
        host = self._host_of[shards[0]]
        call = asyncio.ensure_future(self._execute(host, actors[0].key, function, *arguments))
        try:
            while not (await asyncio.wait([call], timeout=_PULSE))[0]:
                if any(actor.status != "finished" for actor in actors):
                    raise _LostWorkerError(f"worker {host} was lost")
            try:
                reply = call.result()
            except Exception as lost:  # the engine's, as what a shard refuses is in its answer
                raise _LostWorkerError(f"worker {host} cannot be reached: {lost!r}") from lost
            if reply["status"] != "OK":
                raise _LostWorkerError(f"worker {host}: {reply['exception']!r}")
            return reply["result"]
        finally:
            call.cancel()

    async def _execute(self, host: str, key: Any, function: str, *arguments: Any) -> Any:
        """What `distributed.Actor` does, but that it tells of every error, at once."""
        if self._is_direct:
            return await _run(self._client, host, key, function, *arguments)
        scheduler: Any = self._client.scheduler
        to_run = _to_run(key, function, *arguments)
        return await scheduler.proxy(worker=host, msg={"op": "actor_execute", **to_run})


def _run(node: Any, host: str, key: Any, function: str, *arguments: Any) -> Any:
    """Let an actor run, from a client or a worker."""
    return node.rpc(host).actor_execute(**_to_run(key, function, *arguments))


def _to_run(key: Any, function: str, *arguments: Any) -> dict[str, Any]:
    some = [to_serialize(argument) for argument in arguments]
    return {"actor": key, "function": function, "args": some, "kwargs": {}}


async def _reaches(node: Any, host: str) -> bool:
    """Whether a client or a worker reaches a worker itself, and not only the scheduler."""
    call = asyncio.ensure_future(node.rpc(host).identity())
    try:
        for _ in range(_CONNECTING_LOOKS):
            if (await asyncio.wait([call], timeout=_PULSE))[0]:
                call.result()
                return True
    except OSError:
        pass
    finally:
        call.cancel()
    return False


def _has_room(worker: dict[str, Any]) -> bool:
    limit = worker["memory_limit"]  # 0 where there is none
    return not limit or _memory(worker) <= _HALF_FULL * limit


def _last_seen(workers: dict[str, Any], host: str) -> float | None:
    """When the scheduler last heard of a worker, by its clock; None if it does not know it."""
    seen: float | None = workers.get(host, {}).get("last_seen")
    return seen


def _memory(worker: dict[str, Any]) -> float:
    return float(worker["metrics"].get("memory", 0) or 0)
