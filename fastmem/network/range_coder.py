"""An adaptive binary range coder: bits that follow from what stood before take little room.

Martin, Range encoding: an algorithm for removing redundancy from a digitised message, 1979. The
probability of a bit in a context is what Krichevsky and Trofimov's estimator (1981) makes of the
bits that were there before. All is whole numbers: the same bytes everywhere.

`Encoder` and `Decoder` have the same methods, which take values and return them; a decoder looks at
no value. So one function describes a format, and both ways follow.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

_ONE = 1 << 16
"""Probability 1."""
_HALF = _ONE // 2
_LEAST = 32
_MEMORY = 255
"""Bits of a context that are remembered: older ones count half."""
_TOP = 1 << 24
_WORD = 1 << 32
_SHAPED = 4
"""Upper bits of a number, after the first, that have contexts."""


class Coder(Protocol):
    """What an encoder and a decoder have in common."""

    def bit(self, context: Hashable, value: int) -> int:
        """A bit, likely what it was before in this context; None is for bits that are random."""

    @property
    def most(self) -> int:
        """Bits that a number may have."""


class CodeError(ValueError):
    """A number that no encoder wrote."""


def raw(coder: Coder, value: int, n_bits: int) -> int:
    """A number below 2^n_bits, as likely as any other."""
    found = 0
    for place in range(n_bits - 1, -1, -1):
        found = found << 1 | coder.bit(None, value >> place & 1)
    return found


def number(coder: Coder, name: Hashable, value: int) -> int:
    """A whole number from 0 on: its length in unary, as Elias's gamma code, then its bits."""
    size = (value + 1).bit_length() - 1
    length = 0
    while coder.bit((name, length), int(length < size)):
        length += 1
        if length > coder.most:
            raise CodeError(f"a number has more than {coder.most} bits")
    found = 1
    for place in range(length - 1, -1, -1):
        is_shaped = length - 1 - place < _SHAPED
        context = (name, length, found) if is_shaped else None
        found = found << 1 | coder.bit(context, (value + 1) >> place & 1)
    return found - 1


def choice(coder: Coder, name: Hashable, value: int, n: int) -> int:
    """A number below n, likely one that was there before."""
    found = 1
    for place in range((n - 1).bit_length() - 1, -1, -1):
        found = found << 1 | coder.bit((name, found), value >> place & 1)
    found -= 1 << (n - 1).bit_length()
    if found >= n:
        raise CodeError(f"a number is {found} where it is below {n}")
    return found


class _Model:
    """How likely bits are."""

    most = 48

    def __init__(self) -> None:
        self._counts: dict[Hashable, list[int]] = {}

    def share_of_zero(self, context: Hashable) -> int:
        """Probability of 0, out of _ONE."""
        if context is None:
            return _HALF
        zeros, ones = self._counts.setdefault(context, [0, 0])
        share = (2 * zeros + 1) * _ONE // (2 * (zeros + ones + 1))
        return min(max(share, _LEAST), _ONE - _LEAST)

    def learn(self, context: Hashable, value: int) -> None:
        """Remember a bit."""
        if context is None:
            return
        counts = self._counts[context]
        counts[value] += 1
        if counts[0] + counts[1] > _MEMORY:
            counts[:] = [(count + 1) // 2 for count in counts]


class Encoder(_Model):
    """Writes bits."""

    def __init__(self) -> None:
        super().__init__()
        self._low, self._range = 0, _WORD - 1
        self._held, self._full, self._written = -1, 0, bytearray()

    def bit(self, context: Hashable, value: int) -> int:
        """See Coder."""
        bound = (self._range >> 16) * self.share_of_zero(context)
        if value:
            self._low += bound
            self._range -= bound
        else:
            self._range = bound
        self.learn(context, value)
        while self._range < _TOP:
            self._range <<= 8
            self._shift()
        return value

    def _shift(self) -> None:
        """Write the upper byte, once no carry can change it."""
        if self._low < 0xFF << 24 or self._low >= _WORD:
            carry = self._low >> 32
            if self._held >= 0:
                self._written.append(self._held + carry)
            self._written.extend(bytes([0xFF + carry & 0xFF]) * self._full)
            self._held, self._full = self._low >> 24 & 0xFF, 0
        else:
            self._full += 1
        self._low = (self._low & 0xFFFFFF) << 8

    def finished(self) -> bytes:
        """All bytes: as few as give the same bits whatever follows them."""
        for n_bytes in range(1, 5):
            rest = (1 << 32 - 8 * n_bytes) - 1
            value = (self._low + rest) & ~rest
            if value + rest < self._low + self._range:
                break
        self._low = value
        for _ in range(n_bytes + 1):
            self._shift()
        return bytes(self._written)


class Decoder(_Model):
    """Reads bits from ``content``, a stream of an encoder and whatever follows it."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content, self._place, self._range = content, 4, _WORD - 1
        self._code = int.from_bytes(content[:4].ljust(4, b"\0"))

    def bit(self, context: Hashable, value: int) -> int:
        """See Coder."""
        bound = (self._range >> 16) * self.share_of_zero(context)
        found = int(self._code >= bound)
        if found:
            self._code -= bound
            self._range -= bound
        else:
            self._range = bound
        self.learn(context, found)
        while self._range < _TOP:
            self._range <<= 8
            at_place = self._content[self._place : self._place + 1] or b"\0"
            self._code = (self._code << 8 | at_place[0]) & (_WORD - 1)
            self._place += 1
            if self._place > len(self._content) + 8:
                raise CodeError("it ends before its numbers do")
        return found
