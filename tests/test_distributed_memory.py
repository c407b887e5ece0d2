"""What the driver of points on shards holds, and what shards have room for."""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from fastmem import datasets, fit_memory
from fastmem.distributed import remote_codes, window
from fastmem.distributed.fitting import _placing
from fastmem.distributed.fleet import Fleet
from fastmem.distributed.numbering import Placing
from fastmem.distributed.parts import Part
from fastmem.distributed.remote_codes import RemoteCodes
from fastmem.distributed.remote_points import RemotePoints
from fastmem.distributed.shard import Shard
from fastmem.distributed.transport import LocalShards
from fastmem.distributed.window import Window
from fastmem.errors import NotEnoughMemoryError
from fastmem.machine.memory import available
from fastmem.problem import checked_problem
from fastmem.second_layer import merged_cells, random_order
from fastmem.widths import scaling
from tests.test_distributed import (
    agree,
    blobs,
    coins,
    fit,
    fit_here,
    in_units,
    losing,
    shards_of,
)


def test_the_window_on_a_billion_points_is_small():
    Window(10**9, np.random.default_rng(3), None, 8).stretch(1000, 10**9)  # compiled
    tracemalloc.start()
    whole = Window(10**9, np.random.default_rng(3), None, 8)
    numbers = whole.stretch(1000, 10**9)
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


@pytest.mark.parametrize("most_shuffled", [10, 10**6])
@pytest.mark.parametrize(
    "parameters",
    [
        dict(width=120), dict(width=120, selection="random"), dict(selection="random"),
        dict(width=9, selection="random"), dict(margin=0.3, width=200),
    ],
    ids=str,
)  # fmt: skip
def test_windows_that_ask_what_is_open_give_the_same_network(
    parameters, most_shuffled, monkeypatch
):
    monkeypatch.setattr(random_order, "MOST_SHUFFLED", most_shuffled)
    monkeypatch.setattr(merged_cells, "_POOL_WORDS", 600)
    X, y = blobs(2000)
    expected = fit_here(X, y, **parameters)
    shards = shards_of(X, y, [40, 1500], [0, 1, 2], 3)
    monkeypatch.setattr(window, "_MOST_WALKED", 20)
    monkeypatch.setattr(window, "_LEAST", 5)
    monkeypatch.setattr(window, "_MOST", 37)
    n_asked, narrow = [], Window.narrow

    def noted(self, numbers):
        n_asked.append(len(numbers))
        narrow(self, numbers)

    monkeypatch.setattr(Window, "narrow", noted)
    for sparse in (2, 1):
        monkeypatch.setattr(window, "_SPARSE", sparse)
        transport = LocalShards(shards, losing(sparse))
        agree(fit(transport, **parameters), expected)
    if "random" in parameters.values() and parameters.get("width") != 9:  # where most points fail
        assert n_asked


def test_not_all_numbers_of_a_class_are_sent_to_find_the_last_open_points(monkeypatch):
    monkeypatch.setattr(merged_cells, "_POOL_WORDS", 4000)
    X, y = datasets.two_moons(100_000, seed=1)
    transport = LocalShards(shards_of(X, y, [30_000], [0, 1], 2))
    peeked, call = [], transport.call

    def noted(seqs, messages, restore):
        peeked.extend(len(command[2]) for command in messages[0] if command[0] == "peek")
        return call(seqs, messages, restore)

    transport.call = noted
    fit(transport, width=256, scale="none")
    assert 0 < sum(peeked) < len(y) / 4


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


def short_of(monkeypatch, free, processes=None):
    """Let shards see so many free bytes, each in a process of its own, and any need be compared."""
    processes = processes or itertools.count()
    monkeypatch.setattr(fit_memory, "UNCHECKED", 0)
    monkeypatch.setattr("fastmem.distributed.shard.available", lambda limit: (free, "are free"))
    monkeypatch.setattr(
        "fastmem.distributed.shard._this_process", lambda: f"process {next(processes)}"
    )


