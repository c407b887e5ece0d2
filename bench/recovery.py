"""What a fit loses with a worker: ``python -m bench.recovery [--engines E ...] [--smoke]``.

Three worker processes of this machine on Dask (with nannies) and Ray. A worker is killed before a
command goes out: in placing, in the first patterns, as hyperplanes join, in the selection, while
points come to their regions and while cells grow there; it is stopped, for good and for a moment;
and it goes, and another joins. Before each there is an undisturbed fit of the same data in the same
process; each file must be that of one machine. Seconds are those from the first round to the
network; parts are read again from parquet where they are lost.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import fastmem
from bench.markdown import figure, head, line
from bench.shard_fits import flipped, saved

N_WORKERS, N_FILES = 3, 12
SETTINGS = dict(selection="merge", seed=0)
PHASES = {
    "placing": ("place", 1),
    "first patterns": ("fill", 1),
    "hyperplanes that join": ("fill", 2),
    "selection": ("cover", 5),
    "regions, settling": ("settle", 2),
    "regions, growing": ("grow", 4),
}
"""The command before which a worker is struck, and which time it is sent."""


@dataclass(frozen=True)
class Engine:
    """A cluster with data on it.

    Attributes
    ----------
    name : str
    shards : type
        Of its transports.
    fit : callable
        Returns a network.
    process_of : callable
        The process of the first shard of a transport.
    replace : callable, optional
        Takes that shard's worker from the cluster, to which another one comes.
    patience : str
        When a stopped worker counts as lost.
    """

    name: str
    shards: Any
    fit: Callable[[], Any]
    process_of: Callable[[Any], int]
    replace: Callable[[Any], object] | None
    patience: str


@contextmanager
def watched(
    kind: Any, strike: Callable[[Any], object] | None, command: str = "", nth: int = 0
) -> Iterator[dict[str, Any]]:
    """Let transports of a kind be struck before a command goes out; gives what is known of them."""
    call = kind.call
    known: dict[str, Any] = {"n_seen": 0}

    def acting(self: Any, seqs: Any, messages: Any, restore: Any) -> Any:
        known.setdefault("start", time.perf_counter())
        known["shards"] = self
        names = {one[2] if one[0] == "in_region" else one[0] for some in messages for one in some}
        if command in names:
            known["n_seen"] += 1
            if known["n_seen"] == nth and strike is not None:
                strike(self)
        return call(self, seqs, messages, restore)

    with patch.object(kind, "call", acting):
        yield known


def seconds_of(engine: Engine, expected: bytes, *strike: Any) -> tuple[float, int]:
    """Seconds of a fit, and the shards that it lost.

    Raises
    ------
    AssertionError
        If its file is not the expected one, or it was to be struck and was not.
    """
    with watched(engine.shards, *(strike or [None])) as known:
        network = engine.fit()
    spent = time.perf_counter() - known["start"]
    n_lost: int = known["shards"].n_lost
    if saved(network) != expected:
        raise AssertionError(f"{engine.name} after {strike} gave another network")
    if strike and known["n_seen"] < strike[2]:
        raise AssertionError(f"{strike[1]} was sent {known['n_seen']} times")
    return spent, n_lost


def rows_of(engine: Engine, expected: bytes, is_smoke: bool) -> Iterator[list[str]]:
    """Lines of the table."""

    def send(kind: int) -> Callable[[Any], None]:
        return lambda shards: os.kill(engine.process_of(shards), kind)

    def stop_for_a_moment(shards: Any) -> None:
        process = engine.process_of(shards)
        os.kill(process, signal.SIGSTOP)
        threading.Timer(1.0, os.kill, (process, signal.SIGCONT)).start()

    strikes = [(f"killed, {name}", send(signal.SIGKILL), *where) for name, where in PHASES.items()]
    selecting = PHASES["selection"]
    strikes += [
        ("stopped for 1 s, selection", stop_for_a_moment, *selecting),
        (f"stopped for good, selection; {engine.patience}", send(signal.SIGSTOP), *selecting),
    ]
    if engine.replace is not None:
        strikes.append(("gone, and another joins, selection", engine.replace, *selecting))
    if is_smoke:
        strikes = strikes[5::3]
    seconds_of(engine, expected)  # compiles
    quiet: list[float] = []
    struck = []
    for name, *strike in strikes:
        quiet.append(seconds_of(engine, expected)[0])
        struck.append((name, *seconds_of(engine, expected, *strike)))
    quiet.append(seconds_of(engine, expected)[0])
    for (name, spent, n_lost), *around in zip(struck, quiet, quiet[1:], strict=False):
        usual = sum(around) / 2
        yield [
            engine.name, name, figure(usual), figure(spent), figure(spent - usual),
            figure(spent / usual), str(n_lost),
        ]  # fmt: skip


@contextmanager
def dask(folder: Path, is_smoke: bool) -> Iterator[Engine]:
    """Dask, whose nannies begin killed workers again."""
    import dask as settings
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    import fastmem.dask
    from fastmem.dask import shards as module

    ttl = 10  # on a busy machine those that live are silent for some seconds, too
    with ExitStack() as stack:
        stack.enter_context(settings.config.set({
            "distributed.scheduler.allowed-failures": 30,
            "distributed.scheduler.worker-ttl": f"{ttl}s",
            "distributed.comm.timeouts.connect": "5s",
        }))  # fmt: skip
        cluster = stack.enter_context(LocalCluster(
            n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ))  # fmt: skip
        client = stack.enter_context(Client(cluster))

        def fit() -> Any:
            with suppress(TimeoutError):  # else on fewer, for the same file
                client.wait_for_workers(N_WORKERS, timeout=60)
            frame = dd.read_parquet(str(folder), aggregate_files=False)
            return fastmem.dask.interpolate(
                frame.drop(columns="y"), frame["y"], client=client, **SETTINGS
            )

        def process_of(shards: Any) -> int:
            process: int = client.run(os.getpid, workers=[shards._host_of[0]])[shards._host_of[0]]
            return process

        def replace(shards: Any) -> None:
            stack.enter_context(patch.object(module, "_HALF_FULL", 0.0))  # the others are full
            cluster.scale(N_WORKERS + 1)
            host = shards._host_of[0]  # which would not retire, as it has an actor
            cluster.sync(cluster.scheduler.remove_worker, address=host, stimulus_id="bench")

        patience = f"worker-ttl {ttl} s"
        yield Engine("dask", module.DaskShards, fit, process_of, replace, patience)


@contextmanager
def ray(folder: Path, is_smoke: bool) -> Iterator[Engine]:
    """Ray on one node."""
    import ray as engine

    import fastmem.ray
    from fastmem.ray import shards as module

    engine.init(
        "local", num_cpus=N_WORKERS, include_dashboard=False, log_to_driver=False,
        logging_level="ERROR", object_store_memory=200 << 20,
    )  # fmt: skip
    context = engine.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True  # of rows
    read = engine.data.read_parquet(str(folder), override_num_blocks=N_FILES).materialize()

    def fit() -> Any:
        return fastmem.ray.interpolate(
            read, label_column="y", num_actors=N_WORKERS, num_cpus=1, **SETTINGS
        )

    def process_of(shards: Any) -> int:
        process: int = engine.get(shards._actors[0].live.remote())
        return process

    looks = 20 if is_smoke else module._LIVING_LOOKS
    try:
        with patch.object(module, "_LIVING_LOOKS", looks):
            yield Engine("ray", module.RayShards, fit, process_of, None, f"{looks // 2} s")
    finally:
        engine.shutdown()


ENGINES = {"dask": dask, "ray": ray}


def write(folder: Path, n_samples: int) -> bytes:
    """Write rows to files; returns the network's file that one machine gives."""
    import pandas as pd

    X, y = flipped(n_samples, 8)
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]).assign(y=y)
    for i, rows in enumerate(np.array_split(np.arange(n_samples), N_FILES)):
        frame.iloc[rows].to_parquet(folder / f"{i:02}.parquet", index=False)
    return saved(fastmem.interpolate(frame.drop(columns="y"), frame["y"], **SETTINGS))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--points", type=int, default=30_000)
    parser.add_argument("--smoke", action="store_true", help="few points, and few of all losses")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    print(head([
        "engine", "what happens", "undisturbed before and after, s", "fit, s", "lost, s",
        "times undisturbed", "shards lost",
    ]))  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        expected = write(Path(place), 20_000 if options.smoke else options.points)
        for name in options.engines:
            with ENGINES[name](Path(place), options.smoke) as engine:
                for row in rows_of(engine, expected, options.smoke):
                    print(line(row), flush=True)


if __name__ == "__main__":
    main()
