"""Explanations: everything that one says is checked against the network and the rows themselves."""

from __future__ import annotations

import contextlib
import itertools
import json

import numpy as np
import pytest
from decision_lists import make_list
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmem
from fastmem.inputs import check_points
from fastmem.network.explanations.flips import fewest_flips, fewest_flips_of_list, flipped
from fastmem.network.explanations.votes import contributions
from fastmem.patterns.words import packed, unpacked

KINDS = {
    "merge": {},
    "random": {"selection": "random"},
    "compact": {"compact": True},
    "all, with a margin": {"covered": "all", "margin": 0.5},
    "structured": {"projection": "structured"},
    "relu": {"activation": "relu", "projection": "gaussian"},
    "vote": {"decision": "vote", "width": 64},
    "list": None,
}


def labelled(seed, n=120, d=3, n_classes=3, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)).round(2).astype(dtype)
    borders = np.quantile(X[:, 0] + X[:, 1] ** 2, np.arange(1, n_classes) / n_classes)
    y = np.array(list("abcdef"))[np.digitize(X[:, 0] + X[:, 1] ** 2, borders)]
    X, rows = np.unique(X, axis=0, return_index=True)
    return X, y[rows]


def fitted(kind, X, y, seed=0):
    if kind == "list":
        for key in itertools.count(seed):  # some keys tell some points not apart
            with contextlib.suppress(ValueError):
                return make_list(X, y, n=512, n_entries=2, key=key)
    return fastmem.interpolate(X, y, seed=seed, n_threads=1, **KINDS[kind])


def patterns_of(network, X):
    points = np.asarray(X, np.float64)
    points = points if network.scale is None else points * network.scale
    return unpacked(fastmem.sign_patterns(points, network.first), len(network.first))


def counts_of(network, X, neuron):
    mask = unpacked(network.second.masks, len(network.first))[neuron]
    return (patterns_of(network, X) & mask).sum(axis=1)


cases = st.tuples(
    st.sampled_from(list(KINDS)), st.integers(0, 2**20), st.integers(2, 4), st.booleans()
)


@given(cases, st.sampled_from([np.float32, np.float64]), st.integers(0, 2**20))
@settings(max_examples=40)
def test_what_an_explanation_says_is_so(case, dtype, number):
    kind, seed, n_classes, is_known = case
    X, y = labelled(seed, n_classes=n_classes, dtype=dtype)
    network = fitted(kind, X, y, seed)
    rng = np.random.default_rng(number)
    x = X[number % len(X)] if is_known else rng.standard_normal(3).astype(dtype)
    found = network.explain(x, X, y, n_prototypes=4, n_threads=1)
    assert found.label == network.predict(x[None])[0]
    assert found.runner_up != found.label
    assert found.decision == network.decision
    assert found.n_rows == (y == found.label).sum()
    json.dumps(found.to_dict())
    assert str(found.label) in str(found) and found._repr_html_().startswith("<table>")
    for one in (*found.prototypes, *found.counter_prototypes):
        assert y[one.row] == one.label
        np.testing.assert_array_equal(one.features, X[one.row])
    assert all(one.label == found.label for one in found.prototypes)
    assert all(one.label != found.label for one in found.counter_prototypes)
    if found.neuron is None:
        return
    counts = counts_of(network, X, found.neuron)
    distances = (patterns_of(network, X) != patterns_of(network, x[None])).sum(axis=1)
    own, threshold = y == found.label, network.second.thresholds[found.neuron]
    others = ~own
    if kind == "list":
        last = network.deciding_neurons(X)
        own &= last == found.neuron
        others &= (last < 0) | (last >= found.neuron)
    assert found.threshold == threshold and network.second.owners[found.neuron] == list(
        network.classes_
    ).index(found.label)
    assert found.n_stored == (own & (counts == 0)).sum()
    stored = np.flatnonzero(own & (counts == 0))
    expected = stored[np.lexsort((stored, distances[stored]))][:4]
    assert [one.row for one in found.prototypes] == expected.tolist()
    assert all(one.count == 0 for one in found.prototypes)
    assert [one.distance for one in found.prototypes] == distances[expected].tolist()
    away = np.flatnonzero(others)
    if kind == "relu":
        nearest = found.counter_prototypes[0].count
        assert nearest == pytest.approx(float(threshold), rel=1e-5)
        return
    best = away[np.lexsort((away, distances[away], counts[away]))][:4]
    assert [one.row for one in found.counter_prototypes] == best.tolist()
    assert [one.count for one in found.counter_prototypes] == counts[best].tolist()
    assert found.n_covered == (own & (counts < threshold)).sum()
    if kind in ("merge", "random", "structured", "all, with a margin"):
        # by which the threshold was set, unless `compact` lowered it
        assert found.counter_prototypes[0].count == threshold
    else:
        assert found.counter_prototypes[0].count >= threshold


