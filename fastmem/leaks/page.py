"""A leak report in words, and as one HTML page that needs no other file."""

from __future__ import annotations

from pathlib import Path

from fastmem import pages
from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import typed
from fastmem.leaks.pictures import image_side, images, signal_picture
from fastmem.leaks.report import LeakReport, Membership
from fastmem.machine.wording import printable

NAME = "the network"
SIGNALS = {
    "counts": "from the second layer's weights",
    "score": "from what decision_function returns",
    "label": "from the predicted label alone",
}
"""Signals, and what of the network they take."""
VALUES_SHOWN = 40
"""Features of a point that a table lists."""
NO_PROOF = (
    "Low figures prove no privacy: they say that these attacks did not succeed, and another may. A "
    "network that gives back every label it was shown always proves one thing: a point of a known "
    "label that it gets wrong was not among its training points."
)
STORED = (
    "A neuron is a mask: the hyperplanes on whose negative side its points are. Where a mask is "
    "the whole sign pattern of a training point, the network holds on which side of every "
    "hyperplane that point is, and with many hyperplanes a feature that is the point itself, "
    "rounded. A neuron of many points holds what these have in common."
)
MEMBERSHIP = (
    "How well one signal tells training points from unseen ones. Advantage: the largest difference "
    "of the share of training points and the share of unseen points that a threshold takes for "
    "training points; 0 is a guess, 1 is certainty. Chance: what a signal without information "
    "exceeds once in twenty times with so many points. At 1 %: the training points found where one "
    "unseen point in a hundred is taken for one."
)
MASKS = (
    "Without any data: is there a point whose sign pattern is the mask? If so, the neuron very "
    "likely stores one record. Both answers are proved, one by such a point, the other by a sum of "
    "inequalities that cannot hold."
)
RECOVERED = (
    "Points on the side of every hyperplane that a mask says, found by projected gradients from "
    "the network alone. Taken for known of the values: {}. Error: the distance to the training "
    "point that the neuron holds, as a share of R, the largest distance of a training point from "
    "the mean; identified: no other training point is nearer. Consistent: its sign pattern is the "
    "mask, which can be checked without data."
)


def save_page(report: LeakReport, path: Path, name: str = NAME) -> None:
    """Write `page` to a file, whole or not at all.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    pages.save(page(report, name), Path(path))


def page(report: LeakReport, name: str = NAME) -> str:
    """Give the report as the text of an HTML page.

    Everything is in it: pictures as data, no script, nothing from elsewhere; names and labels are
    escaped.

    Raises
    ------
    InvalidInputError
        If the report is none.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    if not isinstance(report, LeakReport):
        raise InvalidInputError(
            f"report is {typed(report)}; pass the LeakReport that fastmem.audit returns"
        )
    parts = [
        pages.card(_card(report)),
        *(pages.note(sentence) for sentence in sentences(report)),
        pages.note(NO_PROOF),
    ]
    if report.stored is not None:
        parts += [pages.heading("Records in the weights"), pages.note(STORED)]
        parts.append(pages.table([], _stored_facts(report).items()))
    if report.membership:
        drawn = [
            pages.figure(f"{key.capitalize()}, {SIGNALS.get(key, '')}",
                         signal_picture(key, signal), signal.words)
            for key, signal in report.membership.items() if key != "label"
        ]  # fmt: skip
        parts += [pages.heading("Was this point among the training points?")]
        parts += [pages.note(MEMBERSHIP), pages.table(*signal_rows(report)), pages.gallery(drawn)]
    if report.masks is not None:
        parts += [pages.heading("Masks that are one point's pattern"), pages.note(MASKS)]
        parts.append(pages.table([], _mask_facts(report).items()))
    if report.reconstructions:
        parts += [pages.heading("Points recovered"), pages.note(RECOVERED.format(report.box))]
        picture = images(report)
        if picture is not None:
            parts.append(pages.figure(
                "Reconstructions, and below each the training point that it is of", picture,
                is_whole=len(report.reconstructions) > 3,
            ))  # fmt: skip
        parts.append(pages.table(*reconstruction_rows(report)))
        if not image_side(report) and report.n_features <= VALUES_SHOWN:
            parts += [pages.details("All values", [pages.table(*_value_rows(report))])]
    if report.skipped:
        parts += [pages.heading("Not measured, or of little meaning"), pages.listed(report.skipped)]
    seconds = ", ".join(f"{key} {value:.1f}" for key, value in report.seconds.items())
    parts.append(pages.note(f"Seed {report.seed}. Seconds: {seconds}."))
    return pages.page(f"What {printable(name)} gives away", parts)


def sentences(report: LeakReport) -> list[str]:
    """Say the main things in words, the worst first."""
    said = []
    stored = report.stored
    if stored is not None and stored.n_in_full:
        said.append(
            f"{_percent(stored.share)} of the training points are stored in full: their whole sign "
            f"pattern is in the weights."
        )
    elif stored is not None:
        said.append("No training point is stored in full.")
    same = [entry for entry in report.reconstructions if entry.right == 1.0]
    if same:
        said.append(
            f"{len(same)} of {len(report.reconstructions)} points that were recovered from "
            f"masks are training points, in every value."
        )
    elif (found := [entry for entry in report.reconstructions if entry.is_identified]) and any(
        entry.is_consistent for entry in found
    ):
        said.append(
            f"{len(found)} of {len(report.reconstructions)} points that were recovered from "
            f"masks are nearest to the training point whose mask it is."
        )
    best = _best(report)
    if best is not None:
        key, signal = best
        said.append(
            f"The best signal of membership, {key}, has an advantage of {signal.advantage:.2f} "
            f"(chance: {signal.chance:.2f}) and finds {_percent(signal.tpr)} of the training "
            f"points at 1 % false ones."
        )
    if report.proved_unseen:
        said.append(
            f"A wrong label proves of {_percent(report.proved_unseen)} of the unseen points that "
            f"they are no training points."
        )
    return said


