"""Points recovered from a neuron's mask, by accelerated projected gradients.

A mask that is 1 - Phi(x) says on which side of every hyperplane x is. A point on all these sides
is looked for in a box that is known to hold the data: the squares of what is missing to a small
distance from each hyperplane are minimised by Nesterov's method (1983) with restarts where the
momentum points uphill (O'Donoghue and Candès, 2015). The sum is convex, so that nothing depends on
where it begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.kernels.descent import descend
from fastmem.kernels.layout import TILE_ROWS, WORD_BITS
from fastmem.machine.arrays import aligned_zeros
from fastmem.machine.threads import ranges, run_tasks
from fastmem.patterns.words import unpacked

MOST_STEPS = 1500
_LEAST_STEPS = 100
_CELL = 2.25
"""Points keep this times d / n from each hyperplane, of the mean distance between hyperplanes and
the box's middle: about as deep as a record lies in its cell. Fixed shares of 0.025 to 1.6 did best
at 0.4 for digits784 of n = 2.6 d hyperplanes, at 0.15, 0.07 and 0.04 for digits of 16, 32, 64 d."""
_MOST_DISTANCE = 0.5
_POWER_STEPS = 30
_TASK_WORK = 6e7
"""Weights times steps of a task: tens of milliseconds."""
_PART = 1 << 21
"""Weights that are made at a time."""
_STILL = 1e-7
"""A step that is shorter than this share of the radius ends the search."""


@dataclass(frozen=True)
class Sides:
    """Hyperplanes in units of the data: rows of length 1, the origin at 0, the radius 1.

    Attributes
    ----------
    normals : ndarray of shape (n, d), float32
    offsets : ndarray of shape (n,), float32
    lengths : ndarray of shape (n,), float64
        Of the rows as they were.
    origin : ndarray of shape (d,), float64
    radius : float
    """

    normals: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    origin: np.ndarray
    radius: float

    @cached_property
    def panels(self) -> np.ndarray:
        """The normals as `kernels.descent.descend` multiplies points by them."""
        n, d = self.normals.shape
        panels = aligned_zeros((-(-n // WORD_BITS), _padded(d), WORD_BITS), np.float32)
        for w, panel in enumerate(panels):
            some = self.normals[w * WORD_BITS : (w + 1) * WORD_BITS]
            panel[:d, : len(some)] = some.T
        return panels

    @cached_property
    def rows(self) -> np.ndarray:
        """The normals as `kernels.descent.descend` adds them up."""
        n, d = self.normals.shape
        rows = aligned_zeros((_padded(d) // WORD_BITS, _padded(n), WORD_BITS), np.float32)
        for v, row in enumerate(rows):
            some = self.normals[:, v * WORD_BITS : (v + 1) * WORD_BITS]
            row[:n, : some.shape[1]] = some
        return rows

    @cached_property
    def step(self) -> float:
        """Of a gradient, so that the sum of squares does not grow."""
        return 1.0 / (2.0 * _largest_eigenvalue(self.normals))

    def units(self, x: np.ndarray) -> np.ndarray:
        """Points of the network's space in these units."""
        return np.ascontiguousarray((x - self.origin) / self.radius, np.float32)

    def points(self, v: np.ndarray) -> np.ndarray:
        """The reverse of `units`, float64."""
        return self.origin + self.radius * v.astype(np.float64)


