"""Second layers: cells of the tessellation that cover a class and miss all others."""

from fastmem.second_layer.cover_layer import CoverLayer

__all__ = ["CoverLayer"]
