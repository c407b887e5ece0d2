"""Pictures of networks: decision regions, cells and neurons on the plane, coverage, widths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.extras import needs
from fastmem.inputs import InvalidInputError, check_points, check_threads

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastmem.network import Network

__all__ = [
    "coverage_curve",
    "decision_regions",
    "neuron_supports",
    "save_decision_regions",
    "tessellation",
    "widths_over_samples",
]

# Okabe and Ito's palette, which stays distinct under the common kinds of colour blindness.
CLASS_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#999999",
    "#F0E442",
)
# How far a class's colour is mixed with white: where no neuron of its own is on, and in turn for
# its neurons' cells. The order puts unlike tints next to each other.
PLAIN_TINT = 0.86
CELL_TINTS = (0.46, 0.78, 0.62, 0.70, 0.54)
LINE_COLOUR = "#222222"
GRID_ROWS_PER_BLOCK = 1 << 16
MARGIN = 0.06
MARKERS = "os^Dv*PX"
MOST_TICKS = 8
SHADOW = "#BBBBBB"
MIXED = (0.85, 0.85, 0.85)


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
    points, labels = _plane(network, X, y)
    from matplotlib.colors import to_hex
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if ax is None:
        ax = _new_figure().subplots()
    random = np.random.default_rng(seed)
    low, high = _view(points)
    colours = _class_colours(network)

    codes, neurons, shape = _regions(network, low, high, resolution)
    ax.imshow(
        _tinted(codes.reshape(shape), neurons.reshape(shape), colours),
        extent=(low[0], high[0], low[1], high[1]),
        origin="lower",
        interpolation="antialiased",
        zorder=0,
    )
    lines = _hyperplanes_in_view(network, low, high, n_hyperplanes, random)
    _add_lines(ax, lines, LINE_COLOUR, 0.45)
    _scatter(ax, network, points, labels, max_points, random)
    _plane_axes(ax, low, high)
    first, second = network.widths
    ax.set_title(
        f"{points.n_samples:,} points, {first:,} hyperplanes, "
        f"{second:,} neuron{'' if second == 1 else 's'}"
    )
    handles: list[Any] = []
    for code, (label, colour) in enumerate(zip(network.classes_.tolist(), colours, strict=True)):
        has_neurons = code in network.covered
        dot = to_hex(_mixed_with_black(colour))
        shade = to_hex(_mixed_with_white(colour, CELL_TINTS[0] if has_neurons else PLAIN_TINT))
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
    from fastmem.tables import moved_when_complete

    figure = _new_figure()
    decision_regions(network, X, y, ax=figure.subplots(), **options)
    with moved_when_complete(path) as temporary, open(temporary, "xb") as file:
        figure.savefig(file, format=path.suffix.lstrip(".").lower())


@needs("plot")
def tessellation(
    network: Network,
    X: Any,
    y: Any,
    *,
    ax: Axes | None = None,
    resolution: int = 1_000,
    max_points: int = 5_000,
    seed: int = 0,
) -> Axes:
    """Draw the cells into which the hyperplanes cut the plane, coloured by the points in them.

    A cell with points of one class only has that class's tint, a cell without points is white, and
    one with points of several classes is hatched: no network on these hyperplanes tells them apart.

    Parameters
    ----------
    network : Network
        A network of two features, best of some ten to fifty hyperplanes.
    X : array-like of shape (n_samples, 2)
    y : array-like of shape (n_samples,)
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the axes of a new figure that pyplot does not know of.
    resolution : int, default 1,000
        Number of grid points along the longer side.
    max_points : int, default 5,000
        Largest number of points to draw, taken at random; all are looked at.
    seed : int, default 0
        Seed of that choice.

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
    points, labels = _plane(network, X, y)
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if ax is None:
        ax = _new_figure().subplots()
    low, high = _view(points)
    colours = _class_colours(network)
    content, cells, shape, n_mixed = _cells(network, points, labels, low, high, resolution)
    tints = np.concatenate([_mixed_with_white(colours, 0.6), [MIXED, (1.0, 1.0, 1.0)]])
    picture = tints[content].reshape(*shape, 3)
    picture[_borders(cells.reshape(shape))] = 0.35
    ax.imshow(
        picture, extent=(low[0], high[0], low[1], high[1]), origin="lower",
        interpolation="antialiased", zorder=0,
    )  # fmt: skip
    mixed = (content == len(colours)).reshape(shape)
    if mixed.any():
        ax.contourf(
            np.linspace(low[0], high[0], shape[1]), np.linspace(low[1], high[1], shape[0]), mixed,
            levels=[0.5, 1.5], colors="none", hatches=["////"], zorder=1,
        )  # fmt: skip
    _scatter(ax, network, points, labels, max_points, np.random.default_rng(seed))
    _plane_axes(ax, low, high)
    first = network.widths[0]
    ax.set_title(f"{first:,} hyperplanes: {len(np.unique(cells)):,} cells in view")
    handles: list[Any] = []
    for i, (label, colour) in enumerate(zip(network.classes_.tolist(), colours, strict=True)):
        marker, dot = MARKERS[i % len(MARKERS)], _mixed_with_black(colour)
        handles += [
            Line2D([], [], color=dot, marker=marker, ls="", ms=4, label=f"class {label}"),
            Patch(facecolor=_mixed_with_white(colour, 0.6), label=f"cells of {label} only"),
        ]
    handles.append(Patch(facecolor="white", ec="#888888", lw=0.4, label="cells without points"))
    if n_mixed:
        handles.append(
            Patch(
                facecolor=MIXED,
                ec="#777777",
                hatch="////",
                label=f"cells of several classes: {n_mixed}",
            )
        )
    _legend_below(ax, handles)
    return ax


