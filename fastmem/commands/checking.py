"""Whether a network gives back the labels it was shown, and which rows it labels otherwise."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fastmem import Network
    from fastmem.tables import LabelledTable

CHECKED_AT_ONCE = 1 << 16

Array = NDArray[Any]


@dataclass(frozen=True)
class Wrong:
    """Points that a network labels otherwise than they were labelled.

    Attributes
    ----------
    rows : ndarray of int64
        Among the points, ascending.
    given, predicted : ndarray of shape (len(rows),)
    """

    rows: Array
    given: Array
    predicted: Array


def wrong_rows(network: Network, X: Any, y: Any) -> Wrong:
    """Predict all points, a few at a time, and compare."""
    from fastmem.inputs import check_points

    points = check_points(X)
    rows, given, predicted = [], [], []
    for start in range(0, points.n_samples, CHECKED_AT_ONCE):
        stop = min(start + CHECKED_AT_ONCE, points.n_samples)
        labels = network.predict(points.block(start, stop))
        truth = np.asarray(y[start:stop]).reshape(-1)
        wrong = np.flatnonzero(labels != truth)
        rows.append(start + wrong)
        given.append(truth[wrong])
        predicted.append(labels[wrong])
    return Wrong(*map(np.concatenate, (rows, given, predicted)))


def write_rows(path: Path, wrong: Wrong, row_numbers: Callable[[Array], Array]) -> None:
    """Write a table of rows, by their numbers in the file from 0, with both labels."""
    from fastmem.machine.files import moved_when_complete

    numbers = row_numbers(wrong.rows)
    with (
        moved_when_complete(path) as temporary,
        open(temporary, "x", newline="", encoding="utf-8") as text,
    ):
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["row", "label", "network"])
        columns = numbers.tolist(), wrong.given.tolist(), wrong.predicted.tolist()
        writer.writerows(zip(*columns, strict=True))


def left_out(table: LabelledTable) -> list[str]:
    """What to say of rows that have no label."""
    count = table.n_unlabelled
    return [f"{_rows(count)} without a label {_is(count)} left out"] if count else []


def unlike_the_data(network: Network, wrong: Wrong, table: LabelledTable) -> list[str]:
    """What a user has to know about rows that are left out or labelled otherwise."""
    report = network.report
    assert report is not None, "a network that was just fitted has a report"
    said = [f"{sentence}." for sentence in left_out(table)]
    relabelled = len(report.relabelled)
    if relabelled:
        said.append(
            f"{_rows(relabelled)} equal{'s' if relabelled == 1 else ''} others in everything but "
            f"the label, and {_is(relabelled)} labelled as most of these are: --wrong rows.csv "
            f"lists them, --contradictions raise refuses them."
        )
    n_contrary = len(report.contradictory)
    if n_contrary:
        said.append(
            f"{n_contrary:,} of {report.n_samples:,} points equal a point of another label and are "
            f"predicted wrong: remove or relabel them, or use --contradictions majority."
        )
    n_unseparated = len(report.unseparated) - n_contrary
    if n_unseparated:
        said.append(
            f"{n_unseparated:,} of {report.n_samples:,} points were not separated from "
            f"the other classes by so few hyperplanes and are predicted wrong: use --complete, "
            f"--width auto or a larger number."
        )
    return said


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
