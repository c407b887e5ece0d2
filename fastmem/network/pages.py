"""Small HTML tables of networks and reports, as notebooks show them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastmem.machine.wording import printable

if TYPE_CHECKING:
    from fastmem.network.network import Network
    from fastmem.network.report import FitReport

SHOWN = 12
"""Classes, or names of features, that are listed."""


def table(title: str, facts: dict[str, str]) -> str:
    """Give a table of names and values; all of it is text, whatever it holds."""
    rows = "".join(
        f'<tr><th style="text-align: left">{html.escape(name)}</th>'
        f'<td style="text-align: left">{html.escape(printable(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table><caption>{html.escape(title)}</caption><tbody>{rows}</tbody></table>"


def grid(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table with a header; all of it is text, whatever it holds."""

    def line(cells: Sequence[str], kind: str) -> str:
        return "".join(
            f'<{kind} style="text-align: left">{html.escape(printable(cell))}</{kind}>'
            for cell in cells
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return (
        f"<table><caption>{html.escape(title)}</caption><thead><tr>{line(header, 'th')}</tr>"
        f"</thead><tbody>{body}</tbody></table>"
    )


def short_text(network: Network) -> str:
    """Say in a line what a network is."""
    n, m = network.widths
    features, classes = f"{network.n_features_in_} features", f"{len(network.classes_)} classes"
    if network.readout is not None:
        return (
            f"<fastmem.Network: {features}, a vote of {len(network.readout)} cosines, "
            f"{n} hyperplanes and {m} neurons for exceptions, {classes}>"
        )
    relu = " with ReLU" if network.second.activation == "relu" else ""
    order = "" if network.default is None else " in order"
    return f"<fastmem.Network: {features}, {n} hyperplanes{relu}, {m} neurons{order}, {classes}>"


def network_page(network: Network) -> str:
    """Give the facts of a network."""
    n, m = network.widths
    facts = {"classes": _listed(network.classes_.tolist())}
    if network.feature_names is None:
        facts["features"] = f"{network.n_features_in_:,}"
    else:
        facts["features"] = _listed(list(network.feature_names))
    if network.readout is not None:
        facts["features of the vote"] = f"{len(network.readout):,}"
    facts |= {
        "hyperplanes": f"{n:,}",
        "neurons": f"{m:,}" + (" in order" if network.decision == "list" else ""),
        "activation": network.second.activation,
        "parameters": f"{network.n_parameters:,} ({network.n_nonzero:,} not zero)",
    }
    return table("fastmem.Network", facts)


def report_page(report: FitReport) -> str:
    """Give the facts of a fit."""
    facts = {
        "samples": f"{report.n_samples:,}",
        "features": f"{report.n_features:,}",
        "classes": _listed(report.classes.tolist()),
        "points not separated": f"{len(report.unseparated):,}",
        "selection": report.selection,
        "projection": report.projection,
        "largest bias": f"{report.max_bias:.6g}",
        "margin": f"{report.margin:g}",
        **({} if report.vote is None else {"vote": str(report.vote)}),
        "threads": f"{report.n_threads}",
        "seed": f"{report.seed}",
    }
    facts |= {f"seconds, {stage}": f"{value:.2f}" for stage, value in report.seconds.items()}
    return table("fastmem.FitReport", facts)


def _listed(values: list[object]) -> str:
    shown = ", ".join(str(value) for value in values[:SHOWN])
    return f"{len(values):,} ({shown}{', ...' if len(values) > SHOWN else ''})"
