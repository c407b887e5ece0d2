"""How fits scale: with points, dimension, first width, classes and threads.

Every study returns points (see `bench.report.points.point`): medians of several runs with their
stages, widths and evaluations, beside them the dense peers as long as they are not hopeless, and
what the machine needs for the first layer alone, measured in the same run.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastmem
from bench import bench_counts
from bench.measuring import (
    FEWEST_RUNS,
    Timing,
    all_threads,
    in_fresh_process,
    peak_of_this_process,
    time_alone,
)
from bench.peers import fit_as_published, fit_dense
from bench.report import ceilings
from bench.report.points import Point, point
from bench.threads import THREADED
from bench.workloads import Sizes
from fastmem.datasets import clusters, digits784, random_labels, unit_moons

Points = NDArray[np.float32]
Labels = NDArray[np.intp]

CLUSTERS = 10
"""Clusters of each class in the studies with a fixed geometry."""
DIMENSION = 16
"""Their dimension."""
DENSE_BYTES = 1 << 31
"""A dense peer whose patterns alone take more than this is not run."""
DENSE_READ = 40e9
"""Nor is one that must read more than this: all patterns for each candidate, 10 GB a second."""
PEER_SECONDS = 4.0
"""After a point at which a peer took longer than this, its line ends."""


@dataclass(frozen=True)
class Scale:
    """Sizes of all studies.

    Attributes
    ----------
    samples : tuple of int
        Points, for moons and for clusters.
    samples_width : int
        Hyperplanes of these two.
    dimensions : tuple of int
    dimension_samples, dimension_width : int
    widths : tuple of int
    width_samples : int
        Pictures of digits784.
    classes : tuple of int
    classes_samples, classes_width, classes_clusters : int
        ``classes_clusters`` is half the number of clusters that become classes.
    random_samples : tuple of int
    random_dimension, random_width : int
    popcount_repeats : int
    runs : int
    budget : float
        Seconds after which a point gets fewer runs, and at which one run is enough.
    """

    samples: tuple[int, ...]
    samples_width: int
    dimensions: tuple[int, ...]
    dimension_samples: int
    dimension_width: int
    widths: tuple[int, ...]
    width_samples: int
    classes: tuple[int, ...]
    classes_samples: int
    classes_width: int
    classes_clusters: int
    random_samples: tuple[int, ...]
    random_dimension: int
    random_width: int
    popcount_repeats: int
    runs: int
    budget: float

    def timing(self, call: Callable[[], Any]) -> Timing:
        """Time a call within the budget."""
        return time_alone(call, self.runs, slow=self.budget, budget=self.budget)


FULL = Scale(
    samples=(1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000),
    samples_width=256,
    dimensions=(2, 6, 16, 48, 128, 384, 1_024, 3_072),
    dimension_samples=20_000,
    dimension_width=2_048,
    widths=(64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384),
    width_samples=20_000,
    classes=(2, 3, 5, 10, 20, 50, 100),
    classes_samples=100_000,
    classes_width=1_024,
    classes_clusters=100,
    random_samples=(1_000, 3_000, 10_000, 30_000, 100_000),
    random_dimension=100,
    random_width=1_024,
    popcount_repeats=200_000,
    runs=5,
    budget=4.0,
)
SMOKE = Scale(
    samples=(300, 3_000),
    samples_width=64,
    dimensions=(2, 8, 32),
    dimension_samples=300,
    dimension_width=64,
    widths=(64, 128, 256),
    width_samples=200,
    classes=(2, 4, 8),
    classes_samples=800,
    classes_width=128,
    classes_clusters=8,
    random_samples=(100, 400),
    random_dimension=10,
    random_width=64,
    popcount_repeats=100,
    runs=1,
    budget=1.0,
)


def samples(scale: Scale) -> list[Point]:
    """Two moons from thousands to millions: d = 2, a fixed width."""
    points: list[Point] = []
    peers = DensePeers(scale)
    for n_samples in scale.samples:
        X, y = unit_moons(n_samples)
        points += _all_series(peers, "moons", n_samples, X, y, scale.samples_width)
    return points


def clusters_flat(scale: Scale) -> list[Point]:
    """Clusters from thousands to millions, a fresh process for each: widths, time, memory."""
    points: list[Point] = []
    peers = DensePeers(scale)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.npz"
        for n_samples in scale.samples:
            X, y = clusters(n_samples, CLUSTERS, DIMENSION)
            np.savez(path, X=X, y=y)
            for selection in ("merge", "random"):
                call = f"fit_with_memory({str(path)!r}, {n_samples}, {selection!r}, {scale!r})"
                code = f"from bench.report.scaling import Scale, fit_with_memory\nprint({call})"
                points += json.loads(in_fresh_process(code).splitlines()[-1])
            points += peers.fit("clusters", n_samples, X, y, scale.samples_width)
            points += _limits(scale, "clusters", n_samples, X, scale.samples_width)
    return points


def fit_with_memory(path: str, n_samples: int, selection: str, scale: Scale) -> str:
    """Fit what a file holds, in a process of its own; return the points as JSON.

    ``extra_bytes`` is what the first fit added to the peak of the process, which has loaded its
    points and its kernels before: the fourth invariant allows the packed patterns and 256 MB.
    """
    with np.load(path) as file:
        X, y = file["X"], file["y"]
    arguments: dict[str, Any] = {"width": scale.samples_width, "selection": selection, "seed": 0}
    with quietly():
        fastmem.interpolate(X[:500], y[:500], **arguments)
        before = peak_of_this_process()
        fastmem.interpolate(X, y, **arguments)
        extra = peak_of_this_process() - before
    fit, *others = _fit(scale, "clusters", n_samples, X, y, selection, **arguments)
    fit["extra_bytes"] = extra
    fit["input_bytes"] = X.nbytes + y.nbytes
    fit["pattern_bytes"] = n_samples * (-(-scale.samples_width // 64)) * 8
    return json.dumps([fit, *others])


def dimension(scale: Scale) -> list[Point]:
    """Gaussian clusters in few and many dimensions."""
    points: list[Point] = []
    peers = DensePeers(scale)
    for d in scale.dimensions:
        X, y = clusters(scale.dimension_samples, CLUSTERS, d)
        points += _all_series(peers, "clusters", d, X, y, scale.dimension_width)
    return points


def width(scale: Scale) -> list[Point]:
    """Digits at 28 x 28 pixels through few and many hyperplanes."""
    X, y = digits784(scale.width_samples)
    points: list[Point] = []
    peers = DensePeers(scale)
    for n in scale.widths:
        points += _all_series(peers, "digits784", n, X, y, n)
    return points


def classes(scale: Scale) -> list[Point]:
    """The same clusters, labelled as few and many classes."""
    X, _ = clusters(scale.classes_samples, scale.classes_clusters, DIMENSION)
    cluster = np.arange(len(X)) % (2 * scale.classes_clusters)
    points: list[Point] = []
    for n_classes in scale.classes:
        y = cluster % n_classes
        at = partial(_fit, scale, "clusters", n_classes, X, y, width=scale.classes_width)
        points += at("merge", selection="merge")
        points += at("merge, all classes covered", selection="merge", covered="all")
        points += at("random", selection="random")
        points += _limits(scale, "clusters", n_classes, X, scale.classes_width)
    return points


def threads(scale: Scale, sizes: Sizes) -> list[Point]:
    """Fit, predict and each compute-bound kernel on one thread, two and so on to all cores."""
    cores = all_threads()
    numbers = sorted({2**i for i in range(cores.bit_length())} | {cores})
    points: list[Point] = []
    for case in THREADED:
        with quietly():
            timings = case.on(sizes, numbers, scale.runs, slow=scale.budget, budget=scale.budget)
        for n_threads, timing in zip(numbers, timings, strict=True):
            points.append(point(case.panel, case.series, n_threads, timing))
    return points


def coin_flips(scale: Scale) -> list[Point]:
    """Gaussian points with random labels: the worst case for a cover."""
    points: list[Point] = []
    peers = DensePeers(scale)
    for n_samples in scale.random_samples:
        X, y = random_labels(n_samples, scale.random_dimension)
        points += _all_series(peers, "random labels", n_samples, X, y, scale.random_width)
    return points


def counts(scale: Scale, sizes: Sizes) -> list[Point]:
    """Counts of masks over whole rows, against FAISS and the machine's limits.

    ``rate`` of a point is in words a second.
    """
    points: list[Point] = []
    limits = ceilings.counts(scale.runs, scale.popcount_repeats)
    for n_words in bench_counts.WORDS:
        work = bench_counts.counts(n_words, sizes, all_threads())
        ours, peer = work.in_turns("FAISS", runs=scale.runs)
        rates = limits | {
            "fastmem": (ours, work.operations),
            "FAISS IndexBinaryFlat": (peer, work.operations),
        }
        for series, (timing, words) in rates.items():
            points.append(point("counts", series, n_words, timing, rate=words / timing.median))
    return points


@contextmanager
def quietly() -> Iterator[None]:
    """Let points that a given width leaves unseparated cause no warning: the tables count them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        yield


