"""What comes from a key beside weights: biases, signs of blocks, orders; and sums in any order."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

import fastmem
from fastmem.hyperplanes.bias_law import BiasLaw, reaches_of
from fastmem.hyperplanes.extent import Extent, extent_of
from fastmem.hyperplanes.seeded import GaussianRows
from fastmem.hyperplanes.structured import BlockLaw, StructuredRows
from fastmem.inputs import InvalidInputError, check_points
from fastmem.kernels.keyed_order import keyed_order, keyed_places
from fastmem.kernels.normals import mixed_words
from fastmem.second_layer import random_order

STEP, ODD = 0x9E3779B97F4A7C15, 0x94D049BB133111EB


def mix(word):
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * ODD % 2**64
    return word ^ word >> 31


def rows_of(projection, n, center=None, d=6, **more):
    source = GaussianRows if projection == "gaussian" else StructuredRows
    center = np.zeros(d) if center is None else center
    return source(np.random.default_rng(4), center, 2.0, **more).start(n, center, 1.0)


# Biases ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [0, 3, 2**64 - 1])
def test_biases_are_those_of_the_definition(key):
    """In Python's integers."""
    law = BiasLaw(np.array([1.0, 4.0, 16.0]), np.zeros(2))
    numbers = np.array([0, 1, 2, 3, 2 * 10**9])
    reaches, shares = law.uniform(key, numbers)
    for i, number in enumerate(numbers.tolist()):
        seed = mix(mix((key + STEP) % 2**64) ^ (number // 2 + 1) * ODD % 2**64)
        share, place = (
            (2 * (mix((seed - k * STEP) % 2**64) >> 11) + 1 - 2**53) / 2**54 for k in (0, 1)
        )
        assert shares[i] == (-1) ** number * 2 * share
        assert reaches[i] == 4.0 ** int((place + 0.5) * 3)


def test_biases_are_uniform_and_independent_of_the_weights():
    planes = rows_of("gaussian", 20_000, d=2)
    assert stats.kstest(planes.biases / 4 + 0.5, "uniform").pvalue > 1e-3
    for other in (*planes.weights.T, np.roll(planes.biases, 1)):
        assert abs(np.corrcoef(planes.biases, other)[0, 1]) * np.sqrt(20_000) < 4


@pytest.mark.parametrize("d", [1, 2, 20, 40, 100])
def test_structured_rows_lie_as_far_from_the_centre_as_gaussian_ones(d):
    far = []
    for projection in ("gaussian", "structured"):
        planes = rows_of(projection, 4000, d=d)
        norms = np.linalg.norm(planes.weights.astype(float), axis=1)
        some = norms > 0  # of so few features a structured row may be nothing
        far.append(planes.biases[some] / norms[some])
    assert stats.ks_2samp(*far).pvalue > 1e-3


@pytest.mark.parametrize("d", [1, 5, 32, 33, 400])
def test_norms_of_rows_are_chi_numbers(d):
    law = BlockLaw(np.ones(1), np.zeros(d), 5, np.arange(3))
    assert stats.kstest(law.chi(np.arange(0, 16_000, 2), d), stats.chi(d).cdf).pvalue > 1e-3


@pytest.mark.parametrize("projection", ["gaussian", "structured"])
def test_hyperplanes_are_moved_to_the_centre(projection):
    center = np.linspace(1, 2, 6)
    about_zero, moved = (rows_of(projection, 150, c) for c in (np.zeros(6), center))
    np.testing.assert_array_equal(about_zero.weights, moved.weights)
    wanted = about_zero.biases - moved.weights.astype(float) @ center
    np.testing.assert_allclose(moved.biases, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("projection", ["gaussian", "structured"])
@pytest.mark.parametrize("sizes", [[64, 64, 128], [100, 1, 155], [1, 255]])
def test_rows_are_the_same_however_they_are_drawn(projection, sizes):
    kind = GaussianRows if projection == "gaussian" else StructuredRows
    source = kind(np.random.default_rng(4), np.ones(6), 2.0)
    layer = source.start(sizes[0], np.ones(6), 1.0)
    for n in sizes[1:]:
        layer = source.more(layer, n)
    once = rows_of(projection, 256, np.ones(6))
    for name in ("rows", "biases", "weights"):
        np.testing.assert_array_equal(getattr(layer, name), getattr(once, name))
    some = np.array([0, 3, 99, 200])
    for part in (layer.subset(some), pickle.loads(pickle.dumps(layer)).subset(some)):
        np.testing.assert_array_equal(part.keyed_biases(), once.biases[some])
        np.testing.assert_array_equal(part.weights, once.weights[some])


@pytest.mark.parametrize("projection", ["gaussian", "structured"])
def test_dropped_rows_never_come_back(projection):
    kind = GaussianRows if projection == "gaussian" else StructuredRows
    source = kind(np.random.default_rng(4), np.zeros(6), 2.0)
    layer = source.start(100, np.zeros(6), 1.0).subset(np.arange(70))
    layer = source.more(layer, 60)
    once = rows_of(projection, 160)
    np.testing.assert_array_equal(layer.biases[70:], once.biases[100:])
    np.testing.assert_array_equal(layer.weights[70:], once.weights[100:])


def test_layers_of_one_key_join_in_any_order():
    source = StructuredRows(np.random.default_rng(4), np.zeros(6), 2.0)
    first, second = (source.start(n, np.zeros(6), 1.0) for n in (90, 200))
    stored = fastmem.Hyperplanes(np.ones((2, 6), np.float32), np.zeros(2))
    joined = second.joined(first).joined(stored)
    weights = np.concatenate([second.weights, first.weights, stored.weights])
    np.testing.assert_array_equal(joined.weights, weights)
    np.testing.assert_array_equal(joined.keyed_biases()[:290], joined.biases[:290])


def test_weights_are_kept_only_where_they_fit_and_are_the_same():
    limited = rows_of("gaussian", 100, np.ones(6), weight_bytes=100 * 6 * 4 - 1)
    kept = rows_of("gaussian", 100, np.ones(6), weight_bytes=100 * 6 * 4)
    assert not limited.keeps_weights and kept.keeps_weights
    X = np.random.default_rng(0).standard_normal((50, 6))
    assert "weights" in vars(kept)
    patterns = [fastmem.sign_patterns(X, planes) for planes in (limited, kept)]
    np.testing.assert_array_equal(*patterns)
    assert "weights" not in vars(limited)
    np.testing.assert_array_equal(limited.biases, kept.biases)
    more = kept.joined(rows_of("gaussian", 9, np.ones(6)))
    assert not more.keeps_weights and "weights" not in vars(more)


def test_a_memory_limit_changes_no_network(monkeypatch):
    X, y = np.random.default_rng(0).standard_normal((300, 9)), np.arange(300) % 3
    nets = [fastmem.interpolate(X, y, seed=1)]
    monkeypatch.setattr("fastmem.inputs.settings.WEIGHT_BYTES", 0)
    nets.append(fastmem.interpolate(X, y, seed=1))
    assert [net.first.keeps_weights for net in nets] == [True, False]
    for name in ("rows", "biases", "extra"):
        np.testing.assert_array_equal(*(getattr(net.first, name) for net in nets))
    np.testing.assert_array_equal(*(net.second.masks for net in nets))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1e308), min_size=1, max_size=200), st.floats(0, 1e308))
