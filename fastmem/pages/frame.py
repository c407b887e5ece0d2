"""The frame of a page: no script, nothing from elsewhere, light and dark, narrow and wide."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from string import Template

from fastmem.machine.files import moved_when_complete
from fastmem.pages.parts import GROUND, Markup

__all__ = ["page", "save"]

FRAME = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ground: #fff; --text: #1a1a1a; --soft: #4a4a4a;
 --line: #ccc; --faint: #e4e4e4; --panel: #f4f4f2; }
@media (prefers-color-scheme: dark) {
 :root { --ground: #16181b; --text: #e6e6e3; --soft: #b4b4b0; --line: #4a4d52; --faint: #303338;
  --panel: #202328; }
 figure img { filter: brightness(.92); }
}
* { box-sizing: border-box; }
body { background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, sans-serif;
 max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums;
 font-size: .94rem; }
th, td { padding: .25rem .7rem .25rem 0; text-align: right; max-width: 24rem;
 border-bottom: 1px solid var(--faint); overflow-wrap: break-word; }
th { vertical-align: bottom; font-weight: 600; }
td { vertical-align: top; }
td.short { white-space: nowrap; }
th.text, td.text { text-align: left; }
td .words { display: block; color: var(--soft); font-size: .9rem; max-width: 42rem; }
td:has(.words) { max-width: 42rem; }
.card { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr));
 gap: 1rem; margin: 1.2rem 0; }
.card div { background: var(--panel); border-radius: .4rem; padding: .7rem .9rem; }
.card dt { color: var(--soft); }
.card dd { margin: 0; }
.card .value { font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums;
 overflow-wrap: anywhere; }
.card .meaning { color: var(--soft); font-size: .9rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.5rem; }
figure { margin: 0; flex: 1 1 26rem; max-width: 34rem; min-width: 0; }
figure.whole { flex-basis: 100%; max-width: 100%; }
figure img { display: block; max-width: 100%; width: 100%; height: auto; background: $ground;
 border-radius: .4rem; }
figcaption { font-weight: 600; }
figcaption p { font-weight: 400; color: var(--soft); margin: 0 0 .4rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; }
.note { color: var(--soft); max-width: 46rem; overflow-wrap: break-word; }
@media print { :root { color-scheme: light; } details > * { display: block; } }
</style>
</head>
<body>
<h1>$title</h1>
$parts
</body>
</html>
""")


def page(title: str, parts: Iterable[Markup]) -> str:
    """Give the text of an HTML page.

    Parameters
    ----------
    title : str
        Plain text: the page's name and its first heading.
    parts : iterable of Markup
        What the functions of this room give, in their order; empty ones are left out.

    Returns
    -------
    str
        Everything is in it: pictures as data, no script, nothing from elsewhere.

    Raises
    ------
    TypeError
        If a part is plain text, which would not have been escaped.
    """
    kept = [part for part in parts if part]
    for part in kept:
        if not isinstance(part, Markup):
            raise TypeError(f"{part[:40]!r} is no markup: make it a part with note or table")
    return FRAME.substitute(title=html.escape(title), ground=GROUND, parts="\n".join(kept))


def save(text: str, path: Path) -> None:
    """Write a page to a file, whole or not at all.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.
    """
    with (
        moved_when_complete(path) as temporary,
        open(temporary, "x", encoding="utf-8") as file,
    ):
        file.write(text)
