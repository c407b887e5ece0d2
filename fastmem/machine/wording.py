"""Parts of sentences about what comes from outside."""

from __future__ import annotations

from collections.abc import Sequence
from tokenize import TokenError


def printable(text: str, most: int = 300) -> str:
    """Return text of a foreign origin on one line, without what would move a terminal's cursor."""
    text = " ".join(text[: most + 1].split())
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text[:most] + "..." if len(text) > most else text


def either(options: Sequence[str]) -> str:
    """Join with commas and a last "or"."""
    return " or ".join(filter(None, [", ".join(options[:-1]), options[-1]]))


def reason(error: BaseException) -> str:
    """Give an exception's text, which may quote the file, as the middle of a sentence."""
    text = error.args[0] if isinstance(error, TokenError) else str(error)
    lines = (getattr(error, "strerror", None) or text).strip().splitlines()
    return printable(lines[0]).rstrip(". ") if lines else type(error).__name__
