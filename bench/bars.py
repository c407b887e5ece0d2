"""What fastmem should reach beside its peers: ``python -m bench.bars [NAME ...] [--smoke]``.

Each bar is a ratio of medians in one process, after compilation, both sides measured in turns,
which pytest-benchmark does not do; the cases are those that it runs. A side that takes longer than
SLOW seconds is run once, and the table says how often each side ran. The bars on memory, import
and the first fit start fresh processes. ``--smoke`` takes tiny sizes, at which no bar need be met.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import fastmem
from bench import bench_counts, bench_fit, bench_predict, bench_signs, bench_structured, threads
from bench.cases import Prepare, Work
from bench.markdown import head, line
from bench.measuring import (
    Timing,
    all_threads,
    duration,
    first_and_second,
    import_seconds,
    in_fresh_process,
    in_turns,
    machine,
)
from bench.workloads import FULL, SMOKE, Sizes, smoke_wanted

SLOW = 15.0
"""Seconds from which on a side is run only once."""


@dataclass(frozen=True)
class Bar:
    """One measured bar: a line of the table.

    Attributes
    ----------
    what : str
    ours, peer : str
        Figures of both sides.
    ratio : float
        What the bar is on.
    bar : str
    met : bool or None
        None for a line that has no bar.
    note : str
    """

    what: str
    ours: str
    peer: str
    ratio: float
    bar: str
    met: bool | None
    note: str = ""

    def cells(self) -> list[str]:
        """Columns of the table."""
        met = {True: "yes", False: "NO", None: ""}[self.met]
        return [self.what, self.ours, self.peer, f"{self.ratio:.3g}", self.bar, met, self.note]

    def without(self) -> Bar:
        """Return the same figures without a bar."""
        return replace(self, bar="", met=None)


COLUMNS = ["what", "ours", "peer", "ratio", "bar", "met", "note"]


def at_least(what: str, ours: str, peer: str, ratio: float, bar: float, note: str = "") -> Bar:
    """Make the bar that a speed-up must reach."""
    return Bar(what, ours, peer, ratio, f"≥ {bar:g}", ratio >= bar, note)


def at_most(what: str, ours: str, peer: str, ratio: float, bar: float, note: str = "") -> Bar:
    """Make the bar that a cost must not exceed."""
    return Bar(what, ours, peer, ratio, f"≤ {bar:g}", ratio <= bar, note)


def faster(what: str, ours: Timing, peer: Timing, bar: float, note: str = "") -> Bar:
    """Make the bar of a peer's median over ours."""
    return at_least(what, str(ours), str(peer), peer.median / ours.median, bar, note)


def costs(what: str, ours: Timing, peer: Timing, bar: float, note: str = "") -> Bar:
    """Make the bar of our median over a peer's."""
    return at_most(what, str(ours), str(peer), ours.median / peer.median, bar, note)


@dataclass(frozen=True)
class Settings:
    """What a run of this program measures: sizes and number of runs."""

    sizes: Sizes
    runs: int

    def ready(self, prepare: Prepare) -> Work:
        """Make a case ready on all cores."""
        return prepare(self.sizes, all_threads())

    def beside(self, work: Work, *peers: str) -> list[Timing]:
        """Time fastmem and peers in turns."""
        return work.in_turns(*peers, runs=self.runs, slow=SLOW)

    def in_turns(self, *calls: Callable[[], Any]) -> list[Timing]:
        """Time some calls in turns."""
        return in_turns(calls, self.runs, slow=SLOW)


def _against_dense(settings: Settings, workload: str, bar: float) -> list[Bar]:
    work = settings.ready(partial(bench_fit.fit, workload))
    ours, *peers = settings.beside(work, *bench_fit.DENSE)
    network = ours.result
    bars = []
    for name, peer in zip(bench_fit.DENSE, peers, strict=True):
        note = (
            f"neurons {network.widths[1]} and {len(peer.result.masks)}, "
            f"failed points {len(network.report.unseparated)} and {peer.result.n_failed}"
        )
        bars.append(faster(f"fit {work.what}, against {name}", ours, peer, bar, note))
    return bars


