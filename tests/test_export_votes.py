"""Exports of networks that vote: the integers of fastmem in C, onnxruntime and PyTorch."""

from __future__ import annotations

import ctypes
import itertools
import re
import shutil
import subprocess
from importlib.util import find_spec

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy import sparse
from test_c_compilers import FAST, PLAIN

import fastmem
from fastmem import CoverLayer, Hyperplanes, Network, datasets
from fastmem.export import c_header, to_c, to_onnx, to_torch
from fastmem.export.layers import wave_signs
from fastmem.kernels.cosines import PHASE_STEP
from fastmem.readout import MAX_WEIGHT, MULTIPLIERS, ReadOut, probabilities
from fastmem.readout.readout import NEVER

COMPILER = c_header.find_compiler()
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")
needs_onnx = pytest.mark.skipif(
    find_spec("onnxruntime") is None or find_spec("onnx") is None,
    reason="onnx and onnxruntime are not installed",
)
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
STRICT = ("-O2", "-Wall", "-Wextra", "-Werror", "-pedantic")
OPTIONS = {
    "plain": STRICT,
    "slow": ("-O0",),
    "fused": ("-O3", "-march=native", "-ffp-contract=fast"),
    "extended": ("-O2", "-frounding-math", "-fexcess-precision=standard"),
}
ALL_VOTES = """
#include "net.h"
void all_votes(const net_point *x, long long n, long long *found) {
  net_vote votes[NET_CLASSES];
  long long i, c;
  for (i = 0; i < n; i++) {
    net_votes(x + i * NET_FEATURES, votes);
    for (c = 0; c < NET_CLASSES; c++) found[i * NET_CLASSES + c] = votes[c];
  }
}
void all_grid(const net_point *x, long long n, long long *found) {
  long long i;
  for (i = 0; i < n * NET_FEATURES; i++) found[i] = net_grid(x[i], (long)(i % NET_FEATURES));
}
"""


def fit(X, y, **settings):
    return fastmem.interpolate(X, y, decision="vote", **({"seed": 0, "width": 256} | settings))


@pytest.fixture(scope="module")
def cases():
    """Networks of every kind: points, labels, network; by name."""
    rng = np.random.default_rng(0)
    X, y = datasets.unit_moons(300)
    names = np.array(["no", "yes"])[y]
    noisy = np.where(rng.random(300) < 0.1, 1 - y, y)
    table = rng.standard_normal((200, 6)) / np.ldexp(1.0, [20, 0, -17, -2, -67, 3])
    labels = rng.integers(0, 3, 200)
    digits, ten = datasets.digits784(300)
    far = X.astype(np.float64) + 1e6
    equal = np.repeat(X[:60], 3, axis=0)
    lost = np.tile([0, 0, 1], 60)
    scale = np.ldexp(1.0, [20, 0, -17, -2, -67, 3])
    found = {
        "moons": (X, names, fit(X, names, width=1024)),
        "moons, float64": (X + 1e-12, y > 0, fit(X + 1e-12, y > 0, width=1024)),
        "noisy moons": (X, noisy, fit(X, noisy)),
        "labels at random": (table, labels, fit(table, labels, scale=scale)),
        "the same in float32": (
            table.astype(np.float32), labels, fit(table.astype(np.float32), labels, scale=scale)
        ),
        "digits": (digits, ten, fit(digits, ten, width=64)),
        "a block and a half": (digits[:, 300:400], ten, fit(digits[:, 300:400], ten, width=192)),
        "far away": (far, noisy, fit(far, noisy)),
        "a class that no point has": (
            equal, None, fit(equal, np.where(lost == 1, 9, np.tile(y[:60, None], 3).reshape(-1)),
                             contradictions="majority")
        ),
    }  # fmt: skip
    assert len(found["moons"][2].second) == len(found["moons, float64"][2].second) == 0
    assert all(len(found[name][2].second) > 3 for name in ("noisy moons", "labels at random"))
    return found


