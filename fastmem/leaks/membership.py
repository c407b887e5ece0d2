"""How well a signal tells members from others: the curve of true against false positives."""

from __future__ import annotations

import math

import numpy as np

from fastmem.leaks.report import FALSE_POSITIVES, Membership

_BINS = 40
_SMIRNOV = math.sqrt(math.log(1 / 0.05) / 2)
"""One-sided, at 5 %: Smirnov's limit for the largest difference of two distribution functions."""


def membership(words: str, members: np.ndarray, unseen: np.ndarray) -> Membership:
    """Compare a signal of members with that of unseen points; what is larger speaks for a member.

    Parameters
    ----------
    words : str
        What the signal is.
    members, unseen : ndarray of shape (n,), float64
        At least one value each; -inf is a value like any other.
    """
    true, false = rates(members, unseen)
    a, b = len(members), len(unseen)
    edges, counts = _histograms(members, unseen)
    return Membership(
        words=words, n_members=a, n_unseen=b,
        # trapezia, so that pairs of equal values count one half
        auc=float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2)),
        advantage=float((true - false).max()),
        chance=min(1.0, _SMIRNOV * math.sqrt((a + b) / (a * b))),
        tpr=float(true[false <= FALSE_POSITIVES].max()),
        edges=edges, members=counts[0], unseen=counts[1],
    )  # fmt: skip


def rates(members: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positive rates at all thresholds, from the strictest; each starts with 0."""
    values = np.concatenate([members, unseen])
    order = np.argsort(-values, kind="stable")
    is_member = (order < len(members)).astype(np.int64)
    ordered = values[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(values) - 1)
    true = np.concatenate([[0.0], np.cumsum(is_member)[last] / len(members)])
    false = np.concatenate([[0.0], np.cumsum(1 - is_member)[last] / len(unseen)])
    return true, false


def _histograms(
    members: np.ndarray, unseen: np.ndarray
) -> tuple[list[float], tuple[list[int], list[int]]]:
    """Counts of finite values in equal intervals, which both share."""
    both = [values[np.isfinite(values)] for values in (members, unseen)]
    pooled = np.concatenate(both)
    low, high = (pooled.min(), pooled.max()) if len(pooled) else (0.0, 1.0)
    if not low < high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    one, other = (np.histogram(values, edges)[0].tolist() for values in both)
    return edges.tolist(), (one, other)
