"""The cells of the first layer in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.inputs import Points, check_points, scaled
from fastmem.machine.extras import needs
from fastmem.patterns.of_points import sign_patterns
from fastmem.plots.canvas import (
    BLOCK_ROWS,
    MARKERS,
    cell_borders,
    class_colours,
    grid_blocks,
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

_MIXED = (0.85, 0.85, 0.85)
"""The colour of cells that hold points of several classes."""


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
    points, labels = in_plane(network, X, y)
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if ax is None:
        ax = new_figure().subplots()
    low, high = view_of(points)
    colours = class_colours(network)
    content, cells, shape, n_mixed = _cells(network, points, labels, low, high, resolution)
    tints = np.concatenate([mixed_with_white(colours, 0.6), [_MIXED, (1.0, 1.0, 1.0)]])
    picture = tints[content].reshape(*shape, 3)
    picture[cell_borders(cells.reshape(shape))] = 0.35
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
    scatter_points(ax, network, points, labels, max_points, np.random.default_rng(seed))
    plane_axes(ax, low, high)
    first = network.widths[0]
    ax.set_title(f"{first:,} hyperplanes: {len(np.unique(cells)):,} cells in view")
    handles: list[Any] = []
    for i, (label, colour) in enumerate(zip(network.classes_.tolist(), colours, strict=True)):
        marker, dot = MARKERS[i % len(MARKERS)], mixed_with_black(colour)
        handles += [
            Line2D([], [], color=dot, marker=marker, ls="", ms=4, label=f"class {label}"),
            Patch(facecolor=mixed_with_white(colour, 0.6), label=f"cells of {label} only"),
        ]
    handles.append(Patch(facecolor="white", ec="#888888", lw=0.4, label="cells without points"))
    if n_mixed:
        handles.append(
            Patch(
                facecolor=_MIXED,
                ec="#777777",
                hatch="////",
                label=f"cells of several classes: {n_mixed}",
            )
        )
    # in units of the font size, so that the axis label keeps its place whatever the height
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=4.5,
        ncols=3, frameon=False, fontsize="small",
    )  # fmt: skip
    return ax


def _cells(
    network: Network,
    points: Points,
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
    grid, shape = grid_blocks(low, high, resolution)
    n_pixels = shape[0] * shape[1]
    blocks = [
        points.block(a, min(a + BLOCK_ROWS, points.n_samples))
        for a in range(0, points.n_samples, BLOCK_ROWS)
    ]
    every = [scaled(check_points(block), network.scale) for block in grid + blocks]
    patterns = np.concatenate([sign_patterns(block, network.first) for block in every])
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
