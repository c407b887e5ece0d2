"""Model file: what is saved comes back bit for bit, and nothing else is ever loaded."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import stat
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastmem.algorithm import interpolate
from fastmem.errors import ModelFileError
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes
from fastmem.inputs import block_rows
from fastmem.machine import files
from fastmem.network import file_archive
from fastmem.network.loading import load
from fastmem.network.network import Network
from fastmem.second_layer.cover_layer import CoverLayer

SEAL = b"fastmem model, sha256 of all before: "
MEMBERS = [
    "format_version",
    "classes",
    "weights",
    "biases",
    "origin",
    "radius",
    "masks",
    "thresholds",
    "owners",
    "covered",
    "summary",
]
STRUCTURED_MEMBERS = [
    "format_version",
    "classes",
    "signs",
    "row_steps",
    "extra",
    "biases",
    "origin",
    "radius",
    "masks",
    "mask_sizes",
    "mask_gaps",
    "thresholds",
    "owners",
    "covered",
    "summary",
]
LABELS = {
    "int64": np.array([-3, 0, 7]),
    "int32": np.array([-3, 0, 7], np.int32),
    "uint8": np.array([0, 128, 255], np.uint8),
    "uint64": np.array([0, 2**63, 2**64 - 1], np.uint64),
    "bool": np.array([False, True]),
    "float64": np.array([-1.0, 0.0, 2.0**70]),
    "float32": np.array([-1.0, 2.0], np.float32),
    "unicode": np.array(["", "Zürich", "雪", "🦊🦊"]),
}


def save(network: Network, path) -> None:
    network.save(path)


def make_network(classes=None, n=70, d=3, m=5, seed=0, covered=(0,), summary=None) -> Network:
    rng = np.random.default_rng(seed)
    bits = rng.random((m, n)) < 0.6
    bits[:, 0] = True
    padded = np.zeros((m, -(-n // 64) * 64), bool)
    padded[:, :n] = bits
    masks = np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)
    return Network(
        np.array([-1, 1]) if classes is None else classes,
        Hyperplanes(
            rng.standard_normal((n, d)).astype(np.float32),
            rng.uniform(-1, 1, n),
            rng.standard_normal(d),
            1.25,
        ),
        CoverLayer(
            masks,
            rng.integers(1, bits.sum(axis=1) + 1).astype(np.int32),
            np.sort(rng.choice(np.array(covered, np.int32), m)).astype(np.int32),
        ),
        covered,
        summary=summary,
    )


def make_structured(n=70, d=3, m=5, share=0.6, seed=0, **arguments) -> Network:
    """Two blocks, two stored rows, and masks with a share of their bits set."""
    network = make_network(n=n, d=d, m=m, seed=seed, **arguments)
    rng = np.random.default_rng(seed)
    size = block_rows(d)
    signs = rng.integers(2**64, size=(2, 3, size // 64), dtype=np.uint64)
    signs[:, 0] &= np.packbits(np.arange(size) < d, bitorder="little").view(np.uint64)
    rows = np.sort(rng.permutation(2 * size)[:n]).astype(np.int32)
    rows[[n // 2, n - 1]] = [-1, -2]
    extra = rng.standard_normal((2, d)).astype(np.float32)
    bits = rng.random((m, n)) < share
    bits[:, 0] = True
    padded = np.zeros((m, -(-n // 64) * 64), bool)
    padded[:, :n] = bits
    masks = np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)
    network.first = StructuredHyperplanes(
        signs, rows, extra, network.first.biases, network.first.origin, 1.25
    )
    thresholds = np.minimum(network.second.thresholds, bits.sum(axis=1).astype(np.int32))
    network.second = CoverLayer(masks, thresholds, network.second.owners)
    return network


def without_law(network: Network) -> Network:
    """The network with a first layer as releases drew it whose files hold weights or signs."""
    first = network.first
    if isinstance(first, StructuredHyperplanes):
        layer = first.signs, first.rows, first.extra, first.biases, first.origin, first.radius
        network.first = StructuredHyperplanes(*layer)
    else:
        network.first = Hyperplanes(first.weights, first.biases, first.origin, first.radius)
    return network


def replace(network: Network, name: str, array: np.ndarray) -> None:
    """Exchange an array of a layer, past what its constructor checks."""
    layer = network.first if hasattr(network.first, name) else network.second
    object.__setattr__(layer, name, array)


def arrays_of(network: Network) -> dict[str, np.ndarray]:
    structured = {
        name: getattr(network.first, name)
        for name in ("signs", "rows", "extra")
        if isinstance(network.first, StructuredHyperplanes)
    }
    return structured | {
        "classes": network.classes_,
        "weights": network.first.weights,
        "biases": network.first.biases,
        "origin": network.first.origin,
        "radius": np.array(network.first.radius),
        "masks": network.second.masks,
        "thresholds": network.second.thresholds,
        "owners": network.second.owners,
        "covered": np.array(network.covered, np.int64),
        "summary": np.array(json.dumps(network.summary)),
    }


def assert_same(a: Network, b: Network) -> None:
    before, after = arrays_of(a), arrays_of(b)
    for name in before:
        assert after[name].dtype == before[name].dtype, name
        assert after[name].shape == before[name].shape, name
        assert after[name].tobytes() == before[name].tobytes(), name
    assert a.covered == b.covered
    assert a.summary == b.summary


def refusal(path: Path) -> str:
    """Load a file that must be refused and return the sentence."""
    with pytest.raises(ModelFileError) as caught:
        load(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{str(path)!r} cannot be loaded because ")
    assert "; " in sentence and sentence.endswith(".") and "\n" not in sentence
    assert len(sentence) < 1000
    return sentence


def reseal(content: bytes) -> bytes:
    """Forge the digest, as whoever writes a hostile file on purpose would."""
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npy_claiming(text: str, data: bytes = b"") -> bytes:
    header = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def members_of(network: Network) -> dict[str, bytes]:
    arrays = {"format_version": np.array(1), **arrays_of(network)}
    return {name: npy(array) for name, array in arrays.items()}


def packed_members_of(network: Network, tmp_path: Path) -> dict[str, bytes]:
    """Members of the file that `save` writes of a structured network."""
    save(network, tmp_path / "packed.npz")
    with zipfile.ZipFile(tmp_path / "packed.npz") as archive:
        return {
            info.filename.removesuffix(".npy"): archive.read(info) for info in archive.infolist()
        }


def forge(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]], method: int = 0) -> Path:
    """Write members as they are, under a digest that is right."""
    pairs = members.items() if isinstance(members, dict) else members
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of names that are there twice
        archive.comment = SEAL + b"0" * 64
        for name, content in pairs:
            archive.writestr(f"{name}.npy", content)
    path.write_bytes(reseal(buffer.getvalue()))
    return path


@pytest.fixture
def network() -> Network:
    return make_network(summary={"seed": 5, "n_samples": 100})


@pytest.fixture
def saved(network, tmp_path) -> Path:
    path = tmp_path / "net.npz"
    save(network, path)
    return path


# Round trip -----------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize(("n", "d", "m"), [(1, 1, 1), (63, 2, 3), (64, 3, 0), (65, 5, 40)])
def test_invariant_1_every_attribute_and_prediction_comes_back(tmp_path, classes, n, d, m):
    covered = tuple(range(len(classes)))[1:]
    network = make_network(classes, n, d, m, seed=n, covered=covered)
    save(network, tmp_path / "net.npz")
    loaded = load(tmp_path / "net.npz")
    assert_same(network, loaded)
    assert loaded.report is None
    points = np.random.default_rng(1).standard_normal((200, d))
    before, after = network.predict(points), loaded.predict(points)
    assert before.dtype == after.dtype
    assert before.tolist() == after.tolist()


@pytest.mark.parametrize("labels", [["a", "b", "c"], [False, True]])
def test_invariant_1_a_memorised_data_set_survives_save_and_load(tmp_path, labels):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((300, 4)), rng.choice(np.array(labels), 300)
    network = interpolate(X, y, seed=1)
    network.save(tmp_path / "net.npz")
    assert network.nbytes == (tmp_path / "net.npz").stat().st_size
    loaded = load(tmp_path / "net.npz")
    assert_same(network, loaded)
    assert loaded.predict(X).tolist() == y.tolist()
    assert [loaded.predict(x[None]).item() for x in X] == y.tolist()
    assert np.array_equal(loaded.decision_function(X), network.decision_function(X))


def test_no_bit_of_a_number_changes(network, tmp_path):
    weights, biases = network.first.weights.copy(), network.first.biases.copy()
    weights[0] = [-0.0, 1e-45, 3.4028235e38]
    biases[:2] = [-0.0, 5e-324]
    replace(network, "weights", weights)
    replace(network, "biases", biases)
    network.second.masks[0] = [2**63 + 1, 2**5 + 1]
    save(network, tmp_path / "net.npz")
    assert_same(network, load(tmp_path / "net.npz"))


def test_summary_of_every_kind_comes_back(tmp_path):
    summary = {
        "entropy": 2**128 - 1, "largest": 1.7976931348623157e308, "third": 1 / 3, "none": None,
        "text": 'a "quoted" Größe\n\x00 end', "yes": True, "numpy": np.int64(7),
    }  # fmt: skip
    save(make_network(summary=summary), tmp_path / "net.npz")
    assert load(tmp_path / "net.npz").summary == {**summary, "numpy": 7}


@pytest.mark.parametrize("dtype", [object, getattr(np.dtypes, "StringDType", lambda: object)()])
def test_strings_of_any_array_come_back_as_unicode(tmp_path, dtype):
    classes = np.array(["b\0c", "bird", "ß"], dtype)
    save(make_network(classes), tmp_path / "net.npz")
    loaded = load(tmp_path / "net.npz")
    assert loaded.classes_.dtype == np.dtype("<U4")
    assert loaded.classes_.tolist() == ["b\0c", "bird", "ß"]


def test_foreign_byte_order_and_strides_are_saved_as_their_values(network, tmp_path):
    network.classes_ = np.array([-1, 1], ">i8")
    replace(network, "thresholds", np.repeat(network.second.thresholds, 2)[::2])
    save(network, tmp_path / "net.npz")
    loaded = load(tmp_path / "net.npz")
    assert loaded.classes_.dtype.isnative
    assert loaded.classes_.tolist() == [-1, 1]
    assert loaded.second.thresholds.tolist() == network.second.thresholds.tolist()


def test_numpy_reads_the_file_without_pickle(network, saved):
    with np.load(saved, allow_pickle=False) as archive:
        assert archive.files == MEMBERS
        for name, array in arrays_of(network).items():
            assert archive[name].dtype == array.dtype
            assert archive[name].tobytes() == array.tobytes()


def test_same_network_gives_same_bytes(network, saved, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sys.platform", "win32")  # zipfile notes the system
        save(network, tmp_path / "again.npz")
    save(load(saved), tmp_path / "reloaded.npz")
    content = saved.read_bytes()
    assert (tmp_path / "again.npz").read_bytes() == content
    assert (tmp_path / "reloaded.npz").read_bytes() == content
    assert network.nbytes == len(content)


def test_deflate_where_it_pays(tmp_path):
    network = make_network(n=640, d=20, m=400)
    network.second.masks[:, 1:] = 0
    network.second.thresholds[:] = 1
    save(network, tmp_path / "net.npz")
    with zipfile.ZipFile(tmp_path / "net.npz") as archive:
        methods = {i.filename[:-4]: i.compress_type for i in archive.infolist()}
    assert methods["weights"] == methods["biases"] == zipfile.ZIP_STORED
    assert methods["masks"] == methods["thresholds"] == zipfile.ZIP_DEFLATED
    assert_same(network, load(tmp_path / "net.npz"))


def test_what_save_writes_is_never_refused_as_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(file_archive, "ALWAYS_UNPACKED", 1 << 12)
    network = make_network(n=6400, d=1, m=8000)
    network.second.masks[:] = network.second.masks[0]
    replace(network, "weights", np.ones((6400, 1), np.float32))
    replace(network, "biases", np.ones(6400))
    network.second.thresholds[:] = 1
    save(network, tmp_path / "net.npz")
    assert_same(network, load(tmp_path / "net.npz"))


def test_zip64_archives_round_trip(network, tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)  # instead of 2 GiB
    save(network, tmp_path / "net.npz")
    assert b"PK\x06\x07" in (tmp_path / "net.npz").read_bytes()
    assert_same(network, load(tmp_path / "net.npz"))


# Damage ---------------------------------------------------------------------------------------


def small_file(tmp_path: Path, structured: bool = False) -> tuple[Path, bytes]:
    path = tmp_path / "small.npz"
    make = make_structured if structured else make_network
    save(make(classes=np.array(["no", "yes"]), n=3, d=1, m=2, summary={"seed": 1}), path)
    return path, path.read_bytes()


def test_every_flipped_byte_is_refused(tmp_path):
    path, content = small_file(tmp_path)
    patterns = [1 << bit for bit in range(8)] + [0xFF, 0x20 ^ 0x01]
    accepted = []
    with open(path, "r+b", buffering=0) as file:
        for i, byte in enumerate(content):
            for pattern in patterns:
                os.pwrite(file.fileno(), bytes([byte ^ pattern]), i)
                try:
                    load(path)
                except ModelFileError:
                    continue
                accepted.append((i, pattern))
            os.pwrite(file.fileno(), bytes([byte]), i)
    assert accepted == []
    load(path)


@pytest.mark.parametrize("structured", [False, True])
def test_every_flipped_byte_under_a_forged_digest_is_refused_or_harmless(tmp_path, structured):
    path, content = small_file(tmp_path, structured)
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
            assert_same(network, loaded)
    # the rest are time stamps, permissions and the like
    assert n_refused > 0.7 * len(content)


def test_every_truncation_is_refused(tmp_path):
    path, content = small_file(tmp_path)
    for length in reversed(range(len(content))):
        os.truncate(path, length)
        refusal(path)


@pytest.mark.parametrize("sealed", [False, True])
def test_truncated_at_either_end_or_lengthened(tmp_path, sealed):
    path, content = small_file(tmp_path)
    for damaged in (content + b"\0", content[1:], content[100:], b"\0" + content, content * 2):
        path.write_bytes(reseal(damaged) if sealed else damaged)
        try:
            loaded = load(path)
        except ModelFileError:
            continue
        # zip archives may follow other bytes
        assert sealed and damaged in (b"\0" + content, content * 2)
        assert loaded.classes_.tolist() == ["no", "yes"]


SLOW_FIXTURE = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SLOW_FIXTURE
@given(data=st.data())
def test_random_damage_to_the_file(tmp_path, data):
    path, content = small_file(tmp_path)
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4), "number of places")):
        start = data.draw(st.integers(0, len(content)), "start")
        stop = min(len(content), start + data.draw(st.integers(0, 40), "length"))
        damaged[start:stop] = data.draw(st.binary(max_size=40), "bytes")
    changed = bytes(damaged) != content
    forged = reseal(bytes(damaged))
    path.write_bytes(damaged)
    if changed:
        refusal(path)
    path.write_bytes(forged)
    try:
        loaded = load(path)
    except ModelFileError:
        return
    assert loaded.predict(np.zeros((2, loaded.first.weights.shape[1]))).shape == (2,)


@SLOW_FIXTURE
@given(data=st.data(), share=st.sampled_from([None, 0.6, 0.02]))
def test_random_damage_below_digest_and_crc(tmp_path, data, share):
    if share is None:
        members = members_of(make_network(np.array(["no", "yes"]), n=66, d=2, m=3))
    else:
        members = packed_members_of(make_structured(n=66, d=2, m=3, share=share), tmp_path)
    for _ in range(data.draw(st.integers(1, 3), "number of places")):
        name = data.draw(st.sampled_from(list(members)), "member")
        damaged = bytearray(members[name])
        i = data.draw(st.integers(0, len(damaged) - 1), "index")
        damaged[i] = data.draw(st.integers(0, 255), "value")
        members[name] = bytes(damaged)
    path = forge(tmp_path / "damaged.npz", members, data.draw(st.sampled_from([0, 8]), "method"))
    try:
        loaded = load(path)
    except ModelFileError:
        return
    points = np.random.default_rng(0).standard_normal((5, 2))
    assert set(loaded.predict(points).tolist()) <= set(loaded.classes_.tolist())
    save(loaded, path)
    assert_same(loaded, load(path))


# Hostile files --------------------------------------------------------------------------------


def with_array(name: str, array: np.ndarray):
    return lambda members: {**members, name: npy(array)}


def changed(name: str, index, value):
    def change(members):
        array = np.load(io.BytesIO(members[name]))
        array[index] = value
        return {**members, name: npy(array)}

    return change


def claiming(name: str, text: str):
    return lambda members: {**members, name: npy_claiming(text)}


def versioned(version: int, **more: bytes):
    return lambda members: {**members, "format_version": npy(np.array(version)), **more}


def without(name: str):
    return lambda members: {n: m for n, m in members.items() if n != name}


def doubled(name: str):
    return lambda members: [*members.items(), (name, members[name])]


def fortran(members):
    array = np.asfortranarray(np.load(io.BytesIO(members["weights"])))
    return {**members, "weights": npy(array)}


BROKEN = np.array([*b'{"', 1 << 30, *b'": 1}'], "<u4").view("<U8").reshape(())
SIXTY_FOUR = "{'descr': '<i4', 'fortran_order': False, 'shape': (%s,), }"

# The network: n = 70 hyperplanes, d = 3, m = 5 neurons, classes -1 and 1, class 0 covered
HOSTILE = {
    "newer version": (versioned(25), "format version 25 and this fastmem reads up to 24; upgrade"),
    "newer, other members": (versioned(28, signs=b"new"), "format version 28"),
    "version 0": (versioned(0), "format version 0, which never was"),
    "version is float": (with_array("format_version", np.array(1.0)), "has dtype float64"),
    "version is array": (with_array("format_version", np.array([1])), "has 1 dimensions"),
    "no version": (without("format_version"), "states no format version"),
    "extra member": (lambda m: {**m, "extra": npy(np.zeros(3))}, "'summary', 'extra' instead of"),
    "missing member": (without("masks"), "'radius', 'thresholds'"),
    "endless name": (lambda m: {**m, "x" * 50000: npy(np.zeros(3))}, "..."),
    "other order": (lambda m: dict(sorted(m.items())), "'biases', 'classes'"),
    "twice": (doubled("weights"), "'weights.npy' is no array or is there twice"),
    "many members": (lambda m: {f"a{i}": b"" for i in range(65)}, "holds 65 members instead of 11"),
    "not an array": (lambda m: {**m, "masks": b"PK" * 200}, "masks is no array in .npy format"),
    "npy 2.0": (
        lambda m: {**m, "masks": m["masks"].replace(b"\x01\x00", b"\x02\x00", 1)},
        "masks is no array in .npy format 1.0",
    ),
    "nothing": (lambda m: {**m, "masks": b""}, "ends before its arrays do"),
    "short data": (lambda m: {**m, "masks": m["masks"][:-1]}, "claims 80 bytes in its header"),
    "more data": (lambda m: {**m, "masks": m["masks"] + b"\0"}, "in its header and stores 81"),
    "header 2**50": (claiming("thresholds", SIXTY_FOUR % 2**50), f"claims {2**52} bytes"),
    "header 2**70": (claiming("thresholds", SIXTY_FOUR % 2**70), f"claims {2**72} bytes"),
    "header overflows to 0": (claiming("thresholds", SIXTY_FOUR % f"{2**32}, {2**32}"), "claims"),
    "header negative": (claiming("thresholds", SIXTY_FOUR % -1), "impossible shape (-1,)"),
    "header boolean": (claiming("thresholds", SIXTY_FOUR % "False"), "impossible shape (False,)"),
    "header float": (claiming("thresholds", SIXTY_FOUR % 1.5), "ValueError"),
    "header code": (claiming("thresholds", "__import__('os').getcwd()"), "ValueError"),
    "header nested": (claiming("thresholds", "(" * 117), "cannot be read as a model"),
    "header minus": (claiming("thresholds", "-" * 116 + "1"), "cannot be read as a model"),
    "header empty": (claiming("thresholds", ""), "cannot be read as a model"),
    "header longest": (
        lambda m: {**m, "masks": b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535},
        "masks has a header of 65535 bytes instead of 512 or fewer",
    ),
    "by columns": (fortran, "weights is stored by columns"),
    "weights float64": (with_array("weights", np.zeros((70, 3))), "dtype float64 instead"),
    "weights big-endian": (with_array("weights", np.zeros((70, 3), ">f4")), "dtype >f4"),
    "biases float32": (with_array("biases", np.zeros(70, "f4")), "dtype float32 instead"),
    "masks int64": (with_array("masks", np.zeros((5, 2), "i8")), "masks has dtype int64 instead"),
    "masks structured": (
        with_array("masks", np.zeros((5, 2), [("a", "u4"), ("b", "u4")])),
        "instead of uint64",
    ),
    "classes complex": (with_array("classes", np.arange(2) * 1j), "classes has dtype complex128"),
    "classes dates": (with_array("classes", np.arange(2).astype("M8[s]")), "dtype datetime64[s]"),
    "classes bytes": (with_array("classes", np.array([b"a", b"b"])), "classes has dtype |S1"),
    "classes big-endian": (with_array("classes", np.array(["a", "b"], ">U1")), "dtype >U1"),
    "classes no width": (
        lambda m: {**m, "classes": npy_claiming(SIXTY_FOUR.replace("i4", "U0") % 2)},
        "classes has dtype <U0, which no class labels have",
    ),
    "classes one": (with_array("classes", np.array([1])), "classes holds 1 labels instead of two"),
    "classes 2-D": (with_array("classes", np.eye(2)), "classes has 2 dimensions instead of 1"),
    "classes equal": (with_array("classes", np.array(["a", "a"])), "are 'a' and 'a', where labels"),
    "classes fall": (with_array("classes", np.array([1, 0])), "are 1 and 0, where labels must"),
    "classes NaN": (with_array("classes", np.array([0, np.nan])), "a label that is not finite"),
    "classes boolean 2": (
        with_array("classes", np.array([0, 2], "u1").view(bool)),
        "neither true nor false",
    ),
    "classes no character": (
        with_array("classes", np.array([97, 0x110000], "<u4").view("<U1")),
        "classes holds U+110000, which is no character",
    ),
    "no hyperplane": (
        lambda m: {
            **m,
            "weights": npy(np.zeros((0, 3), "f4")),
            "biases": npy(np.zeros(0)),
            "masks": npy(np.zeros((5, 0), "u8")),
        },
        "weights has shape (0, 3), which leaves no hyperplane",
    ),
    "no dimension": (
        lambda m: {
            **m,
            "weights": npy(np.zeros((70, 0), "f4")),
            "origin": npy(np.zeros(0)),
        },
        "weights has shape (70, 0), which leaves no hyperplane",
    ),
    "weights 1-D": (with_array("weights", np.zeros(70, "f4")), "weights has 1 dimensions instead"),
    "biases short": (with_array("biases", np.zeros(69)), "shape (69,) instead"),
    "origin too long": (with_array("origin", np.zeros(4)), "shape (4,) instead"),
    "masks too narrow": (with_array("masks", np.zeros((5, 1), "u8")), "shape (5, 1) instead"),
    "masks too wide": (with_array("masks", np.zeros((5, 3), "u8")), "shape (5, 3) instead"),
    "owners too few": (with_array("owners", np.zeros(4, "i4")), "owners has shape (4,) instead"),
    "weight NaN": (changed("weights", (2, 1), np.nan), "weights[2, 1] is nan, which is not"),
    "weight inf": (changed("weights", (69, 2), -np.inf), "weights[69, 2] is -inf, which is not"),
    "bias inf": (changed("biases", 7, np.inf), "biases[7] is inf, which is not finite"),
    "origin NaN": (changed("origin", 0, np.nan), "origin[0] is nan, which is not finite"),
    "radius NaN": (with_array("radius", np.array(np.nan)), "radius is nan, which is no distance"),
    "radius inf": (with_array("radius", np.array(np.inf)), "radius is inf, which is no distance"),
    "radius negative": (with_array("radius", np.array(-1.0)), "radius is -1.0, which is no"),
    "threshold 0": (changed("thresholds", 3, 0), "thresholds[3] is 0, where 1 to 70 hyperplanes"),
    "threshold negative": (changed("thresholds", 0, -(2**31)), "thresholds[0] is -2147483648"),
    "threshold 71": (changed("thresholds", 4, 71), "thresholds[4] is 71, where 1 to 70"),
    "owner not covered": (changed("owners", 4, 1), "owners[4] is 1, which is no covered class"),
    "owner negative": (changed("owners", 0, -1), "owners[0] is -1, which is no covered class"),
    "owners fall": (
        lambda m: {
            **m,
            "owners": npy(np.array([0, 1, 1, 0, 1], "i4")),
            "covered": npy(np.arange(2)),
        },
        "owners[3] is 0 after 1, where classes ascend",
    ),
    "covered unknown": (with_array("covered", np.array([0, 2])), "covered[1] is 2, where there"),
    "covered negative": (with_array("covered", np.array([-1, 0])), "covered[0] is -1, where there"),
    "covered twice": (with_array("covered", np.array([0, 0])), "covered[1] is 0 after 0, where"),
    "covered falls": (with_array("covered", np.array([1, 0])), "covered[1] is 0 after 1, where"),
    "covered none": (with_array("covered", np.zeros(0, int)), "covered names 0 of 2 classes"),
    "covered three": (with_array("covered", np.arange(3)), "covered names 3 of 2 classes"),
    "mask bit 70": (changed("masks", (2, 1), 1 << 6), "masks[2] has bits beyond the 70"),
    "mask bit 127": (changed("masks", (4, 1), 1 << 63), "masks[4] has bits beyond the 70"),
    "summary bytes": (with_array("summary", np.array(b"{}")), "dtype |S2 instead of unicode text"),
    "summary no JSON": (with_array("summary", np.array("{")), "JSONDecodeError"),
    "summary list": (with_array("summary", np.array("[1]")), "the summary is not a JSON object"),
    "summary nested": (with_array("summary", np.array('{"a": [1]}')), "entry 'a' of the summary"),
    "summary deep": (with_array("summary", np.array("[" * 10**5)), "RecursionError"),
    "summary huge number": (with_array("summary", np.array("[1" + "0" * 9999 + "]")), "digits"),
    "summary no character": (
        with_array("summary", np.array([0x110000], "<u4").view("<U1").reshape(())),
        "summary holds U+110000, which is no character",
    ),
    "summary broken character": (  # of which NumPy makes a string that breaks Python's functions
        with_array("summary", BROKEN),
        "summary holds U+40000000, which is no character",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("mutate", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_hostile_contents_are_refused_with_their_sentence(
    network, tmp_path, mutate, expected, method
):
    members = members_of(network)
    assert_same(network, load(forge(tmp_path / "right.npz", members, method)))
    path = forge(tmp_path / "hostile.npz", mutate(members), method)
    tracemalloc.start()
    try:
        sentence = refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert expected in sentence
    assert peak < 5 << 20


class Payload:
    """An object whose unpickling writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("name", MEMBERS)
