"""Sets by their number among all sets of one size, and numbers packed into one.

The sets of k numbers from 0 on, in colexicographic order, are the combinatorial number system: the
number of {c_1 < ... < c_k} is the sum of the binomials of c_i over i. So a set of k out of n takes
log2 of the binomial of n over k, and no code of equally likely sets takes less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

CHUNK_BITS = 8 * 4096
"""Bits from which on a packed number is complete: division takes the square of its length."""


def rank(members: Iterable[int]) -> int:
    """The number of a set, whose members ascend."""
    return sum(math.comb(member, i) for i, member in enumerate(members, 1))


def members(number: int, size: int) -> list[int]:
    """The set of ``size`` members that has this number, ascending."""
    found = []
    for i in range(size, 0, -1):
        member = _largest(number, i)
        found.append(member)
        number -= math.comb(member, i)
    return found[::-1]


def _largest(number: int, i: int) -> int:
    """The largest c whose binomial over i is at most ``number``."""
    if i == 1:
        return number
    if number == 0:
        return i - 1
    # (c - i + 1)^i / i! <= the binomial <= c^i / i!
    low = max(i - 1, _root(number * math.factorial(i), i))
    high = low + i
    while low < high:
        middle = (low + high + 1) // 2
        if math.comb(middle, i) <= number:
            low = middle
        else:
            high = middle - 1
    return low


def _root(number: int, i: int) -> int:
    """The largest whole number whose power i is at most ``number``, which is above 0."""
    shift = max(0, number.bit_length() - 64)
    logarithm = (math.log2(number >> shift) + shift) / i
    whole = max(0, int(logarithm) - 52)
    root = int(math.ldexp(2.0 ** (logarithm - whole), 0)) << whole
    root = max(1, root)
    while True:  # Newton's method, from a number that is nearly right
        better = ((i - 1) * root + number // root ** (i - 1)) // i
        if abs(better - root) <= 1:
            break
        root = better
    while root**i > number:
        root -= 1
    while (root + 1) ** i <= number:
        root += 1
    return root


def log2_sets(n: int, k: int) -> float:
    """log2 of the number of sets of k out of n, without large numbers; 0 <= k <= n."""
    logarithm = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return max(0.0, logarithm / math.log(2))


def pack(digits: Sequence[tuple[int, int]]) -> bytes:
    """Digits (value, radix) as whole numbers of mixed radix, the first the lowest."""
    chunks: list[bytes] = []
    values: list[tuple[int, int]] = []
    room = 1
    for value, radix in digits:
        values.append((value, room))
        room *= radix
        if room.bit_length() > CHUNK_BITS:
            chunks.append(_chunk(values, room))
            values, room = [], 1
    chunks.append(_chunk(values, room))
    return b"".join(chunks)


def _chunk(values: list[tuple[int, int]], room: int) -> bytes:
    return sum(value * unit for value, unit in values).to_bytes(_n_bytes(room), "little")


def _n_bytes(room: int) -> int:
    return ((room - 1).bit_length() + 7) // 8


def packed_size(radices: Iterable[int]) -> int:
    """Bytes that `pack` makes of digits of these radices."""
    size, room = 0, 1
    for radix in radices:
        room *= radix
        if room.bit_length() > CHUNK_BITS:
            size += _n_bytes(room)
            room = 1
    return size + _n_bytes(room)


def unpack(content: bytes, radices: Sequence[int]) -> Iterator[int]:
    """The digits that `pack` put into ``content``; each below its radix."""
    start, first = 0, 0
    room = 1
    for last, radix in enumerate(radices, 1):
        room *= radix
        if room.bit_length() > CHUNK_BITS or last == len(radices):
            size = _n_bytes(room)
            value = int.from_bytes(content[start : start + size], "little")
            for one in radices[first:last]:
                value, digit = divmod(value, one)
                yield digit
            start, first, room = start + size, last, 1
