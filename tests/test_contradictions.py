"""Equal points: counted once before the work, and what is made of different labels of theirs."""

from __future__ import annotations

import pickle
import tempfile
import warnings
from collections import Counter
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fastmem
from fastmem.errors import NotEnoughMemoryError
from fastmem.inputs import check_points
from fastmem.inputs import equal_rows as equal
from fastmem.inputs.contradictions import contradicting, contradictions, settled
from fastmem.problem import checked_problem

FORMS = ["float64", "float32", "fortran", "sparse", "narrow", "pandas", "polars", "file"]


OPEN = ExitStack()


@pytest.fixture(autouse=True)
def _closes_files():
    with OPEN:
        yield


def in_form(X, form):
    """The points in the ways that users and the command line bring them."""
    if form in ("float64", "float32"):
        return X.astype(form)
    if form == "fortran":
        return np.asfortranarray(X)
    if form in ("sparse", "narrow"):  # dense blocks, and rows of nonzeros
        rows = sparse.lil_matrix((len(X), X.shape[1] + (130 if form == "narrow" else 0)))
        rows[:, : X.shape[1]] = X
        return rows.tocsr()
    if form == "file":
        from fastmem.tables.spool import FilePoints

        file = OPEN.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        file.write(np.ascontiguousarray(X).tobytes())
        file.flush()
        return FilePoints(file, X.shape, X.dtype)
    columns = {f"x{k}": column for k, column in enumerate(X.T)}
    return pytest.importorskip(form).DataFrame(columns)


def repeated(n=600, different=40, d=3, n_classes=4, seed=0):
    """Rows that repeat a few points, each with a label of its own."""
    generator = np.random.default_rng(seed)
    few = np.unique(generator.integers(-3, 4, (different, d)).astype(float), axis=0)
    which = generator.permutation(np.resize(np.arange(len(few)), n))
    return few[which], generator.integers(0, n_classes, n), which


def majority(X, y):
    """By the book: the most frequent label of each row's equals, of equals the least."""
    labels: dict = {}
    keys = [tuple((row + 0.0).tolist()) for row in X]
    for key, label in zip(keys, y.tolist(), strict=True):
        labels.setdefault(key, Counter())[label] += 1
    best = {k: min(c, key=lambda one: (-c[one], one)) for k, c in labels.items()}
    return np.array([best[key] for key in keys])


