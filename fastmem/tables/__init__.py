"""Data files of the command line, raw tables, and how these are encoded."""

from fastmem.encoding import Encoding
from fastmem.tables.reading import Stream, Table, load_table, read_table, stream_table
from fastmem.tables.writing import LABEL_SUFFIXES, label_writer, save_array, write_labels

__all__ = [
    "LABEL_SUFFIXES",
    "Encoding",
    "Stream",
    "Table",
    "label_writer",
    "load_table",
    "read_table",
    "save_array",
    "stream_table",
    "write_labels",
]