def test_pickles_are_never_run(network, tmp_path, name):
    marker = tmp_path / "executed"
    content = npy(np.array([Payload(marker)] * 2, object))
    np.lib.format.read_array(io.BytesIO(content), allow_pickle=True)
    assert marker.exists()  # the payload works
    marker.unlink()
    path = forge(tmp_path / "hostile.npz", {**members_of(network), name: content})
    assert f"{name} holds Python objects, which only a pickle could store" in refusal(path)
    raw = pickle.dumps(Payload(marker))
    path = forge(tmp_path / "hostile.npz", {**members_of(network), name: raw})
    assert f"{name} is no array in .npy format 1.0" in refusal(path)
    path = forge(tmp_path / "hostile.npz", {**members_of(network), f"{name}2": content})
    refusal(path)
    path.write_bytes(raw)
    refusal(path)
    assert not marker.exists()


def directory_patched(content: bytes, name: str, offset: int, code: str, value: int) -> bytes:
    """Change a field of one member's entry in the archive's directory."""
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(f"{name}.npy".encode()))
    patched = bytearray(content)
    struct.pack_into(code, patched, entry + offset, value)
    return reseal(bytes(patched))


@pytest.mark.parametrize(
    ("offset", "code", "value", "expected"),
    [
        (8, "<H", 1, "its member 'weights' is encrypted"),
        (10, "<H", zipfile.ZIP_BZIP2, "its member 'weights' is packed by method 12"),
        (10, "<H", zipfile.ZIP_LZMA, "its member 'weights' is packed by method 14"),
        (10, "<H", 99, "its member 'weights' is packed by method 99"),
        (10, "<H", zipfile.ZIP_DEFLATED, "cannot be read as a model"),
        (16, "<L", 12345, "Bad CRC-32"),
        (20, "<L", 2**31, "its members claim"),
        (20, "<L", 10, "its member 'weights' claims 968 bytes from 10"),
        (24, "<L", 2**32 - 2, "its member 'weights' claims 4294967294 bytes from 968"),
        (42, "<L", 2**31, "cannot be read as a model"),
        (42, "<L", 0, "cannot be read as a model ("),
    ],
)
def test_forged_directories_are_refused(network, tmp_path, offset, code, value, expected):
    path = forge(tmp_path / "hostile.npz", members_of(network))
    content = directory_patched(path.read_bytes(), "weights", offset, code, value)
    path.write_bytes(content)
    assert expected in refusal(path)


