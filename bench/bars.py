"""The bars of the design, measured: ``python -m bench.bars [NAME ...] [--smoke] [--runs 5]``.

Each bar is a ratio of medians in one process, after compilation. A peer that takes longer than
SLOW seconds is run once, and the table says how often each side ran. The bars on memory, import
and the first fit start fresh processes. ``--smoke`` takes tiny sizes, at which no bar need be met.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import fastmem
from bench.measuring import Timing, duration, in_fresh_process, machine
from bench.parts import Counts, all_threads, structured_planes
from bench.peers import (
    DenseNetwork,
    FaissCounts,
    fit_as_published,
    fit_dense,
    sgemm_in_blocks,
)
from bench.workloads import FULL, SMOKE, Sizes, Workload, smoke_wanted

SLOW = 15.0
"""Seconds from which on a peer is run only once."""


@dataclass(frozen=True)
class Row:
    """One measured bar.

    Attributes
    ----------
    what : str
    ours, peer : str
        Figures of both sides.
    ratio : float
        What the bar is on.
    bar : str
    met : bool or None
        None for a row that has no bar.
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


COLUMNS = ["what", "ours", "peer", "ratio", "bar", "met", "note"]


def at_least(what: str, ours: str, peer: str, ratio: float, bar: float, note: str = "") -> Row:
    """Make the row of a bar that a speed-up must reach."""
    return Row(what, ours, peer, ratio, f"≥ {bar:g}", ratio >= bar, note)


def at_most(what: str, ours: str, peer: str, ratio: float, bar: float, note: str = "") -> Row:
    """Make the row of a bar that a cost must not exceed."""
    return Row(what, ours, peer, ratio, f"≤ {bar:g}", ratio <= bar, note)


@dataclass(frozen=True)
class Settings:
    """What a run of this program measures: sizes and number of runs."""

    sizes: Sizes
    runs: int

    def time_ours(self, call: Callable[[], Any]) -> Timing:
        """Time fastmem, however slow."""
        return Timing(call, self.runs)

    def time_peer(self, call: Callable[[], Any]) -> Timing:
        """Time a peer, once if it is slow."""
        return Timing(call, self.runs, slow=SLOW)


@cache
def _fit(settings: Settings, workload: Workload) -> Timing:
    """Time the fit of a workload, once for all bars that use it; the result is the network."""
    workload.data()
    return settings.time_ours(workload.fit)


def _fit_against_dense(settings: Settings, workload: Workload, bar: float) -> list[Row]:
    ours = _fit(settings, workload)
    network = ours.result
    X, y = workload.data()
    first = network.first
    rows = []
    for name, fit in (("as published", fit_as_published), ("tuned", fit_dense)):
        peer = settings.time_peer(partial(fit, X, y, first.weights, first.biases, network.covered))
        note = (
            f"neurons {network.widths[1]} and {len(peer.result.masks)}, "
            f"failed points {len(network.report.unseparated)} and {peer.result.n_failed}"
        )
        what = f"fit {workload.name}, {workload.selection}, n = {workload.width}, against dense"
        ratio = peer.median / ours.median
        rows.append(at_least(f"{what} {name}", str(ours), str(peer), ratio, bar, note))
    return rows


def moons_fit(settings: Settings) -> list[Row]:
    """Fit of moons-1m, random selection, against the dense peer."""
    return _fit_against_dense(settings, settings.sizes.moons_random, 50)


def digits_fit(settings: Settings) -> list[Row]:
    """Fit of digits784-20k, random selection, one versus rest, against the dense peer."""
    return _fit_against_dense(settings, settings.sizes.digits_random, 35)


def digits_wide(settings: Settings) -> list[Row]:
    """Fit of digits784-70k, merged cells, against its first layer's sgemm alone."""
    workload = settings.sizes.more_digits_merge
    ours = _fit(settings, workload)
    network = ours.result
    X, _ = workload.data()
    peer = settings.time_peer(lambda: sgemm_in_blocks(X, network.first.weights))
    stages = ", ".join(f"{name} {s:.3g} s" for name, s in network.report.seconds.items())
    note = f"neurons {network.widths[1]}; {stages}"
    what = f"fit {workload.name}, merge, n = {workload.width}, against its sgemm"
    return [at_most(what, str(ours), str(peer), ours.median / peer.median, 2, note)]