def test_few_reaches_stand_for_many_norms(norms, most):
    norms = np.array(norms)
    reaches = reaches_of(most, norms)
    assert len(reaches) == min(64, len(norms)) and (np.diff(reaches) >= 0).all()
    assert reaches.max() <= most and reaches.min() >= min(most, norms.min() * (1 - 2.0**-8))
    mantissas = np.ldexp(np.frexp(reaches[reaches < most])[0], 8)
    normal = reaches[reaches < most] > 1e-300
    assert (mantissas == np.rint(mantissas))[normal].all()
    assert reaches_of(most, None).tolist() == [most]


@pytest.mark.parametrize(
    ("reaches", "center", "sentence"),
    [
        ([], [0.0], "reaches holds no distances"), ([-1.0], [0.0], "reaches holds no distances"),
        ([np.nan], [0.0], "reaches[0] is nan"), ([1.0], [np.inf], "center[0] is inf"),
        ([[1.0]], [0.0], "reaches holds no distances"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_law_is_refused(reaches, center, sentence):
    with pytest.raises(InvalidInputError) as caught:
        BiasLaw(np.array(reaches), np.array(center))
    assert sentence in str(caught.value)


# Where the points are ----------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 6), st.integers(-300, 250))
def test_the_mean_depends_on_no_order_and_no_storage(seed, n, d, exponent):
    rng = np.random.default_rng(seed)
    X = np.ldexp(rng.standard_normal((n, d)) + rng.integers(-3, 4, d), exponent)
    X[rng.uniform(size=X.shape) < 0.3] = 0
    means = [
        extent_of(check_points(points), threads).mean
        for points, threads in [
            (X, 1), (X[rng.permutation(n)], 2), (np.asfortranarray(X), 1), (sparse.csr_array(X), 2),
        ]
    ]  # fmt: skip
    assert len({mean.tobytes() for mean in means}) == 1
    error = np.abs(means[0] - X.mean(axis=0))
    assert (error <= 2.0**-29 * np.abs(X).max(axis=0)).all()


def test_the_mean_is_the_sum_of_whole_numbers():
    X = np.array([[0.5, 0.1], [0.25, 0.2], [-0.125, 0.75]])
    middle = 0.1 / 2 + 0.75 / 2  # from which the numbers are 2^-2 to 2^-1 away at most
    quantised = [round((v - middle) * 2**31) for v in X[:, 1].tolist()]
    found = extent_of(check_points(X), 1).mean
    assert found.tolist() == [0.1875 + 0.0625 / 3, middle + sum(quantised) / 3 / 2**31]


@pytest.mark.parametrize("radius", [1e-300, 1e-5, 1.0, 3e200])
@pytest.mark.parametrize("d", [1, 2, 64, 1000])
def test_the_centre_is_near_the_mean_and_short(radius, d):
    mean = radius * np.random.default_rng(d).uniform(-1, 1, d) / np.sqrt(d)
    centre = Extent(mean, radius, radius).centre
    assert np.linalg.norm((centre - mean) / radius) <= 1 / 16
    units = centre / 2.0 ** np.floor(np.log2(radius / (8 * np.sqrt(d))))
    assert (units == np.rint(units)).all() and np.abs(units).max() <= 16


def test_one_point_is_its_own_centre():
    mean = np.array([0.1, 1e300])
    assert Extent(mean, 0.0, 1e300).centre is mean


# The order of many points ------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(1, 5000), st.integers(0, 5000))
def test_a_keyed_order_has_each_number_once_and_any_stretch(key, n, cut):
    whole = np.empty(n, np.int32)
    keyed_order(np.uint64(key), n, 0, whole)
    assert np.array_equal(np.sort(whole), np.arange(n))
    cut = min(cut, n)
    rest = np.empty(n - cut, np.int32)
    keyed_order(np.uint64(key), n, cut, rest)
    np.testing.assert_array_equal(rest, whole[cut:])
    places = np.empty(n - cut, np.int32)
    keyed_places(np.uint64(key), n, rest, places)
    np.testing.assert_array_equal(places, np.arange(cut, n))


def enciphered(key, n, place):
    """`keyed_order` of one place, in whole numbers of any size."""
    words = np.empty(12, np.uint64)
    mixed_words(np.uint64(key), 0, words)
    keys = [int(word) | 1 for word in words]
    bits = max(2, (n - 1).bit_length())
    low_bits = bits // 2
    low_mask, high_mask = 2**low_bits - 1, 2 ** (bits - low_bits) - 1

    def mixed(half, k):
        return ((half ^ k) * k % 2**64) >> 32

    while True:
        low, high = place & low_mask, place >> low_bits
        for even, odd in zip(keys[::2], keys[1::2], strict=True):
            low ^= mixed(high, even) & low_mask
            high ^= mixed(low, odd) & high_mask
        place = high << low_bits | low
        if place < n:
            return place


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(1, 2**31), st.data())
def test_a_keyed_order_is_its_definition(key, n, data):
    places = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=5, unique=True))
    numbers = np.array([enciphered(key, n, place) for place in places], np.int32)
    found = np.empty(1, np.int32)
    for place, number in zip(places, numbers, strict=True):
        keyed_order(np.uint64(key), n, place, found)
        assert found[0] == number
    back = np.empty(len(numbers), np.int32)
    keyed_places(np.uint64(key), n, numbers, back)
    assert back.tolist() == places


