"""Pictures of a complexity report: widths over N, coverage, separation, and hardness."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fastmem.experiments.complexity_report import BINS, NEARER_TO_ANOTHER, ComplexityReport
from fastmem.machine.extras import needs
from fastmem.plots.canvas import CLASS_COLOURS, MARKERS, plain_text
from fastmem.plots.curves import widths_over_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["complexity_picture", "pictures"]

NAMED_CLASSES = len(MARKERS)
LINE_STYLES = ("-", "--")
LINE_COLOURS = (*CLASS_COLOURS[:-1], "#000000")
"""Black instead of yellow, which hardly shows as a thin line on white."""


@needs("plot")
def pictures(report: ComplexityReport) -> dict[str, Figure]:
    """Draw all pictures of a report, each on a figure of its own, by their titles.

    Parameters
    ----------
    report : ComplexityReport

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        Figures that pyplot does not know of.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    drawn = {}
    for title, draw in _panels(report).items():
        figure = Figure(figsize=(6.6, 4.1), dpi=130, layout="constrained")
        draw(report, figure.subplots())
        drawn[title] = figure
    return drawn


@needs("plot")
def complexity_picture(report: ComplexityReport) -> Figure:
    """Draw all of a report's pictures on one figure.

    Parameters
    ----------
    report : ComplexityReport

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot does not know of.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    panels = _panels(report)
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(13, 4.3 * rows), dpi=110, layout="constrained")
    axes = list(figure.subplots(rows, 2).flat)
    for ax, (title, draw) in zip(axes, panels.items(), strict=False):
        draw(report, ax)
        ax.set_title(title, fontsize="medium")
    for ax in axes[len(panels) :]:
        ax.remove()
    return figure


def _panels(report: ComplexityReport) -> dict[str, Callable[[ComplexityReport, Axes], None]]:
    panels: dict[str, Callable[[ComplexityReport, Axes], None]] = {
        "Least number of hyperplanes": _first_widths,
        f"Neurons of {report.width:,} hyperplanes": _second_widths,
        "Points covered by the first neurons": _coverage,
        "Points that can be covered by few hyperplanes": _separation,
        "Neurons of the least number of hyperplanes": _least_second_widths,
        "Hardness of the points": _hardness,
    }
    if len(report.widths) == 1:  # too few points for samples of them: curves of a single dot
        over_samples = (_first_widths, _second_widths, _least_second_widths)
        panels = {title: draw for title, draw in panels.items() if draw not in over_samples}
    return panels


def _first_widths(report: ComplexityReport, ax: Axes) -> None:
    sizes = [row.n_samples for row in report.widths]
    curves = {'first width, width="auto"': [row.least for row in report.widths]}
    widths_over_samples(sizes, curves, ax=ax, name="hyperplanes")


def _second_widths(report: ComplexityReport, ax: Axes) -> None:
    sizes = [row.n_samples for row in report.widths]
    curves = {
        "merge": [row.merged for row in report.widths],
        "random": [row.random for row in report.widths],
    }
    widths_over_samples(sizes, curves, ax=ax, name="neurons")


def _least_second_widths(report: ComplexityReport, ax: Axes) -> None:
    sizes = [row.n_samples for row in report.widths]
    curves = {
        "merge": [row.merged_at_least for row in report.widths],
        "random": [row.random_at_least for row in report.widths],
    }
    widths_over_samples(sizes, curves, ax=ax, name="neurons")


def _coverage(report: ComplexityReport, ax: Axes) -> None:
    from matplotlib.ticker import PercentFormatter

    for i, (name, pairs) in enumerate(report.curves.covered.items()):
        neurons, points = np.array(pairs[1:]).T
        total = neurons[-1]
        ax.plot(
            neurons, points / report.widths[-1].n_samples, color=CLASS_COLOURS[i],
            marker=MARKERS[i], markevery=(0.0, 0.12), ms=5, lw=1.6,
            label=f"{name}: {total:,} neurons",
        )  # fmt: skip
    ax.set_xscale("log")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlabel="neurons, those that cover most first", ylabel="points covered", ylim=(0, 1.03))
    _tidy(ax)
    ax.legend(frameon=False, fontsize="small", loc="lower right")


def _separation(report: ComplexityReport, ax: Axes) -> None:
    from matplotlib.ticker import PercentFormatter

    facts = report.classes
    # of many classes those that need most hyperplanes; the others stay grey
    order = sorted(range(len(facts)), key=lambda c: -max(facts[c].separated_at["1.0"]))
    named = sorted(order[:NAMED_CLASSES]) if len(facts) > 2 * NAMED_CLASSES else range(len(facts))
    for c in order[::-1]:
        hyperplanes, shares = np.array(report.curves.separated[str(c)]).T
        inside = hyperplanes <= report.width
        place = list(named).index(c) if c in named else -1
        ax.step(
            np.concatenate([[1], hyperplanes[inside], [report.width]]),
            np.concatenate([[0], shares[inside], shares[inside][-1:] if inside.any() else [0]]),
            where="post", lw=1.5 if place >= 0 else 0.7,
            color=LINE_COLOURS[place % len(LINE_COLOURS)] if place >= 0 else "#BBBBBB",
            ls=LINE_STYLES[place // len(LINE_COLOURS) % 2] if place >= 0 else "-",
            label=f"{facts[c].label}" if place >= 0 else None,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlabel="random hyperplanes", ylabel="points of the class", ylim=(0, 1.03))
    _tidy(ax)
    handles, labels = ax.get_legend_handles_labels()
    by_name = sorted(zip(labels, handles, strict=True), key=lambda pair: pair[0])
    ax.legend(
        [handle for _, handle in by_name], [plain_text(label) for label, _ in by_name],
        title="class", frameon=False, fontsize="small", ncols=1 + (len(labels) > 6),
        loc="upper left",
    )  # fmt: skip


def _hardness(report: ComplexityReport, ax: Axes) -> None:
    counts = np.array(report.curves.hardness)
    edges = np.linspace(0, 1, BINS + 1)
    beyond = edges[:-1] >= NEARER_TO_ANOTHER - 1e-9
    suspects = sum(entry.nearer_to_another for entry in report.classes)
    for which, colour, hatch, label in (
        (~beyond, CLASS_COLOURS[0], None, f"nearer to their own class: {sum(counts) - suspects:,}"),
        (beyond, CLASS_COLOURS[1], "///", f"nearer to another class: {suspects:,}"),
    ):
        ax.bar(
            edges[:-1][which], counts[which], width=1 / BINS, align="edge", color=colour,
            hatch=hatch, edgecolor="white", linewidth=0.3, label=label,
        )  # fmt: skip
    ax.axvline(NEARER_TO_ANOTHER, color="#222222", lw=1)
    ax.set_yscale("log")
    used = np.flatnonzero(counts)
    ax.set(
        xlabel="hardness", ylabel="points", ylim=(0.7, 30 * counts.max()),
        xlim=(max(0, edges[used[0]] - 0.05), min(1, max(0.6, edges[used[-1] + 1] + 0.05))),
    )  # fmt: skip
    _tidy(ax, both=True)
    ax.legend(frameon=False, fontsize="small", loc="upper left")


def _tidy(ax: Axes, both: bool = False) -> None:
    from matplotlib.ticker import FuncFormatter

    plain = FuncFormatter(lambda value, _: f"{value:,.10g}")
    (ax.yaxis if both else ax.xaxis).set_major_formatter(plain)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, lw=0.5)
