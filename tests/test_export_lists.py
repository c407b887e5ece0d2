"""Decision lists in C, onnxruntime and PyTorch."""

from __future__ import annotations

import platform

import numpy as np
import pytest
from decision_lists import make_list
from sklearn.datasets import load_digits, load_wine
from test_export import COMPILER, STRICT, needs_compiler, needs_onnx, needs_torch

from fastmem.export import to_c, to_onnx, to_torch
from fastmem.export.c_compiler import compiled
from fastmem.network.network import Network
from fastmem.second_layer.cover_layer import CoverLayer


def near_planes(network, X, seed=0):
    """Points that are moved along a feature until they are on, or nearly on, a hyperplane."""
    rng = np.random.default_rng(seed)
    X = np.array(X, np.float64)
    scale = np.ones(X.shape[1]) if network.scale is None else network.scale
    weights, biases = network.first.weights.astype(np.float64), network.first.biases
    for point in X:
        h = rng.integers(len(biases))
        k = rng.choice(np.flatnonzero(weights[h]))
        rest = np.sum(weights[h] * point * scale) - weights[h, k] * point[k] * scale[k] + biases[h]
        point[k] = -rest / weights[h, k] / scale[k]
    return X


@pytest.fixture(scope="module")
def cases():
    """Lists of several kinds: points, labels, network."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:400], y[:400]
    found = {"digits": (X, y, make_list(X, y))}
    narrow = (X / 16).astype(np.float32)
    found["float32"] = narrow, y, make_list(narrow, y, bits=0)
    names = np.array(["no", "yes"])[y % 2]
    found["texts, stored rows"] = X, names, make_list(X, names, n=64, n_extra=300)
    W, z = load_wine(return_X_y=True)
    scale = 2.0 ** -np.rint(np.log2(W.std(axis=0)))
    columns = [f"c{k}" for k in range(W.shape[1])]
    found["scaled"] = W, z, make_list(W, z, n=128, scale=scale, feature_names=columns)
    rng = np.random.default_rng(0)
    far = 1e6 + rng.standard_normal((120, 3))
    t = rng.integers(0, 3, 120)
    found["far away"] = far, t, make_list(far, t, n=256, bits=8, n_extra=200)
    for name, (points, _, network) in list(found.items()):
        if points.dtype == np.float64:
            close = near_planes(network, points)
            found[f"{name}, near planes"] = close, network.predict(close), network
    return found


NAMES = ["digits", "float32", "texts, stored rows", "scaled", "far away"]
CLOSE = [f"{name}, near planes" for name in NAMES if name != "float32"]


@needs_compiler
@pytest.mark.parametrize("name", NAMES + CLOSE)
def test_c_headers_give_the_labels(cases, name, tmp_path):
    X, y, network = cases[name]
    report = to_c(network, tmp_path / "list.h", X, y, compiler=None)
    assert report.exact and not len(report.wrong)
    assert report.settings["first layer"] == "key"
    assert "then exact" in report.settings["arithmetic"]
    if name == "digits":
        assert (tmp_path / "list.h").stat().st_size < 20_000
        assert report.n_bytes < 3 * network.nbytes + 1000


@needs_compiler
@pytest.mark.parametrize("options", [STRICT, (*STRICT, "-O3", "-ffp-contract=fast", "-mfma")])
@pytest.mark.parametrize("name", NAMES + CLOSE)
def test_c_headers_give_the_labels_whatever_is_fused(cases, name, options, tmp_path):
    X, y, network = cases[name]
    if "-mfma" in options and platform.machine() != "x86_64":
        pytest.skip("an option of x86")
    for exact in (True, False):
        to_c(network, tmp_path / "list.h", points=str(X.dtype), exact=exact)
        text = (tmp_path / "list.h").read_text()
        codes = compiled(text, "list", str(X.dtype), tmp_path, COMPILER, options)(X)
        wrong = network.classes_[codes] != y
        assert not wrong.any() if exact else wrong.mean() < 0.5


@needs_compiler
def test_c_headers_without_neurons_or_doubts(cases, tmp_path):
    X, _, network = cases["digits"]
    none = CoverLayer(
        np.empty((0, network.first.n_words), np.uint64), np.empty(0, np.int32),
        np.empty(0, np.int32),
    )  # fmt: skip
    empty = Network(network.classes_, network.first, none, (), default=4)
    assert to_c(empty, tmp_path / "empty.h", X).exact
    stored = Network(
        network.classes_, network.first.explicit, network.second, network.covered,
        default=network.default,
    )  # fmt: skip
    assert to_c(stored, tmp_path / "stored.h", X).exact


@needs_onnx
@pytest.mark.parametrize("name", NAMES)
def test_onnx_files_give_the_labels_and_scores(cases, name, tmp_path):
    import onnxruntime

    X, y, network = cases[name]
    report = to_onnx(network, tmp_path / "list.onnx", X, y)
    assert report.exact and not len(report.wrong)
    if not len(network.first.extra):  # no matrix of weights
        assert (
            report.n_bytes
            < 6 * len(network.first) * network.first.n_entries
            + len(network.second) * (len(network.first) // 8 + 9)
            + 6000
        )
    session = onnxruntime.InferenceSession(tmp_path / "list.onnx")
    given = X[:50].astype(report.settings["points"])
    label, scores = session.run(["label", "scores"], {"points": given})
    np.testing.assert_array_equal(np.array(label.tolist()), y[:50])
    if len(network.classes_) > 2:
        np.testing.assert_array_equal(scores, network.decision_function(X[:50]))
    assert (scores.max(axis=1) >= 0.5).all()


@needs_torch
@pytest.mark.parametrize("name", NAMES)
def test_modules_give_the_labels_and_scores(cases, name):
    import torch

    X, y, network = cases[name]
    module = to_torch(network, X, y)
    assert module.report.exact and not len(module.report.wrong)
    scores = module(torch.from_numpy(np.array(X[:50]))).numpy()
    if len(network.classes_) > 2:
        np.testing.assert_array_equal(scores, network.decision_function(X[:50]))
    np.testing.assert_array_equal(module.predict(torch.from_numpy(np.array(X[:50]))), y[:50])
