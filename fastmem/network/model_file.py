"""Save and load: one ``.npz`` file, no pickle, every byte accounted for.

The file is a zip archive of ``.npy`` members that ``numpy.load`` reads as well. Networks that this
version fits make files of versions 19 to 24, whose first layers come from a key: see the end. All
others are of layers made by hand or by older versions. One of stored weights makes a file of
version 1::

    format_version  ()                int64
    classes         (K,)              bool, integer, float or unicode; sorted
    weights         (n, d)            float32
    biases          (n,)              float64
    origin          (d,)              float64
    radius          ()                float64
    masks           (m, ceil(n/64))   uint64, bit k of word j is hyperplane 64 j + k
    thresholds      (m,)              int32
    owners          (m,)              int32, index into classes; ascending
    covered         (c,)              int64, index into classes; sorted
    summary         ()                unicode, a JSON object of numbers, strings, booleans and nulls

and one of structured hyperplanes a file of version 2, made to be small::

    format_version  ()                int64
    classes         (K,)              as above
    signs           (b, r, D/64)      uint64, see ``fastmem.StructuredHyperplanes``
    row_steps       (n,)              int8 to int64: rows[0], rows[1] - rows[0], ...
    extra           (n_extra, d)      float32
    biases          (n,)              float32 if they all are such numbers, else float64
    origin          (d,)              float32 if they all are such numbers, else float64
    radius          ()                float64
    masks           (m, ceil(n/64))   uint64, or (0, ceil(n/64)), and then
    mask_sizes      (m,)              uint8 to uint32, gaps of each mask, else (0,), and
    mask_gaps       (sum of sizes,)   uint8, zeros before each one; 255 is 255 zeros and no one
    thresholds      (m,)              uint8 to uint32
    owners          (m,)              uint8 to uint32
    covered         (c,)              uint8 to uint32
    summary         (length,)         uint8, UTF-8

Hyperplanes that are computed from a key make a file of version 3: as version 2, but instead of
``signs``::

    key             ()                uint64, see ``fastmem.SeededHyperplanes``

Networks with ReLU activations make files of version 4, as version 1 but for::

    thresholds      (m,)              float64

and, of structured hyperplanes, of version 5, as version 2 but for::

    thresholds      (m,)              float32 if they all are such numbers, else float64

A network with feature names makes a file of a version higher by 5, 6 to 10, with one more member
at the end::

    feature_names   (length,)         uint8, UTF-8, a JSON list of d strings

and one whose points are scaled, or whose table is encoded, before the first layer a file of a
version higher by 10, 11 to 15, with this member at the end instead::

    inputs          (length,)         uint8, UTF-8, a JSON object:
                                      "feature_names", a list of d strings, or null;
                                      "scale", a list of d whole numbers, the exponents of the
                                      powers of two, or null;
                                      "encoding", an object as ``Encoding.to_dict`` gives, or null

A network with a read-out makes a file of version 16, 17 or 18, with hyperplanes that are stored,
structured or computed from a key. It has three members, since each takes some 175 bytes beside its
numbers::

    format_version  ()                int64
    facts           (length,)         uint8, UTF-8, a JSON object:
                                      "arrays", a list of [dtype, extent, ...] for each array;
                                      "summary", the object of the other versions;
                                      "inputs", the object of versions 11 to 15, or null where
                                      names, scale and encoding all are;
                                      "multiplier", 3, 5 or 7, of a read-out where it is not 1
    arrays          (length,)         uint8: the arrays one after another, of each the lowest bytes
                                      of all its elements, then the next ones, ...

The arrays are those of version 2 or 3, or ``weights`` (n, d) float32 with the others of version 2,
from classes to covered, and then, see ``fastmem.ReadOut``::

    vote_key        ()                uint64
    exponent        ()                int16
    offsets         (d,)              int8 to int64 if they all are such numbers, else float64
    vote_weights    (n_votes, K)      int8; (n_votes, 1) for two classes
    intercepts      (K,) or (1,)      int8 to int64
    gains           (m,)              uint8 to uint64
    temperature     ()                float64
    reach           ()                float64

A first layer of which all but some rows and biases come from a key makes a file of version 19, or
20 where it is structured; with ReLU 21 or 22, with a read-out 23 or 24. Members and facts are those
of versions 16 to 18, and the first arrays, from the key to the origin::

    key             ()                uint64, of the first layer's law, ``hyperplanes/bias_law.py``
    block_steps     (b,)              int8 to int64: numbers of blocks; where structured only
    row_steps, extra                  as in version 2; of block k of these, not of the key's
    reaches         (r,)              float32 if they all are such numbers, else float64
    center          (d,)              int8 to int64, times 2^center_exponent, or float64; (0,) where
    center_exponent ()                int16                              it is the origin
    own             (ceil(n/8),)      uint8, bit k of byte j is hyperplane 8 j + k: its bias is not
    own_biases      (ones of own,)    float32 or float64                 from the key, but here
    origin          (d,)              as center
    origin_exponent ()                int16

A decision list makes a file that is no archive; see ``list_file``.

All numbers are little-endian. The archive's comment, which is the end of the file, holds the
SHA-256 of every byte before the digest, so that no damage goes unseen, not even in the fields of
the container that readers ignore. The digest proves nothing against a file forged on purpose:
against that, `load` believes no size, type or value before it has checked it.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, NamedTuple

import numpy as np

from fastmem.encoding import Encoding
from fastmem.errors import InvalidInputError, ModelFileError
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes
from fastmem.inputs import exponents_of
from fastmem.machine.files import check_replaceable, is_special, replaced_when_complete
from fastmem.network.file_archive import CappedReader, read_members, write_members
from fastmem.network.file_joining import joined
from fastmem.network.file_keys import arrays_of_keyed, is_keyed, layer_of
from fastmem.network.file_members import (
    check_dtype,
    check_plain,
    check_shapes,
    check_summary,
    check_values,
    checked_feature_names,
    checked_inputs,
)
from fastmem.network.file_packing import pack, unpack
from fastmem.network.file_versions import (
    LIST_MAGIC,
    MEMBERS,
    MULTIPLIER,
    RETRIEVE,
    SEPARATOR_MAGIC,
    VERSIONS,
    Fault,
    number_of,
    version_of,
)
from fastmem.network.list_file import MOST_FILE_BYTES, contents, read_list
from fastmem.readout import ReadOut
from fastmem.second_layer.cover_layer import CoverLayer

_MEND = "mend it or fit it again before saving"


class ModelParts(NamedTuple):
    """What a model file holds: the arguments of `Network` but for the report."""

    classes: np.ndarray
    first: Hyperplanes
    second: CoverLayer
    covered: tuple[int, ...]
    summary: dict[str, int | float | str | None]
    feature_names: Sequence[str] | None
    scale: np.ndarray | None = None
    encoding: Encoding | None = None
    readout: ReadOut | None = None
    default: int | None = None


def save(parts: ModelParts, path: str | os.PathLike[str]) -> None:
    """Write the parts of a network to a file.

    The file is written under a temporary name in the same directory, flushed to the disk and then
    moved to `path`: at every moment `path` holds the old file or the new one, never a part. A
    failure or Ctrl-C leaves no temporary file behind. The same network gives the same bytes with
    the same zlib.

    Parameters
    ----------
    parts : ModelParts
    path : str or os.PathLike
        Used exactly as given: no suffix is added (``.npz`` is usual). A symbolic link is followed.
        A new file gets the permissions of any other new file, an old one keeps its own.

    Raises
    ------
    ModelFileError
        If the network is not one that `read` would accept, or `path` is neither a regular file
        nor free.
    OSError
        As from `open`: no such directory, no permission, no space; nothing is changed then.

    Notes
    -----
    Class labels that are strings come back as a fixed-width unicode array, whatever array held
    them before.
    """
    path = os.fsdecode(path)
    try:
        write = _writer(parts)
    except Fault as fault:
        raise ModelFileError(
            f"The network cannot be saved to {path!r} because {fault.problem}; {_MEND}."
        ) from fault
    check_replaceable(path, lambda: _no_regular_file(path))
    with replaced_when_complete(path) as temporary, open(temporary, "x+b") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _writer(parts: ModelParts) -> Callable[[IO[bytes]], object]:
    """What writes the file of a network, whose parts are checked as `read` checks them."""
    if parts.default is None:
        return partial(write_members, _arrays(parts))
    data = contents(parts._replace(classes=_storable_labels(parts.classes)))
    return lambda file: file.write(data)


def _no_regular_file(path: str) -> ModelFileError:
    return ModelFileError(
        f"The network cannot be saved to {path!r} because that is not a regular file; "
        "name a new file."
    )


def read(path: str | os.PathLike[str]) -> ModelParts:
    """Read the parts of a network from a file that `save` wrote.

    Nothing in the file is executed or believed: it holds no pickle, and every size, type and value
    is checked before it is used. The arrays together stay below 64 MiB or 128 times the file's
    size, whichever is more.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    ModelParts
        Equal to the saved ones bit for bit.

    Raises
    ------
    ModelFileError
        If the file is damaged, is not a fastmem model, or was written by a newer fastmem.
    OSError
        As from `open`: no such file, no permission, a directory.
    """
    path = os.fsdecode(path)
    # opening a named pipe would wait for a writer
    if is_special(os.stat(path).st_mode):
        raise ModelFileError(
            f"{path!r} cannot be loaded because it is not a regular file; copy the model into one."
        )
    with CappedReader(io.FileIO(path)) as file:
        try:
            start = file.peek(len(LIST_MAGIC))
            if start.startswith(SEPARATOR_MAGIC):
                raise Fault("it is a separator's file", "load it by fastmem.Separator.load")
            if start.startswith(LIST_MAGIC):
                return ModelParts(**read_list(_whole(file)))
            arrays = read_members(file)
            return ModelParts(
                arrays["classes"],
                _first_layer(arrays),
                CoverLayer(arrays["masks"], arrays["thresholds"], arrays["owners"]),
                tuple(arrays["covered"].tolist()),
                json.loads(arrays["summary"].item()),
                *_inputs(arrays),
                _readout(arrays),
            )
        except Fault as fault:
            raise _refusal(path, fault) from fault
        except MemoryError as error:
            too_large = Fault("memory does not suffice for it", "free memory and load it again")
            raise _refusal(path, too_large) from error
        except Exception as error:
            # zipfile, zlib, numpy.lib.format and json raise a dozen types on forged input
            detail = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
            unreadable = Fault(f"it cannot be read as a model ({detail})", RETRIEVE)
            raise _refusal(path, unreadable) from error


def _whole(file: CappedReader) -> bytes:
    """All bytes of a file that is not larger than that of a decision list can be."""
    blocks = iter(lambda: file.read(1 << 20), b"")
    size = file.seek(0, io.SEEK_END)
    if size > MOST_FILE_BYTES:
        raise Fault(f"it has {size} bytes, more than a decision list's {MOST_FILE_BYTES}")
    file.seek(0)
    return b"".join(blocks)


def size_in_file(parts: ModelParts) -> int:
    """Size in bytes of the file that `save` would write.

    Parameters
    ----------
    parts : ModelParts

    Returns
    -------
    int

    Raises
    ------
    ModelFileError
        If `save` would refuse the network.
    """
    buffer = io.BytesIO()
    try:
        _writer(parts)(buffer)
    except Fault as fault:
        raise ModelFileError(
            f"The network has no size in a file because {fault.problem}; {_MEND}."
        ) from fault
    return buffer.getbuffer().nbytes


def _refusal(path: str, fault: Fault) -> ModelFileError:
    problem = fault.problem
    if len(problem) > 500:  # names and labels from the file can be of any length
        problem = problem[:500] + "..."
    return ModelFileError(f"{path!r} cannot be loaded because {problem}; {fault.remedy}.")


def _arrays(parts: ModelParts) -> dict[str, np.ndarray]:
    """Arrays of a network as the file holds them, checked as `read` checks them."""
    first, second = parts.first, parts.second
    described = parts.scale is not None or parts.encoding is not None
    named = parts.feature_names is not None and not described
    votes = parts.readout is not None
    number = number_of(
        _kind(first), second.activation, named=named, described=described, votes=votes,
        keyed=is_keyed(first),
    )  # fmt: skip
    values: dict[str, np.ndarray] = {
        "format_version": np.array(number, np.int64),
        "classes": _storable_labels(parts.classes),
        **_arrays_of_first(first),
        "biases": first.biases,
        "origin": first.origin,
        "radius": np.array(first.radius, np.float64),
        "masks": second.masks,
        "thresholds": second.thresholds,
        "owners": second.owners,
        "covered": np.array(parts.covered, np.int64),
        "summary": _storable_summary(parts.summary),
    }
    if parts.readout is not None:
        values |= _arrays_of_readout(parts.readout)
    if described or VERSIONS[number].joined:
        values["inputs"] = _storable_inputs(parts)
    elif parts.feature_names is not None:
        names = json.dumps(list(parts.feature_names))  # ASCII, whatever stands in them
        values["feature_names"] = np.frombuffer(names.encode(), np.uint8)
    if VERSIONS[number].packed:
        values = {name: np.asarray(value) for name, value in values.items()}
        check_plain(values)
        values = pack(values)
    members = MEMBERS[number]
    arrays = {name: _little_endian(np.asarray(values[name])) for name in members}
    for name, array in arrays.items():
        check_dtype(name, array.dtype, members)
    check_shapes({name: array.shape for name, array in arrays.items()}, number)
    checked = unpack(arrays)
    check_values(checked)
    _inputs(checked)
    _readout(checked)
    return joined(arrays) if VERSIONS[number].joined else arrays


def _kind(first: Hyperplanes) -> str:
    """How a first layer is given, in the words of `Version`."""
    if isinstance(first, StructuredHyperplanes):
        return "structured"
    return "seeded" if isinstance(first, SeededHyperplanes) else "stored"


def _arrays_of_first(first: Hyperplanes) -> dict[str, np.ndarray]:
    if is_keyed(first):
        return arrays_of_keyed(first)
    if isinstance(first, StructuredHyperplanes):
        return {"signs": first.signs, "rows": first.rows, "extra": first.extra}
    if isinstance(first, SeededHyperplanes):
        key = np.array(first.key, np.uint64)
        return {"key": key, "rows": first.rows, "extra": first.extra}
    return {"weights": first.weights}


def _first_layer(arrays: dict[str, np.ndarray]) -> Hyperplanes:
    """The reverse of `_arrays_of_first`."""
    if version_of(arrays).keyed:
        return layer_of(arrays)
    kind = version_of(arrays).first
    shared = arrays["biases"], arrays["origin"], float(arrays["radius"])
    if kind == "structured":
        return StructuredHyperplanes(arrays["signs"], arrays["rows"], arrays["extra"], *shared)
    if kind == "seeded":
        return SeededHyperplanes(int(arrays["key"]), arrays["rows"], arrays["extra"], *shared)
    return Hyperplanes(arrays["weights"], *shared)


def _storable_inputs(parts: ModelParts) -> np.ndarray:
    """What becomes of points before the first layer, as text."""
    if parts.feature_names is None and parts.scale is None and parts.encoding is None:
        return np.frombuffer(b"null", np.uint8)
    described = {
        "feature_names": None if parts.feature_names is None else list(parts.feature_names),
        "scale": None if parts.scale is None else exponents_of(parts.scale),
        "encoding": None if parts.encoding is None else parts.encoding.to_dict(),
    }
    try:
        text = json.dumps(described, allow_nan=False)  # ASCII, whatever stands in it
    except (TypeError, ValueError, RecursionError) as error:
        raise Fault(f"its encoding cannot be written as JSON ({error})") from error
    return np.frombuffer(text.encode(), np.uint8)


def _inputs(
    arrays: dict[str, np.ndarray],
) -> tuple[list[str] | None, np.ndarray | None, Encoding | None]:
    """Feature names, scale and encoding."""
    if not version_of(arrays).described:
        return checked_feature_names(arrays), None, None
    names, exponents, encoding = checked_inputs(arrays)
    scale = None if exponents is None else np.ldexp(1.0, exponents)
    if encoding is None:
        return names, scale, None
    try:
        return names, scale, Encoding.from_dict(encoding)
    except InvalidInputError as error:
        raise Fault(f"its encoding is none: {str(error).partition('; ')[0]}") from error


def _arrays_of_readout(readout: ReadOut) -> dict[str, np.ndarray]:
    return {
        "vote_key": np.array(readout.key, np.uint64),
        "exponent": np.array(readout.exponent, np.int16),
        "offsets": readout.offsets,
        "vote_weights": readout.weights,
        "intercepts": readout.intercepts,
        "gains": readout.gains,
        "temperature": np.array(readout.temperature, np.float64),
        "reach": np.array(readout.reach, np.float64),
        MULTIPLIER: np.array(readout.multiplier, np.uint8),
    }


def _readout(arrays: dict[str, np.ndarray]) -> ReadOut | None:
    """The reverse of `_arrays_of_readout`."""
    if not version_of(arrays).votes:
        return None
    try:
        return ReadOut(
            int(arrays["vote_key"]), int(arrays["exponent"]), arrays["offsets"],
            arrays["vote_weights"], arrays["intercepts"], arrays["gains"],
            float(arrays["temperature"]), float(arrays["reach"]), int(arrays[MULTIPLIER]),
        )  # fmt: skip
    except InvalidInputError as error:
        raise Fault(f"its read-out is none: {str(error).partition('; ')[0]}") from error


def _little_endian(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _storable_labels(classes: np.ndarray) -> np.ndarray:
    classes = np.asarray(classes)
    if classes.dtype.kind not in "OT":
        return classes
    labels = classes.tolist()
    for label in labels:
        # a fixed-width array drops the null characters at the end of its strings
        if not isinstance(label, str) or label.endswith("\0"):
            raise Fault(
                f"class label {label!r} is not a number, a boolean or a string "
                "without a null character at its end"
            )
    return np.array(labels, np.str_)


def _storable_summary(summary: dict[str, int | float | str | None] | None) -> np.ndarray:
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in (summary or {}).items()
    }
    check_summary(plain)
    return np.array(json.dumps(plain))
