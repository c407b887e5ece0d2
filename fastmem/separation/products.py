"""Products of dense matrices by ``kernels.row_products``: the same numbers on every machine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.panel_products import PANEL, PANEL_ROWS
from fastmem.kernels.row_products import TASK_ROWS, fill_panels, row_products
from fastmem.machine.loops import run_loop
from fastmem.machine.threads import ranges
from fastmem.vote.factor import factored, solved

_SUMMED_VALUES = 1 << 16
"""Products that are added up at a time: 512 KB, which a cache holds."""


class Columns(NamedTuple):
    """Columns that rows are multiplied with, and what is added to each product.

    Attributes
    ----------
    panels : ndarray of shape (P, d, PANEL), float64
        As ``kernels.row_products`` takes them.
    levels : ndarray of shape (P PANEL,), float64
    n : int
        Columns, without the padding.
    """

    panels: np.ndarray
    levels: np.ndarray
    n: int


def columns_of(rows: np.ndarray, levels: np.ndarray | None = None) -> Columns:
    """Columns that are the rows of a matrix (n, d), with levels (n,); all float64."""
    rows = np.ascontiguousarray(rows, np.float64)
    n, depth = rows.shape
    n_panels = -(-n // PANEL)
    panels, padded = np.zeros((n_panels, depth, PANEL)), np.zeros(n_panels * PANEL)
    # compiled for arrays that may be written to, as all others here are
    fill_panels(rows if rows.flags.writeable else rows.copy(), panels)
    if levels is not None:
        padded[:n] = levels
    return Columns(panels, padded, n)


def multiplied(
    rows: np.ndarray, columns: Columns, n_threads: int, *, from_zero: bool = False,
    triangle: bool = False,
) -> np.ndarray:  # fmt: skip
    """Levels and products of rows (m, d) float64 with columns: (m, n) float64.

    With ``from_zero`` 0 for what is negative; with ``triangle`` only the lower one counts.
    """
    m = len(rows)
    whole = np.empty((-(-m // PANEL_ROWS) * PANEL_ROWS, rows.shape[1]))
    whole[:m], whole[m:] = rows, 0.0
    n_panels = len(columns.panels)
    # what is above the diagonal is added up too: not what happened to be in memory
    products = (np.zeros if triangle else np.empty)((len(whole), n_panels * PANEL))
    n_tasks = -(-len(whole) // TASK_ROWS) * n_panels
    arguments = whole, columns.panels, columns.levels, from_zero, triangle, products
    run_loop(row_products, n_tasks, n_threads, arguments)
    return products[:m, : columns.n]


def gram(rows: np.ndarray, n_threads: int) -> np.ndarray:
    """Products of rows (m, d) with each other, (m, m); the lower triangle counts."""
    return multiplied(rows, columns_of(rows), n_threads, triangle=True)


def times(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums of rows (m, n) times weights (n,): (m,) float64, in NumPy's own order of sums."""
    found = np.empty(len(rows))
    for start, stop in ranges(len(rows), max(1, _SUMMED_VALUES // rows.shape[1])):
        found[start:stop] = (rows[start:stop] * weights).sum(axis=1)
    return found


def combined(rows: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The sum of rows (m, n), each times its share (m,): (n,) float64."""
    total = np.zeros(rows.shape[1])
    for start, stop in ranges(len(rows), max(1, _SUMMED_VALUES // rows.shape[1])):
        total += (rows[start:stop] * shares[start:stop, None]).sum(axis=0)
    return total


class Factor:
    """L with L L^T a symmetric matrix, of which the lower triangle is given.

    Parameters
    ----------
    matrix : ndarray of shape (n, n), float64
    shift : float
        Added to its diagonal.
    right : ndarray of shape (m, n), float64
        Rows b, to be solved for.
    n_threads : int

    Attributes
    ----------
    is_definite : bool
    factor : ndarray of shape (>= N, N), float64
        L in the lower triangle; N is n rounded up to whole panels.
    answers : ndarray of shape (m, N), float64
        L^-1 b, row by row.
    """

    def __init__(self, matrix: np.ndarray, shift: float, right: np.ndarray, n_threads: int) -> None:
        n = len(matrix)
        self._n, self._n_threads = n, n_threads
        size = -(-n // PANEL) * PANEL
        extra = -(-len(right) // PANEL_ROWS) * PANEL_ROWS
        self.factor = np.zeros((size + extra, size))
        self.factor[:n, :n] = matrix
        self.factor[np.arange(n), np.arange(n)] += shift
        self.factor[np.arange(n, size), np.arange(n, size)] = 1.0
        self.factor[size : size + len(right), :n] = right
        self.is_definite = factored(self.factor, size, n_threads)
        self.answers = self.factor[size : size + len(right)]

    def solution(self, answers: np.ndarray | None = None) -> np.ndarray:
        """L^-T of rows (m, N), by default the answers: (m, n) float64."""
        rows = np.ascontiguousarray(self.answers if answers is None else answers)
        found = solved(self.factor, self.factor.shape[1], rows, self._n_threads)
        return np.ascontiguousarray(found.T[:, : self._n])
