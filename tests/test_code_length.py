"""Bits a label: what the smallest network takes, and what that says of data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import sparse

from fastmem.experiments import complexity as study
from fastmem.experiments.code_length import code_length
from fastmem.experiments.complexity_report import ComplexityReport
from fastmem.inputs import InvalidInputError
from fastmem.network.report import label_entropy


def clouds(n=240, seed=0, apart=5.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.standard_normal((n, 4)) + apart * y[:, None], y


def test_simple_labels_are_short_and_permuted_ones_long():
    X, y = clouds()
    found = code_length(X, y, seed=0, effort=0)
    assert found.to_entropy < 0.6 < 1.0 < np.mean(found.permuted) / found.label_entropy
    assert found.to_permuted < 0.3
    assert len(found.bits) == len(found.neurons) == 3 and len(found.permuted) == 2
    assert "bits a label" in str(found)


def test_wrong_labels_cost_bits():
    X, y = clouds(seed=1)
    before = code_length(X, y, seed=0, effort=0)
    y[::20] = (y[::20] + 1) % 3
    after = code_length(X, y, seed=0, effort=0)
    assert min(after.bits) > 1.5 * max(before.bits)


def test_costs_of_points_are_those_of_the_conjunctions():
    X, y = clouds(seed=2, apart=1.0)
    found = code_length(X, y, seed=0, effort=0, keys=1, permuted=1)
    counts = np.bincount(y)
    np.testing.assert_allclose(np.dot(found.by_class, counts), found.points.sum())
    # the file is no longer than its conjunctions one by one, but for its head
    assert found.points.sum() < 8 * 40 + found.bits[0] * 240


def test_the_entropy_is_that_of_the_shares_of_classes():
    assert label_entropy(np.array([2, 2, 0, 2, 2])) == 2.0
    assert label_entropy(np.array([5])) == label_entropy(np.array([0, 5])) == 0.0


def test_many_points_are_sampled_with_all_classes():
    X, y = clouds(600, seed=3)
    y[5] = 3
    found = code_length(X, y, seed=0, effort=0, most_points=100, keys=1, permuted=1)
    assert found.n_samples == 100 and len(found.by_class) == 4 and 5 in found.rows
    assert (np.diff(found.rows) > 0).all()


def test_sparse_points_and_words():
    X, y = clouds(150, seed=4)
    words = np.array(["a", "b", "c"])[y]
    found = code_length(sparse.csr_matrix(X), words, seed=0, effort=0, keys=1, permuted=1)
    assert found.to_entropy < 1


@pytest.mark.parametrize("name", ["keys", "permuted", "most_points"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "few", None, True])
def test_counts_are_checked(name, value):
    X, y = clouds(20)
    with pytest.raises(InvalidInputError, match=name):
        code_length(X, y, **{name: value})


def test_a_study_of_complexity_says_bits_a_label():
    X, y = clouds(80, seed=5)
    y[3], X[3] = (y[4] + 1) % 3, X[4]  # a contradiction, which is left out
    report = study.complexity(X, y, trials=1, width=128, n_layers=2, seed=0)
    assert report.bits.n_samples == 78
    assert not {3, 4} & {row for row, _ in report.bits.costliest}
    again = ComplexityReport.from_json(report.to_json())
    assert again.bits == report.bits and again.bits.points is None
    facts = json.loads(report.to_json())
    del facts["bits"]  # as older reports have none
    assert ComplexityReport.from_json(json.dumps(facts)).bits is None
