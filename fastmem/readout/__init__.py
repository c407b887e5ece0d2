"""The linear read-out of cosine features: integer votes for every class."""

from fastmem.readout.readout import MAX_WEIGHT, ReadOut, both_columns, probabilities

__all__ = ["MAX_WEIGHT", "ReadOut", "both_columns", "probabilities"]
