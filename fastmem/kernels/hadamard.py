"""Sign patterns of structured hyperplanes, by fast Walsh-Hadamard transforms.

A block is D = 2^k rows, 2^6 <= D <= 2^16, of which each is used with its first d <= D columns:

    W = H S_r ... H S_2 H S_1 / D,  H = [+1, +1; +1, -1] (x) ... (x) [+1, +1; +1, -1],

with S_1, ..., S_r diagonals of signs, r (``rounds``) usually 3. H / sqrt(D) is orthogonal, so each
row of D W has 2-norm D^(r/2) and, for r = 3, integer entries of at most D^1.5 <= 2^24 for
D <= 2^16: each is a float32 number, and so is each partial sum on the way, by the same norm.
Hence the weights are exact, a bit is defined for them as in ``kernels.signs``, and doubtful bits
go through the same two stages, with the row computed anew (``_integer_row``).

The float32 filter. Points are scaled and shifted as in ``kernels.signs``: with the scale s and the
origin c, D s (<w, x> + b) = <D w, s (x - c)> + beta, beta = D s (b + <w, c>). u = 2^-24.

1. The stored x^ = fl(s (x - c)) carries a relative error below 1.01 u in each coordinate, or
   2^-149 where it underflows; |D w|_2 <= D^(r/2), so its part is at most
   D^(r/2) (1.01 u |x^|_2 + 2^-149 sqrt(d)).
2. A butterfly rounds a + b and a - b once each, by a factor 1 + delta, |delta| <= u, also among
   subnormal numbers. So a stage adds an error of 2-norm at most u |v|_2, v its result, and every
   later stage stretches norms by exactly sqrt(2). After L = r k stages the error's 2-norm, and
   with it every entry's error, is at most ((1 + u)^L - 1) D^(r/2) |x^|_2. Flips round nothing.
3. beta is stored with an error of at most 1.01 u |beta| + 2^-149 + D s e, e the error of the
   float64 b + <w, c> (from ``structured_products``). The last sum, y + beta, has the right sign
   for what is added, as every floating-point sum, and a size within a factor 1 + u.

So s <w, x> + s b is decided where the computed sum is beyond

    slack = 1.0001 ((1.01 L + 1.02) u D^(r/2) r_x + D^(r/2) 2^-149 sqrt(d) + floor),

r_x = |x^|_2 of the point and floor the largest of part 3 in the block. At D = 1,024, r = 3 that
leaves 1 bit in 20,000 open. Where D^(r/2) r_x + |beta| >= 2^120, anything may overflow and all is
doubtful.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmem.kernels.arrays import aligned_zeros
from fastmem.kernels.bits import trailing_zeros
from fastmem.kernels.butterflies import (
    LANES,
    STAGES,
    butterflies,
    butterfly_signs,
    double_butterflies,
    transpose,
)
from fastmem.kernels.compiling import njit
from fastmem.kernels.exact import UNIT32, UNIT64, exact_sign
from fastmem.kernels.layout import TILE, WORD_BITS
from fastmem.kernels.queue import take
from fastmem.kernels.signs import row_number

HALF = 1 << STAGES
PITCH = HALF + 1
"""Rows from one group of 32 to the next: one more, or rows 32 apart would share a cache set."""
_ALL = np.uint32(0xFFFFFFFF)
_NO_BITS = np.uint64(0)
_ONE = np.uint64(1)


@njit(nogil=True, cache=True)
def _zeros(rows):
    """Float32 zeros, rows x LANES of them: a row is one cache line."""
    return aligned_zeros(rows * LANES, np.float32)


@njit(nogil=True, cache=True)
def passes_of(stages):
    """(first stage, stages) of each pass over the rows: the lowest five, the others evenly."""
    n_passes = (stages - 1) // STAGES + 1
    passes = np.empty((n_passes, 2), np.int64)
    passes[0, 0], passes[0, 1] = 0, STAGES
    first = STAGES
    for i in range(1, n_passes):
        passes[i, 0] = first
        passes[i, 1] = (stages - first + n_passes - i - 1) // (n_passes - i)
        first += passes[i, 1]
    return passes


@njit(nogil=True, cache=True)
def _one_pass(first, stages, rows, source, flips, flips_at, flips_step, target, is_double):
    """Butterflies of the stages first..first+stages-1 over all ``rows`` rows."""
    if first == 0:
        for half in range(rows // HALF):
            at = half * PITCH
            place = flips_at + flips_step * half * HALF
            if is_double:
                double_butterflies(stages, target, at, 1, flips, place, flips_step)
            else:
                butterflies(stages, source, at, 1, flips, place, flips_step, target, at)
        return
    stride = 1 << first
    step = stride // HALF * PITCH
    for high in range(0, rows, stride << stages):
        for row in range(high, high + stride):
            at = row + row // HALF
            place = flips_at + flips_step * row
            flips_stride = flips_step * stride
            if is_double:
                double_butterflies(stages, target, at, step, flips, place, flips_stride)
            else:
                butterflies(stages, source, at, step, flips, place, flips_stride, target, at)


@njit(nogil=True, cache=True)
def transform(scaled, flips, block, passes, no_flips, rows_of):
    """H S_r ... H S_1 of the points, but for the last transform's pass over the lowest stages.

    The end of one transform and the start of the next are done in one pass over memory: a
    transform goes through the passes up or down, whichever lets the last one end with the lowest.
    """
    rounds, rows = flips.shape[1], flips.shape[2]
    words = flips.reshape(-1)
    last = passes.shape[0] - 1
    base = block * rounds * rows
    downwards = rounds % 2 == 1
    i = last if downwards else 0
    _one_pass(passes[i, 0], passes[i, 1], rows, scaled, words, base, 1, rows_of, False)
    for t in range(rounds):
        for j in range(1, last):
            i = last - j if downwards else j
            _one_pass(passes[i, 0], passes[i, 1], rows, rows_of, no_flips, 0, 0, rows_of, False)
        i = 0 if downwards else last
        if t < rounds - 1:
            base += rows
            _one_pass(passes[i, 0], passes[i, 1], rows, rows_of, words, base, 1, rows_of, True)
        downwards = not downwards


@njit(nogil=True, cache=True)
def _transform_row(row, rows, square, no_flips):
    """row[:D] <- H row[:D], D = rows: as D / LANES rows of LANES, and transposed for the rest.

    row (D,) float32, with zeros after it up to LANES^2.
    """
    count = rows // LANES
    for i in range(0, count, LANES):
        transpose(row, i * LANES, LANES, square, 0)
        butterflies(4, square, 0, 1, no_flips, 0, 0, square, 0)
        transpose(square, 0, LANES, row, i)
    stride = 1
    while stride < count:
        stages = 0
        while stages < STAGES and stride << (stages + 1) <= count:
            stages += 1
        for high in range(0, count, stride << stages):
            for i in range(high, high + stride):
                butterflies(stages, row, i, stride, no_flips, 0, 0, row, i)
        stride <<= stages


@njit(nogil=True, cache=True)
def _integer_row(flips, block, number, row, square, no_flips):
    """row[:D] = D times row ``number`` of a block: S_1 H S_2 ... H S_r H e, all sums exact."""
    rounds, rows = flips.shape[1], flips.shape[2]
    bits = row.view(np.uint32)
    row[0] = np.float32(1.0)
    size = 1
    while size < rows:
        sign = np.float32(-1.0) if number & size else np.float32(1.0)
        for j in range(size):
            row[size + j] = sign * row[j]
        size *= 2
    for j in range(rows, row.shape[0]):
        row[j] = np.float32(0.0)
    for t in range(rounds - 1, 0, -1):
        for j in range(rows):
            bits[j] ^= flips[block, t, j]
        _transform_row(row, rows, square, no_flips)
    for j in range(rows):
        bits[j] ^= flips[block, 0, j]


@njit(nogil=True, cache=True)
def structured_rows(flips, numbers, weights):
    """Fill weights[i] with row ``numbers[i]`` of the blocks: row number % D of block number // D.

    flips (n_blocks, rounds, D) uint32, 2^31 where a sign is changed, else 0; numbers (n,) int64;
    weights (n, d) float32.
    """
    rows = flips.shape[2]
    row = _zeros(max(rows, LANES * LANES) // LANES)
    square = _zeros(LANES)
    no_flips = np.zeros(1, np.uint32)
    share = np.float32(1.0 / rows)
    for i in range(numbers.shape[0]):
        _integer_row(flips, numbers[i] // rows, numbers[i] % rows, row, square, no_flips)
        for k in range(weights.shape[1]):
            weights[i, k] = share * row[k]


@njit(nogil=True, cache=True)
def structured_norms(flips, numbers, d, norms):
    """norms[i] = 2-norm of the row that ``structured_rows`` gives for numbers[i]; (n,) float64."""
    rows = flips.shape[2]
    row = _zeros(max(rows, LANES * LANES) // LANES)
    square = _zeros(LANES)
    no_flips = np.zeros(1, np.uint32)
    for i in range(numbers.shape[0]):
        _integer_row(flips, numbers[i] // rows, numbers[i] % rows, row, square, no_flips)
        squares = np.int64(0)  # at most D^3 <= 2^48
        for k in range(d):
            entry = np.int64(row[k])
            squares += entry * entry
        norms[i] = math.sqrt(np.float64(squares)) / rows


@njit(nogil=True, cache=True)
def structured_products(flips, point, high, low):
    """Fill high + low ~ <w, point> for all rows w; returns a bound on the error of each.

    flips as in ``structured_rows``, point (d,) float64, high and low (n_blocks, D) float64. A
    transform in which each rounding error (Knuth's TwoSum) is kept and transformed along with the
    values. The values' L stages add errors of 2-norm u |v|_2 each to ``low``, which grows to
    1.01 L u |v|_2; only its own roundings, two a stage, are lost: 1.1 u^2 L (L + 1) |v|_2 in all.
    """
    n_blocks, rounds, rows = flips.shape
    d = point.shape[0]
    squares = 0.0
    largest = 0.0
    for k in range(d):
        largest = max(largest, abs(point[k]))
    if largest > 0.0:
        for k in range(d):
            squares += (point[k] / largest) ** 2
    for block in range(n_blocks):
        for j in range(rows):
            value = point[j] / rows if j < d else 0.0
            high[block, j] = -value if flips[block, 0, j] else value
            low[block, j] = 0.0
        for t in range(rounds):
            if t:
                for j in range(rows):
                    if flips[block, t, j]:
                        high[block, j] = -high[block, j]
                        low[block, j] = -low[block, j]
            stride = 1
            while stride < rows:
                for start in range(0, rows, 2 * stride):
                    for i in range(start, start + stride):
                        a, b = high[block, i], high[block, i + stride]
                        low_a, low_b = low[block, i], low[block, i + stride]
                        total = a + b
                        back = total - a
                        high[block, i] = total
                        low[block, i] = (low_a + low_b) + ((a - (total - back)) + (b - back))
                        total = a - b
                        back = total - a
                        high[block, i + stride] = total
                        low[block, i + stride] = (low_a - low_b) + (
                            (a - (total - back)) - (b + back)
                        )
                stride *= 2
    stages = rounds * math.log2(rows)
    size = math.sqrt(squares) * largest / rows * rows ** (0.5 * rounds)
    return 2.0 * stages * stages * UNIT64 * UNIT64 * size + 1e-290


@njit(nogil=True, cache=True)
def _load_points(tasks, start, count, blocks, room):
    """Rows of ``scaled`` = float32(scale (x - origin)), a lane a point; radii = their 2-norms."""
    d = tasks.points.shape[1]
    scale, origin = blocks.scale, blocks.origin
    by_point, scaled, radii = room.by_point, room.scaled, room.radii
    pitch = by_point.shape[0] // LANES
    for lane in range(LANES):
        # slices, or LLVM leaves the loop scalar
        values = by_point[lane * pitch : lane * pitch + d]
        if lane < count:
            point = tasks.points[row_number(tasks.rows, start + lane)]
            for k in range(d):
                values[k] = np.float32(scale * (np.float64(point[k]) - origin[k]))
        else:
            values[:] = np.float32(0.0)
    for lane in range(LANES):
        radii[lane] = 0.0
    for k in range(0, pitch, LANES):
        at = k + k // HALF
        transpose(by_point, k, pitch, scaled, at)
        for j in range(LANES):
            for lane in range(LANES):
                value = np.float64(scaled[(at + j) * LANES + lane])
                radii[lane] += value * value
    for lane in range(LANES):
        radii[lane] = math.sqrt(radii[lane]) * (1.0 + 1e-9)


@njit(nogil=True, cache=True)
def _slacks(radii, floor, largest, stages, stretch, d, slacks, limits):
    """Bounds on the errors of the sums of 16 points, and as ``butterfly_signs`` takes them."""
    bits = slacks.view(np.uint32)
    relative = (1.01 * stages + 1.02) * UNIT32
    for lane in range(LANES):
        size = stretch * radii[lane]
        bound = relative * size + stretch * 2.0**-149 * math.sqrt(d) + floor
        if size + largest < 1.3e36:
            slacks[lane] = np.float32(1.0001 * bound)
            limits[lane] = bits[lane] << np.uint32(1)
        else:
            slacks[lane] = np.float32(np.inf)
            limits[lane] = _ALL


class Transforms(NamedTuple):
    """Blocks of D rows, and which of them are hyperplanes, as `structured_words` takes them.

    flips (n_blocks, rounds, D) uint32 as in `structured_rows`. planes (n_blocks, D) int32: the
    number, in biases, shifted and errors (n,) float64, of the hyperplane of each row, or -1 for a
    row that is not used. For each 64 rows, (n_blocks, D / 64): valid uint64, bits of the rows used,
    and targets int64, the word of the patterns they fill, or -1 if none is used. sums (n_blocks, D)
    float32: beta of the docstring above, 0 for rows that are not used; floors and largest
    (n_blocks,) float64: part 3 of the bound, and the largest |beta|. origin (d,) float64 and scale:
    c and s.
    """

    flips: np.ndarray
    sums: np.ndarray
    floors: np.ndarray
    largest: np.ndarray
    planes: np.ndarray
    valid: np.ndarray
    targets: np.ndarray
    biases: np.ndarray
    origin: np.ndarray
    shifted: np.ndarray
    errors: np.ndarray
    scale: float


class _Room(NamedTuple):
    """Room to work in: 16 points, and what is computed of them for one block."""

    by_point: np.ndarray
    scaled: np.ndarray
    rows_of: np.ndarray
    doubted: np.ndarray
    row: np.ndarray
    square: np.ndarray
    weights: np.ndarray
    radii: np.ndarray
    slacks: np.ndarray
    limits: np.ndarray
    words: np.ndarray
    no_flips: np.ndarray


@njit(nogil=True, cache=True)
def _new_room(rows, d):
    return _Room(
        _zeros((d + LANES - 1) // LANES * LANES),
        _zeros(rows // HALF * PITCH),
        _zeros(rows // HALF * PITCH),
        _zeros(WORD_BITS),
        _zeros(max(rows, LANES * LANES) // LANES),
        _zeros(LANES),
        np.empty(d, np.float32),
        np.empty(LANES, np.float64),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint64),
        np.zeros(1, np.uint32),
    )


@njit(nogil=True, cache=True)
def _decided(blocks, block, word, lane, point, room):
    """The word of one point, bit by bit where it is in doubt; and how many bits were."""
    rows, d = blocks.flips.shape[2], point.shape[0]
    share = np.float32(1.0 / rows)
    bits = room.words[lane]
    doubts = 0
    for h in range(WORD_BITS):
        number = word * WORD_BITS + h
        plane = blocks.planes[block, number]
        total = room.doubted[h * LANES + lane] + blocks.sums[block, number]
        if plane < 0 or abs(total) > room.slacks[lane]:
            positive = total > np.float32(0.0)
        else:
            doubts += 1
            _integer_row(blocks.flips, block, number, room.row, room.square, room.no_flips)
            for k in range(d):
                room.weights[k] = share * room.row[k]
            positive = exact_sign(
                room.weights, point, blocks.biases[plane], blocks.origin, blocks.shifted[plane],
                blocks.errors[plane],
            )  # fmt: skip
        bit = _ONE << np.uint64(h)
        bits = bits | bit if positive else bits & ~bit
    return bits, doubts


@njit(nogil=True, cache=True, inline="always")
def _fill_lanes(tasks, start, count, place, blocks, passes, room):
    """Write words of the patterns of at most 16 points, which lie in one tile."""
    d = tasks.points.shape[1]
    n_blocks, rounds, rows = blocks.flips.shape
    stages = rounds * np.int64(round(math.log2(rows)))
    stretch = float(rows) ** (0.5 * rounds)
    tile = place // TILE
    column = place - tile * TILE
    doubts = 0
    _load_points(tasks, start, count, blocks, room)
    for block in range(n_blocks):
        _slacks(
            room.radii, blocks.floors[block], blocks.largest[block], stages, stretch, d,
            room.slacks, room.limits,
        )  # fmt: skip
        transform(room.scaled, blocks.flips, block, passes, room.no_flips, room.rows_of)
        for word in range(rows // WORD_BITS):
            target = blocks.targets[block, word]
            if target < 0:
                continue
            at = 2 * word * PITCH
            doubtful = np.uint64(
                butterfly_signs(
                    room.rows_of, at, blocks.sums, block * rows + word * WORD_BITS, room.limits,
                    room.words,
                )
            )  # fmt: skip
            if doubtful != _NO_BITS:
                for half in range(2):
                    butterflies(
                        STAGES, room.rows_of, at + half * PITCH, 1, room.no_flips, 0, 0,
                        room.doubted, half * HALF,
                    )  # fmt: skip
            while doubtful != _NO_BITS:
                lane = trailing_zeros(doubtful)
                doubtful &= doubtful - _ONE
                if lane >= count:
                    break
                point = tasks.points[row_number(tasks.rows, start + lane)]
                room.words[lane], more = _decided(blocks, block, word, lane, point, room)
                doubts += more
            mask = blocks.valid[block, word]
            for lane in range(count):
                tasks.tiles[tile, target, column + lane] = room.words[lane] & mask
    return doubts


@njit(nogil=True, cache=True)
def structured_words(queue, stop, tasks, blocks):
    """Fill words of the patterns of dense points by transforms: a worker, see ``kernels.queue``.

    tasks `RowTasks`, blocks a `Transforms`. ``python -m bench.bars structured`` sets it beside the
    sgemm that Gaussian rows need. Most of the time goes to the transforms, little to loading points
    and to doubtful bits.
    """
    rows = blocks.flips.shape[2]
    room = _new_room(rows, tasks.points.shape[1])
    passes = passes_of(np.int64(round(math.log2(rows))))
    while True:
        task = take(queue)
        if task >= stop:
            return
        start, end, place = tasks.tasks[task]
        doubts = 0
        while start < end:
            count = min(LANES, end - start, TILE - place % TILE)
            doubts += _fill_lanes(tasks, start, count, place, blocks, passes, room)
            start += count
            place += count
        tasks.doubts[task] = doubts


@njit(nogil=True, cache=True)
def collect_bits(source, source_bits, bits, tiles, position, count, clear, first_word, last_word):
    """Bit bits[j] of the patterns in ``tiles`` = bit source_bits[j] of those in ``source``.

    source (n, words, TILE) and tiles (n_tiles, n_words, TILE) uint64; source_bits and bits (m,)
    int64, bit h being bit h % 64 of word h // 64. ``count`` patterns, from position % TILE of
    ``source`` and position of ``tiles`` on. With ``clear`` the words first_word..last_word-1 of
    these patterns are set to zero before; what is written must be zero.
    """
    done = 0
    while done < count:
        tile = (position + done) // TILE
        at = (position % TILE + done) // TILE
        column = position + done - tile * TILE
        end = min(TILE, column + count - done)
        if clear:
            for word in range(first_word, last_word):
                for i in range(column, end):
                    tiles[tile, word, i] = _NO_BITS
        for j in range(bits.shape[0]):
            word, place = bits[j] // WORD_BITS, np.uint64(bits[j] % WORD_BITS)
            origin, shift = source_bits[j] // WORD_BITS, np.uint64(source_bits[j] % WORD_BITS)
            for i in range(column, end):
                tiles[tile, word, i] |= ((source[at, origin, i] >> shift) & _ONE) << place
        done += end - column