def test_a_shard_without_room_is_refused_before_the_work(monkeypatch):
    X, y = blobs(300)
    shards = shards_of(X, y, [100], [0, 1], 3)
    short_of(monkeypatch, 41 << 20)
    fit(LocalShards(shards), width=120)
    short_of(monkeypatch, 40 << 20)
    transport = LocalShards(shards)
    room = Shard.room
    monkeypatch.setattr(Shard, "room", lambda self: room(self)._replace(name="tcp://1.2.3.4:5"))
    words = (
        r"^shard 1 on tcp://1\.2\.3\.4:5 takes up to 42 MB of memory for its 200 points with 120 "
        r"hyperplanes, but 42 MB are free \(and 2 others have too little\); fit on more workers"
    )
    with pytest.raises(NotEnoughMemoryError, match=words):
        fit(transport, width=120)
    with pytest.raises(NotEnoughMemoryError, match=r"\(and 1 other has too little\)"):
        fit(LocalShards(shards_of(X, y, [100], [0, 1], 2)), width=120)
    assert transport.n_rounds == 4  # a number, facts, places and rooms; some rows, which may repeat


def test_a_shard_is_asked_for_room_before_the_width_grows(monkeypatch):
    X, y = coins(600, 4)
    transport = LocalShards(shards_of(X, y, [50], [0, 1], 2))
    expected = fit_here(X, y, scale="none")
    assert [step.width for step in expected.report.growth[:3]] == [64, 128, 192]
    short_of(monkeypatch, 10**9)
    n_asked, at = 0, []

    def shrinking(limit):
        nonlocal n_asked
        n_asked += 1
        # two shards before the work, before 128 and before 192 hyperplanes
        return (10**9 if n_asked <= 4 else 100), "are left to this worker"

    monkeypatch.setattr("fastmem.distributed.shard.available", shrinking)
    words = r"^shard 1 takes up to 0 MB of memory for its 550 points with 192 hyperplanes, but"
    with pytest.raises(NotEnoughMemoryError, match=words):
        fit(transport, scale="none", progress=lambda *done: at.append(done))
    assert n_asked == 6
    assert at[-1][0] == "hyperplanes"


def test_shards_of_one_process_have_its_memory_together(monkeypatch):
    """As after the loss of a worker."""
    X, y = blobs(300)
    shards = shards_of(X, y, [100, 180], [0, 1, 2], 3)
    processes = itertools.cycle(["a", "b", "a"])
    short_of(monkeypatch, 83 << 20, processes)
    fit(LocalShards(shards), width=120)
    free = 41 << 20  # as each shard alone takes
    monkeypatch.setattr("fastmem.distributed.shard.available", lambda limit: (free, "are free"))
    words = (
        r"^shards 0 and 2 take up to 84 MB of memory for their 220 points with 120 hyperplanes, "
        r"but 43 MB are free; fit on more workers"
    )
    processes = itertools.cycle(["a", "b", "a"])
    monkeypatch.setattr("fastmem.distributed.shard._this_process", lambda: next(processes))
    with pytest.raises(NotEnoughMemoryError, match=words):
        fit(LocalShards(shards), width=120)
    room = Shard.room
    monkeypatch.setattr(Shard, "room", lambda self: room(self)._replace(name="w", process="c"))
    words = r"^shards 0, 1 and 2 on w take up to 126 MB .* for their 300 points .* 43 MB are free; "
    with pytest.raises(NotEnoughMemoryError, match=words):
        fit(LocalShards(shards), width=120)


def test_rooms_say_in_which_process_they_are():
    X, y = blobs(30)
    points, _, _ = placed(X, y, [10])
    one, other = points.elsewhere.rooms()
    assert one.process == other.process
    assert (one.shard, other.shard) == (0, 1)
    child = "from fastmem.distributed.shard import _this_process; print(_this_process())"
    other = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, check=True, text=True
    )
    assert len(other.stdout) > 32 and other.stdout.strip() != one.process


def test_a_worker_that_is_over_its_limit_has_no_memory_left(monkeypatch):
    X, y = blobs(300)
    short_of(monkeypatch, -(10**9))
    words = (
        r"^shard 0 takes up to 42 MB .* points with 120 hyperplanes, but 0 MB are free \(and 1 oth"
    )
    with pytest.raises(NotEnoughMemoryError, match=words):
        fit(LocalShards(shards_of(X, y, [150], [0, 1], 2)), width=120)


def test_a_limit_of_the_worker_counts():
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # gigabytes after other tests
    limit = used + 10**9
    left, where = available(limit)
    assert 0 < left < limit and where == "are left to this worker"
    X, y = blobs(30)
    shard = Shard([Part(0, X, y)], memory_limit=limit, name="w")
    placing = Placing(np.arange(4), 6, "float64", np.bincount(y)[None])
    room = shard.run(0, [("place", placing), ("room",)])[1]
    assert (room.name, room.n_samples, room.n_threads) == ("w", 30, 1)
    assert 0 < room.free < limit


