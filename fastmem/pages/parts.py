"""The parts of a page: headings, notes, tables, figures, a card of the main figures."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Markup",
    "card",
    "code",
    "details",
    "explained",
    "figure",
    "gallery",
    "heading",
    "listed",
    "note",
    "table",
]

GROUND = "#f7f7f5"
"""Behind all pictures, whose black lines and texts could not be read on a dark page."""

SHORT = 30
"""Characters of a number with its range, which is not broken into lines."""


class Markup(str):
    """Text that is markup already; plain text is escaped wherever it enters a page."""

    __slots__ = ()


def _escaped(text: Any) -> str:
    return text if isinstance(text, Markup) else html.escape(str(text))


def code(text: str) -> Markup:
    """Give words of a program, to stand in a note."""
    return Markup(f"<code>{html.escape(text)}</code>")


def heading(text: str) -> Markup:
    """Give the heading of a section."""
    return Markup(f"<h2>{html.escape(text)}</h2>")


def note(*texts: str) -> Markup:
    """Give a paragraph of texts, one after the other; plain ones are escaped, markup is kept."""
    whole = "".join(_escaped(text) for text in texts)
    return Markup(f'<p class="note">{whole}</p>' if whole else "")


def table(
    header: Sequence[str], rows: Iterable[Sequence[Any]], *, texts: Collection[int] = (0,)
) -> Markup:
    """Give a table, which scrolls by itself where the page is narrow.

    Parameters
    ----------
    header : sequence of str
        Names of the columns; empty for a table without a head.
    rows : iterable of sequences
        Cells, as text or what `str` makes a text of.
    texts : collection of int, default (0,)
        Columns that stand at the left; numbers stand at the right.
    """

    def kind(k: int, value: Any) -> str:
        if k in texts:
            return ' class="text"'
        return ' class="short"' if len(str(value)) <= SHORT else ""

    def cells(tag: str, values: Sequence[Any]) -> str:
        return "".join(
            f"<{tag}{kind(k, value)}>{_escaped(value)}</{tag}>" for k, value in enumerate(values)
        )

    head = cells("th", header)
    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return Markup(f'<div class="wide"><table>{top}<tbody>\n{body}\n</tbody></table></div>')


def card(facts: Iterable[tuple[str, str, str]]) -> Markup:
    """Give the main figures as panels side by side: name, value, and what it means in words."""
    panels = "\n".join(
        f'<div><dt>{_escaped(name)}</dt><dd class="value">{_escaped(value)}</dd>'
        f'<dd class="meaning">{_escaped(meaning)}</dd></div>'
        for name, value, meaning in facts
    )
    return Markup(f'<dl class="card">\n{panels}\n</dl>')


def explained(facts: Iterable[tuple[str, str, str]]) -> Markup:
    """Give a table of names and values, with what each means in words below the value."""
    rows = (
        [name, Markup(f'{_escaped(value)}<span class="words">{_escaped(words)}</span>')]
        for name, value, words in facts
    )
    return table([], rows, texts=(0, 1))


def figure(title: str, picture: Figure, words: str = "", *, is_whole: bool = False) -> Markup:
    """Give a picture with its title.

    Parameters
    ----------
    title : str
        Stands above the picture, and for it where pictures are not shown.
    picture : matplotlib.figure.Figure
        It becomes a PNG inside the page, on a ground that is light whatever the page's is.
    words : str
        What it shows, in a sentence or two.
    is_whole : bool
        Take the whole width of the page.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # labels of scripts that the font lacks: they are boxes there, and text in the tables
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        picture.savefig(buffer, format="png", facecolor=GROUND)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    more = f"<p>{_escaped(words)}</p>" if words else ""
    kind = ' class="whole"' if is_whole else ""
    return Markup(
        f"<figure{kind}><figcaption>{_escaped(title)}{more}</figcaption>"
        f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}"></figure>'
    )


def gallery(figures: Iterable[Markup]) -> Markup:
    """Give figures side by side, as many as fit."""
    return Markup('<div class="pictures">\n' + "\n".join(figures) + "\n</div>")


def details(summary: str, parts: Iterable[Markup]) -> Markup:
    """Give parts that a reader opens."""
    inside = "\n".join(parts)
    return Markup(f"<details><summary>{_escaped(summary)}</summary>\n{inside}\n</details>")


def listed(items: Mapping[str, str]) -> Markup:
    """Give a list of names and sentences; nothing where there are none."""
    inside = "".join(f"<li>{_escaped(name)}: {_escaped(text)}</li>" for name, text in items.items())
    return Markup(f"<ul>{inside}</ul>" if inside else "")
