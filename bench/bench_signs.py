"""Sign patterns: the exact ones of fastmem against sgemm alone, in the same blocks."""

from __future__ import annotations

from functools import partial

import numpy as np

import fastmem
from bench.cases import Case, Facts, Run, Side, Work
from bench.peers import dense_patterns, sgemm_in_blocks
from bench.workloads import Points, Sizes

SHAPES = {2: 50, 16: 10, 64: 5, 128: 4, 784: 1}
"""How many times ``sign_rows`` points in so many dimensions: about equal work for each."""


def gaussian(d: int, n_rows: int, width: int) -> tuple[Points, fastmem.Hyperplanes]:
    """Gaussian points within the unit ball and Gaussian hyperplanes with biases up to 1."""
    generator = np.random.default_rng(d)
    X = generator.standard_normal((n_rows, d), dtype=np.float32)
    X /= np.linalg.norm(X, axis=1).max()
    weights = generator.standard_normal((width, d), dtype=np.float32)
    return X, fastmem.Hyperplanes(weights, generator.uniform(-1, 1, width))


def signs(d: int, times: int, sizes: Sizes, n_threads: int, width: str = "width") -> Work:
    """Signs of Gaussian points in d dimensions."""
    X, hyperplanes = gaussian(d, times * sizes.sign_rows, getattr(sizes, width))
    n = len(hyperplanes)

    def check(words: np.ndarray) -> Facts:
        some = slice(0, 1000)
        dense = dense_patterns(X[some], hyperplanes.weights, hyperplanes.biases)
        octets = words[some].astype("<u8").view(np.uint8)
        bits = np.unpackbits(octets, axis=1, count=n, bitorder="little")
        # Float32 arithmetic decides a few bits in a million wrongly; fastmem none.
        assert (bits != dense).mean() < 1e-4
        return {}

    return Work(
        Side(lambda: fastmem.sign_patterns(X, hyperplanes, n_threads=n_threads), check),
        {"sgemm": lambda: Side(lambda: sgemm_in_blocks(X, hyperplanes.weights))},
        what=f"{len(X):,} x {d}, n = {n}",
        operations=2.0 * X.size * n,
    )


CASES = [Case(f"signs-{d}", partial(signs, d, times), ("sgemm",)) for d, times in SHAPES.items()]
CASES.append(Case("signs-784-wide", partial(signs, 784, 1, width="wide"), ("sgemm",)))


def test_signs(case: Case, side: str, run: Run) -> None:
    run(case, side)