def bomb(n: int) -> dict[str, bytes]:
    """All that fits together, as deflate packs it best: zeros."""
    return {
        **members_of(make_network(n=n, d=1, m=0)),
        "weights": npy(np.zeros((n, 1), np.float32)),
        "biases": npy(np.zeros(n)),
    }


def test_zip_bombs_are_refused_unread(tmp_path):
    path = forge(tmp_path / "bomb.npz", bomb(8_000_000), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    try:
        sentence = refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "would unpack to 96001" in sentence
    assert peak < 5 << 20
    assert len(load(forge(path, bomb(5_000_000), zipfile.ZIP_DEFLATED)).first) == 5_000_000


def test_directory_of_gigabytes_is_refused_unread(tmp_path):
    # a sparse file costs its sender nothing
    path = tmp_path / "hostile.npz"
    size = 200 << 20
    comment = SEAL + b"0" * 64
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 11, 11, size, 0, len(comment)) + comment
    with open(path, "w+b") as file:
        file.truncate(size)
        file.seek(size)
        file.write(end)
        file.seek(0)
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block if len(block) == 1 << 20 else block[:-64])
        file.seek(-64, 2)
        file.write(digest.hexdigest().encode())
    tracemalloc.start()
    try:
        sentence = refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "its directory is larger than a model's" in sentence
    assert peak < 8 << 20


