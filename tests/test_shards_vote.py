"""decision="vote" of points on shards: byte for byte the files of one machine."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_distributed import (
    agree,
    agree_after_losses,
    agree_on_parts,
    blobs,
    coins,
    contradicting,
    fit,
    fit_here,
    in_units,
    losing,
    noisy,
    partitionings,
    rare,
    repeating,
    shards_of,
    wide,
)

from fastmem.distributed import remote_votes
from fastmem.distributed.remote_votes import RemoteSums
from fastmem.distributed.shard_votes import ShardVotes
from fastmem.distributed.transport import LocalShards
from fastmem.patterns import bounded_tiles, neighbourhoods
from fastmem.readout import costs
from fastmem.second_layer import near_cells
from fastmem.second_layer.class_cover import ClassCover
from fastmem.vote import conjugate, fitting, ridge


def flipped(n=2600, d=5, n_classes=3):
    """More points than a sample has, some of which have another label than those around them."""
    X, y = blobs(n, d, n_classes, noise=0.5)
    rng = np.random.default_rng(5)
    return X, np.where(rng.random(n) < 0.1, rng.integers(0, n_classes, n), y)


def lost_labels():
    """A class all of whose points equal more of others."""
    X, y = blobs(150)
    return np.concatenate([X, X[:3], X[:3], X[:3]]), np.concatenate([y, y[:3], y[:3], [9] * 3])


CASES = {
    "few points": (blobs, {}),
    "chance": (coins, dict(scale="none")),
    "two classes": (lambda: coins(300, 4, 2), dict(margin=0.0)),
    "many points": (flipped, {}),
    "width, random": (flipped, dict(width=128, selection="random")),
    "in units": (in_units, {}),
    "std": (in_units, dict(scale="std")),
    "strings, float32": (wide, {}),
    "contradictions": (contradicting, dict(contradictions="majority")),
    "a lost class": (lost_labels, dict(contradictions="majority")),
    "sparse": (rare, {}),
    "repeats": (repeating, dict(contradictions="majority")),
    "limited": (coins, dict(max_width=20)),
}


@pytest.fixture
def small(monkeypatch):
    """Constants at which few points are many: samples, Gram matrices of some of them, steps."""
    monkeypatch.setattr(ridge, "SAMPLE", 128)
    monkeypatch.setattr(fitting, "SAMPLE", 128)
    monkeypatch.setattr(ridge, "SAMPLE_WIDTH", 64)
    monkeypatch.setattr(ridge, "_SAMPLE_LEFT_OUT", 64)
    monkeypatch.setattr(ridge, "MANY", 512)
    monkeypatch.setattr(ridge, "FEW", 256)
    monkeypatch.setattr(ridge, "_LEFT_OUT", (32, 64))
    monkeypatch.setattr(ridge, "_LEFT_OUT_VALUES", 1 << 14)
    monkeypatch.setattr(costs, "FEWEST", 256)
    monkeypatch.setattr(costs, "STEP_COST", 0.01)


@cache
def on_one_machine(name):
    make, parameters = CASES[name]
    X, y = make()
    return X, y, fit_here(X, y, decision="vote", **parameters)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=3)
@given(partitionings, st.integers(1, 2**32))
@example(([0, 0, 1, 2, 3, 150, 150], [2], 4), 0)
def test_the_file_of_one_machine_whatever_the_parts(name, partitioning, seed):
    agree_on_parts(on_one_machine(name), partitioning, seed, decision="vote", **CASES[name][1])


@pytest.mark.parametrize(
    ("step_cost", "headroom", "asked"),
    [
        (0.01, 4.0, {("gram", False), ("by_class", True), ("normal", True)}),
        (0.01, 0.2, {("gram", False), ("by_class", True), ("normal", True)}),
        (99.0, 4.0, {("gram", True), ("gram", False)}),
    ],
)
@pytest.mark.parametrize("parameters", [{}, dict(width=512)], ids=str)
def test_matrices_and_steps_on_shards(small, monkeypatch, step_cost, headroom, asked, parameters):
    """Of some points and of all; also where units of residuals are too small at first."""
    monkeypatch.setattr(costs, "STEP_COST", step_cost)
    monkeypatch.setattr(conjugate, "_HEADROOM", headroom)
    X, y = flipped(d=40)
    expected = fit_here(X, y, decision="vote", **parameters)
    seen = set()

    def noted(self, name, *arguments):
        seen.add((name, self._rows is None))
        return original(self, name, *arguments)

    original = RemoteSums._ask
    monkeypatch.setattr(RemoteSums, "_ask", noted)
    for cuts, owners in (([700, 701, 2000], [0, 1]), ([1300], [1, 0, 2])):
        transport = LocalShards(shards_of(X, y, cuts, owners, 3), n_threads=2)
        agree(fit(transport, decision="vote", **parameters), expected)
    assert seen == asked


def test_a_shard_may_be_lost_before_any_round(small):
    X, y = flipped(900)
    agree_after_losses(
        (X, y, fit_here(X, y, decision="vote")), [40, 60, 500, 501],
        lambda n: range(1, n, 1 + n // 12), decision="vote",
    )  # fmt: skip


def test_gram_matrices_come_in_pieces_that_are_small_together(small, monkeypatch):
    X, y = flipped(d=40)
    expected = fit_here(X, y, decision="vote")
    shards = shards_of(X, y, [40, 60, 1500, 1501], [0, 1, 2], 3)
    transport = LocalShards(shards)
    fit(transport, decision="vote")
    n_rounds = transport.n_rounds
    monkeypatch.setattr(remote_votes, "GRAM_BYTES", 100_000)
    sums, seen = ShardVotes.gram, []

    def noted(self, *arguments):
        seen.append(sums(self, *arguments))
        return seen[-1]

    monkeypatch.setattr(ShardVotes, "gram", noted)
    for seed in (0, 4):
        transport = LocalShards(shards, losing(seed, 0.1))
        agree(fit(transport, decision="vote"), expected)
        assert max(some.nbytes for some in seen) <= 100_000 // 3
        assert transport.n_rounds > n_rounds + 4


@pytest.mark.parametrize("mode", ["neighbours", "bounds"])
def test_exceptions_grow_among_neighbours_as_on_one_machine(monkeypatch, mode):
    if mode == "bounds":
        monkeypatch.setattr(bounded_tiles, "MODE", "always")
        monkeypatch.setattr(near_cells, "MANY_BOUNDED", 16)
    else:
        monkeypatch.setattr(neighbourhoods, "NEIGHBOURS", "always")
        monkeypatch.setattr(near_cells, "MANY", 16)
    X, y = noisy()
    expected = fit_here(X, y, decision="vote", width=256)
    taken_over = []
    take_over = ClassCover.take_over
    monkeypatch.setattr(
        ClassCover, "take_over", lambda *covers: taken_over.append(take_over(*covers))
    )
    for cuts, owners, n_shards in ([1500], [0, 1], 2), ([0, 0, 10, 11, 3999], [1, 0, 2], 3):
        transport = LocalShards(shards_of(X, y, cuts, owners, n_shards))
        agree(fit(transport, decision="vote", width=256), expected)
    assert taken_over
