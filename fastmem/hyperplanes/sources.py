"""Which source a first layer's rows come from."""

from __future__ import annotations

import numpy as np

from fastmem.hyperplanes.extent import Extent, sample_norms
from fastmem.hyperplanes.gaussian import RowSource
from fastmem.hyperplanes.seeded import GaussianRows
from fastmem.hyperplanes.structured import StructuredRows
from fastmem.inputs import Points, Settings, weight_budget

FAR_OUT = 2.5
"""Where the largest norm is more than so many times the median one, biases keep to the norms of the
points. Images, moons and clusters have 1.3 to 2.3 (as Gaussian points of some dimensions), tables
of which some rows or columns are unusual 2.9 to 70: `python -m bench.scaling_study`."""


def largest_bias(settings: Settings, extent: Extent) -> float:
    """The paper's lambda: ``max_bias``, or with "auto" the largest norm of (centred) points."""
    if settings.max_bias is not None:
        return settings.max_bias
    return extent.radius if settings.center else extent.norm


def bias_norms(settings: Settings, points: Points, extent: Extent) -> np.ndarray | None:
    """Norms of some points, about the centre, where biases are to keep to them; else None.

    With "auto" that is where a few points are far out: the largest norm is beyond `FAR_OUT` times
    the median one. Most biases up to it would put hyperplanes where no points are.
    """
    if settings.max_bias is not None or settings.biases == "radius":
        return None
    norms = sample_norms(points, _centre(settings, extent))
    if settings.biases == "norms":
        return norms
    largest, median = largest_bias(settings, extent), float(np.median(norms))
    return norms if largest > FAR_OUT * median else None


def _centre(settings: Settings, extent: Extent) -> np.ndarray:
    return extent.centre if settings.center else np.zeros_like(extent.centre)


def row_source(
    settings: Settings,
    generator: np.random.Generator,
    extent: Extent,
    norms: np.ndarray | None = None,
) -> RowSource:
    """Rows as ``projection`` says; ``norms`` are those of `bias_norms`."""
    center = _centre(settings, extent)
    max_bias = largest_bias(settings, extent)
    if settings.projection == "structured":
        return StructuredRows(generator, center, max_bias, norms)
    return GaussianRows(
        generator, center, max_bias, norms, settings.n_threads, weight_budget(settings)
    )
