"""Prediction, and margins of many neurons, against a dense forward pass in row blocks."""

from __future__ import annotations

from functools import partial

import numpy as np

import fastmem
from bench.cases import Case, Facts, Run, Side, Work
from bench.peers import DenseNetwork
from bench.workloads import Points, Sizes, Workload


def _work(network: fastmem.Network, X: Points, n_threads: int, what: str) -> Work:
    def predict() -> np.ndarray:
        return network.predict(X, n_threads=n_threads)

    def check(predicted: np.ndarray) -> Facts:
        assert predicted.shape == (len(X),)
        return {"widths": network.widths}

    def agree(predicted: np.ndarray) -> Facts:
        differ = int((predicted != predict()).sum())
        assert differ <= 0.01 * len(X)
        return {"differ": differ}

    def dense() -> Side:
        peer = DenseNetwork.of(network)
        return Side(lambda: network.classes_[peer.predict(X)], agree, rounds=3)

    return Work(Side(predict, check), {"dense": dense}, what=what)


def predict(workload: str, sizes: Sizes, n_threads: int) -> Work:
    """Predict the points of a workload, named by `Sizes`, that was memorised."""
    chosen: Workload = getattr(sizes, workload)
    network = chosen.fit(n_threads=n_threads)
    n, m = network.widths
    what = f"{chosen.name}, {chosen.projection}, {chosen.selection}, widths {n} and {m}"
    return _work(network, chosen.data()[0], n_threads, what)


def margins(times: int, sizes: Sizes, n_threads: int) -> Work:
    """Predict points of 2 features by many random neurons, so that margins are most of it."""
    generator = np.random.default_rng(0)
    X = generator.uniform(-1, 1, (times * sizes.sign_rows, 2)).astype(np.float32)
    weights = generator.standard_normal((sizes.width, 2), dtype=np.float32)
    first = fastmem.Hyperplanes(weights, generator.uniform(-1, 1, sizes.width))
    neurons = 8 * sizes.count_masks
    masks = generator.integers(2**64, size=(neurons, first.n_words), dtype=np.uint64)
    owners = np.sort(np.arange(neurons) % 2).astype(np.int32)
    second = fastmem.CoverLayer(masks, np.full(neurons, 9, np.int32), owners)
    network = fastmem.Network(np.arange(3), first, second, (0, 1))
    return _work(network, X, n_threads, f"{len(X):,} x 2, {neurons} neurons")


WORKLOADS = (
    "moons_random",
    "moons_merge",
    "digits_random",
    "digits_merge",
    "digits_random_structured",
    "digits_merge_structured",
    "more_digits_merge",
    "more_digits_structured",
)
MEMORISED = [
    Case(f"predict-{name.replace('_', '-')}", partial(predict, name), ("dense",))
    for name in WORKLOADS
]
CASES = [Case("margins", partial(margins, 4), ("dense",)), *MEMORISED]


def test_predict(case: Case, side: str, run: Run) -> None:
    run(case, side)
