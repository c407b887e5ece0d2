"""Pictures of networks and of what they cover, with matplotlib (the extra ``plot``)."""

from fastmem.plots.cells import tessellation
from fastmem.plots.curves import coverage_curve, widths_over_samples
from fastmem.plots.explanations import explained_image
from fastmem.plots.graphs import network_graph
from fastmem.plots.persistence import nerve_graph, persistence_bars
from fastmem.plots.regions import decision_regions, save_decision_regions
from fastmem.plots.supports import neuron_supports

__all__ = [
    "coverage_curve",
    "decision_regions",
    "explained_image",
    "nerve_graph",
    "network_graph",
    "neuron_supports",
    "persistence_bars",
    "save_decision_regions",
    "tessellation",
    "widths_over_samples",
]
