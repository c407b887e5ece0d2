"""A decision list in as few bytes as its structure and its masks leave.

What is shape goes through a range coder: the numbers of the first layer, and for each run, neurons
of one class that follow one another, the class and how many literals each neuron has. What is mask
is enumerated: the neurons of a run that have k literals are a set among all sets of as many out of
the sets of k rows, whose number is a digit of one whole number of mixed radix. Order inside a run
decides nothing and takes no room.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import numpy as np

from fastmem.network import subsets
from fastmem.network.range_coder import CodeError, Coder, Decoder, Encoder, choice, number, raw

MOST_FEATURES = 1 << 22
_FEW_LITERALS = 64
"""A mask of more is written row by row."""
_FEW_MASKS, _MOST_MASKS = 32, 255
"""Masks of one set: larger sets take less room, but more time. Where there are more, the numbers of
masks are cut into parts of equal length, with some sixteen masks each."""
_FINER = 6
_USUAL_SIZE = 8
_ENTROPY_BITS = 18
_SLACK = 512
"""Bits by which logarithms may err."""

Mask = tuple[int, ...]


class Run(NamedTuple):
    """Neurons of one class, in no order: masks of ascending numbers of rows."""

    owner: int
    masks: list[Mask]


@dataclass
class ListContent:
    """All that a file holds of a decision list, in plain numbers.

    Attributes
    ----------
    key, n_entries, reach, low, step, codes
        Of the first layer; codes (d,) uint8.
    n_keyed : int
        Numbers of rows below it come from the key.
    n_extra : int
        Rows that are stored, whose numbers follow.
    n_classes, default : int
    runs : list of Run
    n_samples, entropy : int or None
        Training points, and the entropy of their labels times 4,096.
    n_described : int
        Bytes of the description.
    """

    key: int = 0
    n_entries: int = 1
    reach: float = 0.0
    low: float = 0.0
    step: float = 0.0
    codes: np.ndarray = field(default_factory=lambda: np.zeros(1, np.uint8))
    n_keyed: int = 0
    n_extra: int = 0
    n_classes: int = 2
    default: int = 0
    runs: list[Run] = field(default_factory=list)
    n_samples: int | None = None
    entropy: int | None = None
    n_described: int = 0


@dataclass
class _Shape:
    """A run without its masks: sizes of the masks, ascending.

    ``parts`` are, for each size of which there are many, the masks in each part of their numbers,
    or None where they are written row by row: those are in ``plain``.
    """

    owner: int = 0
    sizes: list[int] = field(default_factory=list)
    parts: dict[int, list[int] | None] = field(default_factory=dict)
    plain: list[Mask] = field(default_factory=list)


class _Group(NamedTuple):
    """So many masks of ``size`` rows in a run, with numbers from base to base + room - 1."""

    run: int
    size: int
    base: int
    room: int
    masks: int


def encoded(content: ListContent) -> tuple[bytes, bytes]:
    """The stream of the range coder, and the packed masks."""
    n_rows = content.n_keyed + content.n_extra
    shapes = [_shape(run, n_rows) for run in content.runs]
    by_place: dict[tuple[int, int], list[int]] = {}
    for place, run in enumerate(content.runs):
        for mask in run.masks:
            by_place.setdefault((place, len(mask)), []).append(subsets.rank(mask))
    digits = []
    for group in _groups(shapes, n_rows):
        own = sorted(one - group.base for one in by_place[group.run, group.size])
        some = [one for one in own if 0 <= one < group.room]
        digits.append((subsets.rank(some), math.comb(group.room, group.masks)))
    return _stream(content, shapes), subsets.pack(digits)


def decoded(data: bytes) -> tuple[ListContent, int]:
    """What ``data`` begins with, and how many bytes that takes.

    Raises
    ------
    CodeError
        Where the bytes are not those that `encoded` makes.
    """
    content, shapes = ListContent(), list[_Shape]()
    _code(Decoder(data), content, shapes, 8 * len(data))
    n_rows = content.n_keyed + content.n_extra
    groups = list(_groups(shapes, n_rows))
    radices = [math.comb(group.room, group.masks) for group in groups]
    start, size = len(_stream(content, shapes)), subsets.packed_size(radices)
    packed = data[start : start + size]
    content.runs = [Run(shape.owner, list(shape.plain)) for shape in shapes]
    for group, digit in zip(groups, subsets.unpack(packed, radices), strict=True):
        masks = content.runs[group.run].masks
        for one in subsets.members(digit, group.masks):
            masks.append(tuple(subsets.members(group.base + one, group.size)))
    for run in content.runs:
        run.masks.sort(key=mask_order)
    if encoded(content) != (data[:start], packed):
        raise CodeError("its bytes are not those of the list that they hold")
    return content, start + size


def mask_order(mask: Mask) -> tuple[int, Mask]:
    """By which the masks of a run are sorted: their sizes, then their numbers."""
    return len(mask), mask[::-1]


def _stream(content: ListContent, shapes: list[_Shape]) -> bytes:
    coder = Encoder()
    _code(coder, content, shapes, None)
    return coder.finished()


def _code(coder: Coder, content: ListContent, shapes: list[_Shape], most_bits: int | None) -> None:
    """Go through all that the stream holds: an encoder writes it, a decoder fills it in.

    most_bits: what the file has room for, for a decoder, which believes no number beyond.
    """
    _code_first_layer(coder, content)
    _code_facts(coder, content)
    if most_bits is not None and 32 * content.n_extra * len(content.codes) > most_bits:
        raise CodeError(f"there is no room for {content.n_extra} stored rows")
    _code_runs(coder, content, shapes, most_bits)


# Numbers ------------------------------------------------------------------------------------------


def _code_first_layer(coder: Coder, content: ListContent) -> None:
    n_bytes = number(coder, "key", (content.key.bit_length() + 7) // 8)
    if n_bytes > 8:
        raise CodeError(f"its key has {n_bytes} bytes instead of up to 8")
    content.key = raw(coder, content.key, 8 * n_bytes)
    content.n_entries = number(coder, "entries", content.n_entries - 1) + 1
    content.reach = _code_float(coder, content.reach)
    content.low = _code_float(coder, content.low)
    d = number(coder, "features", len(content.codes) - 1) + 1
    if d > MOST_FEATURES:
        raise CodeError(f"it has {d} features, more than {MOST_FEATURES}")
    bits = number(coder, "levels", int(content.codes.max()).bit_length())
    if bits > 8:
        raise CodeError(f"its origin has codes of {bits} bits")
    if len(content.codes) != d:
        content.codes = np.zeros(d, np.uint8)
    content.step = _code_float(coder, content.step) if bits else 0.0
    if bits:
        _code_origin(coder, content, bits)


def _code_float(coder: Coder, value: float) -> float:
    """A float32 number, in 16 bits where these are enough."""
    word = struct.unpack("<I", struct.pack("<f", value))[0]
    is_short = coder.bit("short", int(word & 0xFFFF == 0))
    word = raw(coder, word >> 16, 16) << 16 if is_short else raw(coder, word, 32)
    found: float = struct.unpack("<f", struct.pack("<I", word))[0]
    if not math.isfinite(found):
        raise CodeError(f"a number of its first layer is {found}")
    return found


def _code_origin(coder: Coder, content: ListContent, bits: int) -> None:
    """Codes of the origin, likely what they are at the features before and in a row above."""
    codes = content.codes
    if len(codes) > 1 << 16:
        raise CodeError(f"its origin has codes for {len(codes)} features")
    side = math.isqrt(len(codes))
    is_square = side * side == len(codes)
    values = codes.tolist()
    for k in range(len(values)):
        left = values[k - 1] if k else 0
        above = values[k - side] if is_square and k >= side else values[k - 2] if k > 1 else 0
        values[k] = choice(coder, ("code", left, above), values[k], 1 << bits)
    content.codes = np.array(values, np.uint8)


def _code_facts(coder: Coder, content: ListContent) -> None:
    content.n_keyed = number(coder, "rows", content.n_keyed)
    content.n_extra = number(coder, "stored", content.n_extra)
    content.n_classes = number(coder, "classes", content.n_classes - 2) + 2
    content.default = choice(coder, "default", content.default, content.n_classes)
    if content.n_keyed > 1 << 31:
        raise CodeError(f"its rows have numbers up to {content.n_keyed}")
    if coder.bit("samples", int(content.n_samples is not None)):
        content.n_samples = number(coder, "n_samples", content.n_samples or 0)
    if coder.bit("entropy", int(content.entropy is not None)):
        content.entropy = raw(coder, content.entropy or 0, _ENTROPY_BITS)
    content.n_described = number(coder, "described", content.n_described)


# Neurons ------------------------------------------------------------------------------------------


def _code_runs(
    coder: Coder, content: ListContent, shapes: list[_Shape], most_bits: int | None
) -> None:
    n_rows, most = content.n_keyed + content.n_extra, most_bits
    n_runs = number(coder, "runs", len(shapes))
    left = math.inf if most is None else most + 8
    before, last, bits = -1, _USUAL_SIZE, 0.0
    for place in range(n_runs):
        if place == len(shapes):  # so it is a decoder
            shapes.append(_Shape())
        shape = shapes[place]
        shape.owner = before = _code_owner(coder, shape.owner, before, content.n_classes)
        _code_sizes(coder, shape, last, left)
        last = shape.sizes[-1]
        left -= len(shape.sizes)
        for size, count in _counted(shape.sizes):
            if size > n_rows:
                raise CodeError(f"a mask has {size} of {n_rows} rows")
            left -= _code_parts(coder, shape, (size, count, n_rows), left)
            if shape.parts.get(size, ()) is not None:
                bits += _least_bits(n_rows, size, count)
            if most is not None and bits > most + _SLACK:
                raise CodeError("there is no room for its masks")


def _code_owner(coder: Coder, owner: int, before: int, n_classes: int) -> int:
    """The class of a run, which is not that of the run before."""
    if before < 0:
        return choice(coder, "first class", owner, n_classes)
    found = choice(coder, "class", owner - (owner > before), n_classes - 1)
    return found + (found >= before)


def _code_sizes(coder: Coder, shape: _Shape, last: int, left: float) -> None:
    """The sizes of the masks of a run, by how they differ from the one before, ``last``."""
    count = number(coder, "masks", len(shape.sizes) - 1) + 1
    if count > left:
        raise CodeError(f"there is no room for {count} neurons")
    sizes = shape.sizes or [0] * count
    for i in range(count):
        change = sizes[i] - last
        if i:
            change = number(coder, "larger", change)
        else:  # 0, -1, 1, -2, ...
            folded = number(coder, "size", 2 * change if change >= 0 else -2 * change - 1)
            change = folded // 2 if folded % 2 == 0 else -(folded + 1) // 2
        last += change
        if last < 0:
            raise CodeError(f"a mask has {last} rows")
        sizes[i] = last
    shape.sizes = sizes


def _code_parts(coder: Coder, shape: _Shape, group: tuple[int, int, int], left: float) -> int:
    """How the masks of one size in a run are written; returns how many rows one by one."""
    size, count, n_rows = group
    is_plain = size > _FEW_LITERALS
    if not is_plain and count > _FEW_MASKS:
        given = shape.parts.get(size, [])
        finer = number(coder, "parts", 0 if given is None else len(given).bit_length())
        is_plain = finer == 0
        if not is_plain:
            shape.parts[size] = _code_counts(coder, given or [], finer - 1, count)
    if not is_plain:
        return 0
    if size * count > left:
        raise CodeError(f"there is no room for masks of {size} rows")
    shape.parts[size] = None
    masks = [mask for mask in shape.plain if len(mask) == size]
    is_new = not masks
    for i in range(count):
        mask = _code_mask(coder, masks[i] if not is_new else (), size, n_rows)
        if is_new:
            shape.plain.append(mask)
    return size * count


def _code_counts(coder: Coder, given: list[int], finer: int, count: int) -> list[int]:
    """How many of ``count`` masks are in each of 2^finer parts of their numbers."""
    if finer > count.bit_length() + _FINER:
        raise CodeError(f"{count} masks are in 2^{finer} parts")
    counts = given or [0] * (1 << finer)
    for i in range(len(counts)):
        counts[i] = number(coder, "part", counts[i])
    if sum(counts) != count or max(counts) > _MOST_MASKS:
        raise CodeError(f"{sum(counts)} of {count} masks are in parts of up to {max(counts)}")
    return counts


def _code_mask(coder: Coder, mask: Sequence[int], size: int, n_rows: int) -> Mask:
    found: list[int] = []
    last = -1
    for i in range(size):
        last += 1 + number(coder, "gap", mask[i] - last - 1 if mask else 0)
        if last >= n_rows:
            raise CodeError(f"a mask has row {last} of {n_rows}")
        found.append(last)
    return tuple(found)


def _counted(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Each size, and how often it is there."""
    for size, same in groupby(sizes):
        yield size, len(list(same))