def test_orders_of_six_are_nearly_equally_likely():
    """Chi-square over its 719 degrees of freedom: 40 were 6 rounds enough, 1 for true chance."""
    counts = dict.fromkeys(itertools.permutations(range(6)), 0)
    order = np.empty(6, np.int32)
    n_keys = 36_000
    for key in range(n_keys):
        keyed_order(np.uint64(key * 0x9E3779B97F4A7C15 % 2**64), 6, 0, order)
        counts[tuple(order.tolist())] += 1
    expected = n_keys / 720
    assert sum((c - expected) ** 2 / expected for c in counts.values()) / 719 < 3


def test_all_orders_of_four_are_about_as_likely():
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    order = np.empty(4, np.int32)
    for key in range(12_000):
        keyed_order(np.uint64(key * 0x9E3779B97F4A7C15 % 2**64), 4, 0, order)
        counts[tuple(order.tolist())] += 1
    assert min(counts.values()) > 400 and max(counts.values()) < 600


def test_an_order_looks_random_in_the_large():
    order = np.empty(100_000, np.int32)
    keyed_order(np.uint64(8), len(order), 0, order)
    for lag in (1, 2, 256, 512):
        correlation = np.corrcoef(order[:-lag], order[lag:])[0, 1]
        assert abs(correlation) * np.sqrt(len(order)) < 4
    assert stats.kstest(order[:5000] / len(order), "uniform").pvalue > 1e-3


