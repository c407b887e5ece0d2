"""Ways to shards whose rounds are timed: in this process, in others of this machine, by engine."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
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
from bench.watching import Messages, Questions, Watch
from fastmem.distributed.fitting import interpolate_on
from fastmem.distributed.parts import Part
from fastmem.distributed.peers import Fetched, Told
from fastmem.distributed.shard import Command, Shard

ENGINES = ("local", "processes", "dask", "ray")


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
        start = time.process_time()  # others may use the machine, too
        replies += shard.run(seq, [command])
        seconds = time.process_time() - start
        seq = shard._seq
        is_placed = hasattr(shard, "points")
        work.append((command[0], seconds, amount(shard, command) if is_placed else 1.0))
    return replies, work


class InProcess:
    """Shards in this process, one after the other, so that none disturbs another.

    All seconds are those of the processor.
    """

    def __init__(self, parts: Sequence[Sequence[Part]]) -> None:
        self._shards = [Shard(some) for some in parts]
        self._told = [Told() for _ in parts]
        self._n_fetches = 0
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
        start, replies, spent, n_received = time.process_time(), [], [], 0
        sent = pickled(seqs, messages)
        for shard, told, message in zip(self._shards, self._told, messages, strict=True):
            begun = time.process_time()
            seq, commands = pickle.loads(sent[id(message)])
            answered, work = run_timed(shard, seq, told.put_in(commands))
            received = pickle.dumps(answered)
            spent.append(time.process_time() - begun)
            n_received += len(received)
            replies.append(pickle.loads(received))
            _add(self.watch, work)
        n_sent = sum(len(sent[id(message)]) for message in messages)
        self.watch.note(messages, n_sent, n_received, time.process_time() - start, spent)
        return replies

    def fetch(self, questions: Questions) -> tuple[Fetched, dict[int, list[bool]]]:
        """See `fastmem.distributed.transport.Transport`; what others tell counts as their work."""
        self._n_fetches += 1
        start, spent, n_sent, n_fetched = time.process_time(), [0.0] * self.n_shards, 0, 0
        for shard, some in questions.items():
            answers = []
            for other, command in some:
                question = pickle.dumps(command)
                n_sent += len(question)
                begun = time.process_time()
                answers.append(pickle.dumps(self._shards[other].tell(*pickle.loads(question))))
                spent[other] += time.process_time() - begun
            n_fetched += sum(map(len, answers))
            self._told[shard].keep(self._n_fetches, answers)
        seconds = time.process_time() - start
        self.watch.note_fetch(questions, n_sent, n_fetched, seconds, spent)
        came = {shard: [True] * len(some) for shard, some in questions.items()}
        return Fetched(self._n_fetches), came

    def finish(self) -> None:
        """Note what regions lack."""
        self.watch.lacking = [share for one in self._shards for share in lacking(one)]


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
        start, replies, spent, n_received = time.perf_counter(), [], [], 0
        sent = pickled(seqs, messages)
        for pipe, message in zip(self._pipes, messages, strict=True):
            pipe.send_bytes(sent[id(message)])
        n_sent = sum(len(sent[id(message)]) for message in messages)
        for pipe in self._pipes:
            received = pipe.recv_bytes()
            n_received += len(received)
            answered, work, seconds = pickle.loads(received)
            if isinstance(answered, BaseException):
                raise answered
            replies.append(answered)
            spent.append(seconds)
            _add(self.watch, work)
        self.watch.note(messages, n_sent, n_received, time.perf_counter() - start, spent)
        return replies

    def fetch(self, questions: Questions) -> tuple[Fetched, dict[int, list[bool]]]:
        """See `fastmem.distributed.transport.Transport`; they do not reach each other."""
        return Fetched(0), {shard: [False] * len(some) for shard, some in questions.items()}

    def finish(self) -> None:
        """Note the peaks of the processes, and what their regions lack."""
        for pipe in self._pipes:
            pipe.send("end")
            peak, shares = pipe.recv()
            self.watch.peaks.append(peak)
            self.watch.lacking += shares


def _serve(pipe: Connection) -> None:
    """A process that answers."""
    nothing = Told()
    while (message := pickle.loads(pipe.recv_bytes())) is not None:
        if isinstance(message, list):
            shard = Shard([part() if callable(part) else part for part in message])
            forget_peak()  # from here on it is this shard's
            pipe.send("ready")
        elif message == "end":
            pipe.send((peak_of_this_process(), lacking(shard)))
        else:
            begun = time.process_time()
            try:
                seq, commands = message
                answered, work = run_timed(shard, seq, nothing.put_in(commands))
            except Exception as refusal:
                answered, work = refusal, []  # type: ignore[assignment]
            pipe.send_bytes(pickle.dumps((answered, work, time.process_time() - begun)))


def forget_peak() -> None:
    """Let the largest resident memory of this process begin anew, where Linux can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def pickled(seqs: Sequence[int], messages: Messages) -> dict[int, bytes]:
    """Messages with their numbers, by id: mostly all shards are sent the same."""
    found: dict[int, bytes] = {}
    for seq, message in zip(seqs, messages, strict=True):
        if id(message) not in found:
            found[id(message)] = pickle.dumps((seq, list(message)))
    return found


