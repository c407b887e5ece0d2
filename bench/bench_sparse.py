"""Sign patterns of sparse rows, against SciPy's product, which runs on one thread."""

from __future__ import annotations

import numpy as np

import fastmem
from bench.cases import Case, Facts, Run, Side, Work
from bench.peers import sparse_product_in_blocks
from bench.workloads import Sizes, hashed_text


def sparse_signs(sizes: Sizes, n_threads: int) -> Work:
    """Signs of documents of some ninety words each, stored weights."""
    X, _ = hashed_text(sizes.text_rows, sizes.text_columns)
    generator = np.random.default_rng(0)
    n = sizes.text_width
    weights = generator.standard_normal((n, sizes.text_columns), dtype=np.float32)
    hyperplanes = fastmem.Hyperplanes(weights, generator.uniform(-1, 1, n))

    def check(words: np.ndarray) -> Facts:
        some = slice(0, 100)
        dense = fastmem.sign_patterns(X[some].toarray(), hyperplanes)
        assert np.array_equal(words[some], dense)
        return {"nonzeros": X.nnz}

    def scipy() -> Side:
        columns = np.ascontiguousarray(weights.T)
        return Side(lambda: sparse_product_in_blocks(X, columns))

    return Work(
        Side(lambda: fastmem.sign_patterns(X, hyperplanes, n_threads=n_threads), check),
        {"SciPy": scipy},
    )


CASES = [Case("sparse-signs", sparse_signs, ("SciPy",))]


def test_sparse(case: Case, side: str, run: Run) -> None:
    run(case, side)
