"""Which points of a class neurons cover, against a product of dense matrices."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from bench.cases import Case, Facts, Run, Side, Work
from bench.parts import Coverage
from bench.peers import covered_dense, dense_bits
from bench.workloads import Sizes

WORDS = (4, 32)
"""Words in a row, 64 bits each."""


def cover(n_words: int, sizes: Sizes, n_threads: int) -> Work:
    """Neurons with random masks that are added to a class of random patterns of so many words."""
    problem = Coverage(sizes.count_rows, n_words, sizes.count_masks, n_threads)

    def check(cover: Any) -> Facts:
        counts = np.bitwise_count(problem.rows[:500, None] & problem.masks).sum(axis=2)
        expected = (counts < problem.thresholds).any(axis=1)
        assert np.array_equal(problem.covered(cover)[:500], expected)
        return {"covered": int(problem.covered(cover).sum())}

    def dense() -> Side:
        patterns, masks = dense_bits(problem.rows), dense_bits(problem.masks)
        levels = problem.thresholds.astype(np.float32)
        return Side(
            lambda: covered_dense(patterns, masks, levels),
            lambda covered: {"covered": int(covered.sum())},
        )

    return Work(Side(problem.accept, check), {"sgemm": dense})


CASES = [Case(f"cover-{n_words}", partial(cover, n_words), ("sgemm",)) for n_words in WORDS]


def test_cover(case: Case, side: str, run: Run) -> None:
    run(case, side)
