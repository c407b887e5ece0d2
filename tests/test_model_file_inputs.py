"""Model files of versions 11 to 15: what becomes of points before the first layer."""

from __future__ import annotations

import json
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
from test_model_file import (
    assert_same,
    forge,
    make_network,
    make_structured,
    npy,
    packed_members_of,
    refusal,
)

from fastmem.algorithm import interpolate
from fastmem.errors import InvalidInputError, ModelFileError
from fastmem.inputs.scaled_points import MAX_EXPONENT
from fastmem.network import model_file
from fastmem.network.loading import load
from fastmem.network.network import Network

SCALE = np.array([1.0, 2.0**-500, 2.0**500])


class Described:
    """An encoding that is what its description says."""

    def __init__(self, description) -> None:
        self.description = description

    def to_dict(self):
        return self.description

    @classmethod
    def from_dict(cls, description):
        if description.get("kind") == "wrong":
            raise InvalidInputError("kind is 'wrong', which is none; pass another")
        return cls(description)


@pytest.fixture(autouse=True)
def described(monkeypatch):
    """The file does not know what stands in an encoding."""
    monkeypatch.setattr(model_file, "Encoding", Described)


def with_inputs(make=make_network, names=("a", "ä", ""), scale=SCALE, encoding=None) -> Network:
    network = make(m=5)
    network.feature_names, network.scale = names, scale
    network.encoding = None if encoding is None else Described(encoding)
    return network


ENCODING = {"kind": "levels", "levels": ["größte", "\u2028", None, 0.1, 1e300, -0.0, True]}


@pytest.mark.parametrize("encoding", [None, {}, ENCODING], ids=["none", "empty", "some"])
@pytest.mark.parametrize("scale", [None, SCALE], ids=["unscaled", "scaled"])
@pytest.mark.parametrize("names", [None, ("a", "ä", "")], ids=["unnamed", "named"])
@pytest.mark.parametrize("make", [make_network, make_structured])
def test_scale_and_encoding_come_back(tmp_path, make, names, scale, encoding):
    network = with_inputs(make, names, scale, encoding)
    network.save(tmp_path / "net.npz")
    assert network.nbytes == (tmp_path / "net.npz").stat().st_size
    loaded = load(tmp_path / "net.npz")
    assert_same(network, loaded)
    assert loaded.feature_names == names
    np.testing.assert_array_equal(loaded.scale, scale)
    assert (loaded.encoding is None) == (encoding is None)
    if encoding is not None:
        assert loaded.encoding.to_dict() == encoding
    loaded.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "net.npz").read_bytes()
    plain = make(m=5)
    plain.feature_names = names
    plain.save(tmp_path / "plain.npz")
    with np.load(tmp_path / "net.npz") as new, np.load(tmp_path / "plain.npz") as old:
        base = int(old["format_version"]) - (5 if names else 0)
        if scale is None and encoding is None:  # nothing changes
            assert new.files == old.files and new["format_version"] == old["format_version"]
        else:
            assert new["format_version"] == base + 10
            assert new.files == [*(n for n in old.files if n != "feature_names"), "inputs"]


@pytest.mark.parametrize("settings", [{}, {"activation": "relu"}, {"projection": "structured"}])
def test_each_kind_of_network_keeps_its_scale(tmp_path, settings):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 3)) * [1, 1e6, 1e-6], rng.integers(0, 2, 60)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    network = interpolate(frame, y, scale="std", seed=0, **settings)
    network.save(tmp_path / "net.npz")
    loaded = load(tmp_path / "net.npz")
    assert loaded.predict(frame).tolist() == y.tolist()
    with pytest.raises(InvalidInputError, match="'b'"):
        loaded.predict(frame[["b", "a", "c"]])


def text(feature_names=None, scale=(0, 1, 2), encoding=None, **more) -> bytes:
    parts = {"feature_names": feature_names, "scale": scale, "encoding": encoding}
    return json.dumps(parts | more).encode()


