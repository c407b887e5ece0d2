"""What the columns of a raw table become: numbers, categories, dates and missing values."""

from fastmem.encoding.encoding import Choices, Encoding, Surprises
from fastmem.encoding.tables import arrow_table

__all__ = ["Choices", "Encoding", "Surprises", "arrow_table"]