def votes_of(net, X):
    """Votes of all classes, int64."""
    votes = np.empty((len(X), len(net.classes_)), np.int64)

    def keep(start, stop, here):
        votes[start:stop] = here

    net._decider._stream(net._points(X), 1, keep)
    return votes


def unseen(net, X, coordinates=()):
    """Points near and far, and with a coordinate here and there of every size; of X's type."""
    rng = np.random.default_rng(5)
    near = X[rng.integers(len(X), size=200)] * (1 + rng.normal(0, 0.05, (200, X.shape[1])))
    wild = near.copy()
    sizes = [*coordinates, 0.0, -0.0, *np.ldexp(1.0, np.arange(-60, 60, 3))]
    for row in wild:
        k = rng.integers(len(row), size=2)
        row[k] = rng.choice(sizes, 2) * rng.choice([-1, 1], 2) * rng.choice([1, 1.37], 2)
    with np.errstate(over="ignore"):
        points = np.concatenate([near, 30 * near, wild, 0 * near[:1]]).astype(X.dtype)
    if net.scale is not None:
        with np.errstate(over="ignore"):
            points = points[np.isfinite(points * net.scale).all(axis=1)]
    return points[np.isfinite(points).all(axis=1)]


def in_c(net, folder, points, options=STRICT, name="all_votes", width=None, **settings):
    """``run(block)`` of a function in ALL_VOTES, for a header that is exported now."""
    to_c(net, folder / "net.h", points=points, name="net", **settings)
    (folder / "net.c").write_text(ALL_VOTES)
    library = folder / f"votes{len(list(folder.iterdir()))}.so"
    files = ["-fPIC", "-shared", "-o", str(library), str(folder / "net.c")]
    # net_predict is not called here
    command = [COMPILER, "-std=c99", *options, "-Wno-unused-function", *files]
    subprocess.run(command, check=True)
    function = getattr(ctypes.CDLL(str(library)), name)
    function.restype = None
    function.argtypes = [ctypes.c_void_p, ctypes.c_longlong, ctypes.c_void_p]

    def run(block):
        rows = np.ascontiguousarray(block, points)
        found = np.empty((len(rows), width or len(net.classes_)), np.int64)
        function(rows.ctypes.data, len(rows), found.ctypes.data)
        return found

    return run


@needs_compiler
@pytest.mark.parametrize(("masks", "options"), [("bits", "plain"), ("lists", "fused")])
def test_c_gives_every_vote(cases, tmp_path, masks, options):
    for name, (X, y, net) in cases.items():
        report = to_c(net, tmp_path / "a.h", X, y, masks=masks)
        assert report.exact, name
        assert report.wrong is None or not len(report.wrong), name
        points = str(X.dtype)
        votes = in_c(net, tmp_path, points, OPTIONS[options], masks=masks)
        np.testing.assert_array_equal(votes(X), votes_of(net, X), name)
        sizes = [1e-38, 1e-45, 3e38] if points == "float32" else [1e200, 1e-200, 1e-240]
        other = unseen(net, X, sizes)
        np.testing.assert_array_equal(votes(other), votes_of(net, other), name)


@needs_onnx
@pytest.mark.parametrize("masks", ["packed", "int8", "float32"])
def test_onnx_gives_every_vote(cases, tmp_path, masks):
    import onnxruntime

    for name, (X, y, net) in cases.items():
        for first in ("auto", "explicit"):
            report = to_onnx(net, tmp_path / "a.onnx", X, y, masks=masks, first=first)
            assert report.exact, name
            assert report.wrong is None or not len(report.wrong), name
            session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
            assert [output.name for output in session.get_outputs()] == [
                "label", "scores", "probabilities"
            ]  # fmt: skip
            exact = not len(net.second)
            sizes = [1e-38, 3e38] if X.dtype == np.float32 else [1e300, 1e-300, 5e-324]
            for points in (X, unseen(net, X, sizes if exact else ())):
                label, votes, shares = session.run(None, {"points": points})
                expected = votes_of(net, points)
                same = (votes == expected).all(axis=1)
                # unseen points may lie within a float of a hyperplane of exceptions
                assert same.all() if exact or points is X else same.mean() > 0.98, name
                np.testing.assert_array_equal(
                    np.array(label.tolist())[same], net.predict(points)[same], name
                )
                wanted = probabilities(votes, net.readout.temperature)
                np.testing.assert_allclose(shares, wanted, rtol=1e-9, atol=1e-15)


