"""What a shard answers to a message, wherever it is: its replies, or what it refused."""

from __future__ import annotations

import pickle
import traceback
from threading import Lock
from typing import Any

from fastmem.distributed.peers import Told
from fastmem.distributed.shard import Shard, StaleShard
from fastmem.errors import InvalidInputError

RELAYED_BYTES = 2**20
"""Bytes of an answer up to which others hand it on; and of messages that differ by shard."""


class Answers:
    """A shard that may be asked through another one: it runs each message once.

    Whoever handed a message on may be lost before it told what was answered. Then the message comes
    again, by the same number, and the answer, which was kept, is given; nothing is run. A message
    whose number has passed, as it was held up on its way, is refused.

    Parameters
    ----------
    shard : Shard

    Attributes
    ----------
    told : Told
        What others told it.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard, self._lock = shard, Lock()
        self._number, self._kept, self.told = 0, b"", Told()

    def answer(self, seq: int, message: bytes) -> bytes:
        """Let the shard run a message that was `packed`; returns its replies, or what it refused.

        They are pickled: so an engine hands on bytes, and an error that it raises itself is never
        a shard's.
        """
        return self._once(seq, message, keeps=False)

    def relayed(self, seq: int, message: bytes) -> bytes:
        """The same through another shard: kept until the next message, and empty if it is large.

        Then the shard is to be asked for it itself.
        """
        answered = self._once(seq, message, keeps=True)
        return answered if len(answered) <= RELAYED_BYTES else b""

    def tell(self, question: bytes) -> bytes:
        """What the shard tells another one, at any time (`Shard.tell`); empty if it cannot."""
        try:
            answer = self._shard.tell(*pickle.loads(question))
            return b"" if answer is None else _pickled(answer)
        except Exception:  # the driver, which asks then itself, is told
            return b""

    def _once(self, seq: int, message: bytes, keeps: bool) -> bytes:
        try:
            number, commands = pickle.loads(message)
        except Exception as error:
            return _refused(error)
        with self._lock:  # as it may be asked itself while it is asked through another
            if not number or number > self._number:
                self._number, self._kept = max(number, self._number), b""
                answered = self._run(seq, commands)
            elif number == self._number and self._kept:
                answered = self._kept
            else:
                told = f"the shard was asked {self._number} already, and now {number}"
                return _refused(StaleShard(told))
            self._kept = answered if keeps else b""
            return answered

    def _run(self, seq: int, commands: Any) -> bytes:
        try:
            return _pickled((self._shard.run(seq, self.told.put_in(commands)), None))
        except Exception as refusal:
            return _refused(refusal)


def packed(number: int, commands: Any) -> bytes:
    """A message to shards: commands, and its number, from 1 on, if it may come twice, else 0."""
    return _pickled((number, list(commands)))


def questioned(command: Any) -> bytes:
    """A question for `Answers.tell`."""
    return _pickled(command)


def _refused(refusal: Exception) -> bytes:
    try:
        sent = _pickled((None, _noted(refusal)))
        pickle.loads(sent)
    except Exception:  # of those that do not come out of it, as they were made otherwise
        other = RuntimeError(f"{type(refusal).__name__}: {refusal}")
        return _pickled((None, _noted(other, refusal)))
    return sent


def _noted(refusal: Exception, of: Exception | None = None) -> Exception:
    """An error with a note of where it was raised, as its traceback stays behind, if it is a bug's.

    So it is, or of a full memory, where no user's input is refused in a sentence.
    """
    if not isinstance(refusal, InvalidInputError | StaleShard):
        refusal.add_note("".join(traceback.format_exception(of or refusal)).rstrip())
    return refusal


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
