"""Rows that come in batches, kept in memory while they fit, else in a temporary file.

As in `fastmem.scratch` the file has no name, is in the directory that ``TMPDIR`` names, and is
gone when the process ends in whatever way.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fastmem.inputs import ConvertedPoints, InvalidInputError, Points
from fastmem.scratch import reserve

WINDOW_BYTES = 8 << 20
"""Bytes of the file that may be mapped in at a time, by each thread."""
AROUND_BYTES = 1 << 16
"""Bytes that the kernel maps around one that is touched."""
_ADVISE = hasattr(mmap, "MADV_DONTNEED")

Array = NDArray[Any]


class MappedPoints(ConvertedPoints):
    """Points in a file that is mapped; blocks are copied out, and the pages given back.

    Pages that were read count as memory of the process until then, although the kernel could
    take them away: so a fit stays within its limit also by the operating system's account.
    """

    __slots__ = ("_memory",)

    def __init__(self, memory: mmap.mmap, shape: tuple[int, int], dtype: np.dtype) -> None:
        source = np.frombuffer(memory, dtype, shape[0] * shape[1]).reshape(shape)
        super().__init__(source, shape, dtype)
        self._memory = memory

    @property
    def array(self) -> Array:
        """The points as an array; its pages are given back only when others are short."""
        array: Array = self._source
        return array

    def _rows(self, rows: slice | np.ndarray) -> np.ndarray:
        size = self.n_features * self.dtype.itemsize
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self.n_samples)
            block = np.empty((max(0, stop - start), self.n_features), self.dtype)
            step = max(1, WINDOW_BYTES // size)
            for first in range(start, stop, step):
                last = min(first + step, stop)
                block[first - start : last - start] = self._source[first:last]
                self._release(first, last)
            return block
        block = np.empty((len(rows), self.n_features), self.dtype)
        if not len(rows):
            return block
        # pieces that touch so many places of the file, 64 KB each, as fill a window
        places = rows * size // AROUND_BYTES
        new = np.cumsum(np.diff(places, prepend=places[0]) != 0)
        most = max(1, WINDOW_BYTES // max(AROUND_BYTES, size))
        cuts = np.flatnonzero(np.diff(new // most)) + 1
        for piece in np.split(np.arange(len(rows)), cuts) if len(cuts) else [slice(None)]:
            some = rows[piece]
            block[piece] = self._source[some]
            self._release(int(some.min()), int(some.max()) + 1)
        return block

    def _release(self, start: int, stop: int) -> None:
        """Give back the pages of some rows; other threads that use them map them again."""
        if not _ADVISE:
            return
        size = self.n_features * self.dtype.itemsize
        first = start * size // mmap.PAGESIZE * mmap.PAGESIZE
        self._memory.madvise(mmap.MADV_DONTNEED, first, stop * size - first)


class Spool:
    """Rows as they come, in memory up to ``room`` bytes, beyond in a file.

    Parameters
    ----------
    room : int
    n_rows : int
        Rows that are expected: exact, or a guess.
    is_exact : bool
        Whether the file may be reserved, or the array made, for just so many.
    """

    def __init__(self, room: int, n_rows: int, *, is_exact: bool) -> None:
        self._room, self._expected, self._is_exact = room, n_rows, is_exact
        self._array = np.empty((0, 0))
        self._file: IO[bytes] | None = None
        self._filled = 0

    def add(self, block: Array) -> None:
        """Take rows, (rows, n_features) of the same dtype and width every time."""
        row_bytes = block.shape[1] * block.itemsize
        needed = (self._filled + len(block)) * row_bytes
        if not self._filled:
            expected = self._expected * row_bytes if self._is_exact else needed
            if max(expected, needed) > self._room:
                self._open(expected)
            else:
                rows = max(expected, needed) // row_bytes
                self._array = np.empty((rows, block.shape[1]), block.dtype)
        elif self._file is None and needed > self._room:
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
        memory = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._file.close()
        return MappedPoints(memory, shape, self._array.dtype)

    def _open(self, size: int) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="fastmem-", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _no_room(size, error.strerror or "there is no such directory") from error
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


def available_bytes() -> int:
    """Memory that this process may still take: the machine's, or that of its control group."""
    found = [_meminfo("MemAvailable:")]
    for most, used in _CONTROL_GROUPS:
        try:
            with open(most) as limit, open(used) as now:
                text = limit.read().strip()
                if text.isdecimal():
                    found.append(max(0, int(text) - int(now.read())))
        except OSError:
            continue
    return min((size for size in found if size is not None), default=4 << 30)


_CONTROL_GROUPS: Sequence[tuple[str, str]] = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def _meminfo(name: str) -> int | None:
    try:
        with open("/proc/meminfo") as lines:
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        return None
