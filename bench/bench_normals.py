"""Gaussian weights computed from a key, against NumPy's generator; both on one thread."""

from __future__ import annotations

import numpy as np

import fastmem
from bench.cases import Case, Facts, Run, Side, Work
from bench.workloads import Sizes

COLUMNS = 10_000


def normals(sizes: Sizes, n_threads: int) -> Work:
    """Rows of ten thousand weights; ``n_threads`` changes nothing."""
    n = sizes.width
    numbers = np.arange(0, 2 * n, 2)
    planes = fastmem.SeededHyperplanes(
        1, numbers.astype(np.int32), np.empty((0, COLUMNS), np.float32), np.zeros(n)
    )

    def check(weights: np.ndarray) -> Facts:
        assert weights.shape == (n, COLUMNS)
        assert abs(weights.mean()) < 0.01 and abs(weights.std() - 1) < 0.01
        return {"weights": weights.size}

    generator = np.random.default_rng(0)
    return Work(
        Side(lambda: planes.generated(numbers), check),
        {"NumPy": lambda: Side(lambda: generator.standard_normal((n, COLUMNS), np.float32), check)},
    )


CASES = [Case("normals", normals, ("NumPy",))]


def test_normals(case: Case, side: str, run: Run) -> None:
    run(case, side)