def facts(report: LeakReport) -> dict[str, str]:
    """Give what was audited, and the main figures, as names and texts."""
    found = {
        "decision": report.decision,
        "features": f"{report.n_features:,}",
        "hyperplanes": f"{report.n_hyperplanes:,}",
        "neurons": f"{report.n_neurons:,}",
    }
    if report.n_samples is not None and report.n_audited is not None:
        drawn = "" if report.n_audited == report.n_samples else f", {report.n_audited:,} drawn"
        found["training points"] = f"{report.n_samples:,}{drawn}"
    if report.training_accuracy is not None:
        found["accuracy on these"] = f"{report.training_accuracy:.4g}"
    if report.unseen_accuracy is not None:
        found["accuracy on unseen points"] = f"{report.unseen_accuracy:.4g}"
    if report.stored is not None:
        found |= _stored_facts(report)
    if report.masks is not None:
        found |= _mask_facts(report)
    return found


def signal_rows(report: LeakReport) -> tuple[list[str], list[list[str]]]:
    """Give the table of signals of membership: its header and rows."""
    header = ["signal", "training points", "unseen", "AUC", "advantage", "chance", "at 1 %"]
    rows = [
        [
            key, f"{signal.n_members:,}", f"{signal.n_unseen:,}", f"{signal.auc:.3f}",
            f"{signal.advantage:.3f}", f"{signal.chance:.3f}", _percent(signal.tpr),
        ]
        for key, signal in report.membership.items()
    ]  # fmt: skip
    return header, rows


def reconstruction_rows(report: LeakReport) -> tuple[list[str], list[list[str]]]:
    """Give the table of points recovered: its header and rows."""
    header = ["neuron", "class", "consistent"]
    has_data = any(entry.n_stored is not None for entry in report.reconstructions)
    are_whole = any(entry.right is not None for entry in report.reconstructions)
    header += ["records with count 0", "row", "error / R", "identified"] if has_data else []
    header += ["values right"] if are_whole else []
    rows = []
    for entry in report.reconstructions:
        row = [f"{entry.neuron:,}", printable(str(entry.label)), _yes(entry.is_consistent)]
        if has_data:
            row += [_or_dash(entry.n_stored, ","), _or_dash(entry.row, ","),
                    _or_dash(entry.error, ".3f"), _yes(entry.is_identified)]  # fmt: skip
        if are_whole:
            row.append("-" if entry.right is None else _percent(entry.right))
        rows.append(row)
    return header, rows


def _card(report: LeakReport) -> list[tuple[str, str, str]]:
    panels = []
    if report.stored is not None:
        panels.append((
            "stored in full", _percent(report.stored.share),
            f"of {report.stored.n_records:,} training points have their whole sign pattern in the "
            f"weights",
        ))  # fmt: skip
    best = _best(report)
    if best is not None:
        panels.append((
            "membership advantage", f"{best[1].advantage:.2f}",
            f"0 is a guess, 1 is certainty; by {best[0]}, {SIGNALS.get(best[0], '')}",
        ))  # fmt: skip
        panels.append((
            "found at 1 % false", _percent(best[1].tpr),
            "of the training points, where one unseen point in a hundred is taken for one",
        ))  # fmt: skip
    errors = [entry.error for entry in report.reconstructions if entry.error is not None]
    if errors:
        panels.append((
            "recovered points", f"{min(errors):.2g} R off",
            f"the best of {len(report.reconstructions)}; R is the radius of the data, so that 1 "
            f"says nothing",
        ))  # fmt: skip
    if not panels:
        panels.append(("neurons", f"{report.n_neurons:,}", "no data were passed to compare with"))
    return panels


def _best(report: LeakReport) -> tuple[str, Membership] | None:
    """The signal of the largest advantage over chance."""
    signals = report.membership.items()
    return max(signals, key=lambda item: item[1].advantage - item[1].chance, default=None)


def _stored_facts(report: LeakReport) -> dict[str, str]:
    stored = report.stored
    assert stored is not None
    found = {
        "records stored in full": f"{stored.n_in_full:,} of {stored.n_records:,}",
        "neurons that are a whole record": f"{stored.n_full_neurons:,} of {stored.n_neurons:,}",
        "neurons with one record of count 0": f"{stored.n_single:,}",
        "records of count 0 a neuron, median": f"{stored.median_zero:,.4g}",
    }
    if stored.n_without:
        found["records of classes without neurons"] = f"{stored.n_without:,}"
    return found


def _mask_facts(report: LeakReport) -> dict[str, str]:
    masks = report.masks
    assert masks is not None
    found = {
        "masks tested": f"{masks.n_tested:,} of {masks.n_neurons:,}",
        "of them one point's pattern": f"{masks.patterns:,}",
        "no point's pattern": f"{masks.empty:,}",
        "undecided": f"{masks.undecided:,}",
    }
    if masks.why:
        found["why not all"] = masks.why
    return found


def _value_rows(report: LeakReport) -> tuple[list[str], list[list[str]]]:
    names = report.feature_names or [f"x{k}" for k in range(report.n_features)]
    header, columns = ["feature"], []
    for entry in report.reconstructions:
        header += [f"neuron {entry.neuron:,}", f"row {entry.row}" if entry.record else "-"]
        columns += [entry.values, entry.record]
    rows = [
        [printable(name), *("-" if column is None else f"{column[k]:.6g}" for column in columns)]
        for k, name in enumerate(names)
    ]
    return header, rows


def _percent(share: float) -> str:
    return f"{100 * share:.3g}\u00a0%"


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
