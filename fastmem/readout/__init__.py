"""The linear read-out of cosine features: integer votes for every class."""

from fastmem.readout.readout import (
    MAX_WEIGHT,
    MULTIPLIERS,
    NEVER,
    ReadOut,
    both_columns,
    probabilities,
)

__all__ = ["MAX_WEIGHT", "MULTIPLIERS", "NEVER", "ReadOut", "both_columns", "probabilities"]
