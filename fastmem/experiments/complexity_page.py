"""A complexity report as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from fastmem.experiments.complexity_report import ComplexityReport
from fastmem.machine.files import moved_when_complete

__all__ = ["facts", "page", "save_page", "width_rows"]

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src 'unsafe-inline'">
<title>Complexity of $name</title>
<style>
:root { color-scheme: light; }
body { background: #fff; color: #1a1a1a; font: 16px/1.5 system-ui, sans-serif;
 max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid #ccc; padding-bottom: .2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid #e4e4e4;
 max-width: 24rem; overflow-wrap: break-word; }
th { vertical-align: bottom; font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.5rem; }
figure { margin: 0; flex: 1 1 26rem; max-width: 34rem; }
figure img { width: 100%; height: auto; }
figcaption { font-weight: 600; }
.note { color: #444; max-width: 46rem; }
</style>
</head>
<body>
<h1>Complexity of $name</h1>
$facts
<h2>Pictures</h2>
<div class="pictures">
$pictures
</div>
<h2>Widths over N</h2>
<p class="note">Nested samples, each twice the one before. Medians of $trials networks, their range
in brackets. The least first width is that of <code>width="auto"</code>; all classes are
covered.</p>
$widths
<h2>Classes</h2>
<p class="note">Random hyperplanes needed until that share of the class can be told from all other
points: the median of several first layers; “&gt;” where not all of them got there.</p>
$classes
<p class="note">$class_note</p>
$shapes
<h2>The hardest points</h2>
<p class="note">Hardness compares how near a point's own class and the nearest other class are, as
the hyperplanes see it: above 0.5 the point is nearer to the other class, so its label may be wrong.
m is the threshold of the point's own neuron, as a share of the median of its class; alone is how
often that neuron covers no other point. The values are the point's own.</p>
$hardest
$skipped
<p class="note">Seed $seed. Seconds: $seconds.</p>
</body>
</html>
""")


def save_page(report: ComplexityReport, path: Path) -> None:
    """Write `page` to a file, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    text = page(report)
    with (
        moved_when_complete(path) as temporary,
        open(temporary, "x", encoding="utf-8") as file,
    ):
        file.write(text)


def page(report: ComplexityReport) -> str:
    """Give the report as the text of an HTML page.

    Everything is in it: pictures as data, no script, nothing from elsewhere; names and labels are
    escaped.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    from fastmem.experiments.complexity_pictures import pictures

    images = []
    for title, figure in pictures(report).items():
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            # labels of scripts that the font lacks: they are boxes there, and text in the tables
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
            figure.savefig(buffer, format="png")
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        images.append(
            f"<figure><figcaption>{html.escape(title)}</figcaption>"
            f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}"></figure>'
        )
    skipped = "".join(
        f"<li>{html.escape(what)}: {html.escape(why)}</li>" for what, why in report.skipped.items()
    )
    return PAGE.substitute(
        name=html.escape(report.name),
        facts=_table([], facts(report).items()),
        pictures="\n".join(images),
        trials=report.trials,
        widths=_table(*width_rows(report)),
        classes=_table(*class_rows(report)),
        shapes=_table(*shape_rows(report)),
        class_note=html.escape(class_note(report)),
        hardest=_table(
            *_beside(
                hard_rows(report, len(report.hardest)), hard_values(report, len(report.hardest))
            )
        ),
        skipped=f"<h2>Not measured</h2><ul>{skipped}</ul>" if skipped else "",
        seed=html.escape(report.seed),
        seconds=html.escape(
            ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items())
        ),
    )


def facts(report: ComplexityReport) -> dict[str, str]:
    """Give the facts about the whole data set, as names and texts."""
    found = {
        "points": f"{report.n_samples:,}",
        "features": f"{report.n_features:,}",
        "classes": f"{len(report.classes):,}",
        "radius R": f"{report.radius:.4g}",
    }
    if report.scale:
        found["scale"] = report.scale
    if report.n_contradictory:
        found["equal points with different labels"] = f"{report.n_contradictory:,}"
    if report.gap is not None:
        (i, j), (one, other) = report.gap.rows, report.gap.labels
        found["gap δ between classes"] = (
            f"{'' if report.gap.is_exact else 'at most '}{report.gap.delta:.4g} "
            f"= R / {report.radius / report.gap.delta:,.4g} (rows {i} and {j}: {one} and {other})"
            if report.gap.delta > 0
            else f"below the resolution of float64 (rows {i} and {j}: {one} and {other})"
        )
    if report.dimension is not None:
        found["intrinsic dimension"] = ", ".join(
            f"{value:.3g} ({name})" for name, value in report.dimension.items()
        )
    last = report.widths[-1]
    found["least first width"] = spread(last.least)
    found["neurons, merged, at the least width"] = spread(last.merged_at_least)
    found["neurons, random, at the least width"] = spread(last.random_at_least)
    found[f"neurons, merged, n = {report.width:,}"] = spread(last.merged)
    found[f"neurons, random, n = {report.width:,}"] = spread(last.random)
    if any(last.unseparated):
        found[f"points not separated, n = {report.width:,}"] = spread(last.unseparated)
    if report.bits is not None:
        found["bits a label"] = str(report.bits)
        if report.bits.n_samples < report.n_samples - report.n_contradictory:
            found["bits a label"] += f" ({report.bits.n_samples:,} of the points)"
    suspects = sum(entry.nearer_to_another for entry in report.classes)
    found["points nearer to another class"] = f"{suspects:,}"
    return found