@needs_torch
def test_torch_gives_every_vote(cases):
    import torch

    for name, (X, y, net) in cases.items():
        module = to_torch(net, X, y)
        assert module.report.exact, name
        assert module.report.wrong is None or not len(module.report.wrong), name
        exact = not len(net.second)
        sizes = [1e-38, 3e38] if X.dtype == np.float32 else [1e300, 1e-300, 5e-324]
        for points in (X, unseen(net, X, sizes if exact else ())):
            votes = module(torch.from_numpy(points)).numpy()
            same = (votes == votes_of(net, points)).all(axis=1)
            assert same.all() if exact or points is X else same.mean() > 0.98, name
            labels = module.predict(torch.from_numpy(points))
            np.testing.assert_array_equal(labels[same], net.predict(points)[same], name)
            shares = module.predict_proba(torch.from_numpy(points)).numpy()
            wanted = probabilities(votes, net.readout.temperature)
            np.testing.assert_allclose(shares, wanted, rtol=1e-9, atol=1e-15)
        other = to_torch(net, dtype="float64" if "float64" in str(module.report) else "auto")
        assert set(other.state_dict()) == set(module.state_dict())


def random_network(
    rng, d, n_classes, n_waves, n_neurons, exponent, offsets, scale=None, multiplier=None
):
    """Weights and gains at random: nothing is memorised, so that every vote occurs."""
    multiplier = int(rng.choice(MULTIPLIERS)) if multiplier is None else multiplier
    columns = 1 if n_classes == 2 else n_classes
    readout = ReadOut(
        int(rng.integers(2**64, dtype=np.uint64)), exponent, np.rint(offsets),
        rng.integers(-MAX_WEIGHT, MAX_WEIGHT + 1, (n_waves, columns)).astype(np.int8),
        rng.integers(-(10**5), 10**5, columns), rng.integers(1, 10**6, n_neurons), 1e5,
        multiplier=multiplier,
    )  # fmt: skip
    n = 70
    planes = Hyperplanes(rng.standard_normal((n, d)).astype(np.float32), rng.standard_normal(n))
    bits = rng.random((n_neurons, 128)) < 0.1
    bits[:, n:] = False
    masks = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
    owners = np.sort(rng.integers(0, n_classes, n_neurons)).astype(np.int32)
    layer = CoverLayer(masks, np.full(n_neurons, 4, np.int32), owners)
    covered = tuple(range(n_classes))
    return Network(np.arange(n_classes), planes, layer, covered, scale=scale, readout=readout)


def on_the_grid(net, X):
    """Coordinates on the grid, as ``kernels.cosines`` makes them."""
    wide = X.astype(np.float64) * (1.0 if net.scale is None else net.scale)
    with np.errstate(over="ignore"):
        moved = np.ldexp(1.0, net.readout.exponent) * wide - net.readout.offsets
    return np.rint(np.clip(moved, -(2.0**30), 2.0**30)).astype(np.int64)


