"""Which points each neuron is on for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import check_points, check_threads, scaled
from fastmem.machine.extras import needs
from fastmem.network.neurons_on import neurons_on
from fastmem.patterns.words import unpacked
from fastmem.plots.canvas import (
    LINE_COLOUR,
    MARKERS,
    add_lines,
    class_colours,
    grid_blocks,
    hyperplanes_in_view,
    in_plane,
    mixed_with_black,
    mixed_with_white,
    new_figure,
    plane_axes,
    view_of,
)
from fastmem.second_layer.cover_layer import CoverLayer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastmem.network.network import Network

_SHADOW = "#BBBBBB"
"""The colour of hyperplanes that are not in a neuron's mask."""


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
    points, labels = in_plane(network, X, y)
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
    low, high = view_of(points)
    colours = class_colours(network)
    grid, shape = grid_blocks(low, high, resolution)
    where_on = np.concatenate([_are_on(network, block, chosen) for block in grid], axis=1)
    some = random.permutation(points.n_samples)[:max_points]
    sample, sample_labels = points.take(some), labels[some]
    covers = _are_on(network, sample, chosen)
    masks = unpacked(second.masks[chosen], len(network.first))
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    # an inch of each panel's width is for numbers along the axis
    height = 3.2 * float((high - low)[1] / (high - low)[0]) + 0.9
    figure = new_figure((columns * 4.2, rows * min(8.0, height)))
    for number, (ax, j) in enumerate(
        zip(figure.subplots(rows, columns, squeeze=False).flat, chosen, strict=False)
    ):
        colour = colours[second.owners[j]]
        is_on = where_on[number].reshape(shape)
        tints = np.array([[1.0] * 3, mixed_with_white(colour, 0.55)])
        ax.imshow(
            tints[is_on.astype(int)], extent=(low[0], high[0], low[1], high[1]), origin="lower",
            interpolation="antialiased", zorder=0,
        )  # fmt: skip
        inside = masks[number]
        for which, style in ((~inside, (_SHADOW, 0.3)), (inside, (LINE_COLOUR, 0.8))):
            lines = hyperplanes_in_view(network, low, high, n_hyperplanes, random, which)
            add_lines(ax, lines, *style)
        covered = covers[number]
        for i, label in enumerate(network.classes_.tolist()):
            is_class = sample_labels == label
            dot = mixed_with_black(colours[i])
            for filled in (True, False):
                part = sample[is_class & (covered == filled)]
                ax.scatter(
                    part[:, 0], part[:, 1], s=8, marker=MARKERS[i % len(MARKERS)], zorder=2,
                    facecolors=[dot] if filled else "none", edgecolors=[dot], linewidths=0.5,
                )  # fmt: skip
        plane_axes(ax, low, high)
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


def _are_on(network: Network, points: NDArray[Any], neurons: Sequence[int]) -> NDArray[np.bool_]:
    """Say where neurons are on: (len(neurons), len(points))."""
    second = network.second
    chosen = np.array(neurons)
    some = CoverLayer(second.masks[chosen], second.thresholds[chosen], second.owners[chosen])
    block = scaled(check_points(points), network.scale)
    return neurons_on(block, network.first, some, check_threads(None))
