"""Arrays on whole cache lines, and arrays that nobody changes."""

from __future__ import annotations

import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

_MAP_NORESERVE = 0x4000 if sys.platform == "linux" else 0
"""Python knows it from 3.13 on."""


def aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros that begins on a cache line, as a store's tiles do."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    octets = np.zeros(size + 63, np.uint8)
    start = -octets.ctypes.data % 64
    return octets[start : start + size].view(dtype).reshape(shape)


def reserved_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros on whole cache lines that takes memory only where something is written.

    However large it is: the system is not asked whether all of it would have room.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    octets = np.frombuffer(mmap.mmap(-1, max(1, size), flags=flags), np.uint8)
    return octets[:size].view(dtype).reshape(shape)


def forget(array: np.ndarray) -> None:
    """Give back the memory of a part of `reserved_zeros`: what is not kept may be zeros then.

    Whole pages within it are; the part is C-contiguous.
    """
    octets: Any = array
    while isinstance(octets.base, np.ndarray):
        octets = octets.base
    start = array.ctypes.data - octets.ctypes.data
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    size = (start + array.nbytes - first) // mmap.PAGESIZE * mmap.PAGESIZE
    if size > 0:
        octets.base.obj.madvise(mmap.MADV_DONTNEED, first, size)


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only view: kernels are compiled once, for what users' arrays may be."""
    view = array.view()
    view.flags.writeable = False
    return view
