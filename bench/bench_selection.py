"""The second layer alone, both selections, against the dense peer's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.parts import Selection, all_threads
from bench.peers import dense_patterns, select_dense
from bench.workloads import Sizes


@pytest.mark.parametrize("selection", ["random", "merge"])
@pytest.mark.parametrize("workload", ["moons_random", "digits_random"])
def test_select(benchmark: Any, sizes: Sizes, workload: str, selection: str) -> None:
    problem = Selection(getattr(sizes, workload), all_threads())
    benchmark.group = f"selection, {problem.workload.name}"
    covers = benchmark.pedantic(
        problem.select, setup=lambda: ((problem.covers(), selection), {}), rounds=5, warmup_rounds=1
    )
    benchmark.extra_info["neurons"] = sum(cover.width for cover in covers)
    assert all(cover.done for cover in covers)


def test_peer_dense(benchmark: Any, sizes: Sizes) -> None:
    problem = Selection(sizes.digits_random, all_threads())
    X, y = problem.workload.data()
    by_class = np.argsort(y, kind="stable")
    starts = np.searchsorted(y[by_class], np.arange(y.max() + 2))
    first = problem.hyperplanes
    patterns = dense_patterns(X[by_class], first.weights, first.biases)
    benchmark.group = f"selection, {problem.workload.name}"
    masks, *_ = benchmark.pedantic(select_dense, (patterns, starts, range(len(starts) - 1)))
    benchmark.extra_info["neurons"] = len(masks)
