"""Networks that memorise labelled data exactly, built without training."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

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
from fastmem.network.explanations.report import Change, Example, Explanation
from fastmem.network.graph import Connectivity
from fastmem.network.loading import load
from fastmem.network.network import Network
from fastmem.network.report import FitReport, GrowthStep, ListReport, VoteReport
from fastmem.patterns.of_points import sign_patterns
from fastmem.readout import ReadOut
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.version import __version__
from fastmem.warming import warmup

if _TYPE_CHECKING:
    from fastmem.leaks import audit
    from fastmem.separation import SeparationReport, Separator, TriedWidth, separate
    from fastmem.shapes import topology

__all__ = [
    "Change",
    "Connectivity",
    "ContradictionError",
    "CoverLayer",
    "Example",
    "Explanation",
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
    "audit",
    "interpolate",
    "load",
    "separate",
    "sign_patterns",
    "topology",
    "warmup",
]

_register_moved_paths()

_LATE = {
    "SeparationReport": "separation",
    "Separator": "separation",
    "TriedWidth": "separation",
    "audit": "leaks",
    "separate": "separation",
    "topology": "shapes",
}
"""What only some programs ask for, and its room."""

_ROOMS = (
    "compact", "dask", "datasets", "experiments", "export", "geometry", "leaks", "memory", "plots",
    "ray", "separation", "shapes", "sklearn", "tables",
)  # fmt: skip
"""Documented modules, which are imported when asked for."""


def __getattr__(name: str) -> object:
    """Import what most programs do without when it is asked for."""
    if name in _LATE:
        return getattr(_import_module(f"fastmem.{_LATE[name]}"), name)
    if name in _ROOMS:
        try:
            return _import_module(f"fastmem.{name}")
        except ImportError as missing:  # of an extra: whoever looks through modules goes on
            raise AttributeError(str(missing)) from missing
    raise AttributeError(f"module 'fastmem' has no attribute {name!r}")
