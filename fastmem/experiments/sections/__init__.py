"""The sections of the complexity report: each measures one thing, or says why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastmem.experiments.sections.classes import class_facts
from fastmem.experiments.sections.code_bits import bits
from fastmem.experiments.sections.connecting import connectivity
from fastmem.experiments.sections.nearness import dimension, gap
from fastmem.experiments.sections.representing import representation, representations
from fastmem.experiments.sections.separating import separation
from fastmem.experiments.sections.shapes import patterns, topology
from fastmem.experiments.sections.study import Study
from fastmem.experiments.sections.widths import widths

__all__ = ["representations"]

SECTIONS: dict[str, Callable[[Study], Any]] = {
    "gap": gap,
    "dimension": dimension,
    "widths": widths,
    "classes": class_facts,
    "bits a label": bits,
    "separation width": separation,
    "topology": topology,
    "dimension of patterns": patterns,
    "representation": representation,
    "connectivity": connectivity,
}
"""By the names under which a report has their seconds, and the reasons of what it skips."""
