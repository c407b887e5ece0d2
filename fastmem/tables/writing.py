"""What commands write: labels, and any file whole or not at all."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from fastmem.machine.files import moved_when_complete

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
        ``write(labels)``, labels of shape (n_samples,) among the classes; a masked one is left
        empty, but not in npy files.
    """
    values = classes.tolist()
    if path is None:
        lines = {label: f"{label}\n" for label in values} | {None: "\n"}
        yield lambda labels: sys.stdout.writelines(lines[label] for label in labels.tolist())
        return
    with moved_when_complete(path) as temporary:
        if path.suffix.lower() == ".npy":
            with open(temporary, "xb") as file:
                yield from _npy_writer(file, classes)
        else:
            with open(temporary, "x", newline="", encoding="utf-8") as text:
                text.write("label\n")
                lines = {label: _csv_line(label) for label in [*values, None]}
                yield lambda labels: text.writelines(lines[label] for label in labels.tolist())


@contextmanager
def score_writer(
    path: Path | None, classes: Array, what: str = "score"
) -> Iterator[Callable[[Array, Array], object]]:
    """Give what writes labels and scores, as they come, to a csv file or standard output.

    Parameters
    ----------
    path : Path or None
        Is written whole or not at all. None: standard output.
    classes : ndarray of shape (n_classes,)
        All labels that may come.
    what : str
        What the columns are called, before the name of their class.

    Yields
    ------
    callable
        ``write(labels, scores)``: labels of shape (n_samples,), a masked one left empty, scores as
        `Network.decision_function` gives them: (n_samples, n_classes), or (n_samples,) for the
        second of two classes.
    """
    names = classes.tolist()

    def written(text: IO[str]) -> Callable[[Array, Array], object]:
        writer = csv.writer(text, lineterminator="\n")
        scored = names if len(names) > 2 else names[1:]
        writer.writerow(["label", *(f"{what} {name}" for name in scored)])

        def write(labels: Array, scores: Array) -> None:
            columns = scores.reshape(len(labels), -1).tolist()
            writer.writerows(
                [label, *row] for label, row in zip(labels.tolist(), columns, strict=True)
            )

        return write

    if path is None:
        yield written(sys.stdout)
        return
    with (
        moved_when_complete(path) as temporary,
        open(temporary, "x", newline="", encoding="utf-8") as text,
    ):
        yield written(text)


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
