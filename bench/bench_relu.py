"""Sums of ReLU activations, decided exactly, against the same in dense float32 by BLAS."""

from __future__ import annotations

import numpy as np

from bench.cases import Case, Facts, Run, Side, Work
from bench.parts import least_sums
from bench.peers import relu_sums_in_blocks
from bench.workloads import Codes, Points, Sizes


def _some_digits(sizes: Sizes) -> tuple[Points, Codes]:
    """Return a tenth of the workload: a sum takes an addition where a count takes a 64th of one."""
    X, y = sizes.digits_merge.data()
    return X[: len(X) // 10], y[: len(X) // 10]


def thresholds(sizes: Sizes, n_threads: int) -> Work:
    """Least sums, over the digits of other classes, of the masks of merged cells."""
    network = sizes.digits_merge.fit()
    X, y = _some_digits(sizes)
    first, masks, owners = network.first, network.second.masks, network.second.owners

    def check(least: np.ndarray) -> Facts:
        # float32 arithmetic gets some digits of the smallest sums wrong
        assert np.allclose(least, dense(), rtol=1e-3, atol=1e-4)
        return {"neurons": len(least)}

    def dense() -> np.ndarray:
        least = np.full(len(masks), np.inf, np.float32)
        for start, sums in relu_sums_in_blocks(X, first.weights, first.biases, masks):
            sums[y[start : start + len(sums), None] == owners] = np.inf
            np.minimum(least, sums.min(axis=0), out=least)
        return least

    return Work(
        Side(lambda: least_sums(X, y, network, n_threads), check),
        {"sgemm": lambda: Side(dense)},
    )


def predict(sizes: Sizes, n_threads: int) -> Work:
    """Predict the digits by a ReLU network of merged cells."""
    network = sizes.digits_merge.fit(activation="relu")
    X, y = _some_digits(sizes)
    first, second = network.first, network.second
    owners, first_of = np.unique(second.owners, return_index=True)

    def check(labels: np.ndarray) -> Facts:
        assert network.report is not None
        assert np.isin(np.flatnonzero(labels != y), network.report.unseparated).all()
        return {"widths": network.widths}

    def dense() -> np.ndarray:
        labels = []
        for _, sums in relu_sums_in_blocks(X, first.weights, first.biases, second.masks):
            margins = second.thresholds.astype(np.float32) - sums
            best = np.maximum.reduceat(margins, first_of, axis=1)
            labels.append(network.classes_[owners[best.argmax(axis=1)]])
        return np.concatenate(labels)

    def agree(labels: np.ndarray) -> Facts:
        differ = int((labels != network.predict(X)).sum())
        assert differ <= 0.01 * len(X)
        return {"differ": differ}

    return Work(
        Side(lambda: network.predict(X, n_threads=n_threads), check),
        {"sgemm": lambda: Side(dense, agree)},
    )


CASES = [
    Case("relu-thresholds", thresholds, ("sgemm",)),
    Case("relu-predict", predict, ("sgemm",)),
]


def test_relu(case: Case, side: str, run: Run) -> None:
    run(case, side)
