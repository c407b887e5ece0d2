"""Tables and figures on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastmem.commands.terminal import SIGNS, spelled

PAGE_WIDTH = 100
LEFT = ("values",)
"""Columns of text, which starts at the left."""


def print_table(title: str, facts: dict[str, str]) -> None:
    """Print names and values in two columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fastmem.machine.wording import printable

    table = Table(title=Text(title), box=box.SIMPLE, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(spelled(printable(name))), Text(printable(value, 10_000)))
    Console().print(table)


def print_json(facts: dict[str, Any]) -> None:
    """Print facts for programs, on standard output."""
    import json

    import typer

    typer.echo(json.dumps(facts, indent=2))


def print_rows(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1
) -> None:
    """Print a table with a header; the first ``left`` columns begin at the left."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fastmem.machine.wording import printable

    table = Table(title=Text(title), box=box.SIMPLE, title_justify="left")
    for i, name in enumerate(header):
        justify = "right" if i >= left and name not in LEFT else "left"
        table.add_column(Text(spelled(name)), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(spelled(printable(cell), SIGNS)) for cell in row))
    console = Console()
    # piped output has no width to ask for: that of a page
    Console(width=None if console.is_terminal else PAGE_WIDTH).print(table)


def print_text(text: str) -> None:
    """Print sentences, broken into lines where the tables end."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    # two columns in, as the tables' cells are
    width = console.width if console.is_terminal else PAGE_WIDTH
    for line in Text(spelled(text)).wrap(console, width - 2):
        Console(width=width).print(Text("  ") + line)
    Console().print()


def share_of(part: int, whole: int) -> str:
    """Give a percentage that says 100 only where nothing is missing."""
    if part == whole:
        return f"100 % ({part:,} of {whole:,})"
    return f"{min(100 * part / whole, 99.9999):.4f} % ({part:,} of {whole:,})"


def size_of(count: int) -> str:
    """Give a size in the unit that leaves one to three digits before the point."""
    size = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
