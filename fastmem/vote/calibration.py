"""The temperature at which votes become probabilities."""

from __future__ import annotations

import numpy as np

_RANGE = 12.0
"""Powers of e around the spread of the votes between which the temperature is looked for."""
_DIGITS = 3


def temperature_of(votes: np.ndarray, codes: np.ndarray) -> float:
    """The temperature with the least mean log-loss of softmax(votes / temperature).

    Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, 2017.

    Parameters
    ----------
    votes : ndarray of shape (S, K), float64
        Of points that the read-out was not fitted to.
    codes : ndarray of shape (S,), int64
        Their classes.

    Returns
    -------
    float
        Positive, of three digits: more would tell roundings of one machine from another's.
    """
    from scipy.optimize import (
        minimize_scalar,
    )  # half a second, which importing fastmem must not take
    from scipy.special import logsumexp

    rows = np.arange(len(codes))
    spread = float(np.abs(votes - votes.mean(axis=1, keepdims=True)).mean()) or 1.0

    def loss(logarithm: float) -> float:
        scaled = votes / (spread * np.exp(logarithm))
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[rows, codes]))

    found = minimize_scalar(loss, bounds=(-_RANGE, _RANGE), method="bounded")
    return float(f"{spread * np.exp(found.x):.{_DIGITS}g}")
