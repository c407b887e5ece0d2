"""Exported networks: the same labels in C, onnxruntime and PyTorch, or the rows that differ."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy import sparse as sp

import fastmem
from fastmem import datasets
from fastmem.export import ExportWarning, c_header, to_c, to_onnx, to_torch
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.inputs import InvalidInputError
from fastmem.network.network import Network
from fastmem.second_layer.cover_layer import CoverLayer

COMPILER = c_header.find_compiler()
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")
needs_onnx = pytest.mark.skipif(
    find_spec("onnxruntime") is None or find_spec("onnx") is None,
    reason="onnx and onnxruntime are not installed",
)
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
STRICT = ("-O2", "-Wall", "-Wextra", "-Werror", "-pedantic")


def digits(n=300, **settings):
    X, y = datasets.digits784(n)
    return X, y, fastmem.interpolate(X, y, **({"width": 256, "seed": 0} | settings))


@pytest.fixture(scope="module")
def cases():
    """Networks of every kind: name, points, labels, network."""
    found = {}
    for projection, compact in itertools.product(("gaussian", "structured"), (False, True)):
        X, y, net = digits(projection=projection, compact=compact)
        found[f"{projection}, {compact}"] = X, y, net
    X, y, net = digits(covered="all", selection="random")
    found["all classes, random"] = X, y, net
    X, y, net = digits(covered=list(range(9)), margin=0.5)
    found["nine of ten classes"] = X, y, net
    X, y = datasets.unit_moons(500)
    found["moons"] = X, y, fastmem.interpolate(X, y, width=128, seed=0)
    found["moons, both"] = X, y, fastmem.interpolate(X, y, width=128, seed=0, covered="all")
    names = np.array(["no", "yes"])[y]
    found["strings"] = X, names, fastmem.interpolate(X, names, width="auto", seed=0)
    wide = X.astype(np.float64) + 1e-12
    found["float64"] = wide, y > 0, fastmem.interpolate(wide, y > 0, width="auto", seed=0)
    rows = np.arange(0, 128, 2, dtype=np.int32)
    planes = SeededHyperplanes(
        7, rows, np.empty((0, 2), np.float32), np.random.default_rng(0).uniform(-1, 1, 64)
    )
    found["seeded"] = X, None, random_network(planes, np.random.default_rng(1), 3)
    return found


def random_network(planes, rng, n_classes, n_neurons=9):
    """Second layer at random: nothing is memorised, so that every score occurs."""
    n = len(planes)
    bits = rng.random((n_neurons, 64 * planes.n_words)) < 0.4
    bits[:, n:] = False
    masks = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
    thresholds = rng.integers(1, max(2, n // 3), n_neurons).astype(np.int32)
    n_covered = int(rng.integers(1, n_classes + 1))
    covered = np.sort(rng.choice(n_classes, n_covered, replace=False))
    owners = np.sort(rng.choice(covered, n_neurons)).astype(np.int32)  # some blocks stay empty
    layer = CoverLayer(masks, thresholds, owners)
    return Network(np.arange(n_classes) * 3 - 2, planes, layer, tuple(int(c) for c in covered))


def in_c(net, folder, points, options=STRICT, **settings):
    """Labels(block) of the compiled header."""
    path = folder / "net.h"
    to_c(net, path, points=points, **settings)
    codes = c_header.compiled(
        path.read_text(encoding="ascii"), "net", points, folder, COMPILER, options
    )
    return lambda block: net.classes_[codes(block)]


def around(X, n=400):
    """Unseen points near and far, of X's type."""
    rng = np.random.default_rng(5)
    near = X[rng.integers(len(X), size=n)] + rng.normal(0, 0.05, (n, X.shape[1]))
    return np.concatenate([near, 30 * near, 0 * near[:1]]).astype(X.dtype)


@needs_compiler
@pytest.mark.parametrize("masks", ["bits", "lists"])
@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_c_gives_every_label(cases, tmp_path, masks, arithmetic):
    for name, (X, y, net) in cases.items():
        settings = {"masks": masks, "arithmetic": arithmetic}
        report = to_c(net, tmp_path / "net.h", X, y, **settings)
        assert report.exact, name
        assert report.wrong is None if y is None else len(report.wrong) == 0
        labels = in_c(net, tmp_path, str(X.dtype), **settings)
        unseen = around(X)
        np.testing.assert_array_equal(labels(unseen), net.predict(unseen), name)


