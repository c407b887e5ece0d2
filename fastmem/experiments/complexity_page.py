"""A complexity report as one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fastmem import pages
from fastmem.experiments.complexity_report import ComplexityReport
from fastmem.experiments.complexity_tables import (
    beside,
    class_note,
    class_rows,
    class_samples,
    connection_rows,
    drawn,
    facts,
    hard_rows,
    hard_values,
    representation_rows,
    separation_rows,
    shape_rows,
    topology_notes,
    topology_rows,
    width_rows,
)
from fastmem.experiments.complexity_words import INTRODUCTION, card, meaning

__all__ = [
    "class_note",
    "class_rows",
    "facts",
    "hard_rows",
    "hard_values",
    "page",
    "representation_rows",
    "save_page",
    "shape_rows",
    "topology_notes",
    "topology_rows",
    "width_rows",
]

ROWS_SHOWN = 20
"""Rows of a table that are not behind a click."""
WIDTHS = (
    "Does more data of this kind need a larger network? Random samples, each twice as large as the "
    "one before, are memorised one by one. Numbers that stay flat say that more points add "
    "nothing; numbers that grow, that the border between classes is still being filled in. "
    "Medians of {} networks, their range in brackets. The least first width is the number of "
    "hyperplanes of ",
    pages.code('width="auto"'),
    "; all classes are covered. Merged neurons hold as many points as they can, random ones are "
    "the paper's. ",
)
SEPARATED = (
    "Random hyperplanes needed until that share of the class can be told from all other points: "
    "the median of several first layers; “>” where not all of them got there. A class whose "
    "“all” is far above its “99 %” has a few points in another class's midst. "
)
SEPARATION = (
    "Random features, each max(w·x + b, 0) of random w and b, are added until a flat cut through "
    "the features separates the classes, one class from all others where there are more than two. "
    "In contrast to the widths above this number hardly minds a small gap. For labels by coin "
    "flips it is about half the number of points (Cover 1965), for two far clusters less than ten. "
    "That fewer features do not separate is the solver's word; that these do is checked. "
)
TOPOLOGY = (
    "How many pieces (the first number) and how many holes (the second) each class has, as its "
    "points lie in space and as their patterns of {} hyperplanes lie. Up to {} landmarks stand for "
    "a class; what appears and disappears as balls about them grow is a bar, and long bars count. "
    "Sure: counted by bars twice as long. Half: whether half the landmarks say the same; numbers "
    "that do not are worth little. Where points are few or scattered nothing is counted. "
)
REPRESENTATION = (
    "The same points written down in other ways, each memorised anew, medians of {}. Hyperplanes "
    "know no units: they mind which columns are large. Rotation changes nothing but by chance. "
    "Principal components leave out directions of little variance; whitening makes all directions "
    "equally large, which lifts noise to the size of what matters. Unseen: the share of {} "
    "held-out points whose label the network of {} hyperplanes gives. A row that is much better "
    "than the first says how to prepare the table. "
)
CONNECTIONS = (
    "A network with as few connections as ",
    pages.code("compact=True"),
    " finds, every label of its points still right. Each neuron is a conjunction: on where a point "
    "is on the right side of all the hyperplanes it is connected to. ",
    pages.code("fastmem complexity --graph net.graphml"),
    " writes them for programs that draw graphs, ",
    pages.code("net.svg"),
    " as a picture where there are at most 200 nodes. ",
)
HARDEST = (
    "Hardness compares how near a point's own class and the nearest other class are, as the "
    "hyperplanes see it: above 0.5 the point is nearer to the other class, so its label may be "
    "wrong. m is the threshold of the point's own neuron, as a share of the median of its class; "
    "alone is how often that neuron covers no other point. The values are the point's own. "
)


def save_page(report: ComplexityReport, path: Path) -> None:
    """Write `page` to a file, whole or not at all.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    pages.save(page(report), path)


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

    return pages.page(
        f"Complexity of {report.name}",
        [
            pages.card(card(report)),
            pages.note(INTRODUCTION),
            pages.heading("All figures of the whole"),
            pages.explained((name, value, meaning(name)) for name, value in facts(report).items()),
            pages.heading("Pictures"),
            pages.gallery(pages.figure(*titled) for titled in pictures(report).items()),
            *_widths(report),
            *_classes(report),
            *_separation(report),
            *_topology(report),
            *_representation(report),
            *_connections(report),
            *_hardest(report),
            *_ending(report),
        ],
    )


