"""Linear programs by HiGHS, while which Ctrl-C is seen; whoever asks need not believe it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1 << 15
"""Numbers of a program's matrix up to which it takes tens of milliseconds at most."""
_BLINK = 0.05

Bounds = Sequence[tuple[float | None, float | None]]


class Solution(NamedTuple):
    """What HiGHS says of a linear program.

    Attributes
    ----------
    x : ndarray of shape (n,), float64, or None
    multipliers : ndarray of shape (m,), float64
        Of the inequalities, 0 or above but for rounding; zeros without a solution.
    value : float
        The least <aim, x>; NaN without a solution.
    is_optimal : bool
        Whether it says that this is the least.
    """

    x: NDArray[np.float64] | None
    multipliers: NDArray[np.float64]
    value: float
    is_optimal: bool


def solved(
    aim: NDArray[np.float64],
    rows: NDArray[np.float64],
    limits: NDArray[np.float64],
    bounds: Bounds,
    *,
    method: str = "highs",
    is_over: Callable[[], bool] | None = None,
) -> Solution | None:
    """Minimise <aim, x> where rows @ x <= limits and x is between bounds.

    Parameters
    ----------
    aim : ndarray of shape (n,), float64
    rows : ndarray of shape (m, n), float64
    limits : ndarray of shape (m,), float64
    bounds : sequence of n pairs
        Least and greatest value of each variable; None for none.
    method : str
        As of ``scipy.optimize.linprog``.
    is_over : callable, optional
        Says whether time is over.

    Returns
    -------
    Solution or None
        None where time was over first.

    Notes
    -----
    HiGHS does not look for signals, but leaves the interpreter to others while it works. So a large
    program is solved in a thread. After Ctrl-C, or where time is over, it is left there to itself:
    it ends with its program, or with the process, and nobody asks it.
    """
    found: list[Solution | BaseException] = []

    def work() -> None:
        try:
            found.append(_solved(aim, rows, limits, bounds, method))
        except BaseException as error:
            found.append(error)

    if rows.size <= _AT_ONCE:
        work()
    else:
        thread = threading.Thread(target=work, name="fastmem linear program", daemon=True)
        thread.start()
        while thread.is_alive():
            if is_over is not None and is_over():
                return None
            thread.join(_BLINK)
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _solved(aim: Any, rows: Any, limits: Any, bounds: Bounds, method: str) -> Solution:
    from scipy.optimize import linprog  # takes longer to import than most calls

    said = linprog(aim, A_ub=rows, b_ub=limits, bounds=bounds, method=method)
    if said.x is None:
        return Solution(None, np.zeros(len(rows)), np.nan, False)
    multipliers = -np.asarray(said.ineqlin.marginals, np.float64)
    return Solution(np.array(said.x), multipliers, float(said.fun), said.status == 0)
