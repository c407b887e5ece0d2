"""Cholesky factors in a set order: the same bits whatever the threads, the BLAS and the machine.

Only + - * / and sqrt of IEEE float64 are used, which every machine rounds alike, in an order that
does not depend on the number of threads; nothing is fused.

A matrix (n + m, n), n and m multiples of PANEL and PANEL_ROWS, holds a symmetric matrix in its
first n rows, of which the lower triangle counts, and m more rows b. The first become L, with L L^T
the matrix, and the others (L^-1 b^T)^T. PANEL columns are worked on at a time: what the columns
before take off them is subtracted first, which is nearly all of the work and is shared among
threads by rows.
"""

from __future__ import annotations

import math

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.compiling import njit
from fastmem.kernels.panel_products import PANEL, PANEL_ROWS, subtract_products
from fastmem.kernels.queue import take

TASK_ROWS = 32
TASK_COLUMNS = 8


@njit(nogil=True, cache=True)
def pack_panel(matrix, first, panel):
    """panel[k, j] = matrix[first + j, k] for k < first and j < PANEL; panel (>= first, PANEL)."""
    for j in range(PANEL):
        for k in range(first):
            panel[k, j] = matrix[first + j, k]


@njit(nogil=True, cache=True)
def _rest_of(matrix, row, first, panel, sums):
    """sums (PANEL_ROWS, PANEL): columns ``first`` on of some rows, less those before explain."""
    for r in range(PANEL_ROWS):
        for j in range(PANEL):
            sums[r, j] = matrix[row + r, first + j]
    subtract_products(matrix, row, first, panel, sums)


@njit(nogil=True, cache=True, error_model="numpy")
def factor_diagonal(matrix, first, panel, corner):
    """Factor the rows first..first+PANEL-1; returns whether all pivots were positive.

    matrix (n + m, n) float64 whose columns before ``first`` are done; panel as `pack_panel` fills
    it; corner (PANEL, PANEL) float64 takes the transposed factor of this block: corner[k, j] =
    L[first + j, first + k], with 1 / L on its diagonal.
    """
    sums = aligned_zeros(PANEL_ROWS * PANEL, np.float64).reshape((PANEL_ROWS, PANEL))
    is_positive = True
    for i in range(PANEL):
        if i % PANEL_ROWS == 0:
            _rest_of(matrix, first + i, first, panel, sums)
        row, rest = matrix[first + i], sums[i % PANEL_ROWS]
        for k in range(i):
            value = rest[k] * corner[k, k]
            row[first + k] = value
            corner[k, i] = value
            for j in range(k + 1, i + 1):
                rest[j] -= value * corner[k, j]
        pivot = rest[i]
        if not pivot > 0.0:
            is_positive = False
            pivot = 1.0
        root = math.sqrt(pivot)
        row[first + i] = root
        corner[i, i] = 1.0 / root
    return is_positive


@njit(nogil=True, cache=True)
def factor_rows(queue, stop, matrix, first, start, panel, corner):
    """Finish PANEL columns of the rows from ``start`` on: a worker, see ``kernels.queue``.

    Task t takes the rows start + t TASK_ROWS, ... of ``matrix`` (n + m, n) float64, whose number is
    a multiple of PANEL_ROWS; first, panel and corner as `factor_diagonal` has left them.
    """
    sums = aligned_zeros(PANEL_ROWS * PANEL, np.float64).reshape((PANEL_ROWS, PANEL))
    while True:
        task = take(queue)
        if task >= stop:
            return
        begin = start + task * TASK_ROWS
        for i in range(begin, min(begin + TASK_ROWS, matrix.shape[0]), PANEL_ROWS):
            _rest_of(matrix, i, first, panel, sums)
            for r in range(PANEL_ROWS):
                row, rest = matrix[i + r], sums[r]
                for k in range(PANEL):
                    value = rest[k] * corner[k, k]
                    row[first + k] = value
                    for j in range(k + 1, PANEL):
                        rest[j] -= value * corner[k, j]


@njit(nogil=True, cache=True, error_model="numpy")
def solve_transposed(queue, stop, factor, n, solution):
    """Solve L^T x = b in place: a worker, see ``kernels.queue``.

    factor (>= n, >= n) float64, L in its lower triangle; solution (K, n) float64, rows b then x.
    Task t takes the rows TASK_COLUMNS t, ... of them.
    """
    while True:
        task = take(queue)
        if task >= stop:
            return
        some = solution[task * TASK_COLUMNS : (task + 1) * TASK_COLUMNS]
        for i in range(n - 1, -1, -1):
            row = factor[i]
            for c in range(some.shape[0]):
                right = some[c]
                value = right[i] / row[i]
                right[i] = value
                for k in range(i):
                    right[k] -= value * row[k]
