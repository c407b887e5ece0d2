"""The page of a complexity report in words: its card, and what each figure means."""

from __future__ import annotations

import numpy as np

from fastmem.experiments.complexity_report import ComplexityReport
from fastmem.experiments.complexity_tables import spread

INTRODUCTION = (
    "fastmem remembers every label of a table without training: random flat cuts through space "
    "(hyperplanes) give each point a pattern of sides, and neurons, each of which answers for "
    "points of one class only, are built on the patterns. How many of both it takes is a measure "
    "of how complex the data are. The panels are the main figures; all that follows says what was "
    "measured, by how many points, and how to read it."
)
MEANINGS = {
    "points": "rows of the table",
    "features": "numbers in each row",
    "classes": "different labels",
    "radius R": "the largest distance of a point from the mean of all",
    "scale": "columns times powers of two, so that units of measure matter less",
    "equal points": "nothing can tell these apart; they are left out of all but the hardness",
    "gap": "distance of the two nearest points of different classes. A gap that is small against "
    "R makes a table hard in the worst case; it may be a single wrong label",
    "intrinsic dimension": "how many numbers say where a point is, on the surface that the points "
    "lie near: far fewer than features where these depend on each other",
    "dimension of patterns": "the same of the points' sides of the hyperplanes, by two nearest "
    "neighbours. Near that of the points where the cuts keep their shape",
    "least first width": "random hyperplanes until each point can be told from every point of "
    "another class. The search begins with 64",
    "neurons, merged, at": "neurons on that many hyperplanes, each merged from as many points as "
    "it can hold",
    "neurons, random, at": "the same by the paper's rule, a neuron from one random point",
    "neurons, merged, n": "with more hyperplanes than are needed a neuron holds more points: this "
    "number compares data sets",
    "neurons, random, n": "the same by the paper's rule",
    "points not separated": "these had no hyperplane of their own at that width",
    "bits a label": "length of the shortest exact description of the labels that was found, where "
    "the points are known. Far below the entropy: simple classes. As much as labels in a random "
    "order: no structure was found",
    "separation width": "random features until one flat cut (for more classes, one a class) "
    "separates the classes. Labels by coin flips take half as many features as points",
    "compact network": "the same labels by as few connections as could be found",
    "points nearer": "points of hardness above 0.5: a wrong label, or a place where classes mix",
}
"""By the beginning of a fact's name."""


def meaning(name: str) -> str:
    """Say what a fact of `complexity_tables.facts` is; "" where its name says it."""
    found = [start for start in MEANINGS if name.startswith(start)]
    return MEANINGS[max(found, key=len)] if found else ""


def card(report: ComplexityReport) -> list[tuple[str, str, str]]:
    """Give the panels: name, value, and a sentence for somebody who has not read the paper."""
    panels = [_hyperplanes(report), _neurons(report)]
    panels += [
        panel
        for make in (_separation, _bits, _gap, _dimension, _unseen)
        if (panel := make(report)) is not None
    ]
    return [*panels, _suspects(report)]


def _hyperplanes(report: ComplexityReport) -> tuple[str, str, str]:
    last = report.widths[-1]
    middle = float(np.median(last.least))
    judged = (
        "Few: classes lie well apart"
        if middle <= 128
        else "A usual number"
        if middle <= 1_000
        else "Many: points of different classes lie close together, or labels are noise"
    )
    return (
        "hyperplanes", spread(last.least),
        f"random flat cuts through space until each of {last.n_samples:,} points can be told from "
        f"all points of other classes. {judged}.",
    )  # fmt: skip


