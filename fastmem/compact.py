"""The documented path of `Trial`."""

from fastmem.network.report import Trial

__all__ = ["Trial"]
