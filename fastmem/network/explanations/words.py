"""Explanations in words, and as the tables of a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fastmem.machine.wording import printable
from fastmem.network.pages import SHOWN, grid, table

if TYPE_CHECKING:
    from fastmem.network.explanations.report import Change, Example, Explanation

_BITS = 12
"""Hyperplanes that are named."""


def explanation_text(found: Explanation) -> str:
    """Say in a few lines why a point has its label."""
    lines = [_decided(found), *(sentence for _, sentence in _beside(found))]
    for name, examples in (
        ("Prototypes", found.prototypes), ("Counter-prototypes", found.counter_prototypes),
    ):  # fmt: skip
        if examples:
            lines.append(f"{name}: " + "; ".join(_example(found, one) for one in examples) + ".")
    lines += [f"Another label: {_change(one)}." for one in found.changes]
    return "\n".join(lines + [sentence for _, sentence in _flips(found)])


def explanation_page(found: Explanation) -> str:
    """Give the same as tables of HTML, with the columns of all points that are named."""
    pages = [table("fastmem.Explanation", facts(found))]
    points = points_shown(found)
    names = list(points[0][2])[:SHOWN]
    if names:
        left = len(points[0][2]) - len(names)
        header = ["", "label", *names, *([f"{left:,} more columns"] if left else [])]
        rows = [
            [what, shown(label), *(shown(values.get(name)) for name in names)]
            for what, label, values in points
        ]
        pages.append(grid("Points", header, rows))
    if found.changes:
        pages.append(grid("Another label", *change_rows(found)))
    return "".join(pages)


def facts(found: Explanation) -> dict[str, str]:
    """The label, and sentences on what decided and what else there is to say, by short names."""
    named = {"label": shown(found.label), "why": _decided(found)}
    return named | dict([*_beside(found), *_flips(found)])


def points_shown(found: Explanation) -> list[tuple[str, Any, dict[str, Any]]]:
    """The point, its prototypes and counter-prototypes: what each is, its label, its columns."""
    points: list[tuple[str, Any, dict[str, Any]]] = [("the point", found.label, columns(found))]
    for what, examples in (
        ("prototype", found.prototypes), ("counter-prototype", found.counter_prototypes),
    ):  # fmt: skip
        points += [(f"{what}, row {one.row}", one.label, columns(one)) for one in examples]
    return points


def change_rows(found: Explanation) -> tuple[list[str], list[list[str]]]:
    """A head, and a row for each change."""
    changes = [
        [
            one.column or "all, by the share of the way",
            shown(one.before),
            shown(one.after),
            shown(one.label),
            f"{one.distance:.4g}",
        ]
        for one in found.changes
    ]
    return ["column", "from", "to", "label", "share of its range"], changes


def columns(one: Explanation | Example) -> dict[str, Any]:
    """A point's columns; of few features without names, their numbers."""
    if one.values or len(one.features) > SHOWN:
        return one.values
    return {f"x{k}": value for k, value in enumerate(one.features)}


def shown(value: Any) -> str:
    """A value in a few letters; numbers to nine digits, as texts and pages name them."""
    if value is None:
        return "missing"
    return f"{value:.9g}" if isinstance(value, float) else printable(str(value))


def _decided(found: Explanation) -> str:
    label = shown(found.label)
    if found.decision == "vote":
        lead = found.readout_votes + found.neuron_votes
        by = (
            f"{found.neuron_votes:+,} by neurons that are on" if found.neuron_votes else "no neuron"
        )
        other = shown(found.runner_up)
        leads = f"leads {other} by {lead:,} votes" if lead else f"is level with {other}, and first"
        sentence = f"{label} {leads}: {found.readout_votes:+,} of the read-out, {by}."
        return sentence if found.neuron is None else f"{sentence} Neuron {found.neuron} decides."
    if found.neuron is None:
        what = "rule holds" if found.decision == "list" else "neuron is on"
        return f"{label}, because no {what}: it is left to such points."
    if found.decision == "list":
        comparisons = " and ".join(found.rules[0].comparisons)
        return f"{label}, by rule {found.neuron}, the first that holds: {comparisons}."
    assert found.threshold is not None and found.count is not None
    margin = found.threshold - found.count
    if margin > 0:
        return (
            f"{label}, by neuron {found.neuron}: of its mask {shown(found.count)} is on, and it is "
            f"on below {shown(found.threshold)}; a margin of {shown(margin)}."
        )
    return (
        f"{label}, though no neuron is on: neuron {found.neuron} is nearest to it, with "
        f"{shown(found.count)} of its mask on where it is on below {shown(found.threshold)}."
    )


def _beside(found: Explanation) -> Iterator[tuple[str, str]]:
    """What else there is to say of how it was decided, each with a name."""
    if found.decision == "cells":
        by = "" if found.runner_up_neuron is None else f", by neuron {found.runner_up_neuron}"
        yield (
            "next",
            f"Next is {shown(found.runner_up)} with a score of {shown(found.runner_up_score)}{by}, "
            f"against {shown(found.score)}.",
        )
    if found.neuron is not None:
        what = "rule decides for" if found.decision == "list" else "neuron is on for"
        yield (
            "rows",
            f"The {what} {found.n_covered:,} of {found.n_rows:,} rows with this label; "
            f"{found.n_stored:,} have count 0.",
        )
    for rule in found.rules[found.neuron is not None :]:
        failing = [
            text for text, holds in zip(rule.comparisons, rule.hold, strict=True) if not holds
        ]
        yield (
            f"rule {rule.neuron}",
            f"Rule {rule.neuron} for {shown(rule.label)} comes before and fails by "
            f"{' and '.join(failing)}.",
        )
    if found.contributions:
        most = ", ".join(f"{one.votes:+,} by feature {one.feature}" for one in found.contributions)
        yield "features", f"Features that add most, for or against it: {most}."


def _flips(found: Explanation) -> Iterator[tuple[str, str]]:
    if found.flips is not None:
        bits = found.flips.hyperplanes
        named = _listed(bits)
        fewest = ", and no fewer" if found.flips.are_fewest and len(bits) > 1 else ""
        yield (
            "bits",
            f"With {len(bits)} of its bits flipped{fewest}, a pattern gets "
            f"{shown(found.flips.label)}: hyperplane{'s' * (len(bits) > 1)} {named}.",
        )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:_BITS])) + (", ..." if len(numbers) > _BITS else "")


def _example(found: Explanation, one: Example) -> str:
    count = "" if one.count is None else f"count {shown(one.count)}, "
    unit = "away" if isinstance(one.distance, float) else "hyperplanes away"
    unit = "hyperplane away" if one.distance == 1 else unit
    label = "" if one.label == found.label else f" ({shown(one.label)})"
    return f"row {one.row}{label}, {count}{shown(one.distance)} {unit}"


def _change(one: Change) -> str:
    label = shown(one.label)
    if one.column is None:
        return f"{label} at {one.distance:.4g} of the way to the first counter-prototype"
    return f"{label} with {one.column} {shown(one.after)} instead of {shown(one.before)}"
