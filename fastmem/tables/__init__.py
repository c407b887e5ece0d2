"""Data files of the command line: points and labels in, labels out."""

from fastmem.tables.reading import Stream, Table, load_table, plain_arrays, read_table, stream_table
from fastmem.tables.writing import LABEL_SUFFIXES, label_writer, save_array, write_labels

__all__ = [
    "LABEL_SUFFIXES",
    "Stream",
    "Table",
    "label_writer",
    "load_table",
    "plain_arrays",
    "read_table",
    "save_array",
    "stream_table",
    "write_labels",
]
