"""What commands write: labels, and any file whole or not at all."""

from __future__ import annotations

import csv
import io
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from fastmem.inputs import InvalidInputError
from fastmem.tables.wording import either, reason

LABEL_SUFFIXES = (".csv", ".npy")

Array = NDArray[Any]


def write_labels(path: Path, labels: Array) -> None:
    """Write labels, shape (n_samples,), to a file as `label_writer` does."""
    with label_writer(path, np.unique(labels)) as write:
        write(labels)


@contextmanager
def label_writer(path: Path | None, classes: Array) -> Iterator[Callable[[Array], object]]:
    """Give what writes labels, as they come, to a file or standard output.

    Parameters
    ----------
    path : Path or None
        Ends in .csv (a header ``label``, then one a line) or .npy, and is written whole or not at
        all. None: standard output, one a line.
    classes : ndarray of shape (n_classes,)
        All labels that may come.

    Yields
    ------
    callable
        ``write(labels)``, labels of shape (n_samples,) among the classes.
    """
    values = classes.tolist()
    if path is None:
        lines = {label: f"{label}\n" for label in values}
        yield lambda labels: sys.stdout.writelines(lines[label] for label in labels.tolist())
        return
    with moved_when_complete(path) as temporary:
        if path.suffix.lower() == ".npy":
            with open(temporary, "xb") as file:
                yield from _npy_writer(file, classes)
        else:
            with open(temporary, "x", newline="", encoding="utf-8") as text:
                text.write("label\n")
                lines = {label: _csv_line(label) for label in values}
                yield lambda labels: text.writelines(lines[label] for label in labels.tolist())


def _csv_line(label: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([label])
    return line.getvalue()


def _npy_writer(file: IO[bytes], classes: Array) -> Iterator[Callable[[Array], object]]:
    """Write npy format through Python's own buffer; NumPy would hide a disk that is full."""
    dtype = (classes.astype(str) if classes.dtype == object else classes).dtype
    count = 0

    def header() -> None:
        file.seek(0)
        whole = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False}
        # its length is the same for any count: NumPy leaves room for arrays that grow
        npy_format.write_array_header_1_0(file, whole | {"shape": (count,)})

    def write(labels: Array) -> None:
        nonlocal count
        file.write(np.ascontiguousarray(labels, dtype).tobytes())
        count += len(labels)

    header()
    yield write
    header()


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
        Where the finished file belongs; what is there is replaced. A symbolic link is followed, and
        an old file keeps its permissions, as with ``Network.save``.

    Yields
    ------
    Path
        The name to write to; removed again if anything, Ctrl-C included, interrupts.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.
    """
    _refuse_device(path)
    target = Path(os.path.realpath(path))
    # not the number of the process: two containers may both have it
    temporary = target.with_name(f".fastmem-{secrets.token_hex(8)}.tmp")
    try:
        try:
            yield temporary
            with suppress(FileNotFoundError):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            os.replace(temporary, target)
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be written: {reason(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_output(path: Path, suffixes: Sequence[str], inputs: Sequence[Path] = ()) -> None:
    """Refuse a file that cannot be written, before the work that would be lost.

    Parameters
    ----------
    path : Path
        Where a result is to be written.
    suffixes : sequence of str
        What the name may end in.
    inputs : sequence of Path
        Files that the result is made of.

    Raises
    ------
    InvalidInputError
        If the suffix is another one, the file is one of the inputs, by whatever name, or there is
        no such directory to write to.
    """
    if path.suffix.lower() not in suffixes:
        raise InvalidInputError(
            f"{path} has the suffix {path.suffix!r}: give a name that ends in {either(suffixes)}"
        )
    if path.is_dir():
        raise InvalidInputError(f"{path} is a directory: give the name of a file")
    _refuse_device(path)
    if any(path.exists() and given.exists() and path.samefile(given) for given in inputs):
        raise InvalidInputError(
            f"{path} would be written over what it is made of: give the name of another file"
        )
    if not path.parent.is_dir():
        raise InvalidInputError(
            f"{path} cannot be written: there is no directory {path.parent}, so create it first"
        )
    if not os.access(path.parent, os.W_OK):
        raise InvalidInputError(
            f"{path} cannot be written: the directory {path.parent} is write-protected for you"
        )


def _refuse_device(path: Path) -> None:
    """Refuse what is there but no file: root could replace /dev/null."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InvalidInputError(f"{path} is not a regular file: give the name of a new file")