def signs(settings: Settings) -> list[Row]:
    """Exact sign patterns for d >= 64, against sgemm in the same blocks."""
    rows = []
    sizes = settings.sizes
    for d, times, n in [(64, 5, sizes.width), (784, 1, sizes.width), (784, 1, sizes.wide)]:
        generator = np.random.default_rng(d)
        X = generator.standard_normal((times * sizes.sign_rows, d), dtype=np.float32)
        X /= np.linalg.norm(X, axis=1).max()
        weights = generator.standard_normal((n, d), dtype=np.float32)
        hyperplanes = fastmem.Hyperplanes(weights, generator.uniform(-1, 1, n))
        call, peer_call = _signs_calls(X, hyperplanes)
        ours, peer = settings.time_ours(call), settings.time_peer(peer_call)
        note = f"{2 * X.size * n / ours.median / 1e9:.0f} GFLOP/s"
        what = f"sign patterns, {len(X):,} x {d}, n = {n}, against sgemm"
        rows.append(at_most(what, str(ours), str(peer), ours.median / peer.median, 1.25, note))
    return rows


def structured(settings: Settings) -> list[Row]:
    """Structured sign patterns and a fit with them, against the Gaussian first layer's sgemm."""
    workload = settings.sizes.digits_structured
    X, _ = workload.data()
    hyperplanes = structured_planes(X.shape[1], workload.width)
    call, peer_call = _signs_calls(X, hyperplanes)
    ours, peer = settings.time_ours(call), settings.time_peer(peer_call)
    what = (
        f"structured sign patterns, {len(X):,} x {X.shape[1]}, n = {workload.width}, against sgemm"
    )
    ratio = ours.median / peer.median
    rows = [at_most(what, str(ours), str(peer), ratio, 0.15)]
    fit = _fit(settings, workload)
    network = fit.result
    stages = ", ".join(f"{name} {s:.3g} s" for name, s in network.report.seconds.items())
    note = f"neurons {network.widths[1]}; {stages}"
    what = (
        f"fit {workload.name}, structured, merge, n = {workload.width}, against the Gaussian "
        f"first layer's sgemm"
    )
    return [*rows, at_most(what, str(fit), str(peer), fit.median / peer.median, 0.5, note)]