def lacking(shard: Shard) -> list[float]:
    """The share of all blocks of points that are not in a shard's region, if it has one."""
    region = shard._region
    return [] if region is None else [float(region._tree.absent.mean())]


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
        inner = self._inner
        sent, received, start = inner.sent, inner.received, time.perf_counter()
        replies: list[list[Any]] = inner.call(*arguments)
        seconds = time.perf_counter() - start
        self.watch.note(arguments[1], inner.sent - sent, inner.received - received, seconds, [])
        return replies

    def fetch(self, questions: Questions) -> tuple[Fetched, dict[int, list[bool]]]:
        """See `fastmem.distributed.transport.Transport`."""
        inner = self._inner
        sent, fetched, start = inner.sent, inner.fetched, time.perf_counter()
        found: tuple[Fetched, dict[int, list[bool]]] = inner.fetch(questions)
        seconds = time.perf_counter() - start
        self.watch.note_fetch(questions, inner.sent - sent, inner.fetched - fetched, seconds, [])
        return found


def empty_seconds(transport: Any, n_rounds: int = 20) -> float:
    """Seconds of a round that asks for nothing, before shards have any state.

    The least of ten medians: the machine may have other work to do.
    """
    n = transport.n_shards
    medians = []
    for _ in range(10):
        spent = []
        for _ in range(n_rounds):
            start = time.perf_counter()
            transport.call([0] * n, [[]] * n, lambda shard: [])
            spent.append(time.perf_counter() - start)
        medians.append(median(spent))
    return min(medians)


