"""Small networks as graphs: hyperplanes, neurons and classes in three columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.machine.extras import needs
from fastmem.network.checking import check_network
from fastmem.patterns.words import unpacked
from fastmem.plots.canvas import CLASS_COLOURS, LINE_COLOUR, new_figure, plain_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastmem.network.network import Network

MOST_NODES = 200


@needs("plot")
def network_graph(network: Network) -> Figure:
    """Draw the connections of a small network; ``figure.savefig("net.svg")`` writes them.

    Hyperplanes that no neuron uses are left out. Each neuron has the colour of its class, and each
    hyperplane stands about where the neurons are that use it, so that lines are short.

    Parameters
    ----------
    network : Network
        Of at most 200 hyperplanes, neurons and classes together.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot does not know of.

    Raises
    ------
    InvalidInputError
        If the network is larger.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    from matplotlib.collections import LineCollection

    check_network(network)
    second, n_classes = network.second, len(network.classes_)
    n_nodes = network.connectivity.n_hyperplanes_used + len(second) + n_classes
    if n_nodes > MOST_NODES:
        raise InvalidInputError(
            f"the network has {n_nodes:,} hyperplanes in use, neurons and classes, too many to be "
            f"told apart: draw one of at most {MOST_NODES}, or write network.graph() as GraphML"
        )
    edges = unpacked(second.masks, len(network.first))
    used = np.flatnonzero(edges.any(axis=0))
    edges = edges[:, used]
    owners = second.owners.astype(np.int64)
    height = max(len(used), len(second), n_classes, 2)
    # a list keeps its order, from the top
    neurons = _spread(np.arange(len(second)), height)
    middles = edges.T @ neurons / np.maximum(1, edges.sum(axis=0))
    hyperplanes = np.empty(len(used))
    hyperplanes[np.argsort(middles, kind="stable")] = _spread(np.arange(len(used)), height)
    classes = np.empty(n_classes)
    sizes = np.bincount(owners, minlength=n_classes)
    sums = np.bincount(owners, neurons, n_classes) / np.maximum(1, sizes)
    sums[sizes == 0] = height  # classes without neurons come last
    classes[np.argsort(sums, kind="stable")] = _spread(np.arange(n_classes), height)
    figure = new_figure((8, max(2.5, 0.16 * height)))
    ax = figure.subplots()
    j, h = np.nonzero(edges)
    colours = [CLASS_COLOURS[k % len(CLASS_COLOURS)] for k in range(n_classes)]
    first = [[(0, a), (1, b)] for a, b in zip(hyperplanes[h], neurons[j], strict=True)]
    last = [[(1, a), (2, b)] for a, b in zip(neurons, classes[owners], strict=True)]
    for lines, shades in (
        (first, [colours[owners[i]] for i in j]),
        (last, [colours[k] for k in owners]),
    ):
        ax.add_collection(LineCollection(lines, colors=shades, linewidths=0.6, alpha=0.5, zorder=1))
    ax.scatter(np.zeros(len(used)), hyperplanes, s=10, color=LINE_COLOUR, zorder=2)
    ax.scatter(np.ones(len(second)), neurons, s=14, color=[colours[k] for k in owners], zorder=2)
    ax.scatter(np.full(n_classes, 2), classes, s=26, color=colours, marker="s", zorder=2)
    for y, k in zip(hyperplanes, used.tolist(), strict=True):
        ax.annotate(
            f"h{k}", (0, y), (-4, 0), textcoords="offset points", ha="right", va="center", size=5
        )
    for y, label in zip(classes, network.classes_.tolist(), strict=True):
        ax.annotate(
            plain_text(str(label)), (2, y), (7, 0), textcoords="offset points", va="center", size=8
        )
    ax.set(xlim=(-0.12, 2.35), ylim=(height, -1))
    ax.set_axis_off()
    titles = (f"{len(used)} hyperplanes", f"{len(second)} neurons", f"{n_classes} classes")
    for x, title in enumerate(titles):
        ax.annotate(title, (x, -1), ha="center", va="bottom", size=8)
    return figure


def _spread(places: np.ndarray, height: int) -> np.ndarray:
    """Places 0, 1, ... at equal distances over the height, (n,) float64."""
    return (places + 0.5) * height / max(1, len(places)) - 0.5
