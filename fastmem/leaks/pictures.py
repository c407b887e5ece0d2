"""Pictures of an audit: signals of members and others, and reconstructions beside records."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastmem.leaks.report import LeakReport, Membership, Reconstruction
from fastmem.machine.extras import needs
from fastmem.plots.canvas import CLASS_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEAST_SIDE = 8
_MOST_COLUMNS = 8


def image_side(report: LeakReport) -> int:
    """Pixels along a side where points are taken for square images without names; else 0."""
    side = math.isqrt(report.n_features)
    is_square = side * side == report.n_features and side >= _LEAST_SIDE
    return side if is_square and report.feature_names is None else 0


@needs("plot")
def signal_picture(name: str, signal: Membership) -> Figure:
    """Draw how a signal is spread over members and over unseen points.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(6.6, 3.6), dpi=130, layout="constrained")
    ax = figure.subplots()
    edges = np.array(signal.edges)
    for counts, total, colour, hatch, label in (
        (signal.members, signal.n_members, CLASS_COLOURS[0], None, "training points"),
        (signal.unseen, signal.n_unseen, CLASS_COLOURS[1], "///", "unseen points"),
    ):
        ax.stairs(
            np.array(counts) / total, edges, color=colour, fill=True, alpha=0.35, hatch=hatch,
            label=f"{label}: {total:,}",
        )  # fmt: skip
        ax.stairs(np.array(counts) / total, edges, color=colour, lw=1.4)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlabel=name, ylabel="points")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, lw=0.5)
    ax.legend(frameon=False, fontsize="small", loc="upper left")
    return figure


@needs("plot")
def images(report: LeakReport) -> Figure | None:
    """Draw reconstructions above the records that they are of, as square grey images.

    None where no point is an image, or none was recovered.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    side = image_side(report)
    shown = [entry for entry in report.reconstructions if entry.values is not None]
    shown = shown[: 2 * _MOST_COLUMNS]
    if not side or not shown:
        return None
    has_records = any(entry.record is not None for entry in shown)
    per_row = min(_MOST_COLUMNS, len(shown))
    n_bands = -(-len(shown) // per_row)
    kinds = 1 + has_records
    figure = Figure(
        figsize=(max(3.4, 1.25 * per_row), 1.55 * kinds * n_bands), dpi=130, layout="constrained"
    )
    axes = figure.subplots(kinds * n_bands, per_row, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for i, entry in enumerate(shown):
        band, column = divmod(i, per_row)
        top = axes[kinds * band, column]
        limits = _limits(entry)
        assert entry.values is not None
        _image(top, entry.values, side, limits)
        top.set_title(_caption(entry), fontsize=7)
        if entry.record is not None:
            below = axes[kinds * band + 1, column]
            _image(below, entry.record, side, limits)
            below.set_title(f"row {entry.row:,}", fontsize=7)
    return figure


def _limits(entry: Reconstruction) -> tuple[float, float]:
    """The record's range, which the reconstruction is shown in too."""
    values = entry.values if entry.record is None else entry.record
    assert values is not None
    return min(values), max(values)


def _image(ax: Axes, values: list[float], side: int, limits: tuple[float, float]) -> None:
    pixels = np.array(values).reshape(side, side)
    ax.imshow(pixels, cmap="gray_r", vmin=limits[0], vmax=limits[1], interpolation="nearest")


def _caption(entry: Reconstruction) -> str:
    label = str(entry.label)
    name = f"{label if len(label) < 13 else label[:12] + '…'}".replace("$", r"\$")
    return name if entry.error is None else f"{name}: {entry.error:.2g} R off"
