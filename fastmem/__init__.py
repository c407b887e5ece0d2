"""Networks that memorise labelled data exactly, built without training."""

from fastmem.algorithm import interpolate
from fastmem.frame import ContradictionError
from fastmem.growth import GrowthStep
from fastmem.hyperplanes import Hyperplanes
from fastmem.inputs import InvalidInputError
from fastmem.model_file import ModelFileError
from fastmem.network import Network, load
from fastmem.patterns import sign_patterns
from fastmem.report import FitReport, UnseparatedWarning, __version__
from fastmem.second_layer import CoverLayer
from fastmem.seeded import SeededHyperplanes
from fastmem.structured import StructuredHyperplanes
from fastmem.warming import warmup

__all__ = [
    "ContradictionError",
    "CoverLayer",
    "FitReport",
    "GrowthStep",
    "Hyperplanes",
    "InvalidInputError",
    "ModelFileError",
    "Network",
    "SeededHyperplanes",
    "StructuredHyperplanes",
    "UnseparatedWarning",
    "__version__",
    "interpolate",
    "load",
    "sign_patterns",
    "warmup",
]
