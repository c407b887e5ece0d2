"""Model files of versions 16 to 18: networks with a read-out, all arrays in one member."""

from __future__ import annotations

import copy
import io
import json
import math
import os
import pickle
import tracemalloc
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from test_model_file import (
    LABELS,
    Payload,
    assert_same,
    forge,
    make_network,
    make_structured,
    npy,
    packed_members_of,
    refusal,
    reseal,
)

import fastmem
from fastmem.errors import ModelFileError
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.network.loading import load
from fastmem.network.network import Network
from fastmem.readout import MULTIPLIERS, ReadOut

COVER = ["biases", "origin", "radius", "masks", "mask_sizes", "mask_gaps", "thresholds", "owners",
         "covered"]  # fmt: skip
VOTES = ["vote_key", "exponent", "offsets", "vote_weights", "intercepts", "gains", "temperature",
         "reach"]  # fmt: skip
ARRAYS = {
    16: ["classes", "weights", *COVER, *VOTES],
    17: ["classes", "signs", "row_steps", "extra", *COVER, *VOTES],
    18: ["classes", "key", "row_steps", "extra", *COVER, *VOTES],
}
"""What the member "arrays" holds, in its order."""


def make_readout(d=3, n_classes=2, m=5, n_votes=128, seed=0, **changed) -> ReadOut:
    rng = np.random.default_rng(seed)
    columns = 1 if n_classes == 2 else n_classes
    parts = {
        "key": int(rng.integers(2**64, dtype=np.uint64)),
        "exponent": int(rng.integers(-20, 20)),
        "offsets": np.rint(rng.standard_normal(d) * 1000),
        "weights": rng.integers(-127, 128, (n_votes, columns)).astype(np.int8),
        "intercepts": rng.integers(-(2**20), 2**20, columns),
        "gains": rng.integers(1, 300, m),
        "temperature": float(rng.uniform(1, 1000)),
        "reach": float(rng.uniform(1, 1e6)),
    }
    return ReadOut(**(parts | changed))


def make_votes(kind="stored", classes=None, n=70, d=3, m=5, n_votes=128, seed=0, **changed):
    """A network with a read-out; ``changed`` are parts of that."""
    classes = np.array([-1, 1]) if classes is None else classes
    make = make_structured if kind == "structured" else make_network
    shape = {"n": n, "d": d, "m": m, "seed": seed}
    network = make(classes=classes, covered=tuple(range(len(classes))), **shape)
    if kind == "seeded":
        rows, first = np.arange(2, 2 + n, dtype=np.int32), network.first
        rows[-1] = -1
        network.first = SeededHyperplanes(
            2**64 - 7, rows, np.ones((1, d), np.float32), first.biases, first.origin, first.radius
        )
    readout = make_readout(d, len(classes), m, n_votes, seed, **changed)
    return Network(
        network.classes_, network.first, network.second, network.covered, None, {"seed": seed},
        readout=readout,
    )  # fmt: skip


KINDS = {"stored": 16, "structured": 17, "seeded": 18}


def assert_same_votes(a: Network, b: Network) -> None:
    assert_same(a, b)
    assert type(a.first) is type(b.first)
    assert a.feature_names == b.feature_names
    np.testing.assert_array_equal(a.scale, b.scale)
    for field in fields(ReadOut):
        before, after = getattr(a.readout, field.name), getattr(b.readout, field.name)
        assert type(before) is type(after), field.name
        if isinstance(before, np.ndarray):
            assert (before.dtype, before.shape) == (after.dtype, after.shape), field.name
            assert before.tobytes() == after.tobytes(), field.name
        else:
            assert before == after, field.name
    points = np.random.default_rng(1).standard_normal((40, a.n_features_in_))
    np.testing.assert_array_equal(a.predict(points), b.predict(points))
    np.testing.assert_array_equal(a.decision_function(points), b.decision_function(points))
    np.testing.assert_array_equal(a.predict_proba(points), b.predict_proba(points))


def assert_comes_back(network: Network, path: Path) -> Network:
    network.save(path)
    assert network.nbytes == path.stat().st_size
    loaded = load(path)
    assert_same_votes(network, loaded)
    again = path.with_name("again.npz")
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()
    return loaded


# The format, as its description says ------------------------------------------------------------