def moons_fit(settings: Settings) -> list[Bar]:
    """Fit of moons-1m, random selection, against the dense peers."""
    return _against_dense(settings, "moons_random", 50)


def digits_fit(settings: Settings) -> list[Bar]:
    """Fit of digits784-20k, random selection, one versus rest, against the dense peers."""
    return _against_dense(settings, "digits_random", 35)


def _against_sgemm(settings: Settings, workload: str, against: str, bar: float) -> Bar:
    work = settings.ready(partial(bench_fit.fit, workload))
    ours, peer = settings.beside(work, "sgemm")
    network = ours.result
    stages = ", ".join(f"{name} {s:.3g} s" for name, s in network.report.seconds.items())
    note = f"neurons {network.widths[1]}; {stages}"
    return costs(f"fit {work.what}{against}", ours, peer, bar, note)


def digits_wide(settings: Settings) -> list[Bar]:
    """Fit of digits784-70k, merged cells, against its first layer's sgemm alone."""
    return [_against_sgemm(settings, "more_digits_merge", ", against its sgemm", 2)]


def signs(settings: Settings) -> list[Bar]:
    """Exact sign patterns for d >= 64, against sgemm in the same blocks."""
    bars = []
    for prepare in (
        partial(bench_signs.signs, 64, 5),
        partial(bench_signs.signs, 784, 1),
        partial(bench_signs.signs, 784, 1, width="wide"),
    ):
        work = settings.ready(prepare)
        ours, peer = settings.beside(work, "sgemm")
        note = f"{work.operations / ours.median / 1e9:.0f} GFLOP/s"
        bars.append(costs(f"sign patterns, {work.what}, against sgemm", ours, peer, 1.25, note))
    return bars


def structured(settings: Settings) -> list[Bar]:
    """Structured sign patterns and a fit with them, against the Gaussian first layer's sgemm."""
    work = settings.ready(bench_structured.of_digits)
    ours, peer = settings.beside(work, "sgemm")
    what = f"structured sign patterns, {work.what}, against sgemm"
    against = ", structured, against the Gaussian first layer's sgemm"
    return [
        costs(what, ours, peer, 0.15),
        _against_sgemm(settings, "more_digits_structured", against, 0.5),
    ]


def counts(settings: Settings) -> list[Bar]:
    """Full-row counts at 160 words, against FAISS IndexBinaryFlat."""
    work = settings.ready(partial(bench_counts.counts, 160))
    ours, peer = settings.beside(work, "FAISS")
    rates = [work.operations / side.median / 1e9 for side in (ours, peer)]
    note = f"{rates[0]:.1f} and {rates[1]:.1f} G words/s"
    return [faster(f"counts, {work.what}, against FAISS", ours, peer, 3, note)]


def merge(settings: Settings) -> list[Bar]:
    """Second width and fit time of merged cells, against random selection on digits784-20k."""
    sizes = settings.sizes
    merged, random = settings.in_turns(sizes.digits_merge.fit, sizes.digits_random.fit)
    narrow, wide = merged.result.widths[1], random.result.widths[1]
    name = sizes.digits_merge.name
    what = f"second width {name}, merge : random"
    return [
        at_most(what, f"{narrow}", f"{wide}", narrow / wide, 0.15),
        costs(f"fit time {name}, merge : random", merged, random, 2),
    ]


