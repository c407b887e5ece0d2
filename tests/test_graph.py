"""Networks as graphs, and pictures of these and of explanations."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from decision_lists import make_list

import fastmem
from fastmem.patterns.words import unpacked

nx = pytest.importorskip("networkx")


def labelled(n=120, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.array(["a", "b", "c"])[np.digitize(X[:, 0] + X[:, 1] ** 2, [0.0, 1.0])]


SETTINGS = [{}, {"compact": True}, {"activation": "relu"}, {"decision": "vote", "width": 64}]


@pytest.mark.parametrize("settings", [*SETTINGS, None])
def test_nodes_and_edges_are_the_networks(settings):
    X, y = labelled()
    network = make_list(X, y) if settings is None else fastmem.interpolate(X, y, seed=0, **settings)
    n, m = network.widths
    graph = network.graph()
    assert isinstance(graph, nx.DiGraph) and nx.is_directed_acyclic_graph(graph)
    assert len(graph) == n + m + 3
    masks = unpacked(network.second.masks, n)
    for j in range(m):
        node = graph.nodes[f"n{j}"]
        assert {f"h{h}" for h in np.flatnonzero(masks[j])} == set(graph.predecessors(f"n{j}"))
        label = network.classes_[network.second.owners[j]]
        assert [graph.nodes[c]["label"] for c in graph.successors(f"n{j}")] == [label]
        assert node["threshold"] == network.second.thresholds[j] and node["class"] == label
        assert ("place" in node) == (network.decision == "list")
        assert ("gain" in node) == (network.decision == "vote")
    biases = [graph.nodes[f"h{h}"]["bias"] for h in range(n)]
    np.testing.assert_array_equal(biases, network.first.biases)
    found = network.connectivity
    assert found.n_edges == masks.sum() == graph.number_of_edges() - m
    assert found.n_hyperplanes_used == masks.any(axis=0).sum()
    if m:
        assert found.mean_in_degree == masks.sum(axis=1).mean()
        assert found.share == pytest.approx(masks.mean())


def test_features_come_with_the_weights_that_are_not_zero(tmp_path):
    X, y = labelled()
    network = make_list(X * 8, y, scale=np.array([0.5, 1.0, 2.0]), feature_names=("u", "v", "w"))
    graph = network.graph(features=True)
    weights = network.first.weights * network.scale
    edges = {(a, b): w for a, b, w in graph.edges(data="weight") if w is not None}
    assert edges == {
        (f"x{k}", f"h{h}"): weights[h, k] for h, k in zip(*np.nonzero(weights), strict=True)
    }
    assert [graph.nodes[f"x{k}"]["name"] for k in range(3)] == ["u", "v", "w"]
    nx.write_graphml(graph, tmp_path / "net.graphml")
    read = nx.read_graphml(tmp_path / "net.graphml")
    assert dict(read.nodes(data=True)) == dict(graph.nodes(data=True))
    assert set(read.edges) == set(graph.edges)


def test_networks_without_neurons_have_no_edges():
    X, y = labelled(400, seed=6)
    network = fastmem.interpolate(X[y != "c"][:20], y[y != "c"][:20], seed=0, decision="vote")
    second = network.second
    none = fastmem.CoverLayer(second.masks[:0], second.thresholds[:0], second.owners[:0])
    bare = fastmem.Network(network.classes_, network.first, none, ())
    assert bare.connectivity.n_edges == bare.connectivity.share == 0
    assert bare.graph().number_of_edges() == 0


def test_graphs_too_large_are_refused(monkeypatch):
    from fastmem.network import graph

    X, y = labelled()
    network = fastmem.interpolate(X, y, seed=0)
    most = network.connectivity.n_edges + len(network.second)
    monkeypatch.setattr(graph, "MOST_EDGES", most)
    network.graph()
    with pytest.raises(fastmem.InvalidInputError, match="compact=True, or leave the features"):
        network.graph(features=True)
    monkeypatch.setattr(graph, "MOST_EDGES", most - 1)
    with pytest.raises(fastmem.InvalidInputError, match=f"{most:,} edges"):
        network.graph()


def test_a_missing_networkx_is_named_with_its_extra(monkeypatch):
    X, y = labelled()
    network = fastmem.interpolate(X, y, seed=0)
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ModuleNotFoundError, match=r"fastmem-nets\[study\]"):
        network.graph()


# Pictures ------------------------------------------------------------------------------------


@pytest.fixture
def plots():
    pytest.importorskip("matplotlib")
    from fastmem import plots

    return plots


def drawn(figure):
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()


def test_small_networks_are_drawn_with_every_edge(plots):
    X, y = labelled()
    network = fastmem.interpolate(X, y, seed=0, compact=True)
    figure = plots.network_graph(network)
    first, last = figure.axes[0].collections[:2]
    assert len(first.get_segments()) == network.connectivity.n_edges
    assert len(last.get_segments()) == len(network.second)
    assert drawn(figure).startswith("<?xml")


def test_large_networks_are_not_drawn(plots):
    X, y = labelled(600)
    network = fastmem.interpolate(X, y, seed=0, selection="random", width=2048)
    with pytest.raises(fastmem.InvalidInputError, match="at most 200"):
        plots.network_graph(network)


def test_images_stand_side_by_side(plots):
    rng = np.random.default_rng(0)
    X, y = rng.random((80, 36)), rng.integers(0, 2, 80)
    network = fastmem.interpolate(X, y, seed=0, covered="all")
    found = network.explain(X[3], X, y, n_prototypes=2)
    for shape, size in ((None, (6, 6)), ((4, 9), (4, 9)), ((4, 3, 3), (4, 3, 3))):
        images = [
            axis.images[0].get_array()
            for axis in plots.explained_image(found, shape=shape).axes
            if axis.images
        ]
        shown = [found, *found.prototypes, *found.counter_prototypes, *found.changes]
        assert len(images) == len(shown)
        for image, one in zip(images, shown, strict=True):
            np.testing.assert_array_equal(image, np.reshape(one.features, size))
    texts = [axis.get_title() for axis in plots.explained_image(found).axes]
    assert f"the point: {found.label}" in texts[0]


@pytest.mark.parametrize("shape", [(5, 7), (-6, -6), (36,), (9, 2, 2), (6.0, 6), ("6", "6")])
def test_wrong_shapes_are_refused(plots, shape):
    X, y = labelled(40, 36)
    found = fastmem.interpolate(X, y, seed=0).explain(X[0], X, y, n_changes=0)
    with pytest.raises(fastmem.InvalidInputError, match="shape is"):
        plots.explained_image(found, shape=shape)


def test_features_that_are_no_square_need_a_shape(plots):
    X, y = labelled(40, 30)
    found = fastmem.interpolate(X, y, seed=0).explain(X[0], X, y, n_changes=0)
    with pytest.raises(fastmem.InvalidInputError, match="30 features"):
        plots.explained_image(found)