@needs_onnx
@pytest.mark.parametrize("masks", ["packed", "int8", "float32"])
def test_onnx_gives_every_label(cases, tmp_path, masks):
    import onnxruntime

    for name, (X, y, net) in cases.items():
        for first in ("explicit", "auto"):
            path = tmp_path / "net.onnx"
            report = to_onnx(net, path, X, y, first=first, masks=masks)
            assert report.exact and report.settings["opset"] == "18", name
            assert report.n_bytes == path.stat().st_size
            session = onnxruntime.InferenceSession(path)
            unseen = around(X)
            label, scores = session.run(None, {"points": unseen})
            same = np.array(label.tolist()) == net.predict(unseen)
            assert same.mean() > 0.99, name  # unseen points may lie within a float of a plane
            expected = net.decision_function(unseen)
            if len(net.classes_) > 2:
                np.testing.assert_array_equal(scores[same], expected[same], name)


@needs_onnx
def test_no_rows_one_and_two_in_every_form(cases, tmp_path):
    import onnxruntime

    for name, (X, _, net) in cases.items():
        structured = isinstance(net.first, fastmem.StructuredHyperplanes)
        for first in ("explicit", "transforms") if structured else ("explicit",):
            for masks in ("packed", "int8", "float32"):
                path = tmp_path / "net.onnx"
                to_onnx(net, path, X, first=first, masks=masks)
                session = onnxruntime.InferenceSession(path)
                for n in (0, 1, 2):
                    label, scores = session.run(None, {"points": X[:n]})
                    assert label.shape == (n,), name
                    assert scores.shape == (n, len(net.classes_))
                    assert np.array_equal(np.array(label.tolist()), net.predict(X[:n])) or n == 0
        if find_spec("torch") is not None:
            import torch

            module = to_torch(net, X)
            for n in (0, 1, 2):
                points = torch.from_numpy(X[:n])
                assert module(points).shape == (n, len(net.classes_))
                assert module.predict(points).tolist() == net.predict(X[:n]).tolist()


@needs_onnx
def test_names_of_features_come_along(tmp_path):
    import onnx

    X, y = datasets.unit_moons(50)
    plain = fastmem.interpolate(X, y, width=64, seed=0)
    names = ["caf\u00e9", '"\n\ud800']
    net = Network(plain.classes_, plain.first, plain.second, plain.covered, feature_names=names)
    for network, expected in ((net, names), (plain, None)):
        assert to_onnx(network, tmp_path / "a.onnx", X, y).exact
        model = onnx.load(tmp_path / "a.onnx")
        found = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
        assert found == ({"feature_names": names} if expected else {})
        if find_spec("torch") is not None:
            kept = to_torch(network).feature_names
            assert kept == (None if expected is None else tuple(names))


@needs_torch
def test_torch_gives_every_label(cases):
    import torch

    for name, (X, y, net) in cases.items():
        for dtype in ("auto", "float64"):
            module = to_torch(net, X, y, dtype=dtype)
            assert module.report.exact, name
            assert module(torch.from_numpy(X[:7])).shape == (7, len(net.classes_))
            reloaded = to_torch(net, dtype="float64")
            if dtype == "float64":
                reloaded.load_state_dict(module.state_dict())
                np.testing.assert_array_equal(reloaded.predict(torch.from_numpy(X)), net.predict(X))


