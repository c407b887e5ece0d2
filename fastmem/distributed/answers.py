"""What a shard answers to a message, wherever it is: its replies, or what it refused."""

from __future__ import annotations

import pickle
import traceback
from threading import Lock
from typing import Any

from fastmem.distributed.shard import Shard, StaleShard
from fastmem.errors import InvalidInputError

KEPT_BYTES = 2**24
"""Bytes of an answer up to which it is kept until the next message."""


class Answers:
    """A shard that is asked through others, too: it runs each message once.

    A message that is numbered may come again, as whoever handed it on was lost before it told what
    was answered. Then the shard runs nothing, and answers what it did; if that was too large to be
    kept, it is stale. One whose number has passed, as it was held up on its way, is refused.

    Parameters
    ----------
    shard : Shard
    """

    def __init__(self, shard: Shard) -> None:
        self._shard, self._lock = shard, Lock()
        self._number, self._last = 0, b""

    def answer(self, seq: int, message: bytes) -> bytes:
        """Let the shard run a message that was `packed`; returns its replies, or what it refused.

        They are pickled: so an engine hands on bytes, and an error that it raises itself is never
        a shard's.
        """
        number, commands = pickle.loads(message)
        with self._lock:  # as it may be asked itself while it is asked through another
            if not number:
                return self._run(seq, commands)
            if number < self._number or (number == self._number and not self._last):
                stale = f"the shard was asked {self._number} already, and now {number}"
                return _pickled((None, StaleShard(stale)))
            if number > self._number:
                self._number, self._last = number, b""
                answered = self._run(seq, commands)
                if len(answered) > KEPT_BYTES:
                    return answered
                self._last = answered
            return self._last

    def _run(self, seq: int, commands: Any) -> bytes:
        try:
            return _pickled((self._shard.run(seq, commands), None))
        except Exception as refusal:
            try:
                sent = _pickled((None, _noted(refusal)))
                pickle.loads(sent)
            except Exception:  # of those that do not come out of it, as they were made otherwise
                other = RuntimeError(f"{type(refusal).__name__}: {refusal}")
                return _pickled((None, _noted(other, refusal)))
            return sent


def packed(number: int, commands: Any) -> bytes:
    """A message to shards: commands, and its number, from 1 on, if it may come twice, else 0."""
    return _pickled((number, list(commands)))


def _noted(refusal: Exception, of: Exception | None = None) -> Exception:
    """An error with a note of where it was raised, as its traceback stays behind, if it is a bug's.

    So it is, or of a full memory, where no user's input is refused in a sentence.
    """
    if not isinstance(refusal, InvalidInputError | StaleShard):
        refusal.add_note("".join(traceback.format_exception(of or refusal)).rstrip())
    return refusal


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