def _fit(
    scale: Scale, panel: str, x: float, X: Points, y: Labels, series: str, **arguments: Any
) -> list[Point]:
    """Measure a fit and the prediction of its points."""
    stages: list[dict[str, float]] = []

    def fit() -> fastmem.Network:
        net = fastmem.interpolate(X, y, **({"seed": 0} | arguments))
        assert net.report is not None
        stages.append(net.report.seconds)
        return net

    with quietly():
        fitting = scale.timing(fit)
    stages = stages[-len(fitting.seconds) :]
    net = fitting.result
    report = net.report
    threads = arguments.get("n_threads")
    predicting = scale.timing(lambda: net.predict(X, n_threads=threads))
    wrong = int((predicting.result != y).sum())
    facts = {
        "stages": {name: median(run[name] for run in stages) for name in stages[0]},
        "n_samples": len(X),
        "first_width": net.widths[0],
        "second_width": net.widths[1],
        "evaluations": report.evaluations,
        "unseparated": len(report.unseparated),
        "wrong": wrong,
        "nbytes": net.nbytes,
    }
    return [
        point(panel, series, x, fitting, **facts),
        point(panel, f"predict, {series}", x, predicting),
    ]


class DensePeers:
    """The dense peers along one study: each line ends where it gets slow or too large."""

    def __init__(self, scale: Scale) -> None:
        self.fits = scale
        few = min(scale.runs, FEWEST_RUNS)
        self.scale = replace(scale, runs=few, budget=min(scale.budget, PEER_SECONDS))
        self.open = {
            "dense NumPy, authors' steps": fit_as_published,
            "dense NumPy, tuned": fit_dense,
        }

    def fit(self, panel: str, x: float, X: Points, y: Labels, width: int) -> list[Point]:
        """Time the peers that still run, with the hyperplanes of fastmem's random selection."""
        n_bytes = 4 * len(X) * width
        if not self.open or n_bytes > DENSE_BYTES:
            return []
        with quietly():
            net = fastmem.interpolate(X, y, width=width, selection="random", seed=0)
        assert net.report is not None
        if n_bytes * (net.widths[1] + len(net.report.unseparated)) > DENSE_READ:
            return []
        first = net.first
        points = []
        for series, call in list(self.open.items()):
            timing = self.scale.timing(
                partial(call, X, y, first.weights, first.biases, net.covered)
            )
            points.append(point(panel, series, x, timing, second_width=len(timing.result.masks)))
            if timing.median > PEER_SECONDS:
                del self.open[series]
        return points


def _all_series(
    peers: DensePeers, panel: str, x: float, X: Points, y: Labels, width: int
) -> list[Point]:
    """Measure both selections, the peers that still run, and the limits."""
    points: list[Point] = []
    for selection in ("merge", "random"):
        points += _fit(peers.fits, panel, x, X, y, selection, selection=selection, width=width)
    points += peers.fit(panel, x, X, y, width)
    return points + _limits(peers.fits, panel, x, X, width)


def _limits(scale: Scale, panel: str, x: float, X: Points, width: int) -> list[Point]:
    sgemm = ceilings.sgemm(X, width, scale.runs, scale.budget)
    copied = ceilings.copy(ceilings.first_layer_bytes(X, width), scale.runs)
    return [
        point(panel, "sgemm of the first layer", x, sgemm),
        point(panel, "memory copy, points and patterns", x, copied),
    ]