HOSTILE = {
    "nothing": (b"", "inputs is no JSON"),
    "cut": (text()[:-1], "inputs is no JSON"),
    "not UTF-8": (b'{"feature_names": "\xe4"}', "inputs is no UTF-8 text"),
    "deep": (b"[" * 100_000, "inputs is no JSON"),
    "deep encoding": (text(encoding=1).replace(b"1}", b"[" * 100_000), "inputs is no JSON"),
    "long number": (text(encoding=1).replace(b"1}", b"1" * 5_000 + b"}"), "inputs is no JSON"),
    "a list": (b"[]", "inputs is not a JSON object of feature_names, scale, encoding"),
    "a part less": (
        b'{"feature_names": null, "scale": [0, 0, 0]}',
        "inputs is not a JSON object of",
    ),
    "a part more": (text(more=1), "inputs is not a JSON object of"),
    "other order": (b'{"scale":[0,0,0],"feature_names":null,"encoding":null}', "JSON object of"),
    "neither": (text(scale=None), "inputs holds neither a scale nor an encoding"),
    "scale short": (text(scale=[0, 0]), "the scale holds 2 exponents for 3 features"),
    "scale long": (text(scale=[0] * 4), "the scale holds 4 exponents for 3 features"),
    "scale float": (text(scale=[0, 1.0, 0]), "the scale is not a JSON list of whole numbers"),
    "scale bool": (text(scale=[0, True, 0]), "the scale is not a JSON list of whole numbers"),
    "scale text": (text(scale="abc"), "the scale is not a JSON list of whole numbers"),
    "scale object": (text(scale={"0": 1}), "the scale is not a JSON list of whole numbers"),
    "scale NaN": (text(scale=[0, float("nan"), 0]), "inputs is no JSON"),
    "scale huge": (text(scale=[0, MAX_EXPONENT + 1, 0]), "the exponent 501 of feature 1, where"),
    "scale tiny": (text(scale=[0, 0, -501]), "the exponent -501 of feature 2, where they are"),
    "scale endless": (text(scale=[0, 10**400, 0]), "the scale holds the exponent 1000"),
    "names short": (text(["a"]), "feature_names holds 1 names for 3 features"),
    "names numbers": (text([1, 2, 3]), "feature_names is not a JSON list of strings"),
    "names object": (text({"a": "b"}), "feature_names is not a JSON list of strings"),
    "encoding list": (text(encoding=[1]), "the encoding is not a JSON object"),
    "encoding text": (text(encoding="x"), "the encoding is not a JSON object"),
    "encoding false": (text(encoding=False), "the encoding is not a JSON object"),
    "encoding wrong": (text(encoding={"kind": "wrong"}), "its encoding is none: kind is 'wrong'"),
    "encoding infinite": (text(encoding={"a": float("inf")}), "inputs is no JSON"),
    "too long": (b"[" + b"1," * 5_000_000 + b"1]", "inputs takes 10000003 bytes for 3 features"),
}


@pytest.mark.parametrize(("content", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("make", [make_network, make_structured])
def test_hostile_inputs_are_refused(tmp_path, make, content, expected):
    members = packed_members_of(with_inputs(make), tmp_path)
    right = load(forge(tmp_path / "right.npz", members))
    np.testing.assert_array_equal(right.scale, SCALE)
    members["inputs"] = npy(np.frombuffer(content, np.uint8))
    path = forge(tmp_path / "hostile.npz", members, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        assert expected in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((3, 3), np.uint8), "inputs has 2 dimensions instead of 1"),
        (np.zeros(3, np.int8), "inputs has dtype int8 instead of uint8"),
        (np.array("{}"), "inputs has dtype <U2 instead of uint8"),
        (np.array([{}], object), "inputs holds Python objects, which only a pickle could store"),
    ],
)
def test_inputs_of_another_type_are_refused(tmp_path, array, expected):
    members = packed_members_of(with_inputs(), tmp_path)
    assert expected in refusal(forge(tmp_path / "net.npz", {**members, "inputs": npy(array)}))


@pytest.mark.parametrize("version", [1, 2, 4, 6, 12, 14, 16])
def test_inputs_stand_in_their_versions_only(tmp_path, version):
    members = packed_members_of(with_inputs(), tmp_path)
    members["format_version"] = npy(np.array(version))
    refusal(forge(tmp_path / "net.npz", members))


def test_an_encoding_of_many_levels_has_room(tmp_path):
    levels = [f"N{i:05}" + "x" * 90 for i in range(4044)]
    with_inputs(encoding={"levels": levels}).save(tmp_path / "net.npz")
    assert load(tmp_path / "net.npz").encoding.to_dict() == {"levels": levels}


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ({"a": float("nan")}, "its encoding cannot be written as JSON"),
        ({"a": {1, 2}}, "its encoding cannot be written as JSON"),
        ({"a": np.int64(1)}, "its encoding cannot be written as JSON"),
        ([1], "the encoding is not a JSON object"),
        ({"kind": "wrong"}, "its encoding is none: kind is 'wrong'"),
        ({"a": "x" * (9 << 20)}, "bytes for 3 features and an encoding"),
    ],
)
def test_an_encoding_that_load_would_refuse_is_not_saved(tmp_path, encoding, expected):
    with pytest.raises(ModelFileError) as caught:
        with_inputs(encoding=encoding).save(tmp_path / "net.npz")
    assert expected in str(caught.value)
    assert not (tmp_path / "net.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"scale": [1, 2]}, "scale has 2 numbers for 3 features"),
        ({"scale": [1, 2, 3]}, r"scale\[2\] is 3, which is no power of two"),
        ({"encoding": {}}, r"encoding is a dict; pass a fastmem.encoding.Encoding, or None"),
    ],
)
def test_a_network_refuses_what_it_could_not_use(arguments, sentence):
    n = make_network()
    with pytest.raises(InvalidInputError, match=sentence):
        Network(n.classes_, n.first, n.second, n.covered, **arguments)