def awkward(rng, net, dtype, n=3000):
    """Points whose coordinates lie on, beside and between those of the grid, and anywhere else.

    At edges the difference of a double and an offset of 30 bits may round to a tie.
    """
    d = net.n_features_in_
    whole = rng.integers(-(2**30) - 9, 2**30 + 9, (n, d)) >> rng.integers(0, 31, (n, d))
    halves = whole + rng.choice([0, 0.5, 0.25, 0.5 + 2.0**-20, 0.5 - 2.0**-20], (n, d))
    exponents = net.readout.exponent + (0 if net.scale is None else np.frexp(net.scale)[1] - 1)
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.ldexp(halves + net.readout.offsets, -exponents).astype(dtype)
        beside = np.nextafter(near, rng.choice([-np.inf, np.inf], near.shape).astype(dtype))
        edges = rng.integers(-2, 2, (n, d)) + rng.choice(
            [0.5 - 2.0**-25, 0.5, 0.5 + 2.0**-24], (n, d)
        )
        edges = np.ldexp(edges, -exponents).astype(dtype)
        kind = np.dtype(dtype)
        bits = rng.integers(0, 256, (n, d * kind.itemsize), dtype=np.uint8).view(kind)
        small = np.ldexp(rng.uniform(-2, 2, (n, d)), rng.integers(-30, 5, (n, d)) - exponents)
        small = small.astype(dtype)
        points = np.concatenate([near, beside, edges, bits, small, 0 * small[:1], -0.0 * small[:1]])
        points[~np.isfinite(points * (1.0 if net.scale is None else net.scale))] = 1
    return points.astype(dtype)


@needs_compiler
@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    exponent=st.one_of(st.integers(-30, 60), st.integers(-300, 300), st.integers(-1000, 1000)),
    double=st.booleans(),
    is_scaled=st.booleans(),
    offset=st.sampled_from([0, 2, 24, 30, 31, 33, 60]),
    options=st.sampled_from(sorted(OPTIONS)),
)
@hypothesis.example(
    seed=0, exponent=190, double=False, is_scaled=False, offset=60, options="plain"
)  # subnormal numbers that count
@hypothesis.settings(max_examples=25)
def test_the_grid_in_c(tmp_path_factory, seed, exponent, double, is_scaled, offset, options):
    rng = np.random.default_rng(seed)
    d = 12
    offsets = np.ldexp(rng.uniform(-1, 1, d), offset)
    scale = np.ldexp(1.0, rng.integers(-60, 60, d)) if is_scaled else None
    net = random_network(rng, d, 3, 64, 0, exponent, offsets, scale)
    dtype = "float64" if double else "float32"
    folder = tmp_path_factory.mktemp("c")
    grid = in_c(net, folder, dtype, OPTIONS[options], "all_grid", d)
    assert ("double" in without_comments(folder / "net.h")) == double
    X = awkward(rng, net, dtype)
    np.testing.assert_array_equal(grid(X), on_the_grid(net, X))


def test_points_of_the_grid_test_are_awkward():
    """Ties, and ties that rounding makes, occur among them, or the test would show nothing."""
    rng = np.random.default_rng(0)
    for dtype, offset in itertools.product((np.float32, np.float64), (2, 30)):
        net = random_network(rng, 12, 3, 64, 0, 0, np.ldexp(rng.uniform(-1, 1, 12), offset))
        X = awkward(rng, net, dtype).astype(np.float64)
        moved = X - net.readout.offsets
        ties = (np.abs(moved) < 2.0**30) & (np.abs(moved % 1) == 0.5)
        exact = X - np.floor(X) == 0.5
        assert (ties & exact).sum() > 1000
        assert offset == 2 or (ties & ~exact).sum() > 1000