def test_other_files_are_refused(network, tmp_path):
    path = tmp_path / "other.npz"
    path.touch()
    assert "it is empty" in refusal(path)
    for content in (b"\n", b"x,y\n1,2\n" * 50, b"\0" * 1000, SEAL + b"0" * 64):
        path.write_bytes(content)
        refusal(path)
    np.savez(path, **arrays_of(network))
    assert "does not end as a fastmem model does" in refusal(path)
    os.unlink(path)
    os.mkfifo(path)
    with pytest.raises(ModelFileError, match="because it is not a regular file; copy"):
        load(path)


def test_errors_of_the_file_system_stay_themselves(saved, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.npz")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    with pytest.raises(NotADirectoryError):
        load(saved / "net.npz")
    with pytest.raises(TypeError):
        load(3)
    error = PermissionError(13, "Permission denied", str(saved))
    monkeypatch.setattr(io, "FileIO", fail_after(0, error, None))
    with pytest.raises(PermissionError):
        load(saved)


def test_memory_that_does_not_suffice_is_said_so(saved, monkeypatch):
    def no_memory(*args):
        raise MemoryError

    monkeypatch.setattr(file_archive.np, "empty", no_memory)
    assert "memory does not suffice for it; free memory" in refusal(saved)


def test_ctrl_c_while_loading_is_not_swallowed(saved, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(file_archive, "check_values", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(saved)


# Structured hyperplanes: version 2 --------------------------------------------------------------


@pytest.mark.parametrize("share", [0.6, 0.02])
@pytest.mark.parametrize(("n", "d", "m"), [(3, 1, 1), (63, 2, 3), (64, 3, 0), (100, 64, 400)])
def test_invariant_1_structured_networks_come_back(tmp_path, n, d, m, share):
    network = make_structured(n, d, m, share, seed=n, summary={"größte": "雪", "n": 3})
    save(network, tmp_path / "net.npz")
    loaded = load(tmp_path / "net.npz")
    assert_same(network, loaded)
    points = np.random.default_rng(1).standard_normal((200, d))
    assert network.predict(points).tolist() == loaded.predict(points).tolist()
    save(loaded, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "net.npz").read_bytes()
    with np.load(tmp_path / "net.npz", allow_pickle=False) as archive:
        assert archive.files == STRUCTURED_MEMBERS
        assert archive["format_version"] == 2


@pytest.mark.parametrize("width", ["auto", 300])
def test_invariant_1_memorised_with_structured_hyperplanes(tmp_path, width):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((300, 10)) + 5, rng.integers(0, 3, 300)
    network = interpolate(X, y, width=width, projection="structured", seed=1)
    network.save(tmp_path / "net.npz")
    assert network.nbytes == (tmp_path / "net.npz").stat().st_size
    loaded = load(tmp_path / "net.npz")
    assert_same(network, loaded)
    assert loaded.summary["projection"] == "structured"
    assert loaded.predict(X).tolist() == y.tolist()


def test_few_bits_are_listed_and_short_numbers_stay_short(tmp_path):
    network = make_structured(n=600, d=1000, m=400, share=0.01)
    biases = network.first.biases.astype(np.float32).astype(np.float64)
    replace(network, "biases", biases)
    members = packed_members_of(network, tmp_path)
    arrays = {name: np.load(io.BytesIO(content)) for name, content in members.items()}
    assert arrays["masks"].shape == (0, 10) and len(arrays["mask_sizes"]) == 400
    assert (arrays["mask_gaps"] < 255).sum() == np.bitwise_count(network.second.masks).sum()
    assert (arrays["mask_gaps"] == 255).any()
    assert arrays["biases"].dtype == np.float32 and arrays["origin"].dtype == np.float64
    assert arrays["row_steps"].dtype == np.int16
    assert_same(network, load(tmp_path / "packed.npz"))
    dense = packed_members_of(make_structured(n=100, d=64, m=400, share=0.6), tmp_path)
    assert np.load(io.BytesIO(dense["masks"])).shape == (400, 2)


# The network: n = 70 rows of two blocks of 64, two of them stored, d = 3, m = 5 neurons
STRUCTURED_HOSTILE = {
    "weights": (lambda m: {**m, "weights": m["signs"]}, "'summary', 'weights' instead of"),
    "as version 1": (versioned(1), "instead of a model's arrays"),
    "signs int64": (with_array("signs", np.zeros((2, 3, 1), "i8")), "signs has dtype int64"),
    "signs 2-D": (with_array("signs", np.zeros((2, 3), "u8")), "signs has 2 dimensions"),
    "signs too wide": (with_array("signs", np.zeros((2, 3, 2), "u8")), "signs has shape (2, 3, 2)"),
    "four rounds": (with_array("signs", np.zeros((2, 4, 1), "u8")), "signs has shape (2, 4, 1)"),
    "no block": (with_array("signs", np.zeros((0, 3, 1), "u8")), "is 1"),
    "million blocks": (with_array("signs", np.zeros((10**6, 1, 1), "u8")), "1000000 blocks"),
    "sign beyond d": (changed("signs", (1, 0, 0), 8), "signs[1, 0] has bits beyond the 3"),
    "rows float": (with_array("row_steps", np.zeros(70)), "row_steps has dtype float64"),
    "row repeated": (with_array("row_steps", np.zeros(70, "i1")), "rows holds 0 twice"),
    "row too large": (changed("row_steps", 69, 127), "blocks have rows 0 to 127"),
    "row unknown": (changed("row_steps", 69, -128), "the negative numbers of rows"),
    "row of 2**40": (with_array("row_steps", np.full(70, 2**40)), f"row_steps[0] is {2**40}"),
    "row of -2**63": (with_array("row_steps", np.full(70, -(2**63))), f"[0] is {-(2**63)}"),
    "row overflows": (with_array("row_steps", np.full(70, 2**31)), f"row_steps[0] is {2**31}"),
    "extra missing": (with_array("extra", np.zeros((1, 3), "f4")), "negative numbers of rows"),
    "extra wide": (with_array("extra", np.zeros((2, 4), "f4")), "origin has shape (3,) instead"),
    "extra NaN": (changed("extra", (1, 2), np.nan), "extra[1, 2] is nan, which is not finite"),
    "no dimension": (
        lambda m: {**m, "extra": npy(np.zeros((2, 0), "f4")), "origin": npy(np.zeros(0))},
        "has shape (70, 0), which leaves no hyperplane",
    ),
    "biases float16": (with_array("biases", np.zeros(70, "f2")), "instead of float32 or float64"),
    "bias inf": (changed("biases", 7, np.inf), "biases[7] is inf, which is not finite"),
    "origin NaN": (changed("origin", 0, np.nan), "origin[0] is nan, which is not finite"),
    "both masks": (with_array("masks", np.zeros((5, 2), "u8")), "mask_sizes has shape (5,)"),
    "masks too narrow": (with_array("masks", np.zeros((0, 1), "u8")), "shape (0, 1) instead"),
    "sizes too few": (with_array("mask_sizes", np.ones(4, "u1")), "mask_sizes has shape (4,)"),
    "sizes signed": (with_array("mask_sizes", np.ones(5, "i1")), "mask_sizes has dtype int8"),
    "sizes too large": (changed("mask_sizes", 2, 200), "mask_sizes add up to"),
    "gap beyond n": (changed("mask_gaps", 0, 70), "masks[0] has bits beyond the 70"),
    "gaps of gigabytes": (
        lambda m: {
            **m,
            "mask_sizes": npy(np.zeros(5_000_000, "u1")),
            "thresholds": npy(np.ones(5_000_000, "u1")),
            "owners": npy(np.zeros(5_000_000, "u1")),
        },
        "its masks would unpack to 80000000, above",
    ),
    "threshold 0": (changed("thresholds", 3, 0), "thresholds[3] is 0, where 1 to 70 hyperplanes"),
    "threshold 2**31": (
        with_array("thresholds", np.full(5, 2**31, "u4")), "thresholds[0] is 2147483648, which"
    ),
    "owner unknown": (changed("owners", 4, 1), "owners[4] is 1, which is no covered class"),
    "covered unknown": (with_array("covered", np.array([2], "u1")), "covered[0] is 2, where there"),
    "summary latin": (with_array("summary", np.array([0xE4, 0x7D], "u1")), "is no UTF-8 text"),
    "summary list": (with_array("summary", np.frombuffer(b"[1]", "u1")), "is not a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("mutate", "expected"), STRUCTURED_HOSTILE.values(), ids=STRUCTURED_HOSTILE.keys()
)
def test_hostile_structured_contents_are_refused(tmp_path, mutate, expected):
    network = make_structured(m=5, share=0.02)
    members = packed_members_of(network, tmp_path)
    assert_same(network, load(forge(tmp_path / "right.npz", members)))
    path = forge(tmp_path / "hostile.npz", mutate(members), zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        sentence = refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert expected in sentence
    assert peak < 64 << 20


@pytest.mark.parametrize("name", STRUCTURED_MEMBERS)
def test_pickles_in_structured_files_are_never_run(tmp_path, name):
    marker = tmp_path / "executed"
    content = npy(np.array([Payload(marker)] * 2, object))
    members = packed_members_of(make_structured(), tmp_path)
    path = forge(tmp_path / "hostile.npz", {**members, name: content})
    assert f"{name} holds Python objects, which only a pickle could store" in refusal(path)
    assert not marker.exists()


# Feature names: versions 6 to 10 ---------------------------------------------------------------

NAMES = ["größte Länge", "", 'say "hi"\n', "\u2028", "a" * 3000, "größte Länge"]


@pytest.mark.parametrize("projection", ["gaussian", "structured"])
@pytest.mark.parametrize("activation", ["threshold", "relu"])
def test_feature_names_come_back(tmp_path, projection, activation):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((60, 6)), rng.integers(0, 2, 60)
    settings = {"projection": projection, "activation": activation, "seed": 1}
    plain = without_law(interpolate(X, y, **settings))
    plain.save(tmp_path / "plain.npz")
    named = without_law(interpolate(pd.DataFrame(X, columns=NAMES), y, **settings))
    named.save(tmp_path / "named.npz")
    assert named.nbytes == (tmp_path / "named.npz").stat().st_size
    assert load(tmp_path / "plain.npz").feature_names is None
    loaded = load(tmp_path / "named.npz")
    assert loaded.feature_names == named.feature_names == tuple(NAMES)
    assert_same(named, loaded)
    loaded.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "named.npz").read_bytes()
    # without names nothing changes: older releases read the file
    with np.load(tmp_path / "plain.npz") as old, np.load(tmp_path / "named.npz") as new:
        assert old["format_version"] <= 5 and new["format_version"] == old["format_version"] + 5
        assert new.files == [*old.files, "feature_names"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'["a", "b"]', "feature_names holds 2 names for 3 features"),
        (b'["a", "b", 1]', "feature_names is not a JSON list of strings"),
        (b'{"a": "b"}', "feature_names is not a JSON list of strings"),
        (b'["a", "b"', "feature_names is no JSON"),
        (b"[" * 10_000, "feature_names is no JSON"),
        (b'["\xe4", "b", "c"]', "feature_names is no UTF-8 text"),
        (b"[" + b"1," * 5_000_000 + b"1]", "feature_names takes 10000003 bytes for 3 features"),
        (b"", "feature_names is no JSON"),
    ],
)
@pytest.mark.parametrize("make", [make_network, make_structured])
def test_hostile_feature_names_are_refused(tmp_path, make, content, expected):
    network = make(m=5)
    network.feature_names = ("a", "b", "c")
    members = packed_members_of(network, tmp_path)
    assert load(forge(tmp_path / "right.npz", members)).feature_names == ("a", "b", "c")
    members["feature_names"] = npy(np.frombuffer(content, np.uint8))
    assert expected in refusal(forge(tmp_path / "hostile.npz", members, zipfile.ZIP_DEFLATED))


# Saving ---------------------------------------------------------------------------------------


def fail_after(calls: int, error: BaseException, function):
    """Let a function work a number of times, then raise."""
    count = 0

    def failing(*args, **kwargs):
        nonlocal count
        count += 1
        if count > calls:
            raise error
        return function(*args, **kwargs)

    return failing


@pytest.mark.parametrize(
    "failure", [(OSError, 28, "No space left on device"), (KeyboardInterrupt,)]
)
@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [
        (zipfile.ZipFile, "open", 0),
        (zipfile.ZipFile, "open", 5),
        (zipfile.ZipFile, "open", 10),
        (hashlib, "sha256", 0),
        (os, "fsync", 0),
        (os, "replace", 0),
    ],
)
@pytest.mark.parametrize("name_of_target", ["net.npz", "new.npz"])
def test_invariant_6_failed_save_leaves_everything_as_it_was(
    saved, tmp_path, monkeypatch, owner, name, calls, failure, name_of_target
):
    kind, *details = failure
    error = kind(*details)
    before = saved.read_bytes()
    target = tmp_path / name_of_target
    monkeypatch.setattr(owner, name, fail_after(calls, error, getattr(owner, name)))
    with pytest.raises(kind) as caught:
        save(make_network(seed=9), target)
    monkeypatch.undo()
    if kind is OSError:
        assert caught.value.filename == str(target)
    assert os.listdir(tmp_path) == ["net.npz"]
    assert saved.read_bytes() == before


def test_save_replaces_in_one_step(saved, tmp_path, monkeypatch):
    before = saved.read_bytes()
    seen = []
    replace = os.replace

    def spy(source, target):
        seen.append((Path(source).parent, saved.read_bytes() == before))
        load(source)  # whole and on the disk before it gets its name
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    save(make_network(seed=9), saved)
    assert seen == [(tmp_path, True)]
    assert saved.read_bytes() != before
    assert_same(make_network(seed=9), load(saved))


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_a_normal_file(network, tmp_path, umask):
    old = os.umask(umask)
    try:
        save(network, tmp_path / "net.npz")
        (tmp_path / "normal").touch()
    finally:
        os.umask(old)
    mode = stat.S_IMODE((tmp_path / "net.npz").stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "normal").stat().st_mode) == 0o666 & ~umask


