"""Parts of sentences about files."""

from __future__ import annotations

from collections.abc import Sequence

from fastmem.inputs.refusals import NAMES_SHOWN, show


def some(names: Sequence[str]) -> str:
    """Quote the first few names."""
    shown = ", ".join(show(name) for name in names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"
