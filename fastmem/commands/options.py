"""Values of options that are more than a number or a path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastmem.commands.application import refuse


def read_width(text: str) -> int | str:
    """Read --width: "auto", "smallest" or a whole number, whose range the library checks."""
    if text in ("auto", "smallest"):
        return text
    try:
        return int(text)
    except ValueError:
        refuse(f"--width is {text!r}: give auto, smallest or a whole number.")


def read_max_bias(text: str) -> float | str:
    """Read --max-bias: "auto", "radius", "norms" or a number, whose range the library checks."""
    if text in ("auto", "radius", "norms"):
        return text
    try:
        return float(text)
    except ValueError:
        refuse(f"--max-bias is {text!r}: give auto, radius, norms or a number.")


def read_margin(text: str) -> float | str:
    """Read --margin: "auto" or a number, whose range the library checks."""
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        refuse(f"--margin is {text!r}: give auto or a number from 0 to 1.")


def read_memory_limit(text: str | None) -> int | str | None:
    """Read --memory-limit: a number of bytes, or a text that the library reads."""
    return int(text) if text is not None and text.isdecimal() else text


def read_covered(texts: Sequence[str] | None, y: Any) -> Any:
    """Read --covered: "auto", "all", or labels, which become those of y."""
    if not texts:
        return "auto"
    if len(texts) == 1 and texts[0] in ("auto", "all"):
        return texts[0]
    labels = y.classes if hasattr(y, "classes") else y.reshape(-1)
    known = {str(label): label for label in labels.tolist()}
    known |= {str(int(v)): v for v in known.values() if isinstance(v, float) and v == int(v)}
    # A label that is not there goes on as it came: the library's sentence names the known ones.
    return [known.get(text, text) for text in texts]