@needs("plot")
def neuron_supports(
    network: Network,
    X: Any,
    y: Any,
    *,
    neurons: Sequence[int] | None = None,
    n_hyperplanes: int = 60,
    resolution: int = 500,
    max_points: int = 2_000,
    seed: int = 0,
) -> Figure:
    """Draw where single neurons of the second layer are on, a panel each.

    The dark region is the neuron's support: fewer than its threshold m of the hyperplanes of its
    mask u have the point on their positive side. Those hyperplanes are drawn in full, all others
    faintly; points that the neuron covers are filled.

    Parameters
    ----------
    network : Network
        A network of two features.
    X : array-like of shape (n_samples, 2)
    y : array-like of shape (n_samples,)
    neurons : sequence of int, optional
        Indices into ``network.second``; by default the first six, of which the first of each class
        cover most.
    n_hyperplanes : int, default 60
        Largest number of hyperplanes of either kind in a panel, taken at random.
    resolution : int, default 500
        Number of grid points along the longer side of a panel.
    max_points : int, default 2,000
        Largest number of points to draw, taken at random.
    seed : int, default 0
        Seed of the random choices.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot does not know of.

    Raises
    ------
    InvalidInputError
        If the network has not two features, a neuron does not exist, or X and y do not belong
        together.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    points, labels = _plane(network, X, y)
    second = network.second
    chosen = list(range(min(6, len(second)))) if neurons is None else [int(j) for j in neurons]
    for j in chosen:
        if not 0 <= j < len(second):
            raise InvalidInputError(
                f"neurons names {j}, but the network has {len(second)}: "
                f"give indices from 0 to {len(second) - 1}"
            )
    if not chosen:
        raise InvalidInputError("neurons is empty: name at least one neuron to draw")
    random = np.random.default_rng(seed)
    low, high = _view(points)
    colours = _class_colours(network)
    grid, shape = _grid(low, high, resolution)
    where_on = np.concatenate([_are_on(network, block, chosen) for block in grid], axis=1)
    some = random.permutation(points.n_samples)[:max_points]
    sample, sample_labels = points.take(some), labels[some]
    covers = _are_on(network, sample, chosen)
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    # an inch of each panel's width is for numbers along the axis
    height = 3.2 * float((high - low)[1] / (high - low)[0]) + 0.9
    figure = _new_figure((columns * 4.2, rows * min(8.0, height)))
    for number, (ax, j) in enumerate(
        zip(figure.subplots(rows, columns, squeeze=False).flat, chosen, strict=False)
    ):
        colour = colours[second.owners[j]]
        is_on = where_on[number].reshape(shape)
        tints = np.array([[1.0] * 3, _mixed_with_white(colour, 0.55)])
        ax.imshow(
            tints[is_on.astype(int)], extent=(low[0], high[0], low[1], high[1]), origin="lower",
            interpolation="antialiased", zorder=0,
        )  # fmt: skip
        bits = np.unpackbits(second.masks[j].view(np.uint8), bitorder="little")
        inside = bits[: network.widths[0]].astype(bool)
        for which, style in ((~inside, (SHADOW, 0.3)), (inside, (LINE_COLOUR, 0.8))):
            lines = _hyperplanes_in_view(network, low, high, n_hyperplanes, random, which)
            _add_lines(ax, lines, *style)
        covered = covers[number]
        for i, label in enumerate(network.classes_.tolist()):
            is_class = sample_labels == label
            dot = _mixed_with_black(colours[i])
            for filled in (True, False):
                part = sample[is_class & (covered == filled)]
                ax.scatter(
                    part[:, 0], part[:, 1], s=8, marker=MARKERS[i % len(MARKERS)], zorder=2,
                    facecolors=[dot] if filled else "none", edgecolors=[dot], linewidths=0.5,
                )  # fmt: skip
        _plane_axes(ax, low, high)
        if number % columns:
            ax.set_ylabel("")
        if number + columns < len(chosen):
            ax.set_xlabel("")
        n_inside = int(inside.sum())
        ax.set_title(
            f"neuron {j} of class {network.classes_[second.owners[j]]}: "
            + (
                f"the sum of {n_inside:,} activations is below {second.thresholds[j]:.3g}"
                if second.activation == "relu"
                else f"fewer than {second.thresholds[j]:,} of {n_inside:,} bits"
            ),
            fontsize="small",
        )
    for ax in list(figure.axes)[len(chosen) :]:
        ax.remove()
    return figure


@needs("plot")
def coverage_curve(
    networks: Network | Mapping[str, Network], X: Any, y: Any, *, ax: Axes | None = None
) -> Axes:
    """Draw how many points are covered against the neurons added, those that add most first.

    Parameters
    ----------
    networks : Network or mapping of str to Network
        Networks of the same points; the keys name them in the legend.
    X : array-like or CSR matrix of shape (n_samples, n_features)
        The training points.
    y : array-like of shape (n_samples,)
        Their labels.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the axes of a new figure that pyplot does not know of.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    InvalidInputError
        If X and y do not belong to the networks.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    from fastmem.experiments.coverage import coverage

    if not isinstance(networks, Mapping):
        networks = {"": networks}
    if ax is None:
        ax = _new_figure((7, 4.4)).subplots()
    for i, (name, network) in enumerate(networks.items()):
        gained = np.sort(coverage(network, X, y))[::-1]
        neurons = np.arange(1, len(gained) + 1)
        _curve(ax, i, neurons, np.cumsum(gained), f"{name}: {len(gained):,} neurons".lstrip(": "))
    ax.set(xlabel="neurons, those that cover most first", ylabel="points covered", ylim=(0, None))
    _count_axis(ax)
    ax.legend(frameon=False, fontsize="small", loc="lower right")
    return ax