def _widths(report: ComplexityReport) -> list[pages.Markup]:
    texts = WIDTHS[0].format(report.trials), *WIDTHS[1:]
    used = drawn(report.widths[-1].n_samples, report.n_samples - report.n_contradictory)
    return [
        pages.heading("Widths over N"), pages.note(*texts, used), pages.table(*width_rows(report))
    ]  # fmt: skip


def _classes(report: ComplexityReport) -> list[pages.Markup]:
    return [
        pages.heading("Classes"),
        pages.note(SEPARATED, drawn(report.n_samples, report.n_samples)),
        *_opened(*class_rows(report), "classes"),
        pages.note(class_note(report)),
        pages.note(class_samples(report)),
        *_opened(*shape_rows(report), "classes"),
    ]


def _separation(report: ComplexityReport) -> list[pages.Markup]:
    found = report.separation
    if found is None:
        return []
    return [
        pages.heading("Separation by random features"),
        pages.note(SEPARATION, drawn(found.n_used, report.n_samples - report.n_contradictory)),
        pages.table(*separation_rows(report)),
    ]


def _topology(report: ComplexityReport) -> list[pages.Markup]:
    found = report.topology
    if found is None:
        return []
    from fastmem.plots import persistence_bars

    used = drawn(found.n_samples, report.n_samples - report.n_contradictory)
    header, rows = topology_rows(report)
    words = (
        "A line for each piece (dimension 0) or hole (1), from the distance at which it appears to "
        "that at which it is gone, the longest of each; those that cross the shaded strip count."
    )
    # beside two panels a class there is room for so many classes in one picture
    parts = [
        pages.figure(
            f"Bars of classes {k + 1} to {min(k + 4, len(found.classes))}",
            persistence_bars(replace(found, classes=found.classes[k : k + 4])),
            words if k == 0 else "", is_whole=True,
        )
        for k in range(0, len(found.classes), 4)
    ]  # fmt: skip
    return [
        pages.heading("Pieces and holes"),
        pages.note(TOPOLOGY.format(f"{found.n_hyperplanes:,}", f"{found.landmarks:,}"), used),
        *([pages.table(header, rows)] if rows else []),
        *(pages.note(sentence) for sentence in topology_notes(report)),
        pages.details("The bars", parts),
    ]


def _representation(report: ComplexityReport) -> list[pages.Markup]:
    found = report.representation
    if found is None:
        return []
    words = REPRESENTATION.format(
        "one trial" if report.trials == 1 else f"{report.trials:,} trials", f"{found.n_unseen:,}",
        f"{found.width:,}",
    )  # fmt: skip
    used = drawn(found.n_fitted + found.n_unseen, report.n_samples - report.n_contradictory)
    return [
        pages.heading("Representation"), pages.note(words, used),
        pages.table(*representation_rows(report)),
    ]  # fmt: skip


def _connections(report: ComplexityReport) -> list[pages.Markup]:
    found = report.connectivity
    if found is None:
        return []
    used = drawn(found.n_samples, report.n_samples - report.n_contradictory)
    return [
        pages.heading("Connections"), pages.note(*CONNECTIONS, used),
        pages.table(*connection_rows(report)),
    ]  # fmt: skip


def _hardest(report: ComplexityReport) -> list[pages.Markup]:
    count = len(report.hardest)
    header, rows = beside(hard_rows(report, count), hard_values(report, count))
    has_values = header[-1] == "values"
    texts = (0, 1, 2, len(header) - 1) if has_values else (0, 1, 2)
    return [
        pages.heading("The hardest points"),
        pages.note(HARDEST, drawn(report.n_samples, report.n_samples)),
        *_opened(header, rows, "points", texts),
    ]


def _ending(report: ComplexityReport) -> list[pages.Markup]:
    skipped = [pages.heading("Not measured"), pages.listed(report.skipped)]
    times = [[name, f"{value:.1f}"] for name, value in report.seconds.items()]
    return [
        *(skipped if report.skipped else ()),
        pages.note(f"Seed {report.seed}."),
        pages.details(
            f"Seconds: {sum(report.seconds.values()):,.0f}",
            [pages.table(["part", "seconds"], times)],
        ),
    ]


def _opened(
    header: Sequence[str], rows: list[list[str]], what: str, texts: Sequence[int] = (0,)
) -> list[pages.Markup]:
    """A table whose later rows a reader opens."""
    parts = [pages.table(header, rows[:ROWS_SHOWN], texts=texts)]
    if len(rows) > ROWS_SHOWN:
        more = pages.table(header, rows[ROWS_SHOWN:], texts=texts)
        parts.append(pages.details(f"{len(rows) - ROWS_SHOWN:,} more {what}", [more]))
    return parts