def arrays_in(members: dict[str, bytes]) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays in the members of a file, and the facts beside their table."""
    version, text, content = (np.load(io.BytesIO(members[name])) for name in members)
    facts = json.loads(text.tobytes())
    arrays, start = {}, 0
    for name, (dtype, *shape) in zip(ARRAYS[int(version)], facts.pop("arrays"), strict=True):
        itemsize, count = np.dtype(dtype).itemsize, math.prod(shape)
        elements = np.empty((count, itemsize), np.uint8)
        for byte in range(itemsize):
            elements[:, byte] = content[start : start + count]
            start += count
        arrays[name] = np.frombuffer(elements.tobytes(), dtype).reshape(shape).copy()
    assert start == len(content)
    return arrays, facts


def members_with(members: dict[str, bytes], arrays: dict[str, np.ndarray], facts: dict):
    """Members of a file that holds other arrays."""
    table = [[array.dtype.str, *array.shape] for array in arrays.values()]
    content = b"".join(
        array.tobytes()[byte :: array.itemsize]
        for array in arrays.values()
        for byte in range(array.itemsize)
    )
    return {
        "format_version": members["format_version"],
        "facts": npy(np.frombuffer(json.dumps({"arrays": table, **facts}).encode(), np.uint8)),
        "arrays": npy(np.frombuffer(content, np.uint8)),
    }


@pytest.mark.parametrize(("kind", "version"), KINDS.items())
def test_the_file_is_as_described(tmp_path, kind, version):
    network = make_votes(kind)
    network.feature_names, network.scale = ("a", "ä", ""), np.array([1.0, 0.5, 8.0])
    members = packed_members_of(network, tmp_path)
    assert list(members) == ["format_version", "facts", "arrays"]
    with np.load(tmp_path / "packed.npz", allow_pickle=False) as archive:
        assert int(archive["format_version"]) == version
    arrays, facts = arrays_in(members)
    assert facts == {
        "summary": {"seed": 0},
        "inputs": {"feature_names": ["a", "ä", ""], "scale": [0, -1, 3], "encoding": None},
    }
    readout = network.readout
    assert arrays["vote_key"] == readout.key and arrays["exponent"] == readout.exponent
    for name, array in [
        ("offsets", readout.offsets), ("vote_weights", readout.weights),
        ("intercepts", readout.intercepts), ("gains", readout.gains),
        ("masks", network.second.masks), ("biases", network.first.biases),
    ]:  # fmt: skip
        np.testing.assert_array_equal(arrays[name], array)
    path = forge(tmp_path / "forged.npz", members_with(members, arrays, facts))
    assert_same_votes(network, load(path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_multiplier_is_among_the_facts_where_it_is_not_1(tmp_path, kind):
    plain = packed_members_of(make_votes(kind), tmp_path)
    assert "multiplier" not in arrays_in(plain)[1]
    network = make_votes(kind, multiplier=7)
    loaded = assert_comes_back(network, tmp_path / "net.npz")
    assert loaded.readout.multiplier == 7
    members = packed_members_of(network, tmp_path)
    arrays, facts = arrays_in(members)
    assert facts.pop("multiplier") == 7 and list(facts) == ["summary", "inputs"]
    assert members["arrays"] == plain["arrays"]
    assert members["format_version"] == plain["format_version"]
    path = forge(tmp_path / "forged.npz", members_with(members, arrays, facts))
    assert_same_votes(load(path), make_votes(kind))  # a file from before there were any


def test_nothing_stands_where_inputs_are_as_they_are(tmp_path):
    _, facts = arrays_in(packed_members_of(make_votes(), tmp_path))
    assert facts["inputs"] is None


@pytest.mark.parametrize(
    ("name", "values", "dtype"),
    [
        ("offsets", [-128.0, 127.0, 0.0], "|i1"),
        ("offsets", [-129.0, 0.0, 0.0], "<i2"),
        ("offsets", [2.0**31 - 1, 0.0, 0.0], "<i4"),
        ("offsets", [2.0**62, -(2.0**31) - 1, 0.0], "<i8"),
        ("offsets", [2.0**63, 0.0, 0.0], "<f8"),
        ("offsets", [-1e308, 1e308, 0.0], "<f8"),
        ("offsets", [-0.0, 0.0, 1.0], "|i1"),
        ("intercepts", [-128], "|i1"),
        ("intercepts", [2**62 - 1], "<i8"),
        ("intercepts", [-(2**61)], "<i8"),
        ("gains", [1, 2, 3, 4, 255], "|u1"),
        ("gains", [1, 2, 3, 4, 65535], "<u2"),
        ("gains", [1, 2, 3, 4, 2**32 - 1], "<u4"),
        ("gains", [1, 2, 3, 4, 2**32], "<u8"),
        ("gains", [1, 2, 3, 4, 2**63 - 1], "<u8"),
    ],
)
def test_whole_numbers_take_few_bytes(tmp_path, name, values, dtype):
    dtype_inside = np.float64 if name == "offsets" else np.int64
    network = make_votes(**{name: np.array(values, dtype_inside)})
    assert_comes_back(network, tmp_path / "net.npz")
    arrays, _ = arrays_in(packed_members_of(network, tmp_path))
    assert arrays[name].dtype.str == dtype


# Round trips ------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize("kind", KINDS)
def test_invariant_1_labels_of_every_kind_come_back(tmp_path, kind, classes):
    assert_comes_back(make_votes(kind, classes, m=9), tmp_path / "net.npz")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d", "m"), [(3, 1, 1), (64, 3, 0), (65, 2, 40), (100, 64, 400)])
def test_invariant_1_networks_of_every_size_come_back(tmp_path, kind, n, d, m):
    loaded = assert_comes_back(make_votes(kind, n=n, d=d, m=m), tmp_path / "net.npz")
    assert loaded.report is None and loaded.summary == {"seed": 0}


@st.composite
def vote_networks(draw) -> Network:
    n_classes = draw(st.integers(2, 5))
    d, m = draw(st.integers(1, 5)), draw(st.integers(0, 6))
    columns = 1 if n_classes == 2 else n_classes
    whole = st.one_of(
        st.integers(-200, 200), st.integers(-(2**62), 2**62), st.just(1e300), st.just(-(2.0**63))
    )
    network = make_votes(
        draw(st.sampled_from(list(KINDS))), np.arange(n_classes) * 3 - 4,
        draw(st.integers(3, 70)), d, m, 64 * draw(st.integers(1, 3)), draw(st.integers(0, 2**32)),
        key=draw(st.integers(0, 2**64 - 1)), exponent=draw(st.integers(-1074, 1023)),
        offsets=np.array([float(draw(whole)) for _ in range(d)]),
        intercepts=np.array(
            draw(st.lists(st.integers(-(2**61), 2**61), min_size=columns, max_size=columns))
        ),
        gains=np.array(
            draw(st.lists(st.integers(1, 2**56), min_size=m, max_size=m)), np.int64
        ),
        temperature=draw(st.floats(0, exclude_min=True, allow_infinity=False)),
        reach=draw(st.floats(0)), multiplier=draw(st.sampled_from(MULTIPLIERS)),
    )  # fmt: skip
    if draw(st.booleans()):
        network.feature_names = tuple(draw(st.text(max_size=4)) for _ in range(d))
    if draw(st.booleans()):
        network.scale = np.array([2.0 ** draw(st.integers(-40, 40)) for _ in range(d)])
    return network


MANY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@MANY
@given(network=vote_networks())
@pytest.mark.filterwarnings("ignore:overflow")  # of votes over a tiny temperature
def test_invariant_1_any_network_comes_back(tmp_path, network):
    assert_comes_back(network, tmp_path / "net.npz")


@pytest.mark.parametrize("projection", ["gaussian", "structured"])
@pytest.mark.parametrize("labels", [["a", "b", "c"], [False, True]])
def test_invariant_1_a_memorised_data_set_survives_save_and_load(tmp_path, labels, projection):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((120, 4)), rng.choice(np.array(labels), 120)
    network = fastmem.interpolate(X, y, decision="vote", projection=projection, seed=1)
    assert len(network.second) > 5
    loaded = assert_comes_back(network, tmp_path / "net.npz")
    assert loaded.predict(X).tolist() == y.tolist()
    assert [loaded.predict(x[None]).item() for x in X[:20]] == y.tolist()[:20]
    assert loaded.summary["decision"] == "vote"


def test_sparse_points_and_a_label_without_points(tmp_path):
    rng = np.random.default_rng(3)
    X = sparse.random(40, 50, 0.2, "csr", rng=rng)
    X = sparse.vstack([X, X[:3]]).tocsr()
    y = np.arange(43) % 3
    y[40:] = 7
    network = fastmem.interpolate(X, y, decision="vote", contradictions="majority", seed=1)
    loaded = assert_comes_back(network, tmp_path / "net.npz")
    np.testing.assert_array_equal(loaded.predict(X), network.predict(X))


def test_same_network_gives_same_bytes(tmp_path):
    one, other = make_votes("structured"), make_votes("structured")
    one.predict_proba(np.zeros((1, 3)))  # computes more
    one.save(tmp_path / "one.npz")
    other.save(tmp_path / "other.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


def test_few_bytes_beside_the_numbers(tmp_path):
    weights = np.random.default_rng(0).integers(-127, 128, (768, 3)).astype(np.int8)
    network = make_votes(classes=np.arange(3), n=1, d=13, m=0, n_votes=768, weights=weights)
    network.first = fastmem.Hyperplanes(np.zeros((1, 13), np.float32), np.zeros(1), np.zeros(13))
    assert weights.nbytes < network.nbytes < weights.nbytes + 1000


@pytest.mark.parametrize("kind", KINDS)
def test_pickles_and_copies_are_the_same_network(tmp_path, kind):
    network = make_votes(kind)
    network.save(tmp_path / "net.npz")
    network.predict_proba(np.zeros((1, 3)))
    for again in (
        pickle.loads(pickle.dumps(network)), pickle.loads(pickle.dumps(load(tmp_path / "net.npz"))),
        copy.copy(network), copy.deepcopy(network),
    ):  # fmt: skip
        assert_same_votes(network, again)
        again.save(tmp_path / "again.npz")
        assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "net.npz").read_bytes()


# Damage -----------------------------------------------------------------------------------------


def small_file(tmp_path: Path, kind: str = "structured") -> bytes:
    network = make_votes(kind, np.array(["no", "yes"]), n=3, d=1, m=2, n_votes=64)
    network.save(tmp_path / "small.npz")
    return (tmp_path / "small.npz").read_bytes()


def test_every_flipped_byte_is_refused(tmp_path):
    content, path = small_file(tmp_path), tmp_path / "small.npz"
    for i, byte in enumerate(content):
        for pattern in (1 << i % 8, 0x21, 0xFF):
            path.write_bytes(content[:i] + bytes([byte ^ pattern]) + content[i + 1 :])
            refusal(path)


def test_every_flipped_byte_under_a_forged_digest_is_refused_or_harmless(tmp_path):
    content, path = small_file(tmp_path), tmp_path / "small.npz"
    network = load(path)
    n_refused = 0
    for i in range(len(content) - 64):
        damaged = bytearray(content)
        damaged[i] ^= 1 << i % 8
        path.write_bytes(reseal(bytes(damaged)))
        try:
            loaded = load(path)
        except ModelFileError:
            n_refused += 1
        else:
            assert_same_votes(network, loaded)
    # the rest are time stamps, permissions and the like
    assert n_refused > 0.7 * len(content)


def test_every_truncation_is_refused(tmp_path):
    content, path = small_file(tmp_path), tmp_path / "small.npz"
    for length in reversed(range(len(content))):
        os.truncate(path, length)
        refusal(path)


@settings(parent=MANY, max_examples=400)
@given(data=st.data(), kind=st.sampled_from(list(KINDS)))
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value", "ignore:divide by zero")
def test_random_damage_below_digest_and_crc(tmp_path, data, kind):
    members = packed_members_of(make_votes(kind, n=66, d=2, m=3, n_votes=64), tmp_path)
    for _ in range(data.draw(st.integers(1, 3), "number of places")):
        name = data.draw(st.sampled_from(["facts", "arrays"]), "member")
        damaged = bytearray(members[name])
        i = data.draw(st.integers(0, len(damaged) - 1), "index")
        damaged[i] = data.draw(st.integers(0, 255), "value")
        members[name] = bytes(damaged)
    path = forge(tmp_path / "damaged.npz", members)
    try:
        loaded = load(path)
    except ModelFileError:
        return
    points = np.random.default_rng(0).standard_normal((5, 2))
    assert set(loaded.predict(points).tolist()) <= set(loaded.classes_.tolist())
    assert_comes_back(loaded, path)


# Hostile files ----------------------------------------------------------------------------------


def changed(name: str, index, value):
    def change(arrays):
        arrays[name][index] = value
        return arrays

    return change


def with_array(name: str, array: np.ndarray):
    return lambda arrays: {**arrays, name: array}


# The network: n = 70 hyperplanes, d = 3, m = 5 neurons, 128 votes, classes -1 and 1
HOSTILE = {
    "key signed": (with_array("vote_key", np.array(1)), "vote_key has dtype int64 instead"),
    "key array": (with_array("vote_key", np.ones(1, "u8")), "a type and 0 extents of vote_key"),
    "exponent int64": (with_array("exponent", np.array(1)), "exponent has dtype int64 instead"),
    "exponent 1024": (changed("exponent", (), 1024), "read-out is none: key is"),
    "exponent -1075": (changed("exponent", (), -1075), "exponent -1075"),
    "offsets float32": (with_array("offsets", np.zeros(3, "f4")), "offsets has dtype float32"),
    "offsets unsigned": (with_array("offsets", np.zeros(3, "u1")), "offsets has dtype uint8"),
    "offsets few": (with_array("offsets", np.zeros(2, "i1")), "offsets has shape (2,) instead of"),
    "offsets 2-D": (with_array("offsets", np.zeros((3, 1))), "a type and 1 extents of offsets"),
    "offset half": (with_array("offsets", np.array([0, 0.5, 0])), "offsets has a number that is"),
    "offset NaN": (with_array("offsets", np.array([0, np.nan, 0])), "offsets has a number that is"),
    "offset inf": (with_array("offsets", np.array([0, 0, -np.inf])), "a number that is not whole"),
    "weights uint8": (with_array("vote_weights", np.zeros((128, 1), "u1")), "has dtype uint8"),
    "weights int16": (with_array("vote_weights", np.zeros((128, 1), "i2")), "has dtype int16"),
    "weights 1-D": (with_array("vote_weights", np.zeros(128, "i1")), "2 extents of vote_weights"),
    "weights wide": (
        with_array("vote_weights", np.zeros((128, 2), "i1")),
        "vote_weights has shape (128, 2) instead of (128, 1), as 2 classes, 3 features and 5",
    ),
    "weights none": (
        with_array("vote_weights", np.zeros((0, 1), "i1")), "its read-out is none: weights has"
    ),
    "weights of 65": (
        with_array("vote_weights", np.zeros((65, 1), "i1")), "its read-out is none: weights has"
    ),
    "weights of 2**16 + 64": (
        with_array("vote_weights", np.zeros((2**16 + 64, 1), "i1")), "its read-out is none: weights"
    ),
    "weight -128": (changed("vote_weights", (7, 0), -128), "weights has -128"),
    "intercepts float": (with_array("intercepts", np.zeros(1)), "intercepts has dtype float64"),
    "intercepts two": (with_array("intercepts", np.zeros(2, "i1")), "has shape (2,) instead of (1"),
    "intercept 2**62": (with_array("intercepts", np.array([2**62])), "intercepts one beyond 2^62"),
    "intercept -2**63": (with_array("intercepts", np.array([-(2**63)])), "one beyond 2^62"),
    "gains signed": (with_array("gains", np.ones(5, "i2")), "gains has dtype int16 instead"),
    "gains few": (with_array("gains", np.ones(4, "u1")), "gains has shape (4,) instead of (5,)"),
    "gain 0": (changed("gains", 3, 0), "gains has a number below 1"),
    "gain 2**63": (with_array("gains", np.full(5, 2**63, "u8")), "gains has a number below 1"),
    "temperature float32": (with_array("temperature", np.array(1, "f4")), "has dtype float32"),
    "temperature array": (with_array("temperature", np.ones(1)), "0 extents of temperature"),
    "temperature 0": (changed("temperature", (), 0), "temperature is 0.0"),
    "temperature negative": (changed("temperature", (), -1), "temperature is -1.0"),
    "temperature inf": (changed("temperature", (), np.inf), "temperature is inf"),
    "temperature NaN": (changed("temperature", (), np.nan), "temperature is nan"),
    "reach negative": (changed("reach", (), -1), "and reach -1.0"),
    "reach NaN": (changed("reach", (), np.nan), "and reach nan"),
    "reach float32": (with_array("reach", np.array(1, "f4")), "has dtype float32"),
    "weights of the first layer": (
        with_array("weights", np.full((70, 3), np.nan, "f4")), "weights[0, 0] is nan, which is not"
    ),
    "first layer float64": (with_array("weights", np.zeros((70, 3))), "weights has dtype float64"),
    "first layer wide": (with_array("weights", np.zeros((70, 4), "f4")), "origin has shape (3,)"),
    "classes objects": (
        lambda arrays: {**arrays, "classes": np.array(["2000", "2001"], "M8[Y]")}, "classes has a"
    ),
    "class alone": (with_array("classes", np.array([1])), "classes holds 1 labels instead of two"),
    "classes three": (
        with_array("classes", np.arange(3)), "vote_weights has shape (128, 1) instead of (128, 3)"
    ),
    "classes fall": (with_array("classes", np.array([1, 0])), "where labels must ascend"),
    "classes no text": (
        with_array("classes", np.array([0, 1 << 30], "<u4").view("<U1")), "which is no character"
    ),
    "threshold 0": (changed("thresholds", 3, 0), "thresholds[3] is 0, where 1 to 70 hyperplanes"),
    "thresholds float": (with_array("thresholds", np.ones(5)), "thresholds has dtype float64"),
    "mask beyond n": (changed("masks", (1, 1), 1 << 63), "masks[1] has bits beyond the 70"),
    "big-endian": (with_array("biases", np.zeros(70, ">f8")), "biases has a type that no array"),
    "an array less": (
        lambda arrays: {n: a for n, a in arrays.items() if n != "gains"}, "not list 19 arrays"
    ),
    "an array more": (with_array("more", np.zeros(1)), "facts does not list 19 arrays"),
}  # fmt: skip


def peak_of(path: Path) -> tuple[str, int]:
    """The refusal of a file, and how much memory it took."""
    tracemalloc.start()
    try:
        return refusal(path), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("mutate", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_arrays_are_refused_with_their_sentence(tmp_path, mutate, expected):
    members = packed_members_of(make_votes(), tmp_path)
    arrays, facts = arrays_in(members)
    members = members_with(members, mutate(arrays), facts)
    sentence, peak = peak_of(forge(tmp_path / "hostile.npz", members, zipfile.ZIP_DEFLATED))
    assert expected in sentence
    assert peak < 8 << 20


def facts_with(**changes):
    return lambda facts: json.dumps(facts | changes).encode()


def entry(index: int, value):
    """Another type and shape of one array: 1 are the weights (70, 3), 3 the origin."""

    def change(facts):
        facts["arrays"][index] = value
        return json.dumps(facts).encode()

    return change


INPUTS = {"feature_names": None, "scale": None, "encoding": None}
HOSTILE_FACTS = {
    "nothing": (lambda facts: b"", "facts is no JSON"),
    "not UTF-8": (lambda facts: b'{"arrays": "\xe4"}', "facts is no UTF-8 text"),
    "deep": (lambda facts: b"[" * 100_000, "facts is no JSON"),
    "deep inputs": (facts_with(inputs=0), "inputs is not a JSON object of"),
    "long number": (lambda facts: b"1" * 5000, "facts is no JSON"),
    "a list": (lambda facts: b"[]", "facts is not a JSON object of arrays, summary, inputs"),
    "a part less": (lambda facts: b'{"arrays": [], "summary": {}}', "not a JSON object of arrays"),
    "a part more": (facts_with(more=1), "facts is not a JSON object of arrays, summary, inputs"),
    **{
        f"multiplier {value!r}": (facts_with(multiplier=value), expected)
        for value, expected in [
            *((value, "its read-out is none: multiplier is") for value in (2, 9, 255)),
            *((value, "facts has a multiplier that no read-out has")
              for value in (0, -3, 256, 10**30, 3.0, True, "3", None, [3])),
        ]
    },
    "no table": (facts_with(arrays=None), "facts does not list 19 arrays"),
    "table object": (facts_with(arrays={}), "facts does not list 19 arrays"),
    "entry text": (entry(1, "<f4"), "facts does not list a type and 2 extents of weights"),
    "extents few": (entry(1, ["<f4", 210]), "list a type and 2 extents of weights"),
    "extents many": (entry(1, ["<f4", 70, 3, 1]), "list a type and 2 extents of weights"),
    "extent negative": (entry(1, ["<f4", -70, -3]), "weights has the impossible shape (-70, -3)"),
    "extent float": (entry(1, ["<f4", 70.0, 3]), "weights has the impossible shape (70.0, 3)"),
    "extent boolean": (entry(1, ["<f4", 70, True]), "impossible shape (70, True)"),
    "extent text": (entry(1, ["<f4", "70", 3]), "impossible shape ('70', 3)"),
    "extent huge": (entry(1, ["<f4", 10**30, 3]), f"as {10**30} hyperplanes in 3 dimensions"),
    "extent wrong": (entry(14, ["|i1", 64, 1]), "its arrays take"),
    "extent overflows": (entry(14, ["|i1", 2**64, 1]), "its arrays take"),
    "type number": (entry(1, [4, 70, 3]), "weights has a type that no array has"),
    "type object": (entry(1, ["|O", 70, 3]), "weights has a type that no array has"),
    "type list": (entry(1, [["<f4"], 70, 3]), "weights has a type that no array has"),
    "type name": (entry(1, ["float32", 70, 3]), "weights has a type that no array has"),
    "type structured": (entry(1, ["<f2,<f2", 70, 3]), "weights has a type that no array has"),
    "type with shape": (entry(1, ["(3,)<f4", 70, 3]), "weights has a type that no array has"),
    "type that is none": (entry(1, ["<f3", 70, 3]), "weights has a type that no array has"),
    "type double": (entry(1, ["<f8", 70, 3]), "weights has dtype float64 instead of float32"),
    "labels endless": (entry(0, ["<U999999999999", 2]), "classes has"),
    "labels of 4 GB": (entry(0, ["<U500000000", 2]), "its arrays take 4000"),
    "labels of nothing": (entry(0, ["<U0", 2]), "classes has dtype <U0, which no class labels"),
    "labels void": (entry(0, ["|V8", 2]), "classes has a type that no array has"),
    "summary list": (facts_with(summary=[1]), "the summary is not a JSON object"),
    "summary deep": (facts_with(summary={"a": [1]}), "entry 'a' of the summary is a list"),
    "inputs list": (facts_with(inputs=[]), "inputs is not a JSON object of feature_names, scale"),
    "inputs less": (facts_with(inputs={"scale": None}), "inputs is not a JSON object of"),
    "names short": (
        facts_with(inputs=INPUTS | {"feature_names": ["a"]}), "feature_names holds 1 names for 3"
    ),
    "scale short": (facts_with(inputs=INPUTS | {"scale": [0]}), "the scale holds 1 exponents"),
    "encoding list": (facts_with(inputs=INPUTS | {"encoding": [1]}), "encoding is not a JSON"),
    "encoding of nothing": (facts_with(inputs=INPUTS | {"encoding": {}}), "its encoding is none"),
    "encoding infinite": (
        facts_with(inputs=INPUTS | {"encoding": {"a": float("inf")}}), "inputs is no JSON"
    ),
    "too long": (lambda facts: b"[" + b"1," * 6_000_000 + b"1]", "facts takes 12000003 bytes for"),
}  # fmt: skip


@pytest.mark.parametrize(("mutate", "expected"), HOSTILE_FACTS.values(), ids=HOSTILE_FACTS.keys())
def test_hostile_facts_are_refused(tmp_path, mutate, expected):
    members = packed_members_of(make_votes(), tmp_path)
    facts = json.loads(np.load(io.BytesIO(members["facts"])).tobytes())
    members["facts"] = npy(np.frombuffer(mutate(facts), np.uint8))
    sentence, peak = peak_of(forge(tmp_path / "hostile.npz", members, zipfile.ZIP_DEFLATED))
    assert expected in sentence
    assert peak < 32 << 20


@pytest.mark.parametrize("names", [None, ["a", "ä", ""]])
def test_inputs_that_say_nothing_may_be_spelled(tmp_path, names):
    members = packed_members_of(make_votes(), tmp_path)
    arrays, facts = arrays_in(members)
    facts["inputs"] = INPUTS | {"feature_names": names}
    loaded = load(forge(tmp_path / "net.npz", members_with(members, arrays, facts)))
    assert loaded.feature_names == (names and tuple(names))


@pytest.mark.parametrize("how", ["short", "long", "empty", "int8", "2-D", "missing", "twice"])
def test_members_that_do_not_fit_are_refused(tmp_path, how):
    members = packed_members_of(make_votes(), tmp_path)
    content = np.load(io.BytesIO(members["arrays"]))
    others = {
        "short": content[:-1], "long": np.append(content, np.uint8(0)), "empty": content[:0],
        "int8": content.view(np.int8), "2-D": content[None],
    }  # fmt: skip
    if how in others:
        members["arrays"] = npy(others[how])
    elif how == "missing":
        del members["arrays"]
    pairs = list(members.items())
    path = forge(tmp_path / "net.npz", pairs + pairs[-1:] if how == "twice" else pairs)
    expected = {
        "short": "its arrays take", "long": "its arrays take", "empty": "its arrays take",
        "int8": "arrays has dtype int8 instead of uint8", "2-D": "arrays has 2 dimensions",
        "missing": "instead of a model's arrays", "twice": "is there twice",
    }  # fmt: skip
    assert expected[how] in refusal(path)


@pytest.mark.parametrize("name", ["format_version", "facts", "arrays"])
def test_pickles_are_never_run(tmp_path, name):
    marker = tmp_path / "executed"
    content = npy(np.array([Payload(marker)] * 2, object))
    members = packed_members_of(make_votes(), tmp_path)
    path = forge(tmp_path / "hostile.npz", {**members, name: content})
    assert f"{name} holds Python objects, which only a pickle could store" in refusal(path)
    assert not marker.exists()


@pytest.mark.parametrize("version", [1, 2, 11, 12, 15, 17, 18, 19])
def test_arrays_of_one_version_are_none_of_another(tmp_path, version):
    members = packed_members_of(make_votes(), tmp_path)
    members["format_version"] = npy(np.array(version))
    refusal(forge(tmp_path / "net.npz", members))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temperature", 0.0, "its read-out is none: temperature is 0.0"),
        ("exponent", 5000, "its read-out is none: key is"),
        ("gains", np.zeros(5, np.int64), "its read-out is none: gains has a number below 1"),
        ("gains", np.ones(4, np.int64), "gains has shape (4,) instead of (5,)"),
        ("weights", np.zeros((128, 1)), "vote_weights has dtype float64 instead of int8"),
        ("weights", np.zeros((128, 3), np.int8), "vote_weights has shape (128, 3) instead of"),
        ("weights", np.full((128, 1), -128, np.int8), "its read-out is none: weights has -128"),
        ("offsets", np.full(3, 0.5), "its read-out is none: offsets has a number that is not"),
        ("offsets", np.zeros(4), "offsets has shape (4,) instead of (3,)"),
    ],
)
def test_a_read_out_that_load_would_refuse_is_not_saved(tmp_path, name, value, expected):
    network = make_votes()
    object.__setattr__(network.readout, name, value)
    with pytest.raises(ModelFileError) as caught:
        network.save(tmp_path / "net.npz")
    assert expected in str(caught.value)
    assert os.listdir(tmp_path) == []
    with pytest.raises(ModelFileError, match="has no size in a file because"):
        _ = network.nbytes


def test_neurons_with_relu_beside_a_read_out_are_not_saved(tmp_path):
    network = make_votes()
    object.__setattr__(network.second, "thresholds", np.ones(5))
    with pytest.raises(ModelFileError, match="it votes, and its neurons have ReLU activations"):
        network.save(tmp_path / "net.npz")


def test_a_raw_table_is_encoded_as_before(tmp_path):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"colour": rng.choice(["red", "größte", ""], 80), "size": rng.standard_normal(80) * 1e6}
    )
    y = rng.choice(["no", "yes"], 80)
    network = fastmem.interpolate(frame, y, decision="vote", encode=True, scale="std", seed=0)
    loaded = assert_comes_back(network, tmp_path / "net.npz")
    assert loaded.encoding.to_dict() == network.encoding.to_dict()
    np.testing.assert_array_equal(loaded.predict(frame), network.predict(frame))
