"""Ways to shards whose rounds are timed: in this process, in others of this machine, by engine."""

from __future__ import annotations

import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

from bench.measuring import peak_of_this_process
from fastmem.distributed.fitting import interpolate_on
from fastmem.distributed.parts import Part
from fastmem.distributed.shard import Command, Shard

ENGINES = ("local", "processes", "dask", "ray")


class Watch:
    """A transport, and what its rounds took.

    Attributes
    ----------
    n_rounds, sent, received : int
        Rounds, and bytes of all messages and replies.
    seconds : list of float
        Of each round, as the driver sees it.
    in_shards : list of list of float
        Of each round and shard, where known.
    work : dict of str to list of float
        Seconds of all shards by command, and what they did in these: values of points, of patterns
        by masks, ...
    peaks : list of float
        Largest resident memory of each worker, bytes.
    empty : float
        Median seconds of rounds that ask for nothing.
    """

    def __init__(self) -> None:
        self.n_rounds = self.sent = self.received = 0
        self.seconds: list[float] = []
        self.in_shards: list[list[float]] = []
        self.work: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.peaks: list[float] = []
        self.empty = 0.0

    @property
    def shard_seconds(self) -> float:
        """Seconds in which a shard was at work, of the slowest in each round."""
        return sum(max(some) for some in self.in_shards)

    def note(self, seconds: float, in_shards: Sequence[float]) -> None:
        """Take note of a round."""
        self.n_rounds += 1
        self.seconds.append(seconds)
        if in_shards:
            self.in_shards.append(list(in_shards))


def amount(shard: Shard, command: Command) -> float:
    """What a command has to do: values of points, or words of patterns, as it is measured by."""
    name, *arguments = command
    n, d = shard.points.n_samples, shard.points.n_features
    if name == "fill":
        hyperplanes, first = arguments
        return float(n) * d * (len(hyperplanes) - first)
    if name in ("least", "nearest"):
        masks, codes = arguments[:2]
        sizes = np.diff(shard.patterns.starts)
        return float((n - sizes[codes]).sum()) * masks.shape[1]
    if name == "cover":
        size = shard.patterns.class_size(shard._open[arguments[0]].code)
        return float(size) * arguments[1].size
    if name in ("extremes", "sums", "largest_squares", "ranges", "spread_sums", "hashes"):
        return float(n) * d
    return 1.0


def run_timed(shard: Shard, seq: int, commands: Sequence[Command]) -> tuple[list[Any], list[Any]]:
    """The replies of a shard; and name, seconds and amount of each command."""
    replies, work = [], []
    for command in commands:
        start = time.perf_counter()
        replies += shard.run(seq, [command])
        seconds = time.perf_counter() - start
        seq = shard._seq
        is_placed = hasattr(shard, "points")
        work.append((command[0], seconds, amount(shard, command) if is_placed else 1.0))
    return replies, work


class InProcess:
    """Shards in this process, one after the other, so that none disturbs another."""

    def __init__(self, parts: Sequence[Sequence[Part]]) -> None:
        self._shards = [Shard(some) for some in parts]
        self.watch = Watch()

    @property
    def n_shards(self) -> int:
        """How many there are."""
        return len(self._shards)

    def call(
        self, seqs: Sequence[int], messages: Sequence[Sequence[Command]],
        restore: Callable[[int], Sequence[Command]],
    ) -> list[list[Any]]:  # fmt: skip
        """See `fastmem.distributed.transport.Transport`."""
        start, replies, spent = time.perf_counter(), [], []
        for shard, seq, message in zip(self._shards, seqs, messages, strict=True):
            sent = pickle.dumps((seq, list(message)))
            begun = time.perf_counter()
            answered, work = run_timed(shard, *pickle.loads(sent))
            spent.append(time.perf_counter() - begun)
            received = pickle.dumps(answered)
            self.watch.sent += len(sent)
            self.watch.received += len(received)
            replies.append(pickle.loads(received))
            _add(self.watch, work)
        self.watch.note(time.perf_counter() - start, spent)
        return replies

    def finish(self) -> None:
        """There is one process."""


