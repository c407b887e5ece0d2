"""Networks as graphs, and how many connections and weights they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.machine.extras import needs
from fastmem.machine.threads import ranges
from fastmem.network.lists import literals_of
from fastmem.readout import ReadOut
from fastmem.second_layer.cover_layer import CoverLayer

if TYPE_CHECKING:
    import networkx as nx

    from fastmem.network.network import Network

MOST_EDGES = 10_000_000
"""Each takes some 400 bytes of a graph."""
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Connectivity:
    """Connections between hyperplanes and neurons: the ones of all masks.

    Attributes
    ----------
    n_edges : int
    mean_in_degree : float
        Edges a neuron.
    n_hyperplanes_used : int
        Hyperplanes that are in a mask at all.
    share : float
        Of the edges that there could be, from each hyperplane to each neuron.
    """

    n_edges: int
    mean_in_degree: float
    n_hyperplanes_used: int
    share: float


def connectivity(first: Hyperplanes, second: CoverLayer) -> Connectivity:
    """Count the connections of two layers."""
    n, m = len(first), len(second)
    n_edges = int(np.bitwise_count(second.masks).sum(dtype=np.int64))
    used = np.bitwise_or.reduce(second.masks, axis=0) if m else np.zeros(0, np.uint64)
    n_used = int(np.bitwise_count(used).sum())
    return Connectivity(n_edges, n_edges / m if m else 0.0, n_used, n_edges / (n * m) if m else 0.0)


def n_nonzero(first: Hyperplanes, second: CoverLayer, readout: ReadOut | None) -> int:
    """Weights and biases of all layers that are not zero."""
    return int(
        first.n_nonzero
        + np.bitwise_count(second.masks).sum(dtype=np.int64)
        + np.count_nonzero(second.thresholds)
        + len(second)
        + (0 if readout is None else np.count_nonzero(readout.weights))
    )


@needs("study")
def network_graph(network: Network, features: bool) -> nx.DiGraph:
    """Make the graph of :meth:`fastmem.Network.graph`."""
    import networkx as nx

    first, second = network.first, network.second
    n_edges = network.connectivity.n_edges + len(second)
    if features:
        n_edges += int(first.n_nonzero) - int(np.count_nonzero(first.biases))
    if n_edges > MOST_EDGES:
        raise InvalidInputError(
            f"the graph would have {n_edges:,} edges, where {MOST_EDGES:,} are the most; fit with "
            f"compact=True" + (", or leave the features out" if features else "")
        )
    graph = nx.DiGraph(decision=network.decision)
    for h, bias in enumerate(first.biases.tolist()):
        graph.add_node(f"h{h}", layer="hyperplanes", bias=bias)
    labels = [str(label) for label in network.classes_.tolist()]
    gains = None if network.readout is None else network.readout.gains.tolist()
    for j, (threshold, owner) in enumerate(
        zip(second.thresholds.tolist(), second.owners.tolist(), strict=True)
    ):
        facts: dict[str, Any] = {"threshold": threshold, "class": labels[owner]}
        if network.default is not None:
            facts["place"] = j
        if gains is not None:
            facts["gain"] = gains[j]
        graph.add_node(f"n{j}", layer="neurons", **facts)
    for k, label in enumerate(labels):
        graph.add_node(f"c{k}", layer="classes", label=label)
    starts, planes = literals_of(second, len(first))
    neurons = np.repeat(np.arange(len(second)), np.diff(starts))
    graph.add_edges_from(
        (f"h{h}", f"n{j}") for h, j in zip(planes.tolist(), neurons.tolist(), strict=True)
    )
    graph.add_edges_from((f"n{j}", f"c{k}") for j, k in enumerate(second.owners.tolist()))
    if features:
        _add_features(graph, network)
    return graph


def graphml(network: Network) -> str:
    """Give the text of a GraphML file of the graph, without features."""
    graph = network_graph(network, False)  # says what is missing
    import networkx as nx

    return "\n".join(nx.generate_graphml(graph))


def _add_features(graph: Any, network: Network) -> None:
    first, d = network.first, network.n_features_in_
    names = network.feature_names or tuple(f"x{k}" for k in range(d))
    if network.encoding is not None and network.feature_names is None:
        names = tuple(network.encoding.feature_names)
    for k, name in enumerate(names):
        graph.add_node(f"x{k}", layer="features", name=name)
    for a, b in ranges(len(first), max(1, _BLOCK_VALUES // d)):
        weights = first.subset(np.arange(a, b)).weights
        if network.scale is not None:
            weights = weights * network.scale
        rows, columns = np.nonzero(weights)
        graph.add_weighted_edges_from(
            (f"x{k}", f"h{a + h}", float(weights[h, k]))
            for h, k in zip(rows.tolist(), columns.tolist(), strict=True)
        )
