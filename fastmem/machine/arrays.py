"""Arrays on whole cache lines, and arrays that nobody changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike


def aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros that begins on a cache line, as a store's tiles do."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    octets = np.zeros(size + 63, np.uint8)
    start = -octets.ctypes.data % 64
    return octets[start : start + size].view(dtype).reshape(shape)


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only view: kernels are compiled once, for what users' arrays may be."""
    view = array.view()
    view.flags.writeable = False
    return view
