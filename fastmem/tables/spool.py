"""Rows that come in batches, kept in memory while they fit, else in a temporary file.

As in `fastmem.patterns.tile_store` the file has no name, is where ``TMPDIR`` says, and is
gone when the process ends in whatever way.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import weakref
from itertools import pairwise
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.errors import InvalidInputError
from fastmem.inputs import ConvertedPoints, Points
from fastmem.machine.files import reserve

WINDOW_BYTES = 4 << 20
"""Bytes of the file that a thread reads at a time."""
GAP_BYTES = 1 << 14
"""Bytes between two rows that are read rather than skipped: as quick as another call."""

Array = NDArray[Any]


class FilePoints(ConvertedPoints):
    """Points in a file, of which blocks are read.

    It is not mapped: mapped pages count as memory of the process, and the kernel maps megabytes
    around each that is touched.
    """

    __slots__ = ("_file",)

    def __init__(self, file: IO[bytes], shape: tuple[int, int], dtype: np.dtype) -> None:
        super().__init__(None, shape, dtype)
        self._file = file

    def mapped(self) -> Array:
        """Return the points as one array, whose pages the kernel may take away."""
        memory = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        shape = self.n_samples, self.n_features
        return np.frombuffer(memory, self.dtype, shape[0] * shape[1]).reshape(shape)

    def _rows(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self.n_samples)
            block = np.empty((max(0, stop - start), self.n_features), self.dtype)
            self._read(start, block)
            return block
        rows = rows.astype(np.int64)
        block = np.empty((len(rows), self.n_features), self.dtype)
        if not (np.diff(rows) >= 0).all():
            order = np.argsort(rows, kind="stable")
            block[order] = self._rows(rows[order])
            return block
        size = self.n_features * self.dtype.itemsize
        # runs of rows that are near each other, within a window
        is_far = (np.diff(rows) * size > GAP_BYTES) | (np.diff(rows * size // WINDOW_BYTES) > 0)
        bounds = [0, *(np.flatnonzero(is_far) + 1).tolist(), len(rows)]
        buffer = np.empty((WINDOW_BYTES // size + 2, self.n_features), self.dtype)
        for first, last in pairwise(bounds):
            if last - first <= 1:
                self._read(int(rows[first]) if last > first else 0, block[first:last])
                continue
            start = int(rows[first])
            part = buffer[: int(rows[last - 1]) - start + 1]
            self._read(start, part)
            block[first:last] = part[rows[first:last] - start]
        return block

    def _read(self, start: int, block: Array) -> None:
        """Fill a contiguous block with the rows from ``start`` on."""
        octets = block.reshape(-1).view(np.uint8).data
        place = start * self.n_features * self.dtype.itemsize
        while len(octets):
            if hasattr(os, "preadv"):
                count = os.preadv(self._file.fileno(), [octets], place)
            else:
                part = os.pread(self._file.fileno(), len(octets), place)
                count = len(part)
                octets[:count] = part
            if not count:
                raise OSError("the temporary file of points is cut short")
            octets, place = octets[count:], place + count


class Spool:
    """Rows as they come, in memory up to ``budget_bytes``, beyond in a file.

    Parameters
    ----------
    budget_bytes : int
    n_rows : int
        Rows that are expected: exact, or a guess.
    is_exact : bool
        Whether the file may be reserved, or the array made, for just so many.
    """

    def __init__(self, budget_bytes: int, n_rows: int, *, is_exact: bool) -> None:
        self._budget_bytes, self._expected, self._is_exact = budget_bytes, n_rows, is_exact
        self._array = np.empty((0, 0))
        self._file: IO[bytes] | None = None
        self._filled = 0

    def add(self, block: Array) -> None:
        """Take rows, (rows, n_features) of the same dtype and width every time."""
        row_bytes = block.shape[1] * block.itemsize
        needed = (self._filled + len(block)) * row_bytes
        if not self._filled:
            expected = self._expected * row_bytes if self._is_exact else needed
            if max(expected, needed) > self._budget_bytes:
                self._open(expected if self._is_exact else 0)
            else:
                rows = max(expected, needed) // row_bytes
                self._array = np.empty((rows, block.shape[1]), block.dtype)
        elif self._file is None and needed > self._budget_bytes:
            self._open(0)
            self._write(self._array[: self._filled])
        if self._file is not None:
            self._array = np.empty((0, block.shape[1]), block.dtype)
            self._write(block)
        else:
            if self._filled + len(block) > len(self._array):  # grows in place, by realloc
                rows = max(self._filled + len(block), len(self._array) * 3 // 2)
                self._array.resize((rows, block.shape[1]), refcheck=False)
            self._array[self._filled : self._filled + len(block)] = block
        self._filled += len(block)

    def points(self) -> Points:
        """Return all rows that were taken, which must be checked already."""
        shape = (self._filled, self._array.shape[1])
        if self._file is None:
            self._array.resize(shape, refcheck=False)
            return Points(self._array)
        self._close.detach()
        points = FilePoints(self._file, shape, self._array.dtype)
        weakref.finalize(points, self._file.close)
        return points

    def _open(self, size: int) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="fastmem-", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _no_room(size, error.strerror or "there is no such directory") from error
        self._close = weakref.finalize(self, self._file.close)
        if size:
            reserve(self._file, size, lambda why: _no_room(size, why))

    def _write(self, block: Array) -> None:
        assert self._file is not None, "it was opened before"
        octets = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
        try:
            while len(octets):
                octets = octets[self._file.write(octets) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise _no_room(self._file.tell() + len(octets), "there is no room") from error


def _no_room(size: int, why: str) -> InvalidInputError:
    place = tempfile.tempdir or os.environ.get("TMPDIR", "the temporary directory")
    what = f"points of {size:,} bytes or more" if size else "points"
    return InvalidInputError(
        f"{what} do not fit in memory and go to {place}, but {why}; make room there, set TMPDIR to "
        f"another directory, or raise --memory-limit"
    )
