"""Model files of first layers that come from a key: nothing is lost, nothing is believed."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model_file import forge, npy

import fastmem
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes
from fastmem.network import file_keys, file_packing
from fastmem.network.file_versions import MEMBERS

KINDS = {
    19: {"projection": "gaussian"},
    20: {"projection": "structured"},
    21: {"projection": "gaussian", "activation": "relu"},
    22: {"projection": "structured", "activation": "relu"},
    23: {"projection": "gaussian", "decision": "vote", "width": 64},
    24: {"projection": "structured", "decision": "vote", "width": 64},
}
LAYER = ("rows", "extra", "biases", "origin", "weights")


def points(n=120, d=5, far=0.0):
    rng = np.random.default_rng(n + d)
    X = rng.standard_normal((n, d)) + far
    y = rng.integers(0, 2, n)
    X[1], y[:2] = X[0], (0, 1)
    X[1, 0] = np.nextafter(X[0, 0], 1e9)  # so near that a row must be aimed at both
    return X, y


def fitted(version=19, far=0.0, **more):
    X, y = points(far=far)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return X, y, fastmem.interpolate(X, y, seed=3, **KINDS[version] | more)


def assert_same_layer(first, other):
    assert type(first) is type(other)
    for name in LAYER:
        np.testing.assert_array_equal(getattr(first, name), getattr(other, name))
    np.testing.assert_array_equal(first.law.center, other.law.center)
    np.testing.assert_array_equal(first.law.reaches, other.law.reaches)


@pytest.mark.parametrize("version", KINDS)
def test_what_is_loaded_is_what_was_saved(version, tmp_path):
    X, y, network = fitted(version)
    network.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as archive:
        assert archive["format_version"] == version
    loaded = fastmem.load(tmp_path / "net.npz")
    assert_same_layer(network.first, loaded.first)
    np.testing.assert_array_equal(network.decision_function(X), loaded.decision_function(X))
    np.testing.assert_array_equal(loaded.predict(X), y)
    loaded.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "net.npz").read_bytes()
    assert network.nbytes == (tmp_path / "net.npz").stat().st_size


@pytest.mark.parametrize("projection", ["gaussian", "structured"])
@pytest.mark.parametrize(
    "more",
    [
        {"max_bias": "norms"}, {"max_bias": 0.0, "width": 70}, {"max_bias": 2.5},
        {"center": False}, {"compact": True}, {"max_bias": 1e300, "width": 70},
        {"width": "smallest"}, {"far": 1e9}, {"far": -0.25}, {"width": 200, "complete": True},
    ],
)  # fmt: skip
def test_every_way_to_draw_biases_comes_back(projection, more, tmp_path):
    version = 19 if projection == "gaussian" else 20
    _, _, network = fitted(version, **more)
    network.save(tmp_path / "net.npz")
    loaded = fastmem.load(tmp_path / "net.npz")
    assert_same_layer(network.first, loaded.first)
    # all but targeted rows have theirs from the key
    first = network.first
    lawful = (first.keyed_biases() == first.biases) | (first.rows < 0)
    assert lawful.mean() > (0.9 if isinstance(more.get("width"), int) else 0.3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e300, 1e300, allow_subnormal=True), max_size=6),
    st.integers(-1000, 900),
)
def test_points_as_whole_numbers_are_the_same_points(numbers, exponent):
    for values in (np.array(numbers, float), np.ldexp(np.rint(np.array(numbers) % 512), exponent)):
        stored, power = file_packing._multiples(values)
        back = np.ldexp(stored.astype(np.float64), int(power))
        assert back.tobytes() == values.tobytes()


def test_few_digits_take_few_bytes():
    stored, power = file_packing._multiples(np.array([0.0, 2.5, -12.0]))
    assert stored.dtype == np.int8 and power == -1 and stored.tolist() == [0, 5, -24]


def test_a_point_of_its_own_for_the_filter_is_kept(tmp_path):
    X, _, network = fitted()
    network.first = network.first.about(np.ones(5), 9.0)
    network.save(tmp_path / "net.npz")
    loaded = fastmem.load(tmp_path / "net.npz")
    assert_same_layer(network.first, loaded.first)
    np.testing.assert_array_equal(network.predict(X), loaded.predict(X))


def test_names_scale_and_encoding_are_in_the_same_file(tmp_path):
    pd = pytest.importorskip("pandas")
    X, y = points()
    frame = pd.DataFrame(X, columns=["größe", "", "b\n", "c", "d"])
    network = fastmem.interpolate(frame, y, seed=1, scale=[1, 2, 0.5, 1, 4])
    network.save(tmp_path / "net.npz")
    loaded = fastmem.load(tmp_path / "net.npz")
    assert loaded.feature_names == tuple(frame.columns)
    np.testing.assert_array_equal(loaded.scale, network.scale)
    np.testing.assert_array_equal(loaded.predict(frame), y)


def test_layers_of_other_draws_are_saved_as_before(tmp_path):
    X, y, network = fitted(20)
    first = network.first
    signs = first.signs.copy()
    signs[0, 0, 0] ^= np.uint64(1)
    network.first = StructuredHyperplanes(
        signs, first.rows, first.extra, first.biases, first.origin, first.radius, first.law
    )
    network.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as archive:
        assert archive["format_version"] == 2
    np.testing.assert_array_equal(fastmem.load(tmp_path / "net.npz").first.signs, signs)


def test_biases_of_layers_too_large_to_draw_again_are_stored(tmp_path, monkeypatch):
    _, _, network = fitted()
    network.save(tmp_path / "small.npz")
    monkeypatch.setattr(file_keys, "_MOST_WEIGHTS", 10)
    network.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as archive:
        assert archive["format_version"] == 3
    np.testing.assert_array_equal(fastmem.load(tmp_path / "net.npz").first.biases,
                                  network.first.biases)  # fmt: skip
    with pytest.raises(fastmem.ModelFileError, match="more than 10 weights"):
        fastmem.load(tmp_path / "small.npz")


# Forged files ------------------------------------------------------------------------------------


def forged(path, version, **changes):
    """A file with other arrays, all else and the seal right; an array of None stays."""
    _, _, network = fitted(version)
    network.save(path)
    with np.load(path) as archive:
        facts = json.loads(archive["facts"].tobytes())
        content = archive["arrays"]
    outside = ("format_version", "summary", "inputs", "multiplier")
    names = [n for n in MEMBERS[version] if n not in outside]
    arrays, start = {}, 0
    for name, (kind, *shape) in zip(names, facts["arrays"], strict=True):
        dtype = np.dtype(kind)
        size = int(np.prod(shape)) * dtype.itemsize
        planes = content[start : start + size].reshape(dtype.itemsize, -1)
        plain = np.ascontiguousarray(planes.T).reshape(-1).view(dtype).reshape(shape)
        change = changes.get(name, plain)
        arrays[name] = change(plain) if callable(change) else change
        start += size
    facts["arrays"] = [[a.dtype.str, *a.shape] for a in arrays.values()]
    planes = [
        np.ascontiguousarray(a).reshape(-1).view(np.uint8).reshape(-1, a.itemsize).T.ravel()
        for a in arrays.values()
    ]
    members = {
        "format_version": npy(np.array(version)),
        "facts": npy(np.frombuffer(json.dumps(facts).encode(), np.uint8)),
        "arrays": npy(np.concatenate(planes)),
    }
    return forge(path.with_name("forged.npz"), members)


def test_a_file_put_together_again_is_the_same(tmp_path):
    for version in KINDS:
        loaded = fastmem.load(forged(tmp_path / "net.npz", version))
        assert_same_layer(loaded.first, fitted(version)[2].first)


HOSTILE = {
    "no reach": (19, {"reaches": np.empty(0, "<f4")}, "holds no distances"),
    "reach below 0": (20, {"reaches": np.array([-1.0])}, "holds no distances"),
    "reach not finite": (19, {"reaches": np.array([np.inf])}, "reaches[0] is inf"),
    "huge reach": (19, {"reaches": np.array([1.7e308]), "center": np.full(5, 1e308)}, "not finite"),
    "more own biases": (19, {"own_biases": np.zeros(129)}, "own_biases holds 129"),
    "own beyond": (19, {"own": lambda own: own | np.uint8(255)}, "where own_biases holds"),
    "own too short": (20, {"own": lambda own: own[:-1]}, "own has shape"),
    "own bias not finite": (
        19, {"own_biases": lambda b: np.full(len(b), np.nan)}, "which is not finite",
    ),
    "center of another length": (19, {"center": np.zeros(4, np.int8)}, "center has shape (4,)"),
    "center out of reach": (
        19, {"center": np.ones(5, np.int8), "center_exponent": np.array(2000, np.int16)},
        "center[0] is inf",
    ),
    "origin out of reach": (20, {"origin_exponent": np.array(32000, np.int16)}, "inf"),
    "origin not finite": (20, {"origin": np.full(5, np.nan), "center": np.zeros(5, np.int8)},
                          "not finite"),
    "blocks that fall": (20, {"block_steps": np.array([3, -1], np.int8)}, "does not ascend"),
    "block below 0": (20, {"block_steps": np.array([-1], np.int8)}, "does not ascend"),
    "no blocks": (20, {"block_steps": np.empty(0, np.int8)}, "0 blocks"),
    "many blocks": (20, {"block_steps": np.ones(1 << 17, np.int8)}, "names 131072 blocks"),
    "block beyond": (20, {"block_steps": np.array([2**40])}, "leads to no row"),
    "row beyond": (20, {"row_steps": lambda s: s + (np.arange(len(s)) == 0) * np.int8(100)}, "row"),
}  # fmt: skip


@pytest.mark.parametrize(("version", "changes", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_keys_are_refused(version, changes, expected, tmp_path):
    path = forged(tmp_path / "net.npz", version, **changes)
    with pytest.raises(fastmem.ModelFileError) as caught:
        fastmem.load(path)
    assert expected.split("; ")[0] in str(caught.value)


@pytest.mark.parametrize("version", [19, 20])
def test_no_changed_byte_and_no_cut_goes_unseen(version, tmp_path):
    _, _, network = fitted(version)
    network.save(tmp_path / "net.npz")
    content = (tmp_path / "net.npz").read_bytes()
    path = tmp_path / "bad.npz"
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 60).tolist():
        wrong = bytearray(content)
        wrong[place] ^= 1 << int(rng.integers(8))
        for bad in (bytes(wrong), content[:place]):
            path.write_bytes(bad)
            with pytest.raises(fastmem.ModelFileError):
                fastmem.load(path)


@pytest.mark.parametrize("kind", [SeededHyperplanes, StructuredHyperplanes])
def test_a_law_for_other_points_is_refused(kind):
    first = fitted(19 if kind is SeededHyperplanes else 20)[2].first
    other = fastmem.interpolate(
        *points(d=4), seed=1, width=64, complete=True,
        projection="gaussian" if kind is SeededHyperplanes else "structured",
    ).first  # fmt: skip
    arguments = {name: getattr(first, name) for name in first._defining}
    with pytest.raises(fastmem.InvalidInputError, match=r"center of shape \(4,\)"):
        kind(**arguments | {"law": other.law})