@needs("plot")
def widths_over_samples(
    sizes: Sequence[int],
    widths: Mapping[str, Sequence[Sequence[float]]],
    *,
    ax: Axes | None = None,
    name: str = "width",
) -> Axes:
    """Draw widths against the number of points: medians over trials, and their whole range.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of points N.
    widths : mapping of str to sequence of sequence of float
        For each curve, by its name, the widths of the trials at each size.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the axes of a new figure that pyplot does not know of.
    name : str, default "width"
        Of the vertical axis.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    InvalidInputError
        If a curve has not as many values as there are sizes.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    for curve, values in widths.items():
        if len(values) != len(sizes):
            raise InvalidInputError(
                f"{curve} has widths for {len(values)} sizes where there are {len(sizes)}: "
                "give a sequence of widths for each size"
            )
    if ax is None:
        ax = _new_figure((7, 4.4)).subplots()
    for i, (curve, values) in enumerate(widths.items()):
        middle = [float(np.median(trials)) for trials in values]
        _curve(ax, i, sizes, middle, curve, marked=True)
        ax.fill_between(
            sizes, [min(v) for v in values], [max(v) for v in values],
            color=CLASS_COLOURS[i % len(CLASS_COLOURS)], alpha=0.2, linewidth=0,
        )  # fmt: skip
    ax.set_xscale("log")
    everything = [width for values in widths.values() for trials in values for width in trials]
    if min(everything) > 0 and max(everything) > 20 * min(everything):
        ax.set_yscale("log")
    else:
        ax.set_ylim(0, 1.1 * max(everything))
    ax.set(xlabel="points N", ylabel=name)
    _plain_numbers(ax)
    _count_axis(ax, log=False)
    shown = sorted(set(sizes))[:: -(-len(set(sizes)) // MOST_TICKS)]
    ax.set_xticks(shown, labels=[f"{size:,}" for size in shown], minor=False)
    ax.xaxis.minorticks_off()
    ax.legend(frameon=False, fontsize="small")
    return ax


def _new_figure(size: tuple[float, float] = (9, 6.2)) -> Figure:
    """Give a figure that pyplot does not know of."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, dpi=150, layout="constrained")


