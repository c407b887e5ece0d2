"""Patterns in a temporary file: the same bits, within the limit, and nothing left behind."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest

import fastmem
from fastmem import datasets, inputs
from fastmem.kernels.layout import TILE
from fastmem.patterns import tile_store
from fastmem.patterns.tile_store import TileStore


@pytest.fixture
def tight(monkeypatch):
    """Let a limit of 32 bytes a point leave no room for patterns."""
    monkeypatch.setattr(inputs.settings, "MEMORY_BESIDE", 0)


@pytest.mark.parametrize("budget_bytes", [None, 0, 5 * 3 * TILE * 8])
@pytest.mark.parametrize("window", [1, 10_000, 1 << 20])
def test_widening_keeps_the_bits_and_clears_the_rest(budget_bytes, window, monkeypatch):
    monkeypatch.setattr(tile_store, "WINDOW_BYTES", window)
    rng = np.random.default_rng(window)
    store = TileStore(5, 2, budget_bytes)
    assert not store.tiles.any()
    for n_words, kept in [(3, 2), (4, 1), (4, 4), (11, 3), (12, 0)]:
        bits = rng.integers(2**64, size=store.tiles.shape, dtype=np.uint64)
        store.tiles[:] = bits
        store.release(store.tiles[1:3])
        store.widen(n_words, kept)
        assert store.tiles.shape == (5, n_words, TILE)
        np.testing.assert_array_equal(store.tiles[:, :kept], bits[:, :kept])
        assert not store.tiles[:, kept:].any()
    assert (store.file_bytes > 0) == (budget_bytes is not None)


def test_releasing_pages_loses_nothing():
    store = TileStore(40, 3, 0)
    store.tiles[:] = np.arange(store.tiles.size, dtype=np.uint64).reshape(store.tiles.shape)
    for start in range(0, 40, 7):
        store.release(store.tiles[start : start + 7])
    np.testing.assert_array_equal(store.tiles.reshape(-1), np.arange(store.tiles.size))


@pytest.mark.filterwarnings("ignore::fastmem.UnseparatedWarning")
@pytest.mark.parametrize("selection", ["merge", "random"])
@pytest.mark.parametrize("width", [150, "auto"])
def test_the_network_is_the_same(width, selection, tight, monkeypatch):
    X, y = datasets.random_labels(3000, 4)
    y[:300] += 2
    settings = {"width": width, "selection": selection, "seed": 1, "n_threads": 2}
    expected = fastmem.interpolate(X, y, **settings)
    monkeypatch.setattr(tile_store, "WINDOW_BYTES", 1 << 15)  # windows of a few tiles
    found = fastmem.interpolate(X, y, **settings, memory_limit=32 * 3000)
    assert found.report.file_bytes > 0 == expected.report.file_bytes
    for layer, names in (("first", ("weights", "biases")), ("second", ("masks", "thresholds"))):
        for name in names:
            np.testing.assert_array_equal(
                getattr(getattr(found, layer), name), getattr(getattr(expected, layer), name)
            )


def test_the_file_is_where_tmpdir_says_and_has_no_name(tmp_path, tight, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []

    def look(stage, done, total, neurons):
        seen.append((stage, os.listdir(tmp_path), _open_files(tmp_path)))

    X, y = datasets.two_moons(2000)
    fastmem.interpolate(X, y, width=200, seed=0, memory_limit=64_000, progress=look)
    assert {stage for stage, _, _ in seen} == {"patterns", "neurons"}
    assert all(not names for _, names, _ in seen)
    if os.path.isdir("/proc/self/fd"):
        assert any(files for _, _, files in seen)
        assert not _open_files(tmp_path)


def _open_files(place):
    if not os.path.isdir("/proc/self/fd"):
        return []
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return [link for link in links if link.startswith(str(place))]


SENTENCE = (
    r"sign patterns of [\d,]+ bytes exceed memory_limit and go to .*, but there is no room; "
    r"make room there, set TMPDIR to another directory, or raise memory_limit"
)


def test_a_full_disk_is_one_sentence_before_the_work(tight, monkeypatch):
    X, y = datasets.two_moons(2000)
    settings = {"width": 200, "seed": 0, "memory_limit": "64 KB"}
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=50_000))
    with pytest.raises(fastmem.InvalidInputError) as caught:
        fastmem.interpolate(X, y, **settings)
    assert re.fullmatch(SENTENCE, str(caught.value))
    monkeypatch.undo()
    monkeypatch.setattr(inputs.settings, "MEMORY_BESIDE", 0)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(fastmem.InvalidInputError) as caught:
        fastmem.interpolate(X, y, **settings)
    assert re.fullmatch(SENTENCE, str(caught.value))
