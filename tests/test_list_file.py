"""The file of a decision list: what comes back, and what is refused."""

from __future__ import annotations

import hashlib
import json
import math
import time
import tracemalloc
import zlib
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from decision_lists import make_list
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_wine
from test_model_file import LABELS, refusal

import fastmem
from fastmem.errors import ModelFileError
from fastmem.network import file_versions, list_code, list_file, subsets
from fastmem.network.list_code import ListContent, Run, decoded, encoded, mask_order
from fastmem.network.loading import load
from fastmem.network.network import Network
from fastmem.network.range_coder import CodeError, Decoder, Encoder, choice, number, raw
from fastmem.second_layer.cover_layer import CoverLayer

KEPT = Path(__file__).with_name("list_files") / "version-1.npz"
KEPT_SHA256 = "d095f78a30e44aa185e7978ed807ac862930f17a16d59d86f9d56f4c46b79370"
KEPT_WIDTHS = (29, 12)

# Numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k"), [(1, 0), (1, 1), (6, 3), (8, 2), (7, 7)])
def test_sets_are_numbered_in_their_order(n, k):
    sets = sorted(combinations(range(n), k), key=lambda one: one[::-1])
    assert [subsets.rank(one) for one in sets] == list(range(math.comb(n, k)))
    assert [tuple(subsets.members(i, k)) for i in range(len(sets))] == sets


@settings(deadline=None)
@given(st.sets(st.integers(0, 2**200), max_size=40), st.sets(st.integers(0, 8191), max_size=64))
def test_any_set_comes_back(large, small):
    for one in (sorted(large), sorted(small)):
        assert subsets.members(subsets.rank(one), len(one)) == one


@settings(deadline=None)
@given(st.integers(1, 2**300), st.integers(2, 255))
def test_the_root_is_the_largest_whole_number(value, i):
    root = subsets._root(value, i)
    assert root**i <= value < (root + 1) ** i


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_digits_come_back_from_one_number(data):
    radices = data.draw(st.lists(st.integers(1, 2**2000) | st.integers(1, 9), max_size=60))
    digits = [(data.draw(st.integers(0, radix - 1)), radix) for radix in radices]
    packed = subsets.pack(digits)
    assert len(packed) == subsets.packed_size(radices)
    assert list(subsets.unpack(packed, radices)) == [value for value, _ in digits]
    assert len(packed) <= sum(math.log2(radix) for radix in radices) / 8 + 1 + len(packed) // 4096


def test_many_digits_are_cut_into_chunks():
    digits = [(i * 7919 % 2**100, 2**100) for i in range(2000)]
    packed = subsets.pack(digits)
    assert list(subsets.unpack(packed, [2**100] * 2000)) == [value for value, _ in digits]
    assert 25_000 <= len(packed) <= 25_010


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 2**40), st.integers(0, 9)), max_size=200
    ),
    st.binary(max_size=9),
)
def test_a_range_coder_gives_back_what_it_took(values, after):
    def run(coder, given):
        found = []
        for name, value, small in given:
            found.append((name, number(coder, name, value), choice(coder, ("c", name), small, 10)))
            raw(coder, value & 255, 8)
        return found

    encoder = Encoder()
    assert run(encoder, values) == values
    written = encoder.finished()
    assert run(Decoder(written + after), [(name, 0, 0) for name, *_ in values]) == values


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_range_coder_takes_little_more_than_the_entropy(share):
    bits = np.random.default_rng(0).random(20_000) < share
    encoder = Encoder()
    for bit in bits.tolist():
        encoder.bit("context", int(bit))
    p = bits.mean()
    entropy = -(p * math.log2(p) + (1 - p) * math.log2(1 - p)) * len(bits) / 8
    assert len(encoder.finished()) < 1.02 * entropy + 12


