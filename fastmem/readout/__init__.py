"""The linear read-out of cosine features: integer votes for every class."""

from fastmem.readout.readout import MAX_WEIGHT, NEVER, ReadOut, both_columns, probabilities

__all__ = ["MAX_WEIGHT", "NEVER", "ReadOut", "both_columns", "probabilities"]