@needs_compiler
@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    d=st.sampled_from([1, 2, 63, 64, 65, 130]),
    n_classes=st.integers(2, 5),
    n_waves=st.sampled_from([64, 128, 320, 1024]),
    n_neurons=st.sampled_from([0, 1, 7]),
    double=st.booleans(),
    is_scaled=st.booleans(),
    multiplier=st.sampled_from(MULTIPLIERS),
)
@hypothesis.settings(max_examples=12)
def test_votes_of_any_read_out_in_c_onnx_and_torch(
    tmp_path_factory, seed, d, n_classes, n_waves, n_neurons, double, is_scaled, multiplier
):
    rng = np.random.default_rng(seed)
    offsets = np.ldexp(rng.uniform(-1, 1, d), 28)
    scale = np.ldexp(1.0, rng.integers(-9, 9, d)) if is_scaled else None
    net = random_network(rng, d, n_classes, n_waves, n_neurons, 20, offsets, scale, multiplier)
    dtype = "float64" if double else "float32"
    folder = tmp_path_factory.mktemp("votes")
    X = awkward(rng, net, dtype, 40)
    X = X[(np.abs(X) < 1e100).all(axis=1)] if double else X
    expected = votes_of(net, X)
    if n_classes == 2:
        assert n_neurons or not expected[:, 0].any()
    np.testing.assert_array_equal(in_c(net, folder, dtype)(X), expected)
    alone = random_network(
        np.random.default_rng(seed), d, n_classes, n_waves, 0, 20, offsets, scale, multiplier
    )
    X = awkward(rng, alone, dtype, 40)
    expected = votes_of(alone, X)
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        assert to_onnx(alone, folder / "a.onnx", X).exact
        session = onnxruntime.InferenceSession(folder / "a.onnx")
        np.testing.assert_array_equal(session.run(["scores"], {"points": X})[0], expected)
        for n in (0, 1, 2):
            label, votes, shares = session.run(None, {"points": X[:n]})
            np.testing.assert_array_equal(votes, expected[:n])
            assert label.shape == (n,) and shares.shape == votes.shape
    if find_spec("torch") is not None:
        import torch

        np.testing.assert_array_equal(to_torch(alone)(torch.from_numpy(X)).numpy(), expected)


def largest_network():
    """All weights of one sign, so that votes reach the ends of what 32 bits hold, and beyond."""
    rng = np.random.default_rng(1)
    weights = np.full((1 << 16, 3), MAX_WEIGHT, np.int8)
    weights[:, 1] *= -1
    for level, kind in (
        (2**30, "int32_t"),
        (2**31 - 127 * 127 * 2**16, "int64_t"),
        (2**61, "int64_t"),
    ):
        intercepts = np.array([level, -level, NEVER if level == 2**61 else 5])
        readout = ReadOut(3, 40, np.zeros(1), weights, intercepts, np.empty(0, np.int64))
        plain = random_network(rng, 1, 3, 64, 0, 0, np.zeros(1))
        yield (
            kind,
            Network(plain.classes_, plain.first, plain.second, plain.covered, readout=readout),
        )


@needs_compiler
def test_votes_are_as_wide_as_they_must_be_in_c_onnx_and_torch(tmp_path):
    X = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]
    for kind, net in largest_network():
        votes = in_c(net, tmp_path, "float32")(X)
        assert f"typedef {kind} net_vote;" in (tmp_path / "net.h").read_text()
        np.testing.assert_array_equal(votes, votes_of(net, X))
        if find_spec("onnxruntime") is not None:
            assert to_onnx(net, tmp_path / "a.onnx", X).exact
        if find_spec("torch") is not None:
            import torch

            np.testing.assert_array_equal(to_torch(net)(torch.from_numpy(X)).numpy(), votes)


def without_comments(path):
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)


@needs_compiler
def test_no_float_is_computed_with_after_the_grid(cases, tmp_path):
    X, _, net = cases["moons"]
    report = to_c(net, tmp_path / "a.h", X)
    assert report.exact and "arithmetic" not in report.settings
    code = without_comments(tmp_path / "a.h").split("#define A_FEATURES")[1]
    assert re.findall(r"\b(?:float|double)\b[^;{]*", code) == [
        "float a_point", "float x, long k) "
    ]  # fmt: skip
    to_c(net, tmp_path / "b.h", points="float64")
    code = without_comments(tmp_path / "b.h")
    read = code[code.index("static void b_read") :]
    assert "double" not in read and "float" not in read.split("#if defined(_MSC_VER)")[0]


