"""Data files of the command line, raw tables, and how these are encoded."""

from fastmem.encoding import Encoding
from fastmem.tables.labelled import LabelledTable, load_encoded, load_labelled, stream_encoded
from fastmem.tables.raw import open_raw
from fastmem.tables.raw_table import RawTable, ReadingOptions
from fastmem.tables.reading import (
    Stream,
    Table,
    holds_arrays,
    load_table,
    plain_arrays,
    read_table,
    stream_table,
)
from fastmem.tables.writing import (
    LABEL_SUFFIXES,
    label_writer,
    save_array,
    score_writer,
    write_labels,
)

__all__ = [
    "LABEL_SUFFIXES",
    "Encoding",
    "LabelledTable",
    "RawTable",
    "ReadingOptions",
    "Stream",
    "Table",
    "holds_arrays",
    "label_writer",
    "load_encoded",
    "load_labelled",
    "load_table",
    "open_raw",
    "plain_arrays",
    "read_table",
    "save_array",
    "score_writer",
    "stream_encoded",
    "stream_table",
    "write_labels",
]
