"""The documented path of `NotEnoughMemoryError`."""

from fastmem.errors import NotEnoughMemoryError

__all__ = ["NotEnoughMemoryError"]
