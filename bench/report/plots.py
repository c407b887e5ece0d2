"""Pictures of what was measured, drawn from the saved points alone.

Okabe and Ito's colours; every line is labelled at its end, with its fitted exponent after ``~``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.report.points import TIMES, Point, exponent, line

BLUE, VERMILLION, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, GREY, DARK = "#E69F00", "#56B4E9", "#8A8A8A", "#444444"

STYLES: dict[str, dict[str, Any]] = {
    "merge": {"color": BLUE, "lw": 2.2, "marker": "o"},
    "random": {"color": GREEN, "lw": 2.2, "marker": "s"},
    "merge, all classes covered": {"color": PINK, "lw": 1.8, "marker": "D"},
    "predict, merge": {"color": SKY, "marker": "^"},
    "dense NumPy, authors' steps": {"color": VERMILLION, "marker": "v"},
    "dense NumPy, tuned": {"color": ORANGE, "marker": "v"},
    "sgemm of the first layer": {"color": DARK, "ls": "--"},
    "memory copy, points and patterns": {"color": GREY, "ls": ":"},
    "fastmem": {"color": BLUE, "lw": 2.2, "marker": "o"},
    "FAISS IndexBinaryFlat": {"color": VERMILLION, "marker": "v"},
    "popcounts in cache": {"color": DARK, "ls": "--"},
    "memory copy": {"color": GREY, "ls": ":"},
}
STAGES = {
    "check": GREY,
    "growth": PINK,
    "hyperplanes": ORANGE,
    "patterns": BLUE,
    "selection": GREEN,
}
LEAST_RANGE = 20.0
"""Least ratio of the ends of a logarithmic axis of seconds or sizes."""
FEW_DECADES = 300.0
"""Ratio of the ends below which such an axis has ticks also at 2 and 5."""
LABEL_GAP = 0.068
"""Least distance of two labels, as a share of the height."""

Line = tuple[str, Sequence[float], Sequence[float], dict[str, Any]]
Panel = Callable[[Any], None]


def figure(panels: Sequence[Panel], title: str, subtitle: str) -> Figure:
    """Arrange panels in rows of two under a title."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    size = (7.4 * columns if columns > 1 else 9.5, 0.7 + 4.3 * rows)
    picture = Figure(figsize=size, dpi=110, layout="constrained")
    grid = picture.subplots(rows, columns, squeeze=False).ravel()
    for panel, ax in zip(panels, grid, strict=False):
        panel(ax)
    for ax in grid[len(panels) :]:
        ax.set_visible(False)
    picture.suptitle(f"{title}\n{subtitle}", fontsize="medium")
    return picture


def draw_lines(
    ax: Any, lines: Sequence[Line], *, x: str, y: str, title: str, exponents: bool = True
) -> None:
    """Draw lines on logarithmic axes, each with its label, and its exponent, at its end."""
    ax.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    ax.set_title(title, fontsize="medium", loc="left")
    ax.grid(True, which="major", color="#DDDDDD", lw=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    for name, xs, ys, style in lines:
        ax.plot(xs, ys, **({"lw": 1.5, "ms": 4} | style), label=name)
    ax.autoscale_view()
    low, high = ax.get_ylim()
    widen = math.sqrt(max(1.0, LEAST_RANGE / (high / low)))  # noise at one place is no slope
    ax.set_ylim(low / widen, high * widen)
    ax.yaxis.set_minor_formatter(NullFormatter())
    if high * widen / (low / widen) < FEW_DECADES:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _thousands(value)))
    ticks = _apart(sorted({at for _, xs, _, _ in lines for at in xs}))
    ax.set_xticks(ticks, [_thousands(tick) for tick in ticks])
    ax.set_xticks([], minor=True)
    _label_ends(ax, lines, exponents)


def _apart(values: Sequence[float]) -> list[float]:
    """Leave out what would have its label upon its neighbour's, on a logarithmic axis."""
    gap = math.log(values[-1] / values[0]) / 13
    kept: list[float] = []
    for value in reversed(values):
        if not kept or math.log(kept[-1] / value) >= gap:
            kept.append(value)
    return kept[::-1]


