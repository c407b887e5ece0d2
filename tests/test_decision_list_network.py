"""Networks of decision lists: the first neuron that is on decides."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from decision_lists import make_list, slow_scores
from scipy import sparse as sp
from sklearn.datasets import load_digits, load_wine

from fastmem.commands.describing import network_facts, shape_facts
from fastmem.errors import InvalidInputError
from fastmem.inputs import check_points
from fastmem.network.network import Network
from fastmem.network.neurons_on import first_neuron_on
from fastmem.network.report import label_entropy
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.sklearn.classifier import _with_classes


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:700], y[:700]


@pytest.fixture(scope="module")
def network(digits):
    return make_list(*digits)


def test_every_training_point_is_right(network, digits):
    X, y = digits
    assert network.decision == "list"
    np.testing.assert_array_equal(network.predict(X), y)
    np.testing.assert_array_equal(network.predict(X.astype(np.float32)), y)
    np.testing.assert_array_equal([network.predict(X[i : i + 1])[0] for i in range(70)], y[:70])
    np.testing.assert_array_equal(network.predict(X, n_threads=3), y)
    np.testing.assert_array_equal(network.predict(sp.csr_matrix(X)), y)
    np.testing.assert_array_equal(network.predict(np.asfortranarray(X)), y)
    assert network.score(X, y) == 1.0
    assert network.predict(X[:0]).shape == (0,)


def test_scores_are_those_of_the_definition(network, digits):
    rng = np.random.default_rng(0)
    X = rng.permuted(digits[0], axis=0)[:300]  # points that it has not seen
    scores = network.decision_function(X)
    np.testing.assert_array_equal(scores, slow_scores(network, X))
    np.testing.assert_array_equal(network.classes_[scores.argmax(axis=1)], network.predict(X))
    np.testing.assert_array_equal(scores, network.decision_function(sp.csr_matrix(X), n_threads=2))


def test_sparse_points_are_never_made_dense():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((200, 150)) * (rng.random((200, 150)) < 0.1)
    y = (X[:, 0] + X[:, 1] > X[:, 2]) + 2 * (X[:, 3] > 0)
    rows = sp.csr_matrix(X)
    assert check_points(rows).is_sparse
    network = make_list(rows, y, n=512, bits=0)
    for given in (rows, X, rows.astype(np.float32), X.astype(np.float32)):
        np.testing.assert_array_equal(network.predict(given, n_threads=2), network.predict(X))
    np.testing.assert_array_equal(network.predict(rows), y)
    np.testing.assert_array_equal(network.decision_function(rows), slow_scores(network, X))
    scaled = Network(
        network.classes_, network.first, network.second, network.covered,
        scale=np.full(150, 0.5), default=network.default,
    )  # fmt: skip
    np.testing.assert_array_equal(scaled.predict(2 * rows), y)


def test_two_classes_have_one_score(digits):
    X, y = digits
    y = np.where(y < 5, "low", "odd")
    network = make_list(X, y, n=512, n_extra=20)
    scores = network.decision_function(X)
    assert scores.shape == (len(X),)
    np.testing.assert_array_equal(np.where(scores > 0, "odd", "low"), y)
    both = slow_scores(network, X)
    np.testing.assert_array_equal(scores, both[:, 1] - both[:, 0])


def test_scaled_points_and_frames():
    X, y = load_wine(return_X_y=True)
    scale = 2.0 ** -np.rint(np.log2(X.std(axis=0)))
    names = [f"f{k}" for k in range(X.shape[1])]
    network = make_list(X, y, n=128, scale=scale, feature_names=names)
    np.testing.assert_array_equal(network.predict(X), y)
    np.testing.assert_array_equal(network.predict(pd.DataFrame(X, columns=names)), y)
    np.testing.assert_array_equal(network.decision_function(X), slow_scores(network, X))
    with pytest.raises(InvalidInputError, match="f0"):
        network.predict(pd.DataFrame(X, columns=names[::-1]))


def test_stored_rows_are_used_on_both_sides():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((60, 3))
    y = rng.integers(0, 3, 60)
    network = make_list(X, y, n=4, n_extra=60)
    assert len(network.first.extra)
    np.testing.assert_array_equal(network.predict(X), y)
    np.testing.assert_array_equal(network.decision_function(X), slow_scores(network, X))


def test_pickles_and_copies(network, digits):
    X, y = digits
    network.predict(X)
    for again in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        np.testing.assert_array_equal(again.predict(X), y)
        assert again.default == network.default
    assert "neurons in order" in repr(network)
    assert "hyperplanes" in network._repr_html_()


def test_bits_of_a_label(network, digits):
    counts = np.bincount(digits[1])
    entropy = label_entropy(counts)
    assert abs(entropy + np.sum(counts * np.log2(counts / 700)) / 700) < 1 / 8192
    assert label_entropy(np.array([5, 0])) == 0.0
    known = Network(
        network.classes_, network.first, network.second, network.covered, default=network.default,
        summary={"n_samples": 700, "label_entropy": entropy},
    )  # fmt: skip
    assert known.bits_per_label == 8 * known.nbytes / 700 < entropy == known.label_entropy
    assert "against" in shape_facts(known)["bits a label"]
    assert network_facts(known)["label_entropy"] == entropy
    assert network_facts(network)["decision"] == "list" and "bits a label" not in shape_facts(
        network
    )
    assert network.bits_per_label is None and network.label_entropy is None


def test_lists_are_drawn():
    figure = pytest.importorskip("matplotlib.figure")
    from fastmem import datasets, plots

    X, y = datasets.unit_moons(120)
    network = make_list(X, y, n=256)
    plots.decision_regions(network, X, y, ax=figure.Figure().subplots())
    plots.neuron_supports(network, X, y)
    # the first of its class that is on is the one that decides
    points = check_points(X)
    rules = network._decider.rules(points, 1)
    codes = network._decider.codes(points, 1)
    first = first_neuron_on(points, codes, network.first, network.second, 1)
    np.testing.assert_array_equal(rules, first)


def test_a_classifier_with_other_names_keeps_the_list(network, digits):
    named = _with_classes(network, np.array([f"{k}" for k in range(10)], object), None)
    assert named.decision == "list"
    np.testing.assert_array_equal(named.predict(digits[0]), digits[1].astype(str))


def test_a_list_without_neurons_is_its_default(network):
    first = network.first
    none = CoverLayer(
        np.empty((0, first.n_words), np.uint64), np.empty(0, np.int32), np.empty(0, np.int32)
    )
    empty = Network(network.classes_, first, none, (), default=4)
    X = np.zeros((3, 64))
    np.testing.assert_array_equal(empty.predict(X), [4, 4, 4])
    np.testing.assert_array_equal(empty.decision_function(X)[0], np.eye(10)[4] / 2)


def test_a_neuron_without_literals_is_always_on(network):
    masks = np.zeros((1, network.first.n_words), np.uint64)
    second = CoverLayer(masks, np.ones(1, np.int32), np.full(1, 3, np.int32))
    always = Network(network.classes_, network.first, second, (3,), default=4)
    np.testing.assert_array_equal(always.predict(np.zeros((70, 64))), np.full(70, 3))


@pytest.mark.parametrize("default", [-1, 10, 1.5, True, "a"])
def test_a_default_that_is_no_class_is_refused(network, default):
    with pytest.raises(InvalidInputError, match="default is"):
        Network(network.classes_, network.first, network.second, network.covered, default=default)


def test_thresholds_other_than_1_are_refused(network):
    second = network.second
    more = CoverLayer(second.masks, second.thresholds + 1, second.owners)
    with pytest.raises(InvalidInputError, match="thresholds that are not 1"):
        Network(network.classes_, network.first, more, network.covered, default=0)


def test_probabilities_are_those_of_votes_alone(network, digits):
    with pytest.raises(InvalidInputError, match="decision='vote'"):
        network.predict_proba(digits[0])
