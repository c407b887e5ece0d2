"""The file of a separator: a key and whole numbers.

::

    magic           4 bytes, 89 66 6d 73
    version         1 byte, 1
    content         deflated: the length of the facts, uint32; the facts, a JSON object in UTF-8;
                    the arrays, of each the lowest bytes of all its elements, then the next ones
    CRC-32          4 bytes, of all before

The facts are "activation"; "sizes", [n, d, T, reaches, blocks]; "bits" of a weight; "classes",
[dtype, [label, ...]]; "radius"; "feature_names", "scale", "encoding" and "summary" as in other
model files. The arrays::

    key             ()                uint64, see ``fastmem.SeededHyperplanes``, or
    blocks          (blocks,)         int64, of ``fastmem.StructuredHyperplanes``, after it
    rows            (n,)              int32
    reaches         (reaches,)        float64
    center, origin  (d,)              float64
    intercepts      (T,)              float64
    weights         (n, T)            ``bits`` bits each, the lowest first, as numbers from 0 on

All numbers are little-endian. The checksum tells damage, and proves nothing against a file forged
on purpose: no size, type or value is believed before it is compared with what is there.
"""

from __future__ import annotations

import io
import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmem.encoding import MOST_BYTES, Encoding
from fastmem.errors import InvalidInputError, ModelFileError
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import exponents_of
from fastmem.machine.files import check_replaceable, is_special, replaced_when_complete
from fastmem.network.file_keys import arrays_of_keyed, is_keyed, keyed_layer, layer_of
from fastmem.network.file_members import (
    ALWAYS_UNPACKED,
    NAME_BYTES,
    check_summary,
    checked_exponents,
    checked_names,
    parsed,
)
from fastmem.network.file_versions import (
    ARCHIVE_MAGIC,
    LIST_MAGIC,
    RETRIEVE,
    SEPARATOR_MAGIC,
    Fault,
)
from fastmem.network.list_file import checked_labels
from fastmem.separation.rounding import LEAST_BITS, MOST_BITS

VERSION = 1
_CRC_BYTES = 4
_UNPACKED_RATIO = 128
_FACTS = (
    "activation", "sizes", "bits", "classes", "radius", "feature_names", "scale", "encoding",
    "summary",
)  # fmt: skip


class SeparatorParts(NamedTuple):
    """What a file holds: the arguments of `Separator` but for the report."""

    classes: np.ndarray
    first: Hyperplanes
    activation: str
    weights: np.ndarray
    intercepts: np.ndarray
    summary: Mapping[str, int | float | str | None]
    feature_names: Sequence[str] | None
    scale: np.ndarray | None
    encoding: Encoding | None


