"""Cholesky factors of regularised Gram matrices, and what leaving one point out would tell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmem.kernels.cholesky import (
    PANEL,
    TASK_COLUMNS,
    TASK_ROWS,
    factor_diagonal,
    factor_rows,
    pack_panel,
    solve_transposed,
)
from fastmem.kernels.left_out import TASK_POINTS, left_out_errors
from fastmem.machine.loops import run_loop


def factored(matrix: np.ndarray, n: int, n_threads: int) -> bool:
    """Factor a matrix in place; see ``kernels.cholesky``. Returns whether it was definite.

    Parameters
    ----------
    matrix : ndarray of shape (n + m, n), float64
        n a multiple of PANEL.
    n, n_threads : int
    """
    panel, corner = np.empty((n, PANEL)), np.zeros((PANEL, PANEL))
    is_definite = True
    for first in range(0, n, PANEL):
        pack_panel(matrix, first, panel)
        is_definite &= bool(factor_diagonal(matrix, first, panel, corner))
        _rows_after(matrix, first, first + PANEL, panel, corner, n_threads)
    return is_definite


def _rows_after(
    matrix: np.ndarray, first: int, start: int, panel: np.ndarray, corner: np.ndarray,
    n_threads: int,
) -> None:  # fmt: skip
    n_tasks = -(-(len(matrix) - start) // TASK_ROWS)
    if n_tasks > 0:
        run_loop(factor_rows, n_tasks, n_threads, (matrix, first, start, panel, corner))


class LeftOut(NamedTuple):
    """What a ridge regression says of points that it has not seen, by prefixes of its features.

    Attributes
    ----------
    widths : ndarray of shape (W,), int64
    errors : ndarray of shape (W, S), float64
        Squared errors of each of S points, over all columns, if it alone were left out.
    leverages : ndarray of shape (S,), float64
        How much of its own prediction each point is, at full width.
    """

    widths: np.ndarray
    errors: np.ndarray
    leverages: np.ndarray


def continued(factor: np.ndarray, rows: np.ndarray, n: int, n_threads: int) -> None:
    """Turn rows b (m, n), m a multiple of PANEL_ROWS, into (L^-1 b^T)^T, in place."""
    panel, corner = np.empty((n, PANEL)), np.zeros((PANEL, PANEL))
    for first in range(0, n, PANEL):
        pack_panel(factor, first, panel)
        block = factor[first : first + PANEL, first : first + PANEL]
        corner[:] = np.tril(block).T
        np.fill_diagonal(corner, 1.0 / np.diagonal(block))
        _rows_after(rows, first, 0, panel, corner, n_threads)


def solved(factor: np.ndarray, n: int, rows: np.ndarray, n_threads: int) -> np.ndarray:
    """Coefficients (n, m) of columns that a factor holds as rows (m, n), or `continued` made."""
    solution = rows.copy()
    n_tasks = -(-len(rows) // TASK_COLUMNS)
    run_loop(solve_transposed, n_tasks, n_threads, (factor, n, solution))
    return np.ascontiguousarray(solution.T)


def left_out(
    answers: np.ndarray, rows: np.ndarray, targets: np.ndarray, share: float, n_threads: int
) -> tuple[LeftOut, np.ndarray]:
    """Errors of some of the points of a regression, each left out.

    Of L^-1 f and L^-1 F^T Y the first j entries belong to a regression on the first j features, so
    that all widths are told at once: the prediction is the sum of their products, the leverage of
    a point that of its squares, and the error without the point is the error divided by 1 minus it.

    Parameters
    ----------
    answers : ndarray of shape (n_columns, n), float64
        L^-1 F^T Y, and
    rows : ndarray of shape (S, n), float64
        L^-1 f of each point, as `factored` leaves them; C-contiguous.
    targets : ndarray of shape (S, n_columns), float64
        Centred.
    share : float
        What the intercept adds to each leverage: 1 / the number of points.
    n_threads : int

    Returns
    -------
    LeftOut
    ndarray of shape (S, n_columns), float64
        Predictions at the full width, each for a point that is left out.
    """
    widths = np.arange(PANEL, answers.shape[1] + 1, PANEL)
    errors, unseen = np.empty((len(widths), len(rows))), np.zeros_like(targets)
    leverages = np.empty(len(rows))
    run_loop(
        left_out_errors, -(-len(rows) // TASK_POINTS), n_threads,
        (rows, answers, targets, share, unseen, leverages, errors),
    )  # fmt: skip
    return LeftOut(widths, errors, leverages), unseen
