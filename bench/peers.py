"""What fastmem is measured against: dense NumPy, BLAS and SciPy alone, and FAISS.

There are two dense peers of the whole fit. `fit_as_published` takes the steps of the program of the
paper's authors (patrickfinke/memo on GitHub): the sign patterns are one float32 matrix made by
whole-array operations, and each candidate of the second layer costs one matrix-vector product with
all of it.
`fit_dense` is the same algorithm written for speed, as dense as it is: patterns made in row blocks
that stay in cache, points sorted by class once, so that nothing is gathered, and a product with
the own class only where a candidate is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fastmem import Network

Float32 = NDArray[np.float32]
Words = NDArray[np.uint64]

BLOCK_ROWS = 1024
"""Rows of one product: few, so that it is not written to memory as a whole."""


def dense_patterns(X: Float32, weights: Float32, biases: NDArray[Any]) -> Float32:
    """Compute sign patterns as one float32 matrix, (N, n): 8 GB for 1,000,000 x 2,048.

    Filled in row blocks, because X @ W.T as a whole would take as much again.
    """
    patterns = np.empty((len(X), len(weights)), np.float32)
    shifts = biases.astype(np.float32)
    for start in range(0, len(X), BLOCK_ROWS):
        block = patterns[start : start + BLOCK_ROWS]
        np.matmul(X[start : start + BLOCK_ROWS], weights.T, out=block)
        block += shifts
        np.greater(block, 0, out=block)
    return patterns


def dense_bits(words: Words, n: int | None = None) -> Float32:
    """Unpack the first n bits, all by default, of packed rows (N, n_words): (N, n) float32."""
    octets = np.ascontiguousarray(words).astype("<u8").view(np.uint8)
    return np.unpackbits(octets, axis=1, count=n, bitorder="little").astype(np.float32)


@dataclass(frozen=True)
class DenseNetwork:
    """A threshold network as dense float32 matrices.

    Attributes
    ----------
    weights, biases : ndarray of float32, shapes (n, d) and (n,)
    masks, thresholds : ndarray of float32, shapes (m, n) and (m,)
    blocks : dict of class code to slice
        Each covered class's rows of `masks`.
    n_classes : int
    n_failed : int
        Points that could not be covered.
    """

    weights: Float32
    biases: Float32
    masks: Float32
    thresholds: Float32
    blocks: dict[int, slice]
    n_classes: int
    n_failed: int = 0

    @classmethod
    def of(cls, network: Network) -> DenseNetwork:
        """Take over a fastmem network, neuron by neuron."""
        first, second = network.first, network.second
        masks = dense_bits(second.masks, len(first.biases))
        by_owner = np.argsort(second.owners, kind="stable")
        owners = second.owners[by_owner]
        blocks = {
            code: slice(*np.searchsorted(owners, [code, code + 1]).tolist())
            for code in network.covered
        }
        return cls(
            first.weights,
            first.biases.astype(np.float32),
            masks[by_owner],
            second.thresholds[by_owner].astype(np.float32),
            blocks,
            len(network.classes_),
        )

    def predict(self, X: Float32) -> NDArray[np.intp]:
        """Predict class codes, (N,), by a forward pass in row blocks through float32 matmul."""
        predicted = np.empty(len(X), np.intp)
        rows = min(BLOCK_ROWS, len(X))
        patterns = np.empty((rows, len(self.weights)), np.float32)
        margins = np.empty((rows, len(self.masks)), np.float32)
        scores = np.empty((rows, self.n_classes), np.float32)
        for start in range(0, len(X), BLOCK_ROWS):
            block = X[start : start + BLOCK_ROWS]
            pattern, margin = patterns[: len(block)], margins[: len(block)]
            np.matmul(block, self.weights.T, out=pattern)
            pattern += self.biases
            np.greater(pattern, 0, out=pattern)
            np.matmul(pattern, self.masks.T, out=margin)
            np.subtract(self.thresholds, margin, out=margin)
            score = scores[: len(block)]
            score.fill(0.5)
            for code, neurons in self.blocks.items():
                margin[:, neurons].max(axis=1, initial=-np.inf, out=score[:, code])
            score.argmax(axis=1, out=predicted[start : start + len(block)])
        return predicted


def select_dense(
    patterns: Float32, starts: NDArray[np.integer[Any]], covered: Iterable[int], seed: int = 0
) -> tuple[Float32, Float32, dict[int, slice], int]:
    """Select neurons as the paper's authors do (Algorithm 2, lines 2 to 11), one by one.

    Parameters
    ----------
    patterns : ndarray of float32, shape (N, n)
        Sign patterns, sorted by class.
    starts : ndarray of int, shape (K + 1,)
        Class c has the rows starts[c] to starts[c + 1] - 1.
    covered : iterable of int
        Class codes that get a block against all others.
    seed : int
        Seed of the order in which candidates are drawn.

    Returns
    -------
    masks, thresholds : ndarray of float32, shapes (m, n) and (m,)
    blocks : dict of class code to slice of the neurons
    n_failed : int
    """
    generator = np.random.default_rng(seed)
    masks: list[Float32] = []
    thresholds: list[float] = []
    blocks: dict[int, slice] = {}
    n_failed = 0
    for code in covered:
        begin, end = int(starts[code]), int(starts[code + 1])
        before, inside, after = patterns[:begin], patterns[begin:end], patterns[end:]
        is_open = np.ones(end - begin, bool)
        first = len(masks)
        # Walking a permutation has the law of drawing again and again, and is cheaper.
        for candidate in generator.permutation(end - begin):
            if not is_open[candidate]:
                continue
            mask = 1 - inside[candidate]
            minimum = min((rows @ mask).min() for rows in (before, after) if len(rows))
            if minimum == 0:
                is_open[candidate] = False
                n_failed += 1
                continue
            is_open &= inside @ mask >= minimum
            masks.append(mask)
            thresholds.append(float(minimum))
        blocks[int(code)] = slice(first, len(masks))
    stacked = np.array(masks, np.float32).reshape(len(masks), patterns.shape[1])
    return stacked, np.array(thresholds, np.float32), blocks, n_failed


def fit_dense(
    X: Float32,
    codes: NDArray[np.integer[Any]],
    weights: Float32,
    biases: NDArray[Any],
    covered: Iterable[int],
    seed: int = 0,
) -> DenseNetwork:
    """Memorise labelled points with given hyperplanes, so that both sides have the same ones.

    Parameters
    ----------
    X : ndarray of float32, shape (N, d)
    codes : ndarray of int, shape (N,)
        Class codes, 0 to K - 1.
    weights, biases : ndarray, shapes (n, d) and (n,)
    covered, seed
        As in `select_dense`.
    """
    by_class = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[by_class], np.arange(codes.max() + 2))
    patterns = dense_patterns(X[by_class], weights, biases)
    selected = select_dense(patterns, starts, covered, seed)
    masks, thresholds, blocks, n_failed = selected
    shifts = biases.astype(np.float32)
    return DenseNetwork(weights, shifts, masks, thresholds, blocks, len(starts) - 1, n_failed)


def fit_as_published(
    X: Float32,
    codes: NDArray[np.integer[Any]],
    weights: Float32,
    biases: NDArray[Any],
    covered: Iterable[int],
    seed: int = 0,
) -> DenseNetwork:
    """Memorise labelled points by the steps of the authors' program; arguments of `fit_dense`."""
    generator = np.random.default_rng(seed)
    shifts = biases.astype(np.float32)
    patterns = X @ weights.T
    patterns += shifts
    np.heaviside(patterns, np.float32(0), out=patterns)
    masks: list[Float32] = []
    thresholds: list[float] = []
    blocks: dict[int, slice] = {}
    n_failed = 0
    for code in covered:
        is_own = codes == code
        is_other = ~is_own
        rows = np.flatnonzero(is_own)
        is_candidate = np.ones(len(rows), bool)
        first = len(masks)
        while is_candidate.any():
            candidate = generator.choice(np.flatnonzero(is_candidate))
            is_candidate[candidate] = False
            mask = (patterns[rows[candidate]] <= 0).astype(np.float32)
            products = patterns @ mask
            minimum = products[is_other].min()
            if minimum == 0:
                n_failed += 1
                continue
            is_candidate &= products[is_own] >= minimum
            masks.append(mask)
            thresholds.append(float(minimum))
        blocks[int(code)] = slice(first, len(masks))
    stacked = np.array(masks, np.float32).reshape(len(masks), len(weights))
    levels = np.array(thresholds, np.float32)
    return DenseNetwork(weights, shifts, stacked, levels, blocks, int(codes.max()) + 1, n_failed)


