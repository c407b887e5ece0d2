"""Save and load: one ``.npz`` file, no pickle, every byte accounted for.

The file is a zip archive of ``.npy`` members that ``numpy.load`` reads as well. A first layer of
stored weights makes a file of version 1::

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

All numbers are little-endian. The archive's comment, which is the end of the file, holds the
SHA-256 of every byte before the digest, so that no damage goes unseen, not even in the fields of
the container that readers ignore. The digest proves nothing against a file forged on purpose:
against that, `load` believes no size, type or value before it has checked it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import secrets
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from fastmem.hyperplanes import Hyperplanes
from fastmem.inputs import InvalidInputError, check_seeded, check_structured
from fastmem.second_layer import CoverLayer
from fastmem.seeded import SeededHyperplanes
from fastmem.structured import StructuredHyperplanes

if TYPE_CHECKING:
    from fastmem.network import Network

FORMAT_VERSION = 10

_RELU_VERSIONS = {1: 4, 2: 5}
"""Version of a file with ReLU activations, by that of its first layer."""

_NAMED = 5
"""What feature names add to the version of a file."""

_SEAL = b"fastmem model, sha256 of all before: "
_DIGEST_LENGTH = 64
_BLOCK = 1 << 20
_SAMPLE = 1 << 18
_LONG_GAP = 255
_NAME_BYTES = 4096

# A file may unpack to 64 MiB, or to 128 times its size if that is more. Deflate could reach 1,032
# times, which is what zip bombs live on; the sparsest masks of a real network, 23 of 100,000
# hyperplanes, reach 141, and the weights beside them do not shrink.
_ALWAYS_UNPACKED = 64 << 20
_UNPACKED_RATIO = 128
_DEFLATE_RATIO = 1032

_MAX_HEADER = 512
_MAX_MEMBERS = 64

_FLOATS = ("<f4", "<f8")
_STEPS = ("|i1", "<i2", "<i4", "<i8")
_COUNTS = ("|u1", "<u2", "<u4")

# name: (dtypes, number of dimensions); the dtype of classes is the labels' own
_Members = dict[str, tuple[tuple[str, ...] | None, int]]
_MEMBERS: dict[int, _Members] = {
    1: {
        "format_version": (("<i8",), 0),
        "classes": (None, 1),
        "weights": (("<f4",), 2),
        "biases": (("<f8",), 1),
        "origin": (("<f8",), 1),
        "radius": (("<f8",), 0),
        "masks": (("<u8",), 2),
        "thresholds": (("<i4",), 1),
        "owners": (("<i4",), 1),
        "covered": (("<i8",), 1),
        "summary": (("U",), 0),
    },
    2: {
        "format_version": (("<i8",), 0),
        "classes": (None, 1),
        "signs": (("<u8",), 3),
        "row_steps": (_STEPS, 1),
        "extra": (("<f4",), 2),
        "biases": (_FLOATS, 1),
        "origin": (_FLOATS, 1),
        "radius": (("<f8",), 0),
        "masks": (("<u8",), 2),
        "mask_sizes": (_COUNTS, 1),
        "mask_gaps": (("|u1",), 1),
        "thresholds": (_COUNTS, 1),
        "owners": (_COUNTS, 1),
        "covered": (_COUNTS, 1),
        "summary": (("|u1",), 1),
    },
}
_MEMBERS[3] = {
    {"signs": "key"}.get(name, name): (("<u8",), 0) if name == "signs" else kind
    for name, kind in _MEMBERS[2].items()
}
_MEMBERS[4] = _MEMBERS[1] | {"thresholds": (("<f8",), 1)}
_MEMBERS[5] = _MEMBERS[2] | {"thresholds": (_FLOATS, 1)}
for _version in range(1, _NAMED + 1):
    _MEMBERS[_version + _NAMED] = _MEMBERS[_version] | {"feature_names": (("|u1",), 1)}
_LABEL_DTYPES = tuple(np.dtype(c).newbyteorder("<") for c in "?bhilqBHILQefd")

_RETRIEVE = "copy it again from where it came from, or save the network again"
_REBUILD = "save the network again"
_MEND = "mend it or fit it again before saving"


class ModelFileError(ValueError):
    """A file is not a whole and valid fastmem model, or a network cannot be written as one."""


class _Fault(Exception):
    """What is wrong and what to do about it: two parts of a sentence."""

    def __init__(self, problem: str, remedy: str = _REBUILD) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


class _Header(NamedTuple):
    dtype: np.dtype
    shape: tuple[int, ...]
    n_bytes: int  # of the header itself


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a file.

    The file is written under a temporary name in the same directory, flushed to the disk and then
    moved to `path`: at every moment `path` holds the old file or the new one, never a part. A
    failure or Ctrl-C leaves no temporary file behind. The same network gives the same bytes with
    the same zlib.

    Parameters
    ----------
    network : Network
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
        contents = _contents(network)
    except _Fault as fault:
        raise ModelFileError(
            f"The network cannot be saved to {path!r} because {fault.problem}; {_MEND}."
        ) from fault
    # os.replace would put a file where the link is and leave the file that it points to as it was
    target = os.path.realpath(path)
    mode = _mode_of_existing(target, path)
    temporary = os.path.join(os.path.dirname(target), f".fastmem-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "x+b") as file:
            _write(contents, file)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary):
            error.filename = path
        raise


class ModelParts(NamedTuple):
    """What a model file holds: the arguments of `Network` but for the report."""

    classes: np.ndarray
    first: Hyperplanes
    second: CoverLayer
    covered: tuple[int, ...]
    summary: dict[str, int | float | str | None]
    feature_names: list[str] | None


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
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ModelFileError(
            f"{path!r} cannot be loaded because it is not a regular file; copy the model into one."
        )
    with _CappedReader(io.FileIO(path)) as file:
        try:
            arrays = _read(file)
            return ModelParts(
                arrays["classes"],
                _first_layer(arrays),
                CoverLayer(arrays["masks"], arrays["thresholds"], arrays["owners"]),
                tuple(arrays["covered"].tolist()),
                json.loads(arrays["summary"].item()),
                _feature_names(arrays),
            )
        except _Fault as fault:
            raise _refusal(path, fault) from fault
        except MemoryError as error:
            too_large = _Fault("memory does not suffice for it", "free memory and load it again")
            raise _refusal(path, too_large) from error
        except Exception as error:
            # zipfile, zlib, numpy.lib.format and json raise a dozen types on forged input
            detail = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
            unreadable = _Fault(f"it cannot be read as a model ({detail})", _RETRIEVE)
            raise _refusal(path, unreadable) from error


def size_in_file(network: Network) -> int:
    """Size in bytes of the file that `save` would write.

    Parameters
    ----------
    network : Network

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
        _write(_contents(network), buffer)
    except _Fault as fault:
        raise ModelFileError(
            f"The network has no size in a file because {fault.problem}; {_MEND}."
        ) from fault
    return buffer.getbuffer().nbytes


