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
import io
import json
import os
import secrets
import stat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastmem.errors import ModelFileError
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes
from fastmem.network.file_archive import (
    CappedReader,
    read_members,
    write_members,
)
from fastmem.network.file_members import (
    FLOAT_MEMBERS,
    MEMBERS,
    NAMED,
    RELU_VERSIONS,
    RETRIEVE,
    Fault,
    check_dtype,
    check_plain,
    check_shapes,
    check_summary,
    check_values,
    checked_feature_names,
)
from fastmem.network.file_packing import (
    pack,
    unpack,
)
from fastmem.second_layer.cover_layer import CoverLayer

if TYPE_CHECKING:
    from fastmem.network.network import Network

MEMBERS[3] = {
    {"signs": "key"}.get(name, name): (("<u8",), 0) if name == "signs" else kind
    for name, kind in MEMBERS[2].items()
}
MEMBERS[4] = MEMBERS[1] | {"thresholds": (("<f8",), 1)}
MEMBERS[5] = MEMBERS[2] | {"thresholds": (FLOAT_MEMBERS, 1)}
for _version in range(1, NAMED + 1):
    MEMBERS[_version + NAMED] = MEMBERS[_version] | {"feature_names": (("|u1",), 1)}
_MEND = "mend it or fit it again before saving"


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
    except Fault as fault:
        raise ModelFileError(
            f"The network cannot be saved to {path!r} because {fault.problem}; {_MEND}."
        ) from fault
    # os.replace would put a file where the link is and leave the file that it points to as it was
    target = os.path.realpath(path)
    mode = _mode_of_existing(target, path)
    temporary = os.path.join(os.path.dirname(target), f".fastmem-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "x+b") as file:
            write_members(contents, file)
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
    with CappedReader(io.FileIO(path)) as file:
        try:
            arrays = read_members(file)
            return ModelParts(
                arrays["classes"],
                _first_layer(arrays),
                CoverLayer(arrays["masks"], arrays["thresholds"], arrays["owners"]),
                tuple(arrays["covered"].tolist()),
                json.loads(arrays["summary"].item()),
                checked_feature_names(arrays),
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
        write_members(_contents(network), buffer)
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
        if version not in RELU_VERSIONS:
            raise Fault("its ReLU activations come from hyperplanes that are not stored")
        version = RELU_VERSIONS[version]
    if network.feature_names is not None:
        version += NAMED
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
        check_plain(values)
        values = pack(values)
    members = MEMBERS[int(values["format_version"])]
    arrays = {name: _little_endian(np.asarray(values[name])) for name in members}
    for name, array in arrays.items():
        check_dtype(name, array.dtype, members)
    check_shapes({name: array.shape for name, array in arrays.items()}, members)
    check_values(unpack(arrays))
    return arrays


# Plain and packed arrays: versions 2 and 3 pack those of a network into smaller ones ----------


def _first_layer(arrays: dict[str, np.ndarray]) -> Hyperplanes:
    frame = arrays["origin"], float(arrays["radius"])
    if "rows" in arrays:
        rows, extra = arrays["rows"], arrays["extra"]
        if "key" in arrays:
            return SeededHyperplanes(int(arrays["key"]), rows, extra, arrays["biases"], *frame)
        return StructuredHyperplanes(arrays["signs"], rows, extra, arrays["biases"], *frame)
    return Hyperplanes(arrays["weights"], arrays["biases"], *frame)


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


# Writing --------------------------------------------------------------------------------------


# Reading --------------------------------------------------------------------------------------