@needs_compiler
def test_signs_are_stored_where_they_are_few(tmp_path):
    rng = np.random.default_rng(0)
    for n_waves, stored in ((64, True), (320, True), (384, False), (4096, False)):
        net = random_network(rng, 5, 3, n_waves, 0, 20, np.zeros(5))
        X = rng.standard_normal((20, 5)).astype(np.float32)
        votes = in_c(net, tmp_path, "float32")(X)
        np.testing.assert_array_equal(votes, votes_of(net, X))
        text = (tmp_path / "net.h").read_text()
        assert ("net_flip_words[" in text) == stored
        assert (f"UINT64_C(0x{net.readout.key:016x})" in text) == (not stored)


def test_hyperplanes_that_no_neuron_uses_are_left_out_in_c_and_torch(cases, tmp_path):
    for name in ("moons", "noisy moons", "digits"):
        X, y, net = cases[name]
        bits = np.unpackbits(net.second.masks.view(np.uint8), axis=1, bitorder="little")
        used = int(bits.any(axis=0).sum())
        assert used == (len(net.first) if len(net.second) else 0)  # a fit keeps no others
        to_c(net, tmp_path / "a.h")
        text = (tmp_path / "a.h").read_text()
        assert ("a_biases[" in text) == (used > 0)
        if used:
            assert f"a_biases[{used}] = " in text
        if find_spec("torch") is not None:
            module = to_torch(net)
            assert (module.exceptions is None) == (used == 0)
            assert not used or module.exceptions.weights.shape[1] == used


@needs_compiler
def test_sparse_points_and_names(cases, tmp_path):
    X, y, net = cases["digits"]
    assert to_c(net, tmp_path / "a.h", sparse.csr_matrix(X), y).exact
    if find_spec("onnxruntime") is not None:
        assert to_onnx(net, tmp_path / "a.onnx", sparse.csr_matrix(X), y).exact
    X, y, net = cases["moons"]
    named = Network(
        net.classes_, net.first, net.second, net.covered, feature_names=["a", "*/"],
        readout=net.readout,
    )  # fmt: skip
    assert to_c(named, tmp_path / "a.h", X, y).exact
    assert '\n   0 "a"\n' in (tmp_path / "a.h").read_text()


@needs_compiler
def test_no_index_is_an_int_that_16_bits_cannot_hold(cases, tmp_path):
    for _, _, net in cases.values():
        to_c(net, tmp_path / "a.h")
        code = without_comments(tmp_path / "a.h")
        code = code[code.index("uint64_t a_flips") :]
        # classes, rounds, bits of a shift, an angle and a cosine of 8 bits
        small = {"c", "found", "round", "n", "shift", "cut", "angle", "size"}
        for name in re.findall(r"(?<![\w*])int (\w+)", code):
            assert name in small or name.startswith("a_"), name


