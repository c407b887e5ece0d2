"""Pictures: what they claim to show is what the network computes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import fastmem  # noqa: E402
from fastmem import plots  # noqa: E402
from fastmem.datasets import two_moons  # noqa: E402
from fastmem.plots import canvas, regions  # noqa: E402
from fastmem.plots.cells import _cells  # noqa: E402


@pytest.fixture(scope="module", params=["auto", "all"])
def moons(request):
    X, y = two_moons(500, 0.1, seed=1)
    names = np.array(["lower", "upper"])[y]
    return fastmem.interpolate(X, names, seed=2, covered=request.param), X, names


def test_regions_are_predictions_and_cells_are_neurons_that_are_on(moons):
    network, X, _ = moons
    low, high = np.array([-1.5, -1.0]), np.array([2.5, 1.5])
    codes, neurons, (rows, columns) = regions._regions(network, low, high, 80)
    x = low[0] + (np.arange(columns) + 0.5) * (high[0] - low[0]) / columns
    y = low[1] + (np.arange(rows) + 0.5) * (high[1] - low[1]) / rows
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    np.testing.assert_array_equal(network.classes_[codes], network.predict(grid))
    patterns = fastmem.sign_patterns(grid, network.first)
    second = network.second
    counts = np.bitwise_count(patterns[:, None] & second.masks).sum(axis=2, dtype=int)
    is_on = (counts < second.thresholds) & (second.owners == codes[:, None])
    expected = np.where(is_on.any(axis=1), is_on.argmax(axis=1), -1)
    np.testing.assert_array_equal(neurons, expected)


def test_cells_of_real_activations_are_neurons_that_are_on():
    X, y = two_moons(300, 0.1, seed=1)
    network = fastmem.interpolate(X, y, activation="relu", seed=2, covered="all")
    low, high = np.array([-1.5, -1.0]), np.array([2.5, 1.5])
    codes, neurons, (rows, columns) = regions._regions(network, low, high, 150)
    x = low[0] + (np.arange(columns) + 0.5) * (high[0] - low[0]) / columns
    y = low[1] + (np.arange(rows) + 0.5) * (high[1] - low[1]) / rows
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    np.testing.assert_array_equal(network.classes_[codes], network.predict(grid))
    first, second = network.first, network.second
    values = np.maximum(grid @ first.weights.T.astype(float) + first.biases, 0)
    masks = np.unpackbits(second.masks.view(np.uint8), axis=1, bitorder="little")
    margins = second.thresholds - values @ masks[:, : len(first)].T
    is_on = (margins > 0) & (second.owners == codes[:, None])
    expected = np.where(is_on.any(axis=1), is_on.argmax(axis=1), -1)
    clear = (np.abs(margins) > 1e-9).all(axis=1)
    assert clear.mean() > 0.99 and (expected[clear] >= 0).any()
    np.testing.assert_array_equal(neurons[clear], expected[clear])


def test_hyperplanes_in_view_are_on_the_hyperplanes_and_cross_the_view(moons):
    network, X, _ = moons
    low, high = np.array([-0.5, -0.25]), np.array([0.75, 0.5])
    generator = np.random.default_rng(0)
    lines = canvas.hyperplanes_in_view(network, low, high, 10**6, generator)
    weights, biases = network.first.weights.astype(float), network.first.biases
    corners = np.array([[x, y] for x in (low[0], high[0]) for y in (low[1], high[1])])
    sides = corners @ weights.T + biases > 0
    crossing = sides.any(axis=0) & ~sides.all(axis=0)
    assert len(lines) == crossing.sum()
    distances = np.abs(lines @ weights[crossing].T + biases[crossing])
    distances /= np.linalg.norm(weights[crossing], axis=1)
    assert distances.max(axis=1).min(axis=1).max() < 1e-9
    outside = (lines <= low) | (lines >= high)
    assert outside.any(axis=2).all()
    few = canvas.hyperplanes_in_view(network, low, high, 3, generator)
    assert len(few) == min(3, len(lines))


def test_the_axes_are_the_callers_or_new_ones_that_pyplot_does_not_keep(moons):
    from matplotlib.figure import Figure

    network, X, y = moons
    ax = Figure().subplots()
    assert plots.decision_regions(network, X, y, ax=ax, resolution=50) is ax
    assert f"{len(X):,} points" in ax.get_title()
    legend = ax.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert "class lower" in labels
    code = "import fastmem.plots, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=1000)
    assert plots.decision_regions(network, X, y, resolution=50).figure.axes


def test_cells_are_patterns_and_hold_the_points_they_are_coloured_for():
    X, y = two_moons(300, 0.1, seed=1)
    with pytest.warns(fastmem.UnseparatedWarning):
        network = fastmem.interpolate(X, y, width=12, covered=1, seed=3)
    low, high = X.min(axis=0) - 0.1, X.max(axis=0) + 0.1
    points = canvas.check_points(X)
    content, cells, shape, n_mixed = _cells(network, points, y, low, high, 60)
    grid = np.concatenate(canvas.grid_blocks(low, high, 60)[0])
    assert len(grid) == shape[0] * shape[1] == len(cells)
    patterns = fastmem.sign_patterns(grid, network.first)[:, 0]
    own = fastmem.sign_patterns(X, network.first)[:, 0]
    pairs = {(int(c), int(p)) for c, p in zip(cells, patterns, strict=True)}
    assert len(pairs) == len(set(cells.tolist())) == len(set(patterns.tolist()))
    for pattern in set(patterns.tolist()):
        held = set(y[own == pattern].tolist())
        expected = {0: 3, 1: min(held, default=0), 2: 2}[len(held)]
        assert (content[patterns == pattern] == expected).all()
    assert n_mixed == sum(len(set(y[own == p].tolist())) == 2 for p in set(own.tolist())) > 0
    title = plots.tessellation(network, X, y, resolution=60).get_title()
    assert title.startswith("12 hyperplanes")


def test_supports_are_where_the_neurons_are_on(moons):
    network, X, y = moons
    chosen = [len(network.second) - 1, 0]
    figure = plots.neuron_supports(network, X, y, neurons=chosen, resolution=50)
    assert len(figure.axes) == 2
    low, high = canvas.view_of(canvas.check_points(X))
    grid = np.concatenate(canvas.grid_blocks(low, high, 50)[0])
    patterns = fastmem.sign_patterns(grid, network.first)
    for ax, j in zip(figure.axes, chosen, strict=True):
        counts = np.bitwise_count(patterns & network.second.masks[j]).sum(axis=1, dtype=int)
        is_white = (ax.images[0].get_array() == 1).all(axis=2).ravel()
        np.testing.assert_array_equal(is_white, counts >= network.second.thresholds[j])
        assert f"neuron {j} " in ax.get_title()
        filled = sum(
            len(part.get_offsets()) for part in ax.collections[2:] if len(part.get_facecolors())
        )
        own = fastmem.sign_patterns(X, network.first)
        on = np.bitwise_count(own & network.second.masks[j]).sum(axis=1, dtype=int)
        assert filled == (on < network.second.thresholds[j]).sum()


def test_the_coverage_curve_ends_with_all_points(moons):
    _, X, y = moons
    network = fastmem.interpolate(X, y, selection="random", covered="all", seed=0)
    ax = plots.coverage_curve({"random": network, "again": network}, X, y)
    for line in ax.lines:
        covered = line.get_ydata()
        assert covered[-1] == len(X) and (np.diff(covered, 2) <= 0).all()
    assert len(plots.coverage_curve(network, X, y, ax=ax).lines) == 3


def test_widths_are_drawn_as_medians_and_ranges():
    ax = plots.widths_over_samples([10, 20], {"a": [[1, 2, 9], [3, 3, 3]], "b": [[5], [6]]})
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [2, 3])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == 9 and band[:, 1].min() == 1
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "20"]
    with pytest.raises(fastmem.InvalidInputError, match="b has widths for 1 sizes"):
        plots.widths_over_samples([10, 20], {"b": [[5]]})


@pytest.mark.parametrize("points", [1, 2])
def test_few_points_far_away_and_on_a_line_can_be_drawn(points):
    X = np.array([[1e8, 5.0], [1e8 + 1, 5.0]])
    network = fastmem.interpolate(X, [0, 1], seed=0)
    ax = plots.decision_regions(network, X[:points], [0, 1][:points], resolution=40)
    assert ax.get_xlim()[0] < 1e8 < ax.get_xlim()[1]


def test_what_cannot_be_drawn_is_refused(moons):
    network, X, y = moons
    solid = fastmem.interpolate(np.eye(3), [0, 1, 0], seed=0)
    with pytest.raises(fastmem.InvalidInputError, match="3 features"):
        plots.decision_regions(solid, np.eye(3), [0, 1, 0])
    with pytest.raises(fastmem.InvalidInputError, match="500 points and y has 499"):
        plots.decision_regions(network, X, y[1:])
    with pytest.raises(fastmem.InvalidInputError, match="3 features"):
        plots.tessellation(solid, np.eye(3), [0, 1, 0])
    for neurons, word in (([10**6], "1000000"), ([], "empty")):
        with pytest.raises(fastmem.InvalidInputError, match=word):
            plots.neuron_supports(network, X, y, neurons=neurons)


def test_half_a_picture_is_never_left(moons, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def interrupted(self, file, **options):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plots.save_decision_regions(tmp_path / "moons.png", *moons, resolution=40)
    assert list(tmp_path.iterdir()) == []
