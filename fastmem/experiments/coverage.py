"""The documented path of what `fastmem.network.coverage` counts."""

from fastmem.network.coverage import coverage

__all__ = ["coverage"]
