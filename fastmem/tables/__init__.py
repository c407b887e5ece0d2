"""Data files of the command line: points and labels in, labels out."""

from fastmem.tables.reading import Stream, Table, load_table, read_table, stream_table
from fastmem.tables.writing import (
    LABEL_SUFFIXES,
    check_output,
    label_writer,
    moved_when_complete,
    save_array,
    write_labels,
)

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
