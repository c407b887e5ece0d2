"""Data at the limits: ``python -m bench.limits [ten-million|sparse|wide ...] [--smoke]``.

Every run is a process of its own, so that its peak memory is its own too. Data are made by yet
another process and read from a temporary file, as a user's would be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Data = tuple[Any, NDArray[np.int64]]


def hashed_text(n_samples: int, n_columns: int, n_classes: int = 4, seed: int = 0) -> Data:
    """Make documents as a hashing vectoriser gives them: CSR float32, rows of norm 1.

    Words have Zipf frequencies (1 / rank). A document has 60 to 140 of them, half of them from the
    500 words of its class's topic. A value is 1 + log of the word's count.
    """
    from scipy import sparse

    generator = np.random.default_rng(seed)
    y = generator.integers(0, n_classes, n_samples)
    values, columns, counts = [], [], []
    for start in range(0, n_samples, 20_000):
        labels = y[start : start + 20_000]
        lengths = generator.integers(60, 141, len(labels))
        rows = np.repeat(np.arange(len(labels)), lengths)
        uniform = generator.uniform(size=len(rows))
        topical = generator.uniform(size=len(rows)) < 0.5
        ranks = np.where(topical, 500.0, n_columns) ** uniform
        words = ranks.astype(np.int64) + topical * (100_003 * (1 + labels[rows]))
        cells = np.sort(rows * n_columns + words * 7_919 % n_columns)
        cells, times = np.unique(cells, return_counts=True)
        rows, hashed = np.divmod(cells, n_columns)
        weights = (1 + np.log(times)).astype(np.float32)
        norms = np.sqrt(np.bincount(rows, weights.astype(np.float64) ** 2))
        values.append((weights / norms[rows]).astype(np.float32))
        columns.append(hashed.astype(np.int32))
        counts.append(np.bincount(rows, minlength=len(labels)))
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    parts = (np.concatenate(values), np.concatenate(columns), bounds)
    return sparse.csr_matrix(parts, shape=(n_samples, n_columns)), y
