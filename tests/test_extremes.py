"""Data at every edge, with every kind of first and second layer: right labels, or one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from random_fits import a_case, check, contradicts, outcome

import fastmem
from fastmem import ContradictionError, InvalidInputError, UnseparatedWarning

KINDS = {
    "merge": {},
    "random": {"selection": "random"},
    "structured": {"projection": "structured"},
    "structured random": {"projection": "structured", "selection": "random"},
    "compact": {"compact": True},
    "structured compact": {"projection": "structured", "compact": True},
    "relu": {"activation": "relu"},
    "structured random relu": {
        "projection": "structured", "selection": "random", "activation": "relu",
    },
    "compact relu": {"activation": "relu", "compact": True},
    "given width": {"width": 100},
    "given width, compact": {"width": 100, "compact": True, "covered": "all"},
}  # fmt: skip
F4, F8 = np.finfo(np.float32), np.finfo(np.float64)
rng = np.random.default_rng(0)
cloud = rng.standard_normal((40, 3))
labels = rng.integers(0, 3, 40)


def one_feature_constant():
    X = cloud.copy()
    X[:, 1] = 7.0
    return X, labels


def zeros_of_both_signs():
    X = np.sign(cloud).round()
    X[X == 0] = 1
    X[::2, 0], X[1::2, 0] = 0.0, -0.0
    return X, (X[:, 1] > 0).astype(int) + (X[:, 2] > 0)


SETS = {
    "two points": lambda: (np.array([[0.0], [1.0]]), [0, 1]),
    "two points of one feature, neighbours": lambda: (
        np.array([[1.0], [np.nextafter(1.0, 2.0)]]), ["a", "b"]),
    "two denormals": lambda: (np.array([[0.0], [F8.smallest_subnormal]]), [True, False]),
    "denormals": lambda: (cloud.round() * F8.smallest_subnormal * 8, labels),
    "float32 denormals": lambda: (
        (cloud.round() * F4.smallest_subnormal * 8).astype(np.float32), labels),
    "1e38": lambda: ((cloud * 1e38).clip(-3e38, 3e38).astype(np.float32), labels),
    "largest float32": lambda: (np.sign(cloud).astype(np.float32) * F4.max, labels),
    "1e-38": lambda: ((cloud * 1e-38).astype(np.float32), labels),
    "1e297": lambda: (cloud * 1e297, labels),
    "1e-300": lambda: (cloud * 1e-300, labels),
    "all scales": lambda: (cloud * [1e-200, 1.0, 1e200], labels),
    "one feature": lambda: (cloud[:, :1], labels),
    "one feature constant": one_feature_constant,
    "zeros of both signs": zeros_of_both_signs,
    "one sample a class": lambda: (cloud, np.arange(40)),
    "64-bit labels": lambda: (cloud, np.array([-(2**63), 0, 2**63 - 1])[labels]),
    "far away": lambda: (cloud * 1e-6 + 1e9, labels),
    "one far away": lambda: (np.concatenate([cloud, [[1e250] * 3]]), [*labels, 0]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SETS)
def test_extreme_data_are_memorised(name, kind, tmp_path):
    X, y = SETS[name]()
    y = np.asarray(y)
    settings = KINDS[kind] | {"seed": 1}
    if contradicts(X, y):  # rounding makes points equal
        if "width" not in settings:
            assert check(X, y, settings, tmp_path) == "contradiction"
        _, first, group = np.unique(X + 0.0, axis=0, return_index=True, return_inverse=True)
        y = y[first][group.reshape(-1)]
    found = check(X, y, settings, tmp_path)
    small = name in ("two denormals", "denormals") and "relu" in kind
    assert found in (("refused: less than 1e-316",) if small else ("right", "some unseparated"))
    assert found != "some unseparated" or "width" in settings


@pytest.mark.parametrize("kind", KINDS)
def test_scales_beyond_what_biases_hold_are_one_sentence(kind):
    X = np.array([[1e308], [-1e308], [0.0]])
    with pytest.raises(InvalidInputError, match=r"beyond 1\.05e\+298 .*; divide X by a power"):
        fastmem.interpolate(X, [0, 1, 0], **KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_points_that_are_all_equal(kind):
    """No function tells them apart: an error, or with a width all points are unseparated."""
    X, y = np.ones((6, 2)), np.array([0, 1, 2, 0, 1, 2])
    settings = KINDS[kind] | {"covered": "all", "seed": 0}
    if "width" not in settings:
        with pytest.raises(ContradictionError) as caught:
            fastmem.interpolate(X, y, **settings)
        assert caught.value.count == 6
        settings["width"] = 70
    with pytest.warns(UnseparatedWarning, match="6 of 6"):
        network = fastmem.interpolate(X, y, **settings)
    assert network.widths[1] == 0 and network.report.unseparated.tolist() == list(range(6))
    assert set(network.predict(X)) <= {0, 1, 2}


@pytest.mark.parametrize("compact", [False, True])
def test_a_thousand_classes_of_one_sample(compact, tmp_path):
    X = np.random.default_rng(1).standard_normal((1000, 5)).astype(np.float32)
    settings = {"compact": compact, "seed": 0}
    assert check(X, np.arange(1000), settings, tmp_path) == "right"


@pytest.mark.parametrize("compact", [False, True])
def test_the_most_features_of_structured_hyperplanes(compact, tmp_path):
    X = np.zeros((12, 65_536), np.float32)
    X[np.arange(12), np.arange(12) * 5_957] = 1.0  # the last is feature 65,527
    X[0, -1] = 1.0
    y = np.arange(12) % 2
    settings = {"projection": "structured", "compact": compact, "seed": 0, "width": 90}
    assert check(X, y, settings, tmp_path) in ("right", "some unseparated")
    with pytest.raises(InvalidInputError, match="65537 columns, more than 65,536"):
        fastmem.interpolate(np.eye(2, 65_537), [0, 1], projection="structured")


def test_what_random_fits_found(tmp_path):
    """Compact networks of points none of which can be covered; see `random_fits.py`."""
    for seed in (57, 58, 67, 70, 103):
        assert outcome(seed, tmp_path) != "FAULT"


def test_no_case_of_random_fits_is_like_another():
    cases = [a_case(seed) for seed in range(30)]
    assert len({(X.shape, str(X.dtype), str(settings)) for X, _, settings in cases}) == 30
