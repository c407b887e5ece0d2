"""Decision regions in the plane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.inputs import check_points, check_threads, scaled
from fastmem.machine.extras import needs
from fastmem.machine.files import moved_when_complete
from fastmem.network.neurons_on import first_neuron_on
from fastmem.plots.canvas import (
    LINE_COLOUR,
    MARKERS,
    add_lines,
    cell_borders,
    class_colours,
    grid_blocks,
    hyperplanes_in_view,
    in_plane,
    mixed_with_black,
    mixed_with_white,
    new_figure,
    plane_axes,
    scatter_points,
    view_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastmem.network.network import Network

# How far a class's colour is mixed with white: where no neuron of its own is on, and in turn for
# its neurons' cells. The order puts unlike tints next to each other.
_PLAIN_TINT = 0.86
_CELL_TINTS = (0.46, 0.78, 0.62, 0.70, 0.54)


@needs("plot")
def decision_regions(
    network: Network,
    X: Any,
    y: Any,
    *,
    ax: Axes | None = None,
    n_hyperplanes: int = 60,
    resolution: int = 1_600,
    max_points: int = 5_000,
    seed: int = 0,
) -> Axes:
    """Draw what a network of two features does: decision regions, cells, hyperplanes, points.

    The plane is coloured by the predicted class. Where that class has neurons, the shade tells
    which of them is on first (its cell, a union of tessellation cells), and a white line runs
    between two neurons' cells. Where no neuron of the predicted class is on, it has one even, pale
    tint: it is the class that was left out or, if none was, the one with the largest margin.

    Parameters
    ----------
    network : Network
        A network of two features.
    X : array-like of shape (n_samples, 2)
        Points, as `interpolate` takes them; they set the view.
    y : array-like of shape (n_samples,)
        Their labels.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the axes of a new figure that pyplot does not know of, so that
        it is gone when it is no longer used: ``ax.figure.savefig("picture.png")``.
    n_hyperplanes : int, default 60
        Largest number of hyperplanes to draw, taken at random from those in view.
    resolution : int, default 1,600
        Number of grid points along the longer side.
    max_points : int, default 5,000
        Largest number of points to draw, taken at random.
    seed : int, default 0
        Seed of both random choices.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    InvalidInputError
        If the network has not two features, or X and y do not belong together.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    points, labels = in_plane(network, X, y)
    from matplotlib.colors import to_hex
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if ax is None:
        ax = new_figure().subplots()
    random = np.random.default_rng(seed)
    low, high = view_of(points)
    colours = class_colours(network)

    codes, neurons, shape = _regions(network, low, high, resolution)
    ax.imshow(
        _tinted(codes.reshape(shape), neurons.reshape(shape), colours),
        extent=(low[0], high[0], low[1], high[1]),
        origin="lower",
        interpolation="antialiased",
        zorder=0,
    )
    lines = hyperplanes_in_view(network, low, high, n_hyperplanes, random)
    add_lines(ax, lines, LINE_COLOUR, 0.45)
    scatter_points(ax, network, points, labels, max_points, random)
    plane_axes(ax, low, high)
    first, second = network.widths
    ax.set_title(
        f"{points.n_samples:,} points, {first:,} hyperplanes, "
        f"{second:,} neuron{'' if second == 1 else 's'}"
    )
    handles: list[Any] = []
    for code, (label, colour) in enumerate(zip(network.classes_.tolist(), colours, strict=True)):
        has_neurons = code in network.covered
        dot = to_hex(mixed_with_black(colour))
        shade = to_hex(mixed_with_white(colour, _CELL_TINTS[0] if has_neurons else _PLAIN_TINT))
        kind = "its neurons' cells" if has_neurons else "no neuron is on"
        handles += [
            Line2D(
                [],
                [],
                color=dot,
                marker=MARKERS[code % len(MARKERS)],
                ls="",
                ms=4,
                label=f"class {label}",
            ),
            Patch(facecolor=shade, ec="#888888", lw=0.4, label=f"predicted {label}: {kind}"),
        ]
    drawn = f"{len(lines):,} of {first:,} hyperplanes"
    handles.append(Line2D([], [], color=LINE_COLOUR, lw=0.8, alpha=0.7, label=drawn))
    beside = len(network.classes_) > 2
    ax.legend(
        handles=handles,
        loc="center left" if beside else "upper center",
        bbox_to_anchor=(1.0, 0.5) if beside else (0.5, 0.0),
        # In units of the font size, so that the axis label keeps its place whatever the height.
        borderaxespad=1.0 if beside else 4.5,
        ncols=1 if beside else 3,
        frameon=False,
        fontsize="small",
    )
    return ax


@needs("plot")
def save_decision_regions(path: Path, network: Network, X: Any, y: Any, **options: Any) -> None:
    """Draw `decision_regions` on a figure of its own and save it, whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in .png, .svg, .pdf or another suffix that matplotlib knows.
    network : Network
        A network of two features.
    X : array-like of shape (n_samples, 2)
        Points.
    y : array-like of shape (n_samples,)
        Their labels.
    **options
        Passed on to `decision_regions`.

    Raises
    ------
    InvalidInputError
        If the picture cannot be drawn or written.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    figure = new_figure()
    decision_regions(network, X, y, ax=figure.subplots(), **options)
    with moved_when_complete(path) as temporary, open(temporary, "xb") as file:
        figure.savefig(file, format=path.suffix.lstrip(".").lower())


def _regions(
    network: Network, low: NDArray[np.float64], high: NDArray[np.float64], resolution: int
) -> tuple[NDArray[np.intp], NDArray[np.int64], tuple[int, int]]:
    """Give the predicted class code and the first neuron of it that is on (or -1) on a grid."""
    grid, shape = grid_blocks(low, high, resolution)
    codes = np.empty(shape[0] * shape[1], np.intp)
    neurons = np.full(len(codes), -1, np.int64)
    start = 0
    for block in grid:
        here = slice(start, start + len(block))
        codes[here] = np.searchsorted(network.classes_, network.predict(block))
        neurons[here] = first_neuron_on(
            scaled(check_points(block), network.scale),
            codes[here],
            network.first,
            network.second,
            check_threads(None),
        )
        start = here.stop
    return codes, neurons, shape


def _tinted(
    codes: NDArray[np.intp], neurons: NDArray[np.int64], colours: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Colour a grid by class, shade it by neuron, and part the neurons by white lines."""
    tints = np.where(neurons < 0, _PLAIN_TINT, np.take(_CELL_TINTS, neurons % len(_CELL_TINTS)))
    picture = mixed_with_white(colours[codes], tints[..., None])
    picture[cell_borders(neurons)] = 1.0
    return picture