@given(cases)
@settings(max_examples=30)
def test_changes_are_predicted_so_and_begin_where_they_say(case):
    kind, seed, n_classes, is_known = case
    X, y = labelled(seed, n_classes=n_classes)
    network = fitted(kind, X, y, seed)
    rng = np.random.default_rng(seed)
    x = X[seed % len(X)] if is_known else rng.standard_normal(3)
    found = network.explain(x, X, y, n_threads=1)
    assert found.n_searched == 3
    along = [one for one in found.changes if one.column is not None]
    assert [one.distance for one in along] == sorted(one.distance for one in along)
    low, high = X.min(axis=0), X.max(axis=0)
    for change in found.changes:
        point = np.array(change.features)
        assert network.predict(point[None])[0] == change.label != found.label
        if change.column is None:
            assert 0 < change.after <= 1
            target = np.array(found.counter_prototypes[0].features)
            np.testing.assert_array_equal(point, (1 - change.after) * x + change.after * target)
            before = np.nextafter(change.after, 0)
            there = (1 - before) * x + before * target
        else:
            k = int(change.column[1:])
            assert change.before == x[k] and change.after == point[k]
            assert (np.delete(point, k) == np.delete(x, k)).all()
            assert low[k] <= point[k] <= high[k]
            assert change.distance == pytest.approx(abs(point[k] - x[k]) / (high - low)[k])
            there = point.copy()
            there[k] = np.nextafter(point[k], x[k])
        # the last float before it has the old label
        assert network.predict(there[None])[0] == found.label


@given(st.sampled_from(["merge", "random", "compact", "list"]), st.integers(0, 2**20))
@settings(max_examples=25)
def test_no_change_along_a_feature_is_nearer(kind, seed):
    X, y = labelled(seed, n=60)
    network = fitted(kind, X, y, seed)
    x = np.random.default_rng(seed).standard_normal(3)
    found = network.explain(x, X, y, n_changes=6, n_threads=1)
    low, high = X.min(axis=0), X.max(axis=0)
    reached = {}
    for change in found.changes:
        if change.column is not None:
            k = int(change.column[1:])
            reached[k, change.after > x[k]] = change.after
    for k in range(3):
        for up in (False, True):
            end = high[k] if up else low[k]
            if (end > x[k]) != up or end == x[k]:
                assert (k, up) not in reached
                continue
            last = reached.get((k, up), end)
            steps = np.repeat(x[None], 400, axis=0)
            steps[:, k] = x[k] + (last - x[k]) * np.linspace(0, 0.9999, 400)
            assert (network.predict(steps) == found.label).all()


def labels_by_definition(network, bits):
    """The classes of patterns (P, n) bool, whether points have them or not."""
    masks = unpacked(network.second.masks, len(network.first))
    margins = network.second.thresholds - bits.astype(float) @ masks.T.astype(float)
    owners = network.second.owners
    if network.default is not None:
        on = margins > 0
        first = owners[on.argmax(axis=1)]
        return network.classes_[np.where(on.any(axis=1), first, network.default)]
    scores = np.full((len(bits), len(network.classes_)), 0.5)
    for k in network.covered:
        scores[:, k] = margins[:, owners == k].max(axis=1, initial=-np.inf)
    return network.classes_[scores.argmax(axis=1)]


@given(
    st.sampled_from(["merge", "random", "compact", "all, with a margin", "list"]),
    st.integers(0, 2**20), st.integers(2, 4),
)  # fmt: skip
@settings(max_examples=40)
def test_flips_change_the_label_and_no_fewer_do_where_that_is_said(kind, seed, n_classes):
    X, y = labelled(seed, n=25, n_classes=n_classes)
    network = fitted(kind, X, y, seed)
    x = np.random.default_rng(seed).standard_normal(3)
    found = network.explain(x, X, y, n_threads=1)
    n = len(network.first)
    pattern = patterns_of(network, x[None])
    assert labels_by_definition(network, pattern)[0] == found.label
    if found.flips is None:
        return
    bits = np.array(found.flips.hyperplanes)
    assert len(set(bits.tolist())) == len(bits) > 0
    other = pattern.copy()
    other[0, bits] ^= True
    assert labels_by_definition(network, other)[0] == found.flips.label != found.label
    if found.flips.are_fewest and len(bits) > 1:
        size = min(len(bits) - 1, 2)  # all sets of one or two
        sets = np.array(list(itertools.combinations(range(n), size)))
        fewer = np.repeat(pattern, len(sets), axis=0)
        fewer[np.arange(len(sets))[:, None], sets] ^= True
        assert (labels_by_definition(network, fewer) == found.label).all()


def test_flipped_bits_are_those_named():
    pattern = np.array([0b1011, 1], np.uint64)
    assert flipped(pattern, np.array([0, 2, 65]), 66).tolist() == [0b1110, 3]


