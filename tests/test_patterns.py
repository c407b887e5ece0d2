"""Patterns by class: where the points of each class are, whatever classes have none."""

from __future__ import annotations

import numpy as np
import oracle
import pytest

import fastmem
from fastmem.inputs import check_points
from fastmem.kernels.layout import TILE
from fastmem.patterns import by_class, of_points
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import rows_of


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


@pytest.mark.filterwarnings("ignore::fastmem.UnseparatedWarning")
@pytest.mark.parametrize("projection", ["gaussian", "structured"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("most", [1, 20_000, 10**12])
def test_patterns_do_not_depend_on_the_tasks_they_are_made_in(most, dtype, projection, monkeypatch):
    """Tasks of TILE_ROWS points, of some dozen, of tiles: for one thread and for more."""
    monkeypatch.setattr(by_class, "_MOST_PRODUCTS", most)
    monkeypatch.setattr(of_points, "_SERIAL_PRODUCTS", 0)
    rng = np.random.default_rng(7)
    X = rng.standard_normal((500, 9)).astype(dtype)
    X[:250] *= np.round(X[:250])  # some zeros
    first = fastmem.interpolate(
        X, np.arange(500) % 3, width=70, projection=projection, seed=1
    ).first
    codes = rng.integers(0, 3, 500).astype(np.uint16)
    expected = fastmem.sign_patterns(X, first)
    for n_threads in (1, 2, 5):
        patterns = Patterns(codes, 3)
        patterns.fill(check_points(X), first, n_threads)
        for code in range(3):
            rows = patterns.rows(code, np.arange(patterns.class_size(code)))
            tiles = patterns.tiles[patterns.first_tile[code] : patterns.first_tile[code + 1]]
            np.testing.assert_array_equal(rows_of(tiles, len(rows)), expected[rows])
