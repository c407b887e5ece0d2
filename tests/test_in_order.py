"""Prediction in a spatial order: the same margins and labels, where it pays."""

from __future__ import annotations

import warnings

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bounded import a_problem, points_and_planes

import fastmem
from fastmem.datasets import unit_moons
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import check_points
from fastmem.inputs.points import Points
from fastmem.kernels.layout import TILE
from fastmem.network import in_order
from fastmem.network.margins import CountMargins
from fastmem.patterns import sign_patterns, spatial_order
from fastmem.patterns.words import unpacked

LEAST = np.iinfo(np.int64).min


@pytest.fixture(autouse=True)
def as_if_there_were_many_points():
    """A spatial order of few points, which else have one leaf, in several chunks and tasks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spatial_order, "_LEAF_POINTS", 8)
        patch.setattr(in_order, "_CHUNK", 1000)
        patch.setattr(in_order, "_TASK_TILES", 2)
        yield


def margins_in_order(X, planes, margins, stop_when_on, n_threads=2):
    """Margins of all points by bounds, (n_blocks, N)."""
    found = np.full((margins.n_blocks, len(X)), np.nan)

    def keep(rows, best):
        assert np.isnan(found[:, rows]).all()
        found[:, rows] = best

    in_order.run_in_order(check_points(X), planes, margins, n_threads, stop_when_on, keep)
    return found


def dense_margins(bits, masks, thresholds, blocks, n_blocks):
    """The largest margin of each block for each point, -inf where a block has no neurons."""
    each = thresholds[:, None] - oracle.counts(masks, bits).astype(np.int64)
    best = np.full((n_blocks, len(bits)), -np.inf)
    for block in np.unique(blocks):
        best[block] = each[blocks == block].max(axis=0)
    return best


KINDS = ["normal", "grid", "dense", "repeated", "huge", "tiny", "outlier"]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(KINDS), st.sampled_from([1, 2, 3, 17]), st.sampled_from([1, 64, 65, 200]),
    st.integers(1, 2500), st.sampled_from([0, 1, 7, TILE, 250]), st.integers(1, 4),
    st.sampled_from([np.float32, np.float64]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_margins_equal_the_oracle(kind, d, n, n_samples, m, n_blocks, dtype, seed):
    rng = np.random.default_rng(seed)
    X, planes = points_and_planes(rng, kind, n_samples, d, n, dtype)
    bits = unpacked(sign_patterns(X, planes), n)
    # cells about some points, as neurons are, and anything
    masks = ~bits[rng.integers(0, n_samples, m)] & (rng.random((m, n)) < rng.choice([0.3, 1.0]))
    thresholds = rng.integers(1, max(2, n // rng.choice([1, 8])), m)
    blocks = np.sort(rng.integers(0, n_blocks, m))
    second = fastmem.CoverLayer(
        oracle.pack(masks).reshape(m, planes.n_words), thresholds.astype(np.int32),
        blocks.astype(np.int32),
    )  # fmt: skip
    margins = CountMargins(second, blocks, n_blocks)
    expected = dense_margins(bits, masks, thresholds, blocks, n_blocks)
    np.testing.assert_array_equal(margins_in_order(X, planes, margins, False), expected)
    if n_blocks == 1:
        found = margins_in_order(X, planes, margins, True)
        np.testing.assert_array_equal(found > 0, expected > 0)


def answers(mode, network, X, n_threads):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_order, "MODE", mode)
        return (
            network.predict(X, n_threads=n_threads),
            network.decision_function(X, n_threads=n_threads),
        )


@pytest.mark.parametrize("block", range(4))
def test_predictions_of_random_problems_are_the_same(block):
    n_done = 0
    for seed in range(12 * block, 12 * (block + 1)):
        X, y, parameters = a_problem(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
            try:
                network = fastmem.interpolate(X, y, **parameters)
            except (fastmem.ContradictionError, fastmem.InvalidInputError):
                continue
        n_done += 1
        for points in (X, X[::-1], X[:1]):
            expected = answers("never", network, points, 1)
            for n_threads in (1, 2):
                found = answers("always", network, points, n_threads)
                for a, b in zip(expected, found, strict=True):
                    np.testing.assert_array_equal(a, b, err_msg=str((seed, parameters)))
    assert n_done > 4


def test_points_are_read_in_chunks(monkeypatch):
    """No more of them are put in order, or converted, at a time than a chunk."""
    X, y = unit_moons(3500)
    network = fastmem.interpolate(X, y, width=128, seed=0)
    expected = network.predict(X)
    asked = []
    block = Points.block

    def watched(self, start, stop):
        asked.append((start, stop))
        return block(self, start, stop)

    monkeypatch.setattr(Points, "block", watched)
    monkeypatch.setattr(in_order, "MODE", "always")
    np.testing.assert_array_equal(network.predict(X), expected)
    assert asked == [(0, 1000), (1000, 2000), (2000, 3000), (3000, 3500)]
    # lists of columns are converted as they are asked for
    asked.clear()
    np.testing.assert_array_equal(network.predict(np.asfortranarray(X, np.float64)), expected)


# Whether it pays --------------------------------------------------------------------------------


def a_network(rng, n, d, m, points):
    """Random layers: Gaussian hyperplanes, and masks of m points."""
    planes = Hyperplanes(
        rng.standard_normal((n, d)).astype(np.float32), rng.uniform(-1, 1, n), np.zeros(d), 1.0
    )
    masks = ~sign_patterns(np.resize(points, (m, d)), planes)
    second = fastmem.CoverLayer(masks, np.ones(m, np.int32), np.zeros(m, np.int32))
    return planes, second, CountMargins(second, np.zeros(m, np.int64), 1)


@pytest.mark.parametrize(
    ("n", "d", "m", "n_samples", "pays"),
    [
        (2048, 2, 3, 200_000, True),  # a wide first layer
        (512, 4, 3000, 100_000, True),  # many neurons
        (256, 2, 3, 200_000, False),  # a narrow network: ordering takes longer
        (512, 4, 3000, 2000, False),  # few points
        (2048, 60, 10, 100_000, False),  # no neighbours
        (2048, 65, 3000, 20_000, False),
    ],
)
def test_when_it_pays(n, d, m, n_samples, pays):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, d)).astype(np.float32)
    planes, _, margins = a_network(rng, n, d, m, X)
    assert in_order.order_pays(check_points(X), planes, margins, True) is pays


def test_it_is_used_where_it_pays_alone(monkeypatch):
    used = []
    run = in_order.run_in_order
    monkeypatch.setattr(
        "fastmem.network.cells.run_in_order", lambda *given: used.append(1) or run(*given)
    )
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100_000, 3)).astype(np.float32)
    planes, second, _ = a_network(rng, 512, 3, 2000, X)
    network = fastmem.Network(np.array([3, 5]), planes, second, (0,))
    many = network.predict(X)
    assert used
    used.clear()
    np.testing.assert_array_equal(network.predict(X[:1000]), many[:1000])
    assert not used
    # kinds of layers that have no bounds
    monkeypatch.setattr(in_order, "MODE", "always")
    X, y = X[:300], X[:300, 0] > 0
    for parameters in ({"projection": "structured"}, {"activation": "relu"}):
        network = fastmem.interpolate(X, y, seed=0, **parameters)
        np.testing.assert_array_equal(network.predict(X), y)
    assert not used
