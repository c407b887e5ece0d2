"""Predicted against measured widths, a point a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastmem.experiments.theory import Constants, Row, rank_correlation

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

    figure = Figure(figsize=(13, 6.6), dpi=150, layout="constrained")
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
    return figure


def _panel(
    ax: Axes, names: Sequence[str], predicted: Sequence[float], measured: Sequence[float],
    across: str, up: str,
) -> None:  # fmt: skip
    low = 0.5 * min(*predicted, *measured)
    high = 2 * max(*predicted, *measured)
    ax.plot([low, high], [low, high], color="#777777", lw=1, zorder=0)
    placed: list[tuple[float, float]] = []
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), xlabel=across, ylabel=up)
    for name, x, y in sorted(zip(names, predicted, measured, strict=True), key=lambda p: p[2]):
        colour, marker = KINDS.get(name.split()[0], OTHERS)
        ax.scatter([x], [y], color=colour, marker=marker, s=42, zorder=2)
        ax.annotate(name, (x, y), xytext=(5, 3), textcoords="offset points", fontsize=8)
        placed.append((x, y))
    rho = rank_correlation(predicted, measured)
    ax.set_title(f"{len(names)} data sets, Spearman's rho {rho:.2f}")
