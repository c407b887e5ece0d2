"""Cells that grow among neighbours in regions on shards: byte for byte as on one machine."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_distributed import agree, fit, fit_here, lose_once, partitionings, shards_of

from fastmem import fit_memory
from fastmem.distributed import region, regions
from fastmem.distributed.region import Layout, Region
from fastmem.distributed.shard import Shard
from fastmem.distributed.transport import ATTEMPTS, LocalShards, LostShardError, RemoteShards
from fastmem.errors import NotEnoughMemoryError
from fastmem.machine.arrays import forget, reserved_zeros
from fastmem.patterns import bounded_tiles, neighbourhoods
from fastmem.second_layer import near_cells


@pytest.fixture(autouse=True)
def regions_always():
    """Regions wherever they can be, however few points and neurons there are; little at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbourhoods, "NEIGHBOURS", "always")
        patch.setattr(near_cells, "MANY", -1)
        patch.setattr(near_cells, "FIRST_LOOK", 1)
        patch.setattr(regions, "_CHUNK_BYTES", 1 << 15)
        patch.setattr(region, "_MOST_MISSING", 3)
        yield patch


def noisy(seed, n, d, n_classes):
    """Points whose labels are mostly noise, on a grid; the last class has a few points only."""
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(n, d)) * 512) / 512
    y = np.where(rng.random(n) < 0.7, X[:, 0] > 0, rng.integers(0, 2, n)).astype(int)
    y[rng.permutation(n)[: 9 * (n_classes - 2)]] = np.repeat(np.arange(2, n_classes), 9)
    return X.astype(rng.choice([np.float32, np.float64])), y


@settings(max_examples=30)
@given(
    st.integers(0, 2**32), st.integers(100, 2500), st.integers(1, 4), st.integers(2, 5),
    st.sampled_from([{}, {"margin": 0.3}, {"covered": "all"}, {"width": 70}]),
    st.sampled_from([0, 1 << 12, 1 << 26]), st.booleans(), partitionings,
)  # fmt: skip
@example(0, 2500, 3, 4, {}, 0, False, ([700, 701, 1900], [2, 0], 3))
@example(0, 2500, 3, 4, {"margin": 0.3}, 0, True, ([700, 701, 1900], [0, 0, 1], 2))
def test_the_file_of_one_machine(seed, n, d, n_classes, parameters, gathered, bounds, partitioning):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_cells, "MOST_GATHERED", gathered)
        patch.setattr(near_cells, "_COVERED", 40)
        if bounds:
            patch.setattr(bounded_tiles, "MODE", "always")
            patch.setattr(near_cells, "MANY_BOUNDED", -1)
        X, y = noisy(seed, n, d, n_classes)
        parameters = {"contradictions": "majority", **parameters}
        expected = fit_here(X, y, **parameters)
        cuts, owners, n_shards = partitioning
        cuts = [min(7 * cut, n) for cut in cuts]
        luck = random.Random(seed)
        share = 0.004 if seed % 2 else 0.0
        transport = LocalShards(
            shards_of(X, y, cuts, owners, n_shards), lambda shard: luck.random() < share
        )
        agree(fit(transport, **parameters), expected)


class Apart(LocalShards):
    """Shards that do not reach each other: what they want of others passes the driver."""

    _fetch = RemoteShards._fetch


