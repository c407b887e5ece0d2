"""Which source a first layer's rows come from."""

from __future__ import annotations

import numpy as np

from fastmem.hyperplanes.extent import Extent
from fastmem.hyperplanes.gaussian import GaussianRows, RowSource
from fastmem.hyperplanes.seeded import SeededRows
from fastmem.hyperplanes.structured import StructuredRows
from fastmem.inputs import Settings, stores_weights


def largest_bias(settings: Settings, extent: Extent) -> float:
    """The paper's lambda: ``max_bias``, or with "auto" the largest norm of (centred) points."""
    if settings.max_bias is not None:
        return settings.max_bias
    return extent.radius if settings.center else extent.norm


def row_source(settings: Settings, generator: np.random.Generator, extent: Extent) -> RowSource:
    """Rows as ``projection`` says; Gaussian ones that would not fit in memory are not stored."""
    center = extent.mean if settings.center else np.zeros_like(extent.mean)
    max_bias = largest_bias(settings, extent)
    if settings.projection == "structured":
        return StructuredRows(generator, center, max_bias)
    if stores_weights(settings, len(center)):
        return GaussianRows(generator, center, max_bias)
    return SeededRows(generator, center, max_bias, settings.n_threads)
