"""Structured sign patterns, by transforms, against Gaussian ones and the sgemm that those need."""

from __future__ import annotations

from functools import partial

import numpy as np

import fastmem
from bench.bench_signs import SHAPES, gaussian
from bench.cases import Case, Facts, Run, Side, Work
from bench.parts import structured_planes
from bench.peers import sgemm_in_blocks
from bench.workloads import Points, Sizes


def _work(X: Points, width: int, n_threads: int) -> Work:
    hyperplanes = structured_planes(X.shape[1], width)

    def check(words: np.ndarray) -> Facts:
        explicit = fastmem.Hyperplanes(hyperplanes.weights, hyperplanes.biases)
        some = slice(0, 1000)
        assert (words[some] == fastmem.sign_patterns(X[some], explicit)).all()
        return {}

    def gaussian_rows() -> Side:
        explicit = fastmem.Hyperplanes(hyperplanes.weights, hyperplanes.biases)
        return Side(lambda: fastmem.sign_patterns(X, explicit, n_threads=n_threads))

    def sgemm() -> Side:
        weights = hyperplanes.weights
        return Side(lambda: sgemm_in_blocks(X, weights))

    return Work(
        Side(lambda: fastmem.sign_patterns(X, hyperplanes, n_threads=n_threads), check),
        {"Gaussian": gaussian_rows, "sgemm": sgemm},
        what=f"{len(X):,} x {X.shape[1]}, n = {width}",
    )


def structured(d: int, times: int, sizes: Sizes, n_threads: int) -> Work:
    """Signs of Gaussian points in d dimensions."""
    return _work(gaussian(d, times * sizes.sign_rows, 1)[0], sizes.width, n_threads)


def of_digits(sizes: Sizes, n_threads: int) -> Work:
    """Signs of the digits of the workload digits784-70k."""
    workload = sizes.more_digits_structured
    return _work(workload.data()[0], workload.width, n_threads)


PEERS = ("Gaussian", "sgemm")
CASES = [
    Case(f"structured-{d}", partial(structured, d, times), PEERS) for d, times in SHAPES.items()
]
CASES.append(Case("structured-digits", of_digits, PEERS))


def test_structured(case: Case, side: str, run: Run) -> None:
    run(case, side)
