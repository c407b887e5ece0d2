"""Files of NumPy: an array npy, or several in an npz archive."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import show
from fastmem.machine.memory import require
from fastmem.tables.columns import label_column
from fastmem.tables.raw_table import shown
from fastmem.tables.wording import some

ARRAY_SUFFIXES = (".npy", ".npz")

Array = NDArray[Any]

_NPY_HEADERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
    (3, 0): npy_format.read_array_header_2_0,  # for names of fields that are no Latin-1
}


def read_arrays(path: Path, label: str | None) -> tuple[Array, Array | None]:
    """Read points, and labels where there are any; parameters as of `load_table`."""
    return (_read_npy if path.suffix.lower() == ".npy" else _read_npz)(path, label)


def _read_npy(path: Path, label: str | None) -> tuple[Array, Array | None]:
    """Read a 2-D array, left on disk as a memory map unless a label column is taken out."""
    with open(path, "rb") as file:
        _check_claim(file, os.fstat(file.fileno()).st_size)
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return _split_columns(path, array, label)


def _read_npz(path: Path, label: str | None) -> tuple[Array, Array | None]:
    """Read the arrays X and y, or X alone with the labels in one of its columns."""
    if not zipfile.is_zipfile(path):
        raise InvalidInputError(
            f"{shown(path)} is not an npz file: write it with numpy.savez(path, X=X, y=y)"
        )
    # NumPy would leave a file open that it opened itself, where the archive is damaged.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        if "X" not in archive.files:
            raise InvalidInputError(
                f"{shown(path)} has no array X, only {some(archive.files)}: "
                "write it with numpy.savez(path, X=X, y=y)"
            )
        X = _member(archive, "X")
        labels_name = "y" if label is None else label
        if labels_name in archive.files and labels_name != "X":
            return X, _member(archive, labels_name)
    return _split_columns(path, X, label)


def _member(archive: Any, name: str) -> Array:
    """Read an array of an npz file."""
    info = archive.zip.getinfo(name if name in archive.zip.namelist() else f"{name}.npy")
    with archive.zip.open(info) as stream:
        _check_claim(stream, info.file_size, name)
    # a megabyte of zip may hold a thousand
    require(info.file_size, f"array {show(name)} of {archive.zip.filename}", "take fewer points")
    array: Array = archive[name]
    return array


def _check_claim(stream: IO[bytes], size: int, name: str = "") -> None:
    """Refuse an array in npy format that claims more than the ``size`` bytes there are.

    NumPy would take the memory first, or map what is not there.
    """
    version = npy_format.read_magic(stream)
    if version not in _NPY_HEADERS:
        raise ValueError(f"its array has npy format {version[0]}.{version[1]}, which is unknown")
    shape, _, dtype = _NPY_HEADERS[version](stream)
    if dtype.hasobject:
        cure = f"numpy.savez with {name}=numpy.array({name}.tolist())"
        if not name:
            cure = "numpy.save of numpy.array(array.tolist())"
        raise ValueError(
            f"its array {show(name) + ' ' if name else ''}holds Python objects, which only a "
            f"pickle could store, and a pickle may run any program: write it anew by {cure}"
        )
    if not dtype.itemsize:
        raise ValueError(f"its array has dtype {dtype}, which holds nothing")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > size or min(shape, default=0) < 0:
        raise ValueError(f"its array has shape {shape} and dtype {dtype} in {size:,} bytes")


def _split_columns(path: Path, array: Array, label: str | None) -> tuple[Array, Array | None]:
    """Take the label column, an index, out of a 2-D array."""
    if label is None:
        return array, None
    if array.ndim != 2 or array.dtype.names is not None:
        raise InvalidInputError(
            f"{shown(path)} holds an array of shape {array.shape} and dtype {array.dtype}: "
            "give a 2-D array of numbers, one row a point"
        )
    at = label_column(path, label, [], array.shape[1])
    return np.delete(np.asarray(array), at, axis=1), np.array(array[:, at])