@pytest.mark.parametrize("kind", ["all", "some", "list"])
def test_flips_against_all_sets_of_bits(kind):
    rng = np.random.default_rng(0)
    n_proved = n_not_fewest = n_missed = 0
    for _ in range(250):
        n, m, n_classes = int(rng.integers(1, 10)), int(rng.integers(1, 40)), 3
        masks = rng.random((m, n)) < 0.5
        owners = rng.integers(0, n_classes - (kind == "some"), m).astype(np.int32)
        thresholds = np.ones(m, np.int32)
        if kind != "list":
            owners.sort()
            thresholds = rng.integers(1, n + 1, m).astype(np.int32)
        second = fastmem.CoverLayer(packed(masks), thresholds, owners)
        covered = tuple(np.unique(owners).tolist())
        first = fastmem.Hyperplanes(np.zeros((n, 1), np.float32), np.zeros(n))
        default = 0 if kind == "list" else None
        network = fastmem.Network(np.arange(n_classes), first, second, covered, default=default)
        sets = np.array(list(itertools.product([False, True], repeat=n)))
        bits = rng.random(n) < 0.5
        labels = labels_by_definition(network, bits ^ sets)
        sizes = sets.sum(axis=1)
        changed = labels != labels[0]  # the first flips nothing
        of_patterns, pattern = network._decider.codes_of_patterns, packed(bits[None])[0]
        np.testing.assert_array_equal(of_patterns(packed(bits ^ sets)), labels)
        if kind == "list":
            found = fewest_flips_of_list(second, pattern, n, of_patterns)
        else:
            found = fewest_flips(second, covered, n_classes, pattern, n, of_patterns)
        if found is None:
            n_missed += changed.any()
            continue
        chosen, are_fewest = found
        here = np.flatnonzero((sets[:, chosen].all(axis=1)) & (sizes == len(chosen)))
        assert changed[here].tolist() == [True]
        if are_fewest:
            assert len(chosen) == sizes[changed].min()
        n_proved += are_fewest
        n_not_fewest += len(chosen) > sizes[changed].min()
    assert n_proved > 100 and n_not_fewest < 10 and n_missed < 20


@pytest.mark.parametrize("kind", ["merge", "all, with a margin", "compact"])
def test_most_flips_are_proved_to_be_fewest(kind):
    X, y = labelled(4, n=200)
    found = fitted(kind, X, y).explain(X[:50], X, y)
    assert sum(one.flips is not None and one.flips.are_fewest for one in found) > 40


@pytest.mark.parametrize("kind", KINDS)
def test_threads_batches_and_forms_of_points_do_not_matter(kind):
    from scipy import sparse

    X, y = labelled(3, n=2000 if kind != "list" else 500)
    network = fitted(kind, X, y)
    together = network.explain(X[:4], X, y, n_threads=2)
    for i in range(2):
        assert network.explain(X[i], X, y, n_threads=1) == together[i]
        assert network.explain(X[i : i + 1].tolist(), np.asfortranarray(X), y) == together[i]
        rows = sparse.csr_matrix(X)
        assert network.explain(rows[i : i + 1], rows, y) == together[i]


def test_scaled_networks_speak_of_features_as_they_came():
    X, y = labelled(5)
    X = X * [1.0, 2.0**40, 2.0**-30]
    network = fastmem.interpolate(X, y, scale="std", seed=0)
    assert network.scale is not None
    found = network.explain(X[7], X, y)
    assert len(found.changes) > 1
    for change in found.changes:
        assert network.predict(np.array([change.features]))[0] == change.label != found.label


def test_votes_add_up():
    X, y = labelled(6, n=400)
    network = fastmem.interpolate(X, y, seed=0, decision="vote", width=64)
    scores = network.decision_function(X)
    by_neurons = 0
    for i, found in enumerate(network.explain(X[:60], X, y, n_changes=0)):
        labels = list(network.classes_)
        code, other = labels.index(found.label), labels.index(found.runner_up)
        lead = scores[i, code] - scores[i, other]
        assert (
            found.readout_votes + found.neuron_votes == lead == found.score - found.runner_up_score
        )
        by_neurons += found.neuron is not None
        alone = network.readout.votes(check_points(X[i : i + 1]).block(0, 1))[0]
        assert network.scale is None and (found.neuron is None) == (alone.argmax() == code)
        point = check_points(
            X[i : i + 1] if network.scale is None else X[i : i + 1] * network.scale
        )
        everything, total = contributions(network.readout, point, code, other, 64)
        sums = sum(one.votes for one in everything)
        levels = network.readout.intercepts
        assert sums + levels[code] - levels[other] == total == found.readout_votes
        assert found.contributions == everything[:5]
        assert all(one.value * one.weight == one.votes for one in everything)
    assert by_neurons, "no exception among the points"


