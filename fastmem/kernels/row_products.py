"""Products of many rows with many columns in float64, in a set order, on all cores.

What is written depends on the row and the column alone: not on the rows beside it, the number of
threads, a BLAS or the machine (``kernels.panel_products``).
"""

from __future__ import annotations

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.panel_products import PANEL, PANEL_ROWS, subtract_products
from fastmem.kernels.queue import take

TASK_ROWS = 32


@njit(nogil=True, cache=True)
def fill_panels(columns, panels):
    """panels[p, k, j] = -columns[64 p + j, k], 0 beyond the last; columns (n, d) float64."""
    n, depth = columns.shape
    for p in range(panels.shape[0]):
        for j in range(PANEL):
            h = p * PANEL + j
            for k in range(depth):
                panels[p, k, j] = -columns[h, k] if h < n else 0.0


@njit(nogil=True, cache=True)
def row_products(queue, stop, rows, panels, levels, from_zero, triangle, products):
    """products[i, h] = levels[h] + sum over k of rows[i, k] columns[h, k], k ascending: a worker.

    rows (m, d) and products (m, 64 P) float64, m a multiple of PANEL_ROWS; panels (P, d, PANEL)
    float64 as `fill_panels` makes them; levels (64 P,) float64. Where ``from_zero``, what comes out
    negative becomes 0. With ``triangle`` only h <= i counts, and the rest is not written or wrong.
    Task t takes TASK_ROWS rows of one panel: of panel t % P those from t // P TASK_ROWS on.
    """
    n_panels, depth = panels.shape[0], panels.shape[1]
    sums = aligned_zeros(PANEL_ROWS * PANEL, np.float64).reshape((PANEL_ROWS, PANEL))
    while True:
        task = take(queue)
        if task >= stop:
            return
        chunk = task // n_panels
        p = task - chunk * n_panels
        first = p * PANEL
        begin = chunk * TASK_ROWS
        for i in range(begin, min(begin + TASK_ROWS, rows.shape[0]), PANEL_ROWS):
            if triangle and first >= i + PANEL_ROWS:
                continue
            for r in range(PANEL_ROWS):
                for j in range(PANEL):
                    sums[r, j] = levels[first + j]
            subtract_products(rows, i, depth, panels[p], sums)
            for r in range(PANEL_ROWS):
                for j in range(PANEL):
                    value = sums[r, j]
                    products[i + r, first + j] = 0.0 if from_zero and value < 0.0 else value
