"""The command explain."""

from __future__ import annotations

import json as json_text
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmem.commands.application import Json, ModelFile, Threads, app, refuse
from fastmem.commands.describing import encoding_for, load_network
from fastmem.commands.predicting import WRONG_NAMES
from fastmem.commands.printing import print_json, print_rows, print_text
from fastmem.commands.raw_options import (
    Decimal,
    Delimiter,
    Header,
    Missing,
    TextEncoding,
    read_options,
)

if TYPE_CHECKING:
    from fastmem import Example, Explanation, Network
    from fastmem.tables import ReadingOptions

_KINDS = (".html", ".json", ".png")
_MOST_COLUMNS = 100
"""Columns of the points that a page shows."""


@app.command()
def explain(
    net: ModelFile,
    data: Annotated[
        Path, typer.Option(help="The rows that the network was fitted to, or others like them.")
    ],
    label: Annotated[
        str | None,
        typer.Option(
            help="Label column of the data: its name or 0-based index, -1 for the last.",
            show_default="the array y of an npz file",
        ),
    ] = None,
    row: Annotated[
        int | None, typer.Option(help="Row of the data to explain, from 0; or give --point.")
    ] = None,
    point: Annotated[
        Path | None, typer.Option(help="Table whose first row is to be explained.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the explanation: .html, .json, or .png for images.",
            show_default="none: it is printed",
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="Height and width of images, as 8x8.",
            show_default="a square, for .png, and for .html where features have no names",
        ),
    ] = None,
    prototypes: Annotated[int, typer.Option(help="Rows of either kind to show.")] = 3,
    changes: Annotated[int, typer.Option(help="Changes of single columns to show.")] = 3,
    json: Json = False,
    missing: Missing = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: TextEncoding = None,
    header: Header = None,
    threads: Threads = None,
) -> None:
    """Say why a row gets its label: what decided, rows like it, and what would change it."""
    from fastmem.machine.files import check_output

    if (row is None) == (point is None):
        refuse("explain needs one of --row and --point: give the point that is to be explained")
    inputs = [net, data] + ([] if point is None else [point])
    if out is not None:
        check_output(out, _KINDS, inputs)
    size = _read_shape(shape)
    network = load_network(net)
    options = read_options(missing, delimiter, decimal, encoding, header)
    table, numbers = _labelled(network, data, label, options)
    asked: Any = table.points if point is None else _points(network, point, label, options)
    place = 0 if row is None else _place(row, numbers, asked.n_samples, data)
    found = network.explain(
        asked.dense(_rows(place)), table.points, table.labels, n_prototypes=prototypes,
        n_changes=changes, n_threads=threads,
    )  # fmt: skip
    assert not isinstance(found, list)
    if numbers is not None:
        found = _renumbered(found, numbers)
    what = f"row {row} of {data.name}" if point is None else f"the first row of {point.name}"
    if out is not None:
        _write(found, out, f"Why {what} is {found.label}", size)
    if json:
        print_json(found.to_dict())
    elif out is None:
        _print(found, what)


def _rows(place: int) -> Any:
    import numpy as np

    return np.array([place])


def _read_shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isdecimal() for part in parts):
        refuse(f"--shape is {text!r}: give a height and a width, as 8x8")
    return tuple(map(int, parts))


def _labelled(
    network: Network, path: Path, label: str | None, options: ReadingOptions
) -> tuple[Any, Any]:
    """Points and labels of a table, and the rows that they are, or None where these are all."""
    from fastmem.inputs import check_names, check_points
    from fastmem.tables import load_encoded, load_table

    encode = encoding_for(network, path)
    if encode is None:
        plain = load_table(path, label, labels_required=True, options=options)
        plain.points = check_points(plain.points)
        check_names(plain.points.feature_names, network.feature_names, str(path), WRONG_NAMES)
        return plain, None
    if label is None:
        refuse(f"{path} has labels in a column: give its name with --label")
    table = load_encoded(path, label, encode, options)
    _warn(table.notes)
    return table, table.kept


def _points(network: Network, path: Path, label: str | None, options: ReadingOptions) -> Any:
    """The points of a table, which may have the column of labels too."""
    from fastmem.errors import InvalidInputError
    from fastmem.inputs import check_names, check_points
    from fastmem.tables import load_encoded, load_table

    encode = encoding_for(network, path)
    if encode is None:
        try:
            found = load_table(path, label, labels_required=False, options=options)
        except InvalidInputError:
            found = load_table(path, None, labels_required=False, options=options)
        points = check_points(found.points)
        check_names(points.feature_names, network.feature_names, str(path), WRONG_NAMES)
        return points
    table = load_encoded(path, None, encode, options)
    _warn(table.notes)
    return table.points


