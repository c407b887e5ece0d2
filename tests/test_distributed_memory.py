"""What the driver of points on shards holds, and what shards have room for."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fastmem.distributed import remote_codes
from fastmem.distributed.fitting import _placing
from fastmem.distributed.fleet import Fleet
from fastmem.distributed.remote_codes import RemoteCodes
from fastmem.distributed.remote_points import RemotePoints
from fastmem.distributed.transport import LocalShards
from fastmem.distributed.window import Window
from fastmem.widths import scaling
from tests.test_distributed import agree, blobs, fit, fit_here, in_units, shards_of


def test_the_window_on_a_billion_points_is_small():
    Window(10**9, np.random.default_rng(3), None, 8).stretch(1000, 10**9)  # compiled
    tracemalloc.start()
    window = Window(10**9, np.random.default_rng(3), None, 8)
    numbers = window.stretch(1000, 10**9)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    assert len(set(numbers.tolist())) == len(numbers) and numbers.max() < 10**9
    again = Window(10**9, np.random.default_rng(3), None, 8)
    np.testing.assert_array_equal(again.stretch(1000, 10**9), numbers)
    some = np.random.default_rng(0).choice(10**9, 1000).astype(np.int32)
    among = Window(10**9, np.random.default_rng(3), np.concatenate([some, numbers[9:90]]), 8)
    assert among.n_members == 1081
    found = among.stretch(10**9, 1000)
    kept = np.isin(found, numbers)
    np.testing.assert_array_equal(found[kept], numbers[9:90])


def placed(X, y, cuts=(90, 200)):
    """Points on two shards, their codes and the transport."""
    transport = LocalShards(shards_of(X, y, cuts, [0, 1], 2))
    fleet = Fleet(transport)
    facts = [fact for some in fleet.ask(("facts",))[0] for fact in some]
    placing = _placing(facts)
    fleet.tell("place", placing)
    return RemotePoints(fleet, placing), RemoteCodes(fleet, placing), transport


def test_codes_of_some_rows_are_fetched(monkeypatch):
    monkeypatch.setattr(remote_codes, "_AT_ONCE", 7)
    X, y = blobs(300)
    _, codes, _ = placed(X, y)
    assert len(codes) == 300 and codes.dtype == np.uint16
    for rows in ([5, 299, 0, 5, 100], np.arange(0), np.arange(60), np.arange(299, -1, -1)):
        found = codes[np.asarray(rows, np.int32)]
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, y[rows])
    np.testing.assert_array_equal(codes[10:40], y[10:40])
    assert codes[201] == y[201] and np.ndim(codes[201]) == 0


def test_a_fit_does_not_gather_codes():
    X, y = blobs(6000)
    transport = LocalShards(shards_of(X, y, [2000], [0, 1], 2))
    asked, call = [], transport.call

    def noted(seqs, messages, restore):
        asked.extend(command[0] for command in messages[0])
        return call(seqs, messages, restore)

    transport.call = noted
    agree(fit(transport, width=200, scale="none"), fit_here(X, y, width=200, scale="none"))
    assert "codes" not in asked and "codes_at" in asked


@pytest.mark.parametrize("looked_at", [40, 150])
def test_the_sample_of_many_points_is_that_of_one_machine(looked_at, monkeypatch):
    monkeypatch.setattr(scaling, "MOST_SHUFFLED", 100)
    monkeypatch.setattr(scaling, "_LOOKED_AT", looked_at)
    monkeypatch.setattr(scaling, "SAMPLE", 60)
    X, y = in_units()
    expected = fit_here(X, y)
    assert expected.report.scale.exponents is not None or looked_at == 40
    agree(fit(LocalShards(shards_of(X, y, [90, 200], [0, 1], 2))), expected)
