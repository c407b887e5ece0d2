"""Mutual coverings: what the theorem says two classes need, whatever their number of points."""

from fastmem.geometry.covering import MutualCovering, mutual_covering

__all__ = ["MutualCovering", "mutual_covering"]