def test_what_a_shard_takes_grows_with_its_points_and_the_width():
    X, y = blobs(60)
    settings = checked_problem(X, y, width=64).settings
    shape = fit_memory.FitShape(10**6, 6, 6, False, 4, None)
    one = fit_memory.elsewhere_bytes(shape, settings, 512, 1)
    assert one >= 10**6 * 512 // 8
    assert fit_memory.elsewhere_bytes(shape, settings, 1024, 1) - one >= 10**6 * 512 // 8
    more = fit_memory.elsewhere_bytes(shape._replace(n_samples=2 * 10**6), settings, 512, 1)
    assert more - one >= 10**6 * 512 // 8


def test_sums_of_a_vote_count_where_the_points_are():
    X, y = blobs(60)
    shape = fit_memory.FitShape(10**6, 6, 6, False, 4, None)
    settings = checked_problem(X, y, decision="vote").settings
    one = fit_memory.elsewhere_bytes(shape, settings, 64, 1)
    for n in (512, 4096):
        products = 8 * n * (n + 5)
        more = fit_memory.elsewhere_bytes(shape, settings, 64, 1, n) - one
        # what is sent of them, features and blocks of points come to it
        assert products + 48 * 10**6 < more < 3 * products + 48 * 10**6 + (256 << 20)


def test_a_vote_without_room_is_refused_on_its_shard_or_at_the_driver(monkeypatch):
    X, y = blobs(2000)
    shards = shards_of(X, y, [700], [0, 1], 2)
    short_of(monkeypatch, 10**9)
    fit(LocalShards(shards), decision="vote")
    short_of(monkeypatch, 100 << 20)
    fit(LocalShards(shards))
    words = (
        r"^shard 1 takes up to \d+ MB of memory for its 1,300 points with 512 hyperplanes and "
        r"1,024 features of a vote, but"
    )
    with pytest.raises(NotEnoughMemoryError, match=words):
        fit(LocalShards(shards), decision="vote")
    short_of(monkeypatch, 10**9)
    monkeypatch.setattr("fastmem.machine.memory.available", lambda: (10**8, "are free"))
    words = (
        r"^the driver of a vote of 4,096 features takes up to \d+ MB .* but 100 MB are free; pass a"
    )
    with pytest.raises(NotEnoughMemoryError, match=words):
        fit(LocalShards(shards), decision="vote", width=4096)


def test_a_vote_counts_once_where_its_exceptions_widen(monkeypatch):
    """Before the width grows only what the hyperplanes take is asked for."""
    X, y = coins(600, 4)
    settings = checked_problem(X, y, decision="vote").settings
    shape = fit_memory.FitShape(600, 4, 4, False, 2, None)
    short_of(monkeypatch, 0)
    room = fit_memory.Room("", 600, 1, 1 << 20, "are free", "a")
    fit_memory.require_elsewhere(shape, settings, lambda: [room], 128, filled=64)
    with pytest.raises(NotEnoughMemoryError):
        fit_memory.require_elsewhere(shape, settings, lambda: [room])


def test_the_bar_tells_rounds_and_a_callable_what_it_is_told_of_one_machine(monkeypatch):
    pytest.importorskip("rich")
    X, y = blobs(300)
    stages, here = [], []
    shards = shards_of(X, y, [100], [0, 1], 2)
    fit(LocalShards(shards), width=120, progress=lambda *done: stages.append(done))
    fit_here(X, y, width=120, progress=lambda *done: here.append(done))
    assert list(dict.fromkeys(done[0] for done in stages)) == ["patterns", "neurons"]
    assert stages[-1][0] == here[-1][0] and stages[-1][2:] == here[-1][2:]
    shown = []
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(
        "rich.progress.Progress.update",
        lambda self, task, **fields: shown.append(fields["detail"]),
    )
    monkeypatch.setattr("rich.progress.Progress.__enter__", lambda self: self)
    monkeypatch.setattr("rich.progress.Progress.__exit__", lambda *_: None)
    transport = LocalShards(shards)
    fit(transport, width=120, progress=True)
    rounds = [int(text.split()[-2]) for text in shown if text.endswith(" rounds")]
    assert len(rounds) == len(shown) >= 2 and rounds == sorted(rounds)
    assert 3 < rounds[0] < rounds[-1] <= transport.n_rounds
    fit_here(X, y, width=120, progress=True)
    assert not shown[-1].endswith("rounds")
