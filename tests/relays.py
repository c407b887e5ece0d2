"""Transports whose rounds go through the head of a group are watched, and disturbed."""

from __future__ import annotations

from concurrent.futures import wait

from fastmem.distributed import groups


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
