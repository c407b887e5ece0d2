"""The three pictures of the algorithm: `python fastmem/docs/figures/algorithm.py`."""

# %%
from pathlib import Path

import fastmem
from fastmem import plots
from fastmem.datasets import two_moons

HERE = Path(__file__).parent


def save(figure, name):
    """Save a figure in the directory of this script."""
    figure.savefig(HERE / name, dpi=100)


X, y = two_moons(400, 0.1, seed=1)

# %% Twelve hyperplanes cut the plane into cells; in some there are points of both classes
few = fastmem.interpolate(X, y, width=12, selection="random", covered=1, seed=3)
save(plots.tessellation(few, X, y).figure, "cells.png")

# %% Forty-eight can be enough: the neurons of the upper moon, by the paper's random selection
paper = fastmem.interpolate(X, y, width=48, selection="random", covered=0, seed=38)
save(plots.neuron_supports(paper, X, y), "neurons.png")

# %% Merged cells: fewer neurons, each of which is on for more points
merged = fastmem.interpolate(X, y, width=48, selection="merge", covered=0, seed=38)
save(plots.decision_regions(merged, X, y).figure, "merged.png")

# %% How many points the first neurons cover, of 20,000 noisy moons
X, y = two_moons(20_000, 0.15, seed=1)
networks = {
    kind: fastmem.interpolate(X, y, selection=kind, covered="all", seed=0)
    for kind in ("merge", "random")
}
save(plots.coverage_curve(networks, X, y).figure, "coverage.png")
print({kind: network.widths for kind, network in networks.items()})
