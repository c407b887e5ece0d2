"""The way from hyperplanes to the bits of points, whatever kind both are: passes over the points.

Where the weights of all hyperplanes are at hand at once, one pass writes all bits. Where they are
computed from a key, or points are sparse with many columns, each pass has the weights of some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes
from fastmem.inputs import Points, SparseRows
from fastmem.patterns import computed_rows, sparse_rows, stored_rows, transformed_rows
from fastmem.patterns.prepared import Pass


def passes(hyperplanes: Hyperplanes, points: Points, first_word: int = 0) -> Sequence[Pass]:
    """Passes over ``points`` that together write the words of their patterns from one on.

    They are prepared, and their blocks written, one after the other: what a pass has prepared is
    good until the next is.
    """
    words = (first_word, hyperplanes.n_words)
    if points.is_sparse:
        return sparse_rows.passes(hyperplanes, points.used_columns(), words)
    return _dense_passes(hyperplanes, words)


def fill(
    hyperplanes: Hyperplanes,
    block: np.ndarray | SparseRows,
    tiles: np.ndarray,
    position: int = 0,
    words: tuple[int, int] | None = None,
) -> int:
    """Write words of the sign patterns of a few points, on this thread; returns doubtful bits.

    block (rows, d) float32 or float64, read-only, or sparse; tiles as in ``kernels.layout``. The
    words words[0]..words[1]-1 of the patterns position, ..., position + rows - 1 are written (all
    words by default), and nothing else.
    """
    words = words or (0, hyperplanes.n_words)
    all_passes: Any
    if isinstance(block, SparseRows):
        used = np.unique(block.columns).astype(np.int64)
        all_passes = sparse_rows.passes(hyperplanes, used, words)
    else:
        all_passes = _dense_passes(hyperplanes, words)
    return sum(one.prepare(1)(block, tiles, position) for one in all_passes)


def _dense_passes(hyperplanes: Hyperplanes, words: tuple[int, int]) -> Sequence[Pass]:
    if isinstance(hyperplanes, SeededHyperplanes):
        return computed_rows.passes(hyperplanes, words)
    if isinstance(hyperplanes, StructuredHyperplanes):
        return transformed_rows.passes(hyperplanes, words)
    return stored_rows.passes(hyperplanes, words)
