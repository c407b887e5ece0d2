"""Distances within mutual coverings.

No library makes a mutual covering. The peer is what a dense one could not do without: the distance
of every point to every centre, once, by SciPy, on one thread. Prunings leave most of them out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bench.cases import Case, Facts, Run, Side, Work
from bench.peers import distances_in_blocks
from bench.workloads import Sizes
from fastmem.datasets import clusters, digits784, unit_moons
from fastmem.geometry import MutualCovering, mutual_covering

MOST_CENTRES = 200


def covering(data: Callable[[Sizes], tuple[Any, Any]], sizes: Sizes, n_threads: int) -> Work:
    """Cover two classes by balls, 200 at most."""
    X, y = data(sizes)

    def cover() -> MutualCovering:
        return mutual_covering(X, y, seed=0, n_threads=n_threads, max_centres=MOST_CENTRES)

    def check(found: MutualCovering) -> Facts:
        for code, centres, radii in (
            (0, found.centres_negative, found.radii_negative),
            (1, found.centres_positive, found.radii_positive),
        ):
            code = code if found.covered == 0 else 1 - code
            rows = np.flatnonzero((y == code) & (found.members >= 0))[:100]
            home = found.members[rows]
            reach = np.linalg.norm(X[rows].astype(float) - X[centres[home]], axis=1)
            assert (reach <= radii[home] * (1 + 1e-12)).all()
        return {"balls": (found.n_negative, found.n_positive), "uncovered": found.n_uncovered}

    def scipy() -> Side:
        found = cover()
        centres = X[np.concatenate([found.centres_negative, found.centres_positive])]
        return Side(lambda: distances_in_blocks(X, centres))

    return Work(Side(cover, check), {"SciPy": scipy})


def _clusters(sizes: Sizes) -> tuple[Any, Any]:
    return clusters(sizes.ball_points, 10, 16)


def _moons(sizes: Sizes) -> tuple[Any, Any]:
    return unit_moons(sizes.ball_points)


def _digits(sizes: Sizes) -> tuple[Any, Any]:
    X, y = digits784(sizes.ball_points // 20)
    return X, y % 2


CASES = [
    Case(f"covering-{name}", partial(covering, data), ("SciPy",))
    for name, data in (("clusters", _clusters), ("moons", _moons), ("digits", _digits))
]


def test_distances(case: Case, side: str, run: Run) -> None:
    run(case, side)
