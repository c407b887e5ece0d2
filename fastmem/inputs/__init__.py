"""The only place that looks at what users pass.

Every refusal is an `InvalidInputError` whose one sentence names the value, where it is and the
remedy. What passes is handed on as plain arrays that kernels may trust.
"""

from fastmem.errors import InvalidInputError
from fastmem.inputs.arrow import ArrowColumn, Wording
from fastmem.inputs.frames import check_names
from fastmem.inputs.labels import EncodedLabels, check_known_labels, check_label, check_labels
from fastmem.inputs.layers import (
    block_rows,
    check_blocks,
    check_hyperplanes,
    check_keyed,
    check_seeded,
    check_structured,
)
from fastmem.inputs.points import ConvertedPoints, Points, SparseRows
from fastmem.inputs.refusals import share
from fastmem.inputs.scaled_points import checked_scale, exactly_scaled, exponents_of, scaled
from fastmem.inputs.settings import (
    WEIGHT_BYTES,
    Settings,
    check_count,
    check_interpolate,
    check_memory,
    check_memory_limit,
    check_radius_factor,
    check_seed,
    check_threads,
    weight_budget,
)
from fastmem.inputs.spread import scale_without_labels, spread_scale
from fastmem.inputs.tables import check_points

__all__ = [
    "WEIGHT_BYTES",
    "ArrowColumn",
    "ConvertedPoints",
    "EncodedLabels",
    "InvalidInputError",
    "Points",
    "Settings",
    "SparseRows",
    "Wording",
    "block_rows",
    "check_blocks",
    "check_count",
    "check_hyperplanes",
    "check_interpolate",
    "check_keyed",
    "check_known_labels",
    "check_label",
    "check_labels",
    "check_memory",
    "check_memory_limit",
    "check_names",
    "check_points",
    "check_radius_factor",
    "check_seed",
    "check_seeded",
    "check_structured",
    "check_threads",
    "checked_scale",
    "exactly_scaled",
    "exponents_of",
    "scale_without_labels",
    "scaled",
    "share",
    "spread_scale",
    "weight_budget",
]
