"""Structured hyperplanes: their rows against dense matrices, their bits against explicit rows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastmem import Hyperplanes, InvalidInputError, StructuredHyperplanes, sign_patterns
from fastmem.hyperplanes.structured import StructuredRows, flips_of
from fastmem.inputs import block_rows
from fastmem.kernels import hadamard
from fastmem.patterns.of_points import fill
from fastmem.patterns.words import new_tiles, rows_of


def random_signs(rng, n_blocks, d, rounds=3):
    words = block_rows(d) // 64
    signs = rng.integers(2**64, size=(n_blocks, rounds, words), dtype=np.uint64)
    diagonal = np.arange(64 * words).reshape(words, 64)
    valid = np.packbits(diagonal < d, axis=1, bitorder="little").view(np.uint64)[:, 0]
    signs[:, 0] &= valid
    return signs


def dense_blocks(signs, d):
    """All rows of the blocks, by matrix products: (n_blocks * D, d)."""
    n_blocks, rounds, words = signs.shape
    size = 64 * words
    H = np.array([[1.0]])
    while len(H) < size:
        H = np.kron([[1, 1], [1, -1]], H)
    blocks = []
    for block in signs:
        matrix = np.eye(size)
        for diagonal in block:
            bits = np.unpackbits(diagonal.view(np.uint8), bitorder="little")
            matrix = H @ ((1.0 - 2.0 * bits)[:, None] * matrix)
        blocks.append(matrix[:, :d] / size)
    return np.concatenate(blocks)


@pytest.mark.parametrize(
    ("d", "rounds"), [(1, 3), (64, 3), (65, 1), (100, 2), (200, 3), (256, 1), (700, 3), (1500, 3)]
)
def test_rows_are_products_of_transforms_and_signs(d, rounds):
    rng = np.random.default_rng(d)
    signs = random_signs(rng, 2, d, rounds)
    size = 64 * signs.shape[2]
    numbers = rng.permutation(2 * size)[:40].astype(np.int32)
    planes = StructuredHyperplanes(
        signs, numbers, np.empty((0, d), np.float32), np.zeros(len(numbers))
    )
    dense = dense_blocks(signs, d)
    np.testing.assert_array_equal(planes.weights, dense[numbers])
    assert planes.n_nonzero == np.count_nonzero(dense[numbers])
    norms = np.empty(len(numbers))
    hadamard.structured_norms(flips_of(signs), numbers.astype(np.int64), d, norms)
    np.testing.assert_allclose(norms, np.linalg.norm(dense[numbers], axis=1), rtol=1e-14)


def test_the_largest_blocks_have_exact_rows_of_the_right_norm():
    d = 1 << 16
    signs = random_signs(np.random.default_rng(0), 1, d)
    weights = np.empty((3, d), np.float32)
    hadamard.structured_rows(flips_of(signs), np.array([0, 1, d - 1]), weights)
    entries = [[int(w) for w in row * d] for row in weights.astype(float)]
    # a sum that float32 had rounded would miss the norm
    assert [sum(e * e for e in row) for row in entries] == [d**3] * 3
    assert sum(a * b for a, b in zip(entries[0], entries[1], strict=True)) == 0


@pytest.mark.parametrize("far", [0.0, 1.0, 1e8])
def test_products_are_within_their_bound(far):
    rng = np.random.default_rng(3)
    d, signs = 70, random_signs(rng, 2, 70)
    point = rng.standard_normal(d) + far
    high, low = np.empty((2, 128)), np.empty((2, 128))
    error = hadamard.structured_products(flips_of(signs), point, high, low)
    dense = dense_blocks(signs, d)
    assert error < 1e-25 * max(1.0, far)
    for h in range(0, 256, 7):
        exact = sum(Fraction(float(w)) * Fraction(x) for w, x in zip(dense[h], point, strict=True))
        found = Fraction(high.flat[h]) + Fraction(low.flat[h])
        assert abs(exact - found) <= Fraction(error)


def some_planes(rng, X, n_blocks, n_generated, n_extra, rounds, scale, framed):
    """Structured hyperplanes of which most pass exactly, or very nearly, through a point."""
    d = X.shape[1]
    signs = random_signs(rng, n_blocks, d, rounds)
    size = 64 * signs.shape[2]
    chosen = rng.permutation(n_blocks * size)[: min(n_generated, n_blocks * size)]
    if rng.integers(2):
        chosen.sort()
    rows = np.concatenate([chosen, np.full(n_extra, -1)])
    if rng.integers(2):
        rng.shuffle(rows)
    rows[rows < 0] = -1 - np.arange(n_extra)
    extra = rng.standard_normal((n_extra, d)).astype(np.float32)
    biases = scale * rng.uniform(-1, 1, len(rows))
    weights = StructuredHyperplanes(signs, rows.astype(np.int32), extra, biases).weights
    for h in range(len(rows) if len(X) else 0):
        through = -float(np.sum(weights[h].astype(float) * X[rng.integers(len(X))].astype(float)))
        if h % 3 == 1:
            biases[h] = through
        elif h % 3 == 2:
            biases[h] = np.nextafter(through, rng.choice([-np.inf, np.inf]))
    frame = (X.mean(axis=0, dtype=np.float64), scale) if framed and len(X) else ()
    return StructuredHyperplanes(signs, rows.astype(np.int32), extra, biases, *frame)


@settings(max_examples=80, deadline=None)
@given(
    n_samples=st.sampled_from([0, 1, 15, 16, 17, 191, 192, 193, 230]),
    d=st.sampled_from([1, 2, 63, 64, 65, 100, 129]),
    n_blocks=st.integers(1, 2),
    n_generated=st.sampled_from([1, 3, 64, 100, 256]),
    n_extra=st.sampled_from([0, 0, 1, 3, 70]),
    rounds=st.integers(1, 3),
    dtype=st.sampled_from([np.float32, np.float64]),
    scale=st.sampled_from([1.0, 1e-9, 1e-30, 1e30]),
    offset=st.sampled_from([0.0, 1.0, 1e6]),
    framed=st.booleans(),
    dense=st.booleans(),
    n_threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@example(193, 65, 2, 256, 0, 3, np.float32, 1.0, 0.0, True, False, 2, 0)
def test_bits_are_those_of_the_explicit_rows(
    n_samples, d, n_blocks, n_generated, n_extra, rounds, dtype, scale, offset, framed, dense,
    n_threads, seed,
):  # fmt: skip
    rng = np.random.default_rng(seed)
    X = (scale * (rng.standard_normal((n_samples, d)) + offset)).astype(dtype)
    planes = some_planes(rng, X, n_blocks, n_generated, n_extra, rounds, scale, framed)
    force(planes, dense)
    found = sign_patterns(X, planes, n_threads=n_threads)
    explicit = Hyperplanes(planes.weights, planes.biases)
    np.testing.assert_array_equal(found, sign_patterns(X, explicit, n_threads=1))
    some = slice(0, 3)
    expected = oracle.pack(oracle.exact_bits_filtered(X[some], planes.weights, planes.biases))
    np.testing.assert_array_equal(found[some], expected)


def force(planes, dense):
    """Take one way of evaluation, whatever it costs."""
    object.__setattr__(planes, "_dense_is_cheaper", lambda words: dense)


@pytest.mark.parametrize("d", [784, 1025, 2100])
def test_bits_are_exact_in_large_blocks(d):
    rng = np.random.default_rng(d)
    X = rng.standard_normal((35, d)).astype(np.float32)
    planes = some_planes(rng, X, 2, 300, 5, 3, 1.0, True)
    force(planes, False)
    explicit = Hyperplanes(planes.weights, planes.biases)
    np.testing.assert_array_equal(sign_patterns(X, planes), sign_patterns(X, explicit))


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (np.float32, 1e37),
        (np.float32, 1e-44),
        (np.float64, 1e-45),
        (np.float64, 1e290),
        (np.float64, 5e-323),
    ],
)
def test_bits_are_exact_where_floats_overflow_or_vanish(dtype, scale):
    rng = np.random.default_rng(5)
    X = (scale * rng.uniform(-3, 3, (20, 3))).astype(dtype)
    signs = random_signs(rng, 1, 3)
    rows = np.arange(64, dtype=np.int32)
    for radius in (1.0, float(np.abs(X).max())):
        planes = StructuredHyperplanes(
            signs, rows, np.empty((0, 3), np.float32), scale * rng.uniform(-1, 1, 64), None, radius
        )
        force(planes, False)
        expected = oracle.pack(oracle.exact_bits(X, planes.weights, planes.biases))
        np.testing.assert_array_equal(sign_patterns(X, planes), expected)


def test_few_bits_need_the_exact_stage():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((192, 784)).astype(np.float32) / 28
    planes = StructuredRows(np.random.default_rng(0), np.zeros(784), 1.0).start(
        1024, np.zeros(784), 1.0
    )
    X.flags.writeable = False
    doubtful = fill(planes, X, new_tiles(192, 16))
    assert 0 < doubtful < 0.0001 * 192 * 1024


@pytest.mark.parametrize("position", [0, 6, 186, 190])
@pytest.mark.parametrize("words", [(0, 3), (1, 3), (2, 3)])
@pytest.mark.parametrize("n_extra", [0, 2])
def test_words_are_written_where_they_belong_and_nowhere_else(position, words, n_extra):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 66))
    X.flags.writeable = False
    rows = np.arange(150, dtype=np.int32)
    rows[100 : 100 + n_extra] = -1 - np.arange(n_extra)
    planes = StructuredHyperplanes(
        random_signs(rng, 2, 66), rows, np.ones((n_extra, 66), np.float32), np.zeros(150)
    )
    force(planes, False)
    tiles = np.full((2, 3, 192), 7, np.uint64)
    fill(planes, X, tiles, position, words)
    found = rows_of(tiles, 384)
    here = slice(position, position + 20)
    expected = np.full_like(found, 7)
    expected[here, words[0] : words[1]] = sign_patterns(X, planes.explicit)[:, slice(*words)]
    np.testing.assert_array_equal(found, expected)


def test_subset_and_extension_keep_the_rows():
    rng = np.random.default_rng(0)
    d = 70
    planes = StructuredHyperplanes(
        random_signs(rng, 3, d),
        np.array([5, -1, 300, 301, -2, 383], np.int32),
        rng.standard_normal((2, d)).astype(np.float32),
        rng.standard_normal(6),
    )
    more = rng.standard_normal((2, d)).astype(np.float32)
    longer = planes.extended(more, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(longer.weights, np.concatenate([planes.weights, more]))
    kept = np.array([0, 3, 4, 5, 7])
    some = longer.subset(kept)
    assert isinstance(some, StructuredHyperplanes)
    assert (len(some.signs), len(some.extra)) == (2, 2)
    np.testing.assert_array_equal(some.weights, longer.weights[kept])
    np.testing.assert_array_equal(some.biases, longer.biases[kept])


def test_rows_drawn_in_parts_go_on_through_the_blocks():
    source = StructuredRows(np.random.default_rng(0), np.zeros(70), 1.0)
    planes = source.start(64, np.zeros(70), 1.0)
    planes = planes.extended(np.ones((3, 70), np.float32), np.zeros(3))
    planes = source.more(planes, 128)
    assert planes.rows.tolist() == [*range(64), -1, -2, -3, *range(64, 192)]
    assert planes.signs.shape == (2, 3, 2)


@pytest.mark.parametrize("d", [2, 100])
def test_offsets_are_those_of_gaussian_hyperplanes(d):
    """|b| / |w| is that of a Gaussian row: Uniform[0, max_bias] / chi_d."""
    center = np.full(d, 3.0)
    n = 20_000
    planes = StructuredRows(np.random.default_rng(0), center, 2.0).start(n, center, 1.0)
    weights = planes.weights.astype(float)
    norms = np.linalg.norm(weights, axis=1)
    used = norms > 0
    offsets = (planes.biases + weights @ center)[used] / norms[used]
    rng = np.random.default_rng(1)
    expected = rng.uniform(-2, 2, n) / np.sqrt(rng.chisquare(d, n))
    from scipy.stats import ks_2samp

    assert ks_2samp(offsets, expected).pvalue > 0.001


SIGNS = np.zeros((1, 3, 1), np.uint64)
ROWS = np.array([0, -1, 63], np.int32)
EXTRA = np.ones((1, 2), np.float32)
BIASES = np.zeros(3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"signs": SIGNS.astype(np.int64)}, "pass a 3-dimensional array of uint64"),
        ({"signs": SIGNS[0]}, "pass a 3-dimensional array of uint64"),
        ({"signs": np.zeros((1, 4, 1), np.uint64)}, "pass 1 to 3 rounds of 1 words"),
        ({"signs": np.zeros((1, 0, 1), np.uint64)}, "pass 1 to 3 rounds of 1 words"),
        ({"signs": np.zeros((1, 3, 2), np.uint64)}, "blocks of 64 rows for 2 features"),
        ({"signs": SIGNS + np.uint64(4)}, r"signs\[0, 0\] has bits beyond the 2 features"),
        ({"rows": ROWS.astype(np.int64)}, "pass a 1-dimensional array of int32"),
        ({"rows": np.array([0, -1, 64], np.int32)}, "1 blocks have rows 0 to 63"),
        ({"rows": np.array([5, -1, 5], np.int32)}, "rows holds 5 twice"),
        ({"rows": np.array([0, -2, 5], np.int32)}, "not -1 to -1 in this order"),
        ({"rows": np.array([0, 1, 2], np.int32)}, "not -1 to -1 in this order"),
        ({"rows": np.array([0, -1, -1], np.int32)}, "not -1 to -1 in this order"),
        ({"rows": ROWS[:2]}, "lengths 2 and 3"),
        ({"extra": np.ones((1, 0), np.float32)}, "0 columns"),
        ({"extra": np.ones((0, 70_000), np.float32)}, "70000 columns; pass 1 to 65,536"),
        ({"extra": np.full((1, 2), np.nan, np.float32)}, "nan"),
        ({"biases": np.array([0, np.inf, 0])}, "inf"),
    ],
)
def test_what_cannot_be_structured_hyperplanes_is_refused(changed, message):
    arguments = {"signs": SIGNS, "rows": ROWS, "extra": EXTRA, "biases": BIASES} | changed
    with pytest.raises(InvalidInputError, match=message):
        StructuredHyperplanes(**arguments)
