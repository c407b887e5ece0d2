"""complete=True: a given width goes on to where every point can be covered."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastmem
from fastmem import datasets


def fit(*args, **settings):
    """A network and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net = fastmem.interpolate(*args, **settings)
    return net, [str(one.message) for one in caught]


def moons(n=800):
    return datasets.unit_moons(n, noise=0.2, seed=3)


def same(one, other):
    pairs = [(n.first.weights, n.first.biases, n.second.masks, n.second.thresholds)
             for n in (one, other)]  # fmt: skip
    return all(np.array_equal(a, b) for a, b in zip(*pairs, strict=True))


@pytest.mark.parametrize("width", [1, 30, 64, 100])
@pytest.mark.parametrize(
    "settings",
    [{}, {"margin": 0.5}, {"margin": 1}, {"selection": "random"}, {"compact": True},
     {"compact": True, "margin": 0.3}, {"activation": "relu"},
     {"activation": "relu", "selection": "random"}, {"activation": "relu", "margin": 0.5},
     {"covered": "all"}, {"covered": 0}, {"covered": 1}, {"memory_limit": "300 MB"},
     {"projection": "structured"}, {"center": False, "max_bias": 0.2},
     {"contradictions": "majority"}],
    ids=str,
)  # fmt: skip
def test_every_point_is_right_whatever_else_is_asked_for(settings, width):
    X, y = moons()
    net, said = fit(X, y, width=width, complete=True, seed=0, **settings)
    assert net.score(X, y) == 1.0 and not said
    assert len(net.report.unseparated) == 0
    steps = net.report.growth
    assert steps[0].width == width and steps[-1].open_points == 0
    assert [step.width for step in steps] == sorted(step.width for step in steps)
    if not settings.get("compact"):
        assert net.widths[0] == steps[-1].width


@pytest.mark.parametrize("kind", ["sparse", "narrow", "float32", "classes", "seeded"])
def test_every_point_is_right_in_other_forms(kind, monkeypatch):
    X, y = moons(300)
    if kind == "sparse":
        X = sparse.csr_matrix(X)
    elif kind == "narrow":
        X = sparse.hstack([sparse.csr_matrix((300, 200)), sparse.csr_matrix(X)]).tocsr()
    elif kind == "float32":
        X = X.astype(np.float32)
    elif kind == "classes":
        y = np.random.default_rng(0).integers(0, 7, 300)
    else:
        monkeypatch.setattr("fastmem.inputs.settings.WEIGHT_BYTES", 64)
    net, said = fit(X, y, width=20, complete=True, seed=1)
    assert net.score(X, y) == 1.0 and not said


def test_the_first_hyperplanes_are_those_of_the_width_alone():
    X, y = moons()
    alone, said = fit(X, y, width=40, seed=5)
    whole, _ = fit(X, y, width=40, complete=True, seed=5)
    assert said and len(whole.first) > 40
    np.testing.assert_array_equal(whole.first.weights[:40], alone.first.weights)
    np.testing.assert_array_equal(whole.first.biases[:40], alone.first.biases)


def test_a_width_that_is_enough_stays_as_it_is():
    X, y = moons(60)
    alone, said = fit(X, y, width=300, seed=5, margin=0.5)
    whole, _ = fit(X, y, width=300, complete=True, seed=5, margin=0.5)
    assert not said and same(alone, whole)
    assert [(step.width, step.open_points) for step in whole.report.growth] == [(300, 0)]
    assert alone.report.growth == []


@pytest.mark.parametrize("width", ["auto", "smallest"])
def test_it_has_no_effect_where_the_width_is_found(width):
    X, y = moons(200)
    assert same(*(fit(X, y, width=width, complete=flag, seed=0)[0] for flag in (False, True)))


def test_max_width_bounds_it():
    X, y = moons()
    net, said = fit(X, y, width=20, complete=True, max_width=25, seed=0)
    assert net.widths[0] == 25
    wrong = np.flatnonzero(net.predict(X) != y)
    np.testing.assert_array_equal(net.report.unseparated, wrong)
    assert len(wrong) and said[0].endswith("and are predicted wrong; raise max_width")
    exact, said = fit(X, y, width=20, complete=True, max_width=20, seed=0)
    assert same(exact, fit(X, y, width=20, seed=0)[0]) and said
    enough, said = fit(X, y, width=20, complete=True, max_width=5000, seed=0)
    assert enough.score(X, y) == 1.0 and not said


def test_contradictions_are_refused_before_the_work(monkeypatch):
    X, y = moons(100)
    X, y = np.concatenate([X, X[:1]]), np.append(y, 1 - y[0])
    with monkeypatch.context() as patch:
        patch.setattr("fastmem.algorithm.FirstLayer", lambda *_: pytest.fail("it has begun"))
        with pytest.raises(fastmem.ContradictionError, match="contradictions='majority'"):
            fastmem.interpolate(X, y, width=64, complete=True)
    net, said = fit(X, y, width=64, complete=True, contradictions="majority", seed=0)
    assert not said
    assert np.flatnonzero(net.predict(X) != y).tolist() == net.report.relabelled.tolist()


def test_any_number_of_threads_gives_the_same_network():
    X, y = moons()
    assert same(*(fit(X, y, width=30, complete=True, seed=2, n_threads=n)[0] for n in (1, 2)))


@settings(max_examples=25)
@given(
    st.integers(1, 70), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 2**20),
    st.sampled_from([1.0, 1e-12, 2.0**-40, 1e250]),
)  # fmt: skip
def test_random_labels_are_memorised_from_any_width(width, margin, seed, scale):
    generator = np.random.default_rng(seed)
    X = 1.0 + scale * generator.integers(0, 6, (60, 2)).astype(float)
    X, rows = np.unique(X, axis=0, return_index=True)
    y = np.arange(len(rows)) % 3
    net, said = fit(X, y, width=width, margin=margin, complete=True, seed=seed)
    assert net.score(X, y) == 1.0 and not said


@pytest.mark.parametrize("width", [256, 1024, 2048])
def test_the_settings_for_unseen_points_are_exact(width):
    cancer = pytest.importorskip("sklearn.datasets").load_breast_cancer(return_X_y=True)
    as_the_paper = {"scale": "none", "max_bias": "radius"}
    net, said = fit(*cancer, width=width, margin=0.5, seed=0, **as_the_paper)
    assert net.score(*cancer) < 1 and "complete=True" in said[0]
    whole, said = fit(*cancer, width=width, margin=0.5, complete=True, seed=0)
    assert whole.score(*cancer) == 1.0 and not said
    whole, said = fit(*cancer, width=width, margin=0.5, complete=True, seed=0, **as_the_paper)
    assert whole.score(*cancer) == 1.0 and not said
    assert whole.widths[0] < width + 64  # rows that are aimed are few
    assert {step.kind for step in whole.report.growth[1:]} == {"targeted"}


def test_the_classifier_completes_itself():
    sklearn = pytest.importorskip("fastmem.sklearn")
    X, y = moons(300)
    model = sklearn.InterpolatingClassifier(
        decision="cells", width=20, margin=0.5, complete=True, random_state=0
    )
    assert model.fit(X, y).score(X, y) == 1.0
    net = fastmem.interpolate(X, y, width=20, margin=0.5, complete=True, seed=0)
    assert same(model.network_, net)