def test_only_large_classes_have_an_order_from_a_key(monkeypatch):
    shuffled = np.random.default_rng(1).permutation(np.arange(1000, dtype=np.int32))
    found = random_order.random_order(1000, np.random.default_rng(1), 2)
    np.testing.assert_array_equal(found, shuffled)
    monkeypatch.setattr(random_order, "MOST_SHUFFLED", 999)
    monkeypatch.setattr(random_order, "_TASK_POINTS", 77)
    keyed = [random_order.random_order(1000, np.random.default_rng(1), k) for k in (1, 2)]
    np.testing.assert_array_equal(*keyed)
    assert keyed[0].dtype == np.int32 and not np.array_equal(keyed[0], shuffled)
    assert np.array_equal(np.sort(keyed[0]), np.arange(1000))


@pytest.mark.parametrize("most_shuffled", [999, 1000])
def test_stretches_of_an_order_and_some_numbers_along_it(most_shuffled, monkeypatch):
    monkeypatch.setattr(random_order, "MOST_SHUFFLED", most_shuffled)
    monkeypatch.setattr(random_order, "_TASK_POINTS", 77)
    order = random_order.RandomOrder(1000, np.random.default_rng(4))
    whole = random_order.random_order(1000, np.random.default_rng(4), 2)
    for start, stop in [(0, 1000), (300, 555), (990, 2000), (1000, 1001)]:
        np.testing.assert_array_equal(order.stretch(start, stop), whole[start:stop])
    some = np.random.default_rng(5).choice(1000, 300, replace=False).astype(np.int32)
    for numbers in (some, np.sort(some), some[:0]):
        for first in (0, 1, 400, 1000):
            found = order.put_in_order(numbers, first, 2)
            assert found.dtype == np.int32
            ahead = whole[first:]
            np.testing.assert_array_equal(found, ahead[np.isin(ahead, numbers)])


@pytest.mark.parametrize("settings", [{}, {"selection": "random", "width": 300}])
def test_networks_with_keyed_orders_are_right(settings, monkeypatch):
    monkeypatch.setattr(random_order, "MOST_SHUFFLED", 50)
    X, y = np.random.default_rng(0).standard_normal((400, 4)), np.arange(400) % 2
    nets = [fastmem.interpolate(X, y, seed=2, n_threads=k, **settings) for k in (1, 2)]
    np.testing.assert_array_equal(*(net.second.masks for net in nets))
    np.testing.assert_array_equal(nets[0].predict(X), y)
