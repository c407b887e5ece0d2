"""What commands write: labels, and any file whole or not at all."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmem.inputs import InvalidInputError
from fastmem.tables.wording import either, reason

LABEL_SUFFIXES = (".csv", ".npy")

Array = NDArray[Any]


def write_labels(path: Path, labels: Array) -> None:
    """Write labels as csv (a header ``label``, then one a line) or npy, whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in .csv or .npy.
    labels : ndarray, shape (n_samples,)
        Numbers, bools or strings.
    """
    with moved_when_complete(path) as temporary:
        if path.suffix.lower() == ".npy":
            storable = labels.astype(str) if labels.dtype == object else labels
            save_array(temporary, storable)
        else:
            with open(temporary, "x", newline="", encoding="utf-8") as text:
                writer = csv.writer(text, lineterminator="\n")
                writer.writerow(["label"])
                writer.writerows([label] for label in labels.tolist())


def save_array(path: Path, array: Array) -> None:
    """Write a new file in npy format through Python's own buffer.

    NumPy would write through C's, and say nothing where the last of it finds no room.
    """
    try:
        with open(path, "xb") as file:
            np.save(SimpleNamespace(write=file.write), array, allow_pickle=False)
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def moved_when_complete(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, and move that file there once it is complete.

    Parameters
    ----------
    path : Path
        Where the finished file belongs; what is there is replaced.

    Yields
    ------
    Path
        The name to write to; removed again if anything, Ctrl-C included, interrupts.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            yield temporary
            os.replace(temporary, path)
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be written: {reason(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_output(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse a file that cannot be written, before the work that would be lost.

    Parameters
    ----------
    path : Path
        Where a result is to be written.
    suffixes : sequence of str
        What the name may end in.

    Raises
    ------
    InvalidInputError
        If the suffix is another one, or there is no such directory to write to.
    """
    if path.suffix.lower() not in suffixes:
        raise InvalidInputError(
            f"{path} has the suffix {path.suffix!r}: give a name that ends in {either(suffixes)}"
        )
    if path.is_dir():
        raise InvalidInputError(f"{path} is a directory: give the name of a file")
    if not path.parent.is_dir():
        raise InvalidInputError(
            f"{path} cannot be written: there is no directory {path.parent}, so create it first"
        )
    if not os.access(path.parent, os.W_OK):
        raise InvalidInputError(
            f"{path} cannot be written: the directory {path.parent} is write-protected for you"
        )