def save(parts: SeparatorParts, path: str | os.PathLike[str]) -> None:
    """Write a separator; at every moment `path` holds the old file or the new one.

    Raises
    ------
    ModelFileError
        If the separator is not one that `read` would accept, or `path` is no regular file.
    OSError
        As from `open`.
    """
    path = os.fsdecode(path)
    data = contents(parts)
    check_replaceable(path, lambda: _refusal(path, "saved to", "that is not a regular file", "name"
                                             " a new file"))  # fmt: skip
    with replaced_when_complete(path) as temporary, open(temporary, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read(path: str | os.PathLike[str]) -> SeparatorParts:
    """Read the parts of a separator; nothing in the file is executed or believed.

    Raises
    ------
    ModelFileError
        If the file is damaged, is no separator's, or was written by a newer fastmem.
    OSError
        As from `open`.
    """
    path = os.fsdecode(path)
    if is_special(os.stat(path).st_mode):  # opening a named pipe would wait for a writer
        raise _refusal(path, "loaded from", "that is not a regular file", "copy it into one")
    with io.FileIO(path) as file:
        data = file.readall()
    try:
        return _parsed(data)
    except Fault as fault:
        raise _refusal(path, "loaded from", fault.problem[:500], fault.remedy) from fault


def _refusal(path: str, done: str, problem: str, remedy: str) -> ModelFileError:
    return ModelFileError(f"The separator cannot be {done} {path!r} because {problem}; {remedy}.")


def contents(parts: SeparatorParts) -> bytes:
    """All bytes of a separator's file.

    Raises
    ------
    ModelFileError
        If `read` would refuse them.
    """
    try:
        data = _packed(parts)
        _parsed(data)
    except Fault as fault:
        raise ModelFileError(
            f"The separator cannot be saved because {fault.problem}; mend it or make it again."
        ) from fault
    return data


def _packed(parts: SeparatorParts) -> bytes:
    first = parts.first
    if not is_keyed(first):
        raise Fault("its hyperplanes do not come from a key, or are too many")
    keyed = arrays_of_keyed(first)
    if len(first.extra) or not np.array_equal(keyed["keyed_biases"], first.biases):  # type: ignore[attr-defined]
        raise Fault("some of its hyperplanes do not come from its key")
    bits = max(LEAST_BITS, int(np.abs(parts.weights).max()).bit_length() + 1)
    classes = np.asarray(parts.classes)
    if classes.dtype.kind in "OT":
        classes = np.array(classes.tolist(), np.str_)
    blocks = keyed.get("blocks", np.empty(0, np.int64))
    facts = {
        "activation": parts.activation,
        "sizes": [*parts.weights.shape[:1], first.n_features, parts.weights.shape[1],
                  len(keyed["reaches"]), len(blocks)],
        "bits": bits,
        "classes": [classes.dtype.newbyteorder("<").str, classes.tolist()],
        "radius": float(first.radius),
        "feature_names": None if parts.feature_names is None else list(parts.feature_names),
        "scale": None if parts.scale is None else exponents_of(parts.scale),
        "encoding": None if parts.encoding is None else parts.encoding.to_dict(),
        "summary": dict(parts.summary),
    }  # fmt: skip
    try:
        text = json.dumps(facts, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Fault(f"its facts cannot be written as JSON ({error})") from error
    numbers = (parts.weights + (1 << (bits - 1))).astype("<u8").reshape(-1, 1)
    each = np.unpackbits(numbers.view(np.uint8), axis=1, count=bits, bitorder="little")
    arrays = {
        **keyed, "blocks": blocks, "origin": first.origin, "intercepts": parts.intercepts,
    }  # fmt: skip
    planes = [
        np.asarray(arrays[name], dtype).reshape(-1, 1).view(np.uint8).T.tobytes()
        for name, dtype, _ in _members(*facts["sizes"])  # type: ignore[misc]
    ]
    body = b"".join([
        len(text).to_bytes(4, "little"), text, *planes,
        np.packbits(each.reshape(-1), bitorder="little").tobytes(),
    ])  # fmt: skip
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = SEPARATOR_MAGIC + bytes([VERSION]) + packer.compress(body) + packer.flush()
    return data + zlib.crc32(data).to_bytes(_CRC_BYTES, "little")


def _members(n: int, d: int, t: int, n_reaches: int, n_blocks: int) -> list[tuple[str, str, int]]:
    """Names, types and lengths of the arrays but for the weights."""
    return [
        ("key", "<u8", 1), ("blocks", "<i8", n_blocks), ("rows", "<i4", n),
        ("reaches", "<f8", n_reaches), ("center", "<f8", d), ("origin", "<f8", d),
        ("intercepts", "<f8", t),
    ]  # fmt: skip


def _parsed(data: bytes) -> SeparatorParts:
    start = len(SEPARATOR_MAGIC) + 1
    if data.startswith((LIST_MAGIC, ARCHIVE_MAGIC)):
        raise Fault("it is a network's file, or of another kind", "load networks by fastmem.load")
    if len(data) < start + _CRC_BYTES or not data.startswith(SEPARATOR_MAGIC):
        raise Fault("it is cut short or another kind of file", RETRIEVE)
    if zlib.crc32(data[:-_CRC_BYTES]).to_bytes(_CRC_BYTES, "little") != data[-_CRC_BYTES:]:
        raise Fault("its bytes are not those that were written: its checksum differs", RETRIEVE)
    if data[start - 1] != VERSION:
        raise Fault(
            f"it has version {data[start - 1]} of separators and this fastmem reads {VERSION}",
            "upgrade fastmem",
        )
    limit = max(ALWAYS_UNPACKED, _UNPACKED_RATIO * len(data))
    unpacker = zlib.decompressobj(-15)
    try:
        body = unpacker.decompress(data[start:-_CRC_BYTES], limit)
    except zlib.error as error:
        raise Fault(f"its content cannot be unpacked ({error})") from error
    if not unpacker.eof or unpacker.unused_data:
        raise Fault(f"its content is cut short, or unpacks to more than {limit} bytes")
    length = int.from_bytes(body[:4], "little")
    if len(body) < 4 + length:
        raise Fault("its facts are cut short")
    facts = _checked_facts(np.frombuffer(body, np.uint8, length, 4))
    arrays, weights = _arrays(facts, body[4 + length :])
    return _checked(facts, arrays, weights)


def _checked_facts(text: np.ndarray) -> dict[str, Any]:
    facts = parsed("facts", text)
    if not isinstance(facts, dict) or list(facts) != list(_FACTS):
        raise Fault(f"its facts are not a JSON object of {', '.join(_FACTS)}")
    sizes, bits = facts["sizes"], facts["bits"]
    is_list = isinstance(sizes, list) and len(sizes) == 5
    if not is_list or any(type(size) is not int or not 0 <= size < 1 << 40 for size in sizes):
        raise Fault("its sizes are not five whole numbers")
    if min(sizes[:4]) < 1:
        raise Fault(f"its sizes are {sizes}, which leaves no feature")
    if type(bits) is not int or not LEAST_BITS <= bits <= MOST_BITS:
        raise Fault(f"its weights have {bits} bits instead of {LEAST_BITS} to {MOST_BITS}")
    if facts["activation"] not in ("relu", "threshold"):
        raise Fault("its activation is neither relu nor threshold")
    if len(text) > (sizes[1] + sizes[2] + 2) * NAME_BYTES + MOST_BYTES:
        raise Fault(f"its facts take {len(text)} bytes")
    return facts


def _arrays(facts: dict[str, Any], body: bytes) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The arrays of a file, and its weights; their sizes are those of the bytes."""
    n, _, t, _, _ = facts["sizes"]
    bits, members = facts["bits"], _members(*facts["sizes"])
    n_packed = -(-n * t * bits // 8)
    expected = sum(np.dtype(dtype).itemsize * length for _, dtype, length in members) + n_packed
    if expected != len(body):
        raise Fault(f"its arrays take {expected} bytes, and {len(body)} are there")
    arrays, start = {}, 0
    for name, dtype, length in members:
        size = np.dtype(dtype).itemsize
        planes = np.frombuffer(body, np.uint8, size * length, start).reshape(size, length)
        plain = np.ascontiguousarray(planes.T).reshape(-1).view(dtype)
        arrays[name] = plain.astype(plain.dtype.newbyteorder("="))
        start += size * length
    octets = np.frombuffer(body, np.uint8, n_packed, start)
    if np.unpackbits(octets, bitorder="little")[n * t * bits :].any():
        raise Fault("its weights have bits beyond the last")
    weights = np.zeros(n * t, np.int64)
    step = 8 * 8192  # weights whose bits are unpacked at a time: whole bytes
    for first in range(0, n * t, step):
        last = min(first + step, n * t)
        some = octets[first * bits // 8 : -(-last * bits // 8)]
        each = np.unpackbits(some, count=(last - first) * bits, bitorder="little")
        wide = np.zeros((last - first, 64), np.uint8)
        wide[:, :bits] = each.reshape(-1, bits)
        numbers = np.packbits(wide, axis=1, bitorder="little").view("<u8")[:, 0]
        weights[first:last] = numbers.astype(np.int64) - (1 << (bits - 1))
    if (weights == -(1 << (bits - 1))).any():
        raise Fault("its weights have a number that no rounding gives")
    return arrays, weights.reshape(n, t)


def _checked(
    facts: dict[str, Any], arrays: dict[str, np.ndarray], weights: np.ndarray
) -> SeparatorParts:
    _, d, t, _, n_blocks = facts["sizes"]
    for name in ("reaches", "center", "origin", "intercepts"):
        if not np.isfinite(arrays[name]).all():
            raise Fault(f"{name} has a number that is not finite")
    radius = facts["radius"]
    if type(radius) is not float or not (math.isfinite(radius) and radius >= 0):
        raise Fault("radius is no distance")
    plain = {
        **arrays, "key": arrays["key"][0], "radius": np.array(radius),
        "extra": np.empty((0, d), np.float32),
    }  # fmt: skip
    if not n_blocks:
        del plain["blocks"]
    if plain["rows"].min() < 0:
        raise Fault("rows has a number below 0")
    first = layer_of(plain | keyed_layer(plain))
    labels = facts["classes"]
    is_pair = isinstance(labels, list) and len(labels) == 2 and isinstance(labels[1], list)
    count = len(labels[1]) if is_pair else 0
    if t != (1 if count == 2 else count):
        raise Fault(f"it has {count} classes, and weights for {t}")
    names, scale, encoding = facts["feature_names"], facts["scale"], facts["encoding"]
    check_summary(facts["summary"])
    if encoding is not None:
        try:
            encoding = Encoding.from_dict(encoding)
        except InvalidInputError as error:
            raise Fault(f"its encoding is none: {str(error).partition('; ')[0]}") from error
    return SeparatorParts(
        checked_labels(labels, count), first, facts["activation"], weights, arrays["intercepts"],
        facts["summary"], None if names is None else checked_names("feature_names", names, d),
        None if scale is None else np.ldexp(1.0, checked_exponents(scale, d)), encoding,
    )  # fmt: skip