class Workers:
    """Processes of this machine, by pipes: what an engine adds comes on top of them."""

    def __init__(self, n_workers: int) -> None:
        context = get_context("spawn")
        self.pipes: list[Connection] = []
        self._processes = []
        for _ in range(n_workers):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(mine)
            self._processes.append(process)

    def close(self) -> None:
        """End them."""
        for pipe, process in zip(self.pipes, self._processes, strict=True):
            pipe.send(None)
            process.join(10)


class InProcesses:
    """Shards in such processes."""

    def __init__(self, workers: Workers, parts: Sequence[Sequence[Part]]) -> None:
        self.watch = Watch()
        self._pipes = workers.pipes[: len(parts)]
        for pipe, some in zip(self._pipes, parts, strict=True):
            pipe.send(some)
        for pipe in self._pipes:
            pipe.recv()

    @property
    def n_shards(self) -> int:
        """How many there are."""
        return len(self._pipes)

    def call(
        self, seqs: Sequence[int], messages: Sequence[Sequence[Command]],
        restore: Callable[[int], Sequence[Command]],
    ) -> list[list[Any]]:  # fmt: skip
        """See `fastmem.distributed.transport.Transport`."""
        start, replies, spent = time.perf_counter(), [], []
        sent: dict[int, bytes] = {}  # mostly all are sent the same
        for pipe, seq, message in zip(self._pipes, seqs, messages, strict=True):
            if id(message) not in sent:
                sent[id(message)] = pickle.dumps((seq, list(message)))
            pipe.send_bytes(sent[id(message)])
            self.watch.sent += len(sent[id(message)])
        for pipe in self._pipes:
            received = pipe.recv_bytes()
            self.watch.received += len(received)
            answered, work, seconds = pickle.loads(received)
            if isinstance(answered, BaseException):
                raise answered
            replies.append(answered)
            spent.append(seconds)
            _add(self.watch, work)
        self.watch.note(time.perf_counter() - start, spent)
        return replies

    def finish(self) -> None:
        """Note the peaks of the processes."""
        for pipe in self._pipes:
            pipe.send("peak")
            self.watch.peaks.append(float(pipe.recv()))


def _serve(pipe: Connection) -> None:
    """A process that answers."""
    while (message := pickle.loads(pipe.recv_bytes())) is not None:
        if isinstance(message, list):
            shard = Shard(message)
            # from here on the peak is this shard's
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
            pipe.send("ready")
        elif message == "peak":
            pipe.send(peak_of_this_process())
        else:
            begun = time.perf_counter()
            try:
                answered, work = run_timed(shard, *message)
            except Exception as refusal:
                answered, work = refusal, []  # type: ignore[assignment]
            pipe.send_bytes(pickle.dumps((answered, work, time.perf_counter() - begun)))


def _add(watch: Watch, work: Sequence[Any]) -> None:
    for name, seconds, done in work:
        watch.work[name][0] += seconds
        watch.work[name][1] += done


class Watched:
    """An engine's transport, of which rounds are timed as the driver sees them."""

    def __init__(self, inner: Any, watch: Watch) -> None:
        self._inner, self.watch = inner, watch

    @property
    def n_shards(self) -> int:
        """How many there are."""
        n_shards: int = self._inner.n_shards
        return n_shards

    def call(self, *arguments: Any) -> list[list[Any]]:
        """See `fastmem.distributed.transport.Transport`."""
        start = time.perf_counter()
        replies: list[list[Any]] = self._inner.call(*arguments)
        self.watch.note(time.perf_counter() - start, [])
        return replies


def empty_seconds(transport: Any, n_rounds: int = 200) -> float:
    """Median of rounds that ask for nothing, before shards have any state."""
    n = transport.n_shards
    spent = []
    for _ in range(n_rounds):
        start = time.perf_counter()
        transport.call([0] * n, [[]] * n, lambda shard: [])
        spent.append(time.perf_counter() - start)
    return median(spent)