def _signs_calls(
    X: Any, hyperplanes: fastmem.Hyperplanes
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    return (
        lambda: fastmem.sign_patterns(X, hyperplanes),
        lambda: sgemm_in_blocks(X, hyperplanes.weights),
    )


def counts(settings: Settings) -> list[Row]:
    """Full-row counts at 160 words, against FAISS IndexBinaryFlat."""
    sizes = settings.sizes
    problem = Counts(sizes.count_rows, sizes.count_words, sizes.count_masks, all_threads())
    peer_counts = FaissCounts(problem.rows, all_threads())
    ours = settings.time_ours(problem.minima)
    peer = settings.time_peer(lambda: peer_counts.minima(problem.masks))
    words = sizes.count_rows * sizes.count_words * sizes.count_masks
    note = f"{words / ours.median / 1e9:.1f} and {words / peer.median / 1e9:.1f} G words/s"
    what = (
        f"counts, {sizes.count_masks} masks x {sizes.count_rows:,} rows x "
        f"{sizes.count_words} words, against FAISS"
    )
    return [at_least(what, str(ours), str(peer), peer.median / ours.median, 3, note)]


def merge(settings: Settings) -> list[Row]:
    """Second width and fit time of merged cells, against random selection on digits784-20k."""
    merged = _fit(settings, settings.sizes.digits_merge)
    random = _fit(settings, settings.sizes.digits_random)
    narrow, wide = merged.result.widths[1], random.result.widths[1]
    name = settings.sizes.digits_merge.name
    return [
        at_most(
            f"second width {name}, merge : random", f"{narrow}", f"{wide}", narrow / wide, 0.15
        ),
        at_most(
            f"fit time {name}, merge : random",
            str(merged),
            str(random),
            merged.median / random.median,
            2,
        ),
    ]


def compact(settings: Settings) -> list[Row]:
    """What compact=True leaves of a network for digits784-20k, and the size of its file."""
    rows = []
    random = _fit(settings, settings.sizes.digits_random)
    for projection in ("gaussian", "structured"):
        workload = replace(settings.sizes.digits_merge, projection=projection)
        X, y = workload.data()
        whole = _fit(settings, workload).result
        fit = settings.time_ours(partial(workload.fit, compact=True))
        network = fit.result
        note = (
            f"widths {network.widths}, {network.n_parameters:,} parameters; whole {whole.widths}, "
            f"{whole.n_parameters:,}; fit {fit}; training accuracy {network.score(X, y)}"
        )
        what = f"{workload.name}, {projection}, compact: weights not zero, against random"
        few, many = network.n_nonzero, random.result.n_nonzero
        rows.append(at_most(what, f"{few:,}", f"{many:,}", few / many, 0.08, note))
        ours = settings.time_ours(partial(network.predict, X))
        peer = settings.time_ours(partial(whole.predict, X))
        what = f"{workload.name}, {projection}, compact: predict, against without"
        row = at_least(what, str(ours), str(peer), peer.median / ours.median, 5)
        rows.append(row if projection == "gaussian" else replace(row, bar="", met=None))
        size = network.nbytes
        note = f"{8 * size / len(y):.1f} bits a label; without compact {whole.nbytes:,} bytes"
        what = f"{workload.name}, {projection}, compact: model file in KB"
        row = at_most(what, f"{size:,} bytes", "", size / 1000, 48, note)
        rows.append(row if projection == "structured" else replace(row, bar="", met=None))
    return rows


def accuracy(settings: Settings) -> list[Row]:
    """Unseen points, 30 % held out, by margin; against 1-nearest-neighbour less one point."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neighbors import KNeighborsClassifier

    sizes = settings.sizes
    bundled = load_digits(return_X_y=True)
    rows = []
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
            row = at_least(what, f"{mean:.4f}", f"{nearest:.4f}", mean - nearest, -0.01, note)
            rows.append(row if margin == 1 else replace(row, bar="", met=None))
    return rows


def threads(settings: Settings) -> list[Row]:
    """Two threads against one, on what is not bound by memory."""
    sizes = settings.sizes
    rows = []
    moons, digits = sizes.moons_random, sizes.digits_random
    calls: list[tuple[str, Callable[[int], Any]]] = []
    for workload in (moons, digits, sizes.digits_merge):
        calls.append(
            (
                f"fit {workload.name}, {workload.selection}",
                lambda n, workload=workload: workload.fit(n_threads=n),
            )
        )
    network, (X, _) = _fit(settings, digits).result, digits.data()
    calls.append(("predict digits784-20k, random", lambda n: network.predict(X, n_threads=n)))
    calls.append(
        (
            "sign patterns digits784-20k",
            lambda n: fastmem.sign_patterns(X, network.first, n_threads=n),
        )
    )
    planes = structured_planes(X.shape[1], sizes.structured)
    calls.append(
        ("structured sign patterns", lambda n: fastmem.sign_patterns(X, planes, n_threads=n))
    )
    problems = {
        n: Counts(sizes.count_rows, sizes.count_words, sizes.count_masks, n) for n in (1, 2)
    }
    calls.append(("counts, 160 words", lambda n: problems[n].minima()))
    for what, call in calls:
        one, two = settings.time_ours(partial(call, 1)), settings.time_ours(partial(call, 2))
        ratio = one.median / two.median
        rows.append(at_least(f"2 threads against 1: {what}", str(two), str(one), ratio, 1.8))
    return rows


def predict(settings: Settings) -> list[Row]:
    """Prediction of the training points of each workload, against a dense forward pass."""
    sizes = settings.sizes
    workloads = [
        sizes.moons_random,
        sizes.moons_merge,
        sizes.digits_random,
        sizes.digits_merge,
        replace(sizes.digits_random, projection="structured"),
        replace(sizes.digits_merge, projection="structured"),
        sizes.more_digits_merge,
        sizes.digits_structured,
    ]
    return [_predict(settings, workload) for workload in workloads]


def _predict(settings: Settings, workload: Workload) -> Row:
    network = _fit(settings, workload).result
    X, _ = workload.data()
    dense = DenseNetwork.of(network)
    ours = settings.time_ours(lambda: network.predict(X))
    peer = settings.time_peer(lambda: dense.predict(X))
    disagree = int((network.classes_[peer.result] != ours.result).sum())
    note = f"widths {network.widths[0]} and {network.widths[1]}; {disagree} predictions differ"
    what = f"predict {workload.name}, {workload.projection}, {workload.selection}, against dense"
    return at_least(what, str(ours), str(peer), peer.median / ours.median, 30, note)


def memory(settings: Settings) -> list[Row]:
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


def imports(settings: Settings) -> list[Row]:
    """Import of fastmem beyond that of numba, in fresh processes."""
    code = """
import time
start = time.perf_counter()
import numba
middle = time.perf_counter()
import fastmem
print(middle - start, time.perf_counter() - middle)
"""
    in_fresh_process(code)
    pairs = [[float(v) for v in in_fresh_process(code).split()] for _ in range(settings.runs)]
    numba_alone, beyond = (median(column) for column in zip(*pairs, strict=True))
    return [
        at_most(
            "import fastmem beyond import numba, in s",
            duration(beyond),
            f"{duration(numba_alone)} for numba",
            beyond,
            0.2,
            f"median of {settings.runs} processes",
        )
    ]


def first_fit(settings: Settings) -> list[Row]:
    """First fit in a new process with its kernels cached, less the second."""
    rows = []
    for what, load in {
        "moons, 20,000 points": (
            "from fastmem.datasets import unit_moons; X, y = unit_moons(20_000)"
        ),
        "scikit-learn's digits": (
            "from sklearn.datasets import load_digits; X, y = load_digits(return_X_y=True)"
        ),
    }.items():
        code = f"""
import time
import fastmem
{load}
def seconds():
    start = time.perf_counter()
    fastmem.interpolate(X, y, seed=0)
    return time.perf_counter() - start
print(seconds(), seconds())
"""
        with tempfile.TemporaryDirectory() as empty:
            compiling = float(in_fresh_process(code, NUMBA_CACHE_DIR=empty).split()[0])
        in_fresh_process(code)
        pairs = [[float(v) for v in in_fresh_process(code).split()] for _ in range(settings.runs)]
        first, second = (median(column) for column in zip(*pairs, strict=True))
        rows.append(
            at_most(
                f"first fit less second, {what}, in s",
                duration(first),
                f"{duration(second)} for the second",
                median(one - two for one, two in pairs),
                1.0,
                f"median of {settings.runs} processes; {duration(compiling)} with nothing cached",
            )
        )
    return rows


BARS: dict[str, Callable[[Settings], list[Row]]] = {
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
    "threads": threads,
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
    print(f"| {' | '.join(COLUMNS)} |")
    print("| --- " * len(COLUMNS) + "|", flush=True)
    rows: list[Row] = []
    for name in options.names or BARS:
        for row in BARS[name](settings):
            if options.smoke:
                row = replace(row, met=None)
            rows.append(row)
            print(f"| {' | '.join(row.cells())} |", flush=True)
        gc.collect()
    if options.json:
        table = [dict(zip(COLUMNS, row.cells(), strict=True)) for row in rows]
        options.json.write_text(json.dumps({"machine": state, "rows": table}, indent=1) + "\n")
    print()
    if options.smoke:
        print("Tiny sizes: that it runs is all that this shows.")
        return 0
    missed = sum(row.met is False for row in rows)
    print(f"{len(rows) - missed} of {len(rows)} bars met.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
