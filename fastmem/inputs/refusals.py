"""How input is refused: one sentence that names the value, where it is and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from fastmem.errors import InvalidInputError

NAMES_SHOWN = 8
UNREADABLE = (TypeError, ValueError, RuntimeError, OverflowError)  # what np.asarray raises


def refuse(sentence: str) -> NoReturn:
    """Raise the sentence."""
    raise InvalidInputError(sentence)


def show(value: Any) -> str:
    """Return a short text of a value, without NumPy's type around it."""
    value = value.item() if isinstance(value, np.generic) else value
    text = str(value) if isinstance(value, np.longdouble) else repr(value)
    return " ".join(text[:57].split()) + "..." if len(text) > 60 else text.replace("\n", " ")


def typed(value: Any) -> str:
    """Return a short text of a value and its type."""
    value = value.item() if isinstance(value, np.generic) else value
    return f"{show(value)} ({type(value).__name__})"


def listed(labels: np.ndarray) -> str:
    """Return the first ten labels as text."""
    text = ", ".join(show(label) for label in labels[:10])
    return text if len(labels) <= 10 else f"{text}, ... ({len(labels)} in all)"


def at(name: str, index: Sequence[Any] | np.ndarray) -> str:
    """Return the place of a value, as X[3, 1]."""
    return f"{name}[{', '.join(str(int(i)) for i in index)}]"


def whole(value: Any, name: str, otherwise: str, low: int = 1, high: int | None = None) -> int:
    """Return a whole number between bounds, both allowed."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if is_whole and value >= low and (high is None or value <= high):
        return int(value)
    bounds = f"of at least {low}" if high is None else f"from {low} to {high:,}"
    refuse(f"{name} is {typed(value)}; pass {f'{otherwise} or ' * bool(otherwise)}an int {bounds}")


def share(value: Any, name: str) -> float:
    """Return a number from 0 to 1."""
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if is_number and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    refuse(f"{name} is {typed(value)}; pass a number from 0 to 1")


def is_text(value: Any, *choices: str) -> bool:
    """Whether a value is one of these strings."""
    return isinstance(value, str) and value in choices


def did_you_mean(value: Any, choices: Sequence[str]) -> str:
    """Return " (did you mean ...?)" for a string close to a choice, else nothing."""
    from difflib import get_close_matches

    close = get_close_matches(value.lower(), choices, 1) if isinstance(value, str) else []
    return f" (did you mean {close[0]!r}?)" if close else ""
