"""First layers: what hyperplanes are, and where their rows come from."""

from fastmem.hyperplanes.hyperplanes import Hyperplanes

__all__ = ["Hyperplanes"]