def _refusal(path: str, fault: _Fault) -> ModelFileError:
    problem = fault.problem
    if len(problem) > 500:  # names and labels from the file can be of any length
        problem = problem[:500] + "..."
    return ModelFileError(f"{path!r} cannot be loaded because {problem}; {fault.remedy}.")


def _mode_of_existing(target: str, path: str) -> int | None:
    """Permissions of the file that will be replaced; refuses what `open` for writing would."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ModelFileError(
            f"The network cannot be saved to {path!r} because that is not a regular file; "
            "name a new file."
        )
    try:
        open(target, "r+b").close()
    except OSError as error:
        error.filename = path
        raise
    return stat.S_IMODE(mode)


# What a model file may hold -------------------------------------------------------------------


def _contents(network: Network) -> dict[str, np.ndarray]:
    """Arrays of a network as the file holds them, checked as `read` checks them."""
    first, second = network.first, network.second
    kinds = {StructuredHyperplanes: 2, SeededHyperplanes: 3}
    version = next((number for kind, number in kinds.items() if isinstance(first, kind)), 1)
    if second.activation == "relu":
        if version not in _RELU_VERSIONS:
            raise _Fault("its ReLU activations come from hyperplanes that are not stored")
        version = _RELU_VERSIONS[version]
    if network.feature_names is not None:
        version += _NAMED
    values: dict[str, np.ndarray] = {
        "format_version": np.array(version, np.int64),
        "classes": _storable_labels(network.classes_),
    }
    if isinstance(first, StructuredHyperplanes):
        values |= {"signs": first.signs, "rows": first.rows, "extra": first.extra}
    elif isinstance(first, SeededHyperplanes):
        key = np.array(first.key, np.uint64)
        values |= {"key": key, "rows": first.rows, "extra": first.extra}
    else:
        values["weights"] = first.weights
    values |= {
        "biases": first.biases,
        "origin": first.origin,
        "radius": np.array(first.radius, np.float64),
        "masks": second.masks,
        "thresholds": second.thresholds,
        "owners": second.owners,
        "covered": np.array(network.covered, np.int64),
        "summary": _storable_summary(network.summary),
    }
    if network.feature_names is not None:
        names = json.dumps(list(network.feature_names))  # ASCII, whatever stands in them
        values["feature_names"] = np.frombuffer(names.encode(), np.uint8)
    if "rows" in values:
        values = {name: np.asarray(value) for name, value in values.items()}
        _check_plain(values)
        values = _packed(values)
    members = _MEMBERS[int(values["format_version"])]
    arrays = {name: _little_endian(np.asarray(values[name])) for name in members}
    for name, array in arrays.items():
        _check_dtype(name, array.dtype, members)
    _check_shapes({name: array.shape for name, array in arrays.items()}, members)
    _check_values(_unpacked(arrays))
    return arrays


# Plain and packed arrays: versions 2 and 3 pack those of a network into smaller ones ----------


def _check_plain(arrays: dict[str, np.ndarray]) -> None:
    """Refuse what `_packed` cannot take."""
    thresholds = "f8" if arrays["thresholds"].dtype.kind == "f" else "i4"
    kinds = {"thresholds": thresholds, "owners": "i4", "masks": "u8", "biases": "f8"}
    for name, dtype in kinds.items():
        if arrays[name].dtype != np.dtype(dtype):
            raise _Fault(f"{name} has dtype {arrays[name].dtype} instead of {np.dtype(dtype)}")
    _check_neurons(arrays)


def _packed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The members of a file of version 2 or 3."""
    rows = arrays["rows"].astype(np.int64)
    packed = arrays | {
        "row_steps": _smallest(np.diff(rows, prepend=0), _STEPS),
        "biases": _shortest(arrays["biases"]),
        "origin": _shortest(arrays["origin"]),
        "summary": np.frombuffer(arrays["summary"].item().encode(), np.uint8),
    }
    for name in ("thresholds", "owners", "covered"):
        is_real = arrays[name].dtype.kind == "f"
        packed[name] = _shortest(arrays[name]) if is_real else _smallest(arrays[name], _COUNTS)
    masks = arrays["masks"]
    lists = {"mask_sizes": np.empty(0, np.uint8), "mask_gaps": np.empty(0, np.uint8)}
    # 64 MiB: a reader makes a matrix of the lists, and believes no larger one
    if masks.size and masks.nbytes <= _ALWAYS_UNPACKED:
        some = masks[:: max(1, masks.nbytes // _SAMPLE)]
        if _deflated(*_mask_lists(some).values()) < _deflated(some):
            packed["masks"] = masks[:0]
            lists = _mask_lists(masks)
    return packed | lists


def _unpacked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `_packed` packed, from arrays whose types and shapes are checked."""
    if "row_steps" not in arrays:
        return arrays
    steps = arrays["row_steps"].astype(np.int64)
    rows = np.cumsum(steps)
    # |a step| < 2^33 excludes an overflow of the sums: n < 2^30 of them take 8 GB
    wrong = (steps > 1 << 33) | (steps < -(1 << 33)) | (rows != rows.astype(np.int32))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise _Fault(f"row_steps[{i}] is {steps[i]}, which leads to no row")
    try:
        summary = arrays["summary"].tobytes().decode()
    except UnicodeDecodeError as error:
        raise _Fault("the summary is no UTF-8 text") from error
    return arrays | {
        "rows": rows.astype(np.int32),
        "biases": arrays["biases"].astype(np.float64),
        "origin": arrays["origin"].astype(np.float64),
        "masks": arrays["masks"] if len(arrays["masks"]) else _masks_of_lists(arrays),
        "thresholds": _plain_thresholds(arrays["thresholds"]),
        "owners": _as_int32("owners", arrays["owners"]),
        "covered": arrays["covered"].astype(np.int64),
        "summary": np.array(summary),
    }


def _smallest(numbers: np.ndarray, dtypes: tuple[str, ...]) -> np.ndarray:
    """Integers in the first of some types that holds them all."""
    low, high = int(numbers.min(initial=0)), int(numbers.max(initial=0))
    for dtype in dtypes:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return numbers.astype(dtype)
    raise _Fault(f"a number from {low} to {high} does not fit {dtypes[-1]}")


def _shortest(numbers: np.ndarray) -> np.ndarray:
    """Floats as float32 if that changes none of them, not even the sign of a zero."""
    with np.errstate(over="ignore"):
        short = numbers.astype(np.float32)
    return short if short.astype(np.float64).tobytes() == numbers.tobytes() else numbers


def _plain_thresholds(thresholds: np.ndarray) -> np.ndarray:
    if thresholds.dtype.kind == "f":
        return thresholds.astype(np.float64)
    return _as_int32("thresholds", thresholds)


def _as_int32(name: str, numbers: np.ndarray) -> np.ndarray:
    if numbers.size and numbers.max() > np.iinfo(np.int32).max:
        i = int(np.argmax(numbers))
        raise _Fault(f"{name}[{i}] is {numbers[i]}, which does not fit int32")
    return numbers.astype(np.int32)


def _mask_lists(masks: np.ndarray) -> dict[str, np.ndarray]:
    """Masks as gaps between their ones; bytes, because wider ones deflate to a third more."""
    places = [  # one mask at a time: all as bytes would take 512 MB
        np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
        for mask in np.ascontiguousarray(masks, "<u8")
    ]
    gaps = np.concatenate([np.diff(ones, prepend=-1) - 1 for ones in places])
    lengths = gaps // _LONG_GAP + 1
    octets = np.full(lengths.sum(), _LONG_GAP, np.uint8)
    octets[np.cumsum(lengths) - 1] = gaps % _LONG_GAP
    owners = np.repeat(np.arange(len(masks)), [len(ones) for ones in places])
    sizes = np.bincount(owners, lengths, len(masks)).astype(np.int64)
    return {"mask_sizes": _smallest(sizes, _COUNTS), "mask_gaps": octets}


def _masks_of_lists(arrays: dict[str, np.ndarray]) -> np.ndarray:
    n, sizes = len(arrays["row_steps"]), arrays["mask_sizes"].astype(np.int64)
    if sizes.sum() != len(arrays["mask_gaps"]):
        raise _Fault(
            f"mask_sizes add up to {sizes.sum()} where mask_gaps holds {len(arrays['mask_gaps'])}"
        )
    gaps = arrays["mask_gaps"].astype(np.int64)
    is_one = gaps < _LONG_GAP
    owners = np.repeat(np.arange(len(sizes)), sizes)
    ends = np.cumsum(gaps + is_one)
    before = np.concatenate([[0], ends])[np.cumsum(sizes) - sizes]
    places = (ends - 1 - before[owners])[is_one]
    owners = owners[is_one]
    if (places >= n).any():
        i = owners[int(np.argmax(places >= n))]
        raise _Fault(f"masks[{i}] has bits beyond the {n} hyperplanes")
    masks = np.zeros((len(sizes), -(-n // 64)), np.uint64)
    np.bitwise_or.at(masks, (owners, places // 64), np.uint64(1) << (places % 64).astype(np.uint64))
    return masks


def _deflated(*arrays: np.ndarray) -> int:
    """Bytes that deflate makes of some arrays."""
    return sum([len(zlib.compress(array.tobytes())) for array in arrays])


def _first_layer(arrays: dict[str, np.ndarray]) -> Hyperplanes:
    frame = arrays["origin"], float(arrays["radius"])
    if "rows" in arrays:
        rows, extra = arrays["rows"], arrays["extra"]
        if "key" in arrays:
            return SeededHyperplanes(int(arrays["key"]), rows, extra, arrays["biases"], *frame)
        return StructuredHyperplanes(arrays["signs"], rows, extra, arrays["biases"], *frame)
    return Hyperplanes(arrays["weights"], arrays["biases"], *frame)


def _feature_names(arrays: dict[str, np.ndarray]) -> list[str] | None:
    """The names that stand in a file of version 6 to 10: one a feature."""
    if "feature_names" not in arrays:
        return None
    text, n_features = arrays["feature_names"], len(arrays["origin"])
    if len(text) > (n_features + 1) * _NAME_BYTES:  # a list of them takes many times as much
        raise _Fault(f"feature_names takes {len(text)} bytes for {n_features} features")
    try:
        names = json.loads(text.tobytes().decode())
    except UnicodeDecodeError as error:
        raise _Fault("feature_names is no UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise _Fault("feature_names is no JSON") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _Fault("feature_names is not a JSON list of strings")
    if len(names) != n_features:
        raise _Fault(f"feature_names holds {len(names)} names for {n_features} features")
    return names


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
            raise _Fault(
                f"class label {label!r} is not a number, a boolean or a string "
                "without a null character at its end"
            )
    return np.array(labels, np.str_)


def _storable_summary(summary: dict[str, int | float | str | None] | None) -> np.ndarray:
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in (summary or {}).items()
    }
    _check_summary(plain)
    return np.array(json.dumps(plain))


def _check_summary(summary: object) -> None:
    if not isinstance(summary, dict):
        raise _Fault("the summary is not a JSON object")
    for name, value in summary.items():
        if not isinstance(name, str):
            raise _Fault(f"the name {name!r} in the summary is not a string")
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise _Fault(
                f"entry {name!r} of the summary is a {type(value).__name__}, "
                "not a number, a boolean, a string or None"
            )


def _check_dtype(name: str, dtype: np.dtype, members: _Members) -> None:
    expected = members[name][0]
    if dtype.hasobject:
        raise _Fault(f"{name} holds Python objects, which only a pickle could store")
    is_text = dtype.kind == "U" and dtype.itemsize > 0 and dtype.newbyteorder("<") == dtype
    if expected is None:
        if not is_text and dtype not in _LABEL_DTYPES:
            raise _Fault(f"{name} has dtype {dtype}, which no class labels have")
    elif expected == ("U",):
        if not is_text:
            raise _Fault(f"{name} has dtype {dtype} instead of unicode text")
    elif dtype not in [np.dtype(one) for one in expected]:
        names = " or ".join(str(np.dtype(one)) for one in expected)
        raise _Fault(f"{name} has dtype {dtype} instead of {names}")


def _check_shapes(shapes: dict[str, tuple[int, ...]], members: _Members) -> None:
    """Refuse shapes that are wrong by themselves or against each other."""
    for name, (_, n_dimensions) in members.items():
        if len(shapes[name]) != n_dimensions:
            raise _Fault(f"{name} has {len(shapes[name])} dimensions instead of {n_dimensions}")
    (m,) = shapes["thresholds"]
    others: dict[str, tuple[int, ...]] = {}
    n_masks = m
    if "weights" in members:
        n, d = shapes["weights"]
    else:
        (n,), (_, d) = shapes["row_steps"], shapes["extra"]
        is_listed = shapes["masks"][0] == 0
        n_masks = 0 if is_listed else m
        others["mask_sizes"] = (m if is_listed else 0,)
        if not is_listed:
            others["mask_gaps"] = (0,)
        n_bytes = m * -(-n // 64) * 8
        if is_listed and n_bytes > _ALWAYS_UNPACKED:
            raise _Fault(f"its masks would unpack to {n_bytes}, above {_ALWAYS_UNPACKED}")
    for name, expected in {
        "biases": (n,),
        "origin": (d,),
        "masks": (n_masks, -(-n // 64)),
        "owners": (m,),
        **others,
    }.items():
        if shapes[name] != expected:
            raise _Fault(
                f"{name} has shape {shapes[name]} instead of {expected}, "
                f"as {n} hyperplanes in {d} dimensions and {m} neurons have"
            )
    (n_classes,) = shapes["classes"]
    (n_covered,) = shapes["covered"]
    if n < 1 or d < 1:
        name = "weights" if "weights" in members else "the first layer"
        raise _Fault(f"{name} has shape {(n, d)}, which leaves no hyperplane")
    if n_classes < 2:
        raise _Fault(f"classes holds {n_classes} labels instead of two or more")
    if not 1 <= n_covered <= n_classes:
        raise _Fault(f"covered names {n_covered} of {n_classes} classes")


def _check_values(arrays: dict[str, np.ndarray]) -> None:
    """Refuse values that no network has, in arrays whose types and shapes are checked."""
    layer = "weights" if "weights" in arrays else "extra"
    for name in (layer, "biases", "origin"):
        finite = np.isfinite(arrays[name])
        if not finite.all():
            where = np.unravel_index(int(np.argmin(finite)), finite.shape)
            index = ", ".join(str(i) for i in where)
            raise _Fault(f"{name}[{index}] is {arrays[name][where]}, which is not finite")
    radius = float(arrays["radius"])
    if not (math.isfinite(radius) and radius >= 0):
        raise _Fault(f"radius is {radius}, which is no distance")
    if "rows" in arrays:
        try:
            layer_arrays = arrays["rows"], arrays["extra"], arrays["biases"]
            if "key" in arrays:
                check_seeded(int(arrays["key"]), *layer_arrays)
            else:
                check_structured(arrays["signs"], *layer_arrays)
        except InvalidInputError as error:
            raise _Fault(str(error).partition("; ")[0]) from error
    _check_classes(arrays["classes"])
    _check_covered(arrays["covered"], len(arrays["classes"]))
    _check_neurons(arrays)
    _check_characters("summary", arrays["summary"])
    _check_summary(json.loads(arrays["summary"].item()))
    _feature_names(arrays)


def _check_classes(classes: np.ndarray) -> None:
    if classes.dtype.kind == "U":
        _check_characters("classes", classes)
    elif classes.dtype.kind == "b":
        wrong = _bytes_of(classes) > 1
        if wrong.any():
            raise _Fault("classes holds a boolean that is neither true nor false")
    elif classes.dtype.kind == "f" and not np.isfinite(classes).all():
        raise _Fault("classes holds a label that is not finite")
    ascending = classes[:-1] < classes[1:]
    if not ascending.all():
        i = int(np.argmin(ascending))
        pair = f"{classes[i].item()!r} and {classes[i + 1].item()!r}"
        raise _Fault(f"classes[{i}] and classes[{i + 1}] are {pair}, where labels must ascend")


def _check_characters(name: str, texts: np.ndarray) -> None:
    points = _bytes_of(texts).view("<u4")
    if points.size and points.max() > 0x10FFFF:
        raise _Fault(f"{name} holds U+{points.max():X}, which is no character")


def _check_covered(covered: np.ndarray, n_classes: int) -> None:
    unknown = (covered < 0) | (covered >= n_classes)
    if unknown.any():
        i = int(np.argmax(unknown))
        raise _Fault(f"covered[{i}] is {covered[i]}, where there are classes 0 to {n_classes - 1}")
    ascending = covered[:-1] < covered[1:]
    if not ascending.all():
        i = int(np.argmin(ascending)) + 1
        raise _Fault(f"covered[{i}] is {covered[i]} after {covered[i - 1]}, where codes ascend")


def _check_neurons(arrays: dict[str, np.ndarray]) -> None:
    thresholds, owners, masks = arrays["thresholds"], arrays["owners"], arrays["masks"]
    n = len(arrays["biases"])
    is_real = thresholds.dtype.kind == "f"
    most = np.finfo(np.float64).max if is_real else n
    right = (thresholds > 0) & (thresholds <= most)
    if not right.all():
        i = int(np.argmin(right))
        possible = "they are positive" if is_real else f"1 to {n} hyperplanes can count"
        raise _Fault(f"thresholds[{i}] is {thresholds[i]}, where {possible}")
    wrong = ~np.isin(owners, arrays["covered"])
    if wrong.any():
        i = int(np.argmax(wrong))
        raise _Fault(f"owners[{i}] is {owners[i]}, which is no covered class")
    falls = owners[1:] < owners[:-1]
    if falls.any():
        i = int(np.argmax(falls)) + 1
        raise _Fault(f"owners[{i}] is {owners[i]} after {owners[i - 1]}, where classes ascend")
    if n % 64:
        wrong = masks[:, -1] >> np.uint64(n % 64) != 0
        if wrong.any():
            i = int(np.argmax(wrong))
            raise _Fault(f"masks[{i}] has bits beyond the {n} hyperplanes")


# Writing --------------------------------------------------------------------------------------


def _write(arrays: dict[str, np.ndarray], file: IO[bytes]) -> None:
    members = {name: (_npy_header(array), _bytes_of(array)) for name, array in arrays.items()}
    worth = 7 / 8 if "weights" in arrays else 1.0
    unpacked = sum(len(header) + len(data) for header, data in members.values())
    for may_deflate in (True, False):
        file.seek(0)
        file.truncate()
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = _SEAL + b"0" * _DIGEST_LENGTH
            for name, (header, data) in members.items():
                deflate = may_deflate and _is_compressible(header, data, worth)
                _write_member(archive, name, header, data, deflate)
        size = file.seek(0, io.SEEK_END)
        if unpacked <= _unpacked_limit(size):
            break
    digest = _digest(file, size - _DIGEST_LENGTH)
    file.seek(size - _DIGEST_LENGTH)
    file.write(digest)


def _write_member(
    archive: zipfile.ZipFile, name: str, header: bytes, data: np.ndarray, deflate: bool
) -> None:
    # the constructor's fixed time stamp, and one system for all, make the bytes repeatable
    info = zipfile.ZipInfo(f"{name}.npy")
    info.create_system = 3
    info.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    info.file_size = len(header) + len(data)  # decides whether ZIP64 is needed
    with archive.open(info, "w") as stream:
        stream.write(header)
        for start in range(0, len(data), _BLOCK):  # in blocks, so that Ctrl-C is seen
            stream.write(data[start : start + _BLOCK].data)


def _is_compressible(header: bytes, data: np.ndarray, worth: float) -> bool:
    """Whether deflate leaves less than ``worth`` of the bytes, judged by sixteen pieces of 4 KiB.

    Measured: Gaussian weights shrink by 7 % at 38 MB/s, not worth waiting for; masks with 23 bits
    of 1,164 or 5,000 shrink to 0.21 or 0.07, masks with three quarters of the bits to 0.84,
    thresholds to 0.29.
    """
    step = max(4096, len(data) // 16)
    pieces = [data[i : i + 4096].tobytes() for i in range(0, len(data), step)]
    sample = header + b"".join(pieces)
    return len(zlib.compress(sample)) < int(len(sample) * worth)


def _npy_header(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    npy_format.write_array_header_1_0(buffer, npy_format.header_data_from_array_1_0(array))
    return buffer.getvalue()


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """View a C-contiguous array as its bytes."""
    return array.reshape(-1).view(np.uint8)


def _unpacked_limit(file_size: int) -> int:
    return max(_ALWAYS_UNPACKED, _UNPACKED_RATIO * file_size)


# Reading --------------------------------------------------------------------------------------


class _CappedReader(io.BufferedReader):
    """A file that gives at most one block a read, whatever a forged archive asks for.

    `zipfile` reads a whole directory at once, of a size that stands in the file.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and 0 <= size <= _BLOCK:
            return super().read(size)
        data = super().read(_BLOCK + 1)
        if len(data) > _BLOCK:
            raise _Fault("its directory is larger than a model's", _RETRIEVE)
        return data


def _read(file: _CappedReader) -> dict[str, np.ndarray]:
    """Read the arrays of a model file and check bytes, sizes, types and values, in this order."""
    size = file.seek(0, io.SEEK_END)
    _check_seal(file, size)
    with zipfile.ZipFile(file) as archive:
        infos = _check_directory(archive, size)
        members = _MEMBERS[_checked_version(archive, infos)]
        if list(infos) != list(members):
            raise _Fault(f"it holds {', '.join(map(repr, infos))} instead of a model's arrays")
        headers = {name: _read_header(archive, name, info, members) for name, info in infos.items()}
        _check_shapes({name: header.shape for name, header in headers.items()}, members)
        arrays = {name: _read_array(archive, infos[name], headers[name]) for name in infos}
    arrays = _unpacked(arrays)
    _check_values(arrays)
    return arrays


def _check_seal(file: _CappedReader, size: int) -> None:
    if not size:
        raise _Fault("it is empty", _RETRIEVE)
    sealed = size - _DIGEST_LENGTH
    file.seek(max(0, sealed - len(_SEAL)))
    if file.read(len(_SEAL)) != _SEAL:
        problem = "it does not end as a fastmem model does: it is cut short or another kind of file"
        raise _Fault(problem, _RETRIEVE)
    if file.read(_DIGEST_LENGTH) != _digest(file, sealed):
        raise _Fault("its bytes are not those that were written: its digest differs", _RETRIEVE)


def _digest(file: IO[bytes], size: int) -> bytes:
    """SHA-256 of the first `size` bytes of a file, in hexadecimal digits."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0:
        block = file.read(min(size, _BLOCK))
        if not block:
            raise _Fault("it ends before its arrays do", _RETRIEVE)
        digest.update(block)
        size -= len(block)
    return digest.hexdigest().encode()


def _check_directory(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return members by name; refuse some twice, encrypted or impossibly large."""
    infos: dict[str, zipfile.ZipInfo] = {}
    if len(archive.infolist()) > _MAX_MEMBERS:
        raise _Fault(f"it holds {len(archive.infolist())} members instead of {len(_MEMBERS[1])}")
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if info.filename == name or name in infos:
            raise _Fault(f"its member {info.filename!r} is no array or is there twice")
        if info.flag_bits & 1:
            raise _Fault(f"its member {name!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _Fault(f"its member {name!r} is packed by method {info.compress_type}")
        ratio = 1 if info.compress_type == zipfile.ZIP_STORED else _DEFLATE_RATIO
        if info.file_size > ratio * info.compress_size:
            raise _Fault(
                f"its member {name!r} claims {info.file_size} bytes from {info.compress_size}"
            )
        infos[name] = info
    packed = sum(info.compress_size for info in infos.values())
    if packed > size:
        raise _Fault(f"its members claim {packed} of its {size} bytes")
    unpacked = sum(info.file_size for info in infos.values())
    if unpacked > _unpacked_limit(size):
        raise _Fault(
            f"its {size} bytes would unpack to {unpacked}, above the limit of "
            f"{_unpacked_limit(size)}"
        )
    return infos


def _checked_version(archive: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo]) -> int:
    name = "format_version"
    if name not in infos:
        raise _Fault("it states no format version")
    header = _read_header(archive, name, infos[name], _MEMBERS[1])
    if header.shape:
        raise _Fault(f"{name} has {len(header.shape)} dimensions instead of 0")
    version = int(_read_array(archive, infos[name], header))
    if version > FORMAT_VERSION:
        raise _Fault(
            f"it has format version {version} and this fastmem reads up to {FORMAT_VERSION}",
            "upgrade fastmem",
        )
    if version < 1:
        raise _Fault(f"it has format version {version}, which never was")
    return version


def _read_header(
    archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo, members: _Members
) -> _Header:
    with archive.open(info) as stream:
        start = _read_exactly(stream, 10)
        if start[:8] != npy_format.magic(1, 0):
            raise _Fault(f"{name} is no array in .npy format 1.0")
        length = int.from_bytes(start[8:], "little")
        if length > _MAX_HEADER:
            raise _Fault(f"{name} has a header of {length} bytes instead of {_MAX_HEADER} or fewer")
        text = start[8:] + _read_exactly(stream, length)
    shape, fortran_order, dtype = npy_format.read_array_header_1_0(io.BytesIO(text))
    _check_dtype(name, dtype, members)
    if fortran_order:
        raise _Fault(f"{name} is stored by columns")
    if any(type(extent) is not int or extent < 0 for extent in shape):
        raise _Fault(f"{name} has the impossible shape {shape}")
    claimed = math.prod(shape) * dtype.itemsize
    stored = info.file_size - 10 - length
    if claimed != stored:
        raise _Fault(f"{name} claims {claimed} bytes in its header and stores {stored}")
    return _Header(dtype, shape, 10 + length)


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: _Header) -> np.ndarray:
    """Read an array whose type and size are checked already.

    The header and the array are all of the member: with its last byte zipfile compares the CRC.
    """
    array = np.empty(header.shape, header.dtype)
    data = _bytes_of(array)
    with archive.open(info) as stream:
        _read_exactly(stream, header.n_bytes)
        start = 0
        for block in _blocks(stream, len(data)):
            data[start : start + len(block)] = np.frombuffer(block, np.uint8)
            start += len(block)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _blocks(stream: IO[bytes], n_bytes: int) -> Iterator[bytes]:
    while n_bytes:
        block = stream.read(min(n_bytes, _BLOCK))
        if not block:
            raise _Fault("it ends before its arrays do", _RETRIEVE)
        n_bytes -= len(block)
        yield block


def _read_exactly(stream: IO[bytes], n_bytes: int) -> bytes:
    return b"".join(_blocks(stream, n_bytes))
