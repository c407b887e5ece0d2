"""Arrays that kernels make for themselves."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit


@njit(nogil=True, cache=True)
def aligned_zeros(size, dtype):
    """``size`` zeros on whole cache lines: loops over vectors are faster there.

    ``machine.arrays.aligned_zeros`` is the same for callers of kernels, of any shape.
    """
    raw = np.zeros(size + 64, dtype)
    start = (-np.int64(raw.ctypes.data) % np.int64(64)) // raw.itemsize
    return raw[start : start + size]
