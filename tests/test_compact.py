"""compact=True: its kernels against dense bits, and networks that stay right."""

from __future__ import annotations

import warnings

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cover import random_bits, tiles_of

import fastmem
from fastmem import datasets
from fastmem.kernels import columns as kernels
from fastmem.kernels.layout import TILE

fast = settings(max_examples=30, deadline=None)
sizes = st.sampled_from([1, 63, 64, 65, 192, 193, 400])
widths = st.sampled_from([1, 12, 64, 65, 150])
seeds = st.integers(0, 2**32 - 1)


def column_words(bits):
    """(N, n) bits as words by hyperplane, every tile of 192 points on words of its own."""
    n_tiles = max(1, -(-len(bits) // TILE))
    padded = np.zeros((n_tiles * TILE, bits.shape[1]), bool)
    padded[: len(bits)] = bits
    return oracle.pack(padded.T)


def turned(bits):
    tiles, filled = tiles_of(bits)
    columns = np.empty((tiles.shape[1] * 64, 3 * len(tiles)), np.uint64)
    kernels.transpose_tiles(tiles, filled, np.arange(len(tiles)), columns, 0, len(tiles))
    return columns


@fast
@given(sizes, widths, seeds)
def test_turned_patterns_are_the_columns(n_samples, n, seed):
    bits = random_bits(np.random.default_rng(seed), n_samples, n, 0.5)
    np.testing.assert_array_equal(turned(bits)[:n], column_words(bits))


@fast
@given(sizes, widths, st.integers(1, 70), seeds)
def test_picked_bits_are_those_of_the_chosen_hyperplanes(n_samples, n, n_chosen, seed):
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, n_samples, n, 0.5)
    chosen = rng.integers(0, n, n_chosen)
    tiles, _ = tiles_of(bits)
    out = np.full((len(tiles), -(-n_chosen // 64), TILE), 7, np.uint64)
    kernels.copy_columns(tiles, 0, len(tiles), chosen, out)
    words = out.transpose(0, 2, 1).reshape(-1, out.shape[1])[:n_samples]
    np.testing.assert_array_equal(words, oracle.pack(bits[:, chosen]))


@fast
@given(sizes, widths, st.integers(1, 5), seeds)
def test_gains_and_strikes_count_pairs(n_samples, n, n_neurons, seed):
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, n_samples, n, 0.4)
    missed = random_bits(rng, n_neurons, n_samples, 0.5)
    usable = random_bits(rng, n, n_neurons, 0.5)
    columns, words = column_words(bits), column_words(missed.T).copy()
    which = rng.permutation(n)
    found = np.empty(n, np.int64)
    kernels.gains(columns, which, words, usable, found)
    pairs = missed[None] & bits.T[:, None] & usable[:, :, None]
    np.testing.assert_array_equal(found, pairs.sum(axis=(1, 2))[which])
    kernels.strike(columns[0], words, usable[0])
    np.testing.assert_array_equal(words, column_words((missed & ~pairs[0]).T))


@fast
@given(sizes, widths, st.sampled_from([0.1, 0.5]), seeds)
def test_a_thin_mask_is_the_greedy_cover(n_samples, n, density, seed):
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, n_samples, n, density)
    allowed, must_hit = rng.uniform(size=n) < 0.7, rng.uniform(size=n_samples) < 0.8
    mask = oracle.pack(allowed[None])[0]
    words = column_words(must_hit[:, None])[0]
    done = kernels.thin_mask(column_words(bits), words, mask)
    left, expected = must_hit.copy(), np.zeros(n, bool)
    while left.any():
        hits = np.where(allowed, bits[left].sum(axis=0), 0)
        if not hits.any():
            break
        best = int(hits.argmax())
        expected[best] = True
        left &= ~bits[:, best]
    assert done == (not left.any())
    np.testing.assert_array_equal(oracle.unpack(mask[None], n)[0], expected)
    np.testing.assert_array_equal(words, column_words(left[:, None])[0])


@fast
@given(sizes, widths, seeds)
def test_what_lies_inside_a_cell_has_no_one_of_its_mask(n_samples, n, seed):
    rng = np.random.default_rng(seed)
    bits, mask = random_bits(rng, n_samples, n, 0.1), rng.uniform(size=n) < 0.3
    columns = column_words(bits)
    points = column_words(np.ones((n_samples, 1), bool))[0]
    kernels.inside(columns, 0, len(points), oracle.pack(mask[None])[0], points)
    off = ~(bits & mask).any(axis=1)
    np.testing.assert_array_equal(points, column_words(off[:, None])[0])


def workloads():
    rng = np.random.default_rng(0)
    X, y = datasets.unit_moons(3000)
    yield "moons", X, y, {"width": 512}
    yield "moons auto", X, y, {}
    X, y = datasets.random_labels(600, 20)
    yield "random labels", X, y, {"width": 300}
    yield "random labels, too narrow", X, y, {"width": 20, "covered": "all"}
    y = rng.integers(0, 4, 1500)
    X = (rng.standard_normal((4, 40)) * 2)[y] + rng.standard_normal((1500, 40))
    yield "classes", X, y, {"width": 700, "covered": "all"}
    yield "classes, one left out", X, y, {"width": 700}
    yield "classes, structured", X, y, {"width": 700, "projection": "structured"}
    yield "classes, with a margin", X, y, {"width": 300, "margin": 0.3}


@pytest.mark.parametrize("problem", list(workloads()), ids=lambda problem: problem[0])
@pytest.mark.filterwarnings("ignore::fastmem.UnseparatedWarning")
def test_a_compact_network_is_right_where_the_whole_one_is(problem, tmp_path):
    _, X, y, parameters = problem
    whole = fastmem.interpolate(X, y, seed=1, **parameters)
    network = fastmem.interpolate(X, y, seed=1, compact=True, **parameters)
    again = fastmem.interpolate(X, y, seed=1, compact=True, n_threads=1, **parameters)
    wrong = network.report.unseparated
    np.testing.assert_array_equal(wrong, whole.report.unseparated)
    assert not (network.predict(X) != y)[np.delete(np.arange(len(X)), wrong)].any()
    assert network.n_parameters <= whole.n_parameters
    assert network.n_nonzero < whole.n_nonzero
    assert network.covered == whole.covered
    for name in ("masks", "thresholds", "owners"):
        np.testing.assert_array_equal(getattr(network.second, name), getattr(again.second, name))
    np.testing.assert_array_equal(network.first.weights, again.first.weights)
    masks = oracle.unpack(network.second.masks, len(network.first))
    if "margin" not in parameters:
        assert masks.any(axis=0).all()
        assert (network.second.thresholds == 1).all()
    trials = network.report.trials
    assert len(trials) >= 1
    assert network.n_parameters <= min(trial.n_parameters for trial in trials) / 0.9
    network.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(fastmem.load(tmp_path / "net.npz").predict(X), network.predict(X))


def test_two_moons_need_a_handful_of_hyperplanes():
    X, y = datasets.unit_moons(20_000)
    network = fastmem.interpolate(X, y, width=1024, seed=0, compact=True)
    assert network.score(X, y) == 1.0
    assert sum(network.widths) < 30


def test_no_neuron_of_a_compact_network_is_superfluous():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 1200)
    X = (rng.standard_normal((3, 10)))[y] + rng.standard_normal((1200, 10))
    network = fastmem.interpolate(X, y, seed=0, covered="all", compact=True)
    bits = oracle.exact_bits_filtered(X, network.first.weights, network.first.biases)
    second = network.second
    on = oracle.coverage(oracle.unpack(second.masks, len(network.first)), second.thresholds, bits)
    for j, owner in enumerate(second.owners):
        others = (second.owners == owner) & (np.arange(len(second)) != j)
        assert (on[j] & ~on[others].any(axis=0) & (y == owner)).any()


def test_unseparated_points_do_not_stop_compaction():
    X = np.repeat(np.random.default_rng(0).standard_normal((40, 3)), 2, axis=0)
    y = np.arange(80) % 2
    y[:40] = np.repeat(np.arange(20) % 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        network = fastmem.interpolate(X, y, width=64, covered="all", seed=0, compact=True)
    assert 40 <= len(network.report.unseparated) < 80
    rest = np.delete(np.arange(80), network.report.unseparated)
    np.testing.assert_array_equal(network.predict(X)[rest], y[rest])


def test_the_smallest_width_is_the_best_of_those_tried():
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 2000)
    X = (rng.standard_normal((3, 4)) * 0.8)[y] + rng.standard_normal((2000, 4))
    network = fastmem.interpolate(X, y, width="smallest", seed=2)
    assert network.score(X, y) == 1.0
    trials = network.report.trials
    assert len(trials) >= 2
    best = min(trials, key=lambda trial: trial.n_parameters)
    assert network.widths == (best.width, best.neurons)
    assert network.n_parameters == best.n_parameters
    auto = fastmem.interpolate(X, y, seed=2)
    assert auto.widths == (trials[0].width, trials[0].neurons)
    limited = fastmem.interpolate(X, y, width="smallest", max_width=trials[1].width, seed=2)
    assert max(trial.width for trial in limited.report.trials) == trials[1].width
    given = fastmem.interpolate(X, y, width="smallest", projection="structured", seed=2)
    assert given.score(X, y) == 1.0
    both = fastmem.interpolate(X, y, width="smallest", compact=True, seed=2)
    assert both.score(X, y) == 1.0
    assert both.n_parameters <= network.n_parameters