def cut(X: Any, y: np.ndarray, n_parts: int) -> list[Part]:
    """Points as so many parts."""
    bounds = [X.shape[0] * i // n_parts for i in range(n_parts + 1)]
    return [Part(i, X[a:b], y[a:b]) for i, (a, b) in enumerate(pairwise(bounds))]


def fit_on(engine: Any, X: np.ndarray, y: np.ndarray, n_shards: int, **parameters: Any) -> Any:
    """Fit points on so many shards; returns the network, the rounds and the seconds.

    ``engine`` is what `opened` gave.
    """
    if engine == "local" or isinstance(engine, Workers):
        parts = [[part] for part in cut(X, y, n_shards)]
        transport: Any = (
            InProcesses(engine, parts) if isinstance(engine, Workers) else InProcess(parts)
        )
        try:
            empty = empty_seconds(transport)
            transport.watch = watch = Watch()
            start = time.perf_counter()
            network = interpolate_on(transport, **parameters)
            seconds, watch.empty = time.perf_counter() - start, empty
        finally:
            transport.finish()
        return network, watch, seconds
    return engine(X, y, n_shards, **parameters)


@contextmanager
def opened(name: str, n_workers: int) -> Iterator[Any]:
    """A cluster of processes on this machine, as `fit_on` takes it."""
    if name == "local":
        yield name
    elif name == "processes":
        workers = Workers(n_workers)
        try:
            yield workers
        finally:
            workers.close()
    elif name == "dask":
        yield from _dask(n_workers)
    else:
        yield from _ray(n_workers)


@contextmanager
def _noting(module: Any, watch: Watch, peaks: Callable[[], list[float]]) -> Iterator[list[float]]:
    """Let a module's fits run over transports that are watched; gives when they began and ended."""
    times: list[float] = []

    def noted(transport: Any, **parameters: Any) -> Any:
        watch.empty = empty_seconds(transport)
        before = transport.sent, transport.received
        times.append(time.perf_counter())
        network = interpolate_on(Watched(transport, watch), **parameters)
        times.append(time.perf_counter())
        watch.sent, watch.received = transport.sent - before[0], transport.received - before[1]
        watch.peaks = peaks()
        return network

    with patch.object(module, "interpolate_on", noted):
        yield times


def _dask(n_workers: int) -> Iterator[Any]:
    import dask.array as da
    from distributed import Client, LocalCluster

    fitting = import_module("fastmem.dask.fitting")

    def fit(X: np.ndarray, y: np.ndarray, n_shards: int, **parameters: Any) -> Any:
        watch, rows = Watch(), -(-len(X) // n_shards)
        arrays = da.from_array(X, chunks=(rows, -1)), da.from_array(y, chunks=rows)
        with _noting(
            fitting, watch, lambda: list(client.run(peak_of_this_process).values())
        ) as times:
            network = fitting.interpolate(*arrays, client=client, **parameters)
        return network, watch, times[1] - times[0]

    with (
        LocalCluster(n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, direct_to_workers=True) as client,
    ):
        yield fit


def _ray(n_workers: int) -> Iterator[Any]:
    import pandas as pd
    import ray

    fitting = import_module("fastmem.ray.fitting")

    def peaks() -> list[float]:
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if b"ray::_Keeper" in (place / "cmdline").read_bytes():
                    lines = (place / "status").read_text().splitlines()
                    found += [1024.0 * int(x.split()[1]) for x in lines if x.startswith("VmHWM")]
            except OSError:
                continue
        return found

    def fit(X: np.ndarray, y: np.ndarray, n_shards: int, **parameters: Any) -> Any:
        watch = Watch()
        names = [f"x{i}" for i in range(X.shape[1])]
        frames = [
            pd.DataFrame(part.points, columns=names).assign(y=part.labels)
            for part in cut(X, y, n_shards)
        ]
        with _noting(fitting, watch, peaks) as times:
            network = fitting.interpolate(
                ray.data.from_pandas(frames), label_column="y", num_actors=n_shards, num_cpus=1,
                **parameters,
            )  # fmt: skip
        return network, watch, times[1] - times[0]

    ray.init(num_cpus=n_workers, include_dashboard=False, log_to_driver=False)
    try:
        yield fit
    finally:
        ray.shutdown()