def _warn(notes: list[str]) -> None:
    for note in notes:
        typer.secho(f"Warning: {note}.", fg="yellow", err=True)


def _place(row: int, numbers: Any, n_rows: int, path: Path) -> int:
    """Where a row of a file is among its points."""
    import numpy as np

    if numbers is not None:
        found = np.flatnonzero(numbers == row)
        if not len(found):
            refuse(f"--row is {row}, which {path} does not have, or not with a label: give another")
        return int(found[0])
    if not 0 <= row < n_rows:
        refuse(f"--row is {row}, but {path} has rows 0 to {n_rows - 1:,}: give one of these")
    return row


def _renumbered(found: Explanation, numbers: Any) -> Explanation:
    """An explanation whose rows are those of the file."""

    def renumbered(examples: tuple[Example, ...]) -> tuple[Example, ...]:
        return tuple(replace(one, row=int(numbers[one.row])) for one in examples)

    return replace(
        found,
        prototypes=renumbered(found.prototypes),
        counter_prototypes=renumbered(found.counter_prototypes),
    )


def _write(found: Explanation, out: Path, title: str, size: tuple[int, ...] | None) -> None:
    from fastmem.machine.files import moved_when_complete

    suffix = out.suffix.lower()
    if suffix == ".png":
        content = _picture(found, size)
    elif suffix == ".json":
        content = json_text.dumps(found.to_dict(), indent=2).encode()
    else:
        content = _page(found, title, size).encode()
    with moved_when_complete(out) as temporary:
        temporary.write_bytes(content)
    typer.echo(f"Explanation written to {out}.", err=True)


def _picture(found: Explanation, size: tuple[int, ...] | None) -> bytes:
    import io

    from fastmem.plots import explained_image

    buffer = io.BytesIO()
    explained_image(found, shape=size).savefig(buffer, format="png")
    return buffer.getvalue()


def _page(found: Explanation, title: str, size: tuple[int, ...] | None) -> str:
    """The text of a page: sentences, the picture of images, columns of the points, changes."""
    from fastmem import pages
    from fastmem.machine.wording import printable
    from fastmem.network.explanations.words import change_rows, facts, points_shown, shown

    said = facts(found)
    label = said.pop("label")
    lead = [pages.card([("label", label, printable(said.pop("why")))])]
    parts = [*lead, *(pages.note(printable(sentence)) for sentence in said.values())]
    if found.changes:
        words = "The nearest points that were found with another label, by what differs."
        parts += [pages.heading("What would change it"), pages.note(words)]
        header, rows = change_rows(found)
        parts.append(pages.table(header, [list(map(printable, row)) for row in rows]))
    words = "Prototypes have its label, counter-prototypes another one; the nearest come first."
    rest = [pages.heading("Rows beside it"), pages.note(words)]
    if _is_drawn(found, size):
        from fastmem.plots import explained_image

        drawn = explained_image(found, shape=size)
        rest.append(pages.figure("The point, prototypes and others", drawn, is_whole=True))
    points = points_shown(found)
    names = list(points[0][2])[:_MOST_COLUMNS]
    if names:
        rows = [
            [printable(name), *(shown(values.get(name)) for *_, values in points)] for name in names
        ]
        header = ["column", *(f"{what} ({shown(label)})" for what, label, _ in points)]
        rest.append(pages.table(header, rows))
        left = len(points[0][2]) - len(names)
        rest.append(pages.note(f"{left:,} more columns are not shown." if left else ""))
    if len(rest) == 2:  # neither picture nor columns
        rows = [[what, shown(label)] for what, label, _ in points]
        rest.append(pages.table(["", "label"], rows))
    return pages.page(printable(title), parts + rest)


def _is_drawn(found: Explanation, size: tuple[int, ...] | None) -> bool:
    """Whether points are images as far as can be told."""
    import math
    from importlib.util import find_spec

    d = len(found.features)
    is_square = math.isqrt(d) ** 2 == d and d >= 64 and not found.values
    return size is not None or (is_square and find_spec("matplotlib") is not None)


def _print(found: Explanation, what: str) -> None:
    from fastmem.network.explanations.words import columns, shown

    print_text(f"Why {what} is {shown(found.label)}:\n\n{found}")
    points = [("the point", found.label, columns(found))]
    points += [(f"row {one.row}", one.label, columns(one)) for one in found.prototypes]
    points += [(f"row {one.row}", one.label, columns(one)) for one in found.counter_prototypes]
    if points[0][2]:
        header = ["column", *(f"{name} ({shown(label)})" for name, label, _ in points)]
        rows = [
            [name, *(shown(values.get(name)) for _, _, values in points)] for name in points[0][2]
        ]
        print_rows("Columns", header, rows)
