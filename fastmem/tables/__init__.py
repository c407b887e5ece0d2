"""Data files of the command line: points and labels in, labels out."""

from fastmem.machine.files import check_output, moved_when_complete
from fastmem.tables.reading import Stream, Table, load_table, read_table, stream_table
from fastmem.tables.writing import LABEL_SUFFIXES, label_writer, save_array, write_labels

__all__ = [
    "LABEL_SUFFIXES",
    "Stream",
    "Table",
    "check_output",
    "label_writer",
    "load_table",
    "moved_when_complete",
    "read_table",
    "save_array",
    "stream_table",
    "write_labels",
]
