"""The graph of a complexity report's compact network, as a file."""

from __future__ import annotations

from pathlib import Path

from fastmem.experiments.complexity_report import ComplexityReport
from fastmem.machine.files import moved_when_complete
from fastmem.network.graph import graphml
from fastmem.plots import network_graph

__all__ = ["save_graph"]

SUFFIXES = (".graphml", ".svg")


def save_graph(report: ComplexityReport, path: Path) -> None:
    """Write the compact network of a report that was just made, whole or not at all.

    Parameters
    ----------
    report : ComplexityReport
        With ``network``, which a report that was read from JSON lacks.
    path : pathlib.Path
        Ends in .graphml, for programs that draw graphs, or in .svg, a picture.

    Raises
    ------
    InvalidInputError
        If the network is too large: ten million edges for GraphML, 200 nodes for a picture.
    ModuleNotFoundError
        If networkx or, for a picture, matplotlib is not installed.
    ValueError
        If the report has no network, or the name another ending.
    """
    if report.network is None or path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} needs one of {SUFFIXES}, and a report with its network")
    if path.suffix.lower() == ".svg":
        figure = network_graph(report.network)
        with moved_when_complete(path) as temporary:
            figure.savefig(temporary, format="svg")
        return
    text = graphml(report.network)
    with (
        moved_when_complete(path) as temporary,
        open(temporary, "x", encoding="utf-8") as file,
    ):
        file.write(text + "\n")
