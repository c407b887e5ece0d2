"""Bars of persistent homology, and the nerve of a region in the plane."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs import check_threads, scaled
from fastmem.machine.extras import needs
from fastmem.network.neurons_on import neurons_on
from fastmem.plots.canvas import (
    CLASS_COLOURS,
    LINE_COLOUR,
    check_made,
    class_colours,
    in_plane,
    new_figure,
    plain_text,
    plane_axes,
    scatter_points,
    view_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastmem.network.network import Network
    from fastmem.shapes.report import Persistence, TopologyReport

_MOST_BARS = 80
"""Of a dimension: the longest are drawn."""
_UNITS = {"euclidean": "distance of points", "hamming": "hyperplanes between points"}


@needs("plot")
def persistence_bars(report: TopologyReport) -> Figure:
    """Draw the bars of each class: a row a class, points beside patterns.

    Parameters
    ----------
    report : TopologyReport
        Of `fastmem.topology`.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot does not know of. The shaded strip is from 2 to 4 epsilon: bars that
        cross it are counted.

    Raises
    ------
    InvalidInputError
        If the report is none.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    check_made(report, "report", "TopologyReport", "fastmem.topology")
    figure = new_figure((9, 2.6 * len(report.classes)))
    axes = figure.subplots(len(report.classes), 2, squeeze=False)
    for row, entry in zip(axes, report.classes, strict=True):
        for ax, found, name in zip(
            row, (entry.points, entry.patterns), ("points", "patterns"), strict=True
        ):
            _draw_bars(ax, found)
            numbers = "no numbers" if found.betti is None else f"{found.betti}"
            ax.set_title(
                f"{plain_text(str(entry.label))}, {name}: {numbers}", fontsize="small", loc="left"
            )
    axes[0, 0].legend(frameon=False, fontsize="x-small", loc="lower right")
    return figure


def _draw_bars(ax: Axes, found: Persistence) -> None:
    """Draw the bars of all dimensions, from below."""
    ends = [death for bars in found.bars for _, death in bars if death is not None]
    last = 1.1 * max([*ends, 4.5 * found.epsilon, found.cut or 0.0, 1e-300])
    level = 0
    for k, bars in enumerate(found.bars):
        shown = bars[:_MOST_BARS]
        left = np.array([birth for birth, _ in shown])
        right = np.array([last if death is None else death for _, death in shown])
        heights = level + np.arange(len(shown))
        ax.hlines(
            heights, left, right, color=CLASS_COLOURS[k % len(CLASS_COLOURS)], lw=1.0,
            label=f"dimension {k}",
        )  # fmt: skip
        level += len(shown) + 3
    if found.epsilon > 0:
        ax.axvspan(2 * found.epsilon, 4 * found.epsilon, color=LINE_COLOUR, alpha=0.12, lw=0)
    ax.set(xlim=(0, last), yticks=[], xlabel=_UNITS[found.metric])
    ax.spines[["top", "right", "left"]].set_visible(False)


@needs("plot")
def nerve_graph(
    network: Network,
    X: Any,
    y: Any,
    report: TopologyReport,
    *,
    ax: Axes | None = None,
    max_points: int = 2_000,
    seed: int = 0,
) -> Axes:
    """Draw cells of two features as points, and which of them meet as lines and triangles.

    Parameters
    ----------
    network : Network
        A network of two features.
    X : array-like of shape (n_samples, 2)
    y : array-like of shape (n_samples,)
    report : TopologyReport
        Of `fastmem.topology` for them.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the axes of a new figure that pyplot does not know of.
    max_points : int, default 2,000
        Largest number of points to draw, taken at random.
    seed : int, default 0
        Seed of the random choice.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on. A cell is drawn at the mean of the points that turn its neuron on, which
        is in it, and left out where there are none.

    Raises
    ------
    InvalidInputError
        If the network has not two features, X and y do not belong together, or the report has no
        regions or is of another network.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    points, labels = in_plane(network, X, y)
    check_made(report, "report", "TopologyReport", "fastmem.topology")
    if report.without_region:
        raise InvalidInputError(f"The report has no regions to draw: {report.without_region}")
    _check_report_of(network, report)
    if ax is None:
        ax = new_figure().subplots()
    random = np.random.default_rng(seed)
    scatter_points(ax, network, points, labels, max_points, random)
    on = neurons_on(
        scaled(points, network.scale), network.first, network.second, check_threads(None)
    )
    dense = points.dense(np.arange(points.n_samples)).astype(np.float64)
    colours = dict(zip(network.classes_.tolist(), class_colours(network), strict=True))
    for entry in report.classes:
        if entry.region is None:
            continue
        # of its own class's points alone: those are what the cell was made for
        own = on[list(entry.region.neurons)] & (labels == entry.label)
        with np.errstate(invalid="ignore"):
            places = own @ dense / own.sum(axis=1)[:, None]
        pairs, triples = [*entry.region.simplices, (), ()][:2]
        if entry.region.have_common:
            pairs = tuple(combinations(range(len(places)), 2))
        for triple in triples:
            ax.fill(*places[list(triple)].T, color=colours[entry.label], alpha=0.05, lw=0, zorder=3)
        for pair in pairs:
            ax.plot(*places[list(pair)].T, color=LINE_COLOUR, lw=0.8, zorder=4)
        ax.scatter(
            places[:, 0], places[:, 1], s=40, color=[colours[entry.label]],
            edgecolors=LINE_COLOUR, zorder=5,
        )  # fmt: skip
    plane_axes(ax, *view_of(points))
    return ax


def _check_report_of(network: Network, report: TopologyReport) -> None:
    """Refuse a report whose classes or neurons are not the network's."""
    labels = network.classes_.tolist()
    for entry in report.classes:
        neurons = [] if entry.region is None else list(entry.region.neurons)
        if entry.label in labels and (not neurons or max(neurons) < len(network.second)):
            owners = network.second.owners[neurons]
            if (owners == labels.index(entry.label)).all():
                continue
        raise InvalidInputError(
            "report is of another network; pass the one that fastmem.topology returns for this one"
        )
