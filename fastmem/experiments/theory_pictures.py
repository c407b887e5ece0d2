"""Predicted against measured widths, a point a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastmem.experiments.theory_fit import Constants, Row, rank_correlation
from fastmem.machine.extras import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["predicted_and_measured"]

# Okabe and Ito's colours, and a marker each: a kind of data set is told by either.
KINDS = {
    "moons": ("#0072B2", "o"),
    "lines": ("#D55E00", "s"),
    "clusters": ("#009E73", "^"),
    "annuli": ("#CC79A7", "v"),
    "spheres": ("#CC79A7", "v"),
    "digits784": ("#56B4E9", "D"),
    "digits": ("#56B4E9", "D"),
    "coin": ("#000000", "X"),
}
OTHERS = ("#E69F00", "P")
FONT_SIZE = 8


@needs("plot")
def predicted_and_measured(rows: Sequence[Row], constants: Constants) -> Figure:
    """Draw predicted against measured first and second widths.

    Parameters
    ----------
    rows : sequence of Row
    constants : Constants
        What `fastmem.experiments.theory.fit_constants` found for them.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot does not know of.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.6), dpi=150, layout="constrained")
    first, second = figure.subplots(1, 2)
    a, b = constants.first
    names = [row.name for row in rows]
    _panel(
        first, names, [a * row.separation + b * row.width for row in rows],
        [row.first_half for row in rows],
        f"predicted hyperplanes: {a:.3g} R/δ log(2 M⁻M⁺) + {b:.3g} R ω",
        "least n that interpolates with probability 1/2",
    )  # fmt: skip
    _panel(
        second, names, [constants.second * row.n_negative for row in rows],
        [row.second_random for row in rows], f"predicted neurons: {constants.second:.3g} M⁻",
        "neurons, random selection, at the n of probability 0.95",
    )  # fmt: skip
    figure.draw_without_rendering()  # gives the panels their places, which the labels need
    for ax in (first, second):
        _label(ax)
    return figure


def _panel(
    ax: Axes, names: Sequence[str], predicted: Sequence[float], measured: Sequence[float],
    across: str, up: str,
) -> None:  # fmt: skip
    ends = [min(*predicted, *measured), max(*predicted, *measured)]
    ax.plot(ends, ends, color="#999999", lw=1, zorder=0)
    ax.set(
        xscale="log",
        yscale="log",
        xlim=(0.6 * min(predicted), 1.8 * max(predicted)),
        ylim=(0.7 * min(measured), 1.5 * max(measured)),
        xlabel=across,
        ylabel=up,
    )
    for name, x, y in sorted(zip(names, predicted, measured, strict=True), key=lambda p: p[2]):
        colour, marker = KINDS.get(name.split()[0], OTHERS)
        ax.scatter([x], [y], color=colour, marker=marker, s=36, zorder=2, label=name)
    rho = rank_correlation(predicted, measured)
    ax.set_title(f"{len(names)} data sets, Spearman's rho {rho:.2f}; line: predicted = measured")


def _label(ax: Axes) -> None:
    """Write each point's name where it hides no other, with a line to it where that is far."""
    dots = ax.collections
    points = 72 / ax.figure.dpi
    data = [np.asarray(dot.get_offsets(), np.float64)[0] for dot in dots]
    at = np.array([ax.transData.transform(place) * points for place in data])
    frame = ax.get_window_extent()
    inside = np.array([frame.x0, frame.y0, frame.x1, frame.y1]) * points
    taken = [np.concatenate([place - 5, place + 5]) for place in at]
    for dot, point, place in zip(dots, data, at, strict=True):
        name = str(dot.get_label())
        size = np.array([0.54 * FONT_SIZE * len(name), 1.15 * FONT_SIZE])
        best, least = None, np.inf
        for reach in (6.0, 12.0, 20.0, 30.0, 42.0, 56.0):
            for angle in np.arange(16) * np.pi / 8:
                along = np.array([np.cos(angle), np.sin(angle)])
                middle = place + along * (reach + np.abs(along) * size / 2)
                box = np.concatenate([middle - size / 2, middle + size / 2])
                cost = (
                    0.2 * reach + 2 * np.abs(along[1]) + sum(_shared(box, other) for other in taken)
                )
                cost += 1e6 * bool((box[:2] < inside[:2]).any() or (box[2:] > inside[2:]).any())
                if cost < least:
                    best, least = (box, middle - place, reach), cost
        assert best is not None
        box, offset, reach = best
        taken.append(box)
        ax.annotate(
            name, (point[0], point[1]), xytext=tuple(offset), textcoords="offset points",
            fontsize=FONT_SIZE, ha="center", va="center_baseline",
            arrowprops=None if reach <= 12 else {"arrowstyle": "-", "color": "#999999", "lw": 0.6},
        )  # fmt: skip


def _shared(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.prod(np.maximum(sides, 0.0)))