def _padded(n: int) -> int:
    return -(-n // WORD_BITS) * WORD_BITS


def row_blocks(first: Hyperplanes) -> Iterator[tuple[slice, np.ndarray]]:
    """Weights as float64, some rows at a time, also where all of them are stored."""
    made = getattr(first, "weights_of", None)
    size = max(1, _PART // first.n_features)
    for start in range(0, len(first), size):
        some = slice(start, start + size)
        weights = first.weights[some] if made is None else made(some)
        yield some, weights.astype(np.float64)


def sides_of(first: Hyperplanes) -> Sides:
    """Make all rows length 1; a row of zeros stays one."""
    n, d = len(first), first.n_features
    normals = np.empty((n, d), np.float32)
    offsets = np.empty(n, np.float32)
    lengths = np.empty(n)
    for some, weights in row_blocks(first):
        lengths[some] = np.sqrt((weights**2).sum(axis=1))
        lengths[some][lengths[some] == 0] = 1.0
        weights /= lengths[some, None]
        normals[some] = weights
        shifts = weights @ first.origin + first.biases[some] / lengths[some]
        offsets[some] = shifts / first.radius
    return Sides(normals, offsets, lengths, first.origin, first.radius)


def wanted_sides(masks: np.ndarray, n: int) -> np.ndarray:
    """-1 for the hyperplanes of each mask and 1 for all others, (B, n) float32."""
    return np.where(unpacked(masks, n), np.float32(-1), np.float32(1))


def missing_distances(sides: Sides, wanted: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How far points are on the wrong sides, for rows as they were: (B, n) float64, 0 or above."""
    v = sides.units(points)
    missing = np.maximum(-wanted * (v @ sides.normals.T + sides.offsets), 0)
    return missing.astype(np.float64) / sides.lengths


def recovered(
    sides: Sides,
    wanted: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    *,
    closer: float = 1.0,
    n_threads: int = 1,
) -> np.ndarray:
    """Look for points on the wanted sides of all hyperplanes.

    Parameters
    ----------
    sides : Sides
    wanted : ndarray of shape (B, n), float32
        Signs.
    low, high : ndarray of shape (d,), float64
        The box that the points are in.
    closer : float
        Points may be nearer to hyperplanes by this factor.
    n_threads : int
        The points do not depend on it.

    Returns
    -------
    ndarray of shape (B, d), float64
    """
    n, d = sides.normals.shape
    panels, rows = sides.panels, sides.rows
    box = np.zeros((2, panels.shape[1]), np.float32)
    box[:, :d] = sides.units(low), sides.units(high)
    middle: np.ndarray = (box[0] + box[1]) / 2
    offsets = np.zeros(rows.shape[1], np.float32)
    offsets[:n] = sides.offsets
    distance = closer * min(_MOST_DISTANCE, _CELL * d / n)
    distance *= float(np.abs(sides.normals @ middle[:d] + sides.offsets).mean())
    scalars = np.array([distance, sides.step], np.float32)
    n_steps = int(np.clip(_TASK_WORK / rows.size, 1, _LEAST_STEPS))

    def work(search: _Search) -> None:
        search.length = descend(
            panels, rows, offsets, search.wanted, scalars, box, search.x, search.ahead,
            search.momentum, n_steps,
        )  # fmt: skip

    searches = [
        _Search(middle, wanted[start:stop], len(offsets))
        for start, stop in ranges(len(wanted), TILE_ROWS)
    ]
    going = searches
    for done in range(n_steps, MOST_STEPS + n_steps, n_steps):
        # in short tasks, between which Ctrl-C is seen
        run_tasks(work, going, n_threads)
        if done >= _LEAST_STEPS:
            going = [search for search in going if not search.length < _STILL]
    found = [search.x[0, :d, : search.size].T for search in searches]
    return sides.points(np.concatenate(found))


class _Search:
    """Where the search for up to TILE_ROWS points is; see `kernels.descent.descend`."""

    def __init__(self, start: np.ndarray, wanted: np.ndarray, n_padded: int) -> None:
        self.size, n = wanted.shape
        self.wanted = np.zeros((n_padded, TILE_ROWS), np.float32)
        self.wanted[:n, : self.size] = wanted.T
        self.x = np.repeat(start[None, :, None], TILE_ROWS, axis=2)
        self.ahead = self.x.copy()
        self.momentum = np.ones(TILE_ROWS, np.float32)
        self.length = np.float32(np.inf)


def _largest_eigenvalue(normals: np.ndarray) -> float:
    """Of normals^T normals, a few per cent above what the power method has reached."""
    random = np.random.default_rng(0)
    v: np.ndarray = random.standard_normal((normals.shape[1],), np.float32)
    value = 1.0
    for _ in range(_POWER_STEPS):
        v = normals.T @ (normals @ v)
        value = float(np.linalg.norm(v))
        if not value > 0:
            return 1.0
        v /= np.float32(value)
    return 1.05 * value