def compact(settings: Settings) -> list[Bar]:
    """What compact=True leaves of a network for digits784-20k, and the size of its file."""
    bars = []
    sizes = settings.sizes
    many = sizes.digits_random.fit().n_nonzero
    for workload in (sizes.digits_merge, sizes.digits_merge_structured):
        projection = workload.projection
        title = f"{workload.name}, {projection}, compact:"
        X, y = workload.data()
        whole = workload.fit()
        (fit,) = settings.in_turns(partial(workload.fit, compact=True))
        network = fit.result
        note = (
            f"widths {network.widths}, {network.n_parameters:,} parameters; whole {whole.widths}, "
            f"{whole.n_parameters:,}; fit {fit}; training accuracy {network.score(X, y)}"
        )
        few, what = network.n_nonzero, f"{title} weights not zero, against random"
        bars.append(at_most(what, f"{few:,}", f"{many:,}", few / many, 0.08, note))
        ours, peer = settings.in_turns(partial(network.predict, X), partial(whole.predict, X))
        bar = faster(f"{title} predict, against without", ours, peer, 5)
        bars.append(bar if projection == "gaussian" else bar.without())
        size = network.nbytes
        note = f"{8 * size / len(y):.1f} bits a label; without compact {whole.nbytes:,} bytes"
        bar = at_most(f"{title} model file in KB", f"{size:,} bytes", "", size / 1000, 48, note)
        bars.append(bar if projection == "structured" else bar.without())
    return bars


def accuracy(settings: Settings) -> list[Bar]:
    """Unseen points, 30 % held out, by margin; against 1-nearest-neighbour less one point."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neighbors import KNeighborsClassifier

    sizes = settings.sizes
    bundled = load_digits(return_X_y=True)
    bars = []
    for name, (X, y), width in (
        ("scikit-learn's digits", bundled, sizes.width),
        ("digits784-20k", sizes.digits_merge.data(), sizes.wide),
    ):
        splits = [
            train_test_split(X, y, test_size=0.3, random_state=seed)
            for seed in range(1 if settings.runs == 1 else 5)
        ]
        nearest = float(
            np.mean([KNeighborsClassifier(1).fit(a, c).score(b, d) for a, b, c, d in splits])
        )
        for margin in (0.0, 0.1, 0.25, 0.5, 1.0):
            scores, neurons = [], []
            for seed, (train, test, labels, unseen) in enumerate(splits):
                network = fastmem.interpolate(
                    train, labels, width=width, margin=margin, covered="all", seed=seed
                )
                scores.append(network.score(test, unseen))
                neurons.append(network.widths[1])
            mean = float(np.mean(scores))
            what = f"unseen points of {name}, n = {width}, margin = {margin}, against 1-NN - 0.01"
            note = f"{np.mean(neurons):.0f} neurons, {len(splits)} splits"
            bar = at_least(what, f"{mean:.4f}", f"{nearest:.4f}", mean - nearest, -0.01, note)
            bars.append(bar if margin == 1 else bar.without())
    return bars


def more_threads(settings: Settings) -> list[Bar]:
    """Two threads against one, on what is not bound by memory."""
    bars = []
    for work in threads.THREADED:
        if work.barred:
            one, two = work.on(settings.sizes, (1, 2), settings.runs, slow=SLOW)
            bars.append(faster(f"2 threads against 1: {work.panel}, {work.series}", two, one, 1.8))
    return bars


def predict(settings: Settings) -> list[Bar]:
    """Prediction of the training points of each workload, against a dense forward pass."""
    bars = []
    for case in bench_predict.MEMORISED:
        work = settings.ready(case.prepare)
        ours, peer = settings.beside(work, "dense")
        disagree = int((peer.result != ours.result).sum())
        note = f"{disagree} predictions differ"
        bars.append(faster(f"predict {work.what}, against dense", ours, peer, 30, note))
    return bars


def memory(settings: Settings) -> list[Bar]:
    """Peak memory of a fresh process that makes moons-1m and memorises it, as the system says."""
    workload = settings.sizes.moons_random
    code = f"""
