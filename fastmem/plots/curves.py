"""Coverage by neurons, and widths by samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.machine.extras import needs
from fastmem.network.coverage import coverage
from fastmem.plots.canvas import CLASS_COLOURS, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastmem.network.network import Network

_MOST_TICKS = 8


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
    if not isinstance(networks, Mapping):
        networks = {"": networks}
    if ax is None:
        ax = new_figure((7, 4.4)).subplots()
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
        ax = new_figure((7, 4.4)).subplots()
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
    shown = sorted(set(sizes))[:: -(-len(set(sizes)) // _MOST_TICKS)]
    ax.set_xticks(shown, labels=[f"{size:,}" for size in shown], minor=False)
    ax.xaxis.minorticks_off()
    ax.legend(frameon=False, fontsize="small")
    return ax


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
