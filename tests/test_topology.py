"""Betti numbers of known shapes, by points, by patterns and by regions."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import cache

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from bench.shapes import SHAPES, shape

pytest.importorskip("ripser")

import fastmem  # noqa: E402
from fastmem import InvalidInputError  # noqa: E402
from fastmem.datasets import digits784, two_moons  # noqa: E402
from fastmem.geometry.point_sets import Units  # noqa: E402
from fastmem.inputs import check_points  # noqa: E402
from fastmem.kernels.hamming import FAR, two_nearest  # noqa: E402
from fastmem.kernels.layout import TILE  # noqa: E402
from fastmem.machine.loops import run_loop  # noqa: E402
from fastmem.patterns.by_class import Patterns  # noqa: E402
from fastmem.patterns.words import packed  # noqa: E402
from fastmem.shapes import least_neurons, pattern_dimension, topology  # noqa: E402
from fastmem.shapes.landmarks import (  # noqa: E402
    different_patterns,
    euclidean_landmarks,
    hamming_landmarks,
    ones_of,
)

PLANE = [name for name in SHAPES if name != "sphere around ball"]


@cache
def fitted(name, n=4_000, **settings):
    X, y = shape(name, n)
    return X, y, fastmem.interpolate(X, y, seed=0, covered="all", **settings)


# Known shapes --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANE)
def test_points_and_patterns_have_the_betti_numbers_of_the_shape(name):
    X, y, network = fitted(name, width=2048)
    report = topology(network, X, y)
    assert "threshold" in report.without_region
    for entry, true in zip(report.classes, SHAPES[name][1], strict=True):
        assert entry.points.betti == entry.patterns.betti == true
        assert all(a <= b for a, b in zip(entry.points.betti_sure, true, strict=True))
        assert entry.region is None
        assert entry.least_neurons == least_neurons(true)


def test_a_sphere_has_a_void_and_the_ball_in_it_none():
    X, y, network = fitted("sphere around ball", 12_000, width=2048)
    report = topology(network, X, y, landmarks=150, max_dimension=2)
    assert [entry.points.betti for entry in report.classes] == [(1, 0, 0), (1, 0, 1)]
    assert [entry.patterns.betti for entry in report.classes] == [(1, 0, 0), (1, 0, 1)]
    assert all(entry.points.cut > 4.4 * entry.points.epsilon for entry in report.classes)


@pytest.mark.parametrize("name", SHAPES)
def test_regions_have_the_betti_numbers_of_the_shape(name):
    X, y, network = fitted(name, compact=True)
    k = len(SHAPES[name][1][0]) - 1
    report = topology(network, X, y, landmarks=4, max_dimension=k)
    for entry, true in zip(report.classes, SHAPES[name][1], strict=True):
        region = entry.region
        if (name, entry.label) in (("two annuli", 0), ("sphere around ball", 1)):
            continue  # no foreign point is in the inner hole; the void: below
        assert region.betti == true
        assert region.n_undecided == region.n_empty == 0
        assert region.reason == ""
        assert region.n_cells == np.count_nonzero(network.second.owners == entry.label)
        assert region.n_cells >= least_neurons(region.betti)
    if name == "two annuli":
        assert report.classes[0].region.betti == (1, 0)
    if name == "sphere around ball":
        assert report.classes[1].region.betti == (1, 0, 1)


def test_it_is_said_where_the_region_has_another_shape_than_the_points():
    X, y, network = fitted("two annuli", compact=True)
    report = topology(network, X, y)
    assert report.differences() == ["Class 0: the points have Betti numbers 1, 1, the region 1, 0"]
    assert report.classes[0].region.n_cells < report.classes[0].least_neurons


def test_cells_share_the_points_that_prove_it():
    X, y, network = fitted("disc in ring", compact=True)
    region = topology(network, X, y, landmarks=4).classes[1].region
    patterns = fastmem.sign_patterns(X[y == 1], network.first)
    on = ~(network.second.masks[list(region.neurons)][:, None] & patterns).any(axis=2)
    for size, found in enumerate(region.simplices, 2):
        assert found == tuple(sorted(set(found)))
        seen = {tuple(some) for column in on.T for some in [np.flatnonzero(column).tolist()]}
        assert {some for some in seen if len(some) == size} <= set(found)


# What is asked for ---------------------------------------------------------------------------


def test_a_class_of_a_few_hundred_points_has_a_third_of_them_for_landmarks():
    X, y, network = fitted("disc in ring", n=360, compact=True)
    entry = topology(network, X, y).classes[0]
    assert entry.n_points == entry.points.n_different == 180
    assert len(entry.points.landmarks) == 60 and entry.points.betti == (1, 0)
    assert entry == topology(network, X, y, landmarks=60).classes[0]


def test_a_class_with_few_points_has_bars_and_no_numbers():
    X, y = shape("disc in ring", 360)
    few = np.concatenate([np.flatnonzero(y == 0)[:11], np.flatnonzero(y == 1)])
    network = fastmem.interpolate(X[few], y[few], seed=0, compact=True, covered="all")
    entry = topology(network, X[few], y[few]).classes[0]
    assert entry.points.betti is entry.points.betti_sure is entry.points.is_stable is None
    assert entry.points.reason == (
        "11 different points are too few for 11 landmarks: take more points"
    )
    assert "more hyperplanes" in entry.patterns.reason
    assert len(entry.points.bars[0]) == 11
    assert entry.least_neurons is None


def test_landmarks_that_are_too_far_apart_give_no_numbers():
    X, y = digits784(600)
    network = fastmem.interpolate(X, y, seed=0, width=256)
    entry = topology(network, X, y, landmarks=5).classes[0]
    assert "landmarks=5" in entry.points.reason and entry.points.betti is None


def test_equal_points_count_once():
    X = np.repeat(np.array([[0.0, 0], [1, 0], [5, 5]]), 10, axis=0)
    y = np.repeat([0, 0, 1], 10)
    network = fastmem.interpolate(X, y, seed=0, compact=True, covered="all")
    report = topology(network, X, y, landmarks=4)
    assert [entry.points.n_different for entry in report.classes] == [2, 1]
    assert report.classes[0].points.bars == (((0.0, None), (0.0, 1.0)), ())
    assert [entry.region.betti[0] for entry in report.classes] == [1, 1]


def test_the_report_depends_on_no_threads_and_is_json():
    X, y, network = fitted("3 x 3 holes and discs", compact=True)
    one, two = (topology(network, X, y, landmarks=50, n_threads=n) for n in (1, 2))
    assert one == two
    assert json.loads(json.dumps(asdict(one), allow_nan=False))["n_samples"] == 4_000


def test_of_many_cells_the_components_are_counted():
    X, y, network = fitted("3 x 3 holes and discs", compact=True)
    entries = topology(network, X, y, landmarks=4, max_cells=3).classes
    assert [entry.region.betti for entry in entries] == [(1,), (9,)]
    assert f"max_cells={entries[0].region.n_cells}" in entries[0].region.reason
    entries = topology(network, X, y, landmarks=4, max_dimension=0).classes
    assert [entry.region.betti for entry in entries] == [(1,), (9,)]
    assert not entries[0].region.reason


def test_programs_that_end_too_early_give_no_numbers(monkeypatch):
    from fastmem.shapes import regions

    monkeypatch.setattr(regions, "_PROGRAMS", 1)
    X, y, network = fitted("3 x 3 holes and discs", compact=True)
    region = topology(network, X, y, landmarks=4, max_cells=10).classes[1].region
    assert region.betti is None and region.n_programs == 10
    assert "more than max_cells=10" in region.reason


def test_a_class_that_was_left_out_has_no_region():
    X, y = two_moons(500)
    network = fastmem.interpolate(X, y, seed=0, compact=True, covered=1)
    without, covered = topology(network, X, y, landmarks=10).classes
    assert without.region is None and covered.region.betti[0] == 1


def test_points_count_as_the_network_sees_them():
    X, y = shape("disc in ring", 2_000)
    stretched = X * [1.0, 2.0**20]
    network = fastmem.interpolate(
        stretched, y, seed=0, compact=True, covered="all", scale=np.array([1.0, 2.0**-20])
    )
    found = topology(network, stretched, y, landmarks=100)
    assert [entry.points.betti for entry in found.classes] == [(1, 0), (1, 1)]
    assert [entry.region.betti for entry in found.classes] == [(1, 0), (1, 1)]


@pytest.mark.parametrize(("shift", "factor"), [(1e9, 1.0), (0.0, 1e-200), (0.0, 1e200)])
def test_shapes_may_be_anywhere_and_of_any_size(shift, factor):
    X, y = shape("disc in ring", 2_000)
    X = X * factor + shift
    network = fastmem.interpolate(X, y, seed=0, compact=True, covered="all")
    found = topology(network, X, y, landmarks=100)
    assert [entry.points.betti for entry in found.classes] == [(1, 0), (1, 1)]
    assert [entry.region.betti for entry in found.classes] == [(1, 0), (1, 1)]


@pytest.mark.parametrize("kind", ["structured", "sparse", "float32"])
def test_layers_and_points_of_all_kinds(kind):
    X, y = shape("disc in ring", 2_000)
    if kind == "float32":
        X = X.astype(np.float32)
    given = sparse.csr_matrix(X) if kind == "sparse" else X
    projection = "structured" if kind == "structured" else "gaussian"
    network = fastmem.interpolate(
        given, y, seed=0, compact=True, covered="all", projection=projection
    )
    found = topology(network, given, y, landmarks=100)
    assert [entry.points.betti for entry in found.classes] == [(1, 0), (1, 1)]
    assert [entry.region.betti for entry in found.classes] == [(1, 0), (1, 1)]
    assert found == topology(network, X, y, landmarks=100)


def test_neurons_of_real_activations_have_no_regions():
    X, y = two_moons(300)
    network = fastmem.interpolate(X, y, seed=0, activation="relu")
    report = topology(network, X, y, landmarks=10)
    assert "activation='threshold'" in report.without_region
    assert report.classes[0].region is None and report.classes[0].points.betti


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"landmarks": 3}, ["landmarks is 3", "from 4"]),
        ({"landmarks": 10.5}, ["landmarks is 10.5"]),
        ({"landmarks": 2001}, ["landmarks is 2001", "an int from 4 to 2,000"]),
        ({"max_dimension": -1}, ["max_dimension is -1"]),
        ({"max_dimension": 4}, ["max_dimension is 4", "from 0 to 3"]),
        ({"max_cells": 0}, ["max_cells is 0"]),
        ({"box": 0.5}, ["box is 0.5", "from 1"]),
        ({"box": np.inf}, ["box is inf"]),
        ({"box": True}, ["box is True"]),
        ({"n_threads": 0}, ["n_threads is 0"]),
    ],
)
def test_wrong_numbers_are_refused(settings, words):
    X, y, network = fitted("disc in ring", n=360, compact=True)
    with pytest.raises(InvalidInputError) as refusal:
        topology(network, X, y, **settings)
    assert all(word in str(refusal.value) for word in words)


def test_other_networks_and_points_are_refused():
    X, y, network = fitted("disc in ring", n=360, compact=True)
    for options, word in (
        ({"decision": "vote", "width": 64}, "vote"),
        ({"objective": "bytes"}, "list"),
    ):
        other = fastmem.interpolate(X, y, seed=0, **options)
        with pytest.raises(InvalidInputError, match=f"{word}.*compact=True"):
            topology(other, X, y)
    with pytest.raises(InvalidInputError, match=r"network is .network. .str.; pass"):
        topology("network", X, y)
    with pytest.raises(InvalidInputError, match="not a class"):
        topology(network, X, y + 1)
    with pytest.raises(InvalidInputError, match="2 are expected"):
        topology(network, X[:, :1], y)
    with pytest.raises(InvalidInputError, match="y is empty"):
        topology(network, X[:0], y[:0])
    with pytest.raises(InvalidInputError, match="y"):
        topology(network, X, y[:-1])


def test_what_is_missing_is_named(monkeypatch):
    X, y, network = fitted("disc in ring", n=360, compact=True)
    monkeypatch.setitem(sys.modules, "ripser", None)
    with pytest.raises(ModuleNotFoundError, match=r"fastmem-nets\[topology\]"):
        topology(network, X, y)


# Landmarks -----------------------------------------------------------------------------------


def check_landmarks(found, rows, distances):
    """Every landmark is the first of the farthest from those before it."""
    place = {row: i for i, row in enumerate(rows.tolist())}
    chosen = [place[row] for row in found.rows.tolist()]
    assert chosen[0] == np.argmin(rows)
    for k in range(len(chosen)):
        gaps = distances[:, chosen[: k + 1]].min(axis=1)
        assert found.radii[k] == pytest.approx(gaps.max(), rel=1e-12)
        if k + 1 < len(chosen):
            assert gaps[chosen[k + 1]] == pytest.approx(gaps.max(), rel=1e-12)
    np.testing.assert_allclose(found.distances, distances[np.ix_(chosen, chosen)], rtol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_landmarks_are_the_farthest_points(seed, d, count):
    generator = np.random.default_rng(seed)
    X = generator.integers(-3, 4, (generator.integers(1, 150), d)).astype(float)
    rows = np.sort(generator.permutation(len(X))[: generator.integers(1, len(X) + 1)])
    points = check_points(X)
    found = euclidean_landmarks(points, rows, Units(points, 1), count, 1)
    different = len(np.unique(X[rows], axis=0))
    assert found.n_different == different
    assert len(found.rows) == min(count, different // 3 if different >= 12 else different)
    distances = np.linalg.norm(X[rows][:, None] - X[rows], axis=2)
    check_landmarks(found, rows, distances)


@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_landmarks_are_the_farthest_patterns(seed, n, count):
    generator = np.random.default_rng(seed)
    bits = generator.random((generator.integers(2, 500), n)) < 0.5
    bits[generator.integers(0, len(bits), 3)] = bits[0]
    codes = np.zeros(len(bits), np.uint16)
    codes[1] = 1
    patterns = Patterns(codes, 2, -(-n // 64))
    words = packed(bits)
    for code in (0, 1):
        rows = np.flatnonzero(codes == code)
        at = patterns.first_tile[code] * TILE + np.arange(len(rows))
        patterns.tiles[at // TILE, :, at % TILE] = words[rows]
        found = hamming_landmarks(patterns, code, count, 2)
        distances = np.array([oracle.hamming(words[rows], words[row]) for row in rows])
        check_landmarks(found, rows, distances)
        assert found.n_different == len(np.unique(words[rows], axis=0))


@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
@settings(max_examples=15, deadline=None)
def test_two_nearest_patterns(seed, n):
    generator = np.random.default_rng(seed)
    words = packed(generator.random((generator.integers(1, 400), n)) < 0.5)
    tiles = np.zeros((-(-len(words) // TILE), words.shape[1], TILE), np.uint64)
    at = np.arange(len(words))
    tiles[at // TILE, :, at % TILE] = words
    ones = ones_of(tiles, len(words), 2)
    np.testing.assert_array_equal(ones, oracle.hamming(words, np.zeros(words.shape[1], np.uint64)))
    least = np.empty((len(words), 2), np.int32)
    run_loop(two_nearest, -(-len(words) // 7), 2, (tiles, ones, 7, least))
    for i, row in enumerate(words):
        others = np.delete(oracle.hamming(words, row), i)
        expected = [*np.sort(others)[:2].tolist(), FAR, FAR][:2]
        assert least[i].tolist() == expected
    firsts = np.sort(np.unique(words, axis=0, return_index=True)[1])
    np.testing.assert_array_equal(different_patterns(tiles, len(words)), firsts)


# Dimension -----------------------------------------------------------------------------------


def test_patterns_of_many_hyperplanes_have_the_dimension_of_the_points():
    generator = np.random.default_rng(0)
    flat = generator.uniform(-1, 1, (1_500, 2)) @ generator.standard_normal((2, 10))
    X = np.concatenate([flat, flat[:500]])
    y = X[:, 0] > 0
    network = fastmem.interpolate(X, y, seed=0, width=4096)
    found = pattern_dimension(network, X, seed=0)
    assert (found.n_samples, found.n_points) == (2_000, 1_500)
    assert 1.8 < found.points < 2.2 and 1.6 < found.patterns < 2.3
    few = pattern_dimension(network, X, n_points=300, seed=0)
    assert few.n_points <= 300 and few == pattern_dimension(network, X, n_points=300, seed=0)


def test_the_estimate_is_that_of_scikit_dimension():
    skdim = pytest.importorskip("skdim.id")
    X = np.random.default_rng(0).standard_normal((400, 5))
    network = fastmem.interpolate(X, X[:, 0] > 0, seed=0)
    theirs = skdim.TwoNN(method="mle").fit(X).dimension_
    assert pattern_dimension(network, X).points == pytest.approx(theirs, rel=1e-6)


def test_of_few_points_there_is_no_dimension():
    X, y = two_moons(15)
    network = fastmem.interpolate(X, y, seed=0)
    found = pattern_dimension(network, X)
    assert found.points is found.patterns is None and found.n_points == 15
    with pytest.raises(InvalidInputError, match="n_points is 2"):
        pattern_dimension(network, X, n_points=2)