def sgemm_in_blocks(X: Float32, weights: Float32) -> Float32:
    """Multiply X @ W.T in row blocks into one buffer, which it returns: the first layer's product.

    Nothing is compared or kept, so this is the least that BLAS can do for it.
    """
    product = np.empty((min(BLOCK_ROWS, len(X)), len(weights)), np.float32)
    for start in range(0, len(X), BLOCK_ROWS):
        block = X[start : start + BLOCK_ROWS]
        np.matmul(block, weights.T, out=product[: len(block)])
    return product


class FaissCounts:
    """FAISS's full scan of packed rows, IndexBinaryFlat: popcounts of whole rows, least first.

    It counts |p XOR q| where fastmem counts |u AND q|: one operation and one popcount a word
    either way.
    """

    def __init__(self, patterns: Words, n_threads: int) -> None:
        import faiss

        self.faiss: Any = faiss
        faiss.omp_set_num_threads(n_threads)
        self.index = faiss.IndexBinaryFlat(64 * patterns.shape[1])
        self.index.add(self._octets(patterns))

    def minima(self, masks: Words) -> NDArray[np.int32]:
        """Return the smallest count of each mask over all rows: shape (B,)."""
        distances, _ = self.index.search(self._octets(masks), 1)
        result: NDArray[np.int32] = distances[:, 0]
        return result

    @staticmethod
    def _octets(words: Words) -> NDArray[np.uint8]:
        return np.ascontiguousarray(words).view(np.uint8)


