"""Shards that are asked through heads of groups: the file of one machine, whoever is lost."""

from __future__ import annotations

import pickle
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_distributed import CASES, agree, blobs, fit, fit_here, shards_of
from test_regions import noisy

from fastmem.distributed import answers, groups, regions, transport
from fastmem.distributed.answers import Answers, packed
from fastmem.distributed.groups import Groups, came
from fastmem.distributed.parts import Part
from fastmem.distributed.shard import Shard, StaleShard
from fastmem.distributed.transport import LocalShards
from fastmem.patterns import neighbourhoods
from fastmem.second_layer import near_cells


@pytest.fixture(autouse=True)
def in_two_levels(monkeypatch):
    monkeypatch.setattr(groups, "TREE_FROM", 2)


class Gone(Exception):
    pass


class Unlucky(LocalShards):
    """Heads and members are lost, before a message comes to them and after it, by ``luck``."""

    _lost = (Gone,)

    def __init__(self, parts, luck=lambda: 1.0, reaches=lambda: True, share=0.01):
        super().__init__(parts)
        self._luck, self._reaches, self._share = luck, reaches, share
        self._dead, self._known, self.in_regions, self.knew = set(), {}, False, True
        self.n_relayed = self.n_heads_lost = self.n_members_lost = 0

    def _begin(self, shard):
        self._dead.discard(shard)
        return super()._begin(shard)

    def _dies(self, shard):
        if self._luck() < self._share:
            self._dead.add(shard)
        return shard in self._dead

    def _send(self, shard, seq, message):
        if self._dies(shard):
            raise Gone
        return super()._send(shard, seq, message)

    def _join(self, shards):
        self._known.update({shard: self._asked[shard] for shard in shards})
        reached = self._reaches()
        return transport.Future() if reached is None else transport.done(reached)

    def _relay(self, shards, seqs, messages):
        head, answers = shards[0], []
        self.knew &= all(self._known[shard] is self._asked[shard] for shard in shards)
        self.in_regions |= any(b"in_region" in message for message in messages)
        for shard, seq, message in zip(shards, seqs, messages, strict=True):
            if shard != head and self._dies(head):  # others before it have run theirs
                self.n_heads_lost += 1
                raise Gone
            if self._dies(shard):
                self.n_members_lost += 1
                answers.append(None)
                continue
            answers.append(self._asked[shard].relayed(seq, message))
            if shard != head and self._dies(shard):  # as it told, or before it did
                answers[-1:] = [answers[-1] if self._luck() < 0.5 else None]
        self.n_relayed += 1
        return transport.done(answers)


@settings(max_examples=20)
@given(
    name=st.sampled_from(["random", "merge", "auto, merge", "margin, random"]),
    n_shards=st.integers(2, 17),
    seed=st.integers(0, 2**32),
)
@example(name="auto, merge", n_shards=16, seed=0)
def test_the_file_of_one_machine_whoever_is_lost(name, n_shards, seed):
    make, parameters = CASES[name]
    X, y = make()
    luck = random.Random(seed)
    cuts = sorted(luck.sample(range(len(y)), 20))
    owners = [luck.randrange(n_shards) for _ in range(21)]
    shards = Unlucky(shards_of(X, y, cuts, owners, n_shards), luck.random)
    agree(fit(shards, **parameters), fit_here(X, y, **parameters))


@pytest.mark.parametrize("seed", range(6))
def test_cells_among_neighbours_whoever_is_lost(monkeypatch, seed):
    """Whose shards know more than is numbered, and are sent other messages each."""
    monkeypatch.setattr(neighbourhoods, "NEIGHBOURS", "always")
    monkeypatch.setattr(near_cells, "MANY", -1)
    monkeypatch.setattr(near_cells, "FIRST_LOOK", 1)
    monkeypatch.setattr(near_cells, "MOST_GATHERED", 1 << 12)
    monkeypatch.setattr(regions, "_CHUNK_BYTES", 1 << 15)
    luck = random.Random(seed)
    X, y = noisy(seed, 1500, 2, 3)
    cuts, owners = sorted(luck.sample(range(1500), 30)), [luck.randrange(10) for _ in range(31)]
    shards = Unlucky(shards_of(X, y, cuts, owners, 10), luck.random, share=0.003)
    parameters = dict(width=90, contradictions="majority")
    agree(fit(shards, **parameters), fit_here(X, y, **parameters))
    assert shards.n_relayed and shards.n_lost and shards.in_regions and shards.knew


