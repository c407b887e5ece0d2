"""What a round to shards takes, by engine: ``python -m bench.rounds [--rounds N] [--groups]``.

Each round sends 2 KB to every shard, which look up 250 rows that none of them has, and wait for
them all: what is left of it is the engine. Engines take turns, by hundreds of rounds, on clusters
of processes of this machine that are there side by side; ``local`` are shards in this process, one
after the other.

With ``--groups`` there are more shards, on the same workers once called one by one and once through
heads of groups (``fastmem.distributed.groups``). More processes than cores wait for cores: so what
is to be looked at are seconds of processors, of the driver and of what a head takes beyond others.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import mean, median
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import psutil

from bench.markdown import table
from fastmem.distributed import fitting, groups
from fastmem.distributed.fleet import Fleet
from fastmem.distributed.parts import Part
from fastmem.distributed.transport import LocalShards, RemoteShards, Transport

BYTES, N_POINTS, TURN = 2_000, 3_000, 100
GROUPS = ", in groups"

Kinds = Sequence[str]
Opened = dict[str, tuple[RemoteShards, Callable[[], list[int]]]]
"""Transports by kind, and what tells of their shards' processes, where they have their own."""


def points() -> tuple[np.ndarray, np.ndarray]:
    """Points that shards hold while they are asked for others."""
    generator = np.random.default_rng(0)
    return generator.standard_normal((N_POINTS, 4)), generator.integers(0, 2, N_POINTS)


@contextmanager
def local(n: int, kinds: Kinds) -> Iterator[Opened]:
    """Shards in this process."""
    X, y = points()
    yield {kind: (made(kind, LocalShards, parts(X, y, n)), list) for kind in kinds}


def parts(X: np.ndarray, y: np.ndarray, n: int) -> list[list[Part]]:
    """Parts of as many shards."""
    return [[Part(i, X[i::n], y[i::n])] for i in range(n)]


def made(kind: str, make: Callable[..., Any], *arguments: Any) -> Any:
    """A transport that calls shards one by one, or in groups, however many."""
    with patch.object(groups, "TREE_FROM", 2 if kind == GROUPS else sys.maxsize):
        return make(*arguments)


