"""Merged cells among neighbours on shards: what goes over the wire, and a model of it.

Points are brought to their regions once, through the driver; then batches of cells grow side by
side on the shards. A batch has at most 128 cells of each class, so that with many cores the longest
cell of each batch is waited for. A cell that comes to points of other regions waits for their
blocks, which its shard fetches from theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import numpy as np

from bench.cluster_model import Constants, called, growth, round_seconds
from bench.markdown import figure, table
from bench.shard_fits import Case, Measured, measure
from bench.wire import KINDS
from fastmem.second_layer.near_cells import BATCH, MOST_GATHERED

WORKERS = (1, 2, 4, 8, 16, 32, 64, 100)
SIZES = (10**5, 10**6, 10**7, 10**8)
N_CLASSES = 2
PARTS = ("read", "check and patterns", "growth", "rounds", "bytes", "driver")


def cases(is_smoke: bool) -> list[Case]:
    """Fits whose labels are partly wrong, so that there are many cells."""
    if is_smoke:
        return [Case("flipped8", 8_000, dict(width=64, selection="merge"))]
    settings = dict(width=512, selection="merge")
    return [Case("flipped2", 300_000, settings)] + [
        Case("flipped8", n, settings) for n in (100_000, 300_000)
    ]


def wire_table(found: Sequence[Measured]) -> str:
    """Rounds and bytes by what they are for."""
    rows = []
    for one in found:
        kinds = one.watch.kinds
        cells = [
            f"{kinds.rounds[kind]:,} / {figure(kinds.sent[kind] / 1e6)} / "
            f"{figure(kinds.received[kind] / 1e6)} / {figure(kinds.fetched[kind] / 1e6)}"
            for kind in KINDS
        ]
        shares = ", ".join(f"{100 * share:.0f}" for share in one.watch.lacking)
        rows.append([str(one.case), str(one.n_shards), *cells, f"{kinds.n_waits:,}", shares])
    return table(
        ["fit: rounds / MB sent / received / from shard to shard", "shards", *KINDS,
         "rounds with cells that waited",
         "blocks that never came, %"],
        rows,
    )  # fmt: skip


@dataclass(frozen=True)
class RegionalJob:
    """What such a fit has to do, on one shard, and what is added for others.

    Attributes
    ----------
    n_samples, n_features, width : int
    rounds, batches, waits : float
        All rounds but those in which cells wait for blocks of others; those in which they grow;
        and those in which they wait, on several shards.
    growth : float
        Seconds of a core for all cells.
    driver : float
        Seconds of the driver.
    shuffle : float
        Bytes that come to the driver, and go from there to their regions.
    ground, orders, received : float
        Bytes to each worker, of what is uncovered and of cells; and from all of them.
    copied : float
        Share of others' blocks that comes to a worker.
    """

    n_samples: int
    n_features: int
    width: int
    rounds: float
    batches: float
    waits: float
    growth: float
    driver: float
    shuffle: float
    ground: float
    orders: float
    received: float
    copied: float


def job_of(one: Measured, several: Measured) -> RegionalJob:
    """A job by a fit on one shard and one on several."""
    X, _ = one.case.data()
    kinds, others = one.watch.kinds, several.watch.kinds
    width = one.case.settings["width"]
    n = several.n_shards
    all_patterns = 8 * -(-width // 64) * len(X)
    copied = (others.fetched["blocks"] or others.sent["blocks"]) / (all_patterns * (n - 1))
    return RegionalJob(
        len(X), X.shape[1], width, one.watch.n_rounds, kinds.rounds["cells"],
        max(0, several.watch.n_rounds - one.watch.n_rounds), kinds.seconds["cells"],
        one.watch.driver, kinds.received["shuffle"], kinds.sent["ground"],
        kinds.sent["other"] + kinds.sent["cells"],
        sum(kinds.received[kind] for kind in ("ground", "cells", "other")), min(1.0, copied),
    )  # fmt: skip


def seconds(job: RegionalJob, constants: Constants, n_workers: int) -> dict[str, float]:
    """Seconds of a fit by what takes them, as `PARTS` has them.

    Cells of a batch are shared out by where they begin. No core takes less than a whole one, of
    each batch the mean.
    """
    values = float(job.n_samples) * job.n_features
    at_once = n_workers * constants.cores
    others = n_workers - 1
    words = -(-job.width // 64)
    # a worker's network brings it the blocks of others while it tells them its own
    fetched = job.copied * others / n_workers * 8 * words * job.n_samples
    at_driver = (
        2 * job.shuffle
        + job.received
        + job.ground * sum(called(n_workers))
        + job.orders * n_workers
    )
    grown = job.growth / min(at_once, float(BATCH * N_CLASSES))
    n_rounds = job.rounds + (job.waits if others else 0.0)
    return {
        "read": 4 * values * constants.read / n_workers,
        "check and patterns": values * (constants.check + constants.fill * job.width) / at_once,
        "growth": grown * slowest(n_workers, constants.spread),
        "rounds": n_rounds * round_seconds(constants, n_workers),
        "bytes": (at_driver + fetched) * constants.byte,
        "driver": job.driver,
    }


def slowest(n_workers: int, spread: float) -> float:
    """Mean of the largest of so many lognormal numbers, of median 1."""
    generator = np.random.default_rng(0)
    return float(np.exp(spread * generator.standard_normal((200, n_workers))).max(axis=1).mean())


def extrapolated(jobs: Sequence[RegionalJob], n_samples: int) -> RegionalJob:
    """The job of so many points, by powers fitted to measured ones.

    What is uncovered is gathered only where it is little, and before that, whenever half of it is
    covered, named by a bit for each point.
    """
    sizes = [job.n_samples for job in jobs]

    def at(name: str) -> float:
        factor, exponent = growth(sizes, [getattr(job, name) * 1e6 for job in jobs])
        return float(factor * float(n_samples) ** exponent) / 1e6

    names = ("rounds", "batches", "waits", "growth", "driver", "shuffle", "ground", "orders",
             "received")  # fmt: skip
    job = replace(jobs[-1], n_samples=n_samples, **{name: at(name) for name in names})
    gathered = min(job.ground, float(MOST_GATHERED))
    halvings = np.log2(max(1.0, job.ground / MOST_GATHERED))
    return replace(
        job, ground=gathered + halvings * n_samples / 8,
        copied=mean(some.copied for some in jobs),
    )  # fmt: skip


def measured_jobs(kind: str, is_smoke: bool) -> tuple[list[RegionalJob], Measured, list[Measured]]:
    """Jobs of growing numbers of points, with the last fit on one shard and all on four."""
    jobs, fours = [], []
    for size in (4_000, 8_000) if is_smoke else (20_000, 40_000, 80_000, 160_000):
        case = Case(kind, size, dict(width=64 if is_smoke else 512, selection="merge"))
        one, four = measure(case, "local", (1, 4))
        if one.watch.kinds.rounds["cells"]:  # there are so many cells that neighbours are asked
            jobs.append(job_of(one, four))
            fours.append(four)
    return jobs, one, fours


def growth_spread(found: Sequence[Measured]) -> float:
    """How much shards differ in rounds in which cells grow; see `Constants`."""
    shares = [max(some) * len(some) / sum(some) for one in found
              for some in one.watch.in_shards if sum(some) > 2e-3]  # fmt: skip
    if not shares:
        return 0.0
    n = found[0].n_shards
    spreads = np.linspace(0, 2, 201)
    means = [slowest(n, s) / np.exp(s * s / 2) for s in spreads]
    return float(spreads[np.searchsorted(means, np.median(shares)).clip(0, 200)])


def job_table(jobs: Sequence[RegionalJob]) -> str:
    """What grows with the points, and by which power."""
    rows = []
    sizes = [job.n_samples for job in jobs]
    names = ("rounds", "batches", "waits", "growth", "driver", "shuffle", "ground", "orders",
             "received", "copied")  # fmt: skip
    for name in names:
        values = [getattr(job, name) for job in jobs]
        _, exponent = growth(sizes, [1e6 * value for value in values])
        rows.append([name, *[figure(value) for value in values], f"{exponent:.2f}"])
    heads = [f"{size:,}" for size in sizes]
    return table(["what grows", *heads, "exponent"], rows)


def simulation_table(name: str, jobs: Sequence[RegionalJob], constants: Constants) -> str:
    """Seconds by number of workers, and what takes most with eight and all of them."""
    rows = []
    for size in SIZES:
        job = extrapolated(jobs, size)
        by_workers = {w: seconds(job, constants, w) for w in WORKERS}
        cells = [figure(sum(parts.values())) for parts in by_workers.values()]
        most = [max(PARTS, key=lambda part: by_workers[w][part]) for w in (8, WORKERS[-1])]
        rows.append([f"{name}, 10^{len(str(size)) - 1} points", *cells, *most])
    names = [f"{w} workers, s" if w > 1 else "1 worker, s" for w in WORKERS]
    return table(["fit", *names, "most, with 8", f"with {WORKERS[-1]}"], rows)


def model_table(found: Sequence[Measured], jobs: dict[str, Sequence[RegionalJob]],
                constants: dict[str, Constants]) -> str:  # fmt: skip
    """The model beside what driver and slowest shards took, without what is not in these."""
    rows = []
    for one in found:
        kind = one.case.kind
        job = extrapolated(jobs[kind], one.case.n_samples)
        parts = seconds(job, replace(constants[kind], cores=1), one.n_shards)
        told = [parts[name] for name in ("check and patterns", "growth", "driver")]
        ratio = figure(sum(told) / one.worked) if one.worked else ""
        waited = [figure(job.rounds + (job.waits if one.n_shards > 1 else 0)),
                  f"{one.watch.n_rounds:,}"]  # fmt: skip
        rows.append([
            str(one.case), str(one.n_shards), *[figure(x) for x in told], figure(sum(told)),
            figure(one.worked), ratio, *waited,
        ])  # fmt: skip
    return table(
        ["fit", "workers", "check and patterns", "growth", "driver", "model, s",
         "driver and slowest shards, CPU s", "model / that", "rounds, model", "rounds"],
        rows,
    )  # fmt: skip


def simulate(found: Sequence[Measured], constants_of: Any, cores: int, is_smoke: bool) -> None:
    """Print the model beside fits, and what it says of many workers.

    ``constants_of(fit on one shard)`` gives the constants, without the spread.
    """
    jobs: dict[str, Sequence[RegionalJob]] = {}
    constants: dict[str, Constants] = {}
    for kind in dict.fromkeys(one.case.kind for one in found):
        jobs[kind], one, fours = measured_jobs(kind, is_smoke)
        constants[kind] = replace(constants_of(one), spread=growth_spread(fours))
        print(f"{kind}: {constants[kind]}\n\n{job_table(jobs[kind])}\n")
    print(f"{model_table(found, jobs, constants)}\n")
    for kind, some in jobs.items():
        print(f"{simulation_table(kind, some, replace(constants[kind], cores=cores))}\n")
