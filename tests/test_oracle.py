"""The facts that fastmem uses, proved on the oracle itself and so of the algorithm."""

from __future__ import annotations

import ast
import itertools
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracle import Bits, Block, Integers

SELECTIONS = [oracle.cover_random, oracle.cover_merge]
Law = dict[Any, Fraction]

quick = settings(max_examples=60, deadline=None)


def bits(n_rows: int, n: int) -> st.SearchStrategy[Any]:
    """Boolean arrays of shape (n_rows, n)."""
    return hnp.arrays(np.bool_, (n_rows, n))


@st.composite
def two_sets(
    draw: st.DrawFn, most_covered: int = 7, most_hyperplanes: int = 8
) -> tuple[Bits, Bits, list[int]]:
    """Patterns of X-, of X+ and an order; few hyperplanes, so that many points fail."""
    n = draw(st.integers(1, most_hyperplanes))
    n_covered = draw(st.integers(0, most_covered))
    covered = draw(bits(n_covered, n))
    others = draw(bits(draw(st.integers(1, 6)), n))
    return covered, others, list(draw(st.permutations(range(n_covered))))


@st.composite
def classes(draw: st.DrawFn) -> tuple[Bits, Integers, dict[int, list[int]], int]:
    """Patterns, class codes, an order for each class and the number of classes."""
    n_classes = draw(st.integers(2, 4))
    extra = draw(st.lists(st.integers(0, n_classes - 1), max_size=9 - n_classes))
    codes = np.array([*range(n_classes), *extra])
    n_samples = len(codes)
    patterns = draw(bits(n_samples, draw(st.integers(1, 8))))
    orders = {
        code: list(draw(st.permutations(range(int((codes == code).sum())))))
        for code in range(n_classes)
    }
    return patterns, codes, orders, n_classes


def test_the_oracle_imports_nothing_from_fastmem() -> None:
    tree = ast.parse(Path(oracle.__file__).read_text(encoding="utf-8"))
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    assert not {name for name in modules if name.split(".")[0] == "fastmem"}


# --- sign patterns ---------------------------------------------------------------------------


@quick
@given(st.data())
def test_filtered_bits_equal_the_fractions(data: st.DataObject) -> None:
    d = data.draw(st.integers(1, 4))
    dtype, any_finite = data.draw(
        st.sampled_from(
            [
                (np.float32, st.floats(allow_nan=False, allow_infinity=False, width=32)),
                (np.float64, st.floats(allow_nan=False, allow_infinity=False, width=64)),
            ]
        )
    )
    # Small dyadic numbers cancel often, extreme ones overflow and underflow.
    value = st.one_of(st.integers(-4, 4).map(lambda i: i / 4), any_finite)
    X = data.draw(hnp.arrays(dtype, (data.draw(st.integers(0, 4)), d), elements=value))
    weights = data.draw(hnp.arrays(dtype, (data.draw(st.integers(1, 4)), d), elements=value))
    biases = data.draw(hnp.arrays(np.float64, len(weights), elements=value))
    expected = oracle.exact_bits(X, weights, biases)
    np.testing.assert_array_equal(oracle.exact_bits_filtered(X, weights, biases), expected)


@pytest.mark.parametrize("method", [oracle.exact_bits, oracle.exact_bits_filtered])
@quick
@given(
    x=hnp.arrays(np.float64, 3, elements=st.integers(-8, 8).map(lambda i: i / 8)),
    w=hnp.arrays(np.float64, 3, elements=st.integers(-8, 8).map(lambda i: i / 8)),
)
def test_a_point_on_the_hyperplane_has_bit_0_and_the_next_bias_decides(
    method: Callable[..., Bits], x: Any, w: Any
) -> None:
    on_it = -float(x @ w)  # exact: multiples of 1/64 below 4
    biases = np.array([np.nextafter(on_it, -np.inf), on_it, np.nextafter(on_it, np.inf)])
    result = method(x[None], np.tile(w, (3, 1)), biases)
    assert result.tolist() == [[False, False, True]]


def test_a_bit_is_right_where_float64_arithmetic_is_wrong() -> None:
    x, w = np.array([[2.0**60, 1.0, -(2.0**60)]]), np.ones((1, 3))
    assert oracle.exact_bits_filtered(x, w, np.array([-1.0])).item() is False
    assert oracle.exact_bits_filtered(x, w, np.array([-0.5])).item() is True
    smallest = np.array([[5e-324]])
    assert oracle.exact_bits_filtered(smallest, np.array([[0.25]]), np.zeros(1)).item() is True