@contextmanager
def dask(n: int, kinds: Kinds) -> Iterator[Opened]:
    """Actors of Dask, one of each kind on each worker; scheduler and workers are processes."""
    import dask.array as da
    from distributed import Client, SubprocessCluster

    from fastmem.dask.collections import Recipes
    from fastmem.dask.shards import DaskShards

    X, y = (da.from_array(one, chunks=(N_POINTS // (8 * n), *one.shape[1:])) for one in points())
    quiet = {
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",  # which look after each process
        "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "5s",
        "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
    }
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, quiet))
        cluster = stack.enter_context(SubprocessCluster(
            n_workers=n, threads_per_worker=1, dashboard_address=None,
            worker_class="distributed.Worker", worker_kwargs={"memory_limit": 0},
        ))  # fmt: skip
        client = stack.enter_context(Client(cluster))
        client.wait_for_workers(n, timeout=300)
        pids = client.run(os.getpid)

        def pids_of(shards: DaskShards) -> list[int]:
            return [pids[shards._host_of[i]] for i in range(n)]

        found = {}
        for kind in kinds:
            shards = stack.enter_context(made(kind, DaskShards, client, Recipes(X, y)))
            found[kind] = shards, partial(pids_of, shards)
        yield found


@contextmanager
def ray(n: int, kinds: Kinds) -> Iterator[Opened]:
    """Actors of Ray."""
    import ray
    from pyarrow import table as arrow_table

    from fastmem.ray.blocks import blocks_of
    from fastmem.ray.shards import RayShards

    ray.init(
        "local", num_cpus=1 + n * len(kinds), include_dashboard=False, log_to_driver=False,
        logging_level="ERROR",
    )  # fmt: skip
    X, y = points()
    columns = {f"x{i}": X[:, i] for i in range(X.shape[1])}
    blocks = blocks_of(ray.data.from_arrow(arrow_table({**columns, "y": y})))

    def pids_of(shards: RayShards) -> list[int]:
        return list(ray.get([shards._actors[i].live.remote() for i in range(n)]))

    with ExitStack() as stack:
        stack.callback(ray.shutdown)
        found = {}
        for kind in kinds:
            shards = made(kind, RayShards, blocks, (list(columns), "y"), n, 1)
            stack.callback(shards.close)
            found[kind] = shards, partial(pids_of, shards)
        yield found


ENGINES = {"local": local, "dask": dask, "ray": ray}


def placed(transport: Transport) -> Fleet:
    """Shards that know their points."""
    fleet = Fleet(transport)
    facts = [fact for some in fleet.ask(("facts",))[0] for fact in some]
    fleet.tell("place", fitting._placing(facts))
    fleet.flush()
    return fleet


class Spent(NamedTuple):
    """What rounds took: ms of each, and ms of a processor for each round, by turns.

    That of heads is without what all others take.
    """

    waited: list[float]
    driver: list[float]
    worker: list[float]
    head: list[float]


def turn(fleet: Fleet, pids: Sequence[int], heads: Sequence[int], n: int, spent: Spent) -> None:
    """Some rounds."""
    nowhere = np.full(BYTES // 8, 10 * N_POINTS)
    before, driver = seconds_of(pids), time.process_time()
    for _ in range(n):
        start = time.perf_counter()
        fleet.ask(("take", nowhere))
        spent.waited.append(1e3 * (time.perf_counter() - start))
    spent.driver.append(1e3 * (time.process_time() - driver) / n)
    took = 1e3 * (seconds_of(pids) - before) / n
    if len(pids) > len(heads):
        others = np.delete(took, heads)
        spent.worker.append(float(others.mean()))
        spent.head.append(float(took[heads].mean() - others.mean()) if heads else 0.0)


def seconds_of(pids: Sequence[int]) -> np.ndarray:
    """Seconds of processors that some processes have taken."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return np.array([some.user + some.system for some in times])


def measured(engines: Sequence[str], n: int, n_rounds: int, kinds: Kinds) -> Iterator[list[str]]:
    """Rows of the table for so many shards."""
    spent = {}
    with ExitStack() as stack:
        fleets = {}
        for engine in engines:
            for kind, (shards, pids_of) in stack.enter_context(ENGINES[engine](n, kinds)).items():
                assert shards.n_shards == n, f"{engine} has {shards.n_shards} shards"
                fleet = placed(shards)
                for _ in range(5):  # in which heads come to know the others
                    fleet.flush()
                    fleet.ask(("facts",))
                    time.sleep(0.1 if kind == GROUPS else 0)
                heads = [group[0] for group in shards._groups.ready(range(n))]
                name = f"{engine}{kind}"
                fleets[name], spent[name] = (fleet, pids_of(), heads), Spent([], [], [], [])
        for _ in range(-(-n_rounds // TURN)):
            for name, (fleet, pids, heads) in fleets.items():
                turn(fleet, pids, heads, min(TURN, n_rounds), spent[name])
    base = median(next(iter(spent.values())).waited)
    for name, some in spent.items():
        waited = sorted(some.waited)
        yield [
            name, str(n), f"{median(waited):.2f}", f"{waited[0]:.2f}",
            f"{waited[int(0.95 * len(waited))]:.2f}", f"{median(waited) / base:.1f}",
            *[f"{mean(ms):.2f}" if ms else "" for ms in (some.driver, some.worker, some.head)],
        ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--groups", action="store_true", help="in groups, too")
    parser.add_argument("--shards", type=int, nargs="*")
    parser.add_argument("--smoke", action="store_true", help="few rounds of few shards")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    kinds = ("", GROUPS) if asked.groups else ("",)
    usual = ((4, 9, 12, 16, 25, 32), (2, 4)) if asked.groups else ((1, 2, 3), (1, 2))
    shards = asked.shards or usual[asked.smoke]
    n_rounds = 20 if asked.smoke else asked.rounds
    rows = [row for n in shards for row in measured(asked.engines, n, n_rounds, kinds)]
    heads = ("engine", "shards", "median ms", "least ms", "95 % ms", f"times {asked.engines[0]}",
             "driver, CPU ms", "worker, CPU ms", "head beyond that, CPU ms")  # fmt: skip
    print(table(heads, rows))


if __name__ == "__main__":
    main()