def _plane(network: Network, X: Any, y: Any) -> tuple[Any, NDArray[Any]]:
    """Check that there are points of two features, and labels, to draw."""
    if network.n_features_in_ != 2:
        raise InvalidInputError(
            f"The network has {network.n_features_in_} features: only a network of 2 features "
            "can be drawn on the plane"
        )
    points = check_points(X, n_features=2)
    labels = np.asarray(y).reshape(-1)
    if len(labels) != points.n_samples or points.n_samples == 0:
        raise InvalidInputError(
            f"X has {points.n_samples} points and y has {len(labels)} labels: "
            "give at least one point and one label a point"
        )
    return points, labels


def _class_colours(network: Network) -> NDArray[np.float64]:
    """Give a colour (red, green, blue) for each class."""
    from matplotlib.colors import to_rgb

    n_classes = len(network.classes_)
    return np.array([to_rgb(CLASS_COLOURS[i % len(CLASS_COLOURS)]) for i in range(n_classes)])


def _scatter(
    ax: Axes,
    network: Network,
    points: Any,
    labels: NDArray[Any],
    max_points: int,
    random: np.random.Generator,
) -> None:
    """Draw some points, in a dark shade of their class's colour and with its marker."""
    chosen = random.permutation(points.n_samples)[:max_points]
    sample, sample_labels = points.take(chosen), labels[chosen]
    size = min(14.0, max(2.0, 9_000 / len(chosen)))
    for i, (label, colour) in enumerate(
        zip(network.classes_.tolist(), _class_colours(network), strict=True)
    ):
        part = sample[sample_labels == label]
        ax.scatter(
            part[:, 0], part[:, 1], s=size, color=_mixed_with_black(colour), linewidths=0,
            marker=MARKERS[i % len(MARKERS)], zorder=2,
        )  # fmt: skip


def _plane_axes(ax: Axes, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    ax.set(
        xlim=(low[0], high[0]),
        ylim=(low[1], high[1]),
        aspect="equal",
        xlabel="feature 0",
        ylabel="feature 1",
    )


def _legend_below(ax: Axes, handles: Sequence[Any]) -> None:
    # In units of the font size, so that the axis label keeps its place whatever the height.
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=4.5,
        ncols=3, frameon=False, fontsize="small",
    )  # fmt: skip


def _curve(ax: Axes, i: int, x: Any, y: Any, label: str, marked: bool = False) -> None:
    """Draw the i-th line of a picture, told from others by colour and marker."""
    ax.plot(
        x, y, color=CLASS_COLOURS[i % len(CLASS_COLOURS)], lw=1.6, label=label,
        marker=MARKERS[i % len(MARKERS)], ms=5, markevery=None if marked else (0.0, 0.12),
    )  # fmt: skip


def _count_axis(ax: Axes, log: bool = True) -> None:
    """Make a picture of counts readable: no box, a faint grid, thousands with commas."""
    if log:
        ax.set_xscale("log")
        _plain_numbers(ax)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, lw=0.5)


