"""Pictures of a network on the plane: decision regions, hyperplanes, and the neurons' cells."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.inputs import InvalidInputError, check_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastmem.network import Network

__all__ = ["decision_regions", "save_decision_regions"]

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
REAL_ROWS = 1 << 12
MARGIN = 0.06


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
    X : array_like, shape (n_samples, 2)
        Points, as `interpolate` takes them; they set the view.
    y : array_like, shape (n_samples,)
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
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_hex, to_rgb
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if ax is None:
        ax = _new_figure().subplots()
    random = np.random.default_rng(seed)
    low, high = _view(points)
    colours = [to_rgb(CLASS_COLOURS[i % len(CLASS_COLOURS)]) for i in range(len(network.classes_))]

    codes, neurons, shape = _regions(network, low, high, resolution)
    ax.imshow(
        _tinted(codes.reshape(shape), neurons.reshape(shape), np.array(colours)),
        extent=(low[0], high[0], low[1], high[1]),
        origin="lower",
        interpolation="antialiased",
        zorder=0,
    )
    lines = _hyperplanes_in_view(network, low, high, n_hyperplanes, random)
    ax.add_collection(
        LineCollection(list(lines), colors=LINE_COLOUR, linewidths=0.45, alpha=0.5, zorder=1)
    )
    chosen = random.permutation(points.n_samples)[:max_points]
    sample, sample_labels = points.take(chosen), labels[chosen]
    size = min(14.0, max(2.0, 9_000 / len(chosen)))
    for label, colour in zip(network.classes_.tolist(), colours, strict=True):
        of_class = sample_labels == label
        ax.scatter(
            sample[of_class, 0],
            sample[of_class, 1],
            s=size,
            color=_mixed_with_black(colour),
            linewidths=0,
            zorder=2,
        )

    ax.set(
        xlim=(low[0], high[0]),
        ylim=(low[1], high[1]),
        aspect="equal",
        xlabel="feature 0",
        ylabel="feature 1",
    )
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
            Line2D([], [], color=dot, marker="o", ls="", ms=4, label=f"class {label}"),
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


def save_decision_regions(path: Path, network: Network, X: Any, y: Any, **options: Any) -> None:
    """Draw `decision_regions` on a figure of its own and save it, whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in .png, .svg, .pdf or another suffix that matplotlib knows.
    network : Network
        A network of two features.
    X : array_like, shape (n_samples, 2)
        Points.
    y : array_like, shape (n_samples,)
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


def _new_figure() -> Figure:
    """Give a figure that pyplot does not know of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(9, 6.2), dpi=150, layout="constrained")


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

    step = float((high - low).max()) / resolution
    shape = (math.ceil((high[1] - low[1]) / step), math.ceil((high[0] - low[0]) / step))
    # The middle of each pixel, in double precision as far-away data need it.
    x = low[0] + (np.arange(shape[1]) + 0.5) * (high[0] - low[0]) / shape[1]
    y = low[1] + (np.arange(shape[0]) + 0.5) * (high[1] - low[1]) / shape[0]
    n_pixels = shape[0] * shape[1]
    codes = np.empty(n_pixels, np.intp)
    neurons = np.full(n_pixels, -1, np.int64)
    for start in range(0, n_pixels, GRID_ROWS_PER_BLOCK):
        stop = min(start + GRID_ROWS_PER_BLOCK, n_pixels)
        row, column = np.divmod(np.arange(start, stop), shape[1])
        grid = np.column_stack([x[column], y[row]])
        codes[start:stop] = np.searchsorted(network.classes_, network.predict(grid))
        if network.second.activation == "relu":
            neurons[start:stop] = _first_real_neuron_on(network, grid, codes[start:stop])
            continue
        patterns = sign_patterns(grid, network.first)
        neurons[start:stop] = _first_neuron_on(network, patterns, codes[start:stop])
    return codes, neurons, shape


def _first_real_neuron_on(
    network: Network, grid: NDArray[np.float64], codes: NDArray[np.intp]
) -> NDArray[np.int64]:
    """As `_first_neuron_on`, for points (rows, 2) of a network with ReLU activations."""
    from fastmem.inputs import check_points
    from fastmem.relu import RealSums, neurons_on

    points = check_points(grid)
    second = network.second
    sums = RealSums(network.first, False)
    masks = sums.masks(second.masks)
    first = np.full(len(grid), -1, np.int64)
    for start in range(0, len(grid), REAL_ROWS):
        here = slice(start, min(start + REAL_ROWS, len(grid)))
        on = neurons_on(
            points.block(here.start, here.stop), network.first, sums, masks, second.thresholds
        )
        on &= second.owners[:, None] == codes[here]
        if len(on):
            first[here] = np.where(on.any(axis=0), on.argmax(axis=0), -1)
    return first


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
            outside = np.bitwise_count(patterns[undecided] & second.masks[neuron])
            is_on = outside.sum(axis=1, dtype=np.int64) < second.thresholds[neuron]
            first[undecided[is_on]] = neuron
            undecided = undecided[~is_on]
    return first


def _tinted(
    codes: NDArray[np.intp], neurons: NDArray[np.int64], colours: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Colour a grid by class, shade it by neuron, and part the neurons by white lines."""
    tints = np.where(neurons < 0, PLAIN_TINT, np.take(CELL_TINTS, neurons % len(CELL_TINTS)))
    picture = _mixed_with_white(colours[codes], tints[..., None])
    between = np.zeros(neurons.shape, bool)
    between[:-1] |= neurons[:-1] != neurons[1:]
    between[:, :-1] |= neurons[:, :-1] != neurons[:, 1:]
    picture[between] = 1.0
    return picture


def _mixed_with_white(colour: Any, share: Any) -> Any:
    """Mix a colour, or an array of them in its last axis, with a share of white."""
    return np.asarray(colour) * (1 - share) + share


def _mixed_with_black(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    """Darken a class's colour for its points, which must stand out from its region."""
    red, green, blue = colour
    return 0.72 * red, 0.72 * green, 0.72 * blue


def _hyperplanes_in_view(
    network: Network,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    at_most: int,
    random: np.random.Generator,
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
    chosen = random.permutation(np.flatnonzero(in_view))[:at_most]
    nearest = middle - distance[chosen, None] * normals[chosen]
    along = normals[chosen][:, ::-1] * [-reach, reach]
    return np.stack([nearest - 2 * along, nearest + 2 * along], axis=1)
