"""Parts of sentences about files."""

from __future__ import annotations

from collections.abc import Sequence
from tokenize import TokenError

from fastmem.inputs.refusals import NAMES_SHOWN, printable, show


def some(names: Sequence[str]) -> str:
    """Quote the first few names."""
    shown = ", ".join(show(name) for name in names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


def either(options: Sequence[str]) -> str:
    """Join with commas and a last "or"."""
    return " or ".join(filter(None, [", ".join(options[:-1]), options[-1]]))


def reason(error: BaseException) -> str:
    """Give an exception's text, which may quote the file, as the middle of a sentence."""
    text = error.args[0] if isinstance(error, TokenError) else str(error)
    lines = (getattr(error, "strerror", None) or text).strip().splitlines()
    return printable(lines[0]).rstrip(". ") if lines else type(error).__name__