def _least_bits(n_rows: int, size: int, count: int) -> float:
    """Of the number of a set of ``count`` masks, or somewhat less: for any numbers, at once."""
    one = subsets.log2_sets(n_rows, size)
    return max(0.0, count * one - math.lgamma(count + 1) / math.log(2))


def _shape(run: Run, n_rows: int) -> _Shape:
    """The shape of a run, and how its masks are best written."""
    shape = _Shape(run.owner, [len(mask) for mask in run.masks])
    for size, count in _counted(shape.sizes):
        if size > _FEW_LITERALS:
            shape.parts[size] = None
        elif count > _FEW_MASKS:
            ranks = [subsets.rank(mask) for mask in run.masks if len(mask) == size]
            shape.parts[size] = _counts_of_parts(ranks, math.comb(n_rows, size))
        if shape.parts.get(size, ()) is None:
            shape.plain += [mask for mask in run.masks if len(mask) == size]
    return shape


def _counts_of_parts(ranks: list[int], room: int) -> list[int] | None:
    finer = (len(ranks) // 16).bit_length()
    for parts in range(finer, finer + _FINER):
        counts = [0] * (1 << parts)
        for one in ranks:
            counts[_part_of(one, room, parts)] += 1
        if max(counts) <= _MOST_MASKS:
            return counts
    return None


def _part_of(one: int, room: int, parts: int) -> int:
    """The part i of 2^parts that a number is in: from i room >> parts on."""
    place = (one << parts) // room
    return place + (one >= (place + 1) * room >> parts)


def _groups(shapes: list[_Shape], n_rows: int) -> Iterator[_Group]:
    """All sets of masks that are digits of the packed number, in their order."""
    for place, shape in enumerate(shapes):
        for size, count in _counted(shape.sizes):
            counts = shape.parts.get(size, [count])
            if counts is None:
                continue
            room, finer = math.comb(n_rows, size), len(counts).bit_length() - 1
            for part, inside in enumerate(counts):
                base, end = part * room >> finer, (part + 1) * room >> finer
                if inside > end - base:
                    raise CodeError(f"{inside} of {end - base} masks are in a part")
                if inside:
                    yield _Group(place, size, base, end - base, inside)
