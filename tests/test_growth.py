"""Targeted rows separate the pairs they are made for, however near these are."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastmem import datasets
from fastmem.hyperplanes.extent import extent_of
from fastmem.hyperplanes.gaussian import rows_between
from fastmem.inputs import check_points
from fastmem.problem import checked_problem
from fastmem.widths import growth
from fastmem.widths.first_layer import FirstLayer

coordinate = st.floats(-1e300, 1e300)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=4),
    st.integers(0, 3),
    st.integers(0, 50),
)
def test_the_axis_row_separates_any_two_different_points(pairs, same, ulps):
    low, high = np.array(pairs).T.copy()
    if same:
        # as near as floats can be, in one coordinate
        high = low.copy()
        for _ in range(ulps + 1):
            high[-1] = np.nextafter(high[-1], 1e308)
    assume(not np.array_equal(low, high))
    weights, biases = rows_between(low, high, np.random.default_rng(0), 2)
    assert weights.shape == (4, len(low)) and np.isfinite(weights).all()
    bits = oracle.exact_bits(np.stack([low, high]), weights[-1:], biases[-1:])
    assert bits.ravel().tolist() == [False, True]


def test_random_rows_pass_between_points_that_are_not_near():
    rng = np.random.default_rng(1)
    low, high = rng.standard_normal((2, 5))
    weights, biases = rows_between(low, high, rng, 20)
    bits = oracle.exact_bits(np.stack([low, high]), weights, biases)
    assert not bits[0].any() and bits[1].all()


@pytest.mark.parametrize("most", [1, 5, 64])
def test_targeted_rows_part_every_pair_they_have_room_for(most):
    X, y = datasets.random_labels(300, 3)
    problem = checked_problem(X, y, max_bias=2.0, n_threads=1)
    layer = FirstLayer(problem, 0)
    layer.start(4)
    layer.fill()
    first, patterns = layer.hyperplanes, layer.patterns
    open_points = growth.OpenPoints(patterns, 0)
    open_points.look(patterns, 4, np.random.SeedSequence(0), 1)
    assert len(open_points.pairs) > 20
    more = growth.targeted_rows(problem, layer, [open_points], most, np.random.default_rng(0))
    assert 1 <= len(more) <= most
    low = X[patterns.rows(0, np.array([p for p, _ in open_points.pairs]))]
    high = X[patterns.rows_at(np.array([q for _, q in open_points.pairs]))]
    before = oracle.separated(*(oracle.exact_bits_filtered(x, first.weights, first.biases)
                                for x in (low, high)))  # fmt: skip
    assert not before.diagonal().any()
    bits = [oracle.exact_bits_filtered(x, more.weights, more.biases) for x in (low, high)]
    parted = (~bits[0] & bits[1]).any(axis=1)
    # every row earns its place, and with room for a row a pair none is left
    assert (~bits[0] & bits[1]).any(axis=0).all()
    assert parted.sum() >= len(more)
    if most == 64:
        assert parted[:64].all()


def test_what_is_separated_stays_so_and_is_not_looked_at_again():
    X, y = datasets.random_labels(600, 8)
    problem = checked_problem(X, y, covered=1, n_threads=2)
    looked = []
    original = growth.OpenPoints.look

    def look(self, *arguments):
        looked.append(len(self.members))
        return original(self, *arguments)

    layer = FirstLayer(problem, 0)
    layer.start(64)
    growth.OpenPoints.look = look
    try:
        steps, *_ = growth.separate(
            problem, layer, np.random.SeedSequence(0), lambda done, total, neurons: None
        )
    finally:
        growth.OpenPoints.look = original
    assert looked == sorted(looked, reverse=True)
    assert [step.open_points for step in steps][-1] == 0
    first = layer.hyperplanes
    bits = oracle.exact_bits_filtered(X, first.weights, first.biases)
    assert len(oracle.uncoverable(bits[y == 1], bits[y == 0])) == 0


def test_mean_and_radius_do_not_depend_on_the_layout_of_large_points():
    X = np.random.default_rng(0).standard_normal((300_000, 20))
    mine, theirs = (extent_of(check_points(table), 2) for table in (X, np.asfortranarray(X)))
    np.testing.assert_array_equal(mine.mean, theirs.mean)
    assert (mine.radius, mine.norm) == (theirs.radius, theirs.norm)
