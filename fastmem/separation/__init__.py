"""Random features that make classes linearly separable, and the certificate that they do."""

from fastmem.separation.measuring import separation_width
from fastmem.separation.report import SeparationReport, SeparationWidth, TriedWidth
from fastmem.separation.separating import separate
from fastmem.separation.separator import Separator

__all__ = [
    "SeparationReport",
    "SeparationWidth",
    "Separator",
    "TriedWidth",
    "separate",
    "separation_width",
]