from fastmem.datasets import unit_moons
import fastmem
from bench.measuring import peak_of_this_process
X, y = unit_moons({workload.n_samples})
before = peak_of_this_process()
net = fastmem.interpolate(
    X, y, width={workload.width}, max_bias=1.0, selection="random", covered=[1], seed=0
)
print(before, peak_of_this_process(), net.report.peak_bytes)
"""
    in_fresh_process(code)  # fills the cache of compiled kernels: compiling takes memory too
    peaks = [[float(v) for v in in_fresh_process(code).split()] for _ in range(settings.runs)]
    before, after, reported = (median(column) for column in zip(*peaks, strict=True))
    what = f"peak memory, fit {workload.name}, random, n = {workload.width}, in GB"
    note = (
        f"{before / 1e9:.2f} GB before the fit, with the imports and the points; "
        f"report.peak_bytes {reported / 1e9:.2f} GB; median of {settings.runs} processes"
    )
    return [at_most(what, f"{after / 1e9:.3f} GB", "", after / 1e9, 0.6, note)]


def imports(settings: Settings) -> list[Bar]:
    """Import of fastmem beyond that of numba, in fresh processes."""
    numba_alone, beyond = import_seconds(["numba", "fastmem"], settings.runs)
    what = "import fastmem beyond import numba, in s"
    peer = f"{duration(numba_alone)} for numba"
    note = f"median of {settings.runs} processes"
    return [at_most(what, duration(beyond), peer, beyond, 0.2, note)]


def first_fit(settings: Settings) -> list[Bar]:
    """First fit in a new process with its kernels cached, less the second."""
    bars = []
    for name, load in {
        "moons, 20,000 points": (
            "from fastmem.datasets import unit_moons; X, y = unit_moons(20_000)"
        ),
        "scikit-learn's digits": (
            "from sklearn.datasets import load_digits; X, y = load_digits(return_X_y=True)"
        ),
    }.items():
        setup = f"import fastmem; {load}"
        compiling, pairs = first_and_second(
            setup, "fastmem.interpolate(X, y, seed=0)", settings.runs
        )
        first, second = (median(column) for column in zip(*pairs, strict=True))
        what = f"first fit less second, {name}, in s"
        note = f"median of {settings.runs} processes; {duration(compiling)} with nothing cached"
        less = median(one - two for one, two in pairs)
        peer = f"{duration(second)} for the second"
        bars.append(at_most(what, duration(first), peer, less, 1.0, note))
    return bars


BARS: dict[str, Callable[[Settings], list[Bar]]] = {
    "memory": memory,
    "import": imports,
    "first-fit": first_fit,
    "signs": signs,
    "structured": structured,
    "counts": counts,
    "moons-fit": moons_fit,
    "digits-fit": digits_fit,
    "merge": merge,
    "digits-wide": digits_wide,
    "predict": predict,
    "compact": compact,
    "accuracy": accuracy,
    "threads": more_threads,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, row by row; the exit code is 0 iff every bar is met or in a smoke run."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.bars",
        description=__doc__,
        epilog="bars: " + ", ".join(BARS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="bars to measure; all by default")
    parser.add_argument("--smoke", action="store_true", default=smoke_wanted(), help="tiny sizes")
    parser.add_argument("--runs", type=int, default=5, help="runs of each side")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BARS]:
        parser.error(f"no bar is called {unknown[0]!r}: choose from {', '.join(BARS)}")

    warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
    settings = Settings(SMOKE if options.smoke else FULL, 1 if options.smoke else options.runs)
    state = machine()
    for name, value in state.items():
        print(f"{name}: {value}")
    print()
    print(head(COLUMNS), flush=True)
    bars: list[Bar] = []
    for name in options.names or BARS:
        for bar in BARS[name](settings):
            if options.smoke:
                bar = replace(bar, met=None)
            bars.append(bar)
            print(line(bar.cells()), flush=True)
        gc.collect()
    if options.json:
        table = [dict(zip(COLUMNS, bar.cells(), strict=True)) for bar in bars]
        options.json.write_text(json.dumps({"machine": state, "rows": table}, indent=1) + "\n")
    print()
    if options.smoke:
        print("Tiny sizes: that it runs is all that this shows.")
        return 0
    missed = sum(bar.met is False for bar in bars)
    print(f"{len(bars) - missed} of {len(bars)} bars met.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
