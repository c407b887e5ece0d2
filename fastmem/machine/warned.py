"""Warnings that point to the user's line."""

from __future__ import annotations

import sys
import warnings

_ROOM = __name__.partition(".")[0]


def warn_user(sentence: str, category: type[Warning]) -> None:
    """Warn at the line of the innermost caller outside the package, however deep it was called."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__")):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, category, stacklevel=level)


def _is_ours(module: object) -> bool:  # which code that is run by hand may name as it likes
    return str(module).partition(".")[0] == _ROOM
