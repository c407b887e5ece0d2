"""Paths of version 0.1.0 that are no files any more: its pickles find their classes by them.

Each becomes a module that knows these names, and fetches one when it is asked for it. What has a
file at its old path, `fastmem.compact` or `fastmem.experiments.complexity`, is imported there.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

MOVED = {
    "fastmem.frame": {
        "ContradictionError": "fastmem.errors",
        "Extent": "fastmem.hyperplanes.extent",
    },
    "fastmem.growth": {"GrowthStep": "fastmem.network.report"},
    "fastmem.model_file": {
        "ModelFileError": "fastmem.errors",
        "ModelParts": "fastmem.network.model_file",
    },
    "fastmem.relu": {
        "RealMargins": "fastmem.network.margins",
        "RealSums": "fastmem.second_layer.real_sums",
    },
    "fastmem.report": {
        "FitReport": "fastmem.network.report",
        "UnseparatedWarning": "fastmem.errors",
    },
    "fastmem.seeded": {
        "SeededHyperplanes": "fastmem.hyperplanes.seeded",
    },
    "fastmem.structured": {
        "StructuredHyperplanes": "fastmem.hyperplanes.structured",
        "StructuredRows": "fastmem.hyperplanes.structured",
    },
}
"""For each old path the names that were there, and the modules where they are."""


class _MovedModule(ModuleType):
    """An old path: fetches a name from its new home when it is asked for."""

    def __getattr__(self, name: str) -> object:
        home = MOVED[self.__name__].get(name)
        if home is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(import_module(home), name)


def register() -> None:
    """Let imports find the old paths."""
    for path in MOVED:
        sys.modules.setdefault(path, _MovedModule(path))
