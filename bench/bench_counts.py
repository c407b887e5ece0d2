"""Smallest counts of masks over whole rows: fastmem's kernel against FAISS's binary index."""

from __future__ import annotations

from functools import partial

import numpy as np

from bench.cases import Case, Facts, Run, Side, Work
from bench.parts import Counts
from bench.peers import FaissCounts
from bench.workloads import Sizes

WORDS = (4, 8, 16, 32, 64, 160, 256)
"""Words in a row, 64 bits each."""


def counts(n_words: int, sizes: Sizes, n_threads: int) -> Work:
    """Counts of random masks over random rows of so many words."""
    problem = Counts(sizes.count_rows, n_words, sizes.count_masks, n_threads)
    masks = problem.masks

    def check(combine: np.ufunc, least: np.ndarray) -> Facts:
        for mask, minimum in zip(masks[:2], least[:2], strict=True):
            ones = np.bitwise_count(combine(problem.rows, mask))
            assert minimum == ones.sum(axis=1, dtype=np.int64).min()
        return {"words": len(masks) * problem.rows.size}

    def faiss() -> Side:
        peer = FaissCounts(problem.rows, n_threads)
        return Side(lambda: peer.minima(masks), partial(check, np.bitwise_xor))

    return Work(
        Side(problem.minima, partial(check, np.bitwise_and)),
        {"FAISS": faiss},
        what=f"{len(masks)} masks x {len(problem.rows):,} rows x {n_words} words",
        operations=float(len(masks) * problem.rows.size),
    )


CASES = [Case(f"counts-{n_words}", partial(counts, n_words), ("FAISS",)) for n_words in WORDS]


def test_counts(case: Case, side: str, run: Run) -> None:
    run(case, side)
