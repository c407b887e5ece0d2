"""The second layer alone, chosen as in the paper by counts and cover, against the same dense."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from bench.cases import Case, Facts, Run, Side, Work
from bench.parts import Selection
from bench.peers import dense_patterns, select_dense
from bench.workloads import Sizes, Workload


def select(workload: str, sizes: Sizes, n_threads: int) -> Work:
    """Choose the neurons of a workload, named by `Sizes`, given its sign patterns."""
    chosen: Workload = getattr(sizes, workload)
    problem = Selection(chosen, n_threads)

    def check(covers: Any) -> Facts:
        assert all(cover.done for cover in covers)
        return {"neurons": sum(cover.width for cover in covers)}

    def dense() -> Side:
        X, y = chosen.data()
        by_class = np.argsort(y, kind="stable")
        starts = np.searchsorted(y[by_class], np.arange(y.max() + 2))
        first = problem.hyperplanes
        patterns = dense_patterns(X[by_class], first.weights, first.biases)
        return Side(
            lambda: select_dense(patterns, starts, problem.codes),
            lambda found: {"neurons": len(found[0])},
            rounds=1,
        )

    return Work(Side(problem.select, check), {"dense": dense})


CASES = [
    Case("select-moons", partial(select, "moons_random")),
    Case("select-digits", partial(select, "digits_random"), ("dense",)),
]


def test_selection(case: Case, side: str, run: Run) -> None:
    run(case, side)
