"""Widths over nested samples, and how many points each neuron covers."""

from __future__ import annotations

import numpy as np

from fastmem.experiments.complexity_report import Widths
from fastmem.experiments.sections.study import CURVE_POINTS, Array, Study, memorised
from fastmem.network.coverage import coverage


def widths(study: Study) -> tuple[list[Widths], dict[str, list[list[int]]]]:
    """Widths over nested samples; and the coverage curves of the largest one, for one seed."""
    width = study.width
    sizes, seeds = study.usable.sizes(study.most), study.seeds.several("widths", study.trials)
    total, done = sum(sizes), 0
    found, curves = [], {}
    for size in sizes:
        X, y = study.usable.sample(size)
        row = Widths(size, [], [], [], [], [], [])
        for number, one in enumerate(seeds):
            nets = {
                (kind, wanted): memorised(
                    X, y, width=wanted, selection=kind, covered="all", seed=one, **study.fit
                )
                for kind in ("merge", "random")
                for wanted in ("auto", width)
            }
            row.least.append(nets["merge", "auto"].widths[0])
            row.merged_at_least.append(nets["merge", "auto"].widths[1])
            row.random_at_least.append(nets["random", "auto"].widths[1])
            row.merged.append(nets["merge", width].widths[1])
            row.random.append(nets["random", width].widths[1])
            report = nets["merge", width].report
            row.unseparated.append(0 if report is None else len(report.unseparated))
            if size == sizes[-1] and number == 0:
                for kind in ("merge", "random"):
                    gained = np.sort(coverage(nets[kind, width], X, y))[::-1]
                    curves[kind] = _thinned(np.cumsum(np.concatenate([[0], gained])))
        found.append(row)
        done += size
        study.tell("networks", done, total, 0)
    return found, curves


def _thinned(values: Array) -> list[list[int]]:
    """Pairs (index, value), some hundreds of them, with the first and the last."""
    kept = np.unique(np.geomspace(1, len(values), CURVE_POINTS).astype(np.int64)) - 1
    return [[int(i), int(values[i])] for i in kept]
