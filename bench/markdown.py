"""Tables in Markdown, and figures in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def line(cells: Sequence[str]) -> str:
    """Write a line of a table."""
    return f"| {' | '.join(cells)} |"


def head(columns: Sequence[str]) -> str:
    """Write the head of a table that is printed line by line."""
    return f"{line(columns)}\n{'| --- ' * len(columns)}|"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a whole table; its first column is aligned left, the others right."""
    lines = [line(columns), line(["---", *["--:"] * (len(columns) - 1)])]
    lines += [line([" ".join(cell.split()) for cell in row]) for row in rows]  # one line each
    return "\n".join(lines)


def figure(value: float | None) -> str:
    """Write a number with three figures, or nothing."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:.3g}"