@pytest.mark.parametrize("large", [False, True])
def test_heads_and_members_are_lost(monkeypatch, large):
    """In what the tests above draw there are all kinds of losses; large answers are fetched."""
    if large:
        monkeypatch.setattr(answers, "RELAYED_BYTES", 1)
    X, y = blobs()
    luck = random.Random(3)
    shards = Unlucky(shards_of(X, y, [20, 30, 200], range(4), 9), luck.random)
    agree(fit(shards, width=120), fit_here(X, y, width=120))
    assert shards.n_heads_lost and shards.n_members_lost and shards.n_lost and shards.n_relayed
    assert shards.knew, "where all others are whenever a message was handed on"


@pytest.mark.parametrize("large", [False, True])
def test_a_member_that_has_answered_is_not_lost_with_its_head(monkeypatch, large):
    """However large its answer is."""
    if large:
        monkeypatch.setattr(answers, "RELAYED_BYTES", 10)
    X, y = blobs()
    asked = []
    shards = Unlucky(shards_of(X, y, [100, 200], range(4), 4))
    monkeypatch.setattr(shards, "_dies", lambda shard: shard in shards._dead)
    relay = shards._relay

    def and_die(some, seqs, messages):
        told = relay(some, seqs, messages)
        asked.append(some[0])
        if len(asked) == 20:
            shards._dead.add(some[0])
            raise Gone
        return told

    monkeypatch.setattr(shards, "_relay", and_die)
    agree(fit(shards, width=120), fit_here(X, y, width=120))
    assert shards.n_lost == 1 and len(asked) > 30


@pytest.mark.parametrize("fails", ["does not reach", "raises", "fails", "is later"])
def test_a_head_that_does_not_reach_others_is_no_head(fails):
    def reaches():
        if fails == "raises":
            raise Gone
        return {"does not reach": False, "is later": None}.get(fails, True)

    X, y = blobs()
    shards = Unlucky(shards_of(X, y, [100, 200], range(4), 4), reaches=reaches)
    if fails == "fails":
        shards._relay = lambda shards, *_: transport.done([None] * len(shards))
    agree(fit(shards, width=120), fit_here(X, y, width=120))
    assert not shards.n_relayed and not shards.n_lost


def test_groups_are_given_up_after_some_failures():
    seen, there = [], transport.done(True)
    made = Groups(5, lambda group: seen.append(group) or there)
    assert not list(made.ready(range(4))) and seen == [range(2)]
    assert list(made.ready(range(5))) == [range(2)] and seen == [range(2), range(2, 5)]
    for _ in range(groups._MOST_FAILURES):
        made.fail(range(2))
    assert list(made.ready(range(5))) == [range(2, 5)] and len(seen) == 2
    made.change(3)
    assert not list(made.ready(range(5))) and len(seen) == 3
    assert came(transport.done(1)) == 1


def test_a_head_that_was_slow_is_asked_again():
    reached, n_asked = iter([False, False, True]), []

    def join(group):
        n_asked.append(1)
        return transport.done(next(reached, False))

    made = Groups(5, join)
    assert [[*made.ready(range(4))] for _ in range(7)] == [[]] * 5 + [[range(2)]] * 2
    made.change(0)
    for _ in range(20):
        assert not [*made.ready(range(4))]
    assert len(n_asked) == 1 + groups._MOST_FAILURES


