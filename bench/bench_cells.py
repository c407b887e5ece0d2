"""Growing cells, the second layer of merged cells alone; the peer is the paper's choice, dense."""

from __future__ import annotations

from functools import partial

from bench.bench_selection import select
from bench.cases import Case, Run

CASES = [
    Case("cells-moons", partial(select, "moons_merge")),
    Case("cells-digits", partial(select, "digits_merge"), ("dense",)),
]


def test_cells(case: Case, side: str, run: Run) -> None:
    run(case, side)
