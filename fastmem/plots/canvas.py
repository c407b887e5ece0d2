"""What the pictures share: colours, the view of the plane and its grid, points and hyperplanes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import Points, check_points
from fastmem.inputs.refusals import typed
from fastmem.network.checking import check_network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastmem.network.network import Network

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
"""Okabe and Ito's palette, which stays distinct under the common kinds of colour blindness."""
MARKERS = "os^Dv*PX"
LINE_COLOUR = "#222222"
BLOCK_ROWS = 1 << 16
"""Points and pixels that are looked at together."""
_MARGIN = 0.06
"""Of the longer side of the points' bounding box."""


def new_figure(size: tuple[float, float] = (9, 6.2)) -> Figure:
    """Give a figure that pyplot does not know of."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, dpi=150, layout="constrained")


def plain_text(text: str) -> str:
    """Give a label that matplotlib does not take for a formula, and that is not too long."""
    shown = text if len(text) <= 24 else text[:23] + "…"
    return shown.replace("$", r"\$")


def check_made(value: Any, name: str, kind: str, maker: str) -> None:
    """Refuse what is no ``kind``, a class of a room that this one does not see."""
    if all(base.__name__ != kind for base in type(value).__mro__):
        raise InvalidInputError(f"{name} is {typed(value)}; pass the {kind} that {maker} returns")


def in_plane(network: Network, X: Any, y: Any) -> tuple[Points, NDArray[Any]]:
    """Check that there are points of two features, (N, 2), and labels, (N,), to draw."""
    if check_network(network).n_features_in_ != 2:
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


def class_colours(network: Network) -> NDArray[np.float64]:
    """Give a colour (red, green, blue) for each class: (K, 3)."""
    from matplotlib.colors import to_rgb

    n_classes = len(network.classes_)
    return np.array([to_rgb(CLASS_COLOURS[i % len(CLASS_COLOURS)]) for i in range(n_classes)])


def scatter_points(
    ax: Axes,
    network: Network,
    points: Points,
    labels: NDArray[Any],
    max_points: int,
    random: np.random.Generator,
) -> None:
    """Draw some points, in a dark shade of their class's colour and with its marker."""
    chosen = random.permutation(points.n_samples)[:max_points]
    sample, sample_labels = points.take(chosen), labels[chosen]
    size = min(14.0, max(2.0, 9_000 / len(chosen)))
    for i, (label, colour) in enumerate(
        zip(network.classes_.tolist(), class_colours(network), strict=True)
    ):
        part = sample[sample_labels == label]
        ax.scatter(
            part[:, 0], part[:, 1], s=size, color=mixed_with_black(colour), linewidths=0,
            marker=MARKERS[i % len(MARKERS)], zorder=2,
        )  # fmt: skip


def plane_axes(ax: Axes, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    """Set the axes of a plane of two features: limits (2,), equal units, names."""
    ax.set(
        xlim=(low[0], high[0]),
        ylim=(low[1], high[1]),
        aspect="equal",
        xlabel="feature 0",
        ylabel="feature 1",
    )


def view_of(points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the corners of the view, (2,) each: the points' bounding box with a margin."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for start in range(0, points.n_samples, BLOCK_ROWS):
        block = points.block(start, min(start + BLOCK_ROWS, points.n_samples))
        low = np.minimum(low, block.min(axis=0))
        high = np.maximum(high, block.max(axis=0))
    longer = float((high - low).max())
    margin = _MARGIN * (longer if longer > 0 else 1.0)
    # Nearly flat data, two lines close together say, still get a view that is high enough.
    middle = (low + high) / 2
    half = np.maximum((high - low) / 2 + margin, 0.2 * longer)
    return middle - half, middle + half


def grid_blocks(
    low: NDArray[np.float64], high: NDArray[np.float64], resolution: int
) -> tuple[list[NDArray[np.float64]], tuple[int, int]]:
    """Give the middles of a view's pixels, row by row in blocks (rows, 2), and its shape."""
    step = float((high - low).max()) / resolution
    shape = (math.ceil((high[1] - low[1]) / step), math.ceil((high[0] - low[0]) / step))
    # The middle of each pixel, in double precision as far-away data need it.
    x = low[0] + (np.arange(shape[1]) + 0.5) * (high[0] - low[0]) / shape[1]
    y = low[1] + (np.arange(shape[0]) + 0.5) * (high[1] - low[1]) / shape[0]
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return [grid[a : a + BLOCK_ROWS] for a in range(0, len(grid), BLOCK_ROWS)], shape


def cell_borders(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which pixels of a picture have another number than the one above or to the right."""
    between = np.zeros(numbers.shape, bool)
    between[:-1] |= numbers[:-1] != numbers[1:]
    between[:, :-1] |= numbers[:, :-1] != numbers[:, 1:]
    return between


def add_lines(ax: Axes, lines: NDArray[np.float64], colour: str, width: float) -> None:
    """Draw segments (n, 2, 2) behind the points."""
    from matplotlib.collections import LineCollection

    ax.add_collection(
        LineCollection(list(lines), colors=colour, linewidths=width, alpha=0.5, zorder=1)
    )


def mixed_with_white(colour: Any, share: Any) -> Any:
    """Mix a colour, or an array of them in its last axis, with a share of white."""
    return np.asarray(colour) * (1 - share) + share


def mixed_with_black(colour: Sequence[float] | NDArray[np.float64]) -> tuple[float, float, float]:
    """Darken a class's colour for its points, which must stand out from its region."""
    red, green, blue = colour
    return 0.72 * red, 0.72 * green, 0.72 * blue


def hyperplanes_in_view(
    network: Network,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    at_most: int,
    random: np.random.Generator,
    among: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Give segments (n, 2, 2) of some hyperplanes that pass through the view, beyond its edge."""
    weights = network.first.weights.astype(np.float64)
    if network.scale is not None:  # <w, s x> = <s w, x>
        weights = weights * network.scale
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