@pytest.mark.parametrize("n_shards", [*range(1, 40), 100, 1000])
def test_groups_are_even(monkeypatch, n_shards):
    made = Groups(n_shards, None)._groups
    assert [shard for group in made for shard in group] == list(range(n_shards)) * (n_shards > 1)
    sizes = [len(group) for group in made]
    assert not made or (max(sizes) - min(sizes) <= 1 and abs(len(made) - max(sizes)) <= 3)
    monkeypatch.setattr(groups, "TREE_FROM", n_shards + 1)
    assert not Groups(n_shards, None)._groups


class Counting(Shard):
    n_run = 0

    def run(self, seq, commands):
        self.n_run += 1
        return super().run(seq, commands)


def test_a_message_is_run_once():
    X, y = blobs(60)
    shard = Counting([Part(0, X, y)])
    asked = Answers(shard)
    at = packed(3, [("be_at", 5)])
    told = asked.relayed(0, at)
    assert asked.relayed(0, at) == told == asked.answer(0, at) and shard.n_run == 1
    assert pickle.loads(told) == ([None], None)
    for number in (2, 3):  # from a head that was stopped; and given already, to the driver itself
        replies, refusal = pickle.loads(asked.relayed(5, packed(number, [("be_at", 6)])))
        assert replies is None and isinstance(refusal, StaleShard) and shard.n_run == 1
    assert pickle.loads(asked.answer(5, packed(0, [("be_at", 7)]))) == ([None], None)
    assert pickle.loads(asked.answer(7, packed(4, []))) == ([], None) and shard.n_run == 3


def test_a_message_that_cannot_be_read_is_refused():
    asked = Answers(Shard([]))
    for ask in (asked.answer, asked.relayed):
        replies, refusal = pickle.loads(ask(0, b"no pickle"))
        assert replies is None and isinstance(refusal, pickle.UnpicklingError)


def test_a_large_answer_is_kept_until_it_is_fetched(monkeypatch):
    X, y = blobs(60)
    shard = Counting([Part(0, X, y)])
    asked = Answers(shard)
    monkeypatch.setattr(answers, "RELAYED_BYTES", 100)
    message = packed(1, [("be_at", 0), ("facts",)])
    assert asked.relayed(0, message) == b""
    told = asked.answer(0, message)
    assert len(told) > 100 and shard.n_run == 1 and not asked._kept
    assert asked.relayed(0, packed(2, [("facts",)])) == b"" and asked._kept
    asked.answer(0, packed(3, []))
    assert not asked._kept


def test_what_passes_the_driver_is_counted():
    X, y = blobs(60)
    shards = Unlucky(shards_of(X, y, [20], [0, 1], 9))
    message, other = [("be_at", 0)], [("be_at", 0), ("facts",)]
    for _ in range(2):  # begun; joined
        shards.call([0] * 9, [message] * 9, lambda shard: [])
    relay, sent = shards._relay, []
    shards._relay = lambda *some: (sent.append(some[2]), relay(*some))[1]
    before, received = shards.sent, shards.received
    shards.call([0] * 9, [message] * 4 + [other] + [message] * 4, lambda shard: [])
    lengths = len(packed(3, message)), len(packed(3, other))
    assert [len(set(map(id, some))) for some in sent] == [1, 2, 1]
    assert shards.sent - before == 3 * lengths[0] + lengths[1]
    assert shards.received > received


def test_large_messages_that_differ_are_not_handed_on(monkeypatch):
    monkeypatch.setattr(transport, "RELAYED_BYTES", 1_000)
    X, y = blobs(60)
    shards = Unlucky(shards_of(X, y, [20], [0, 1], 4))
    small = [[("be_at", 0)]] * 4
    for _ in range(2):
        shards.call([0] * 4, small, lambda shard: [])
    assert not shards.n_relayed
    large = [("take", X.argsort(0)), ("be_at", 0)]
    monkeypatch.setattr(Shard, "take", lambda self, rows: rows.sum())
    shards.call([0] * 4, [large] * 4, lambda shard: [])
    assert shards.n_relayed == 2
    shards.call([0] * 4, [large, *small[1:]], lambda shard: [])
    assert shards.n_relayed == 3
