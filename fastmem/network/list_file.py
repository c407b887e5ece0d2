"""The file of a decision list: a container of its own, where a zip archive costs a kilobyte.

::

    magic           4 bytes, 89 66 6d 6c
    version         1 byte, 1
    stream          of a range coder: the first layer's numbers, runs, sizes; see ``list_code``
    masks           whole numbers of mixed radix
    stored rows     their weights, float32, then their biases, float64; of most lists none
    description     a JSON object, deflated, if there is something to describe:
                    "classes", [dtype, [label, ...]], unless they are 0 to K - 1 in int64;
                    "feature_names", "scale" and "encoding" as in other model files;
                    "summary", an object
    CRC-32          4 bytes, of all before

All numbers are little-endian. The checksum tells damage: no change of up to 32 neighbouring bits
goes unseen. Against a file forged on purpose it proves nothing: every number is compared with what
the file has room for before anything is made of it, and a list must be written as `contents` would
write it.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.encoding import MOST_BYTES, Encoding
from fastmem.errors import InvalidInputError
from fastmem.hyperplanes.keyed import CoarseOrigin, KeyedHyperplanes, as_keyed
from fastmem.inputs import exponents_of
from fastmem.network.file_members import (
    ALWAYS_UNPACKED,
    LABEL_DTYPES,
    NAME_BYTES,
    check_classes,
    check_summary,
    checked_exponents,
    checked_names,
    parsed,
)
from fastmem.network.file_versions import LIST_MAGIC, RETRIEVE, Fault
from fastmem.network.list_code import (
    MOST_FEATURES,
    ListContent,
    Mask,
    Run,
    decoded,
    encoded,
    mask_order,
)
from fastmem.network.lists import literals_of, masks_of, runs_of
from fastmem.network.range_coder import CodeError
from fastmem.second_layer.cover_layer import CoverLayer

if TYPE_CHECKING:
    from fastmem.network.model_file import ModelParts

VERSION = 1
MOST_FILE_BYTES = 1 << 24
_CRC_BYTES = 4
_UNPACKED_RATIO = 128
_MOST_CLASSES = 1 << 16
ENTROPY_UNIT = 4096
"""An entropy of labels is kept in units of 1 / 4,096 bit."""
_MOST_ENTROPY = 1 << 18
_DESCRIBED = ("classes", "feature_names", "scale", "encoding", "summary")


def contents(parts: ModelParts) -> bytes:
    """All bytes of the file of a decision list.

    Hyperplanes that no neuron uses are left out; so is a neuron that is there twice in a run. Rows
    and the neurons of a run stand in an order of their own, which decides nothing.

    Raises
    ------
    Fault
        If `read_list` would refuse the file.
    """
    first = as_keyed(parts.first)
    if first.n_features > MOST_FEATURES:
        raise Fault(f"it has {first.n_features} features, more than {MOST_FEATURES}")
    content, used_extra = _content(parts, first)
    description = _description(parts)
    content.n_described = len(description)
    try:
        stream, masks = encoded(content)
    except CodeError as error:
        raise Fault(str(error)) from error
    extra = first.extra[used_extra].astype("<f4").tobytes()
    biases = first.extra_biases[used_extra].astype("<f8").tobytes()
    body = b"".join([LIST_MAGIC, bytes([VERSION]), stream, masks, extra, biases, description])
    data = body + zlib.crc32(body).to_bytes(_CRC_BYTES, "little")
    read_list(data)
    return data


def _content(parts: ModelParts, first: KeyedHyperplanes) -> tuple[ListContent, np.ndarray]:
    """The list in plain numbers; and which of the stored rows it uses."""
    second, owners = parts.second, parts.second.owners
    starts, literals = literals_of(second, len(first))
    rows = first.rows[literals].astype(np.int64)
    used_extra = np.unique(-1 - rows[rows < 0])
    n_keyed = int(rows.max(initial=-1)) + 1
    stored = rows < 0
    rows[stored] = n_keyed + np.searchsorted(used_extra, -1 - rows[stored])
    masks: list[list[Mask]] = [
        [] for _ in range(int(runs_of(owners)[-1]) + 1 if len(owners) else 0)
    ]
    for j, run in enumerate(runs_of(owners).tolist()):
        masks[run].append(tuple(sorted(set(rows[starts[j] : starts[j + 1]].tolist()))))
    run_owners = owners[np.flatnonzero(np.diff(owners, prepend=-1))].tolist()
    summary = parts.summary
    center, default = first.center, parts.default
    assert default is not None
    return ListContent(
        key=first.key,
        n_entries=first.n_entries,
        reach=first.reach,
        low=center.low,
        step=center.step,
        codes=center.codes,
        n_keyed=n_keyed,
        n_extra=len(used_extra),
        n_classes=len(parts.classes),
        default=default,
        runs=[
            Run(owner, sorted(set(some), key=mask_order))
            for owner, some in zip(run_owners, masks, strict=True)
        ],
        n_samples=summary["n_samples"] if _has_count(summary) else None,  # type: ignore[arg-type]
        entropy=_short_entropy(summary),
    ), used_extra


def _has_count(summary: dict[str, Any]) -> bool:
    count = summary.get("n_samples")
    return type(count) is int and 0 <= count < 1 << 48


def _short_entropy(summary: dict[str, Any]) -> int | None:
    """The entropy of the labels in its unit, if it is there and a multiple of that."""
    entropy = summary.get("label_entropy")
    if type(entropy) is not float or not 0 <= entropy * ENTROPY_UNIT < _MOST_ENTROPY:
        return None
    units = int(entropy * ENTROPY_UNIT)
    return units if units / ENTROPY_UNIT == entropy else None


def _description(parts: ModelParts) -> bytes:
    """What the numbers of a list do not say, as text; nothing where they say it all."""
    described: dict[str, Any] = {}
    classes = parts.classes
    if classes.dtype != np.int64 or not np.array_equal(classes, np.arange(len(classes))):
        described["classes"] = [classes.dtype.newbyteorder("<").str, classes.tolist()]
    if parts.feature_names is not None:
        described["feature_names"] = list(parts.feature_names)
    if parts.scale is not None:
        described["scale"] = exponents_of(parts.scale)
    if parts.encoding is not None:
        described["encoding"] = parts.encoding.to_dict()
    left = dict(parts.summary)
    if _has_count(left):
        del left["n_samples"]
    if _short_entropy(left) is not None:
        del left["label_entropy"]
    if left:
        described["summary"] = left
    if not described:
        return b""
    try:
        text = json.dumps(described, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Fault(f"its description cannot be written as JSON ({error})") from error
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(text) + packer.flush()


# Reading ------------------------------------------------------------------------------------------


def read_list(data: bytes) -> dict[str, Any]:
    """The parts of a network, by the names of `ModelParts`, in the bytes of a file.

    Raises
    ------
    Fault
        If they are no such file.
    """
    if len(data) > MOST_FILE_BYTES:
        raise Fault(f"it has {len(data)} bytes, more than a decision list's {MOST_FILE_BYTES}")
    start = len(LIST_MAGIC) + 1
    if len(data) < start + _CRC_BYTES or not data.startswith(LIST_MAGIC):
        raise Fault("it is cut short or another kind of file", RETRIEVE)
    body = data[:-_CRC_BYTES]
    if zlib.crc32(body).to_bytes(_CRC_BYTES, "little") != data[-_CRC_BYTES:]:
        raise Fault("its bytes are not those that were written: its checksum differs", RETRIEVE)
    version = body[start - 1]
    if version != VERSION:
        raise Fault(
            f"it has version {version} of decision lists and this fastmem reads {VERSION}",
            "upgrade fastmem",
        )
    try:
        content, used = decoded(body[start:])
    except CodeError as error:
        raise Fault(str(error)) from error
    rest = body[start + used :]
    limit = max(ALWAYS_UNPACKED, _UNPACKED_RATIO * len(data))
    first, second = _layers(content, rest, limit)
    end = _extra_bytes(content)
    if len(rest) - end != content.n_described:
        raise Fault(f"{len(rest) - end} bytes describe it instead of {content.n_described}")
    described = _read_description(rest[end:], content)
    summary: dict[str, Any] = described["summary"]
    if content.n_samples is not None:
        summary = {"n_samples": content.n_samples, **summary}
    if content.entropy is not None:
        summary["label_entropy"] = content.entropy / ENTROPY_UNIT
    return described | {
        "first": first, "second": second, "summary": summary, "default": content.default,
        "covered": tuple(np.unique(second.owners).tolist()),
    }  # fmt: skip


def _extra_bytes(content: ListContent) -> int:
    return content.n_extra * (4 * len(content.codes) + 8)


def _layers(content: ListContent, rest: bytes, limit: int) -> tuple[KeyedHyperplanes, CoverLayer]:
    d, n_extra = len(content.codes), content.n_extra
    masks = [(run.owner, mask) for run in content.runs for mask in run.masks]
    numbers = sorted({row for _, mask in masks for row in mask})
    keyed = [row for row in numbers if row < content.n_keyed]
    if content.n_keyed != (keyed[-1] + 1 if keyed else 0) or len(numbers) - len(keyed) != n_extra:
        raise Fault("it has rows that no neuron uses")
    n = max(1, len(numbers))
    size = len(masks) * -(-n // 64) * 8 + 16 * n * content.n_entries + 16 * n
    if len(rest) < _extra_bytes(content) or size > limit:
        raise Fault(f"its layers would unpack to {size} bytes, above the limit of {limit}")
    extra = np.frombuffer(rest, "<f4", n_extra * d).reshape(n_extra, d).astype(np.float32)
    biases = np.frombuffer(rest, "<f8", n_extra, 4 * n_extra * d).astype(np.float64)
    rows = np.array([*(keyed or [0] * (not n_extra)), *range(-1, -1 - n_extra, -1)], np.int32)
    try:
        center = CoarseOrigin(content.low, content.step, content.codes)
        first = KeyedHyperplanes(
            content.key, rows, content.n_entries, content.reach, center, extra, biases
        )
    except InvalidInputError as error:
        raise Fault(str(error).partition("; ")[0]) from error
    place = {row: i for i, row in enumerate(numbers)}
    starts = np.cumsum([0, *(len(mask) for _, mask in masks)])
    literals = np.array([place[row] for _, mask in masks for row in mask], np.int64)
    owners = np.array([owner for owner, _ in masks], np.int32)
    return first, CoverLayer(masks_of(starts, literals, n), np.ones(len(masks), np.int32), owners)


def _read_description(text: bytes, content: ListContent) -> dict[str, Any]:
    """Labels and what becomes of points before the first layer."""
    d, k = len(content.codes), content.n_classes
    described: Any = {}
    if text:
        unpacker = zlib.decompressobj(-15)
        most = (d + k + 1) * NAME_BYTES + MOST_BYTES
        try:
            plain = unpacker.decompress(text, min(most, ALWAYS_UNPACKED))
        except zlib.error as error:
            raise Fault(f"its description cannot be unpacked ({error})") from error
        if not unpacker.eof or unpacker.unused_data:
            raise Fault("its description is longer than one of its kind, or cut short")
        described = parsed("its description", np.frombuffer(plain, np.uint8))
    unknown = not isinstance(described, dict) or set(described) - set(_DESCRIBED)
    if unknown or (text and not described):
        raise Fault(f"its description is not a JSON object of some of {', '.join(_DESCRIBED)}")
    names, scale = described.get("feature_names"), described.get("scale")
    encoding, summary = described.get("encoding"), described.get("summary", {})
    check_summary(summary)
    if encoding is not None:
        try:
            encoding = Encoding.from_dict(encoding)
        except InvalidInputError as error:
            raise Fault(f"its encoding is none: {str(error).partition('; ')[0]}") from error
    return {
        "classes": checked_labels(described.get("classes"), k),
        "feature_names": None if names is None else checked_names("feature_names", names, d),
        "scale": None if scale is None else np.ldexp(1.0, checked_exponents(scale, d)),
        "encoding": encoding,
        "summary": summary,
    }


def checked_labels(given: Any, n_classes: int) -> np.ndarray:
    """Labels from a pair of a dtype and a list; 0 to K - 1 for None."""
    if given is None:
        if n_classes > _MOST_CLASSES:
            raise Fault(f"it has {n_classes} classes without names")
        return np.arange(n_classes)
    if not isinstance(given, list) or len(given) != 2 or not isinstance(given[1], list):
        raise Fault("classes is not a pair of a dtype and labels")
    name, labels = given
    known = {dtype.str: dtype for dtype in LABEL_DTYPES}
    is_text = isinstance(name, str) and name.startswith("<U") and name[2:].isdecimal()
    if len(labels) != n_classes:
        raise Fault(f"classes holds {len(labels)} labels instead of {n_classes}")
    kind = known[name].kind if isinstance(name, str) and name in known else "U"
    expected = {"U": str, "b": bool, "f": float}.get(kind, int)
    if not (is_text or kind != "U") or any(type(label) is not expected for label in labels):
        raise Fault("classes holds labels that are not of its dtype")
    longest = max(map(len, labels), default=0) if is_text else 0
    if is_text and int(name[2:]) != max(1, longest):
        raise Fault(f"classes has dtype {name}, where labels have up to {longest} characters")
    try:
        with np.errstate(over="raise"):
            classes = np.array(labels, np.dtype(name).newbyteorder("="))
    except (OverflowError, FloatingPointError, ValueError) as error:
        raise Fault(f"classes holds a label that {name} cannot") from error
    if classes.tolist() != labels:
        raise Fault(f"classes holds a label that {name} cannot")
    check_classes(classes)
    return classes
