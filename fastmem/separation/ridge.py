"""Ridge regression of all classes on features of all points, bent to be right on a few of them.

The regression w minimises |w|^2 / C + sum (s_i - <w, a_i>)^2. Where its largest score is not a
point's own, w is moved to where it is, as little as the regression's own quadratic form allows:
minimise (w - w_0)^T H (w - w_0) under own score - rival's >= REACHED for these points. That is a
system of as many unknowns as there are such points. Unseen points are labelled as the regression
does it, which is better than support vector machines do (`python -m bench.separation --readouts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fastmem.kernels.panel_products import PANEL_ROWS
from fastmem.separation.products import Factor, columns_of, combined, multiplied
from fastmem.vote.factor import continued

COST = 10.0
"""C times the mean square of a row's length."""
REACHED = 0.1
"""Own score less rival's of points that the regression is bent for; regressed are -1 and 1."""
_ROUNDS = 30
_SHARE = 0.5
"""At most so many points as this share of the features."""
_DROPS = 10
_SHIFT = 1e-9

Blocks = Callable[[], Iterator[tuple[int, np.ndarray, np.ndarray]]]
"""Gives, each time, all points in blocks: the first row, vectors (m, n) and signs (m, T)."""


class Bent(NamedTuple):
    """A regression that is right on as many points as it could be bent for.

    Attributes
    ----------
    weights : ndarray of shape (n, T), float64
    n_wrong : int
        Points whose own score is not the largest.
    """

    weights: np.ndarray
    n_wrong: int


def bent_regression(
    blocks: Blocks, sizes: tuple[int, int], n_threads: int, deadline: Callable[[], bool]
) -> Bent:
    """Regress on all points, and bend.

    Parameters
    ----------
    blocks : callable
    sizes : tuple of int
        n and T.
    n_threads : int
    deadline : callable
        Says whether time is over: then it is bent no more.

    Returns
    -------
    Bent
        The one of fewest wrong points.
    """
    factor, first = _regression(blocks, sizes, n_threads)
    n, t = sizes
    best = Bent(first, -1)
    rows, vectors, turns = np.empty((0, 2), np.int64), np.empty((0, n)), np.empty((0, t))
    weights, halves = first, np.empty((0, factor.factor.shape[1]))
    for _ in range(_ROUNDS):
        seen, n_wrong = _wrong(blocks, weights, n_threads, max(1, int(_SHARE * n)) - len(rows))
        if best.n_wrong < 0 or n_wrong < best.n_wrong:
            best = Bent(weights, n_wrong)
        is_new = _not_among(seen.rows, rows)
        if not n_wrong or not is_new.any() or deadline():
            break
        new = seen.vectors[is_new]
        rows = np.concatenate([rows, seen.rows[is_new]])
        vectors = np.concatenate([vectors, new])
        turns = np.concatenate([turns, seen.turns[is_new]])
        halves = np.concatenate([halves, _halved(factor, new, n_threads)])
        gaps = (multiplied(vectors, columns_of(first.T), n_threads) * turns).sum(axis=1)
        shares = _shares(halves, turns, REACHED - gaps, n_threads)
        moves = np.stack([combined(halves, shares * turn) for turn in turns.T])
        weights = first + factor.solution(moves).T
        if len(rows) >= _SHARE * n:
            _, n_wrong = _wrong(blocks, weights, n_threads, 1)
            best = Bent(weights, n_wrong) if n_wrong < best.n_wrong else best
            break
    return best


class _Seen(NamedTuple):
    """Points whose largest score is a rival's.

    rows (k, 2) int64 the point and the rival; vectors (k, n); turns (k, T): the gap of a point is
    the sum of turns times scores.
    """

    rows: np.ndarray
    vectors: np.ndarray
    turns: np.ndarray


