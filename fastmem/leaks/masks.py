"""Whether a mask is the whole sign pattern of some point, from the network alone.

Both answers are proved. That it is one: by a point whose exact signs are the mask's. That it is
none: by multipliers y >= 0 for which the sum of y_k s_k (<w_k, x> + b_k) is negative on the whole
box, where s_k are the wanted signs (Farkas, 1902); the sum is bounded with all its roundings. Both
come from projected gradients, whose missing distances are such multipliers, and else from a linear
program (HiGHS), whose word is not taken.
"""

from __future__ import annotations

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.leaks.reconstruction import Sides, missing_distances, recovered, row_blocks
from fastmem.machine.programs import solved
from fastmem.patterns.of_points import sign_patterns
from fastmem.patterns.words import valid_bits

PATTERN, EMPTY, UNDECIDED = 1, -1, 0
LEAST_RATIO = 8
"""Hyperplanes for each feature: with fewer, nearly every mask is some point's pattern."""
_CLOSER = 0.1
"""Of the first distance from hyperplanes: cells that are narrower than that one."""
_MOST_PROGRAMS = 16
_MOST_ENTRIES = 1 << 22
"""Of a linear program: 32 MB."""
_UNIT = 2.0**-53


def have_pattern(points: np.ndarray, masks: np.ndarray, first: Hyperplanes) -> np.ndarray:
    """Whether 1 - Phi of each point, (B, d) float64, is the mask beside it; (B,) bool."""
    patterns = sign_patterns(points, first, n_threads=1)
    same: np.ndarray = ((patterns ^ valid_bits(len(first))) == masks).all(axis=1)
    return same


def decide(
    first: Hyperplanes,
    sides: Sides,
    masks: np.ndarray,
    wanted: np.ndarray,
    found: np.ndarray,
    box: tuple[np.ndarray, np.ndarray],
    n_threads: int = 1,
) -> np.ndarray:
    """Say of masks whether they are the pattern of a point in the box.

    Parameters
    ----------
    first : Hyperplanes
    sides : Sides
        The same hyperplanes.
    masks : ndarray of shape (B, n_words), uint64
    wanted : ndarray of shape (B, n), float32
        Their signs.
    found : ndarray of shape (B, d), float64
        What `recovered` found for them.
    box : (low, high)
        Of shape (d,), float64.
    n_threads : int

    Returns
    -------
    ndarray of shape (B,), int64
        PATTERN, EMPTY or UNDECIDED.
    """
    answers = np.full(len(masks), UNDECIDED)

    def settle(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
        answers[rows[have_pattern(points, masks[rows], first)]] = PATTERN
        left = answers[rows] == UNDECIDED
        if left.any():
            rows, points = rows[left], points[left]
            multipliers = missing_distances(sides, wanted[rows], points)
            empty = are_empty(first, multipliers, wanted[rows], box)
            answers[rows[empty]] = EMPTY
        return np.flatnonzero(answers == UNDECIDED)

    rows = settle(np.arange(len(masks)), found)
    if len(rows):
        rows = settle(
            rows, recovered(sides, wanted[rows], *box, closer=_CLOSER, n_threads=n_threads)
        )
    if wanted.shape[1] * len(box[0]) <= _MOST_ENTRIES:
        for row in rows[:_MOST_PROGRAMS]:
            point, multipliers = _program(sides, wanted[row], box)
            one = slice(row, row + 1)
            if have_pattern(point[None], masks[one], first)[0]:
                answers[row] = PATTERN
            elif are_empty(first, multipliers[None], wanted[one], box)[0]:
                answers[row] = EMPTY
    return answers


def are_empty(
    first: Hyperplanes,
    multipliers: np.ndarray,
    wanted: np.ndarray,
    box: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Whether multipliers prove that no point of the box is on all the wanted sides.

    Parameters
    ----------
    first : Hyperplanes
    multipliers : ndarray of shape (B, n), float64
        For rows of any length; negative ones are taken for 0.
    wanted : ndarray of shape (B, n)
        Signs.
    box : (low, high)
        Of shape (d,), float64.

    Returns
    -------
    ndarray of shape (B,), bool
        True only where it is proved.
    """
    low, high = box
    middle, half = (low + high) / 2, (high - low) / 2
    total = np.zeros((len(wanted), len(low)))
    size = np.zeros_like(total)
    constant = np.zeros(len(wanted))
    constant_size = np.zeros(len(wanted))
    signed = np.maximum(multipliers, 0) * wanted
    for some, weights in row_blocks(first):
        part, biases = signed[:, some], first.biases[some]
        total += part @ weights
        size += np.abs(part) @ np.abs(weights)
        constant += part @ biases
        constant_size += np.abs(part) @ np.abs(biases)
    # what a real sum may be above the computed one: every term is rounded at most n + 4 times
    slack = 2 * (len(first) + 4) * _UNIT
    reach = np.abs(middle) + half
    above = total @ middle + np.abs(total) @ half + constant
    above += slack * (2 * size @ reach + constant_size) + 8 * len(low) * _UNIT * (size @ reach)
    proved: np.ndarray = np.isfinite(above) & (above < 0)
    return proved


def _program(
    sides: Sides, wanted: np.ndarray, box: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The point deepest inside of all wanted sides, (d,), and the multipliers of these, (n,)."""
    d = sides.normals.shape[1]
    rows = np.ones((len(wanted), d + 1))
    rows[:, :d] = -wanted[:, None] * sides.normals
    bounds = [*zip(*(edge.tolist() for edge in map(sides.units, box)), strict=True), (None, 1.0)]
    objective = np.zeros(d + 1)
    objective[-1] = -1.0
    found = solved(objective, rows, wanted * sides.offsets, bounds)
    if found is None or found.x is None:
        return sides.origin, np.zeros(len(wanted))
    return sides.points(found.x[:d]), found.multipliers / sides.lengths