@pytest.mark.parametrize("n", [1, 63, 64, 65, 128, 130])
@pytest.mark.parametrize("n_samples", [0, 1, 3])
def test_packing_puts_hyperplane_64j_plus_k_at_bit_k_of_word_j(n: int, n_samples: int) -> None:
    patterns = np.random.default_rng(n).random((n_samples, n)) < 0.5
    words = oracle.pack(patterns)
    assert words.shape == (n_samples, -(-n // 64)) and words.dtype == np.uint64
    for i, k in itertools.product(range(n_samples), range(n)):
        assert (int(words[i, k // 64]) >> (k % 64)) & 1 == patterns[i, k]
    assert all(int(word) >> ((n - 1) % 64 + 1) == 0 for word in words[:, -1])
    np.testing.assert_array_equal(oracle.unpack(words, n), patterns)


# --- counts ----------------------------------------------------------------------------------


@quick
@given(st.data())
def test_counts_are_the_sizes_of_intersections(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 70))
    masks, patterns = data.draw(bits(3, n)), data.draw(bits(4, n))
    for b, i in itertools.product(range(3), range(4)):
        both = set(np.flatnonzero(masks[b])) & set(np.flatnonzero(patterns[i]))
        assert oracle.counts(masks, patterns)[b, i] == len(both)


@quick
@given(st.data())
def test_new_ones_are_a_quasi_metric_and_pivots_bound_from_below(data: st.DataObject) -> None:
    p, a, x = data.draw(bits(3, data.draw(st.integers(1, 40))))

    def distance(start: Bits, end: Bits) -> int:
        return int(oracle.counts(~start[None], end[None])[0, 0])

    assert distance(p, p) == 0
    assert distance(p, x) <= distance(p, a) + distance(a, x)
    assert distance(a, x) >= distance(p, x) - distance(p, a)
    assert (distance(p, a) == 0 and distance(a, p) == 0) == bool((p == a).all())


@quick
@given(two_sets())
def test_m_is_0_iff_some_other_pattern_is_below_coordinatewise(
    sets: tuple[Bits, Bits, list[int]],
) -> None:
    covered, others, _ = sets
    expected = oracle.uncoverable(covered, others)
    np.testing.assert_array_equal(np.flatnonzero(oracle.minima(~covered, others) == 0), expected)
    separated_from_all = oracle.separated(covered, others).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(~separated_from_all), expected)


def test_the_minimum_over_no_point_is_refused() -> None:
    with pytest.raises(ValueError, match="others is empty"):
        oracle.minima(np.ones((1, 3), bool), np.ones((0, 3), bool))


# --- selection -------------------------------------------------------------------------------


@pytest.mark.parametrize("select", SELECTIONS)
@quick
@given(two_sets())
def test_blocks_are_on_for_all_but_the_failed_and_off_on_all_others(
    select: oracle.Selection, sets: tuple[Bits, Bits, list[int]]
) -> None:
    covered, others, order = sets
    masks, thresholds, failed = select(covered, others, order)
    assert not oracle.coverage(masks, thresholds, others).any()
    on = oracle.coverage(masks, thresholds, covered).any(axis=0)
    np.testing.assert_array_equal(np.flatnonzero(~on), failed)
    assert (thresholds >= 1).all()


@pytest.mark.parametrize("select", SELECTIONS)
@quick
@given(two_sets())
def test_the_failed_points_do_not_depend_on_the_order(
    select: oracle.Selection, sets: tuple[Bits, Bits, list[int]]
) -> None:
    covered, others, order = sets
    failed = select(covered, others, order)[2]
    np.testing.assert_array_equal(failed, oracle.uncoverable(covered, others))
    np.testing.assert_array_equal(failed, select(covered, others, sorted(order))[2])


@quick
@given(two_sets())
def test_a_random_neuron_is_on_for_its_own_point_that_no_earlier_neuron_covers(
    sets: tuple[Bits, Bits, list[int]],
) -> None:
    covered, others, order = sets
    masks, thresholds, _ = oracle.cover_random(covered, others, order)
    on = oracle.coverage(masks, thresholds, covered)
    for j, mask in enumerate(masks):
        own = (~covered == mask).all(axis=1)
        assert own.any() and on[j, own].all()
        assert not on[:j, own].any()


@quick
@given(two_sets(), st.data())
def test_the_neuron_of_a_set_covers_all_of_it_if_its_m_is_positive(
    sets: tuple[Bits, Bits, list[int]], data: st.DataObject
) -> None:
    covered, others, _ = sets
    assume(len(covered))
    members = data.draw(st.sets(st.integers(0, len(covered) - 1), min_size=1).map(sorted))
    mask = np.all(~covered[members], axis=0)[None]
    threshold = oracle.minima(mask, others)
    assert (oracle.counts(mask, covered[members]) == 0).all()
    if threshold[0] >= 1:
        assert oracle.coverage(mask, threshold, covered[members]).all()
        assert not oracle.coverage(mask, threshold, others).any()
        assert not np.isin(members, oracle.uncoverable(covered, others)).any()


@quick
@given(two_sets())
def test_a_merged_neuron_is_the_and_of_masks_of_points_it_covers(
    sets: tuple[Bits, Bits, list[int]],
) -> None:
    covered, others, order = sets
    masks, thresholds, _ = oracle.cover_merge(covered, others, order)
    on = oracle.coverage(masks, thresholds, covered)
    for mask, covers in zip(masks, on, strict=True):
        # The largest set whose masks' AND can be `mask`: all points with count 0.
        inside = ~(covered & mask).any(axis=1)
        assert covers[inside].all()
        np.testing.assert_array_equal((~covered[inside]).all(axis=0), mask)


def law_of_drawing_again_and_again(covered: Bits, others: Bits) -> Law:
    """Probability of each outcome of the paper's loop, lines 3 to 10 of Algorithm 2."""

    def continued(remaining: frozenset[int]) -> Law:
        if not remaining:
            return {((), frozenset()): Fraction(1)}
        law: Law = defaultdict(Fraction)
        for drawn in remaining:
            mask = ~covered[drawn]
            m = int(oracle.minima(mask[None], others)[0])
            neuron: tuple[Any, ...] = ()
            failed, gone = {drawn}, {drawn}
            if m > 0:
                on = oracle.coverage(mask[None], np.array([m]), covered)[0]
                neuron = ((mask.tobytes(), m),)
                failed, gone = set(), set(np.flatnonzero(on).tolist())
            for (neurons, later_failed), p in continued(remaining - gone).items():
                law[(neuron + neurons, later_failed | failed)] += p / len(remaining)
        return law

    return continued(frozenset(range(len(covered))))


def law_of_walking_a_permutation(covered: Bits, others: Bits) -> Law:
    """Probability of each outcome of `cover_random` over all orders."""
    law: Law = defaultdict(Fraction)
    orders = list(itertools.permutations(range(len(covered))))
    for order in orders:
        masks, thresholds, failed = oracle.cover_random(covered, others, order)
        neurons = tuple((mask.tobytes(), int(m)) for mask, m in zip(masks, thresholds, strict=True))
        law[(neurons, frozenset(failed.tolist()))] += Fraction(1, len(orders))
    return law


@settings(max_examples=25, deadline=None)
@given(two_sets(most_covered=4, most_hyperplanes=5))
def test_walking_a_permutation_has_the_law_of_drawing_again_and_again(
    sets: tuple[Bits, Bits, list[int]],
) -> None:
    covered, others, _ = sets
    walking = law_of_walking_a_permutation(covered, others)
    assert walking == law_of_drawing_again_and_again(covered, others)
    assert sum(walking.values()) == 1


def patterns_of(*rows: str) -> Bits:
    """Boolean rows from strings of 0 and 1."""
    return np.array([[digit == "1" for digit in row] for row in rows])


def test_selection_on_an_example_done_by_hand() -> None:
    covered = patterns_of("10000", "01000", "00001", "11111")
    others = patterns_of("00110", "11110")
    # Point 0: mask 01111, counts over the others 2 and 3, so m = 2; it covers 0, 1 and 2, whose
    # counts are 0, 1 and 1. Point 3 lies above both others: m = 0.
    masks, thresholds, failed = oracle.cover_random(covered, others, [3, 0, 1, 2])
    assert (masks.tolist(), thresholds.tolist()) == (patterns_of("01111").tolist(), [2])
    assert failed.tolist() == [3]

    covered, others = patterns_of("1000", "0100", "0010"), patterns_of("1100", "0011")
    # Alone each point gets m = 1 and covers only itself. Point 0 has count 1 with both other
    # points: 1 is the lower, and merging with it gives the mask 0011 and m = 0. If no miss is
    # allowed, 0 stays alone, and then 1 and 2 merge: mask 1001, m = 1.
    assert oracle.cover_random(covered, others, [0, 1, 2])[1].tolist() == [1, 1, 1]
    masks, thresholds, _ = oracle.cover_merge(covered, others, [0, 1, 2], misses=0)
    assert masks.tolist() == patterns_of("0111", "1001").tolist()
    assert thresholds.tolist() == [1, 1]
    # From 2 on, the nearest is 0 (count 1, as 1): mask 0101, m = 1, two points in one neuron; and
    # from 0 on, if it may set 1 aside and go on to 2.
    for order, misses in (([2, 0, 1], 0), ([0, 1, 2], 1)):
        masks, thresholds, _ = oracle.cover_merge(covered, others, order, misses=misses)
        assert masks.tolist() == patterns_of("0101", "1011").tolist()
        assert thresholds.tolist() == [1, 1]


def test_a_margin_on_an_example_done_by_hand() -> None:
    covered, others = patterns_of("000000", "100000", "110000"), patterns_of("111100", "111011")
    # Point 0: mask 111111, m = 4; counts 0, 1, 2 of the covered points, all below 4. With a margin
    # of 0.7 only counts up to 1.2 are covered, so that point 2 gets a neuron of its own, m = 2.
    assert oracle.cover_random(covered, others, [0, 1, 2])[1].tolist() == [4]
    assert oracle.cover_random(covered, others, [0, 1, 2], margin=0.7)[1].tolist() == [4, 2]
    # Merging: from 0 on, 1 joins (m = 3, not below 2.8), 2 would bring m to 2 and is set aside; its
    # count of 1 is above 0.9.
    masks, thresholds, _ = oracle.cover_merge(covered, others, [0, 1, 2], margin=0.7)
    assert masks.tolist() == patterns_of("011111", "001111").tolist()
    assert thresholds.tolist() == [3, 2]
    assert oracle.cover_merge(covered, others, [0, 1, 2])[1].tolist() == [2]


# --- the network -----------------------------------------------------------------------------


@pytest.mark.parametrize("select", SELECTIONS)
@quick
@given(classes(), st.data())
def test_all_but_one_block_suffice_and_margins_agree_with_the_paper_on_training_points(
    select: oracle.Selection,
    problem: tuple[Bits, Integers, dict[int, list[int]], int],
    data: st.DataObject,
) -> None:
    patterns, codes, orders, n_classes = problem
    left_out = data.draw(st.integers(0, n_classes - 1))
    del orders[left_out]
    blocks, unseparated = oracle.memorise(patterns, codes, orders, select)
    _, predicted = oracle.decide(patterns, blocks, n_classes)
    np.testing.assert_array_equal(np.flatnonzero(predicted != codes), unseparated)
    paper = oracle.first_block_on(patterns, blocks, left_out)
    np.testing.assert_array_equal(predicted, paper)


@pytest.mark.parametrize("select", SELECTIONS)
@quick
@given(classes())
def test_with_all_blocks_every_separated_point_is_predicted_right(
    select: oracle.Selection, problem: tuple[Bits, Integers, dict[int, list[int]], int]
) -> None:
    patterns, codes, orders, n_classes = problem
    blocks, unseparated = oracle.memorise(patterns, codes, orders, select)
    _, predicted = oracle.decide(patterns, blocks, n_classes)
    assert np.isin(np.flatnonzero(predicted != codes), unseparated).all()


def test_scores_of_an_example_done_by_hand() -> None:
    patterns = patterns_of("000", "110", "111")
    block: Block = (patterns_of("110", "011"), np.array([1, 2]))
    none: Block = (np.zeros((0, 3), bool), np.zeros(0, np.int64))
    # Margins of the two neurons: 1, -1, -1 and 2, 1, 0.
    scores, predicted = oracle.decide(patterns, {0: block, 2: none}, 3)
    assert scores.tolist() == [[2, 0.5, -np.inf], [1, 0.5, -np.inf], [0, 0.5, -np.inf]]
    assert predicted.tolist() == [0, 0, 1]

    for code, sign in ((1, 1), (0, -1)):
        scores, predicted = oracle.decide(patterns, {code: block}, 2)
        assert scores.tolist() == [sign * 1.5, sign * 0.5, sign * -0.5]
        assert predicted.tolist() == [code, code, 1 - code]

    scores, predicted = oracle.decide(patterns, {0: block, 1: block}, 2)
    assert (scores.tolist(), predicted.tolist()) == ([0, 0, 0], [0, 0, 0])
    scores, predicted = oracle.decide(patterns, {0: none, 1: none}, 2)
    assert (scores.tolist(), predicted.tolist()) == ([0, 0, 0], [0, 0, 0])
