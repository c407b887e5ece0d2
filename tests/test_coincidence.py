"""The rule of coincidence, against its definition; where it is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import coincidences as dense

import fastmem
from fastmem.kernels.coincidences import coincidences
from fastmem.kernels.layout import TILE
from fastmem.patterns.words import packed, padded, tiles_of, unpacked


def random_bits(rng, rows, n, share):
    return rng.random((rows, n)) < share


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, TILE + 9), st.integers(1, 9),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)  # fmt: skip
@settings(max_examples=40)
def test_the_kernel_agrees_with_the_definition(seed, n, n_points, m, share):
    rng = np.random.default_rng(seed)
    bits, masks = random_bits(rng, n_points, n, share), random_bits(rng, m, n, 0.4)
    thresholds, owners = rng.integers(1, n + 2, m), rng.integers(0, 3, m)
    words = padded(packed(masks))
    blocks = np.full(len(words), -1, np.int64)
    blocks[:m] = owners
    ones = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    tiles = tiles_of(packed(bits))
    sizes = np.full(len(tiles), TILE, np.int64)
    sizes[-1] = n_points - (len(tiles) - 1) * TILE
    least = np.iinfo(np.int64).min
    best = np.full((3, len(tiles) * TILE), least)
    largest = np.full(best.shape, -1.0)
    neurons = (words, ones, padded(thresholds), blocks)
    coincidences(tiles, sizes, neurons, n, best, largest)
    margins = thresholds - bits.astype(int) @ masks.T.astype(int)
    shares = dense(bits, masks)
    for k in range(3):
        own = owners == k
        np.testing.assert_array_equal(
            largest[k, :n_points], shares[:, own].max(axis=1, initial=-1.0)
        )
        np.testing.assert_array_equal(
            best[k, :n_points], margins[:, own].max(axis=1, initial=least)
        )


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 5)).astype(np.float32)
    y = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + X[:, 1] ** 2, [0.0, 1.5])]
    return fastmem.interpolate(X, y, margin=0.5, covered="all", seed=0), X, y


def by_definition(network, X):
    bits = unpacked(fastmem.sign_patterns(X, network.first), len(network.first))
    masks = unpacked(network.second.masks, len(network.first))
    shares, margins = dense(bits, masks), -bits.astype(int) @ masks.T.astype(int)
    margins += network.second.thresholds
    found = []
    for share, margin in zip(shares, margins, strict=True):
        owners = network.second.owners
        usable = (margin > 0) if (margin > 0).any() else np.ones(len(owners), bool)
        candidates = set(owners[usable].tolist())
        scores = [
            share[owners == k].max() if k in candidates else -1
            for k in range(len(network.classes_))
        ]
        found.append(int(np.argmax(scores)))
    return network.classes_[found]


def test_labels_are_those_of_the_definition(fitted):
    network, X, _ = fitted
    unseen = np.random.default_rng(1).standard_normal((300, 5)).astype(np.float32)
    expected = by_definition(network, unseen)
    found = network.predict(unseen, rule="coincidence")
    np.testing.assert_array_equal(found, expected)
    assert (found != network.predict(unseen)).any()  # or nothing was asked


def test_training_points_keep_their_labels_in_any_batching(fitted):
    network, X, y = fitted
    np.testing.assert_array_equal(network.predict(X, rule="coincidence"), y)
    one_by_one = [network.predict(X[i : i + 1], rule="coincidence")[0] for i in range(20)]
    np.testing.assert_array_equal(one_by_one, y[:20])
    for n_threads in (1, 2):
        many = network.predict(np.tile(X, (20, 1)), rule="coincidence", n_threads=n_threads)
        np.testing.assert_array_equal(many, np.tile(y, 20))


def test_a_loaded_network_is_asked_in_the_same_way(fitted, tmp_path):
    network, X, y = fitted
    network.save(tmp_path / "net.npz")
    loaded = fastmem.load(tmp_path / "net.npz")
    np.testing.assert_array_equal(loaded.predict(X, rule="coincidence"), y)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"margin": 0.5, "covered": ["a", "b"]}, "covered='all'"),
        ({"covered": "all"}, "margin is 0.0"),
        ({"covered": "all", "margin": 0.49}, "margin is 0.49"),
        ({"decision": "vote", "covered": "all"}, "with a vote"),
        ({"objective": "bytes", "effort": 0.1}, "with a list"),
        ({"activation": "relu", "covered": "all"}, "with ReLU"),
    ],
)
def test_networks_that_it_is_not_for_are_refused(fitted, settings, words):
    _, X, y = fitted
    network = fastmem.interpolate(X[:120], y[:120], seed=0, **settings)
    with pytest.raises(fastmem.InvalidInputError, match=words):
        network.predict(X, rule="coincidence")


def test_other_rules_and_mixtures_are_refused(fitted):
    network, X, _ = fitted
    with pytest.raises(fastmem.InvalidInputError, match="did you mean 'coincidence'"):
        network.predict(X, rule="coincidance")
    with pytest.raises(fastmem.InvalidInputError, match="rule is 3"):
        network.predict(X, rule=3)
    with pytest.raises(fastmem.InvalidInputError, match="no probabilities"):
        network.predict(X, rule="coincidence", abstain=0.5)
    bare = fastmem.Network(network.classes_, network.first, network.second, network.covered)
    with pytest.raises(fastmem.InvalidInputError, match="no margin is known"):
        bare.predict(X, rule="coincidence")