def test_prototypes_of_a_vote_are_nearest_in_space():
    X, y = labelled(6, n=400)
    network = fastmem.interpolate(X, y, seed=0, decision="vote", width=64)
    found = next(one for one in network.explain(X[:20], X, y, n_changes=0) if one.neuron is None)
    scale = 1.0 if network.scale is None else network.scale
    away = np.linalg.norm((X - found.features) * scale, axis=1)
    own = np.flatnonzero(y == found.label)
    expected = own[np.argsort(away[own], kind="stable")[:3]]
    assert [one.row for one in found.prototypes] == expected.tolist()
    assert [one.distance for one in found.prototypes] == pytest.approx(away[expected])


def test_rules_of_a_list_hold_or_fail_as_they_say():
    X, y = labelled(8, n=300)
    network = fitted("list", X, y)
    texts = [text for text, _ in network.rules()]
    for i, found in enumerate(network.explain(X[:40], X, y, n_changes=0)):
        assert found.neuron == (None if network.deciding_neurons(X[i : i + 1])[0] < 0 else
                                network.deciding_neurons(X[i : i + 1])[0])  # fmt: skip
        for rule in found.rules:
            assert " and ".join(rule.comparisons) == texts[rule.neuron]
            assert all(rule.hold) == (rule.neuron == found.neuron)
            assert len(rule.hold) == len(rule.comparisons)
            assert rule.neuron == found.neuron or rule.label != found.label
        if found.neuron is not None:
            assert found.rules[0].neuron == found.neuron


def test_points_that_no_neuron_claims_are_said_to_be_left():
    X, y = labelled(9, n=200, n_classes=2)
    network = fastmem.interpolate(X, y, seed=0)
    (covered,) = network.covered
    i = int(np.argmax(y != network.classes_[covered]))
    found = network.explain(X[i], X, y)
    assert found.neuron is found.threshold is found.count is None
    assert found.score == 0.5 and "left to such points" in str(found)
    assert found.prototypes[0].row == i and found.prototypes[0].distance == 0


def test_contradicting_rows_are_shown_with_their_count():
    X, y = labelled(2)
    X = np.concatenate([X, X[:1]])
    y = np.append(y, "c" if y[0] != "c" else "a")
    network = fastmem.interpolate(X, y, seed=0, contradictions="majority", covered="all")
    found = network.explain(X[0], X, y)
    assert found.counter_prototypes[0].count == 0


def test_no_prototypes_and_no_changes_are_looked_for_where_none_are_asked_for():
    X, y = labelled(1)
    found = fitted("merge", X, y).explain(X[0], X, y, n_prototypes=0, n_changes=0)
    assert found.prototypes == found.counter_prototypes == found.changes == ()
    assert found.flips is None and found.n_searched == 0


def test_features_that_do_not_vary_or_are_too_many_are_left(monkeypatch):
    from fastmem.network.explanations import directions

    X, y = labelled(1)
    X = np.column_stack([X, np.ones(len(X)), 0.01 * X[:, 0]])
    network = fastmem.interpolate(X, y, seed=0)
    assert network.explain(X[0], X, y).n_searched == 4
    monkeypatch.setattr(directions, "MOST_FEATURES", 3)
    found = network.explain(X[0], X, y, n_changes=9)
    assert found.n_searched == 3
    assert {one.column for one in found.changes} <= {"x0", "x1", "x2", None}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0, 2.0], None, None), "3"),
        (([1.0, np.nan, 2.0], None, None), r"x\[0, 1\] is nan"),
        ((np.zeros((0, 3)), None, None), "x has 0 points"),
        ((np.zeros((1001, 3)), None, None), "x has 1,001 points"),
        ((None, np.zeros((4, 2)), None), "2"),
        ((None, None, ["a"]), "y has"),
        ((None, None, "unknown"), "not a class"),
        (([[1.0], [2.0, 3.0]], None, None), "row 1 of x"),
        (("text", None, None), "."),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(arguments, words):
    X, y = labelled(0)
    network = fitted("merge", X, y)
    x, rows, labels = arguments
    x = X[0] if x is None else x
    rows = X if rows is None else rows
    labels = y if labels is None else ["z"] * len(X) if labels == "unknown" else labels
    with pytest.raises(fastmem.InvalidInputError, match=words):
        network.explain(x, rows, labels)


@pytest.mark.parametrize("name", ["n_prototypes", "n_changes"])
@pytest.mark.parametrize("value", [-1, 1.5, "3", None, True])
def test_wrong_numbers_are_refused_by_name(name, value):
    X, y = labelled(0, n=20)
    with pytest.raises(fastmem.InvalidInputError, match=name):
        fitted("merge", X, y).explain(X[0], X, y, **{name: value})
