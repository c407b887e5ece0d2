"""Patterns by class: where the points of each class are, whatever classes have none."""

from __future__ import annotations

import numpy as np
import oracle
import pytest

import fastmem
from fastmem.inputs import check_points
from fastmem.kernels.layout import TILE
from fastmem.patterns.by_class import Patterns


@pytest.mark.parametrize(
    "sizes",
    [
        [0, 5, 200],
        [0, 0, TILE, 1],
        [300, 0, 7],
        [TILE, 0, 0, TILE + 1, 0, 3],
        [4, 2 * TILE, 0],
        [1, 0, 0],
        [0, 3, 0],
    ],
)
@pytest.mark.parametrize("is_sorted", [True, False])
def test_a_class_without_points_takes_no_tile_and_changes_no_other(sizes, is_sorted):
    rng = np.random.default_rng(sum(sizes))
    codes = np.repeat(np.arange(len(sizes)), sizes)
    if not is_sorted:
        codes = rng.permutation(codes)
    X = rng.standard_normal((len(codes), 3))
    first = fastmem.Hyperplanes(rng.standard_normal((70, 3), np.float32), rng.standard_normal(70))
    patterns = Patterns(codes, len(sizes))
    patterns.fill(check_points(X), first, 2)

    assert patterns.n_classes == len(sizes)
    assert [patterns.class_size(code) for code in range(len(sizes))] == sizes
    assert len(patterns.tiles) == len(patterns.sizes) == sum(-(-size // TILE) for size in sizes)
    assert patterns.sizes.sum() == len(codes) and patterns.sizes.min() > 0
    expected = oracle.pack(oracle.exact_bits(X, first.weights, first.biases))
    for code, size in enumerate(sizes):
        rows = patterns.rows(code, np.arange(size))
        np.testing.assert_array_equal(rows, np.flatnonzero(codes == code))
        here = slice(*patterns.first_tile[code : code + 2])
        assert patterns.sizes[here].sum() == size
        positions = here.start * TILE + np.arange(size)
        np.testing.assert_array_equal(patterns.codes_at(positions), np.full(size, code))
        np.testing.assert_array_equal(patterns.rows_at(positions), rows)
        words = patterns.tiles[here].transpose(0, 2, 1).reshape(-1, patterns.tiles.shape[1])
        np.testing.assert_array_equal(words[:size], expected[rows])
        assert not words[size:].any()


def test_patterns_of_no_points_at_all_are_empty():
    patterns = Patterns(np.empty(0, np.int64), 3)
    assert len(patterns.tiles) == len(patterns.sizes) == 0
    assert [patterns.class_size(code) for code in range(3)] == [0, 0, 0]
