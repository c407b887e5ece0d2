"""Fits beyond one machine: ``python -m bench.distributed [--engine E] [--smoke] [--picture P]``.

Rounds, bytes and seconds of some fits by number of shards, beside the fit of one machine in the
same process: in this process (``local``), in processes of this machine by pipes, or in those of a
Dask or Ray cluster on it. Each network's file must be that of one machine.

Then the model of `bench.cluster_model`: constants measured here, the model beside these fits, and
what it says of up to 100 workers and 10^9 points. There everything is extrapolated but the
constants, and the speed of the network and the cores of a worker are assumed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import fastmem
from bench.cluster_model import PARTS, Constants, Job, growth, seconds, simulated
from bench.markdown import figure, table
from bench.measuring import all_threads, timed
from bench.transports import ENGINES, Watch, fit_on, opened
from fastmem.datasets import digits784, unit_moons

CORES = 8
"""Of each worker in the simulation."""
NETWORK = 1.25e9
"""Bytes a second between the driver and all workers there: 10 Gb/s."""
SIZES = (10**6, 10**7, 10**8, 10**9)
WORKERS = (1, 2, 4, 8, 16, 32, 64, 100)
_CHECKS = ("extremes", "sums", "largest_squares", "ranges", "spread_sums", "hashes")
_COUNTS = ("least", "nearest", "cover")


def clusters(n_samples: int, n_features: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Points of 20 Gaussian clusters, float32, in five classes."""
    generator = np.random.default_rng(0)
    centres = 1.5 * generator.standard_normal((20, n_features)).astype(np.float32)
    which = generator.integers(0, 20, n_samples)
    return generator.standard_normal((n_samples, n_features), np.float32) + centres[
        which
    ], which % 5


@dataclass(frozen=True)
class Case:
    """A data set and settings.

    Attributes
    ----------
    kind : {"moons", "clusters", "digits"}
    n_samples : int
    settings : dict
        Of ``interpolate``.
    """

    kind: str
    n_samples: int
    settings: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        """Name for a table."""
        width = self.settings.get("width", "auto")
        n_features = self.data()[0].shape[1]
        shape = f"{self.n_samples:,} x {n_features}"
        return f"{self.kind} {shape}, n = {width}, {self.settings['selection']}"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Points and labels."""
        return _data(self.kind, self.n_samples)


@cache
def _data(kind: str, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    make: Any = {"moons": unit_moons, "clusters": clusters, "digits": digits784}[kind]
    X, y = make(n_samples)
    return X, y


def cases(is_smoke: bool) -> list[Case]:
    """All fits that are measured."""
    share = 200 if is_smoke else 1
    width = 64 if is_smoke else 512
    found = []
    for selection in ("random", "merge"):
        found += [
            Case("moons", 1_000_000 // share, dict(width=width, selection=selection)),
            Case("clusters", 300_000 // share, dict(width=width, selection=selection)),
            Case(
                "digits", 20_000 // (share // 10 or 1), dict(width=4 * width, selection=selection)
            ),
        ]
    found.append(Case("clusters", 100_000 // share, dict(selection="merge")))
    return found


@dataclass(frozen=True)
class Measured:
    """A fit on shards.

    Attributes
    ----------
    case : Case
    n_shards, neurons : int
    watch : Watch
    seconds, here : float
        Of the fit, and those of the processor for that of one machine on one thread.
    """

    case: Case
    n_shards: int
    neurons: int
    watch: Watch
    seconds: float
    here: float

    @property
    def worked(self) -> float | None:
        """Seconds of the processor: the driver's, and of each round the slowest shard's."""
        watch = self.watch
        return watch.driver + watch.shard_seconds if watch.in_shards else None

    @property
    def words(self) -> float:
        """Words of patterns times masks."""
        return sum(self.watch.work[name][1] for name in _COUNTS)


def job_of(one: Measured, other: Measured | None = None) -> Job:
    """What the model is asked, by a fit on shards; and by one on more, which tells of bytes."""
    X, _ = one.case.data()
    received, each = float(one.watch.received), 0.0
    if other is not None:
        more = other.n_shards - one.n_shards
        each = max(0.0, (other.watch.received - one.watch.received) / more)
        received = max(0.0, received - each * one.n_shards)
    return Job(
        one.case.n_samples, X.shape[1], one.case.settings["width"], one.watch.n_rounds, one.words,
        one.watch.sent / one.n_shards, received, each,
    )  # fmt: skip


def saved(network: fastmem.Network) -> bytes:
    """The bytes of a network's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.npz"
        network.save(path)
        return path.read_bytes()


