"""The data sets of the measurements: the same points for the same seed, of the shapes promised."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from fastmem import InvalidInputError, datasets

WRONG_TYPE: Any = "2"


@pytest.mark.parametrize("n_samples", [2, 3, 100, 1001])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_two_moons_are_those_of_scikit_learn(n_samples, noise, seed):
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    expected = sklearn_datasets.make_moons(n_samples, noise=noise, random_state=seed)
    X, y = datasets.two_moons(n_samples, noise, seed)
    np.testing.assert_array_equal(X, expected[0], strict=True)
    np.testing.assert_array_equal(y, expected[1])


def test_unit_moons_are_two_moons_divided_by_the_largest_norm():
    X, y = datasets.unit_moons(1000, seed=3)
    raw, labels = datasets.two_moons(1000, seed=3)
    assert X.dtype == np.float32
    assert X.flags.c_contiguous
    np.testing.assert_allclose(X, raw / np.linalg.norm(raw, axis=1).max(), rtol=1e-6)
    np.testing.assert_array_equal(y, labels)


class TestDigits784:
    @pytest.fixture(autouse=True)
    def bundled_digits(self):
        pytest.importorskip("sklearn.datasets")

    def test_shape_type_and_norm(self):
        X, y = datasets.digits784(300)
        assert (X.shape, X.dtype, y.shape) == ((300, 784), np.float32, (300,))
        assert X.flags.c_contiguous
        assert X.min() >= 0
        assert np.linalg.norm(X, axis=1).max() == pytest.approx(1, abs=1e-6)
        assert set(y.tolist()) == set(range(10))

    def test_every_bundled_digit_is_used_equally_often(self):
        from sklearn.datasets import load_digits

        _, y = datasets.digits784(2 * 1797, seed=5)
        expected = np.bincount(load_digits().target)
        np.testing.assert_array_equal(np.bincount(y[:1797]), expected)
        np.testing.assert_array_equal(np.bincount(y[1797:]), expected)

    def test_more_samples_begin_with_the_same_pictures(self):
        few, few_labels = datasets.digits784(100, seed=2)
        many, many_labels = datasets.digits784(1000, seed=2)
        scale = np.linalg.norm(many[:100], axis=1).max()
        np.testing.assert_allclose(few, many[:100] / scale, atol=1e-6)
        np.testing.assert_array_equal(few_labels, many_labels[:100])

    @pytest.mark.parametrize("pair", [(1, 8), (9, 1)])
    def test_a_pair_is_what_digits784_shows_of_two_digits(self, pair):
        X, y = datasets.digit_pair(400, *pair, seed=2)
        all_pictures, all_digits = datasets.digits784(3000, seed=2)
        chosen = np.flatnonzero(np.isin(all_digits, pair))[:400]
        assert (X.shape, X.dtype) == ((400, 784), np.float32)
        np.testing.assert_array_equal(y, all_digits[chosen])
        scale = np.linalg.norm(all_pictures[chosen], axis=1).max()
        np.testing.assert_allclose(X, all_pictures[chosen] / scale, atol=1e-6)

    def test_seeds_differ_and_repeat(self):
        first, again, other = (datasets.digits784(20, seed=s)[0] for s in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_the_resampling_is_that_of_scipy(self):
        """Angles, scales, shifts and interpolation agree with scipy.ndimage's for each picture."""
        from scipy import ndimage
        from sklearn.datasets import load_digits

        small = (load_digits().images / 16).astype(np.float32)
        generator = np.random.default_rng(0)
        source = generator.integers(0, len(small), 40)
        low, high = [-0.26, 0.85, -3, -3], [0.26, 1.15, 3, 3]
        distortions = generator.uniform(low, high, (40, 4))
        ours = np.empty((40, 784), np.float32)
        datasets._distort(datasets._enlarge(small), source, distortions, ours)
        for picture, i, (angle, scale, down, right) in zip(ours, source, distortions, strict=True):
            canvas = np.pad(ndimage.zoom(small[i], 20 / 8, order=1), 4)
            cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
            inverse = np.array([[cosine, sine], [-sine, cosine]])
            offset = 13.5 - inverse @ np.array([13.5 + down, 13.5 + right])
            theirs = ndimage.affine_transform(canvas, inverse, offset, order=1)
            np.testing.assert_allclose(picture.reshape(28, 28), theirs, atol=1e-4)

    def test_without_scikit_learn_the_error_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(ModuleNotFoundError, match=r"sklearn.*fastmem-nets\[sklearn\]"):
            datasets.digits784(10)


