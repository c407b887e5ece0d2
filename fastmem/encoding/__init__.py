"""What the columns of a raw table become: numbers, categories, dates and missing values."""

from fastmem.encoding.column import Place, Surprises
from fastmem.encoding.encoding import MOST_BYTES, Choices, Encoding
from fastmem.encoding.points import encode_table, encoded_points, is_table
from fastmem.encoding.tables import arrow_table

__all__ = [
    "MOST_BYTES",
    "Choices",
    "Encoding",
    "Place",
    "Surprises",
    "arrow_table",
    "encode_table",
    "encoded_points",
    "is_table",
]