def test_replaced_file_keeps_its_permissions(network, saved):
    saved.chmod(0o640)
    save(network, saved)
    assert stat.S_IMODE(saved.stat().st_mode) == 0o640


def test_write_protected_file_is_kept(saved, monkeypatch):
    def refusing(file, mode="r"):
        if mode == "r+b" and Path(file) == saved:  # what open does, except for root
            raise PermissionError(13, "Permission denied", file)
        return open(file, mode)

    before = saved.read_bytes()
    monkeypatch.setattr(files, "open", refusing, raising=False)
    with pytest.raises(PermissionError, match=r"net\.npz"):
        save(make_network(seed=9), saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == ["net.npz"]


@pytest.mark.parametrize("name", ["net", "net.model", "x" * 255, "mit Umlaut ä.npz"])
@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_path_is_used_as_given(network, tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    save(network, kind(name))
    assert os.listdir(tmp_path) == [name]
    assert_same(network, load(kind(name)))


def test_symbolic_link_stays_a_link(network, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.npz").symlink_to(tmp_path / "elsewhere" / "net.npz")
    for _ in range(2):
        save(network, tmp_path / "link.npz")
        assert (tmp_path / "link.npz").is_symlink()
        assert os.listdir(tmp_path / "elsewhere") == ["net.npz"]
    assert_same(network, load(tmp_path / "link.npz"))


def test_places_that_cannot_be_written(network, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        save(network, tmp_path / "missing" / "net.npz")
    assert caught.value.filename == str(tmp_path / "missing" / "net.npz")
    with pytest.raises(IsADirectoryError):
        save(network, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="not a regular file; name a new file"):
        save(network, tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize(
    ("breakage", "expected"),
    [
        (lambda n: replace(n, "weights", np.full((70, 3), np.nan, "f4")), "weights[0, 0] is nan"),
        (lambda n: replace(n, "weights", np.ones((70, 3))), "weights has dtype float64 instead"),
        (lambda n: n.second.thresholds.__setitem__(0, 0), "thresholds[0] is 0"),
        (lambda n: n.second.masks.__setitem__((0, 1), 1 << 63), "masks[0] has bits beyond"),
        (lambda n: n.summary.__setitem__("a", [1]), "entry 'a' of the summary is a list"),
        (lambda n: n.summary.__setitem__(1, 1), "the name 1 in the summary is not a string"),
        (lambda n: setattr(n, "classes_", np.array(["a", "b\0"], object)), "label 'b\\x00'"),
        (lambda n: setattr(n, "classes_", np.array([b"a", 3], object)), "label b'a'"),
        (lambda n: setattr(n, "classes_", np.array([1, 1])), "are 1 and 1, where labels"),
    ],
)
def test_network_that_load_would_refuse_is_not_saved(network, saved, breakage, expected):
    before = saved.read_bytes()
    breakage(network)
    with pytest.raises(ModelFileError) as caught:
        save(network, saved)
    assert expected in str(caught.value)
    assert str(caught.value).endswith("; mend it or fit it again before saving.")
    assert saved.read_bytes() == before
    with pytest.raises(ModelFileError, match="has no size in a file because"):
        _ = network.nbytes