@pytest.mark.parametrize("n_samples", [2, 3, 1000])
@pytest.mark.parametrize("gap", [1e-6, 0.5, 5e-324 * 4])
def test_parallel_lines_are_the_gap_apart(n_samples, gap):
    X, y = datasets.parallel_lines(n_samples, gap)
    assert X.shape == (n_samples, 2)
    assert set(X[y == 1, 1] - X[y == 0, 1][0]) == {gap}
    assert np.bincount(y).tolist() == [n_samples - n_samples // 2, n_samples // 2]
    assert len(np.unique(X, axis=0)) == n_samples


@pytest.mark.parametrize(("k", "d"), [(1, 2), (3, 2), (5, 20)])
def test_clusters_lie_around_centres_that_do_not_depend_on_their_number(k, d):
    X, y = datasets.clusters(4000 * k, k, d, seed=1, radius=0.1)
    assert X.dtype == np.float32
    cluster = np.arange(len(X)) % (2 * k)
    np.testing.assert_array_equal(y, cluster % 2)
    centres = np.array([X[cluster == c].mean(axis=0) for c in range(2 * k)])
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=0.02)
    spread = np.sqrt(((X - centres[cluster]) ** 2).sum(axis=1).mean())
    assert spread == pytest.approx(0.1, rel=0.05)
    more, _ = datasets.clusters(8000 * k, k, d, seed=1, radius=0.1)
    moved = np.array([more[c :: 2 * k].mean(axis=0) for c in range(2 * k)]) - centres
    assert np.abs(moved).max() < 0.02


@pytest.mark.parametrize(("d", "n_shells", "thickness"), [(2, 2, 0.1), (3, 3, 0.0), (40, 2, 0.3)])
def test_spheres_are_shells_a_gap_apart_with_alternating_labels(d, n_shells, thickness):
    X, y = datasets.spheres(3000, d, n_shells=n_shells, gap=0.2, thickness=thickness, seed=1)
    assert (X.shape, X.dtype) == ((3000, d), np.float32)
    norms = np.linalg.norm(X.astype(float), axis=1)
    shell = np.arange(3000) % n_shells
    np.testing.assert_array_equal(y, shell % 2)
    least = np.array([norms[shell == s].min() for s in range(n_shells)])
    most = np.array([norms[shell == s].max() for s in range(n_shells)])
    np.testing.assert_allclose(most - least, thickness, atol=0.01 * thickness + 1e-6)
    np.testing.assert_allclose(least[1:] - most[:-1], 0.2, atol=0.02 * thickness + 1e-6)
    assert most[-1] == pytest.approx(1, abs=0.01 * thickness + 1e-6)
    assert np.abs(X.mean(axis=0)).max() < 0.06  # every direction alike


def test_random_labels_are_gaussian_points_and_fair_coins():
    X, y = datasets.random_labels(20_000, 3, seed=1)
    assert (X.shape, X.dtype) == ((20_000, 3), np.float32)
    assert np.abs(X.mean(axis=0)).max() < 0.05
    assert np.abs(X.std(axis=0) - 1).max() < 0.05
    assert abs(y.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(X[:, 0], y)[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: datasets.two_moons(1), "n_samples is 1"),
        (lambda: datasets.two_moons(WRONG_TYPE), "n_samples is '2'"),
        (lambda: datasets.two_moons(True), "n_samples is True"),
        (lambda: datasets.two_moons(10, noise=-1), "noise is -1"),
        (lambda: datasets.two_moons(10, noise=float("nan")), "noise is nan"),
        (lambda: datasets.two_moons(10, seed=-1), "seed is -1"),
        (lambda: datasets.two_moons(10, seed=2**32), "seed is 4294967296"),
        (lambda: datasets.digits784(0), "n_samples is 0"),
        (lambda: datasets.digit_pair(10, 3, 3), "both 3"),
        (lambda: datasets.digit_pair(10, 3, 10), "second is 10"),
        (lambda: datasets.spheres(10, 0), "d is 0"),
        (lambda: datasets.spheres(10, gap=-0.1), "gap is -0.1"),
        (lambda: datasets.spheres(10, n_shells=3, gap=0.5), "radius of 1.3"),
        (lambda: datasets.parallel_lines(10, 0), "gap is 0"),
        (lambda: datasets.parallel_lines(10, float("inf")), "gap is inf"),
        (lambda: datasets.clusters(10, 0, 2), "k is 0"),
        (lambda: datasets.clusters(10, 1, WRONG_TYPE), "d is '2'"),
        (lambda: datasets.random_labels(10, 0), "d is 0"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