def covered_dense(patterns: Float32, masks: Float32, thresholds: Float32) -> NDArray[np.bool_]:
    """Which patterns (N, n) some neuron of masks (m, n) and thresholds (m,) covers: (N,)."""
    covered = np.empty(len(patterns), bool)
    for start in range(0, len(patterns), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        np.any(patterns[block] @ masks.T < thresholds, axis=1, out=covered[block])
    return covered


def relu_sums_in_blocks(
    X: Float32, weights: Float32, biases: NDArray[Any], masks: Words
) -> Iterator[tuple[int, Float32]]:
    """Sums of ReLU activations over packed masks (m, n_words), in row blocks.

    Yields
    ------
    int, ndarray of float32, shape (rows, m)
        The first row of a block, and its sums.
    """
    shifts, columns = biases.astype(np.float32), dense_bits(masks, len(weights)).T
    for start in range(0, len(X), BLOCK_ROWS):
        values = X[start : start + BLOCK_ROWS] @ weights.T
        values += shifts
        np.maximum(values, 0, out=values)
        yield start, values @ columns


def sparse_product_in_blocks(X: Any, columns: Float32) -> Float32:
    """Multiply a CSR matrix by columns (d, n) in row blocks, of which it returns the last."""
    product = np.empty((0, columns.shape[1]), np.float32)
    for start in range(0, X.shape[0], BLOCK_ROWS):
        product = X[start : start + BLOCK_ROWS] @ columns
    return product


def distances_in_blocks(X: Float32, centres: Float32) -> NDArray[np.float64]:
    """Distances of points to centres in row blocks, of which it returns the last."""
    from scipy.spatial.distance import cdist

    distances = np.empty((0, len(centres)))
    for start in range(0, len(X), BLOCK_ROWS):
        distances = cdist(X[start : start + BLOCK_ROWS], centres)
    return distances


def equal_rows(X: Float32) -> int:
    """Count the rows that equal another, by sorting their bytes."""
    rows = np.ascontiguousarray(X + np.float32(0.0))  # no -0.0, which equals 0.0
    return len(rows) - len(np.unique(rows.view(np.dtype((np.void, rows[0].nbytes)))))


def mean_and_radius(X: Float32) -> tuple[NDArray[np.float64], float]:
    """Mean of points and the largest distance from it, in row blocks."""
    mean = X.mean(axis=0, dtype=np.float64)
    largest = 0.0
    for start in range(0, len(X), BLOCK_ROWS):
        moved = X[start : start + BLOCK_ROWS] - mean
        largest = max(largest, float(np.einsum("ij,ij->i", moved, moved).max()))
    return mean, largest**0.5
