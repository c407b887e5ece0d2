"""Pictures of tables of results: heat maps with contours, slices, widths against N, comparisons.

Everything is drawn from the rows alone. Colours are those of maps that rise evenly in lightness
(cividis; orange to purple for differences), which readers of any colour vision can follow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.experiments.comparison import Pair, share_within
from fastmem.experiments.study import Result
from fastmem.machine.extras import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison_picture", "grid_picture", "samples_picture", "save_picture", "title_of"]

Array = NDArray[Any]

MAP = "cividis"
MARKERS = "osD^vP*X"
N_SLICES = 4
SMOOTHING = 0.8
"""Of contours only, in cells, as in the paper's figures."""
SURE = 0.99
"""Probability from which a study counts as interpolating, as in the paper's figures."""
CONFIDENCE = 1.96
"""Half the width of error bands, in standard errors: 95 %."""
SKEWED = 2.5
"""How many times the median the largest width must be for a logarithmic colour scale."""
MOST_ERRORS = 4.0
"""End of the colour scale of differences."""


@needs("plot")
def grid_picture(results: Sequence[Result], title: str = "") -> Figure:
    """Draw a grid over (n, lambda): interpolation probability above, second width below.

    On the left stand heat maps with contours; the dashed line is where 99 % of the trials
    memorise every point. Beside them stand slices along lambda and along n, with bands of 95 %
    confidence; where a slice and its neighbours are all at 0, or all at 1, the band is left out.

    Parameters
    ----------
    results : sequence of Result
        Cells of one data set and size; the grid may have holes.
    title : str
        Stands above.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot does not know of.

    Raises
    ------
    InvalidInputError
        If the cells are of several data sets or sizes.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    if len({(result.dataset, result.n_samples) for result in results}) > 1:
        raise InvalidInputError(
            "These results are of several data sets or sizes: draw them over N, not as a grid"
        )
    widths, biases = _axes_of(results)
    figure = _figure(13, 7.4, title)
    for row, (name, values, errors) in zip(
        figure.subplots(2, 3, width_ratios=[1.15, 1, 1]), _quantities(results), strict=True
    ):
        _heat_map(figure, row[0], results, values, name)
        top = None if name == "second width" else (-0.03, 1.03)
        for ax, along, across, label in (
            (row[1], biases, widths, "n = {:,.0f}"),
            (row[2], widths, biases, "λ = {:g}"),
        ):
            along_bias = ax is row[1]
            chosen = _spread(across)
            for colour, marker, value in _styles(chosen):
                here = [
                    i
                    for i, r in enumerate(results)
                    if (r.first_width if along_bias else r.max_bias) == value
                ]
                x = [results[i].max_bias if along_bias else results[i].first_width for i in here]
                _line(
                    ax, x, values[here], errors[here], colour, marker, label.format(value),
                    certain=_certain(name, values[here]),
                )  # fmt: skip
            ax.set(
                xlabel="largest bias λ" if along_bias else "first width n", ylabel=name, ylim=top
            )
            ax.legend(
                frameon=False, fontsize="small", ncols=2, loc="lower center",
                bbox_to_anchor=(0.5, 1.0), borderaxespad=0.2,
            )  # fmt: skip
            _only_left_and_bottom(ax)
            if len(along) == 1:
                ax.set_xticks(along)
    return figure


@needs("plot")
def samples_picture(results: Sequence[Result], title: str = "") -> Figure:
    """Draw interpolation probability and second width against N, a row a data set.

    A line is one n (and lambda, where there are several), with a band of 95 % confidence; its
    markers are filled where at least 99 % of the trials memorised every point.

    Parameters
    ----------
    results : sequence of Result
    title : str
        Stands above.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot does not know of.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    data_sets = list(dict.fromkeys(result.dataset for result in results))
    several = len({result.max_bias for result in results}) > 1
    figure = _figure(11, 0.9 + 3.6 * len(data_sets), title)
    rows = figure.subplots(len(data_sets), 2, squeeze=False)
    quantities = list(_quantities(results))
    lines = sorted({(result.first_width, result.max_bias) for result in results})
    for row, data_set in zip(rows, data_sets, strict=True):
        for ax, (name, values, errors) in zip(row, quantities, strict=True):
            for colour, marker, (width, bias) in _styles(lines):
                here = [
                    i
                    for i, r in enumerate(results)
                    if (r.dataset, r.first_width, r.max_bias) == (data_set, width, bias)
                ]
                here.sort(key=lambda i: results[i].n_samples)
                label = f"n = {width:,}" + (f", λ = {bias:g}" if several else "")
                x = [results[i].n_samples for i in here]
                _line(
                    ax, x, values[here], errors[here], colour, marker, label, fill=False,
                    certain=_certain(name, values[here]),
                )  # fmt: skip
                sure = [i for i in here if results[i].interpolation_probability >= SURE]
                ax.plot(
                    [results[i].n_samples for i in sure], values[sure],
                    ls="", marker=marker, ms=5, color=colour,
                )  # fmt: skip
            sizes = sorted({result.n_samples for result in results})
            if sizes[-1] >= 20 * sizes[0]:
                ax.set_xscale("log")
            ax.set(xlabel="samples N", ylabel=name)
            ax.set_title(data_set, fontsize="medium")
            if name != "second width":
                ax.set_ylim(-0.03, 1.03)
            elif values.max() >= SKEWED**2 * values.min():
                ax.set_yscale("log")
                ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.yaxis.set_major_formatter("{x:,.0f}")
                ax.yaxis.set_minor_formatter(NullFormatter())
            else:
                ax.set_ylim(bottom=0)
            ax.xaxis.set_major_formatter("{x:,.0f}")
            _only_left_and_bottom(ax)
        row[1].legend(
            frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5),
            title="filled: 99 % of trials\nmemorise every point", title_fontsize="small",
        )  # fmt: skip
    return figure


