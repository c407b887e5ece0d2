"""Terminals and files of output that cannot hold every character: nothing fails for that.

What fastmem itself says is spelled in letters that they have; names and labels of users, whose
letters must not be mistaken for others, become escapes, and a note on standard error says so.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["SIGNS", "any_encoding", "spelled"]

HANDLER = "fastmem.escaped"
STRICT = ("strict", "surrogateescape")
"""How Python treats such characters unless PYTHONIOENCODING says otherwise."""
SIGNS = {"±": "+/-", "≥": ">="}
LETTERS = {"δ": "delta", "ω": "omega", "λ": "lambda", "⁻": "-", "⁺": "+"}
_lost: set[str] = set()


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        _lost.add(error.encoding)
    return codecs.backslashreplace_errors(error)


codecs.register_error(HANDLER, _escape)


@contextmanager
def any_encoding() -> Iterator[None]:
    r"""Let standard output and error take every character while the context lasts.

    At its end one line on standard error says where some became escapes, such as ``caf\xe9``.
    """
    _lost.clear()
    changed: list[tuple[Any, str]] = []
    for stream in (sys.stdout, sys.stderr):
        errors = getattr(stream, "errors", None)
        # streams of other programs, such as notebooks, have nothing to reconfigure
        if errors in STRICT and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)
            changed.append((stream, errors))
    try:
        yield
    finally:
        if _lost and sys.stderr is not None:
            lost = ", ".join(sorted(_lost))
            print(
                f"Characters that the output's encoding ({lost}) lacks are shown as escapes; "
                f"PYTHONIOENCODING=utf-8 writes them as they are.",
                file=sys.stderr,
            )
        for stream, errors in changed:
            if not stream.closed:
                stream.reconfigure(errors=errors)


def spelled(text: str, table: dict[str, str] | None = None) -> str:
    """Give a text of fastmem's own in characters that standard output has, as far as known.

    Parameters
    ----------
    text : str
    table : dict of str to str, optional
        What takes the place of a character that is lacking: by default `LETTERS` and `SIGNS`;
        `SIGNS` for what may be a label, whose letters stay.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    known = LETTERS | SIGNS if table is None else table
    return "".join(known.get(c, c) if not _has(encoding, c) else c for c in text)


def _has(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
