"""The shape of what a network knows: Betti numbers of its points, patterns and decision regions."""

from fastmem.shapes.bounds import least_neurons
from fastmem.shapes.class_shapes import topology as topology  # documented as fastmem.topology
from fastmem.shapes.dimension import Dimensions, pattern_dimension
from fastmem.shapes.report import ClassShape, Persistence, Region, TopologyReport

__all__ = [
    "ClassShape",
    "Dimensions",
    "Persistence",
    "Region",
    "TopologyReport",
    "least_neurons",
    "pattern_dimension",
]