@needs_onnx
def test_the_command(cases, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from fastmem.commands import app

    X, y, net = cases["moons"]
    monkeypatch.setattr("fastmem.commands.networks.load_network", lambda path: net)
    (tmp_path / "n.npz").touch()
    np.savez(tmp_path / "d.npz", X=X, y=y)
    for suffix in (".onnx", ".h"):
        words = ["--out", str(tmp_path / f"n{suffix}"), "--data", str(tmp_path / "d.npz")]
        done = CliRunner().invoke(app, ["export", str(tmp_path / "n.npz"), *words])
        assert done.exit_code == 0, done.output
        assert "100 % (300 of 300)" in done.output and "cosines" in done.output
        assert "distance" not in done.output


def angles_of(net, X):
    """The sums of the read-out with their phases, modulo 2^32: (N, n) int64, by dense matrices."""
    signs = wave_signs(net.readout)
    n_blocks, rounds, size = signs.shape
    hadamard = np.ones((1, 1))
    while len(hadamard) < size:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    state = np.zeros((n_blocks, len(X), size), np.int64)
    state[:, :, : X.shape[1]] = net.readout.multiplier * on_the_grid(net, X)
    for t in range(rounds):
        flipped = state * (1 - 2 * signs[:, t].astype(np.int64))[:, None]
        # whole numbers below 2^49
        state = (flipped.astype(float) @ hadamard).astype(np.int64) & 0xFFFFFFFF
    sums = state.transpose(1, 0, 2).reshape(len(X), -1)[:, : len(net.readout)]
    return sums + np.arange(1, len(net.readout) + 1) * PHASE_STEP & 0xFFFFFFFF


@needs_onnx
@pytest.mark.parametrize("multiplier", [1, 7])
@pytest.mark.parametrize("d", [3, 128, 1000, 1024, 1025, 4000])
def test_angles_in_onnx_are_right_to_the_last_bit(tmp_path, d, multiplier):
    """Also where all coordinates are as large as they can be and a transform adds all of them."""
    import onnx
    import onnxruntime
    from onnx import helper

    rng = np.random.default_rng(0)
    net = random_network(rng, d, 3, 192, 0, 0, np.zeros(d), multiplier=multiplier)
    signs = 1 - 2 * wave_signs(net.readout)[0, 0, :d].astype(np.float64)
    size = 2.0**30 - rng.integers(0, 2, (6, d))
    X = np.concatenate([signs * size, -signs * size, size, rng.integers(-(2**30), 2**30, (20, d))])
    to_onnx(net, tmp_path / "a.onnx", X)
    model = onnx.load(tmp_path / "a.onnx")
    angles = helper.make_tensor_value_info("angle_rest", onnx.TensorProto.DOUBLE, None)
    model.graph.output.append(angles)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(["angle_rest"], {"points": X})[0]
    np.testing.assert_array_equal(found * 2.0**32, angles_of(net, X))


@needs_compiler
@pytest.mark.parametrize("double", [True, False])
def test_votes_are_right_or_nothing_compiles(tmp_path, double):
    """Under every option of ``test_c_compilers``, and as C++."""
    rng = np.random.default_rng(3)
    offsets = np.ldexp(rng.uniform(-1, 1, 12), 29)
    scale = np.ldexp(1.0, rng.integers(-9, 9, 12))
    net = random_network(rng, 12, 3, 384, 5, 3, offsets, scale, multiplier=5)
    dtype = "float64" if double else "float32"
    X = awkward(rng, net, dtype, 50)
    X = X[(np.abs(X).astype(float) < 1e100).all(axis=1)]
    X[np.abs(X).astype(float) < 1e-30] = 0
    grid, votes = on_the_grid(net, X), votes_of(net, X)
    for options in (*PLAIN, *FAST):
        try:
            run = in_c(net, tmp_path, dtype, options.split())
        except (subprocess.CalledProcessError, OSError):
            assert options not in PLAIN[:4], options
            continue
        np.testing.assert_array_equal(run(X), votes, options)
        run = in_c(net, tmp_path, dtype, options.split(), "all_grid", 12)
        np.testing.assert_array_equal(run(X), grid, options)
    if shutil.which("g++"):
        (tmp_path / "net.cpp").write_text(
            ALL_VOTES + "int f(net_point *x) { return net_predict(x); }"
        )
        strict = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic"]
        subprocess.run(["g++", *strict, "-c", "net.cpp"], cwd=tmp_path, check=True)


@needs_compiler
@pytest.mark.parametrize("name", ["noisy moons", "the same in float32", "digits"])
def test_without_exact_sums_there_is_no_double(cases, tmp_path, name):
    X, y, net = cases[name]
    report = to_c(net, tmp_path / "a.h", X, y, exact=False)
    assert report.n_checked == len(X) and "double" not in without_comments(tmp_path / "a.h")
    options = (*STRICT, "-Wdouble-promotion")
    votes = in_c(net, tmp_path, "float32", options, exact=False)(X)
    assert (votes == votes_of(net, X)).all(axis=1).mean() > 0.98
