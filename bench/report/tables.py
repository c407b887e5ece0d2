"""Markdown tables of what was measured, and their places in the README."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.markdown import figure, table
from bench.report.points import TIMES, Point, exponent, line

SUMMARY = [
    "merge",
    "random",
    "predict, merge",
    "dense NumPy, authors' steps",
    "dense NumPy, tuned",
    "sgemm of the first layer",
    "memory copy, points and patterns",
]
MARKED = re.compile(r"<!-- report:([\w-]+) -->\n.*?<!-- /report:\1 -->", re.DOTALL)


def seconds(row: Point | None) -> str:
    """Write the median of a point, and say where it is a single run."""
    if row is None:
        return ""
    once = " (1 run)" if row["runs"] == 1 else ""
    return figure(row["seconds"]) + once


def scaling(points: list[Point], x: str) -> str:
    """One row a place: fits, stages, widths and evaluations, and a second table of the others."""
    by_place = {(p["x"], p["series"]): p for p in points}
    places = list(dict.fromkeys(p["x"] for p in points))
    series = list(dict.fromkeys(p["series"] for p in points))
    fits = [name for name in series if "stages" in by_place[places[0], name]]
    head = [x, "selection", "fit, s", "stages, s", "predict, s", "first", "second"]
    head += ["evaluations", "a neuron", "failed", "bytes"]
    rows = []
    for place in places:
        for name in fits:
            fit = by_place[place, name]
            predict = by_place.get((place, f"predict, {name}"))
            stages = fit["stages"].items()
            rows.append(
                [
                    f"{place:,}",
                    name,
                    seconds(fit),
                    ", ".join(f"{s} {figure(v)}" for s, v in stages if s != "total"),
                    seconds(predict),
                    f"{fit['first_width']:,}",
                    f"{fit['second_width']:,}",
                    figure(fit["evaluations"]),
                    figure(fit["evaluations"] / max(1, fit["second_width"])),
                    f"{fit['unseparated']:,}",
                    f"{fit['nbytes']:,}",
                ]
            )
    others = [
        name for name in TIMES if name in series and name not in fits and "predict" not in name
    ]
    beside = [
        [f"{place:,}", *[seconds(by_place.get((place, name))) for name in others]]
        for place in places
    ]
    return table(head, rows) + "\n\n" + table([x, *[f"{name}, s" for name in others]], beside)


def exponents(studies: Mapping[str, tuple[str, list[Point]]]) -> str:
    """Fit exponents, and the seconds at the largest x, of each study's lines.

    Parameters
    ----------
    studies : mapping of title to (name of x, points)
    """
    rows = []
    for title, (x, points) in studies.items():
        places = [p["x"] for p in points]
        row = [title, f"{x} = {min(places):,} to {max(places):,}"]
        for name in SUMMARY:
            at, values = line(points, name)
            if len(at) < 2:
                row.append("")
                continue
            short = f" at {at[-1]:,}" if at[-1] != max(places) else ""
            row.append(f"{exponent(at, values):.2f} ({figure(values[-1])} s{short})")
        neurons = line(points, "merge", "second_width")[1]
        rows.append([*row, f"{neurons[0]:,} to {neurons[-1]:,}"])
    head = ["exponent (seconds at the end)", "range", *SUMMARY, "neurons, merge"]
    return table(head, rows)


def memory(points: list[Point]) -> str:
    """Peak memory against the fourth invariant."""
    rows = []
    for p in points:
        if "extra_bytes" in p:
            allowed = p["pattern_bytes"] + 256e6
            rows.append(
                [
                    f"{p['x']:,}",
                    p["series"],
                    f"{p['input_bytes'] / 1e6:,.1f}",
                    f"{p['pattern_bytes'] / 1e6:,.1f}",
                    f"{p['extra_bytes'] / 1e6:,.1f}",
                    f"{allowed / 1e6:,.1f}",
                    "yes" if p["extra_bytes"] <= allowed else "NO",
                ]
            )
    head = ["N", "selection", "points, MB", "patterns, MB", "peak beyond points, MB", "allowed, MB"]
    return table([*head, "kept"], rows)


def threads(points: list[Point]) -> str:
    """Seconds on each number of threads, and how many times faster the most are than one."""
    numbers = sorted({p["x"] for p in points})
    rows = []
    for panel, name in dict.fromkeys((p["panel"], p["series"]) for p in points):
        took = {p["x"]: p for p in points if (p["panel"], p["series"]) == (panel, name)}
        ratio = took[1]["seconds"] / took[numbers[-1]]["seconds"]
        rows.append([panel, name, *[seconds(took[n]) for n in numbers], f"{ratio:.2f}"])
    head = ["data", "what", *[f"{n} thread{'s' * (n > 1)}, s" for n in numbers], "times faster"]
    return table(head, rows)


def counts(points: list[Point]) -> str:
    """Words counted a second."""
    names = list(dict.fromkeys(p["series"] for p in points))
    places = sorted({p["x"] for p in points})
    rates = {(p["x"], p["series"]): p["rate"] for p in points}
    rows = []
    for place in places:
        ours, peer = rates[place, "fastmem"], rates[place, "FAISS IndexBinaryFlat"]
        own = [figure(rates[place, name] / 1e9) for name in names]
        rows.append([f"{place}", *own, f"{ours / peer:.1f}"])
    return table(["words in a row", *[f"{n}, 10⁹/s" for n in names], "fastmem : FAISS"], rows)


def work(points: list[Point]) -> str:
    """What fits stored and counted, and at what rates; then the limits of one thread."""
    limits = [p for p in points if p["panel"] == "limits"]
    rates = {p["series"]: p["rate"] for p in limits}
    rows = []
    for p in points:
        if p["panel"] == "limits":
            continue
        rate = p["words"] / max(p["counting"], 1e-9)
        plain = rates[f"counting whole rows of {p['n_words']} words"]
        first = p["stages"].get("patterns", p["stages"].get("growth"))
        rows.append(
            [
                p["series"],
                "{:,}, {:,}".format(*p["widths"]),
                seconds(p),
                figure(first),
                figure(p["pattern_bytes"] / 1e6),
                figure(p["read_bytes"] / first / 1e9),
                figure(p["stages"]["selection"]),
                figure(p["words"] / 1e9),
                figure(p["counting"]),
                figure(rate / 1e9),
                figure(rate / plain),
            ]
        )
    head = ["fit", "widths", "s", "patterns or growth, s", "patterns, MB", "GB/s", "selection, s"]
    head += ["10⁹ words counted", "in s", "10⁹/s", "to the plain kernel"]
    beside = [[p["series"], figure(p["rate"] / 1e9)] for p in limits]
    return table(head, rows) + "\n\n" + table(["limit, one thread", "10⁹ words/s"], beside)


def comparison(points: list[Point], *, weights: bool = False) -> str:
    """Rows of one problem.

    Parameters
    ----------
    points : list of Point
    weights : bool
        Whether to show the numbers of weights.
    """
    head = ["", "fit, s", "predict, µs a point", "widths"]
    head += ["weights", "not zero"] * weights
    head += ["model, bytes", "bits a label", "accuracy, training", "unseen", "note"]
    rows = []
    for p in points:
        if "seconds" not in p:
            rows.append([p["series"], *[""] * (len(head) - 2), p.get("note", "")])
            continue
        note = [p["note"]] if p["note"] else []
        if p["runs"] == 1:
            note.append("1 run")
        if p["n_checked"] < p["n_train"]:
            note.append(f"training accuracy on {p['n_checked']:,} points")
        row = [
            p["series"],
            figure(p["seconds"]),
            figure(1e6 * p["predict_seconds"] / p["n_unseen"]),
            f"{p['first_width']:,}, {p['second_width']:,}" if "second_width" in p else "",
        ]
        if weights:
            row += [_whole(p.get("n_parameters")), _whole(p.get("n_nonzero"))]
        row += [
            _whole(p["nbytes"]),
            figure(p["bits_a_label"]),
            _accuracy(p["training_accuracy"]),
            f"{p['unseen_accuracy']:.4f}",
            "; ".join(note),
        ]
        rows.append(row)
    return table(head, rows)


def _whole(value: Any) -> str:
    return "" if value is None else f"{value:,.0f}"


def _accuracy(value: float) -> str:
    """Write 1 for every point and nothing that rounds to it."""
    return "1" if value == 1 else f"{min(value, 0.99999):.5f}"


def rewrite(path: Path, blocks: Mapping[str, str]) -> list[str]:
    """Put blocks between their markers in a Markdown file.

    Parameters
    ----------
    path : Path
    blocks : mapping of name to Markdown
        What stands between ``<!-- report:NAME -->`` and ``<!-- /report:NAME -->``. A marked name
        that is not among them keeps what it has.

    Returns
    -------
    list of str
        The names that were rewritten.
    """
    text = path.read_text(encoding="utf-8")
    done: list[str] = []

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name not in blocks:
            return match[0]
        done.append(name)
        return f"<!-- report:{name} -->\n\n{blocks[name].strip()}\n\n<!-- /report:{name} -->"

    path.write_text(MARKED.sub(fill, text), encoding="utf-8")
    return done
