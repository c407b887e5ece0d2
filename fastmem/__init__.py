"""Networks that memorise labelled data exactly, built without training."""

from importlib import import_module as _import_module

from fastmem.algorithm import interpolate
from fastmem.errors import (
    ContradictionError,
    InvalidInputError,
    ModelFileError,
    UnknownValueWarning,
    UnseparatedWarning,
)
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.keyed import KeyedHyperplanes
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes
from fastmem.moved import register as _register_moved_paths
from fastmem.network.network import Network, load
from fastmem.network.report import FitReport, GrowthStep, ListReport, VoteReport
from fastmem.patterns.of_points import sign_patterns
from fastmem.readout import ReadOut
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.separation import SeparationReport, Separator, TriedWidth, separate
from fastmem.version import __version__
from fastmem.warming import warmup

__all__ = [
    "ContradictionError",
    "CoverLayer",
    "FitReport",
    "GrowthStep",
    "Hyperplanes",
    "InvalidInputError",
    "KeyedHyperplanes",
    "ListReport",
    "ModelFileError",
    "Network",
    "ReadOut",
    "SeededHyperplanes",
    "SeparationReport",
    "Separator",
    "StructuredHyperplanes",
    "TriedWidth",
    "UnknownValueWarning",
    "UnseparatedWarning",
    "VoteReport",
    "__version__",
    "interpolate",
    "load",
    "separate",
    "sign_patterns",
    "warmup",
]

_register_moved_paths()


def __getattr__(name: str) -> object:
    """Import what only keeps a documented path when it is asked for, as ``fastmem.memory`` is."""
    if name in ("compact", "memory"):
        return _import_module(f"fastmem.{name}")
    raise AttributeError(f"module 'fastmem' has no attribute {name!r}")
