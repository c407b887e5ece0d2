"""What a user reads where an optional package is missing: its name and how to get it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs"]


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Name the extra of fastmem that brings a module which is missing inside the block.

    Parameters
    ----------
    extra : str
        As in ``pip install "fastmem-nets[extra]"``. Also a decorator of functions that import
        inside.

    Raises
    ------
    ModuleNotFoundError
        With that sentence; its ``name`` is the missing module's.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if "pip install" in str(missing):
            raise
        raise ModuleNotFoundError(
            f'{missing.name} is not installed: pip install "fastmem-nets[{extra}]"',
            name=missing.name,
        ) from missing
