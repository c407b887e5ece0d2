"""Parts of sentences about files."""

from __future__ import annotations

from collections.abc import Sequence

NAMES_SHOWN = 8


def some(names: Sequence[str]) -> str:
    """Quote the first few names."""
    shown = ", ".join(repr(name) for name in names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


def either(options: Sequence[str]) -> str:
    """Join with commas and a last "or"."""
    return " or ".join(filter(None, [", ".join(options[:-1]), options[-1]]))


def reason(error: BaseException) -> str:
    """Give an exception's text as the middle of a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    first_line = text.strip().splitlines()[0]
    return first_line.rstrip(". ")
