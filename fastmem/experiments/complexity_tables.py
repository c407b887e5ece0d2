"""The tables of a complexity report, for pages and terminals: headers and rows of text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from fastmem.experiments.complexity_report import ComplexityReport
from fastmem.shapes.report import Persistence, shown

NAMED = 5
"""Classes that a sentence names."""


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
    if report.patterns is not None:
        found["dimension of patterns"] = (
            f"{_number(report.patterns.patterns)} (the same points: "
            f"{_number(report.patterns.points)})"
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
    if report.separation is not None:
        found["separation width"] = separated_by(report)
    if report.connectivity is not None:
        compact = report.connectivity
        found["compact network"] = (
            f"{compact.n_hyperplanes:,} hyperplanes, {compact.n_neurons:,} neurons, "
            f"{compact.connectivity.n_edges:,} connections, {compact.n_bytes:,} bytes"
        )
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


def class_samples(report: ComplexityReport) -> str:
    """Say how many points the columns of `shape_rows` are of, where some are of a sample."""
    n_all = report.n_samples - report.n_contradictory
    said = []
    n_memorised = report.widths[-1].n_samples
    if n_memorised < n_all and any(entry.least_width is not None for entry in report.classes):
        said.append(f"least widths by {n_memorised:,}")
    if any(entry.covering is not None for entry in report.classes):
        # in words alone, as older reports have it
        words = report.skipped.get("covering of all points", "").removesuffix(" was covered")
        if words:
            said.append(f"balls by {words}")
    if report.bits is not None and report.bits.n_samples < n_all:
        said.append(f"bits by {report.bits.n_samples:,}")
    return f"Of {n_all:,} points random samples were used: {', '.join(said)}." if said else ""


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


def beside(
    left: tuple[list[str], list[list[str]]], right: tuple[list[str], list[list[str]]]
) -> tuple[list[str], list[list[str]]]:
    """Join two tables of the same rows, whose first columns are equal."""
    if not right[1]:
        return left
    rows = [a + b[1:] for a, b in zip(left[1], right[1], strict=True)]
    return left[0] + right[0][1:], rows


def separated_by(report: ComplexityReport) -> str:
    """Give the separation width in words that fit into a table."""
    found = report.separation
    assert found is not None
    width = f"more than {found.max_width:,}" if found.width is None else f"{found.width:,}"
    return f"{width} random features for {found.n_used:,} points"


def drawn(n_used: int, n_samples: int) -> str:
    """Say in a sentence whether all points were used."""
    if n_used >= n_samples:
        return f"All {n_samples:,} points were used. "
    return f"A random sample was used: {n_used:,} of {n_samples:,} points. "


def representation_rows(report: ComplexityReport) -> tuple[list[str], list[list[str]]]:
    """Give the table of representations: its header and rows; none where there is none."""
    found = report.representation
    width = report.width if found is None else found.width
    header = [
        "the points", "features", "least first width", "neurons there",
        f"neurons, n = {width:,}", "unseen",
    ]  # fmt: skip
    rows = [
        [
            row.name, f"{row.n_features:,}", spread(row.least), spread(row.merged_at_least),
            spread(row.merged), f"{float(np.median(row.unseen)):.3f}",
        ]
        for row in ([] if found is None else found.rows)
    ]  # fmt: skip
    return header, rows


def separation_rows(report: ComplexityReport) -> tuple[list[str], list[list[str]]]:
    """Give the trials of the separation width: header and rows; none where there is none."""
    found = report.separation
    rows = [] if found is None else [
        [f"{trial + 1}", f"> {found.max_width:,}" if width is None else f"{width:,}"]
        for trial, width in enumerate(found.widths)
    ]  # fmt: skip
    return ["trial", "random features"], rows


def topology_rows(report: ComplexityReport) -> tuple[list[str], list[list[str]]]:
    """Give the table of the classes' Betti numbers: header and rows of those that have any."""
    header = ["class", "points"]
    for of in ("points", "patterns"):
        header += [f"of {of}", "sure", "half"]
    rows = [
        [
            str(entry.label), f"{entry.n_points:,}",
            *_numbers(entry.points), *_numbers(entry.patterns),
        ]
        for entry in (() if report.topology is None else report.topology.classes)
        if entry.points.betti is not None or entry.patterns.betti is not None
    ]  # fmt: skip
    return header, rows


def topology_notes(report: ComplexityReport) -> list[str]:
    """Say why there are no numbers, where there are none."""
    whys: dict[str, dict[str, list[str]]] = {}
    for entry in () if report.topology is None else report.topology.classes:
        for of in ("points", "patterns"):
            if why := _short(getattr(entry, of).reason):
                whys.setdefault(why, {}).setdefault(str(entry.label), []).append(of)
    said = []
    for why, who in whys.items():
        by = " and ".join(sorted({of for ways in who.values() for of in ways}, reverse=True))
        named = ", ".join(list(who)[:NAMED]) + (" and others" if len(who) > NAMED else "")
        said.append(f"No numbers of {named} by {by}: {why}.")
    return said


def _short(why: str) -> str:
    """A reason without what to pass, which is no argument here, and without a class's numbers."""
    why = re.sub(r"^[\d,]+ landmarks", "landmarks", why.split(": pass", 1)[0])
    return re.sub(r"^[\d,]+ (different .* too few for) [\d,]+", r"its \1 the", why)


def connection_rows(report: ComplexityReport) -> tuple[list[str], list[list[str]]]:
    """Give the connections of a compact network: header and rows; none where there is none."""
    found = report.connectivity
    if found is None:
        return ["figure", "value"], []
    edges = found.connectivity
    return ["figure", "value"], [
        ["hyperplanes", f"{found.n_hyperplanes:,}"],
        ["neurons", f"{found.n_neurons:,}"],
        ["connections between them", f"{edges.n_edges:,}"],
        ["of all that there could be", f"{100 * edges.share:.3g} %"],
        ["connections a neuron, on average", f"{edges.mean_in_degree:,.3g}"],
        ["bytes of the file", f"{found.n_bytes:,}"],
    ]


def _numbers(found: Persistence) -> list[str]:
    stable = {None: "-", True: "same", False: "other"}[found.is_stable]
    return [shown(found.betti), shown(found.betti_sure), stable]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
