"""Mutual coverings: what the theorem says two classes need, whatever their number of points."""

from fastmem.geometry.covering import DRAWS as DRAWS
from fastmem.geometry.covering import FIRST_CONSTANTS as FIRST_CONSTANTS
from fastmem.geometry.covering import MAX_CENTRES as MAX_CENTRES
from fastmem.geometry.covering import RADIUS_FACTOR as RADIUS_FACTOR
from fastmem.geometry.covering import SECOND_CONSTANT as SECOND_CONSTANT
from fastmem.geometry.covering import MutualCovering, mutual_covering

__all__ = ["MutualCovering", "mutual_covering"]