def cut(X: Any, y: np.ndarray, n_parts: int) -> list[Part]:
    """Points as so many parts."""
    bounds = [X.shape[0] * i // n_parts for i in range(n_parts + 1)]
    return [Part(i, X[a:b], y[a:b]) for i, (a, b) in enumerate(pairwise(bounds))]


def fit_on(engine: Any, X: np.ndarray, y: np.ndarray, n_shards: int, **parameters: Any) -> Any:
    """Fit points on so many shards; returns the network, the rounds and the seconds.

    ``engine`` is what `opened` gave. It may have ``as_given``: what one machine is given for the
    same network, whose file knows names of columns.
    """
    if engine == "local" or isinstance(engine, Workers):
        parts = [[part] for part in cut(X, y, n_shards)]
        if engine != "local":
            return _fit_over(InProcesses(engine, parts), **parameters)
        network, watch, _ = _fit_over(InProcess(parts), **parameters)
        seconds = watch.driver
        watch.driver -= sum(map(sum, watch.in_shards))
        return network, watch, seconds
    return engine(X, y, n_shards, **parameters)


def fit_files(engine: Any, folder: Path, n_shards: int, **parameters: Any) -> Any:
    """The same of the rows in parquet files of a folder, whose labels are y, which workers read.

    Seconds are those of the fit: files that were read before do not count.
    """
    if not isinstance(engine, Workers):
        return engine.of_files(str(folder), n_shards, **parameters)
    paths = sorted(folder.iterdir())
    parts: list[list[Any]] = [[] for _ in range(n_shards)]
    for number, path in enumerate(paths):
        parts[number * n_shards // len(paths)].append(partial(read_part, number, path))
    return _fit_over(InProcesses(engine, parts), **parameters)


def read_part(number: int, path: Path) -> Part:
    """A part that is in a file."""
    import pandas as pd

    frame = pd.read_parquet(path)
    return Part(number, frame.drop(columns="y"), frame["y"])


def _fit_over(transport: Any, **parameters: Any) -> Any:
    try:
        empty = empty_seconds(transport)
        transport.watch = watch = Watch(transport.n_shards)
        start, begun = time.perf_counter(), time.process_time()
        network = interpolate_on(transport, **parameters)
        seconds, watch.driver = time.perf_counter() - start, time.process_time() - begun
        watch.empty = empty
    finally:
        transport.finish()
    return network, watch, seconds


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
def _noting(
    module: Any, watch: Watch, peaks: Callable[[Any], list[float]]
) -> Iterator[list[float]]:
    """Let a module's fits run over transports that are watched; gives when they began and ended."""
    times: list[float] = []

    def noted(transport: Any, **parameters: Any) -> Any:
        watch.n_shards, watch.empty = transport.n_shards, empty_seconds(transport)
        times.append(time.perf_counter())
        begun = time.process_time()
        network = interpolate_on(Watched(transport, watch), **parameters)
        watch.driver = time.process_time() - begun
        times.append(time.perf_counter())
        watch.peaks = peaks(transport)
        return network

    with patch.object(module, "interpolate_on", noted):
        yield times


def _dask(n_workers: int) -> Iterator[Any]:
    import dask.array as da
    from distributed import Client, LocalCluster

    fitting = import_module("fastmem.dask.fitting")

    def run(X: Any, y: Any, **parameters: Any) -> Any:
        watch = Watch()
        client.run(forget_peak)
        with _noting(
            fitting, watch, lambda _: list(client.run(peak_of_this_process).values())
        ) as times:
            network = fitting.interpolate(X, y, client=client, **parameters)
        return network, watch, times[1] - times[0]

    def fit(X: np.ndarray, y: np.ndarray, n_shards: int, **parameters: Any) -> Any:
        rows = -(-len(X) // n_shards)
        arrays = da.from_array(X, chunks=(rows, -1)), da.from_array(y, chunks=rows)
        return run(*arrays, **parameters)

    def of_files(folder: str, n_shards: int, **parameters: Any) -> Any:
        import dask.dataframe as dd

        frame = dd.read_parquet(folder)
        return run(frame.drop(columns="y"), frame["y"], **parameters)

    fit.of_files = of_files  # type: ignore[attr-defined]
    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, direct_to_workers=True) as client,
    ):
        yield fit


def _ray(n_workers: int) -> Iterator[Any]:
    import pandas as pd
    import ray

    fitting = import_module("fastmem.ray.fitting")

    def named(X: np.ndarray) -> Any:
        return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])

    def peaks(transport: Any) -> list[float]:
        found = []
        for process in ray.get([actor.live.remote() for actor in transport._actors.values()]):
            lines = (Path("/proc") / str(process) / "status").read_text().splitlines()
            found += [1024.0 * int(x.split()[1]) for x in lines if x.startswith("VmHWM")]
        return found

    def run(dataset: Any, n_shards: int, **parameters: Any) -> Any:
        watch = Watch()
        with _noting(fitting, watch, peaks) as times:
            network = fitting.interpolate(
                dataset, label_column="y", num_actors=n_shards, num_cpus=1, **parameters
            )
        return network, watch, times[1] - times[0]

    def fit(X: np.ndarray, y: np.ndarray, n_shards: int, **parameters: Any) -> Any:
        frames = [named(part.points).assign(y=part.labels) for part in cut(X, y, n_shards)]
        return run(ray.data.from_pandas(frames), n_shards, **parameters)

    def of_files(folder: str, n_shards: int, **parameters: Any) -> Any:
        dataset = ray.data.read_parquet(folder, override_num_blocks=8 * n_shards)
        return run(dataset, n_shards, **parameters)

    fit.of_files = of_files  # type: ignore[attr-defined]
    fit.as_given = named  # type: ignore[attr-defined]
    ray.init(
        num_cpus=n_workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield fit
    finally:
        ray.shutdown()
