"""Prediction of the training points, against a dense forward pass in row blocks."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest

import fastmem
from bench.peers import DenseNetwork
from bench.workloads import Sizes, Workload

WORKLOADS = ["moons_random", "moons_merge", "digits_random", "digits_merge"]


@cache
def fitted(workload: Workload) -> fastmem.Network:
    """Memorise a workload, once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        return workload.fit()


@pytest.mark.parametrize("name", WORKLOADS)
def test_predict(benchmark: Any, sizes: Sizes, name: str) -> None:
    workload: Workload = getattr(sizes, name)
    network = fitted(workload)
    benchmark.group = f"predict, {workload.name}, {workload.selection}"
    predicted = benchmark.pedantic(
        network.predict, (workload.data()[0],), rounds=5, warmup_rounds=1
    )
    assert predicted.shape == workload.data()[1].shape


@pytest.mark.parametrize("name", WORKLOADS)
def test_peer_dense(benchmark: Any, sizes: Sizes, name: str) -> None:
    workload: Workload = getattr(sizes, name)
    network = fitted(workload)
    X = workload.data()[0]
    peer = DenseNetwork.of(network)
    benchmark.group = f"predict, {workload.name}, {workload.selection}"
    codes = benchmark.pedantic(peer.predict, (X,), rounds=3, warmup_rounds=1)
    agree = np.mean(network.classes_[codes] == network.predict(X))
    assert agree > 0.99