def _plain_numbers(ax: Axes) -> None:
    """Write 10,000 where matplotlib would write a power of ten."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())


def _view(points: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the corners of the view: the points' bounding box with a margin."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for start in range(0, points.n_samples, GRID_ROWS_PER_BLOCK):
        block = points.block(start, min(start + GRID_ROWS_PER_BLOCK, points.n_samples))
        low = np.minimum(low, block.min(axis=0))
        high = np.maximum(high, block.max(axis=0))
    longer = float((high - low).max())
    margin = MARGIN * (longer if longer > 0 else 1.0)
    # Nearly flat data, two lines close together say, still get a view that is high enough.
    middle = (low + high) / 2
    half = np.maximum((high - low) / 2 + margin, 0.2 * longer)
    return middle - half, middle + half


def _regions(
    network: Network, low: NDArray[np.float64], high: NDArray[np.float64], resolution: int
) -> tuple[NDArray[np.intp], NDArray[np.int64], tuple[int, int]]:
    """Give the predicted class code and the first neuron of it that is on (or -1) on a grid."""
    from fastmem import sign_patterns

    grid, shape = _grid(low, high, resolution)
    codes = np.empty(shape[0] * shape[1], np.intp)
    neurons = np.full(len(codes), -1, np.int64)
    start = 0
    for block in grid:
        here = slice(start, start + len(block))
        codes[here] = np.searchsorted(network.classes_, network.predict(block))
        if network.second.activation == "relu":
            neurons[here] = _first_real_neuron_on(network, block, codes[here])
        else:
            patterns = sign_patterns(block, network.first)
            neurons[here] = _first_neuron_on(network, patterns, codes[here])
        start = here.stop
    return codes, neurons, shape


def _grid(
    low: NDArray[np.float64], high: NDArray[np.float64], resolution: int
) -> tuple[list[NDArray[np.float64]], tuple[int, int]]:
    """Give the pixels of a view, row by row in blocks, and their rows and columns."""
    step = float((high - low).max()) / resolution
    shape = (math.ceil((high[1] - low[1]) / step), math.ceil((high[0] - low[0]) / step))
    # The middle of each pixel, in double precision as far-away data need it.
    x = low[0] + (np.arange(shape[1]) + 0.5) * (high[0] - low[0]) / shape[1]
    y = low[1] + (np.arange(shape[0]) + 0.5) * (high[1] - low[1]) / shape[0]
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return [
        grid[a : a + GRID_ROWS_PER_BLOCK] for a in range(0, len(grid), GRID_ROWS_PER_BLOCK)
    ], shape


def _cells(
    network: Network,
    points: Any,
    labels: NDArray[Any],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    resolution: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[int, int], int]:
    """Give, for each pixel, what its cell holds, and a number for the cell.

    What a cell holds: the code of the class of all its points, K where they are of several classes,
    K + 1 where there are none. Also gives the shape of the view and the number of cells of several
    classes.
    """
    from fastmem import sign_patterns

    grid, shape = _grid(low, high, resolution)
    n_pixels = shape[0] * shape[1]
    blocks = [
        points.block(a, min(a + GRID_ROWS_PER_BLOCK, points.n_samples))
        for a in range(0, points.n_samples, GRID_ROWS_PER_BLOCK)
    ]
    patterns = np.concatenate([sign_patterns(block, network.first) for block in grid + blocks])
    whole = np.ascontiguousarray(patterns).view(f"V{8 * patterns.shape[1]}").ravel()
    _, cells = np.unique(whole, return_inverse=True)
    cells = cells.reshape(-1)
    codes = np.searchsorted(network.classes_, labels)
    n_classes = len(network.classes_)
    held = np.zeros((int(cells.max()) + 1, n_classes), bool)
    held[cells[n_pixels:], codes] = True
    content = np.where(held.any(axis=1), held.argmax(axis=1), n_classes + 1)
    is_mixed = held.sum(axis=1) > 1
    content[is_mixed] = n_classes
    return content[cells[:n_pixels]], cells[:n_pixels], shape, int(is_mixed.sum())


def _borders(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which pixels have another number than the one above or to the right."""
    between = np.zeros(numbers.shape, bool)
    between[:-1] |= numbers[:-1] != numbers[1:]
    between[:, :-1] |= numbers[:, :-1] != numbers[:, 1:]
    return between


