"""The whole algorithm in plain dense NumPy and exact fractions: what every kernel is compared with.

Written from the paper and the README alone: it imports nothing from fastmem, keeps one row a point
and one column a hyperplane, and prefers clarity to speed. Bits are boolean arrays. "Covered" points
are X-, "others" are X+; the count of a mask u and a pattern q is |u AND q|, and a neuron (u, m) is
on for a point of pattern q where its count is below its threshold m.

Sources: Dirksen, Finke and Genzel, *Memorization With Neural Nets: Going Beyond the Worst Case*,
arXiv 2310.00327, Algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]
Floats = NDArray[np.floating[Any]]
Block = tuple[Bits, Integers]
Selection = Callable[[Bits, Bits, Sequence[int]], tuple[Bits, Integers, Integers]]

WORD = 64


# --- the first layer -------------------------------------------------------------------------


def exact_bits(X: Floats, weights: Floats, biases: Floats) -> Bits:
    """Sign patterns by the definition: 1 iff <w, x> + b > 0 in exact rational arithmetic.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (N, d)
        Points, finite.
    weights : ndarray of float32 or float64, shape (n, d)
        Hyperplanes' normals, finite.
    biases : ndarray of float64, shape (n,)
        Biases, finite.

    Returns
    -------
    ndarray of bool, shape (N, n)
    """
    bits = np.zeros((len(X), len(weights)), bool)
    for i in range(len(X)):
        for k in range(len(weights)):
            bits[i, k] = _exactly_positive(X[i], weights[k], biases[k])
    return bits


def exact_bits_filtered(X: Floats, weights: Floats, biases: Floats) -> Bits:
    """Sign patterns as `exact_bits`, with fractions only where a float64 value leaves a doubt.

    In whatever order the d products and the bias are added, with or without fused operations,
    the computed z errs by at most g * A, where A = sum |w_j| |x_j| + |b|, g = c / (1 - c) and
    c = (d + 1) / 2**53, plus half the smallest subnormal number for each product that underflows.
    The computed A is at least (1 - g) * A less such an underflow. Twice (d + 2) / 2**53 times the
    computed A therefore bounds the first part for every d below 2**50, and d + 2 smallest normal
    numbers the rest. An overflow makes the comparison false, hence a doubt.
    """
    x, w, b = (np.asarray(a, dtype=np.float64) for a in (X, weights, biases))
    d = x.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        z = x @ w.T + b
        magnitude = np.abs(x) @ np.abs(w).T + np.abs(b)
        bound = 2 * (d + 2) * 2.0**-53 * magnitude + (d + 2) * np.finfo(np.float64).tiny
        certain = np.abs(z) > bound
    bits = z > 0
    for i, k in np.argwhere(~certain | ~np.isfinite(z)):
        bits[i, k] = _exactly_positive(X[i], weights[k], biases[k])
    return bits


def _exactly_positive(x: Floats, w: Floats, b: Any) -> bool:
    """Whether <w, x> + b > 0; a float is a fraction, so nothing is rounded."""
    total = Fraction(float(b))
    for x_j, w_j in zip(x, w, strict=True):
        total += Fraction(float(w_j)) * Fraction(float(x_j))
    return total > 0


def pack(bits: Bits) -> Words:
    """Pack (N, n) bits into (N, ceil(n/64)) words: bit k of word j is hyperplane 64 j + k."""
    n_samples, n = bits.shape
    words = np.zeros((n_samples, -(-n // WORD)), np.uint64)
    for k in range(n):
        words[:, k // WORD] |= bits[:, k].astype(np.uint64) << np.uint64(k % WORD)
    return words


def unpack(words: Words, n: int) -> Bits:
    """Take the first n bits of each row of `pack`'s words: shape (N, n)."""
    bits = np.zeros((len(words), n), bool)
    for k in range(n):
        bits[:, k] = (words[:, k // WORD] >> np.uint64(k % WORD)) & np.uint64(1)
    return bits


# --- counts ----------------------------------------------------------------------------------


def counts(masks: Bits, patterns: Bits) -> Integers:
    """Count |u AND q| for each of (B, n) masks and each of (N, n) patterns: shape (B, N)."""
    result: Integers = masks.astype(np.int64) @ patterns.astype(np.int64).T
    return result


def minima(masks: Bits, others: Bits) -> Integers:
    """Take m, the smallest count of each of (B, n) masks over at least one other: shape (B,)."""
    if len(others) == 0:
        raise ValueError("others is empty: the minimum over no point has no value.")
    result: Integers = counts(masks, others).min(axis=1)
    return result


def coverage(masks: Bits, thresholds: Integers, patterns: Bits) -> Bits:
    """Say which of N patterns each of B neurons is on for, count < threshold: shape (B, N)."""
    result: Bits = counts(masks, patterns) < np.asarray(thresholds)[:, None]
    return result


def separated(covered: Bits, others: Bits) -> Bits:
    """Say which pairs (x-, x+) some hyperplane separates: 0 at x-, 1 at x+ (Algorithm 1)."""
    result: Bits = np.any(~covered[:, None, :] & others[None, :, :], axis=2)
    return result


def uncoverable(covered: Bits, others: Bits) -> Integers:
    """Find the covered points with m = 0: some other pattern is <= theirs coordinatewise."""
    below = np.all(others[None, :, :] <= covered[:, None, :], axis=2)
    return np.flatnonzero(np.any(below, axis=1)).astype(np.int64)


# --- the second layer ------------------------------------------------------------------------


def cover_random(
    covered: Bits, others: Bits, order: Sequence[int], margin: float = 0.0
) -> tuple[Bits, Integers, Integers]:
    """Select neurons as the paper does (Algorithm 2, lines 2 to 11), walking along a permutation.

    Parameters
    ----------
    covered, others : ndarray of bool, shapes (C, n) and (P, n)
        Sign patterns of X- and of X+, P at least 1.
    order : sequence of int
        A permutation of range(C). Points that an earlier neuron covers are skipped, which has
        the same law as drawing again and again from the points not yet covered.
    margin : float
        A neuron of threshold m covers points with count < m and count <= (1 - margin) m.

    Returns
    -------
    masks : ndarray of bool, shape (m, n)
        Neurons in the order of selection; each is 1 - the pattern of a covered point.
    thresholds : ndarray of int64, shape (m,)
    failed : ndarray of int64
        Covered points with m = 0, ascending.
    """
    is_open = np.ones(len(covered), bool)
    neurons: list[tuple[Bits, int]] = []
    failed: list[int] = []
    for candidate in order:
        if not is_open[candidate]:
            continue
        mask = ~covered[candidate]
        threshold = int(minima(mask[None], others)[0])
        if threshold == 0:
            is_open[candidate] = False
            failed.append(int(candidate))
            continue
        neurons.append((mask, threshold))
        is_open &= ~_covers(mask, threshold, covered, margin)
    return (*_stack(neurons, covered.shape[1]), np.array(sorted(failed), np.int64))


def cover_merge(
    covered: Bits,
    others: Bits,
    order: Sequence[int],
    margin: float = 0.0,
    misses: int = 64,
    pool: int = 1 << 15,
    at_once: Callable[[int, list[int]], int] = lambda n_open, gained: 1,
) -> tuple[Bits, Integers, Integers]:
    """Select merged cells: each neuron's mask is the AND of the masks of a set S of points.

    A cell is grown from each next open point along `order` (those with m = 0 fail). A point is open
    while no neuron covers it and it has not failed. While more than `pool` points are open, only
    a pool of them joins: the first `pool` along `order`, chosen anew whenever at most half of them
    are open. With `n_open` open points and neurons that were the first to cover `gained` points,
    `at_once(n_open, gained)` cells are grown before any of them becomes a neuron; then they do so
    in order, but for those whose first point is covered by then.

    Parameters and return values are those of `cover_random`.
    """
    is_open = np.ones(len(covered), bool)
    failed: list[int] = []
    neurons: list[tuple[Bits, int]] = []
    gained: list[int] = []
    pooled = np.zeros_like(is_open)
    while is_open.any():
        waiting = [int(i) for i in order if is_open[i]]
        if is_open.sum() > pool and 2 * (pooled & is_open).sum() <= pool:
            pooled[:] = False
            pooled[waiting[:pool]] = True
        near = is_open.copy() if is_open.sum() <= pool else pooled & is_open
        for start in waiting[: at_once(int(is_open.sum()), gained)]:
            if minima(~covered[[start]], others)[0] == 0:
                failed.append(start)
                is_open[start] = False
            elif is_open[start]:
                mask, threshold = _grow_cell(start, covered, others, near, margin, misses)
                neurons.append((mask, threshold))
                on = is_open & _covers(mask, threshold, covered, margin)
                gained.append(int(on.sum()))
                is_open &= ~on
    return (*_stack(neurons, covered.shape[1]), np.array(sorted(failed), np.int64))


def _grow_cell(
    start: int, covered: Bits, others: Bits, is_open: Bits, margin: float, misses: int
) -> tuple[Bits, int]:
    """Grow S from one coverable point; return the last u_S and m_S.

    Again and again the open point of smallest count among those with count at least 1 (the lowest
    index of several) joins S if m_S stays at least 1 and at least `margin` times the first point's
    m, and is set aside if not, until more than `misses` points are aside or none is left.
    """
    mask = ~covered[start]
    threshold = int(minima(mask[None], others)[0])
    level = max(1, int(np.ceil(margin * threshold)))
    may_join = is_open.copy()
    while True:
        outside = np.where(may_join, counts(mask[None], covered)[0], 0)
        if not outside.any():
            return mask, threshold
        joins = int(np.argmin(np.where(outside > 0, outside, np.iinfo(np.int64).max)))
        merged = mask & ~covered[joins]
        least = int(minima(merged[None], others)[0])
        if least >= level:
            mask, threshold = merged, least
            continue
        may_join[joins] = False
        if (is_open & ~may_join).sum() > misses:
            return mask, threshold


def _covers(mask: Bits, threshold: int, patterns: Bits, margin: float) -> Bits:
    """Say which patterns one neuron covers: shape (N,)."""
    count = counts(mask[None], patterns)[0]
    result: Bits = (count < threshold) & (count <= int((1 - margin) * threshold))
    return result


def _stack(neurons: list[tuple[Bits, int]], n: int) -> Block:
    """Make arrays of a list of neurons, shaped (0, n) and (0,) where there is none."""
    masks = np.array([mask for mask, _ in neurons], bool).reshape(len(neurons), n)
    return masks, np.array([threshold for _, threshold in neurons], np.int64)


# --- ReLU activations ------------------------------------------------------------------------


def relu_values(X: Floats, weights: Floats, biases: Floats) -> NDArray[np.object_]:
    """Take max(<w, x> + b, 0) for each point and hyperplane as fractions: shape (N, n)."""
    values = np.empty((len(X), len(weights)), object)
    for i in range(len(X)):
        for k in range(len(weights)):
            total = Fraction(float(biases[k]))
            for x_j, w_j in zip(X[i], weights[k], strict=True):
                total += Fraction(float(w_j)) * Fraction(float(x_j))
            values[i, k] = max(total, Fraction(0))
    return values


def relu_sums(masks: Bits, values: NDArray[np.object_]) -> NDArray[np.object_]:
    """Add up <u, max(Wx + b, 0)> for each of (B, n) masks and (N, n) values: shape (B, N)."""
    sums = np.empty((len(masks), len(values)), object)
    for b in range(len(masks)):
        for i in range(len(values)):
            sums[b, i] = sum(values[i][masks[b]], Fraction(0))
    return sums


def round_down(total: Fraction) -> float:
    """Round a fraction down to 24 significant bits, and what is below 2^-1050 to 0."""
    if total < Fraction(2) ** -1050:
        return 0.0
    exponent = 0
    while total >= Fraction(2) ** (exponent + 24):
        exponent += 1
    while total < Fraction(2) ** (exponent + 23):
        exponent -= 1
    return float(int(total / Fraction(2) ** exponent) * Fraction(2) ** exponent)


def cover_random_relu(
    covered: NDArray[np.object_],
    others: NDArray[np.object_],
    order: Sequence[int],
    margin: float = 0.0,
) -> tuple[Bits, NDArray[np.float64], Integers]:
    """Select neurons as `cover_random` does, by the values (C, n) and (P, n) of `relu_values`.

    A neuron's threshold is the least sum over the others, rounded down; it covers the points with
    a sum below its share 1 - `margin`, and those with sum 0.
    """
    is_open = np.ones(len(covered), bool)
    neurons: list[tuple[Bits, float]] = []
    failed: list[int] = []
    for candidate in order:
        if not is_open[candidate]:
            continue
        mask = np.array([value == 0 for value in covered[candidate]])
        least = min(relu_sums(mask[None], others)[0])
        if least == 0:
            is_open[candidate] = False
            failed.append(int(candidate))
            continue
        threshold = round_down(least)
        limit = Fraction((1.0 - margin) * threshold)
        sums = relu_sums(mask[None], covered)[0]
        neurons.append((mask, threshold))
        is_open &= np.array([not (total < limit or total == 0) for total in sums])
    n = covered.shape[1]
    masks = np.array([mask for mask, _ in neurons], bool).reshape(len(neurons), n)
    return masks, np.array([t for _, t in neurons]), np.array(sorted(failed), np.int64)


# --- the network -----------------------------------------------------------------------------


def memorise(
    patterns: Bits,
    codes: Integers,
    orders: Mapping[int, Sequence[int]],
    select: Selection = cover_random,
) -> tuple[dict[int, Block], Integers]:
    """Build one block for each class in `orders`, each against the points of all other classes.

    Parameters
    ----------
    patterns : ndarray of bool, shape (N, n)
    codes : ndarray of int, shape (N,)
        Class codes 0 to K - 1.
    orders : mapping of class code to permutation
        The order along which the class's points, in their order in `patterns`, are walked.
    select : `cover_random` or `cover_merge`

    Returns
    -------
    blocks : dict of class code to (masks, thresholds)
    unseparated : ndarray of int64
        Rows of `patterns` that could not be covered, ascending.
    """
    blocks: dict[int, Block] = {}
    unseparated: list[int] = []
    for code, order in orders.items():
        rows = np.flatnonzero(codes == code)
        masks, thresholds, failed = select(patterns[rows], patterns[codes != code], order)
        blocks[code] = (masks, thresholds)
        unseparated.extend(rows[failed])
    return blocks, np.array(sorted(unseparated), np.int64)


def decide(
    patterns: Bits, blocks: Mapping[int, Block], n_classes: int
) -> tuple[NDArray[np.float64], Integers]:
    """Score patterns by their margins and name the class of the largest.

    A class with a block scores the maximum over its neurons of m - |u AND q|, minus infinity if
    it has no neuron: at least 1 where a neuron is on, at most 0 where none is. A class without a
    block scores 0.5, between the two.

    Parameters
    ----------
    patterns : ndarray of bool, shape (N, n)
    blocks : mapping of class code to (masks, thresholds)
        The covered classes' blocks; for two classes one or both.
    n_classes : int
        K, at least 2.

    Returns
    -------
    scores : ndarray of float64, shape (N, K), or (N,) for two classes
        For two classes the score of class 1 less that of class 0; 0 where both are minus
        infinity.
    predicted : ndarray of int64, shape (N,)
        The class of largest score, the lowest of several; for two classes 1 iff the score > 0.
    """
    by_class = np.full((len(patterns), n_classes), 0.5)
    for code, (masks, thresholds) in blocks.items():
        margins = np.asarray(thresholds)[:, None] - counts(masks, patterns).astype(np.float64)
        by_class[:, code] = margins.max(axis=0, initial=-np.inf)
    if n_classes > 2:
        return by_class, by_class.argmax(axis=1).astype(np.int64)
    first, second = by_class.T
    scores = np.zeros(len(patterns))
    # Infinity less infinity is no number: where they are equal, the score is 0 anyway.
    np.subtract(second, first, out=scores, where=first != second)
    return scores, (scores > 0).astype(np.int64)


def first_block_on(patterns: Bits, blocks: Mapping[int, Block], left_out: int) -> Integers:
    """Decide as the paper does: the class whose block has a neuron on, `left_out` if none is."""
    predicted = np.full(len(patterns), left_out, np.int64)
    for code in sorted(blocks, reverse=True):
        predicted[coverage(*blocks[code], patterns).any(axis=0)] = code
    return predicted


# --- votes of cosine features ------------------------------------------------------------------

GRID_LIMIT = 2**30
GOLDEN = 0x9E3779B9


def grid_points(X: Floats, exponent: int, offsets: Floats, multiplier: int = 1) -> Integers:
    """Round each float64 2^e x - o to the nearest whole number, cut off, and multiply: (N, d)."""
    with np.errstate(over="ignore"):
        values = np.ldexp(np.asarray(X, np.float64), exponent) - offsets
    return np.rint(np.clip(values, -GRID_LIMIT, GRID_LIMIT)).astype(np.int64) * multiplier


def split_mix(key: int, i: int) -> int:
    """Output i of SplitMix64 (Steele, Lea and Flood, 2014), from 0, with the seed ``key``."""
    mask = 2**64 - 1
    z = (key + (i + 1) * 0x9E3779B97F4A7C15) & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31


def wave_rows(key: int, d: int, n: int, rounds: int = 3) -> Integers:
    """n rows of blocks H S_r ... H S_1 with the signs of a key: (n, d) whole numbers."""
    size = max(64, 1 << (d - 1).bit_length())
    hadamard = np.array([[1]], np.int64)
    while len(hadamard) < size:
        hadamard = np.kron([[1, 1], [1, -1]], hadamard)
    blocks = []
    for block in range(-(-n // size)):
        matrix = np.eye(size, dtype=np.int64)
        for r in range(rounds):
            words = (block * rounds + r) * size // 64 + np.arange(size) // 64
            bits = [split_mix(key, int(w)) >> j % 64 & 1 for j, w in enumerate(words)]
            matrix = hadamard @ ((1 - 2 * np.array(bits, np.int64))[:, None] * matrix)
        blocks.append(matrix[:, :d])
    return np.concatenate(blocks)[:n]


def cosine_features(grid: Integers, rows: Integers) -> Integers:
    """Features of points on the grid, (N, n): angles modulo 2^32, then a parabola a half turn."""
    phases = (np.arange(1, len(rows) + 1) * GOLDEN) % 2**32
    angles = (grid @ rows.T + phases) % 2**32 // 2**24
    r = angles % 128
    sizes = (2 * r + 1) * (255 - 2 * r) // 128
    result: Integers = np.where(angles < 128, sizes, -sizes)
    return result


def votes_with_gains(votes: Integers, on: Bits, owners: Integers, gains: Integers) -> Integers:
    """Add gains[j] to the votes of owners[j] where neuron j is on; on (m, N), votes (N, K)."""
    votes = votes.copy()
    for j, owner in enumerate(owners):
        votes[on[j], owner] += gains[j]
    return votes


def ridge(features: Floats, targets: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Coefficients (n, T) and intercepts (T,) of a ridge regression."""
    mean, level = features.mean(axis=0), targets.mean(axis=0)
    centred = features - mean
    matrix = centred.T @ centred + penalty * np.eye(features.shape[1])
    coefficients = np.linalg.solve(matrix, centred.T @ (targets - level))
    return coefficients, level - mean @ coefficients


def coincidences(bits: Bits, masks: Bits) -> Floats:
    """|q and u|^2 / (|q or u| min(|q|, |u|)) of q = 1 - bits (N, n) and masks (m, n); (N, m)."""
    zeros = ~bits[:, None]
    both = (zeros & masks).sum(axis=2)
    either = (zeros | masks).sum(axis=2)
    smaller = np.minimum(zeros.sum(axis=2), masks.sum(axis=1))
    below = either * smaller
    shares: Floats = np.where(below > 0, both * both / np.maximum(below, 1), 0.0)
    return shares


# --- shapes ----------------------------------------------------------------------------------


def hamming(rows: Words, other: Words) -> Integers:
    """Bits in which each row (N, n_words) differs from other (n_words,)."""
    return np.bitwise_count(rows ^ other).sum(axis=1, dtype=np.int64)


def betti(simplices: Sequence[Sequence[tuple[int, ...]]]) -> list[int]:
    """Betti numbers over two elements of a complex, by dense elimination of its boundaries.

    simplices[k] are those of k + 1 vertices, ascending; one number fewer than there are lists.
    """
    ranks = [0]
    for lower, upper in pairwise(simplices):
        matrix = np.array(
            [[set(face) < set(simplex) for simplex in upper] for face in lower], bool
        ).reshape(len(lower), len(upper))
        rank = 0
        for column in range(len(upper)):
            ones = np.flatnonzero(matrix[rank:, column]) + rank
            if len(ones):
                matrix[[rank, ones[0]]] = matrix[[ones[0], rank]]
                for row in ones[1:]:
                    matrix[row] ^= matrix[rank]
                rank += 1
        ranks.append(rank)
    return [len(simplices[k]) - ranks[k] - ranks[k + 1] for k in range(len(simplices) - 1)]


def have_common_point(
    half_planes: Sequence[tuple[Fraction, Fraction, Fraction]], half_width: Fraction
) -> bool:
    """Whether a x + b y + c <= 0, for all (a, b, c), has a solution in a square about 0.

    The square is clipped by one half-plane after the other, in fractions.
    """
    w = half_width
    corners = [(-w, -w), (w, -w), (w, w), (-w, w)]
    for a, b, c in half_planes:
        values = [a * x + b * y + c for x, y in corners]
        kept = []
        for i, (x, y) in enumerate(corners):
            j = (i + 1) % len(corners)
            if values[i] <= 0:
                kept.append((x, y))
            if values[i] * values[j] < 0:
                share = values[i] / (values[i] - values[j])
                kept.append((x + share * (corners[j][0] - x), y + share * (corners[j][1] - y)))
        corners = kept
        if not corners:
            return False
    return True