@needs("plot")
def comparison_picture(pairs: Sequence[Pair], title: str = "") -> Figure:
    """Draw two tables of one grid side by side, and how many standard errors they differ.

    Columns: ours, theirs, the difference in standard errors as a map, and its histogram with the
    standard normal density. Rows: interpolation probability and second width.

    Parameters
    ----------
    pairs : sequence of Pair
        The cells that both tables hold.
    title : str
        Stands above.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot does not know of.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    figure = _figure(17, 7.4, title)
    ours, theirs = [pair.ours for pair in pairs], [pair.theirs for pair in pairs]
    for row, mine, other, z in zip(
        figure.subplots(2, 4, width_ratios=[1, 1, 1, 0.8]),
        _quantities(ours),
        _quantities(theirs),
        (
            np.array([pair.z_probability for pair in pairs]),
            np.array([pair.z_width for pair in pairs]),
        ),
        strict=True,
    ):
        name = mine[0]
        largest = max(mine[1].max(), other[1].max())
        _heat_map(figure, row[0], ours, mine[1], f"{name}, ours", largest)
        _heat_map(figure, row[1], theirs, other[1], f"{name}, theirs", largest)
        _heat_map(figure, row[2], ours, z, f"{name}, difference / its error", signed=True)
        shown = np.clip(z, -MOST_ERRORS, MOST_ERRORS)
        # Cells where both are certain say nothing, and would be one tall bar.
        told = shown[
            [not (a == b and a in (0.0, 1.0)) for a, b in zip(mine[1], other[1], strict=True)]
        ]
        row[3].hist(
            told if len(told) else shown, bins=np.linspace(-MOST_ERRORS, MOST_ERRORS, 33),
            density=True, color="#56B4E9", edgecolor="white", lw=0.3,
        )  # fmt: skip
        x = np.linspace(-MOST_ERRORS, MOST_ERRORS, 201)
        row[3].plot(x, np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi), color="#222222", lw=1.2)
        row[3].set(xlabel="difference in standard errors", yticks=[])
        row[3].set_title(
            f"{len(told):,} cells; {100 * share_within(told.tolist() or [0.0], 3):.1f} % within 3",
            fontsize="medium",
        )
        _only_left_and_bottom(row[3])
        row[3].spines["left"].set_visible(False)
    return figure


def title_of(name: str, results: Sequence[Result]) -> str:
    """Say above a picture what its results are.

    Parameters
    ----------
    name : str
        The study.
    results : sequence of Result

    Returns
    -------
    str
        Study, points, cells and trials.
    """
    sizes = sorted({result.n_samples for result in results})
    points = f"N = {sizes[0]:,}" + (f" to {sizes[-1]:,}" if len(sizes) > 1 else "")
    trials = f"{results[0].trials} trials a cell"
    return ", ".join([name, *([points] if sizes[0] else []), trials, "bands of 95 % confidence"])


def save_picture(figure: Figure, path: Path) -> None:
    """Save a figure, whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : Path
        Ends in .png, .svg or .pdf.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.
    """
    from fastmem.machine.files import moved_when_complete

    with moved_when_complete(path) as temporary, open(temporary, "xb") as file:
        figure.savefig(file, format=path.suffix.lstrip(".").lower())


def _figure(width: float, height: float, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    if title:
        figure.suptitle(title, fontsize="large")
    return figure


def _quantities(results: Sequence[Result]) -> list[tuple[str, Array, Array]]:
    """Give name, values (n,) and the ends of their error bands (n, 2) of what is drawn."""
    shares = np.array([r.interpolation_probability for r in results])
    means = np.array([r.mean_second_width for r in results])
    trials = np.array([r.trials for r in results])
    half = CONFIDENCE * np.array([r.sd_second_width for r in results]) / np.sqrt(trials)
    # Wilson's interval, which says something at 0 and at 1 too
    z2 = CONFIDENCE**2 / trials
    middle = (shares + z2 / 2) / (1 + z2)
    reach = np.sqrt(shares * (1 - shares) * z2 + z2**2 / 4) / (1 + z2)
    return [
        ("interpolation probability", shares, np.stack([middle - reach, middle + reach], axis=1)),
        ("second width", means, np.stack([means - half, means + half], axis=1)),
    ]


def _certain(name: str, values: Array) -> Array | None:
    """Say where all trials agree, if the values are shares."""
    return None if name == "second width" else (values == 0) | (values == 1)


def _axes_of(results: Sequence[Result]) -> tuple[list[float], list[float]]:
    return (
        sorted({float(r.first_width) for r in results}),
        sorted({r.max_bias for r in results}),
    )


def _spread(values: Sequence[float]) -> list[float]:
    """Choose a few values evenly, the first and the last among them."""
    if len(values) <= N_SLICES:
        return list(values)
    places = np.linspace(0, len(values) - 1, N_SLICES).round().astype(int)
    return [values[i] for i in places]


def _styles(values: Sequence[Any]) -> list[tuple[Any, str, Any]]:
    """Give each line a colour, light for the last, and a marker."""
    from matplotlib import colormaps

    # not the lightest end, which white paper swallows
    shades = colormaps[MAP](np.linspace(0.0, 0.85, max(2, len(values))))
    return [(shades[i], MARKERS[i % len(MARKERS)], value) for i, value in enumerate(values)]


def _line(
    ax: Axes,
    x: Sequence[float],
    values: Array,
    band: Array,
    colour: Any,
    marker: str,
    label: str,
    fill: bool = True,
    certain: Array | None = None,
) -> None:
    order = np.argsort(x)
    places = np.asarray(x)[order]
    band = band[order]
    if certain is not None:
        # Bands of many lines at 0 or 1 would lie upon each other, and say the same.
        apart = np.concatenate([[True], certain[order], [True]])
        band = np.where((apart[:-2] & apart[1:-1] & apart[2:])[:, None], np.nan, band)
    ax.fill_between(places, band[:, 0], band[:, 1], color=colour, alpha=0.22, lw=0)
    ax.plot(
        places, values[order], color=colour, lw=1.3, marker=marker, ms=5 if len(x) < 15 else 3,
        mfc=colour if fill else "white", label=label, markevery=max(1, len(x) // 25),
    )  # fmt: skip


def _heat_map(
    figure: Figure,
    ax: Axes,
    results: Sequence[Result],
    values: Array,
    name: str,
    largest: float = math.nan,
    signed: bool = False,
) -> None:
    """Draw values over (lambda, n); of differences, if they are signed."""
    from matplotlib.colors import LogNorm, Normalize

    widths, biases = _axes_of(results)
    grid = np.full((len(widths), len(biases)), np.nan)
    shares = grid.copy()
    for result, value in zip(results, values, strict=True):
        at = widths.index(result.first_width), biases.index(result.max_bias)
        grid[at], shares[at] = value, result.interpolation_probability
    is_share = name.startswith("interpolation") and not signed
    scale: Any
    if signed:
        scale = Normalize(-MOST_ERRORS, MOST_ERRORS)
    elif is_share:
        scale = Normalize(0, 1)
    else:
        top = max(2.0, float(np.nanmax(grid)) if math.isnan(largest) else largest)
        # where most cells are alike and a few many times wider, only logarithms show both
        scale = LogNorm(1, top) if top > SKEWED * np.nanmedian(grid) else Normalize(0, top)
    mesh = ax.pcolormesh(
        _edges(biases), _edges(widths), grid, cmap="PuOr" if signed else MAP, norm=scale,
        rasterized=True,
    )  # fmt: skip
    bar = figure.colorbar(mesh, ax=ax, pad=0.02, extend="both" if signed else "neither")
    if isinstance(scale, LogNorm):
        ticks = [m * 10**e for e in range(6) for m in (1, 2, 5) if m * 10**e <= scale.vmax]
        bar.set_ticks(ticks[-8:], labels=[f"{tick:,}" for tick in ticks[-8:]])
        bar.ax.minorticks_off()
    if not signed and min(grid.shape) > 2 and not np.isnan(grid).any():
        _contours(ax, biases, widths, grid, is_share)
        _contours(ax, biases, widths, shares, None)
    ax.set(xlabel="largest bias λ", ylabel="first width n")
    ax.set_title(name, fontsize="medium")


def _contours(
    ax: Axes, biases: Sequence[float], widths: Sequence[float], grid: Array, is_share: bool | None
) -> None:
    """Draw a smoothed grid's contours; with ``is_share`` None, where trials become sure."""
    from matplotlib.patheffects import withStroke
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(grid, 1.0 if is_share is None else SMOOTHING)
    style: dict[str, Any]
    if is_share is None:
        levels, style = [SURE], {"colors": "#000000", "linestyles": "dashed", "linewidths": 1.6}
    else:
        style = {"colors": "#FFFFFF", "linewidths": 0.7, "alpha": 0.85}
        levels = [0.25, 0.5, 0.75, 0.9] if is_share else _round_levels(smooth)
    levels = [level for level in levels if smooth.min() < level < smooth.max()]
    if not levels:
        return
    drawn = ax.contour(biases, widths, smooth, levels=levels, **style)
    if is_share is not None:
        # white with a dark rim is seen on the map's light and dark ends
        drawn.set(path_effects=[withStroke(linewidth=1.5, foreground="#333333")])
        for label in ax.clabel(drawn, fontsize=8, fmt="%g"):
            rim = withStroke(linewidth=2, foreground="white", alpha=0.8)
            label.set(color="#111111", path_effects=[rim])


def _round_levels(values: Array) -> list[float]:
    """Give some round levels, denser where values are: quantiles to two digits."""
    quantiles = np.quantile(values, [0.1, 0.3, 0.5, 0.7, 0.85, 0.95])
    return sorted({float(f"{value:.2g}") for value in quantiles})


def _edges(values: Sequence[float]) -> Array:
    """Give the edges of a heat map's cells: halfway between values."""
    middles = np.asarray(values, np.float64)
    if len(middles) == 1:
        return np.array([middles[0] - 0.5, middles[0] + 0.5])
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - between[0]], between, [2 * middles[-1] - between[-1]]])


def _only_left_and_bottom(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, lw=0.5)
