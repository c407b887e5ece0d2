"""Room for the sign patterns: memory, or a temporary file when they would not fit a budget.

The file is opened without a name (or unlinked at once), so nothing stays behind however the
process ends, and its blocks are reserved before the first byte is written: a full disk is one
sentence, not a crash in the middle. Pages that were read or written count as resident until they
are given back, so whoever walks over tiles releases them behind it; the kernel keeps them in its
cache as long as memory is free, and nothing is lost.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import numpy as np

from fastmem.errors import NotEnoughMemoryError
from fastmem.inputs import InvalidInputError
from fastmem.kernels.layout import TILE
from fastmem.machine.files import reserve
from fastmem.machine.memory import readable, require

WINDOW_BYTES = 12 << 20
"""Tiles in a file that one task may touch before it gives them back."""
_REMEDY = "pass memory_limit= so that they go to a temporary file, or a smaller width or max_width"
_ADVISE = hasattr(mmap, "MADV_DONTNEED")


class TileStore:
    """Zeroed tiles (n_tiles, n_words, TILE) uint64 that can be widened in place.

    Parameters
    ----------
    n_tiles : int
    budget_bytes : int or None
        Bytes that tiles may take in memory; beyond, they move to a file. None: no limit.

    Attributes
    ----------
    tiles : ndarray of shape (n_tiles, n_words, TILE), uint64
    """

    def __init__(self, n_tiles: int, n_words: int, budget_bytes: int | None = None) -> None:
        self._budget_bytes = budget_bytes
        self._file: IO[bytes] | None = None
        self._memory: mmap.mmap | None = None
        self.tiles = np.zeros((n_tiles, 0, TILE), np.uint64)
        self.widen(n_words, 0)

    @property
    def file_bytes(self) -> int:
        """Size of the temporary file, 0 if there is none."""
        return self.tiles.nbytes if self._file else 0

    @property
    def tiles_at_once(self) -> int:
        """Tiles that one task may touch before it releases them."""
        if not self._file:
            return max(1, len(self.tiles))
        return max(1, WINDOW_BYTES // (8 * TILE * max(1, self.tiles.shape[1])))

    def widen(self, n_words: int, kept: int) -> None:
        """Make room for ``n_words`` words a tile, of which the first ``kept`` keep their bits.

        The old tiles give their memory back as they are copied; in a file they are moved where
        they are. No one may hold views of the old tiles.
        """
        shape = (len(self.tiles), n_words, TILE)
        size = 8 * math.prod(shape)
        if size == 0:
            return
        if self._file:
            self._grow_in_the_file(self._file, shape, size, kept)
        elif self._budget_bytes is None or size <= self._budget_bytes:
            self._grow_in_memory(shape, size, kept)
        else:
            self._move_to_a_file(shape, size, kept)

    def _grow_in_memory(self, shape: tuple[int, int, int], size: int, kept: int) -> None:
        what = f"growing the sign patterns to {readable(size)}"
        require(size - self.tiles.nbytes, what, _REMEDY)
        memory = mapped(None, size)
        new = np.frombuffer(memory, np.uint64).reshape(shape)
        if kept:
            for some in _copied(self.tiles, new, kept):
                self._give_back_memory(some)
        self.tiles, self._memory = new, memory

    def _move_to_a_file(self, shape: tuple[int, int, int], size: int, kept: int) -> None:
        try:
            file: IO[bytes] = tempfile.TemporaryFile(prefix="fastmem-")  # noqa: SIM115
        except OSError as error:
            why = f"{error.strerror or 'there is no temporary directory'}"
            raise _no_room(size, f"no file can be made there ({why})") from error
        weakref.finalize(self, file.close)
        reserve(file, size, lambda why: _no_room(size, why))
        memory = mapped(file, size)
        new = np.frombuffer(memory, np.uint64).reshape(shape)
        if kept:
            for some in _copied(self.tiles, new, kept):
                _release(memory, new, new[some])
                self._give_back_memory(some)
        self.tiles, self._memory, self._file = new, memory, file

    def _grow_in_the_file(
        self, file: IO[bytes], shape: tuple[int, int, int], size: int, kept: int
    ) -> None:
        reserve(file, size, lambda why: _no_room(size, why))
        memory = mapped(file, size)
        new = np.frombuffer(memory, np.uint64).reshape(shape)
        for some in _copied(self.tiles, new, kept):
            _release(memory, new, new[some])
            if self._memory:
                _release(self._memory, self.tiles, self.tiles[some])
        self.tiles, self._memory = new, memory

    def _give_back_memory(self, some: slice) -> None:
        """Give back tiles that are in memory: what is below them is still to be copied."""
        if self._memory:
            # whole pages only, for their bytes are lost
            _release(self._memory, self.tiles, self.tiles[some], inside=True)

    def release(self, tiles: np.ndarray) -> None:
        """Give back the pages of ``tiles``, some of the store's, if they are in a file.

        Other threads may use the same pages: they are read, or mapped, again.
        """
        if self._file and self._memory and len(tiles):
            _release(self._memory, self.tiles, tiles)


def _copied(old: np.ndarray, new: np.ndarray, kept: int) -> Iterator[slice]:
    """Copy the first ``kept`` words of all tiles, and zero the others; gives what has been copied.

    Goes from the last tile to the first: in one file a tile moves up, never onto one that is still
    to be moved.
    """
    step = max(1, WINDOW_BYTES // new[0].nbytes)
    for stop in range(len(new), 0, -step):
        start = max(0, stop - step)
        for tile in range(stop - 1, start - 1, -1):
            new[tile, :kept] = old[tile, :kept].copy()  # the places may overlap
            new[tile, kept:] = 0
        yield slice(start, stop)


def mapped(file: IO[bytes] | None, size: int) -> mmap.mmap:
    """Map a file, or memory."""
    try:
        if file:
            return mmap.mmap(file.fileno(), size)
        if not _ADVISE:
            return mmap.mmap(-1, size)
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise NotEnoughMemoryError(
            f"the system gives no room for sign patterns of {readable(size)}; {_REMEDY}"
        ) from error
    if hasattr(mmap, "MADV_HUGEPAGE") and size >= 4 << 20:
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _release(memory: mmap.mmap, tiles: np.ndarray, part: np.ndarray, inside: bool = False) -> None:
    """Give back the pages of ``part``; with ``inside`` not the one that begins before it."""
    if not _ADVISE or not np.may_share_memory(tiles, part):
        return
    start = part.ctypes.data - tiles.ctypes.data
    first = (start + (mmap.PAGESIZE - 1) * inside) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < start + part.nbytes:
        memory.madvise(mmap.MADV_DONTNEED, first, start + part.nbytes - first)


def require_disk(size: int) -> None:
    """Say, before the work, that the disk has no room for patterns of ``size`` bytes."""
    with suppress(OSError):  # is told where the file is made
        if shutil.disk_usage(tempfile.gettempdir()).free < size:
            raise _no_room(size, "there is no room")


def _no_room(size: int, why: str) -> InvalidInputError:
    place = tempfile.tempdir or os.environ.get("TMPDIR", "the temporary directory")
    return InvalidInputError(
        f"sign patterns of {size:,} bytes exceed memory_limit and go to {place}, but {why}; "
        f"make room there, set TMPDIR to another directory, or raise memory_limit"
    )
