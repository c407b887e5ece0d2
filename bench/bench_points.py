"""The passes over the points before the hyperplanes, against NumPy, which runs on one thread."""

from __future__ import annotations

import numpy as np

from bench.cases import Case, Facts, Run, Side, Work
from bench.parts import Extents
from bench.peers import equal_rows, mean_and_radius
from bench.workloads import Sizes


def fingerprints(sizes: Sizes, n_threads: int) -> Work:
    """Look for equal points with different labels."""
    X, y = sizes.digits_random.data()
    ours = Side(Extents(X, y, n_threads).refuse)

    def check(number: int) -> Facts:
        assert number == 0
        return {}

    return Work(ours, {"NumPy": lambda: Side(lambda: equal_rows(X), check)})


def extent(sizes: Sizes, n_threads: int) -> Work:
    """Find the mean of the points and the largest distance from it."""
    X, y = sizes.digits_random.data()

    def check(found: tuple[np.ndarray, float]) -> Facts:
        mean, radius = mean_and_radius(X)
        assert np.allclose(found[0], mean, atol=1e-5)
        assert np.isclose(found[1], radius, rtol=1e-5)
        return {"radius": found[1]}

    return Work(
        Side(Extents(X, y, n_threads).extent, check),
        {"NumPy": lambda: Side(lambda: mean_and_radius(X), check)},
    )


CASES = [Case("fingerprints", fingerprints, ("NumPy",)), Case("extent", extent, ("NumPy",))]


def test_points(case: Case, side: str, run: Run) -> None:
    run(case, side)