_HERE: dict[tuple[str, bool], tuple[float, bytes]] = {}
"""Fits on one machine, by case and whether columns have names: CPU seconds, and the file."""


def fit_here(case: Case, as_given: Any) -> tuple[float, bytes]:
    """Seconds of the processor for a fit on one machine, after one that compiles; and its file."""
    X, y = case.data()
    key = str(case), as_given is not None
    if key not in _HERE:
        X = X if as_given is None else as_given(X)
        for _ in range(2):
            start = time.process_time()
            network = fastmem.interpolate(X, y, **case.settings, seed=0, n_threads=1)
            spent = time.process_time() - start
        _HERE[key] = spent, saved(network)
    return _HERE[key]


def measure(case: Case, engine: Any, shards: Sequence[int]) -> list[Measured]:
    """Fit a case here, and on shards once each after a small one that compiles."""
    X, y = case.data()
    here, expected = fit_here(case, getattr(engine, "as_given", None))
    settings = case.settings | {"seed": 0, "n_threads": 1}
    few = np.arange(0, len(y), max(1, len(y) // 2000))
    found = []
    for n_shards in shards:
        fit_on(engine, X[few], y[few], n_shards, **settings)
        if engine == "local":  # the seconds of which are the model's
            fit_on(engine, X, y, n_shards, **settings)
        network, watch, spent = fit_on(engine, X, y, n_shards, **settings)
        if saved(network) != expected:
            raise AssertionError(f"{case} on {n_shards} shards is another network")
        found.append(Measured(case, watch.n_shards, len(network.second), watch, spent, here))
    return found


def fits_table(found: Sequence[Measured]) -> str:
    """Fits in Markdown."""
    rows = []
    for one in found:
        watch = one.watch
        peaks = ", ".join(f"{peak / 1e6:,.0f}" for peak in watch.peaks)
        spent = watch.shard_seconds if watch.in_shards else None
        rows.append([
            str(one.case), str(one.n_shards), f"{one.neurons:,}", f"{watch.n_rounds:,}",
            figure(watch.sent / 1e6), figure(watch.received / 1e6), figure(spent),
            figure(watch.driver),
            figure(1e3 * median(watch.seconds)), figure(one.seconds), figure(one.here), peaks,
        ])  # fmt: skip
    return table(
        ["fit", "shards", "neurons", "rounds", "MB sent", "MB received", "slowest shards, CPU s",
         "driver, CPU s", "median round, ms", "fit, s", "one machine, CPU s",
         "peak of each worker, MB"],
        rows,
    )  # fmt: skip


def read_seconds(n_samples: int) -> float:
    """Seconds for each byte of values of a parquet file, until they are an array."""
    import pyarrow as pa
    from pyarrow import parquet

    X, _ = clusters(n_samples)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "points.parquet")
        parquet.write_table(pa.table({str(i): X[:, i] for i in range(X.shape[1])}), path)

        def read() -> Any:
            columns = parquet.read_table(path, use_threads=False).columns
            return np.stack([column.to_numpy() for column in columns], axis=1)

        return median(timed(read)[0] for _ in range(3)) / X.nbytes


def spread_of(found: Sequence[Measured]) -> float:
    """How much shards of as many points differ in a round; see `Constants`."""
    logs = []
    for one in found:
        spent = np.array(one.watch.in_shards)
        spent = spent[spent.mean(axis=1) > 1e-3]
        logs.append((np.log(spent) - np.log(spent).mean(axis=1, keepdims=True)).ravel())
    together = np.concatenate(logs)
    if not len(together):
        return 0.0
    low, high = np.quantile(together, [0.25, 0.75])  # whatever a few rounds were disturbed by
    return float(high - low) / 1.349


def constants_of(
    one: Measured, rounds: Mapping[int, float], read: float, spread: float
) -> Constants:
    """The model's constants by a fit on one shard; rounds by number of workers."""
    X, _ = one.case.data()
    work = one.watch.work
    slope, fixed = 0.0, next(iter(rounds.values()))
    if len(rounds) > 1:
        slope, fixed = np.polyfit(list(rounds), list(rounds.values()), 1)
    return Constants(
        sum(work[name][0] for name in _CHECKS) / X.size,
        work["fill"][0] / max(1.0, work["fill"][1]),
        sum(work[name][0] for name in _COUNTS) / max(1.0, one.words),
        max(0.0, float(fixed)), max(0.0, float(slope)),
        one.watch.driver / one.watch.n_rounds, read, 1 / NETWORK, spread,
    )  # fmt: skip


def rounds_of(engine_name: str, is_smoke: bool) -> dict[int, float]:
    """Seconds of a round that asks for nothing, by number of workers.

    Of at most as many as there are cores: more would wait for one another, and not for rounds.
    """
    X, y = clusters(1000)
    found = {}
    for n_workers in range(1, 1 + min(all_threads(), 2 if is_smoke else 8)):
        with opened(engine_name, n_workers) as engine:
            for _ in range(4):
                _, watch, _ = fit_on(engine, X, y, n_workers, width=64, selection="random", seed=0)
                found[watch.n_shards] = min(watch.empty, found.get(watch.n_shards, watch.empty))
    return found


def model_table(ones: Sequence[Measured], found: Sequence[Measured], known: Any) -> str:
    """The model with each fit's constants, of one shard, beside what was measured on several."""
    rows = []
    by_case = {str(one.case): one for one in ones}
    for fit in found:
        if "width" not in fit.case.settings or str(fit.case) not in by_case:
            continue
        one = by_case[str(fit.case)]
        constants = constants_of(one, *known)
        job = replace(job_of(fit), words=fit.words or one.words)  # of clusters it is not known
        parts = seconds(job, constants, fit.n_shards, reads=False)
        total = sum(parts.values())
        cells = [figure(parts[name]) for name in PARTS[1:]]
        ratio = figure(total / fit.worked) if fit.worked else ""
        measured = [figure(fit.worked), ratio, figure(fit.seconds)]
        rows.append([str(fit.case), str(fit.n_shards), *cells, figure(total), *measured])
    return table(
        ["fit", "workers", *PARTS[1:], "model, s", "driver and slowest shards, CPU s",
         "model / that", "by the clock, s"],
        rows,
    )  # fmt: skip


def growing(is_smoke: bool) -> tuple[dict[str, list[Job]], dict[str, Measured], list[Measured]]:
    """Jobs of two data sets, by selection, for growing numbers of points."""
    sizes = {
        "moons": [50_000 * 2**i for i in range(5)],
        "clusters": [20_000 * 2**i for i in range(5)],
    }
    jobs: dict[str, list[Job]] = {}
    last: dict[str, Measured] = {}
    all_four = []
    for kind in sizes:
        for selection in ("merge", "random"):
            name = f"{kind}, {selection}"
            for size in [600, 1200] if is_smoke else sizes[kind]:
                case = Case(kind, size, dict(width=512, selection=selection))
                one, four = measure(case, "local", (1, 4))
                jobs.setdefault(name, []).append(job_of(one, four))
                last[name] = one
                all_four.append(four)
    return jobs, last, all_four


def growth_table(jobs: Mapping[str, Sequence[Job]]) -> str:
    """What grows with the points, and by which power."""
    rows = []
    for kind, some in jobs.items():
        sizes = [job.n_samples for job in some]
        for name in ("rounds", "words", "sent", "received", "received_worker"):
            values = [getattr(job, name) for job in some]
            _, exponent = growth(sizes, values)
            rows.append([
                f"{kind}: {name}", f"{sizes[0]:,} to {sizes[-1]:,}",
                *[figure(value) for value in values], f"{exponent:.2f}",
            ])  # fmt: skip
    places = [f"at size {i + 1}" for i in range(len(sizes))]
    return table(["what grows", "points", *places, "exponent"], rows)


def simulation_table(found: Mapping[tuple[str, int], Sequence[Mapping[str, float]]]) -> str:
    """Seconds by number of workers, and what takes most with all of them."""
    rows = []
    for (name, size), by_workers in found.items():
        totals = [sum(parts.values()) for parts in by_workers]
        most = max(PARTS, key=lambda part: by_workers[-1][part])
        cells = [figure(total) for total in totals]
        rows.append([f"{name}, 10^{len(str(size)) - 1} points", *cells, most])
    names = [f"{w} workers, s" if w > 1 else "1 worker, s" for w in WORKERS]
    return table(["fit", *names, f"most, with {WORKERS[-1]}"], rows)


def draw(
    found: Mapping[tuple[str, int], Sequence[Mapping[str, float]]], engine: str, path: Path
) -> None:
    """Seconds by number of workers."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(9.5, 7.6), layout="constrained")
    axes = picture.subplots(2, 2, sharey=True, sharex=True)
    colours = ["#1b9e77", "#7570b3", "#d95f02", "#333333"]
    names = dict.fromkeys(name for name, _ in found)
    for panel, name in zip(axes.flat, names, strict=True):
        for colour, size in zip(colours, SIZES, strict=True):
            totals = [sum(parts.values()) for parts in found[name, size]]
            exponent = len(str(size)) - 1
            panel.plot(WORKERS, totals, "o-", color=colour, ms=3.5, label=f"$10^{exponent}$ points")
            panel.plot(WORKERS, [totals[0] / w for w in WORKERS], ":", color=colour, lw=1)
        panel.set(xscale="log", yscale="log", title=name)
        panel.set_xticks(WORKERS, [str(w) for w in WORKERS])
        panel.minorticks_off()
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel("seconds of a fit")
    for panel in axes[-1]:
        panel.set_xlabel(f"workers of {CORES} cores")
    axes[0, 0].legend(frameon=False)
    picture.suptitle(
        f"Simulated from constants of one machine (rounds of {engine}; n = 512). Dotted: as many "
        "times faster as there are workers", fontsize=10,
    )  # fmt: skip
    picture.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=ENGINES, default="processes")
    parser.add_argument(
        "--rounds-of", choices=ENGINES, help="whose rounds the model has, by default the engine's"
    )
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--fit", nargs=4, metavar=("DATA", "N", "WIDTH", "SELECTION"),
        help="measure this one only: moons, clusters or digits; points; hyperplanes or auto",
    )  # fmt: skip
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--picture", type=Path, help="png to draw the simulation in")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", fastmem.UnseparatedWarning)

    if options.fit:
        kind, n_samples, width, selection = options.fit
        settings = dict(selection=selection) | ({} if width == "auto" else dict(width=int(width)))
        with opened(options.engine, max(options.shards)) as engine:
            print(fits_table(measure(Case(kind, int(n_samples), settings), engine, options.shards)))
        return
    local: list[Measured] = []
    fits: list[Measured] = []
    with opened(options.engine, max(options.shards)) as engine:
        for case in cases(options.smoke):
            local += measure(case, "local", (1,))
            fits += measure(case, engine, options.shards)
    print(f"## Fits on {options.engine}\n\n{fits_table(fits)}\n\n## In this process\n")
    print(fits_table(local))

    rounds = rounds_of(options.rounds_of or options.engine, options.smoke)
    jobs, last, four = growing(options.smoke)
    spread = spread_of(four)
    known = rounds, read_seconds(1000 if options.smoke else 300_000), spread
    own: dict[int, float] = {}
    for one in fits:
        own[one.n_shards] = min(one.watch.empty, own.get(one.n_shards, one.watch.empty))
    told = ", ".join(f"{n}: {1e3 * s:.2f}" for n, s in rounds.items())
    print(f"\n## The model\n\nEmpty rounds in ms by workers, of the simulation: {told}.\n")
    print(model_table(local, fits, (own, *known[1:])))
    print(f"\n## Growth\n\n{growth_table(jobs)}\n\n## Simulation\n")
    constants = {
        name: replace(constants_of(one, *known), cores=CORES) for name, one in last.items()
    }
    for name, some in constants.items():
        print(f"{name}: {some}\n")
    found = simulated(jobs, constants, SIZES, WORKERS)
    print(simulation_table(found))
    if options.picture:
        draw(found, options.rounds_of or options.engine, options.picture)


if __name__ == "__main__":
    main()
