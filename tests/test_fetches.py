"""Shards fetch from each other what they need: the file of one machine, whoever is lost."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
from test_distributed import agree, fit, fit_here, shards_of
from test_regions import Apart, noisy, regions_always  # noqa: F401

from fastmem.distributed import region, transport
from fastmem.distributed.answers import Answers, packed, questioned
from fastmem.distributed.peers import MOST_FAILURES, Fetched, Told
from fastmem.distributed.region import Layout, Region
from fastmem.distributed.shard import Shard
from fastmem.distributed.transport import LocalShards
from fastmem.second_layer import near_cells

PARAMETERS = dict(width=90)


class Disturbed(LocalShards):
    """What is lost at which fetch; and the commands that passed the driver."""

    def __init__(self, parts, act=lambda self, shard, others, told: None):
        super().__init__(parts)
        self._act, self.asked = act, []

    def call(self, seqs, messages, restore):
        commands = [command for message in messages for command in message]
        self.asked += [one[2] if one[0] == "in_region" else one[0] for one in commands]
        return super().call(seqs, messages, restore)

    def _fetch(self, shard, number, others, questions):
        self._act(self, shard, others, False)
        future = super()._fetch(shard, number, others, questions)
        self._act(self, shard, others, True)
        return future


@pytest.fixture
def data(regions_always):  # noqa: F811
    """Points of ten blocks in three regions, which forget those of others whenever they can."""
    X, y = noisy(5, 2500, 3, 3)
    regions_always.setattr(near_cells, "MOST_GATHERED", 1 << 13)
    regions_always.setattr(region, "COPIES_BYTES", 0)
    return shards_of(X, y, [100, 400, 900, 1500], [0, 1, 2], 3), fit_here(X, y, **PARAMETERS)


def agrees(shards, data):
    agree(fit(shards, **PARAMETERS), data[1])
    return shards


def test_blocks_pass_from_shard_to_shard(data):
    near, apart = agrees(Disturbed(data[0]), data), agrees(Apart(data[0]), data)
    assert "grow" in near.asked and "blocks" not in near.asked
    assert near.fetched > 1_000_000 and apart.n_fetches >= near.n_fetches and not apart.fetched
    assert near.received + near.sent < apart.received + apart.sent - near.fetched
    assert not near.n_lost and near.n_rounds < apart.n_rounds


@pytest.mark.parametrize("who", ["the one that asks", "one that tells", "both", "all"])
@pytest.mark.parametrize("is_told", [False, True], ids=["before", "after"])
def test_shards_are_lost_while_blocks_are_fetched(data, who, is_told):
    for lost in (1, 40, 150):  # of about 290

        def lose(self, shard, others, told, lost=lost):
            if self.n_fetches == lost and told == is_told:
                those = {"the one that asks": [shard], "one that tells": others[:1]}
                for one in those.get(who, {*range(3)} if who == "all" else {shard, others[0]}):
                    self._begin(one)

        shards = agrees(Disturbed(data[0], lose), data)
        assert shards.n_lost and shards.n_fetches > lost


class Gone(Exception):
    pass


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.02, 0.2])
def test_whatever_fails_now_and_then(data, seed, share):
    """Engines, shards that have lost their region, answers that come later than they may."""
    luck, late = random.Random(seed), []

    def fail(self, shard, others, told):
        if late and luck.random() < 0.5:
            late.pop()()
        if luck.random() < share:
            raise Gone
        if luck.random() < share / 10:
            self._begin(luck.choice([shard, *others]))
        if luck.random() < share / 4:
            self._shards[luck.choice([shard, *others])]._region = None
        if luck.random() < share:
            kept, answers = self._asked[shard].told, [b""] * len(others)
            late.append(lambda number=self.n_fetches: kept.keep(number, answers))

    agrees(Disturbed(data[0], fail), data)


@pytest.mark.parametrize(
    "fails", ["raises", "fails", "does not know", "tells of others", "nothing"]
)
def test_what_does_not_come_passes_the_driver(data, fails):
    """And after some failures in a row nothing is fetched any more."""

    class Failing(Disturbed):
        n_asked = 0

        def _fetch(self, shard, number, others, questions):
            self.n_asked += 1
            if fails == "raises":
                raise Gone
            future = transport.Future()
            if fails == "fails":
                future.set_exception(Gone())
            else:
                future.set_result({
                    "does not know": None, "tells of others": [1] * 9, "nothing": [0] * len(others)
                }[fails])  # fmt: skip
            return future

    shards = agrees(Failing(data[0]), data)
    assert "blocks" in shards.asked and not shards.fetched and not shards.n_lost
    assert shards.n_asked <= 3 * MOST_FAILURES < shards.n_fetches


@pytest.mark.parametrize("kind", [Disturbed, Apart])
@pytest.mark.parametrize("block_count", [0, 1, 2])
def test_a_shard_takes_so_many_bytes_at_a_time(data, regions_always, kind, block_count):  # noqa: F811
    """However many blocks its cells want, so that they have room beside what is counted."""
    block_bytes = 8 * region.BLOCK * 2
    regions_always.setattr(region, "FETCHED_BYTES", block_count * block_bytes)
    brought, grow = [], Region.grow

    def growing(self, order, fetched):
        some = [one for one in (order.blocks, *fetched) if one is not None]
        brought.append(sum(one.patterns.nbytes for one in some))
        return grow(self, order, fetched)

    regions_always.setattr(Region, "grow", growing)
    agrees(kind(data[0]), data)
    assert max(brought) == max(block_count, 1) * block_bytes


def test_failures_that_are_not_in_a_row_do_not_count(data):
    count = iter(range(10**6))

    def fail(self, shard, others, told):
        if not told and next(count) % 2:
            raise Gone

    shards = agrees(Disturbed(data[0], fail), data)
    assert next(count) > 6 * MOST_FAILURES and "blocks" in shards.asked and shards.fetched


def test_answers_are_kept_for_one_message():
    told = Told()
    told.keep(3, [pickle.dumps("a"), b""])
    told.keep(2, [pickle.dumps("late")])
    assert told.put_in([("x", Fetched(2), 5)]) == [("x", [], 5)]
    assert told.put_in([("x", 1, Fetched(3)), ("y",)]) == [("x", 1, ["a", None]), ("y",)]
    assert told.put_in([("x", Fetched(3))]) == [("x", [])] and not told._kept[1]
    told.keep(3, [pickle.dumps("late")])
    assert told.put_in([("x", Fetched(3))]) == [("x", [])]
    told.keep(5, [pickle.dumps("b")])
    assert told.put_in([("x", Fetched(6))]) == [("x", [])] and not told._kept[1]


def test_a_shard_tells_what_it_has_and_nothing_else():
    layout = Layout(3, np.array([300, 10]), np.array([0, 2, 3]), 1)
    shard = Shard([])
    asked = Answers(shard)
    question = questioned(("in_region", 3, "blocks", np.arange(2)))
    assert asked.tell(question) == b""
    shard.begin_region(layout)
    patterns = np.arange(44, dtype=np.uint64)[:, None]
    shard.in_region(3, "complete", np.array([1]), np.arange(256, 300), patterns)
    assert asked.tell(question) == b"", "not before nothing is lacking"
    few = np.zeros((10, 1), np.uint64)
    nodes = shard._region._tree.ands[2:], shard._region._tree.ors[2:]
    shard.in_region(3, "equip", *nodes, 384 + np.arange(10), few)
    blocks, found = pickle.loads(asked.tell(question))
    assert blocks.tolist() == [1] and np.array_equal(found, patterns)
    for other in (
        ("in_region", 4, "blocks", np.arange(2)),
        ("in_region", 3, "has_all"),
        ("left", 0),
    ):
        assert asked.tell(questioned(other)) == b""
    assert asked.tell(b"no pickle") == b""
    with pytest.raises(ValueError, match="left is no question of another shard"):
        shard.tell("left", 0)
    assert Region.tells < Region.asks


def test_a_shard_tells_while_it_runs():
    """Where it waited it might wait for one that waits for it."""
    told = []

    class Asked(Shard):
        def be_at(self, seq):
            told.append(asked.tell(questioned(("in_region", 3, "blocks", np.arange(2)))))

    shard = Asked([])
    asked = Answers(shard)
    replies, refusal = pickle.loads(asked.answer(0, packed(1, [("be_at", 0)])))
    assert refusal is None and told == [b""]


def test_starts_of_blocks():
    layout = Layout(3, np.array([300, 10, 600]), np.array([0, 2, 3, 7]), 1)
    blocks = np.arange(5)
    starts, codes = layout.starts_of(blocks)
    assert codes.tolist() == [0, 0, 2, 2, 2]
    assert starts.tolist() == [layout.points_of(block)[0] for block in blocks]


def test_shards_that_wait_are_looked_after(data):
    """And those that they wait for."""
    seen = []

    class Slow(Disturbed):
        def _fetch(self, shard, number, others, questions):
            future = super()._fetch(shard, number, others, questions)
            if seen:
                return future
            seen.append([shard, *others])
            self.later = transport.Future()
            self.then = future.result()
            return self.later

        def _look_after(self, shards):
            seen.append(sorted(shards))
            self.later.set_result(self.then)

    agrees(Slow(data[0]), data)
    assert seen[1] == sorted(seen[0]) and len(seen) == 2