@needs_compiler
@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 70),
    d=st.integers(1, 40),
    double=st.booleans(),
    structured=st.booleans(),
    wide=st.booleans(),
)
@hypothesis.settings(max_examples=25)
def test_c_decides_points_on_and_beside_hyperplanes(
    tmp_path_factory, seed, n, d, double, structured, wide
):
    """Coordinates of few bits lie on hyperplanes of few bits; their neighbours just beside."""
    rng = np.random.default_rng(seed)
    if structured:
        signs = rng.integers(2**64, size=(2, 3, 1), dtype=np.uint64)
        signs[:, 0] &= np.uint64((1 << d) - 1)
        rows = rng.permutation(128)[:n].astype(np.int32)
        extra = rng.integers(-3, 4, (n // 8, d)).astype(np.float32)
        rows[: len(extra)] = -1 - np.arange(len(extra))
        planes = fastmem.StructuredHyperplanes(signs, rows, extra, rng.integers(-8, 9, n) / 8.0)
    else:
        weights = (rng.integers(-9, 10, (n, d)) * 2.0 ** rng.integers(-20, 20)).astype(np.float32)
        planes = Hyperplanes(weights, np.zeros(n))
    dtype = np.float64 if double else np.float32
    X = (rng.integers(-9, 10, (60, d)) * 2.0 ** rng.integers(-30, 30)).astype(dtype)
    if wide:  # large coordinates that cancel, and what is left far below their last bit
        X *= (2.0 ** rng.integers(-40, 40, (1, d))).astype(dtype)
    if not structured:
        exact = weights.astype(np.float64) @ X[0]
        planes = Hyperplanes(weights, -exact)  # through the first point, or within a rounding of it
    net = random_network(planes, rng, int(rng.integers(2, 5)))
    beside = [np.nextafter(X[:20], dtype(way * np.inf)) for way in (-1, 1)]
    points = np.concatenate([X, *beside])
    points[np.abs(points) < 1e-250] = 0  # products of neighbours of 0 leave the range of doubles
    folder = tmp_path_factory.mktemp("c")
    labels = in_c(net, folder, str(points.dtype), ("-O0",))
    np.testing.assert_array_equal(labels(points), net.predict(points))


def far_away(offset=1e6):
    """Points whose differences are below float32's last bit, and a network of them."""
    rng = np.random.default_rng(0)
    X = offset + rng.uniform(-1e-2, 1e-2, (200, 2))
    y = (X[:, 0] > offset).astype(int)
    return X, y, fastmem.interpolate(X, y, seed=1)


@needs_onnx
def test_centred_points_are_enough_for_far_away_data(tmp_path):
    X, y, net = far_away()
    report = to_onnx(net, tmp_path / "a.onnx", X, y, dtype="float32")
    assert report.exact and "centred" in report.settings["arithmetic"]


def hair_networks():
    """Hyperplanes so near to two points that float32 puts both on one side: bits decide labels."""
    x = np.array([[1.0, 2.0**-26], [1.0, -(2.0**-26)], [3.0, 0.0], [-3.0, 0.0]])
    weights = np.array([[1.0, 1.0]], np.float32)
    layer = CoverLayer(np.ones((1, 1), np.uint64), np.ones(1, np.int32), np.zeros(1, np.int32))
    return x, Network(np.array([5, 9]), Hyperplanes(weights, np.array([-1.0])), layer, (0,))


@needs_onnx
@pytest.mark.parametrize("export", ["onnx", pytest.param("torch", marks=needs_torch)])
def test_rows_that_float32_loses_are_named_and_float64_helps(tmp_path, export):
    X, net = hair_networks()

    def run(**settings):
        if export == "torch":
            return to_torch(net, X, net.predict(X), **settings).report
        return to_onnx(net, tmp_path / "a.onnx", X, net.predict(X), **settings)

    assert net.predict(X).tolist() == [9, 5, 9, 5]
    with pytest.warns(ExportWarning, match=r"1 of 4 points .*\(rows 0\).*dtype='float64'"):
        report = run(dtype="float32", adjust=False)
    assert not report.exact and report.rows.tolist() == report.wrong.tolist() == [0]
    assert report.smallest_distance == pytest.approx(2.0**-26 / np.sqrt(2))
    fixed = run(dtype="float64", adjust=False)
    assert fixed.exact and fixed.remedy == ""
    auto = run()
    assert auto.exact and [count for _, count in auto.attempts] == [1, 0]
    assert auto.settings["arithmetic"].startswith("float64")


@needs_onnx
def test_a_moved_bias_keeps_float32_where_it_can(tmp_path):
    """Two points whose products float32 tells apart, but not which is beyond the bias."""
    X = np.array([[1.0, 2.0**-30], [1 - 2.0**-24, 0.0], [3.0, 0.0]])
    weights = np.array([[1.0, 1.0]], np.float32)
    layer = CoverLayer(np.ones((1, 1), np.uint64), np.ones(1, np.int32), np.zeros(1, np.int32))
    net = Network(np.array([5, 9]), Hyperplanes(weights, np.array([-1.0])), layer, (0,))
    report = to_onnx(net, tmp_path / "a.onnx", X)
    assert report.exact and [count for _, count in report.attempts] == [1, 0]
    assert report.settings["arithmetic"] == "float32, 1 biases moved"


@needs_compiler
def test_c_without_exact_sums_names_its_rows(tmp_path):
    X, net = hair_networks()
    with pytest.warns(ExportWarning, match="exact=True"):
        report = to_c(net, tmp_path / "a.h", X, exact=False, arithmetic="float32")
    assert report.rows.tolist() == [0] and not report.exact
    assert to_c(net, tmp_path / "a.h", X, arithmetic="float32").exact


@needs_onnx
def test_y_is_told_apart_from_the_network(tmp_path):
    X, y = datasets.unit_moons(200)
    with pytest.warns(fastmem.UnseparatedWarning):
        net = fastmem.interpolate(X, y, width=2, seed=0)
    report = to_onnx(net, tmp_path / "a.onnx", X, y)
    assert report.exact
    assert report.wrong.tolist() == np.flatnonzero(net.predict(X) != y).tolist() != []


HOSTILE = ['a"; int x = 1; //', "*/ line\nbreak \\", "??/", "Zürich 東京", "%s@p @UP", "", "\t7"]


@needs_compiler
def test_labels_in_c_are_text_and_nothing_else(tmp_path):
    X = np.arange(2.0 * len(HOSTILE), dtype=np.float32).reshape(-1, 2)
    net = fastmem.interpolate(X, HOSTILE, seed=0)
    to_c(net, tmp_path / "n.h", X, HOSTILE)
    (tmp_path / "n.c").write_text(
        '#include <stdio.h>\n#include "n.h"\nint main(void) { int i;\n'
        "for (i = 0; i < N_CLASSES; i++) { fputs(n_labels[i], stdout); putchar(0); }\n"
        "return 0; }\n"
    )
    program = tmp_path / "n"
    options = ("-std=c99", *STRICT, "-trigraphs", "-o", str(program), str(tmp_path / "n.c"))
    subprocess.run([COMPILER, *options], check=True)
    printed = subprocess.run([program], capture_output=True, check=True).stdout.decode("utf-8")
    assert printed.split("\0")[:-1] == net.classes_.tolist() == sorted(HOSTILE)


@needs_onnx
@pytest.mark.parametrize(
    "labels",
    [
        HOSTILE,
        [True, False],
        [-(2**63), 2**63 - 1],
        np.array([0, 2**64 - 1], np.uint64),
        np.array([-1.0, 1e300]),
        np.array([3, 5], np.int8),
    ],
    ids=["strings", "bools", "int64", "uint64", "floats", "int8"],
)
def test_labels_of_all_kinds(tmp_path, labels):
    X = np.arange(2.0 * len(labels), dtype=np.float32).reshape(-1, 2)
    net = fastmem.interpolate(X, labels, seed=0)
    assert to_onnx(net, tmp_path / "a.onnx", X, labels).exact
    report = to_c(net, tmp_path / "a.h", X, labels)
    assert report.exact or COMPILER is None


@pytest.mark.parametrize("bad", ["a\0b", "\ud800"])
def test_labels_that_cannot_be_written(tmp_path, bad):
    net = fastmem.interpolate(np.eye(2, dtype=np.float32), [bad, "b"], seed=0)
    with pytest.raises(InvalidInputError, match="rename it"):
        to_c(net, tmp_path / "a.h")
    if find_spec("onnx") is not None:
        with pytest.raises(InvalidInputError, match="rename it"):
            to_onnx(net, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@needs_onnx
def test_bad_arguments_are_refused_in_a_sentence(tmp_path):
    X, y = datasets.unit_moons(50)
    net = fastmem.interpolate(X, y, width=64, seed=0, projection="gaussian")
    h, onnx = tmp_path / "a.h", tmp_path / "a.onnx"
    for call, sentence in [
        (lambda: to_onnx("net", onnx), "network is 'net' .str.; pass a fastmem.Network"),
        (lambda: to_onnx(net, h), "suffix '.h'"),
        (lambda: to_c(net, onnx), "suffix '.onnx'"),
        (lambda: to_onnx(net, tmp_path / "no" / "a.onnx"), "no directory"),
        (lambda: to_onnx(net, onnx, dtype="float16"), "dtype is 'float16'"),
        (lambda: to_onnx(net, onnx, masks=8), "masks is 8"),
        (lambda: to_onnx(net, onnx, first="transforms"), "no structured hyperplanes"),
        (lambda: to_onnx(net, onnx, y=y), "y was given without X"),
        (lambda: to_onnx(net, onnx, X[:, :1]), "1 "),
        (lambda: to_onnx(net, onnx, X[:0]), "no rows"),
        (lambda: to_onnx(net, onnx, X, y[:-1]), "49"),
        (lambda: to_c(net, h, name="a b"), "name is 'a b'"),
        (lambda: to_c(net, h, name="int"), "name is 'int'"),
        (lambda: to_c(net, h, name="a;x"), "name is 'a;x'"),
        (lambda: to_c(net, h, X, compiler="no-such-compiler"), "no-such-compiler"),
        (lambda: to_c(net, h, X.astype(float), points="float32"), "round it"),
    ]:
        with pytest.raises(InvalidInputError, match=sentence):
            call()
    sums = fastmem.interpolate(X, y, width=64, seed=0, projection="gaussian", activation="relu")
    with pytest.raises(InvalidInputError, match="activation 'relu'"):
        to_onnx(sums, onnx)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_checked_without_a_compiler(tmp_path, monkeypatch):
    X, y = datasets.unit_moons(50)
    net = fastmem.interpolate(X, y, width=64, seed=0)
    monkeypatch.setattr(c_header, "find_compiler", lambda: None)
    report = to_c(net, tmp_path / "a.h", X, y)
    assert not report.exact and report.n_checked == 0 and "no C compiler" in report.unchecked


@pytest.mark.parametrize("stem", ["7", "_x", "int", "ü", "a-b", "two words"], ids=range(6))
def test_names_come_from_the_file(tmp_path, stem):
    X, y = datasets.unit_moons(50)
    net = fastmem.interpolate(X, y, width=64, seed=0)
    assert to_c(net, tmp_path / f"{stem}.h", X).exact or COMPILER is None


@needs_onnx
def test_sparse_points_and_a_full_disk(tmp_path, monkeypatch):
    X, y, net = digits(100)
    assert to_onnx(net, tmp_path / "a.onnx", sp.csr_matrix(X), y).exact
    before = (tmp_path / "a.onnx").read_bytes()

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    for write in (to_onnx, to_c):
        suffix = ".onnx" if write is to_onnx else ".h"
        with pytest.raises(InvalidInputError, match="No space left"):
            write(net, tmp_path / f"a{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert (tmp_path / "a.onnx").read_bytes() == before


def test_structured_networks_stay_small(tmp_path):
    X, y, net = digits(projection="structured", compact=True)
    report = to_c(net, tmp_path / "net.h")
    explicit = 4 * len(net.first) * net.n_features_in_
    assert report.n_bytes < explicit / 10
    assert report.settings["first layer"] == "transforms"
    if find_spec("onnx") is not None:
        assert to_onnx(net, tmp_path / "net.onnx").n_bytes < explicit


@needs_onnx
def test_the_command(tmp_path):
    from typer.testing import CliRunner

    from fastmem.commands import app

    X, y = datasets.unit_moons(100)
    fastmem.interpolate(X, y, width=128, seed=0).save(tmp_path / "n.npz")
    np.savez(tmp_path / "d.npz", X=X, y=y)

    def run(*words):
        return CliRunner().invoke(app, ["export", str(tmp_path / "n.npz"), *map(str, words)])

    done = run("--out", tmp_path / "n.onnx", "--data", tmp_path / "d.npz")
    assert done.exit_code == 0 and "100 % (100 of 100)" in done.output
    done = run("--format", "c", "--out", tmp_path / "n.h")
    assert done.exit_code == 0 and "no points were given" in done.output
    assert run("--out", tmp_path / "n.txt").exit_code == 2
    assert run("--format", "c", "--out", tmp_path / "n.onnx").exit_code == 2
    assert run("--out", tmp_path / "m.h", "--label", "y").exit_code == 2
    X, net = hair_networks()
    net.save(tmp_path / "n.npz")
    np.savez(tmp_path / "d.npz", X=X)
    data = ("--data", tmp_path / "d.npz", "--dtype", "float32")
    done = run("--out", tmp_path / "n.onnx", *data)
    assert done.exit_code == 1 and "Rows 0 get another label" in done.output


def test_importing_exports_imports_no_runtime():
    code = (
        "import sys, fastmem.export; assert not {'onnx', 'onnxruntime', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def far_apart(covered, owner):
    """Masks with hundreds of zeros between ones, where the gaps of lists are longest."""
    rng = np.random.default_rng(3)
    n = 1500
    planes = Hyperplanes(rng.standard_normal((n, 2)).astype(np.float32), np.zeros(n))
    bits = np.zeros((3, 64 * planes.n_words), bool)
    bits[0, [0, 254, 510, 1020, 1499]] = True
    bits[1, [255, 256, 1023]] = True
    bits[2, [1499]] = True
    masks = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
    layer = CoverLayer(masks, np.array([3, 2, 1], np.int32), np.full(3, owner, np.int32))
    return Network(np.arange(3), planes, layer, covered), rng.standard_normal((500, 2))


@pytest.mark.parametrize("covered", [(0, 1, 2), (0, 1), (1,)])
def test_long_gaps_and_blocks_without_neurons(tmp_path, covered):
    net, X = far_apart(covered, 1)
    expected = net.predict(X)
    # a block without neurons never wins; a class that was left out wins where none is on
    assert set(expected) == ({1} if len(covered) == 3 else {1, 2 if 0 in covered else 0})
    for masks in ("lists", "bits"):
        assert to_c(net, tmp_path / "a.h", X, masks=masks).exact or COMPILER is None
    if find_spec("onnxruntime") is not None:
        assert to_onnx(net, tmp_path / "a.onnx", X).exact
    if find_spec("torch") is not None:
        assert to_torch(net, X).report.exact
