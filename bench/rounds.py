"""What a round to shards takes, by engine: ``python -m bench.rounds [--rounds N] [--smoke]``.

Each round sends 2 KB to every shard, which look up 250 rows that none of them has, and wait for
them all: what is left of it is the engine. Engines take turns, by hundreds of rounds, on clusters
of processes of this machine that are there side by side; ``local`` are shards in this process, one
after the other.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

import numpy as np

from bench.markdown import table
from fastmem.distributed import fitting
from fastmem.distributed.fleet import Fleet
from fastmem.distributed.parts import Part
from fastmem.distributed.transport import LocalShards, Transport

BYTES, N_POINTS, TURN = 2_000, 3_000, 100


def points() -> tuple[np.ndarray, np.ndarray]:
    """Points that shards hold while they are asked for others."""
    generator = np.random.default_rng(0)
    return generator.standard_normal((N_POINTS, 4)), generator.integers(0, 2, N_POINTS)


@contextmanager
def local(n: int) -> Iterator[Transport]:
    """Shards in this process."""
    X, y = points()
    yield LocalShards([[Part(i, X[i::n], y[i::n])] for i in range(n)])


@contextmanager
def dask(n: int) -> Iterator[Transport]:
    """Actors of Dask, one on each worker."""
    import dask.array as da
    from distributed import Client, LocalCluster

    from fastmem.dask.collections import Recipes
    from fastmem.dask.shards import DaskShards

    X, y = (da.from_array(one, chunks=(N_POINTS // (8 * n), *one.shape[1:])) for one in points())
    with (
        LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
        DaskShards(client, Recipes(X, y)) as shards,
    ):
        yield shards


@contextmanager
def ray(n: int) -> Iterator[Transport]:
    """Actors of Ray."""
    import ray
    from pyarrow import table as arrow_table

    from fastmem.ray.blocks import blocks_of
    from fastmem.ray.shards import RayShards

    if not ray.is_initialized():
        ray.init(
            "local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
        )
    X, y = points()
    columns = {f"x{i}": X[:, i] for i in range(X.shape[1])}
    blocks = blocks_of(ray.data.from_arrow(arrow_table({**columns, "y": y})))
    shards = RayShards(blocks, (list(columns), "y"), n, 1)
    try:
        yield shards
    finally:
        shards.close()


ENGINES = {"local": local, "dask": dask, "ray": ray}


def placed(transport: Transport) -> Fleet:
    """Shards that know their points."""
    fleet = Fleet(transport)
    facts = [fact for some in fleet.ask(("facts",))[0] for fact in some]
    fleet.tell("place", fitting._placing(facts))
    fleet.flush()
    return fleet


def measured(engines: Sequence[str], n: int, n_rounds: int) -> Iterator[list[str]]:
    """Rows of the table for so many shards."""
    nowhere = np.full(BYTES // 8, 10 * N_POINTS)
    spent: dict[str, list[float]] = {name: [] for name in engines}
    with ExitStack() as stack:
        fleets = {}
        for name in engines:
            transport = stack.enter_context(ENGINES[name](n))
            assert transport.n_shards == n, f"{name} has {transport.n_shards} shards"
            fleets[name] = placed(transport)
        for _ in range(-(-n_rounds // TURN)):
            for name, fleet in fleets.items():
                for _ in range(min(TURN, n_rounds)):
                    start = time.perf_counter()
                    fleet.ask(("take", nowhere))
                    spent[name].append(1e3 * (time.perf_counter() - start))
    base = median(spent[engines[0]])
    for name, some in spent.items():
        slow = sorted(some)[int(0.95 * len(some))]
        yield [
            name, str(n), f"{median(some):.2f}", f"{min(some):.2f}", f"{slow:.2f}",
            f"{median(some) / base:.1f}",
        ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--smoke", action="store_true", help="few rounds of one and two shards")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    shards, n_rounds = ((1, 2), 20) if asked.smoke else ((1, 2, 3), asked.rounds)
    rows = [row for n in shards for row in measured(asked.engines, n, n_rounds)]
    heads = "engine", "shards", "median ms", "least ms", "95 % ms", f"times {asked.engines[0]}"
    print(table(heads, rows))


if __name__ == "__main__":
    main()
