"""The whole fit on moons-1m and digits784-20k, both selections, against the dense peer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import fastmem
from bench.peers import fit_as_published, fit_dense
from bench.workloads import Sizes, Workload

WORKLOADS = ["moons_random", "moons_merge", "digits_random", "digits_merge"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_fit(benchmark: Any, sizes: Sizes, name: str) -> None:
    workload: Workload = getattr(sizes, name)
    X, y = workload.data()
    benchmark.group = f"fit, {workload.name}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        network = benchmark.pedantic(workload.fit, rounds=5, warmup_rounds=1)
    benchmark.extra_info["widths"] = network.widths
    assert network.report is not None
    wrong = np.flatnonzero(network.predict(X) != y)
    assert np.isin(wrong, network.report.unseparated).all()


@pytest.mark.parametrize("fit", [fit_as_published, fit_dense])
@pytest.mark.parametrize("name", ["moons_random", "digits_random"])
def test_peer_dense(benchmark: Any, sizes: Sizes, name: str, fit: Any) -> None:
    workload: Workload = getattr(sizes, name)
    X, y = workload.data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        network = workload.fit()
    assert network.report is not None
    benchmark.group = f"fit, {workload.name}"
    first = network.first
    peer = benchmark.pedantic(fit, (X, y, first.weights, first.biases, network.covered))
    benchmark.extra_info["widths"] = (len(peer.weights), len(peer.masks))
    # The same points fail with the same hyperplanes, whatever the order of selection, but for
    # the signs that float32 arithmetic gets wrong.
    assert abs(peer.n_failed - len(network.report.unseparated)) <= 1 + len(X) // 1000
