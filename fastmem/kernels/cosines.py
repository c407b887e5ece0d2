"""Cosine features of points: integers that are the same on every machine.

A point becomes integers first: coordinate k is X_k = rint(2^e x_k - o_k), between -2^30 and 2^30,
with a power of two that all features share and whole numbers o_k. All X_k are multiplied by a small
odd number, since powers of two alone are far apart. A block of D = 2^k rows of random
signs and Walsh-Hadamard transforms (``kernels.hadamard``), here without its division by D, then
gives sums t_h = <R_h, X> modulo 2^32, which is what 32-bit integers do by themselves. Such a sum,
after a phase is added to it, is an angle: 2^32 is a full turn, so that nothing can overflow and
nothing is rounded. Its upper 8 bits a, of which ``turn`` makes

    f_h = +-((2 r + 1) (255 - 2 r) >> 7),  r = a mod 128, minus where a < 0:

the sine by a parabola over each half turn, from 1 to 127 in size. These are
the random Fourier features of Rahimi and Recht (Random features for large-scale kernel machines,
2007) for a Gaussian kernel, but for the parabola, which is within 0.06 of the sine.

Neither a filter nor its doubtful cases are needed, unlike for sign patterns: two points that the
grid does not tell apart have the same features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.butterflies import LANES, STAGES, butterflies, transpose
from fastmem.kernels.compiling import njit
from fastmem.kernels.hadamard import HALF, PITCH, passes_of, transform
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.normals import mixed_words
from fastmem.kernels.queue import take
from fastmem.kernels.signs import row_number
from fastmem.kernels.wave_products import add_votes

GRID_LIMIT = 2.0**30
"""Largest size of a coordinate on the grid; what is beyond is cut off."""
PHASE_STEP = 0x9E3779B9
"""2^32 / golden ratio: phase h is (h + 1) times it, so that any number of them is spread evenly."""
_STEP = np.int32(PHASE_STEP - (1 << 32))
EXACT_DEPTH = 1024
"""float32 holds sums of so many products of a feature and a weight, of 7 bits each, exactly."""
_ROUND = 1.5 * 2.0**52
"""What is added to it and taken off again is rounded to the nearest whole number, half to even."""


class Waves(NamedTuple):
    """The first n cosine features of points with d coordinates.

    flips (n_blocks, rounds, D) uint32 as in ``kernels.hadamard``; offsets (d,) float64: o above;
    step: 2^e; multiplier: of all that is on the grid; n the number of features, a multiple of 64.
    """

    flips: np.ndarray
    offsets: np.ndarray
    step: float
    multiplier: int
    n: int


class RowsToDo(NamedTuple):
    """Which rows a loop goes through.

    points (N, d) float32 or float64; rows (m,) int32 or int64 row numbers, or of size 0 for all in
    order; tasks (T, 2) int64: a task takes the places tasks[t, 0]..tasks[t, 1] - 1 of ``rows``.
    """

    points: np.ndarray
    rows: np.ndarray
    tasks: np.ndarray


class _Room(NamedTuple):
    """Room to work in, for LANES points."""

    by_point: np.ndarray
    grid: np.ndarray
    rows_of: np.ndarray
    sums: np.ndarray
    no_flips: np.ndarray


@njit(nogil=True, cache=True)
def sign_flips(key, flips):
    """Fill flips (n_blocks, rounds, D) uint32 with 2^31 or 0 by bits from a key, a uint64."""
    n_blocks, rounds, rows = flips.shape
    words = np.empty(rows // WORD_BITS, np.uint64)
    for block in range(n_blocks):
        for t in range(rounds):
            mixed_words(key, (block * rounds + t) * words.shape[0], words)
            for j in range(rows):
                bit = (words[j // WORD_BITS] >> np.uint64(j % WORD_BITS)) & np.uint64(1)
                flips[block, t, j] = np.uint32(bit) << np.uint32(31)


@njit(nogil=True, cache=True)
def _new_room(rows, d):
    places = rows // HALF * PITCH * LANES
    return _Room(
        aligned_zeros((d + LANES - 1) // LANES * LANES * LANES, np.int32),
        aligned_zeros(places, np.int32),
        aligned_zeros(places, np.int32),
        aligned_zeros(WORD_BITS * LANES, np.int32),
        np.zeros(1, np.uint32),
    )


@njit(nogil=True, cache=True)
def _load_grid(todo, start, count, waves, room):
    """Rows of ``room.grid``: coordinates of ``count`` points on the grid, a lane a point."""
    points, rows = todo.points, todo.rows
    d = points.shape[1]
    step, offsets, multiplier = waves.step, waves.offsets, np.int64(waves.multiplier)
    pitch = room.by_point.shape[0] // LANES
    for lane in range(LANES):
        # slices, or LLVM leaves the loop scalar
        values = room.by_point[lane * pitch : lane * pitch + d]
        if lane < count:
            point = points[row_number(rows, start + lane)]
            for k in range(d):
                value = step * np.float64(point[k]) - offsets[k]
                value = min(max(value, -GRID_LIMIT), GRID_LIMIT)
                values[k] = np.int32(np.int64((value + _ROUND) - _ROUND) * multiplier)
        else:
            values[:] = np.int32(0)
    source, target = room.by_point.view(np.float32), room.grid.view(np.float32)
    for k in range(0, pitch, LANES):
        transpose(source, k, pitch, target, k + k // HALF)


@njit(nogil=True, cache=True)
def _turn(sums, phase, features):
    """Features of 64 rows of LANES sums, whose first has phase ``phase``; both (64 LANES,) int32.

    The next row's phase is PHASE_STEP more.
    """
    for h in range(WORD_BITS):
        for lane in range(h * LANES, (h + 1) * LANES):
            angle = np.int32(np.int32(sums[lane] + phase) >> np.int32(24))
            r = np.int32(angle & np.int32(127))
            size = np.int32(np.int32((2 * r + 1) * (255 - 2 * r)) >> np.int32(7))
            features[lane] = size if angle >= 0 else -size
        phase = np.int32(phase + _STEP)


@njit(nogil=True, cache=True)
def _phase(h):
    """(h + 1) PHASE_STEP modulo 2^32 as an int32."""
    whole = ((h + 1) * PHASE_STEP) & 0xFFFFFFFF
    return np.int32(whole - (1 << 32) if whole >= 1 << 31 else whole)


@njit(nogil=True, cache=True)
def _word_features(waves, block, word, room):
    """Put the features of 64 rows of a transformed block into room.sums."""
    at = 2 * word * PITCH
    for half in range(2):
        butterflies(
            STAGES, room.rows_of, at + half * PITCH, 1, room.no_flips, 0, 0, room.sums,
            half * HALF,
        )  # fmt: skip
    first = block * waves.flips.shape[2] + word * WORD_BITS
    _turn(room.sums, _phase(first), room.sums)
    return first


@njit(nogil=True, cache=True)
def feature_tiles(queue, stop, todo, waves, features):
    """Cosine features of points, LANES points a tile: a worker, see ``kernels.queue``.

    todo `RowsToDo`, whose tasks begin at multiples of LANES; waves `Waves`; features
    (ceil(m / LANES), n, LANES) int8, where the point of place i is lane i % LANES of tile
    i // LANES. Lanes beyond the last point are zero.
    """
    rows = waves.flips.shape[2]
    room = _new_room(rows, todo.points.shape[1])
    passes = passes_of(np.int64(round(math.log2(rows))))
    while True:
        task = take(queue)
        if task >= stop:
            return
        for start in range(todo.tasks[task, 0], todo.tasks[task, 1], LANES):
            count = min(LANES, todo.tasks[task, 1] - start)
            tile = features[start // LANES]
            _load_grid(todo, start, count, waves, room)
            for block in range(waves.flips.shape[0]):
                transform(room.grid, waves.flips, block, passes, room.no_flips, room.rows_of)
                for word in range(rows // WORD_BITS):
                    if block * rows + word * WORD_BITS >= waves.n:
                        break
                    first = _word_features(waves, block, word, room)
                    for h in range(WORD_BITS):
                        for lane in range(LANES):
                            value = room.sums[h * LANES + lane]
                            tile[first + h, lane] = np.int8(value) if lane < count else np.int8(0)


@njit(nogil=True, cache=True)
def feature_votes(queue, stop, todo, waves, weights, votes):
    """Integer sums of features times weights for all points: a worker, see ``kernels.queue``.

    todo `RowsToDo`; waves `Waves`; weights (n, K) float32, whole numbers of at most 127 in size;
    votes (m, K) int64: votes[i, c] += sum over h of f_h weights[h, c]. Products of EXACT_DEPTH
    features are summed in float32, which holds these sums exactly, then as integers.
    """
    rows = waves.flips.shape[2]
    n_columns = votes.shape[1]
    room = _new_room(rows, todo.points.shape[1])
    passes = passes_of(np.int64(round(math.log2(rows))))
    part = aligned_zeros(n_columns * LANES, np.float32).reshape((n_columns, LANES))
    features = aligned_zeros(WORD_BITS * LANES, np.float32)
    while True:
        task = take(queue)
        if task >= stop:
            return
        for start in range(todo.tasks[task, 0], todo.tasks[task, 1], LANES):
            count = min(LANES, todo.tasks[task, 1] - start)
            _load_grid(todo, start, count, waves, room)
            depth = 0
            for block in range(waves.flips.shape[0]):
                transform(room.grid, waves.flips, block, passes, room.no_flips, room.rows_of)
                for word in range(rows // WORD_BITS):
                    if block * rows + word * WORD_BITS >= waves.n:
                        break
                    first = _word_features(waves, block, word, room)
                    for i in range(WORD_BITS * LANES):
                        features[i] = np.float32(room.sums[i])
                    add_votes(features, weights, first, part)
                    depth += WORD_BITS
                    if depth == EXACT_DEPTH:
                        _take_votes(part, start, count, votes)
                        depth = 0
            _take_votes(part, start, count, votes)


@njit(nogil=True, cache=True)
def _take_votes(part, start, count, votes):
    """Add ``part`` (K, LANES) float32 to the votes of ``count`` points, and clear it."""
    for c in range(part.shape[0]):
        for lane in range(LANES):
            if lane < count:
                votes[start + lane, c] += np.int64(part[c, lane])
            part[c, lane] = np.float32(0.0)
