"""Exports of networks whose points are scaled: equal labels in every form."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from scipy import sparse

import fastmem
from fastmem import CoverLayer, interpolate
from fastmem.export import to_c, to_onnx, to_torch
from fastmem.export.c_compiler import find_compiler

EXPONENTS = [20, 0, -17, -2, -67, 3]


def table(d=6):
    rng = np.random.default_rng(0)
    s = np.ldexp(1.0, np.resize(EXPONENTS, d))
    X = (rng.standard_normal((200, d)) / s).astype(np.float32)
    X[:, 1] = rng.integers(0, 3, 200)
    return X, rng.integers(0, 3, 200), s


LAYERS = {
    "stored": {},
    "structured": {"projection": "structured"},
    "seeded": {"projection": "gaussian", "memory_limit": 257 << 20, "width": 100_000,
               "compact": True},
}  # fmt: skip


@pytest.fixture(scope="module", params=LAYERS)
def case(request):
    X, y, s = table(170 if request.param == "seeded" else 6)
    return X, y, interpolate(X, y, scale=s, seed=0, **LAYERS[request.param])


def as_points(X, kind):
    if kind == "csr":
        return sparse.csr_matrix(X)
    return X.astype(np.float64) if kind == "float64" else X


@pytest.mark.parametrize("kind", ["float32", "float64", "csr"])
@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")
def test_c_gives_every_label(case, kind, arithmetic, exact, tmp_path):
    X, y, net = case
    points = as_points(X, kind)
    report = to_c(net, tmp_path / "net.h", points, y, arithmetic=arithmetic, exact=exact)
    assert report.exact and report.n_checked == 200 and not len(report.wrong)
    text = (tmp_path / "net.h").read_text()
    assert "net_scale[" in text
    double = kind == "float64"
    assert f"typedef {'double' if double else 'float'} net_point;" in text
    if not exact and not double and arithmetic == "float32":
        assert "double" not in text.split("net_scale[")[1].split("net_pattern")[0]


@pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")
def test_c_decides_floats_that_the_scale_takes_out_of_their_range(tmp_path):
    """In float their products would be 0 or infinite; in C they are doubles, which are exact."""
    rng = np.random.default_rng(0)
    X = np.stack(
        [rng.uniform(-3e38, 3e38, 80), rng.uniform(-1e-38, 1e-38, 80)], axis=1
    ).astype(np.float32)  # fmt: skip
    y = rng.integers(0, 2, 80)
    net = interpolate(X, y, scale=[2.0**20, 2.0**-20], seed=0, selection="random")
    assert to_c(net, tmp_path / "net.h", X, y).exact
    back = interpolate(X, y, scale=[2.0**-500, 2.0**500], seed=0)
    assert to_c(back, tmp_path / "net.h", X, y).exact


@pytest.mark.parametrize("kind", ["float32", "float64", "csr"])
@pytest.mark.parametrize("first", ["explicit", "transforms"])
@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_onnx_gives_every_label(case, kind, first, tmp_path):
    X, y, net = case
    if first == "transforms" and type(net.first) is not fastmem.StructuredHyperplanes:
        pytest.skip("there are no transforms")
    report = to_onnx(net, tmp_path / "net.onnx", as_points(X, kind), y, first=first)
    assert report.exact and not len(report.wrong)
    import onnx

    graph = onnx.load(tmp_path / "net.onnx").graph
    assert next(node.op_type for node in graph.node if node.op_type != "Cast") == "Mul"


@pytest.mark.parametrize("kind", ["float32", "float64", "csr"])
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
def test_torch_gives_every_label(case, kind):
    X, y, net = case
    module = to_torch(net, as_points(X, kind), y)
    assert module.report.exact and not len(module.report.wrong)


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_a_scale_beyond_float32_is_computed_in_float64(tmp_path):
    X, y, _ = table()
    X = np.ldexp(X.astype(np.float64), 200)
    net = interpolate(X, y, scale=np.ldexp(1.0, [e - 200 for e in EXPONENTS]), seed=0)
    report = to_onnx(net, tmp_path / "net.onnx", X, y)
    assert report.exact
    unchecked = to_onnx(net, tmp_path / "net.onnx")
    assert unchecked.settings["arithmetic"].startswith("float64")


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_distances_are_those_of_scaled_points(tmp_path):
    rng = np.random.default_rng(0)
    s = np.ldexp(1.0, [12, -7, 0])
    by_hand = (1e6 + rng.standard_normal((60, 3))).astype(np.float32)
    y = rng.integers(0, 2, 60)
    X = (by_hand / s).astype(np.float32)
    net, hand = interpolate(X, y, scale=s, seed=0), interpolate(by_hand, y, scale="none", seed=0)
    for dtype in ("auto", "float32", "float64"):
        here = to_onnx(net, tmp_path / "net.onnx", X, y, dtype=dtype)
        there = to_onnx(hand, tmp_path / "hand.onnx", by_hand, y, dtype=dtype)
        assert here.exact and here.attempts == there.attempts
        assert here.smallest_distance == there.smallest_distance
        assert here.settings == there.settings


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_biases_are_moved_between_scaled_points(tmp_path):
    """Two points whose products float32 tells apart, but not which is beyond the bias."""
    s = np.array([2.0**8, 2.0**-8])
    X = np.array([[1.0, 2.0**-30], [1 - 2.0**-24, 0.0], [3.0, 0.0]]) / s
    layer = CoverLayer(np.ones((1, 1), np.uint64), np.ones(1, np.int32), np.zeros(1, np.int32))
    planes = fastmem.Hyperplanes(np.array([[1.0, 1.0]], np.float32), np.array([-1.0]))
    net = fastmem.Network(np.array([5, 9]), planes, layer, (0,), scale=s)
    report = to_onnx(net, tmp_path / "a.onnx", X)
    assert report.exact and [count for _, count in report.attempts] == [1, 0]
    assert report.settings["arithmetic"] == "float32, 1 biases moved"
