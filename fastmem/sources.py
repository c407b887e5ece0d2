"""Which source a first layer's rows come from."""

from __future__ import annotations

import numpy as np

from fastmem.hyperplanes import GaussianRows, RowSource
from fastmem.inputs import Settings, stores_weights
from fastmem.seeded import SeededRows
from fastmem.structured import StructuredRows


def row_source(
    settings: Settings, generator: np.random.Generator, center: np.ndarray, max_bias: float
) -> RowSource:
    """Rows as ``projection`` says; Gaussian ones that would not fit in memory are not stored."""
    if settings.projection == "structured":
        return StructuredRows(generator, center, max_bias)
    if stores_weights(settings, len(center)):
        return GaussianRows(generator, center, max_bias)
    return SeededRows(generator, center, max_bias, settings.n_threads)
