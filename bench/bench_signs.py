"""Sign patterns: the exact ones of fastmem against sgemm in the same blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmem
from bench.parts import structured_planes
from bench.peers import dense_patterns, sgemm_in_blocks
from bench.workloads import Points, Sizes

SHAPES = [(2, 50), (16, 10), (64, 5), (784, 1)]
"""Dimension, and how many times the smallest number of rows: about equal work for each."""


def problem(d: int, n_rows: int, width: int) -> tuple[Points, fastmem.Hyperplanes]:
    """Gaussian points within the unit ball and Gaussian hyperplanes with biases up to 1."""
    generator = np.random.default_rng(d)
    X = generator.standard_normal((n_rows, d), dtype=np.float32)
    X /= np.linalg.norm(X, axis=1).max()
    weights = generator.standard_normal((width, d), dtype=np.float32)
    return X, fastmem.Hyperplanes(weights, generator.uniform(-1, 1, width))


@pytest.mark.parametrize(("d", "times"), SHAPES)
def test_sign_patterns(benchmark: Any, sizes: Sizes, d: int, times: int) -> None:
    X, hyperplanes = problem(d, times * sizes.sign_rows, sizes.width)
    benchmark.group = f"signs, d = {d}"
    words = benchmark.pedantic(fastmem.sign_patterns, (X, hyperplanes), rounds=5, warmup_rounds=1)
    some = slice(0, 1000)
    dense = dense_patterns(X[some], hyperplanes.weights, hyperplanes.biases)
    octets = words[some].astype("<u8").view(np.uint8)
    bits = np.unpackbits(octets, axis=1, count=len(hyperplanes), bitorder="little")
    # Float32 arithmetic decides a few bits in a million wrongly; fastmem none.
    assert (bits != dense).mean() < 1e-4


@pytest.mark.parametrize(("d", "times"), SHAPES)
def test_structured_sign_patterns(benchmark: Any, sizes: Sizes, d: int, times: int) -> None:
    X, _ = problem(d, times * sizes.sign_rows, sizes.width)
    hyperplanes = structured_planes(d, sizes.width)
    benchmark.group = f"signs, d = {d}"
    words = benchmark.pedantic(fastmem.sign_patterns, (X, hyperplanes), rounds=5, warmup_rounds=1)
    explicit = fastmem.Hyperplanes(hyperplanes.weights, hyperplanes.biases)
    some = slice(0, 1000)
    assert (words[some] == fastmem.sign_patterns(X[some], explicit)).all()


@pytest.mark.parametrize(("d", "times"), SHAPES)
def test_peer_sgemm(benchmark: Any, sizes: Sizes, d: int, times: int) -> None:
    X, hyperplanes = problem(d, times * sizes.sign_rows, sizes.width)
    benchmark.group = f"signs, d = {d}"
    benchmark.pedantic(sgemm_in_blocks, (X, hyperplanes.weights), rounds=5, warmup_rounds=1)
