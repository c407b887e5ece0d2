"""The parts of fits on shards: numbers of points, windows, counts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_distributed import coins, partitionings, shards_of

import fastmem
from fastmem.distributed import fitting
from fastmem.distributed.fleet import Fleet
from fastmem.distributed.numbering import Numbering, Placing
from fastmem.distributed.region import Layout
from fastmem.distributed.regions import Regions
from fastmem.distributed.remote_cover import RemoteCover
from fastmem.distributed.remote_patterns import RemotePatterns
from fastmem.distributed.remote_points import RemotePoints
from fastmem.distributed.transport import LocalShards
from fastmem.distributed.window import Window
from fastmem.inputs import check_points
from fastmem.inputs.spread import spread_sums
from fastmem.kernels.layout import TILE
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import packed
from fastmem.second_layer.class_cover import ClassCover
from fastmem.second_layer.selection import new_cover


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=6), st.data())
def test_numbers_of_points_are_those_of_all_parts_together(parts, data):
    """Against labels that are gone through one by one."""
    counts = np.array([[labels.count(code) for code in range(4)] for labels in parts])
    placing = Placing(np.arange(4), 1, "float32", counts)
    chosen = sorted(data.draw(st.sets(st.integers(0, len(parts) - 1))))
    numbering = Numbering(placing, chosen)
    known, rows, seen = {}, [], [0] * 4  # (class, number) -> (row, part)
    for part, labels in enumerate(parts):
        for code in labels:
            known[code, seen[code]] = len(rows), part
            seen[code] += 1
            rows.append((code, part))
    for code in range(4):
        numbers = [*data.draw(st.permutations(range(seen[code]))), seen[code]]
        which, places = numbering.places_of(code, np.array(numbers))
        here = [i for i, k in enumerate(numbers[:-1]) if known[code, k][1] in chosen]
        assert which.tolist() == here
        in_order = sorted(k for (c, k), (_, part) in known.items() if c == code and part in chosen)
        assert [in_order[place] for place in places] == [numbers[i] for i in here]
        back = numbering.numbers_of(np.full(len(places), code), places)
        assert back.tolist() == [numbers[i] for i in here]
    here = [row for row, (_, part) in enumerate(rows) if part in chosen]
    which, places = numbering.local_rows(np.arange(len(rows)))
    assert which.tolist() == here and places.tolist() == list(range(len(here)))
    assert numbering.global_rows(places).tolist() == here
    codes, numbers = np.array([*known], np.int64).reshape(-1, 2).T
    found = placing.points_at(placing.position_of(codes, numbers))
    assert np.array_equal(found, [codes, numbers])


@given(st.integers(1, 60), st.data())
def test_a_window_shows_the_open_points_along_the_order(size, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    patterns = rng.integers(0, 2**63, (size, 2), np.uint64)
    order = np.random.default_rng(5).permutation(size)
    is_open = np.ones(size, bool)
    seen = Window(size, np.random.default_rng(5), None, 2)
    for count in data.draw(st.lists(st.integers(1, 20), max_size=8)):
        while seen.lacks(count):
            numbers = seen.stretch(count, int(is_open.sum()))
            some = numbers[is_open[numbers]]
            seen.take_in(some, patterns[some])
        assert seen.next_open(count).tolist() == order[is_open[order]][:count].tolist()
        found = seen.next_open(count)
        assert np.array_equal(seen.patterns(found), patterns[found])
        masks = ~patterns[rng.integers(0, size, 2)]
        levels = np.array([rng.integers(1, 40), 1])
        counts = np.bitwise_count(masks[:, None] & patterns).sum(axis=2, dtype=np.int64)
        is_open &= ~(counts < levels[:, None]).any(axis=0)
        seen.take_covered(masks, levels, 1)
        closed = found[: data.draw(st.integers(0, 2))]
        seen.close(closed)
        is_open[closed] = False
        assert seen.is_open(found).tolist() == is_open[found].tolist()


@settings(max_examples=25)
@given(partitionings, st.integers(1, 70), st.integers(0, 2**32))
def test_counts_and_the_points_they_name_are_those_of_one_machine(partitioning, n, seed):
    """Few hyperplanes, so that many points have one count: of zeros the first is named."""
    cuts, owners, n_shards = partitioning
    X, y = coins(150, 2, 3)
    rng = np.random.default_rng(seed)
    layer = fastmem.Hyperplanes(rng.standard_normal((n, 2)).astype(np.float32), np.zeros(n))
    here = Patterns(y, 3)
    here.fill(check_points(X), layer, 1)
    fleet = Fleet(LocalShards(shards_of(X, y, cuts, owners[::-1], n_shards)))
    placing = fitting._placing([fact for some in fleet.ask(("facts",))[0] for fact in some])
    fleet.tell("place", placing)
    there = RemotePatterns(fleet, RemotePoints(fleet, placing), False, False)
    there.fill(None, layer, 1)
    mine, theirs = (
        [new_cover(patterns, n, code, np.random.default_rng(code), 1) for code in range(3)]
        for patterns in (there, here)
    )
    codes = rng.integers(0, 3, 5)
    masks = packed(rng.random((5, n)) < rng.random((5, 1)))
    found = RemoteCover.least_counts([mine[code] for code in codes], masks)
    expected = ClassCover.least_counts([theirs[code] for code in codes], masks)
    assert np.array_equal(found, expected)
    assert np.array_equal(there.rows_at(found[1]), here.rows_at(expected[1]))
    assert np.array_equal(there.rows_of(codes, codes), here.rows_of(codes, codes))
    levels = rng.integers(0, 9, 5)
    for given_levels in (None, levels):
        ranges = RemoteCover.least_counts([mine[code] for code in codes], masks, True, given_levels)
        assert np.array_equal(ranges[0].min(axis=0), expected[0])
        named = ranges[1][ranges[1] >= 0]
        assert given_levels is None or (ranges[0][ranges[1] >= 0] < levels.max(initial=0)).all()
        tiles, copies = np.zeros((2, len(named) // TILE + 1, here.n_words, TILE), np.uint64)
        mine[0].copy_others(named, tiles, 0)
        theirs[0].copy_others(named, copies, 0)
        assert np.array_equal(tiles, copies)


def test_what_all_are_sent_is_pickled_once(monkeypatch):
    """Else a large message would be in memory as often as there are shards."""
    X, y = coins()
    shards = LocalShards(shards_of(X, y, [50, 100], [0, 1, 2], 3))
    fleet, calls = Fleet(shards), []
    call = shards.call
    monkeypatch.setattr(shards, "call", lambda *some: (calls.append(some[1]), call(*some))[1])
    fleet.tell("place", fitting._placing([fact for f in fleet.ask(("facts",))[0] for fact in f]))
    fleet.ask(("take", np.arange(3)), ("extremes",))
    fleet.ask_one(1, ("extremes",))
    assert [len({id(message) for message in messages}) for messages in calls] == [1, 1, 2]


def test_what_some_regions_are_sent_is_pickled_once():
    regions = object.__new__(Regions)
    regions._fleet = type("Three", (), {"n_shards": 3})()
    regions.layout = Layout(7, np.zeros(1, np.int64), np.zeros(2, np.int64), 1)
    found = regions._messages({0: (command := ("stand", 1)), 2: command})
    assert found[0] is found[2] == [("in_region", 7, "stand", 1)] and found[1] == []


@given(st.integers(0, 99))
def test_deviations_add_up_to_the_same_in_any_order(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((50, 3)) * [1e-9, 1, 1e300]
    middle, reach = (X.max(axis=0) / 2 + s * X.min(axis=0) / 2 for s in (1, -1))
    shift = np.frexp(reach)[1]
    whole = spread_sums(check_points(X), middle, shift)
    cut = rng.integers(1, 49)
    rows = rng.permutation(50)
    halves = [spread_sums(check_points(X[some]), middle, shift) for some in np.split(rows, [cut])]
    assert np.array_equal(whole, np.sum(halves, axis=0))
    shares = np.ldexp(X - middle, -shift)
    for i, expected in enumerate((shares.sum(axis=0), (shares**2).sum(axis=0))):
        found = np.ldexp(whole[0, i], -30) + np.ldexp(whole[1, i], -60)
        np.testing.assert_allclose(found, expected, atol=1e-12)