def fit(*args, **settings):
    """A network and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net = fastmem.interpolate(*args, seed=0, **settings)
    return net, [str(one.message) for one in caught]


def same(one, other):
    """Whether two networks are the same in all that predicts."""
    layers = [(n.first.weights, n.first.biases, n.second.masks, n.second.thresholds,
               n.second.owners, n.classes_, np.array(n.covered)) for n in (one, other)]  # fmt: skip
    return all(np.array_equal(a, b) for a, b in zip(*layers, strict=True))


# --- which rows are equal -----------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from([0.0, -0.0, 1.0, 2.0]), st.integers(0, 2)), min_size=1),
    st.sampled_from(["dense", "narrow"]),
    st.integers(1, 8),
)
def test_groups_are_those_of_equal_points_even_where_hashes_collide(rows, form, n_hashes):
    X = np.array(rows, float)
    points = check_points(in_form(X, "narrow" if form == "narrow" else "float64"))
    expected: dict = {}
    for i, row in enumerate(rows):
        expected.setdefault(row, []).append(i)  # 0.0 == -0.0
    groups = sorted(group for group in expected.values() if len(group) > 1)
    codes = np.arange(len(rows)) % 3
    for modulus in (2**64 - 1, n_hashes):  # as they are, and such that different points share one
        with pytest.MonkeyPatch.context() as patch:
            original = equal._hashes_of
            patch.setattr(
                equal, "_hashes_of", lambda *block, m=modulus, f=original: f(*block) % np.uint64(m)
            )
            found = equal.equal_rows(points, 2)
            assert [group.tolist() for group in found.groups()] == groups
            assert found.n_repeats == len(rows) - len(expected)
            contrary = [g for g in groups if len(set(codes[g].tolist())) > 1]
            assert [g.tolist() for g in contradictions(points, codes, 1)] == contrary
            asked = np.arange(0, len(rows), 2)
            flags = contradicting(points, codes, asked, 1)
            assert flags.tolist() == [any(i in g for g in contrary) for i in asked.tolist()]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60))
def test_the_most_frequent_label_wins_and_of_equals_the_first(rows):
    X, codes = np.array(rows).T
    X = X[:, None].astype(float)
    found = settled(equal.equal_rows(check_points(X), 1), codes)
    np.testing.assert_array_equal(found, majority(X, codes))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [40, 513, 3000])
def test_repeats_are_seen_in_a_sample_and_nothing_else_is(form, n):
    generator = np.random.default_rng(n)
    different = generator.permutation(4 * n)[: 2 * n].reshape(n, 2).astype(float)
    twice = different[generator.permutation(np.repeat(np.arange(n // 2), 2))]
    assert not equal.look_repeated(check_points(in_form(different, form)))
    assert equal.look_repeated(check_points(in_form(twice, form)))
    assert equal.look_repeated(check_points(in_form(np.sort(twice, axis=0), form))) or n > 500


# --- equal points once --------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "settings",
    [{}, {"width": 100}, {"width": 40, "complete": True}, {"memory_limit": "300 MB"}],
    ids=str,
)
def test_a_fit_of_repeats_is_that_of_the_different_points(form, settings):
    X, _, which = repeated()
    y = which % 3  # no contradictions
    first = np.sort(np.unique(which, return_index=True)[1])
    net, _ = fit(in_form(X, form), y, **settings)
    once, _ = fit(in_form(X[first], form), y[first], **settings)
    assert same(net, once)
    assert (net.report.n_samples, net.report.n_distinct) == (len(X), len(first))
    assert once.report.n_distinct == once.report.n_samples == len(first)
    assert net.summary["n_samples"] == len(X)
    wrong = np.flatnonzero(net.predict(in_form(X, form)) != y)
    np.testing.assert_array_equal(net.report.unseparated, wrong)


@pytest.mark.parametrize(
    "settings",
    [{"activation": "relu"}, {"selection": "random"}, {"margin": 0.5}, {"compact": True},
     {"projection": "structured"}, {"covered": "all"}, {"covered": [2, 0]}, {"center": False},
     {"width": "smallest"}],
    ids=str,
)  # fmt: skip
def test_repeats_are_memorised_with_all_settings(settings):
    X, _, which = repeated()
    net, said = fit(X, which % 3, **settings)
    assert net.score(X, which % 3) == 1.0 and not said
    assert net.report.n_distinct == len(set(which.tolist()))


def test_every_equal_row_of_an_unseparated_point_is_named():
    X, y, _ = repeated(different=200)
    net, said = fit(X, y, width=3)
    wrong = np.flatnonzero(net.predict(X) != y)
    np.testing.assert_array_equal(net.report.unseparated, wrong)
    assert len(wrong) > 200 and said[0].startswith(f"{len(wrong)} of 600 training points")


def test_points_that_repeat_less_than_half_of_the_time_are_taken_as_they_are():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(300, 2))
    y = generator.integers(0, 2, 300)
    many, some = (np.concatenate([np.arange(300), np.arange(k)]) for k in (300, 299))
    assert fit(X[many], y[many])[0].report.n_distinct == 300
    assert fit(X[some], y[some])[0].report.n_distinct == 599
    # the same mean and largest norm, so the same hyperplanes; each point twice is each once
    assert same(fit(X[many], y[many], width=90)[0], fit(X, y, width=90)[0])


def test_what_a_fit_needs_is_counted_for_the_different_points(monkeypatch):
    X, y, _ = repeated()
    y = (X.sum(axis=1) > 0).astype(int)
    sizes = []

    def few(shape, settings):
        sizes.append(shape.n_samples)
        if shape.n_samples > 100:
            raise NotEnoughMemoryError("too many")

    monkeypatch.setattr("fastmem.problem.require_for_fit", few)
    for settings in ({}, {"width": 50}):
        problem = checked_problem(X, y, **settings)
        assert sizes.pop() == problem.points.n_samples < 100
        assert problem.shape.n_rows == len(X)
    with pytest.raises(NotEnoughMemoryError):
        checked_problem(np.arange(600.0)[:, None], y)


# --- contradictions -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [600, 60])  # half of the points are repeats, and less than half
@pytest.mark.parametrize("width", ["auto", 400])
def test_the_majority_is_memorised_and_the_rest_is_named(form, n, width):
    if n == 600:
        X, y, _ = repeated()
    else:
        generator = np.random.default_rng(1)
        X = np.concatenate([generator.integers(0, 90, (45, 3)).astype(float)] * 2)[:n]
        y = generator.integers(0, 3, n)
    right = majority(X, y)
    net, said = fit(in_form(X, form), y, width=width, contradictions="majority")
    assert not said
    np.testing.assert_array_equal(net.predict(in_form(X, form)), right)
    np.testing.assert_array_equal(net.report.relabelled, np.flatnonzero(right != y))
    assert net.report.relabelled.dtype == np.int64
    assert len(net.report.unseparated) == len(net.report.contradictory) == 0
    assert net.summary["n_relabelled"] == (right != y).sum()
    assert net.score(in_form(X, form), y) == np.mean(right == y)
    plain, _ = fit(in_form(X, form), right, width=width)
    if len(set(right.tolist())) == len(set(y.tolist())):
        assert same(net, plain)


def test_nothing_is_relabelled_without_contradictions():
    X, _, which = repeated()
    for points, y in ((X, which % 3), (np.arange(9.0)[:, None], np.arange(9) % 2)):
        net, _ = fit(points, y, contradictions="majority")
        assert same(net, fit(points, y)[0])
        assert len(net.report.relabelled) == 0 and "n_relabelled" not in net.summary


@pytest.mark.parametrize("lost", [[1], [1, 2], [3]])
@pytest.mark.parametrize("covered", ["auto", "all", "list"])
@pytest.mark.parametrize("activation", ["threshold", "relu"])
def test_a_class_whose_points_all_lose_stays_known_and_is_never_predicted(
    tmp_path, lost, covered, activation
):
    groups = [[0, 0, code] if code in lost else [code] for code in range(4)]
    X = np.concatenate([np.full(len(group), i) for i, group in enumerate(groups)])
    X = np.concatenate([X, -1.0 - np.arange(4)])[:, None]
    y = np.concatenate([*groups, np.zeros(4, int)])
    names = np.array(["a", "b", "c", "d"])
    net, _ = fit(
        X, names[y], contradictions="majority", activation=activation,
        covered=list(names[1:]) if covered == "list" else covered,
    )  # fmt: skip
    right = np.where(np.isin(y, lost), 0, y)
    net.save(tmp_path / "net.npz")
    for one in (net, fastmem.load(tmp_path / "net.npz")):
        assert one.classes_.tolist() == names.tolist()
        assert one.predict(X).tolist() == names[right].tolist()
        assert one.score(X, names[y]) == np.mean(right == y)
        assert (one.decision_function(X)[:, lost] == -np.inf).all()
    assert net.report.classes.tolist() == names.tolist()
    assert net.report.covered == net.covered


def test_points_that_tell_nothing_are_refused():
    with pytest.raises(fastmem.InvalidInputError, match="all points have one class once equal"):
        fastmem.interpolate(np.ones((4, 2)), [0, 1, 1, 1], contradictions="majority")


def test_refusals_name_pairs_and_count_and_what_helps():
    X, y, _ = repeated()
    for settings in ({}, {"width": "smallest"}, {"width": 50, "complete": True}):
        with pytest.raises(fastmem.ContradictionError) as refused:
            fastmem.interpolate(X, y, **settings)
        groups = contradictions(check_points(X), y, 1)
        assert refused.value.count == sum(map(len, groups))
        expected = [(g[0], g[np.argmax(y[g] != y[g[0]])]) for g in groups[:3]]
        assert refused.value.pairs == expected
        assert "pass contradictions='majority'" in str(refused.value)
        assert "width" not in str(refused.value)
        assert fit(X, y, contradictions="majority", **settings)[1] == []


def test_contradictions_are_told_apart_from_a_width_that_is_too_small():
    X, _, which = repeated()
    y = which % 3
    y[:2] = (y[:2] + 1) % 3  # both rows' equals now have another label
    net, said = fit(X, y, width=1500, covered="all")
    contrary = np.concatenate(contradictions(check_points(X), y, 1))
    np.testing.assert_array_equal(net.report.contradictory, np.sort(contrary))
    np.testing.assert_array_equal(net.report.unseparated, net.report.contradictory)
    assert said == [
        f"{len(contrary)} of 600 training points (rows "
        f"{', '.join(str(row) for row in net.report.unseparated[:3])}, ...; all in "
        f"report.unseparated) equal a point of another label and are predicted wrong, as some "
        f"would be at any width; pass contradictions='majority', or remove or relabel them"
    ]
    net, said = fit(X, y, width=6, covered="all")
    np.testing.assert_array_equal(net.report.contradictory, np.sort(contrary))
    others = len(net.report.unseparated) - len(contrary)
    assert others > 0
    assert f"are predicted wrong: {len(contrary)} equal a point of another label" in said[0]
    assert f"and {others} cannot be covered with 6 hyperplanes (raise width, or pass" in said[0]
    # each piece of advice, taken, leads on
    assert fit(X, y, width=6, contradictions="majority", complete=True)[1] == []
    _, said = fit(X, y, width=6, contradictions="majority")
    assert "equal a point" not in said[0] and "complete=True" in said[0]
    _, said = fit(X, y, contradictions="majority", max_width=6)
    assert said[0].endswith("and are predicted wrong; raise max_width")


def test_the_classifier_takes_the_same_way():
    sklearn = pytest.importorskip("fastmem.sklearn")
    X, y, _ = repeated()
    cells = {"decision": "cells"}
    for settings in (
        {"decision": "vote"}, cells, cells | {"width": 50},
        cells | {"width": 50, "complete": True},
    ):  # fmt: skip
        model = sklearn.InterpolatingClassifier(random_state=0, **settings)
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            model.fit(X, y)
        net, _ = fit(X, y, contradictions="majority", n_threads=1, **settings)
        assert same(model.network_, net)
        np.testing.assert_array_equal(model.relabelled_, net.report.relabelled)
        assert model.network_.report.n_distinct == net.report.n_distinct < 50


def test_reports_that_were_pickled_before_have_what_is_new():
    report = fit(*repeated()[:2], width=50)[0].report
    state = vars(report).copy()
    for name in ("contradictory", "relabelled", "n_distinct"):
        del state[name]
    old = object.__new__(type(report))
    old.__setstate__(state)
    assert len(old.contradictory) == len(old.relabelled) == 0
    assert old.n_distinct == old.n_samples == 600
    assert pickle.loads(pickle.dumps(report)).n_distinct == report.n_distinct < 600
