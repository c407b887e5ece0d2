"""Options about raw tables: how files are read, and what becomes of their columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fastmem.commands.application import refuse

if TYPE_CHECKING:
    from fastmem.encoding import Choices
    from fastmem.tables import ReadingOptions

Drop = Annotated[list[str] | None, typer.Option(help="Column to leave out; repeat for several.")]
Keep = Annotated[
    list[str] | None, typer.Option(help="Column to take, all others left out; repeat for several.")
]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--as",
        metavar="COLUMN=KIND",
        help="What a column holds: number, bool, category, one-hot, code, ordinal, date, time, or "
        "a pattern like %d.%m.%Y; repeat for several.",
        show_default="found out",
    ),
]
Missing = Annotated[
    list[str] | None,
    typer.Option(
        help="Text that stands for a missing value, beside the empty one, NA and their like; "
        "repeat for several."
    ),
]
Delimiter = Annotated[
    str | None, typer.Option(help="What separates columns of text.", show_default="found out")
]
Decimal = Annotated[
    str | None, typer.Option(help="Decimal mark of numbers.", show_default="found out")
]
TextEncoding = Annotated[
    str | None, typer.Option(help="Encoding of text, as utf-8.", show_default="found out")
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether the first row names the columns.",
        show_default="found out",
    ),
]


def read_options(
    missing: Sequence[str] | None,
    delimiter: str | None,
    decimal: str | None,
    encoding: str | None,
    header: bool | None,
) -> ReadingOptions:
    """Put together how a file is to be read."""
    from fastmem.tables import ReadingOptions

    return ReadingOptions(delimiter, decimal, encoding, header, tuple(missing or ()))


def read_choices(
    drop: Sequence[str] | None, keep: Sequence[str] | None, kinds: Sequence[str] | None
) -> Choices:
    """Put together what is to become of columns."""
    from fastmem.encoding import Choices

    wanted = {}
    for text in kinds or ():
        name, sign, kind = text.partition("=")
        if "%" not in text:  # a name may hold =, a kind may not
            name, sign, kind = text.rpartition("=")
        if not sign or not name or not kind:
            refuse(f"--as is {text!r}: give COLUMN=KIND, for instance size=ordinal")
        wanted[name] = kind
    return Choices(wanted, tuple(drop or ()), None if keep is None else tuple(keep))
