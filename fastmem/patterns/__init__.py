"""Sign patterns: how the bits of points are decided, and where they are kept."""

from fastmem.patterns.of_points import sign_patterns

__all__ = ["sign_patterns"]