def _neurons(report: ComplexityReport) -> tuple[str, str, str]:
    last = report.widths[-1]
    middle = float(np.median(last.merged))
    each = (last.n_samples - float(np.median(last.unseparated))) / max(1.0, middle)
    growth = _growth(report)
    judged = (
        "Few: classes are some simple regions"
        if middle <= 3 * len(report.classes)
        else ""
        if growth is None
        else "More points hardly add any: classes are simple regions"
        if growth < 0.35
        else "They grow more slowly than the points: classes have borders that are still filled in"
        if growth < 0.85
        else "They grow as fast as the points: classes mix, or labels are noise"
    )
    return (
        "neurons", spread(last.merged),
        f"on {report.width:,} hyperplanes, each for points of one class only: {each:,.3g} points a "
        f"neuron. {judged}{'.' if judged else ''}".rstrip(),
    )  # fmt: skip


def _growth(report: ComplexityReport) -> float | None:
    """The power of N with which merged neurons grow, over the last two doublings."""
    if len(report.widths) < 3:
        return None
    first, last = report.widths[-3], report.widths[-1]
    neurons = np.median(last.merged) / max(1.0, float(np.median(first.merged)))
    return float(np.log(max(neurons, 1.0)) / np.log(last.n_samples / first.n_samples))


def _separation(report: ComplexityReport) -> tuple[str, str, str] | None:
    found = report.separation
    if found is None:
        return None
    value = f"> {found.max_width:,}" if found.width is None else f"{found.width:,}"
    return (
        "separation width", value,
        f"random features until a flat cut separates {found.n_used:,} of the points by class. "
        f"Labels by coin flips would take about {found.n_used // 2:,}; a tenth of that is easy.",
    )  # fmt: skip


def _bits(report: ComplexityReport) -> tuple[str, str, str] | None:
    found = report.bits
    if found is None:
        return None
    return (
        "bits a label", f"{np.mean(found.bits):.3g}",
        f"say every label exactly to somebody who knows the points. Knowing only how frequent "
        f"classes are takes {found.label_entropy:.3g}; labels in a random order take "
        f"{np.mean(found.permuted):.3g}.",
    )  # fmt: skip


def _gap(report: ComplexityReport) -> tuple[str, str, str] | None:
    found = report.gap
    if found is None:
        return None
    value = f"R / {report.radius / found.delta:,.3g}" if found.delta > 0 else "0"
    return (
        "gap", value,
        f"{'is' if found.is_exact else 'at most,'} the distance of the two nearest points of "
        f"different classes, rows {found.rows[0]} and {found.rows[1]}; R, the radius of the data, "
        f"is {report.radius:.3g}.",
    )  # fmt: skip


def _dimension(report: ComplexityReport) -> tuple[str, str, str] | None:
    values = list((report.dimension or {}).values())
    if not values and report.patterns is not None and report.patterns.points is not None:
        values = [report.patterns.points]
    if not values:
        return None
    return (
        "dimension", f"{values[0]:.3g}",
        f"numbers would say where a point lies among the others, of {report.n_features:,} "
        f"features: the rest follows from these, but for noise.",
    )  # fmt: skip


def _unseen(report: ComplexityReport) -> tuple[str, str, str] | None:
    found = report.representation
    if found is None:
        return None
    first, best = found.usual(), found.best()
    right, most = (float(np.median(row.unseen)) for row in (first, best))
    frequent = max(entry.n_samples for entry in report.classes) / report.n_samples
    better = "" if most <= right else f" Best: {best.name}, {_percent(most)}."
    return (
        "right on unseen points", _percent(right),
        f"of {found.n_unseen:,} points that were held out get their label, by cells alone: a vote "
        f"predicts better. The most frequent class has {_percent(frequent)}.{better}",
    )  # fmt: skip


def _suspects(report: ComplexityReport) -> tuple[str, str, str]:
    count = sum(entry.nearer_to_another for entry in report.classes)
    share = count / report.n_samples
    judged = (
        "None: no label looks wrong"
        if not count
        else "Few: look at them, their labels may be wrong"
        if share < 0.03
        else "Many: classes mix, or labels are noise"
    )
    return (
        "suspects", f"{count:,}",
        f"points, {_percent(share)}, lie nearer to another class than to their own. {judged}.",
    )  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:.3g}\u00a0%"