def _regression(
    blocks: Blocks, sizes: tuple[int, int], n_threads: int
) -> tuple[Factor, np.ndarray]:
    n, t = sizes
    products, right, total = np.zeros((n, n)), np.zeros((t, n)), 0
    for _, rows, signs in blocks():
        columns = np.ascontiguousarray(rows.T)
        products += multiplied(columns, columns_of(columns), n_threads, triangle=True)
        right += np.stack([combined(rows, column) for column in signs.T])
        total += len(rows)
    mean_square = float(np.sum(np.diagonal(products))) / total
    factor = Factor(products, mean_square / COST, right, n_threads)
    return factor, np.ascontiguousarray(factor.solution().T)


def _halved(factor: Factor, vectors: np.ndarray, n_threads: int) -> np.ndarray:
    """L^-1 of vectors (k, n), (k, N)."""
    size = factor.factor.shape[1]
    padded = np.zeros((-(-len(vectors) // PANEL_ROWS) * PANEL_ROWS, size))
    padded[: len(vectors), : vectors.shape[1]] = vectors
    continued(factor.factor, padded, size, n_threads)
    return padded[: len(vectors)]


def _shares(
    halves: np.ndarray, turns: np.ndarray, missing: np.ndarray, n_threads: int
) -> np.ndarray:
    """How much each point pulls, (k,), none away from its own class."""
    products = multiplied(halves, columns_of(halves), n_threads)
    products *= multiplied(turns, columns_of(turns), n_threads)
    shift = _SHIFT * float(np.sum(np.diagonal(products))) / len(products)
    pulls = np.arange(len(halves))
    shares = np.zeros(len(halves))
    for _ in range(_DROPS):
        some = np.ascontiguousarray(products[np.ix_(pulls, pulls)])
        found = Factor(some, shift or 1.0, missing[pulls][None], n_threads).solution()[0]
        if (found >= 0).all():
            break
        pulls = pulls[found > 0]
        if not len(pulls):
            return shares
    shares[pulls] = np.maximum(found, 0.0) if len(found) == len(pulls) else 0.0
    return shares


def _wrong(blocks: Blocks, weights: np.ndarray, n_threads: int, most: int) -> tuple[_Seen, int]:
    """The points with the least gaps among those that are wrong, ``most`` of them; and how many."""
    columns = columns_of(np.ascontiguousarray(weights.T))
    n, t = weights.shape
    none = _Seen(np.empty((0, 2), np.int64), np.empty((0, n)), np.empty((0, t)))
    seen, gaps, n_wrong = none, np.empty(0), 0
    for start, rows, signs in blocks():
        scores = multiplied(rows, columns, n_threads)
        turns, rivals = _turns(scores, signs)
        here = (scores * turns).sum(axis=1)
        wrong = np.flatnonzero(~(here > 0))
        n_wrong += len(wrong)
        wrong = wrong[np.argsort(here[wrong], kind="stable")[: max(0, most)]]
        pairs = np.stack([start + wrong, rivals[wrong]], axis=1)
        seen = _Seen(
            np.concatenate([seen.rows, pairs]), np.concatenate([seen.vectors, rows[wrong]]),
            np.concatenate([seen.turns, turns[wrong]]),
        )  # fmt: skip
        gaps = np.concatenate([gaps, here[wrong]])
        worst = np.argsort(gaps, kind="stable")[: max(0, most)]
        seen, gaps = _Seen(*(part[worst] for part in seen)), gaps[worst]
    return seen, n_wrong


def _turns(scores: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What scores are multiplied with for the gap, (m, T), and the rival class, (m,) int64."""
    if scores.shape[1] == 1:
        return signs, np.zeros(len(signs), np.int64)
    rivals = np.where(signs > 0, -np.inf, scores).argmax(axis=1)
    turns = np.where(signs > 0, 1.0, 0.0)
    turns[np.arange(len(turns)), rivals] = -1.0
    return turns, rivals


def _not_among(pairs: np.ndarray, others: np.ndarray) -> np.ndarray:
    known = {tuple(pair) for pair in others.tolist()}
    return np.array([tuple(pair) not in known for pair in pairs.tolist()], bool)