def _thousands(value: float) -> str:
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= unit and value % (unit // 10) == 0:
            return f"{value / unit:g} {letter}"
    return f"{value:,.4g}"


def _label_ends(ax: Any, lines: Sequence[Line], exponents: bool) -> None:
    """Write the labels at the right, in the order of the lines' ends, none upon another."""
    low, high = np.log(ax.get_ylim())
    left, right = np.log(ax.get_xlim())
    ends = []
    for name, xs, ys, style in lines:
        power = exponent(xs, ys)
        text = f"{name}  ~ {power:.2f}" if exponents and math.isfinite(power) else name
        at = (np.log(xs[-1]) - left) / (right - left), (np.log(ys[-1]) - low) / (high - low)
        ends.append((at, text, style["color"]))
    ends.sort(key=lambda end: end[0][1])
    heights = spread([end[0][1] for end in ends], LABEL_GAP)
    for (at, text, colour), height in zip(ends, heights, strict=True):
        ax.annotate(
            text,
            xy=at,
            xytext=(1.03, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.6,
                "alpha": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
            },
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move ascending heights apart, as little as may be, to at least a gap.

    Neighbours that are too close form a group, evenly spaced about the mean of its members. Heights
    are shares of an axis, 0 to 1, and stay in that range as long as they fit.
    """
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _foot(groups[-1], gap) - _head(groups[-2], gap) < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_foot(group, gap) + gap * i for group in groups for i in range(len(group))]


def _foot(group: list[float], gap: float) -> float:
    """Lowest place of a group: about its mean, and within the axes if it fits."""
    length = gap * (len(group) - 1)
    foot = sum(group) / len(group) - length / 2
    return max(0.0, min(foot, 1.0 - length))


def _head(group: list[float], gap: float) -> float:
    return _foot(group, gap) + gap * (len(group) - 1)


def times(points: list[Point], x: str, title: str) -> Panel:
    """Seconds of fits, predictions, peers and limits."""
    lines = [(name, *line(points, name), STYLES[name]) for name in TIMES]
    shown = [one for one in lines if one[1]]
    return lambda ax: draw_lines(ax, shown, x=x, y="seconds", title=title)


def stages(points: list[Point], x: str, series: str = "merge") -> Panel:
    """Seconds of each stage of a fit."""
    own = [p for p in points if p["series"] == series]
    lines = [
        (name, [p["x"] for p in own], [p["stages"][name] for p in own], {"color": colour})
        for name, colour in STAGES.items()
        if name in own[0]["stages"]
    ]
    title = f"stages of the fit, {series}"
    return lambda ax: draw_lines(ax, lines, x=x, y="seconds", title=title)


def sizes(points: list[Point], x: str, key: str, y: str, exponents: bool = True) -> Panel:
    """Draw another value of the fits: the second width or the evaluations."""
    lines = [
        (name, *line(points, name, key), STYLES[name])
        for name in ("merge", "merge, all classes covered", "random")
    ]
    shown = [one for one in lines if one[1]]
    return lambda ax: draw_lines(ax, shown, x=x, y=y, title=y, exponents=exponents)


def memory(points: list[Point], x: str) -> Panel:
    """Peak memory beyond the points themselves, and what the fourth invariant allows."""
    rows = [p for p in points if "extra_bytes" in p]
    lines: list[Line] = []
    for name in ("merge", "random"):
        own = [p for p in rows if p["series"] == name]
        # a fit within what the process had freed before adds nothing
        megabytes = [max(p["extra_bytes"], 1e4) / 1e6 for p in own]
        lines.append((name, [p["x"] for p in own], megabytes, STYLES[name]))
    own = [p for p in rows if p["series"] == "merge"]
    at = [p["x"] for p in own]
    patterns = [p["pattern_bytes"] / 1e6 for p in own]
    lines.append(("packed patterns", at, patterns, {"color": GREY, "ls": ":"}))
    allowed = [size + 256 for size in patterns]
    lines.append(("allowed: patterns + 256 MB", at, allowed, {"color": DARK, "ls": "--"}))
    title = "peak memory beyond the points, fresh processes"
    return lambda ax: draw_lines(ax, lines, x=x, y="MB", title=title, exponents=False)


def rates(points: list[Point]) -> Panel:
    """Words counted a second."""
    names = ["popcounts in cache", "fastmem", "FAISS IndexBinaryFlat", "memory copy"]
    lines = []
    for name in names:
        at, rate = line(points, name, "rate")
        lines.append((name, at, [one / 1e9 for one in rate], STYLES[name]))
    title = "counts of masks over rows"
    return lambda ax: draw_lines(
        ax, lines, x="words in a row", y="10⁹ words/s", title=title, exponents=False
    )


def speedups(points: list[Point]) -> Panel:
    """Bars: how many times faster than one thread."""
    most = max(p["x"] for p in points)
    names = list(dict.fromkeys((p["panel"], p["series"]) for p in points))
    took = {(p["panel"], p["series"], p["x"]): p["seconds"] for p in points}
    ends = [(took[*name, 1], took[*name, most]) for name in names]
    ratios = [one / many for one, many in ends]
    colours = [GREY if "BLAS" in series else BLUE for _, series in names]

    def draw(ax: Any) -> None:
        bars = ax.barh([f"{panel}: {series}" for panel, series in names], ratios, color=colours)
        labels = [
            f"{ratio:.2f}  ({_short(one)} to {_short(many)})"
            for ratio, (one, many) in zip(ratios, ends, strict=True)
        ]
        ax.bar_label(bars, labels, padding=4, fontsize=9)
        ax.axvline(most, color=DARK, ls="--", lw=1, zorder=0)
        ax.set_xlim(0, 1.5 * min(2 * most, max([most, *ratios])))
        ax.invert_yaxis()
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlabel(f"times faster on {most} threads than on one")

    return draw


def stage_bars(points: list[Point]) -> Panel:
    """Draw bars of the seconds of each fit, made of its stages."""
    fits = [p for p in points if "stages" in p]
    names = [p["series"] for p in fits]

    def draw(ax: Any) -> None:
        start = np.zeros(len(fits))
        for stage, colour in STAGES.items():
            took = np.array([p["stages"].get(stage, 0.0) for p in fits])
            ax.barh(names, took, left=start, color=colour, label=stage)
            start += took
        for name, end in zip(names, start, strict=True):
            ax.annotate(f" {_short(end)}", (end, name), va="center", fontsize=9)
        ax.set_xlim(0, 1.2 * start.max())
        ax.invert_yaxis()
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlabel("seconds on one thread")
        ax.legend(fontsize=9, frameon=False)

    return draw


def _short(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def rows(points: list[Point], title: str, subtitle: str) -> Figure:
    """Draw one comparison as rows of dots: fit, predict, size, accuracy on unseen points."""
    measured = [p for p in points if "seconds" in p]
    names = [p["series"] for p in measured]
    columns: list[tuple[str, list[float], str, Callable[[float], str]]] = [
        ("fit, s", [p["seconds"] for p in measured], "log", lambda v: f"{v:.2g}"),
        (
            "predict, µs a point",
            [1e6 * p["predict_seconds"] / p["n_unseen"] for p in measured],
            "log",
            lambda v: f"{v:.2g}" if v < 100 else f"{v:.0f}",
        ),
        (
            "bits of model a training label",
            [p["bits_a_label"] for p in measured],
            "log",
            lambda v: f"{v:,.0f}" if v >= 10 else f"{v:.2g}",
        ),
        (
            "accuracy on unseen points",
            [p["unseen_accuracy"] for p in measured],
            "linear",
            lambda v: f"{v:.3f}",
        ),
    ]
    picture = Figure(figsize=(15, 1.5 + 0.36 * len(names)), dpi=110, layout="constrained")
    grid = picture.subplots(1, len(columns), sharey=True)
    colours = [_row_colour(p) for p in measured]
    for ax, (label, values, scale, write) in zip(grid, columns, strict=True):
        ax.set(xscale=scale, xlabel=label)
        ax.scatter(values, names, c=colours, s=36, zorder=3)
        for value, name, colour in zip(values, names, colours, strict=True):
            ax.annotate(
                write(value),
                (value, name),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=colour,
            )
        ax.margins(x=0.1)
        low, high = ax.get_xlim()  # room for the figures at the right
        ax.set_xlim(low, high * (high / low) ** 0.25 if scale == "log" else high + (high - low) / 3)
        ax.grid(True, axis="both", color="#E4E4E4", lw=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    grid[0].invert_yaxis()
    picture.suptitle(f"{title}\n{subtitle}", fontsize="medium")
    return picture


def _row_colour(row: Point) -> str:
    if row["series"].startswith("fastmem"):
        return BLUE
    # grey did not memorise all of it
    return VERMILLION if row["training_accuracy"] == 1 else GREY