def width_rows(report: ComplexityReport) -> tuple[list[str], list[list[str]]]:
    """Give the table of widths: its header and rows."""
    n = f"n = {report.width:,}"
    header = [
        "N", "least first width", "merged, least", "random, least", f"merged, {n}", f"random, {n}",
    ]  # fmt: skip
    columns = ["least", "merged_at_least", "random_at_least", "merged", "random"]
    if any(any(row.unseparated) for row in report.widths):
        header.append(f"not separated, {n}")
        columns.append("unseparated")
    rows = [
        [f"{row.n_samples:,}", *(spread(getattr(row, column)) for column in columns)]
        for row in report.widths
    ]
    return header, rows


def class_rows(report: ComplexityReport) -> tuple[list[str], list[list[str]]]:
    """Give the table of what separates the classes: its header and rows."""
    header = ["class", "points", "50 %", "90 %", "99 %", "all"]
    rows = [
        [
            str(entry.label), f"{entry.n_samples:,}",
            *(spread(values, report.width) for values in entry.separated_at.values()),
        ]
        for entry in report.classes
    ]  # fmt: skip
    return header, rows


def shape_rows(report: ComplexityReport) -> tuple[list[str], list[list[str]]]:
    """Give the table of each class against all others, which `class_note` explains."""
    header = ["class"]
    alone = any(entry.least_width is not None for entry in report.classes)
    covered = any(entry.covering is not None for entry in report.classes)
    header += ["least width"] if alone else []
    header += ["M⁻", "M⁺", "ω"] if covered else []
    header += ["median hardness", "nearer to another"]
    by_class = [] if report.bits is None else report.bits.by_class
    if len(by_class) != len(report.classes):  # all points of a class contradict others
        by_class = []
    header += ["bits a label"] if by_class else []
    rows = []
    for number, entry in enumerate(report.classes):
        row = [str(entry.label)]
        if alone:
            row.append("-" if entry.least_width is None else spread(entry.least_width))
        if covered:
            balls = entry.covering
            more = "" if balls is None or balls.is_complete else "≥ "
            row += (
                ["-"] * 3
                if balls is None
                else [
                    f"{more}{balls.n_negative:,}", f"{more}{balls.n_positive:,}",
                    f"{balls.omega:.3g} ± {balls.omega_error:.1g}",
                ]
            )  # fmt: skip
        row += [f"{entry.hardness:.3f}", f"{entry.nearer_to_another:,}"]
        row += [f"{by_class[number]:.3g}"] if by_class else []
        rows.append(row)
    return header, rows


def class_note(report: ComplexityReport) -> str:
    """Say in some sentences what the columns of `shape_rows` are."""
    alone = any(entry.least_width is not None for entry in report.classes)
    covered = any(entry.covering is not None for entry in report.classes)
    note = (
        'Least width: the hyperplanes of width="auto" for the class against all others. '
        if alone
        else ""
    )
    if covered:
        note += (
            "M⁻ balls hold the class and M⁺ balls all other points, each so small that no two of "
            "unlike classes meet: many balls mean that the classes interlock. ω is large where a "
            "ball's points spread in many directions beside its distance from the other side (the "
            "largest squared Gaussian mean width over that distance cubed). By the paper's theorem "
            "hyperplanes grow with R ω and log(M⁻ M⁺), neurons with M⁻. "
        )
    return note + (
        "Hardness is the median of the class; nearer to another: its points of hardness above 0.5. "
        "A class's bits a label are what its conjunctions take in the smallest exact network, for "
        "each of its points."
    )


def hard_values(report: ComplexityReport, count: int) -> tuple[list[str], list[list[str]]]:
    """Give the table of the hardest points' values; no rows where a report has none."""
    points = report.hardest[:count]
    if not any(point.values for point in points):
        return ["row", "values"], []
    return ["row", "values"], [[f"{point.row}", point.values] for point in points]


def hard_rows(report: ComplexityReport, count: int) -> tuple[list[str], list[list[str]]]:
    """Give the table of the hardest points: its header and rows."""
    header = [
        "row",
        "label",
        "nearest other class",
        "hardness",
        "m / median",
        "alone",
        "separated at",
    ]
    rows = [
        [
            f"{point.row}", str(point.label), str(point.suggested), f"{point.hardness:.3f}",
            f"{point.relative_threshold:.2f}", f"{100 * point.alone:.0f} %",
            f"> {report.width:,}" if point.separated_at > report.width
            else f"{point.separated_at:,.0f}",
        ]
        for point in report.hardest[:count]
    ]  # fmt: skip
    return header, rows


def spread(values: Sequence[float], limit: int | None = None) -> str:
    """Give a median and, in brackets, the range; values beyond ``limit`` are only bounds."""
    middle = float(np.median(values))
    if limit is not None and middle > limit:
        return f"> {limit:,}"
    shown = f"{middle:,.0f}" if middle == round(middle) else f"{middle:,.1f}"
    if min(values) == max(values):
        return shown
    beyond = limit is not None and max(values) > limit
    return f"{shown} [{min(values):,} to {f'> {limit:,}' if beyond else f'{max(values):,}'}]"


def _beside(
    left: tuple[list[str], list[list[str]]], right: tuple[list[str], list[list[str]]]
) -> tuple[list[str], list[list[str]]]:
    """Join two tables of the same rows, whose first columns are equal."""
    if not right[1]:
        return left
    rows = [a + b[1:] for a, b in zip(left[1], right[1], strict=True)]
    return left[0] + right[0][1:], rows


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f'<div class="wide"><table>{top}<tbody>\n{body}\n</tbody></table></div>'
