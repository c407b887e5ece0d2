"""Data files of the command line: points and labels in, labels out."""

from fastmem.tables.raw import open_raw
from fastmem.tables.raw_table import RawTable, ReadingOptions
from fastmem.tables.reading import Stream, Table, load_table, read_table, stream_table
from fastmem.tables.writing import LABEL_SUFFIXES, label_writer, save_array, write_labels

__all__ = [
    "LABEL_SUFFIXES",
    "RawTable",
    "ReadingOptions",
    "Stream",
    "Table",
    "label_writer",
    "load_table",
    "open_raw",
    "read_table",
    "save_array",
    "stream_table",
    "write_labels",
]
