"""What a fit is given: what it says of its settings, and what it refuses before any work."""

from __future__ import annotations

import numpy as np
import pytest

import fastmem
from fastmem.problem import checked_problem

X = np.arange(12.0)[:, None]
Y = np.arange(12) % 3


@pytest.mark.parametrize(
    ("parameters", "to_cover", "leave_one_out"),
    [
        ({}, [0, 1, 2], True),
        ({"margin": 0.5}, [0, 1, 2], False),
        ({"covered": "all"}, [0, 1, 2], False),
        ({"covered": [2, 0]}, [0, 2], False),
    ],
)
def test_one_class_is_left_out_only_where_nobody_says_otherwise(
    parameters, to_cover, leave_one_out
):
    problem = checked_problem(X, Y, **parameters)
    assert (list(problem.to_cover), problem.leave_one_out) == (to_cover, leave_one_out)
    np.testing.assert_array_equal(problem.classes[problem.codes], Y)


@pytest.mark.parametrize(
    ("parameters", "is_real", "by_sums", "only_inside"),
    [
        ({}, False, False, False),
        ({"compact": True}, False, False, True),
        ({"compact": True, "margin": 0.5}, False, False, False),
        ({"activation": "relu"}, True, False, True),
        ({"activation": "relu", "margin": 0.5}, True, False, True),
        ({"activation": "relu", "selection": "random"}, True, True, True),
    ],
)
def test_real_sums_decide_in_the_papers_selection_only(parameters, is_real, by_sums, only_inside):
    problem = checked_problem(X, Y, **parameters)
    assert problem.is_real == is_real
    assert problem.covers_by_sums == by_sums
    assert problem.only_inside == only_inside


def test_equal_points_of_different_labels_are_refused_only_where_the_width_is_to_be_found():
    both = np.concatenate([X, X[:1]]), np.append(Y, 1)
    with pytest.raises(fastmem.ContradictionError):
        checked_problem(*both)
    assert len(checked_problem(*both, width=5).codes) == 13


def test_settings_are_refused_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr("fastmem.problem.extent_of", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(fastmem.InvalidInputError, match="margin is 2"):
        checked_problem(X, Y, margin=2)
    with pytest.raises(fastmem.InvalidInputError, match="memory_limit is 1,000 bytes, but"):
        checked_problem(X, Y, memory_limit=1000)