def test_carries_go_through_bytes_that_are_full():
    """Bits of probabilities near 0 and 1, so that the low end grows across long runs of 255."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        bits = (rng.random(400) < 0.999).tolist()
        encoder = Encoder()
        for i, bit in enumerate(bits):
            encoder.bit(i % 3, int(bit))
        decoder = Decoder(encoder.finished())
        assert [decoder.bit(i % 3, 0) for i in range(400)] == bits


# Content ------------------------------------------------------------------------------------------


def random_content(rng, n_runs=6, n_keyed=200, d=9, n_extra=0, many=0, long=0):
    n_rows = n_keyed + n_extra
    runs, before = [], -1
    for r in range(n_runs):
        owner = int(rng.choice([c for c in range(4) if c != before]))
        before = owner
        masks = set()
        for _ in range(max(1, many) if r == 1 else int(rng.integers(1, 6))):
            size = 2 if r == 1 else int(rng.integers(0, 9))
            masks.add(tuple(sorted(rng.choice(n_rows, size, replace=False).tolist())))
        if r == 2 and long:
            masks.add(tuple(sorted(rng.choice(n_rows, long, replace=False).tolist())))
        runs.append(Run(owner, sorted(masks, key=mask_order)))
    return ListContent(
        int(rng.integers(2**63)), 10, 0.5, -2.25, 0.125, rng.integers(0, 4, d).astype(np.uint8),
        n_keyed, n_extra, 4, int(rng.integers(4)), runs, 12345, 7000, 17,
    )  # fmt: skip


def same(a, b):
    return {**vars(a), "codes": a.codes.tolist()} == {**vars(b), "codes": b.codes.tolist()}


@pytest.mark.parametrize(
    "shape",
    [
        {}, {"n_runs": 0}, {"many": 40}, {"many": 3000}, {"long": 64}, {"long": 65},
        {"long": 190}, {"n_extra": 3, "d": 2}, {"n_keyed": 2**31, "many": 300}, {"d": 400},
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(3))
def test_content_comes_back(shape, seed):
    content = random_content(np.random.default_rng(seed), **shape)
    stream, masks = encoded(content)
    found, used = decoded(stream + masks + bytes(range(200)) * 2)
    assert used == len(stream) + len(masks)
    assert same(found, content)


def test_masks_that_are_neighbours_are_written_row_by_row():
    """Thousands of masks in a tiny part of all: no cut into parts of equal length tells them."""
    masks = [(0, 1, 2, 3, 4, 5, 6, 7 + i) for i in range(400)]
    content = random_content(np.random.default_rng(0), n_runs=1, n_keyed=2**20)
    content.runs = [Run(2, sorted(masks, key=mask_order))]
    stream, packed = encoded(content)
    assert same(decoded(stream + packed + bytes(9))[0], content)
    assert len(stream) + len(packed) < 8 * 400


def test_sets_take_what_information_theory_says():
    rng = np.random.default_rng(1)
    masks = {tuple(sorted(rng.choice(8192, 8, replace=False).tolist())) for _ in range(1000)}
    content = random_content(rng, n_runs=1, n_keyed=8192)
    content.runs = [Run(0, sorted(masks, key=mask_order))]
    stream, packed = encoded(content)
    least = subsets.log2_sets(8192, 8) * 1000 - math.lgamma(1001) / math.log(2)
    assert len(stream) + len(packed) < 1.02 * least / 8 + 40


# Files --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400], y[:400]


@pytest.fixture(scope="module")
def network(digits):
    return make_list(*digits)


def assert_same_list(a: Network, b: Network, X) -> None:
    assert a.classes_.dtype == b.classes_.dtype
    np.testing.assert_array_equal(a.classes_, b.classes_)
    assert (a.default, a.feature_names, a.summary) == (b.default, b.feature_names, b.summary)
    np.testing.assert_array_equal(a.scale, b.scale)
    assert (a.encoding is None) == (b.encoding is None)
    np.testing.assert_array_equal(a.predict(X), b.predict(X))
    np.testing.assert_array_equal(a.decision_function(X), b.decision_function(X))


def assert_comes_back(network, path, X):
    network.save(path)
    content = path.read_bytes()
    assert network.nbytes == len(content)
    loaded = load(path)
    assert_same_list(network, loaded, X)
    loaded.save(path)
    assert path.read_bytes() == content
    return loaded


def resealed(content: bytes) -> bytes:
    """The checksum made right, as whoever forges a file would."""
    return content[:-4] + zlib.crc32(content[:-4]).to_bytes(4, "little")


def test_invariant_1_a_list_survives_save_and_load(network, digits, tmp_path):
    X, y = digits
    loaded = assert_comes_back(network, tmp_path / "list.npz", X)
    assert loaded.decision == "list" and loaded.report is None
    np.testing.assert_array_equal(loaded.predict(X), y)
    np.testing.assert_array_equal(loaded.first.rows, network.first.rows)
    np.testing.assert_array_equal(loaded.first.biases, network.first.biases)


def test_a_file_is_smaller_than_its_labels_are(network, digits):
    counts = np.bincount(digits[1])
    entropy = -np.sum(counts * np.log2(counts / counts.sum())) / 8
    assert network.nbytes < 0.8 * entropy
    # magic, version, key, numbers of the first layer, checksum
    first = replace(list_file._content(network._parts(), network.first)[0], runs=[])
    first.codes = np.zeros(64, np.uint8)
    assert len(encoded(first)[0]) + 9 <= 32


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_labels_of_every_kind_come_back(labels, digits, tmp_path):
    X, y = digits
    names = labels[np.minimum(y, len(labels) - 1)]
    network = make_list(X, names, n=512, n_extra=10)
    assert_comes_back(network, tmp_path / "list.npz", X)


def test_labels_without_a_name_cost_nothing(network, tmp_path):
    other = Network(
        network.classes_ + 1, network.first, network.second, network.covered,
        default=network.default,
    )  # fmt: skip
    assert other.nbytes > network.nbytes + 20


def test_what_is_described_comes_back(tmp_path):
    X, y = load_wine(return_X_y=True)
    scale = 2.0 ** -np.rint(np.log2(X.std(axis=0)))
    names = [f"größe {k}" for k in range(X.shape[1])]
    summary = {"n_samples": 178, "label_entropy": 1.5, "fastmem": "0.1.0", "x": None, "y": True}
    network = make_list(X, y, n=128, scale=scale, feature_names=names, summary=summary)
    loaded = assert_comes_back(network, tmp_path / "list.npz", X)
    assert loaded.summary == summary


def test_an_encoding_comes_back(tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.standard_normal(60), "b": rng.choice(["x", "ü", "z"], 60)})
    y = ((frame["a"] > 0) ^ (frame["b"] == "x")).to_numpy().astype(int)
    encoding = fastmem.interpolate(frame, y, encode=True, seed=0).encoding
    network = make_list(encoding.transform(frame), y, n=512, n_extra=60, encoding=encoding)
    np.testing.assert_array_equal(network.predict(frame), y)
    loaded = assert_comes_back(network, tmp_path / "list.npz", frame)
    assert loaded.encoding.to_dict() == encoding.to_dict()


def test_a_summary_of_a_count_and_an_entropy_takes_few_bytes(network, digits, tmp_path):
    parts = network.classes_, network.first, network.second, network.covered
    entropy = 13_597 / 4096
    summary = {"n_samples": 20_000, "label_entropy": entropy}
    short = Network(*parts, summary=summary, default=network.default)
    assert short.nbytes <= network.nbytes + 7
    assert_comes_back(short, tmp_path / "list.npz", digits[0])
    for summary in ({"n_samples": -1}, {"label_entropy": 0.1}, {"n_samples": True}, {"a": "b"}):
        long = Network(*parts, summary=summary, default=network.default)
        assert_comes_back(long, tmp_path / "list.npz", digits[0])


def test_stored_rows_come_back(tmp_path):
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((60, 3)), rng.integers(0, 3, 60)
    network = make_list(X, y, n=4, n_extra=60)
    assert len(network.first.extra)
    assert_comes_back(network, tmp_path / "list.npz", X)


def test_a_first_layer_of_another_kind_is_stored(network, digits, tmp_path):
    stored = Network(
        network.classes_, network.first.explicit, network.second, network.covered,
        default=network.default,
    )  # fmt: skip
    stored.save(tmp_path / "list.npz")
    assert_same_list(stored, load(tmp_path / "list.npz"), digits[0])


def test_order_in_runs_rows_without_use_and_repeated_neurons_are_left_out(network, digits):
    second, n = network.second, len(network.first)
    order = np.lexsort(
        (np.arange(len(second))[::-1], np.cumsum(np.diff(second.owners, prepend=-1) != 0))
    )
    order = np.sort(np.append(order, 0)) if len(order) == 0 else np.insert(order, 0, order[0])
    first = network.first.numbered(np.append(network.first.rows, np.int32(9999)))
    masks = np.zeros((len(order), first.n_words), np.uint64)
    masks[:, : second.masks.shape[1]] = second.masks[order]
    more = CoverLayer(masks, np.ones(len(order), np.int32), second.owners[order])
    other = Network(network.classes_, first, more, network.covered, default=network.default)
    assert len(other.first) == n + 1
    assert list_file.contents(other._parts()) == list_file.contents(network._parts())
    np.testing.assert_array_equal(
        other.decision_function(digits[0]), network.decision_function(digits[0])
    )


def test_an_empty_list_comes_back(network, tmp_path):
    none = CoverLayer(
        np.empty((0, network.first.n_words), np.uint64), np.empty(0, np.int32),
        np.empty(0, np.int32),
    )  # fmt: skip
    empty = Network(network.classes_, network.first, none, (), default=4)
    loaded = assert_comes_back(empty, tmp_path / "list.npz", np.zeros((3, 64)))
    assert loaded.widths == (1, 0)


def test_every_flipped_bit_is_refused(network, tmp_path):
    path = tmp_path / "list.npz"
    network.save(path)
    content = path.read_bytes()
    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            load(path)


def test_every_truncation_is_refused(network, tmp_path):
    path = tmp_path / "list.npz"
    network.save(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refusal(path)
    for damaged in (content + b"\0", content[1:], b"\0" + content, content * 2):
        path.write_bytes(damaged)
        refusal(path)


def test_flipped_bits_under_a_right_checksum_are_refused_or_another_list(network, digits, tmp_path):
    path = tmp_path / "list.npz"
    network.save(path)
    content = path.read_bytes()
    n_read = 0
    for place in range(32, 8 * len(content) - 32, 7):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(resealed(bytes(damaged)))
        try:
            loaded = load(path)
        except ModelFileError:
            continue
        n_read += 1
        assert np.isin(loaded.predict(np.zeros((2, loaded.n_features_in_))), loaded.classes_).all()
        loaded.save(path)
        assert path.read_bytes() == resealed(bytes(damaged))
    assert n_read > 20


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_random_damage_under_a_right_checksum(data, network, tmp_path_factory):
    content = bytearray(list_file.contents(network._parts()))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = min(len(content), start + data.draw(st.integers(0, 40)))
        content[start:stop] = data.draw(st.binary(max_size=40))
    path = tmp_path_factory.mktemp("damage") / "list.npz"
    path.write_bytes(resealed(bytes(content)))
    try:
        loaded = load(path)
    except ModelFileError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return
    loaded.predict(np.zeros((2, loaded.n_features_in_)))


def forged(content: ListContent, description: bytes = b"", rest: bytes = b"") -> bytes:
    """A file of some content, its checksum right."""
    stream, masks = encoded(content)
    body = file_versions.LIST_MAGIC + bytes([1]) + stream + masks + rest + description
    return body + zlib.crc32(body).to_bytes(4, "little")


def small_content(**changed) -> ListContent:
    content = ListContent(
        key=5, n_entries=3, reach=0.5, codes=np.zeros(4, np.uint8), n_keyed=8, n_classes=3,
        runs=[Run(1, [(0, 7)]), Run(0, [(1, 2, 3)])],
    )  # fmt: skip
    return replace(content, **changed)


def written(values) -> bytes:
    """A stream of numbers that no content has: [(kind, name, value[, n])]."""
    coder = Encoder()
    for kind, *arguments in values:
        kinds = {"number": number, "raw": raw, "choice": choice, "bit": Encoder.bit}
        kinds[kind](coder, *arguments)
    return coder.finished()


def test_a_forged_file_like_a_written_one_is_read(tmp_path):
    path = tmp_path / "list.npz"
    path.write_bytes(forged(small_content()))
    assert load(path).widths == (5, 2)


HOSTILE = {
    "many runs": ({"runs": [Run(i % 2, [()]) for i in range(3000)]}, "no room|cut|masks"),
    "rows without use": ({"n_keyed": 9}, "no neuron uses"),
    "entries": ({"n_entries": 65_536}, "n_entries"),
    "many entries": ({"n_entries": 2**44}, "unpack"),
    "classes": ({"n_classes": 2**40}, "classes"),
    "negative reach": ({"reach": -1.0}, "reach"),
    "stored rows that are not there": ({"n_extra": 1}, "no neuron uses|room"),
    "many stored rows": ({"n_extra": 2**40}, "no room"),
    "a description that is not there": ({"n_described": 7}, "describe"),
}


@pytest.mark.parametrize(("changed", "words"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_contents_are_refused_in_bounded_memory_and_time(changed, words, tmp_path):
    path = tmp_path / "list.npz"
    path.write_bytes(forged(small_content(**changed)))
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ModelFileError, match=words):
        load(path)
    took, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 5 and peak < 100 << 20, (took, peak)
    assert refusal(path)


COUNTS = {
    "rows": (2**47, "numbers up to"),
    "stored": (2**47, "no room"),
    "runs": (2**47, "."),
    "features": (2**47, "features"),
    "reach": (0x7F80, "inf"),
    "low": (0x7FC0, "nan"),
    "key": (9, "key"),
    "levels": (9, "bits"),
    "step": (0xFF80, "-inf"),
    "origin": (2**16 + 1, "codes for"),
    "masks": (2**47, "no room"),
    "size": (2**47, "rows"),
    "classes": (2**48 - 3, "."),
}


@pytest.mark.parametrize("name", COUNTS)
def test_forged_counts_make_no_large_numbers(name):
    """Each count as large as it can be written, in a file of some bytes."""
    values = {
        "key": 0, "reach": 0x3F00, "low": 0, "features": 4, "levels": 0, "rows": 2**31,
        "stored": 0, "classes": 1, "runs": 3, "masks": 2, "size": 60,
    }  # fmt: skip
    values[name], words = COUNTS[name]
    if name in ("step", "origin"):
        values |= {"levels": 2, "features": values.get("origin", 4)}
    stream = written([
        ("number", "key", values["key"]), *[("raw", 1, 8)] * values["key"],
        ("number", "entries", 2), ("bit", "short", 1), ("raw", values["reach"], 16),
        ("bit", "short", 1), ("raw", values["low"], 16),
        ("number", "features", values["features"] - 1), ("number", "levels", values["levels"]),
        *[("bit", "short", 1), ("raw", values.get("step", 0), 16)] * (values["levels"] > 0),
        ("number", "rows", values["rows"]), ("number", "stored", values["stored"]),
        ("number", "classes", values["classes"]),
        ("choice", "default", 0, values["classes"] + 2),
        ("raw", 0, 2), ("number", "described", 0), ("number", "runs", values["runs"]),
        ("choice", "first class", 0, values["classes"] + 2),
        ("number", "masks", values["masks"]), ("number", "size", values["size"]),
    ])  # fmt: skip
    start = time.process_time()
    tracemalloc.start()
    with pytest.raises(CodeError, match=words):
        decoded(stream + bytes(range(200)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - start < 5 and peak < 20 << 20


def deflated(text: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(text) + packer.flush()


DESCRIPTIONS = {
    b"{}": "not a JSON object of", b"[]": "not a JSON object of", b"{": "no JSON",
    b'{"key": 1}': "not a JSON object of", b'{"summary": [1]}': "summary is not",
    b'{"summary": {"a": [1]}}': "entry 'a'", b'{"feature_names": ["a"]}': "1 names for 4",
    b'{"scale": [1, 2]}': "scale holds 2", b'{"scale": [1, 2, 3, 9999]}': "9999",
    b'{"encoding": {"a": 1}}': "encoding is none", b'{"encoding": 3}': "encoding",
    b'{"classes": 1}': "not a pair", b'{"classes": ["<i8", [1, 2]]}': "2 labels instead of 3",
    b'{"classes": ["<i8", [1, 2, 2]]}': "ascend", b'{"classes": ["<i8", [1, 2, 3.5]]}': "dtype",
    b'{"classes": ["|O", [1, 2, 3]]}': "dtype", b'{"classes": ["<i1", [1, 2, 300]]}': "cannot",
    b'{"classes": ["<U9", ["a", "b", "c"]]}': "<U9", b'{"classes": [3, [1, 2, 3]]}': "dtype",
    b'{"classes": ["<U1", ["a", "b", 3]]}': "dtype", b'{"classes": ["|b1", [1, 2, 3]]}': "dtype",
    b'{"classes": ["<f4", [0.1, 0.2, 0.3]]}': "cannot", b"\xff": "UTF-8",
    b'{"classes": ["<U1", ["a", "b", ""]]}': "ascend|cannot",
}  # fmt: skip


@pytest.mark.parametrize("text", DESCRIPTIONS)
def test_hostile_descriptions_are_refused(text, tmp_path):
    path = tmp_path / "list.npz"
    packed = deflated(text)
    path.write_bytes(forged(small_content(n_described=len(packed)), packed))
    with pytest.raises(ModelFileError, match=DESCRIPTIONS[text]):
        load(path)
    assert refusal(path)


@pytest.mark.parametrize("packed", [b"\0\1\2", deflated(b'{"scale": null}') + b"x", b"\xff" * 9])
def test_descriptions_that_are_not_packed_are_refused(packed, tmp_path):
    path = tmp_path / "list.npz"
    path.write_bytes(forged(small_content(n_described=len(packed)), packed))
    assert refusal(path)


def test_a_bomb_is_not_unpacked(tmp_path):
    packed = deflated(b'{"summary": {"a": "' + b"x" * (200 << 20) + b'"}}')
    path = tmp_path / "list.npz"
    path.write_bytes(forged(small_content(n_described=len(packed)), packed))
    tracemalloc.start()
    with pytest.raises(ModelFileError, match="longer"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 160 << 20


def test_newer_versions_ask_for_an_upgrade(network, tmp_path):
    path = tmp_path / "list.npz"
    content = bytearray(list_file.contents(network._parts()))
    content[4] = 2
    path.write_bytes(resealed(bytes(content)))
    with pytest.raises(ModelFileError, match="upgrade fastmem"):
        load(path)


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "list.npz"
    with open(path, "wb") as file:
        file.write(file_versions.LIST_MAGIC)
        file.truncate(1 << 30)
    with pytest.raises(ModelFileError, match="more than a decision list's"):
        load(path)


def test_wider_lists_than_a_file_holds_are_not_saved(network, tmp_path, monkeypatch):
    monkeypatch.setattr(list_file, "MOST_FEATURES", 63)
    with pytest.raises(ModelFileError, match="features"):
        network.save(tmp_path / "list.npz")
    assert not (tmp_path / "list.npz").exists()


def test_a_file_of_the_first_version_is_read_for_ever(tmp_path):
    """Made by make_list on `kept_points`, with stored rows, names and labels of text."""
    content = KEPT.read_bytes()
    assert hashlib.sha256(content).hexdigest() == KEPT_SHA256, "the file itself was changed"
    network = load(KEPT)
    X, y = kept_points()
    np.testing.assert_array_equal(network.predict(X), y)
    assert network.feature_names == ("a", "b", "ü") and network.widths == KEPT_WIDTHS
    assert network.summary == {"n_samples": 50, "label_entropy": 1.5, "by": "the first commit"}
    again = Network(
        network.classes_, network.first, network.second, network.covered, None, network.summary,
        network.feature_names, network.scale, default=network.default,
    )  # fmt: skip
    again.save(tmp_path / "again.npz")
    stop = len(content) - 4 - len(list_file._description(again._parts()))
    assert (tmp_path / "again.npz").read_bytes()[:stop] == content[:stop]  # before what is deflated


def kept_points():
    rng = np.random.default_rng(8)
    return rng.standard_normal((50, 3)), np.array(["no", "so", "yes"])[rng.integers(0, 3, 50)]


def test_the_description_is_plain_json(network):
    named = Network(
        network.classes_, network.first, network.second, network.covered, default=network.default,
        feature_names=[f"f{k}" for k in range(64)],
    )  # fmt: skip
    text = zlib.decompress(list_file._description(named._parts()), -15)
    assert json.loads(text) == {"feature_names": [f"f{k}" for k in range(64)]}
    assert fastmem.load is load and list_code.MOST_FEATURES >= 1 << 20
