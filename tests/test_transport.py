"""What is done where an engine loses shards, whenever it says so."""

from __future__ import annotations

import random
import re
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from test_distributed import agree, blobs, fit, fit_here, shards_of

import fastmem
from fastmem.distributed.answers import Answers
from fastmem.distributed.parts import Part
from fastmem.distributed.shard import Shard
from fastmem.distributed.transport import ATTEMPTS, LostShardError, RemoteShards


class Gone(Exception):
    pass


class Threads(RemoteShards):
    """Shards in threads, which an engine loses now and then: as it begins, sends, or waits."""

    _lost = (Gone,)

    def __init__(self, parts, luck):
        super().__init__([[part.number for part in some] for some in parts])
        self._parts, self._luck, self._shards = parts, luck, {}
        self._executor = ThreadPoolExecutor(len(parts))

    def _begin(self, shard):
        return self._ask(self._make, shard)

    def _make(self, shard):
        self._shards[shard] = Shard(self._parts[shard])

    def _send(self, shard, seq, message):
        return self._ask(lambda: Answers(self._shards[shard]).answer(seq, message))

    def _ask(self, function, *arguments):
        fate = self._luck()
        if fate == "now":
            raise Gone
        future = self._executor.submit(function, *arguments)
        return self._executor.submit(self._fail, future) if fate == "later" else future

    def _fail(self, future):
        future.result()  # the command was run, but nobody knows
        raise Gone


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("parameters", [dict(width=120), dict(selection="random", width=90)])
def test_the_file_of_one_machine_whenever_shards_are_lost(seed, parameters):
    X, y = blobs()
    luck = random.Random(seed)
    fate = lambda: luck.choices(["now", "later", ""], [0.02, 0.02, 0.96])[0]  # noqa: E731
    transport = Threads(shards_of(X, y, [20, 30, 200], [0, 1, 2], 4), fate)
    agree(fit(transport, **parameters), fit_here(X, y, **parameters))
    assert transport.n_lost and transport.sent and transport.received


@pytest.mark.parametrize("fate", ["now", "later"])
def test_a_shard_that_cannot_be_begun_is_named(fate):
    X, y = blobs(60)
    parts = [[Part(k, X[k : k + 1], y[k : k + 1]) for k in range(60)]]
    words = f"shard 0, which holds the parts [0, 1, 2, 3, 4, 5, 6, 7, ...], was lost {ATTEMPTS}"
    with pytest.raises(LostShardError, match=re.escape(words)) as caught:
        fit(Threads(parts, lambda: fate))
    assert isinstance(caught.value.__cause__, Gone)


def test_calls_go_out_side_by_side():
    X, y = blobs(60)
    meeting = threading.Barrier(3, timeout=300)
    transport = Threads(shards_of(X, y, [20, 40], [0, 1, 2], 3), lambda: "")

    class Meeting(Shard):
        def run(self, seq, commands):
            meeting.wait()
            return super().run(seq, commands)

    transport._make = lambda k: transport._shards.update({k: Meeting(transport._parts[k])})
    agree(fit(transport, width=64), fit_here(X, y, width=64))


class Unwilling(Exception):
    """Comes into a pickle, and not out of it, even with what Dask does for exceptions."""

    def __init__(self):
        super().__init__("unwilling")
        self.held = Held()


class Held:
    def __reduce__(self):
        return never, ()


def never():
    raise NotImplementedError


def test_what_a_shard_refuses_is_raised_as_it_is(monkeypatch):
    X, y = blobs(60)
    transport = Threads([[Part(0, X, y[:-1])]], lambda: "")
    with pytest.raises(fastmem.InvalidInputError, match="part 0 has 60 rows and 59 labels"):
        fit(transport)
    assert not transport.n_lost

    def refuse(self):
        raise Unwilling

    monkeypatch.setattr(Shard, "facts", refuse)
    with pytest.raises(RuntimeError, match="Unwilling: unwilling") as caught:
        fit(Threads([[Part(0, X, y)]], lambda: ""))
    assert "in refuse\n" in caught.value.__notes__[0]
    assert caught.value.__notes__[1] == "So it was on shard 0."


def test_a_full_memory_says_on_which_shard(monkeypatch):
    X, y = blobs(60)
    monkeypatch.setattr(Shard, "sums", lambda *arguments: np.empty((2**40, 2**10)))
    with pytest.raises(MemoryError) as caught:
        fit(Threads(shards_of(X, y, [20], [0, 1], 2), lambda: ""))
    assert "test_transport.py" in caught.value.__notes__[0]
    assert re.fullmatch(r"So it was on shard [01]\.", caught.value.__notes__[1])


def test_a_message_for_all_is_pickled_once_and_its_bytes_counted():
    X, y = blobs(60)
    transport = Threads(shards_of(X, y, [20], [0, 1], 2), lambda: "")
    sent = []
    send = transport._send

    def kept(shard, seq, message) -> Future:
        sent.append(message)
        return send(shard, seq, message)

    transport._send = kept
    message = [("be_at", np.arange(5))]
    transport.call([0, 0], [message, message], lambda shard: [])
    assert sent[0] is sent[1] and transport.sent == 2 * len(sent[0])
