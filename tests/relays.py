"""Transports whose shards ask each other, as heads of groups or not, are watched and disturbed."""

from __future__ import annotations

from concurrent.futures import wait

from fastmem.distributed import groups
from fastmem.patterns import neighbourhoods
from fastmem.second_layer import near_cells


def watch(monkeypatch, kind):
    """Let three shards of a kind of transport be a group; returns what will be seen.

    Of each round through its head, the transport.
    """
    monkeypatch.setattr(groups, "TREE_FROM", 2)
    join, relay, seen = kind._join, kind._relay, []

    def joined(self, some):
        future = join(self, some)
        wait([future], 300)  # on a busy machine the fit could end before
        return future

    def seeing(self, some, *rest):
        assert [*some] == [0, 1, 2]
        seen.append(self)
        return relay(self, some, *rest)

    monkeypatch.setattr(kind, "_join", joined)
    monkeypatch.setattr(kind, "_relay", seeing)
    return seen


def when_relayed(monkeypatch, kind, nth, act):
    """Act while the head of a group hands on its nth message."""
    relay, n_relayed = kind._relay, []

    def acting(self, *some):
        future = relay(self, *some)
        n_relayed.append(1)
        if len(n_relayed) == nth:
            act(self)
        return future

    monkeypatch.setattr(kind, "_relay", acting)


def watch_fetches(monkeypatch, kind, act=lambda self, shard, others: None):
    """Let cells grow among neighbours; returns each transport that lets shards fetch, and when.

    And the names of what the driver asks regions. Before the first one fetches, ``act``.
    """
    monkeypatch.setattr(neighbourhoods, "NEIGHBOURS", "always")
    monkeypatch.setattr(near_cells, "MANY", -1)
    monkeypatch.setattr(near_cells, "FIRST_LOOK", 1)
    monkeypatch.setattr(near_cells, "MOST_GATHERED", 1 << 13)
    fetch, call, seen, names = kind._fetch, kind.call, [], set()

    def acting(self, shard, number, others, *rest):
        seen.append(self)
        if len(seen) == 1:
            act(self, shard, others)
        return fetch(self, shard, number, others, *rest)

    def naming(self, seqs, messages, restore):
        names.update(one[2] for some in messages for one in some if one[0] == "in_region")
        return call(self, seqs, messages, restore)

    monkeypatch.setattr(kind, "_fetch", acting)
    monkeypatch.setattr(kind, "call", naming)
    return seen, names