def _are_on(network: Network, points: NDArray[Any], neurons: Sequence[int]) -> NDArray[np.bool_]:
    """Say where neurons are on: (len(neurons), len(points))."""
    from fastmem import sign_patterns

    if network.second.activation == "relu":
        owners = network.second.owners
        return np.array(
            [
                _first_real_neuron_on(
                    network, points, np.full(len(points), owners[j]), slice(j, j + 1)
                )
                >= 0
                for j in neurons
            ]
        )
    patterns = sign_patterns(points, network.first)
    return np.array([_is_on(network, patterns, j) for j in neurons])


def _is_on(network: Network, patterns: NDArray[np.uint64], neuron: int) -> NDArray[np.bool_]:
    """Say for which patterns a neuron is on."""
    outside = np.bitwise_count(patterns & network.second.masks[neuron])
    result: NDArray[np.bool_] = (
        outside.sum(axis=1, dtype=np.int64) < network.second.thresholds[neuron]
    )
    return result


def _first_real_neuron_on(
    network: Network,
    grid: NDArray[Any],
    codes: NDArray[np.intp],
    neurons: slice = slice(None),
) -> NDArray[np.int64]:
    """As `_first_neuron_on`, for points (rows, 2) of a network with ReLU activations."""
    from fastmem.relu import first_neuron_on

    second = network.second
    return first_neuron_on(
        np.arange(len(grid)), check_points(grid), codes, network.first, second.masks[neurons],
        second.thresholds[neurons], second.owners[neurons], check_threads(None),
    )  # fmt: skip


def _first_neuron_on(
    network: Network, patterns: NDArray[np.uint64], codes: NDArray[np.intp]
) -> NDArray[np.int64]:
    """Give, for each pattern, the first neuron of the predicted class that is on, or -1."""
    first = np.full(len(patterns), -1, np.int64)
    second = network.second
    for code in np.unique(codes):
        undecided = np.flatnonzero(codes == code)
        for neuron in np.flatnonzero(second.owners == code):
            if len(undecided) == 0:
                break
            is_on = _is_on(network, patterns[undecided], int(neuron))
            first[undecided[is_on]] = neuron
            undecided = undecided[~is_on]
    return first


def _tinted(
    codes: NDArray[np.intp], neurons: NDArray[np.int64], colours: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Colour a grid by class, shade it by neuron, and part the neurons by white lines."""
    tints = np.where(neurons < 0, PLAIN_TINT, np.take(CELL_TINTS, neurons % len(CELL_TINTS)))
    picture = _mixed_with_white(colours[codes], tints[..., None])
    picture[_borders(neurons)] = 1.0
    return picture


def _add_lines(ax: Axes, lines: NDArray[np.float64], colour: str, width: float) -> None:
    """Draw segments behind the points."""
    from matplotlib.collections import LineCollection

    ax.add_collection(
        LineCollection(list(lines), colors=colour, linewidths=width, alpha=0.5, zorder=1)
    )


def _mixed_with_white(colour: Any, share: Any) -> Any:
    """Mix a colour, or an array of them in its last axis, with a share of white."""
    return np.asarray(colour) * (1 - share) + share


def _mixed_with_black(colour: Sequence[float] | NDArray[np.float64]) -> tuple[float, float, float]:
    """Darken a class's colour for its points, which must stand out from its region."""
    red, green, blue = colour
    return 0.72 * red, 0.72 * green, 0.72 * blue


def _hyperplanes_in_view(
    network: Network,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    at_most: int,
    random: np.random.Generator,
    among: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Give segments (n, 2, 2) of some hyperplanes that pass through the view, beyond its edge."""
    weights = network.first.weights.astype(np.float64)
    norms = np.linalg.norm(weights, axis=1)
    middle, reach = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        normals = weights / norms[:, None]
        distance = (weights @ middle + network.first.biases) / norms
    # A line meets the rectangle iff it is no farther from its middle than the corner's reach in
    # the direction of the normal; a zero row gives NaN and is no line.
    in_view = np.abs(distance) < np.abs(normals) @ (high - low) / 2
    if among is not None:
        in_view &= among
    chosen = random.permutation(np.flatnonzero(in_view))[:at_most]
    nearest = middle - distance[chosen, None] * normals[chosen]
    along = normals[chosen][:, ::-1] * [-reach, reach]
    return np.stack([nearest - 2 * along, nearest + 2 * along], axis=1)