@pytest.mark.parametrize("kind", [LocalShards, Apart])
def test_a_shard_may_be_lost_before_any_round_of_the_regions(kind):
    X, y = noisy(5, 700, 2, 3)
    shards = shards_of(X, y, [100, 400], [0, 1, 2], 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_cells, "MOST_GATHERED", 1 << 13)  # at first among all points, then some
        expected = fit_here(X, y, width=90)
        seen = []
        transport = kind(shards)
        call = transport.call

        def noting(seqs, messages, restore):
            seen.append({name for message in messages for name in names_of(message)})
            return call(seqs, messages, restore)

        transport.call = noting
        agree(fit(transport, width=90), expected)
        phases = {"leaf_counts", "leaf_points", *Region.asks}
        if kind is LocalShards:  # which are asked by other shards alone: see test_fetches
            phases -= {"blocks"}
        assert phases <= set().union(*seen)
        assert "blocks" in phases or "blocks" not in set().union(*seen)
        for name in sorted(phases):
            rounds = [i + 1 for i, names in enumerate(seen) if name in names]
            for lost in {rounds[0], rounds[len(rounds) // 2], rounds[-1]}:
                transport = kind(shards)
                lose_once(transport, lost, {0, lost % 3})
                agree(fit(transport, width=90), expected)
                assert transport.n_lost


def names_of(message):
    return [command[2] if command[0] == "in_region" else command[0] for command in message]


def test_shards_that_are_lost_all_the_time_end_the_fit():
    X, y = noisy(5, 300, 2, 2)
    transport = LocalShards(shards_of(X, y, [100], [0, 1], 2))
    call = transport.call

    def losing(seqs, messages, restore):
        if "settle" in names_of([command for message in messages for command in message]):
            transport._shards[1]._region = None
        return call(seqs, messages, restore)

    transport.call = losing
    with pytest.raises(LostShardError, match=f"lost {2 * ATTEMPTS} times while points came"):
        fit(transport, width=60)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_points_of_a_lost_shard_alone_come_once_more(regions_always, lost):
    """And those that had not come yet."""
    regions_always.setattr(regions, "_CHUNK_BYTES", 1 << 12)
    X, y = noisy(5, 900, 2, 3)
    shards, parameters = shards_of(X, y, [100, 400], [0, 1, 2], 3), dict(width=90)
    expected = fit_here(X, y, **parameters)

    def settled(transport):
        found, call = [], transport.call

        def noting(seqs, messages, restore):
            replies = call(seqs, messages, restore)
            for shard, some in enumerate(messages):
                if "settle" in names_of(some):
                    found.append((shard, some[-1][3], transport.n_rounds))
            return replies

        transport.call = noting
        agree(fit(transport, **parameters), expected)
        return found

    before = settled(LocalShards(shards))
    assert min(map(len, by_shard(before).values())) > 1
    for _, _, n_round in (before[len(before) // 2], before[-1]):
        transport = LocalShards(shards)
        lose_once(transport, n_round, {lost})
        after = by_shard(settled(transport))
        for shard, numbers in by_shard(before).items():
            twice = [one for one in after[shard] if after[shard].count(one) > 1]
            assert set(after[shard]) == set(numbers) and (shard == lost or not twice)


def by_shard(settled):
    """Numbers of what was sent to each."""
    found = {}
    for shard, number, _ in settled:
        found.setdefault(shard, []).append(number)
    return found


def test_a_region_forgets_copies_of_others(monkeypatch):
    monkeypatch.setattr(region, "COPIES_BYTES", 0)
    X, y = noisy(7, 6000, 3, 2)
    expected = fit_here(X, y, width=130)
    transport = LocalShards(shards_of(X, y, [3000], [0, 1], 3))
    forgotten = []
    monkeypatch.setattr(region, "forget", lambda part: forgotten.append(part.shape))
    agree(fit(transport, width=130), expected)
    assert forgotten
    monkeypatch.undo()


def test_what_settled_in_a_region_is_never_forgotten(monkeypatch):
    """Also of blocks that begin in others: a lost shard asks for it."""
    monkeypatch.setattr(region, "COPIES_BYTES", 0)
    monkeypatch.setattr(near_cells, "MOST_GATHERED", 1 << 13)
    X, y = noisy(5, 2500, 3, 3)
    transport = LocalShards(shards_of(X, y, [100, 400, 900, 1500], [0, 1, 2], 3))
    forgotten, grow, n_settled = [], Region.grow, []

    def growing(self, *arguments):
        codes = np.flatnonzero(np.diff(self._settled)[:, 0])
        firsts = region.TILE * self.layout.first_tile
        some = [firsts[code] + np.arange(*self._settled[code]) for code in codes]
        positions = np.concatenate(some)
        known.setdefault(id(self), self.placed(positions)[1])
        found = grow(self, *arguments)
        assert np.array_equal(self.placed(positions)[1], known[id(self)])
        n_settled.append(len(positions))
        return found

    known = {}
    monkeypatch.setattr(region, "forget", lambda part: forgotten.append(1) or forget(part))
    monkeypatch.setattr(Region, "grow", growing)
    agree(fit(transport, width=90), fit_here(X, y, width=90))
    assert forgotten and min(n_settled) > 100


def test_memory_that_was_forgotten_is_given_back():
    array = reserved_zeros((64, 512, 16), np.uint64)  # 64 KB each
    array[:] = 1
    forget(array[3:5])
    assert not array[3:5].any() and array[:3].all() and array[5:].all()
    forget(array[0, :3])  # not a page
    assert array[0].all()
    few = reserved_zeros((0, 3), np.uint64)
    assert few.shape == (0, 3)


def test_what_a_region_does_not_know_it_says():
    layout = Layout(3, np.array([300, 10]), np.array([0, 2, 3]), 1)
    shard = Shard([])
    assert shard.in_region(3, "has_all") is None
    shard.begin_region(layout)
    assert shard.in_region(3, "has_all") is False
    assert shard.in_region(4, "has_all") is None
    with pytest.raises(ValueError, match="_put is no command of a region"):
        shard.in_region(3, "_put")
    assert shard.in_region(3, "settle", 1, None) is None
    assert layout.first_blocks.tolist() == [0, 2, 2]
    assert layout.points_of(1).tolist() == list(range(256, 300))
    assert layout.codes_at(np.array([0, 299, 384, 393])).tolist() == [0, 0, 1, 1]


def test_a_shard_without_room_for_its_region_is_named(monkeypatch):
    monkeypatch.setattr(fit_memory, "UNCHECKED", 1)
    monkeypatch.setattr(fit_memory, "region_bytes", lambda *shape: 10**15)
    X, y = noisy(7, 600, 3, 2)
    with pytest.raises(NotEnoughMemoryError, match=r"^shards 0 and 1 take up to 2,000,000.0 GB"):
        fit(LocalShards(shards_of(X, y, [300], [0, 1], 2)), width=130)


@given(st.integers(1, 10**9), st.integers(1, 64), st.integers(1, 100))
def test_a_region_takes_less_among_more(n_samples, n_words, n_regions):
    one, more = (fit_memory.region_bytes(n_samples, n_words, n) for n in (1, n_regions))
    whole = 8 * n_words * n_samples
    assert whole / n_regions <= more <= one and one <= 1.3 * whole + 2 * n_samples + (1 << 28)
