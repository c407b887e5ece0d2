"""Structured hyperplanes: rows of random signs and Walsh-Hadamard transforms.

A block of D rows takes D log D operations a point and 3 D bits, where Gaussian rows take D d
operations and D d numbers (Dirksen and Stollenwerk, Fast binary embeddings with Gaussian circulant
matrices, 2018, studied their like). ``kernels.hadamard`` says what the rows are and why every bit
is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastmem.hyperplanes.gaussian import StoredCandidates, reaches
from fastmem.hyperplanes.hyperplanes import Hyperplanes, checked_origin, checked_radius
from fastmem.hyperplanes.numbered import NumberedHyperplanes
from fastmem.inputs import block_rows, check_structured
from fastmem.kernels.exact import UNIT64
from fastmem.kernels.hadamard import (
    structured_norms,
    structured_products,
    structured_rows,
)
from fastmem.kernels.layout import WORD_BITS
from fastmem.machine.arrays import frozen

ROUNDS = 3
_LARGE = 2.0**1020
"""Biases beyond are cut off."""


class StructuredHyperplanes(NumberedHyperplanes):
    """Hyperplanes in blocks of D = 2^k rows: H S_r ... H S_1 / D cut to d columns.

    H is the Walsh-Hadamard transform and S_1, ..., S_r are diagonals of random signs. The weights
    are integers over D, all of them float32 numbers.

    Attributes
    ----------
    signs : ndarray of shape (n_blocks, r, D / 64), uint64
        Bit k of word j is 1 where entry 64 j + k of the diagonal is -1. D is the least power of
        two that is at least 64 and at least d.
    rows : ndarray of shape (n,), int32
        Row ``number % D`` of block ``number // D``; or -1 - i for row i of ``extra``.
    extra : ndarray of shape (n_extra, d), float32
        Rows that are stored.
    biases : ndarray of shape (n,), float64
    origin, radius
        As of Hyperplanes.
    weights : ndarray of shape (n, d), float32
        All rows, computed when first asked for.

    Raises
    ------
    InvalidInputError
        Where shapes, dtypes or values cannot be hyperplanes.
    """

    signs: np.ndarray

    _defining = ("signs", "rows", "extra", "biases", "origin", "radius")

    def __init__(
        self,
        signs: np.ndarray,
        rows: np.ndarray,
        extra: np.ndarray,
        biases: np.ndarray,
        origin: np.ndarray | None = None,
        radius: float = 1.0,
    ) -> None:
        signs, rows, extra, biases = check_structured(signs, rows, extra, biases)
        self._set(
            signs=signs, rows=rows, extra=extra, biases=biases,
            origin=checked_origin(origin, extra.shape[1]), radius=checked_radius(radius),
        )  # fmt: skip

    @property
    def block_rows(self) -> int:
        """D."""
        return self.signs.shape[2] * WORD_BITS

    def generated(self, numbers: np.ndarray) -> np.ndarray:
        """Weights of the generated rows of these numbers, (len(numbers), d) float32."""
        weights = np.empty((len(numbers), self.n_features), np.float32)
        structured_rows(flips_of(self.signs), numbers.astype(np.int64), weights)
        return weights

    def subset(self, kept: np.ndarray) -> Hyperplanes:
        """The hyperplanes ``kept``, numbers in ascending order, in the blocks that they use."""
        some = super().subset(kept)
        assert isinstance(some, StructuredHyperplanes)
        blocks = np.unique(some.rows[some.rows >= 0] // self.block_rows)
        if len(blocks) == len(self.signs):
            return some
        place = np.zeros(len(self.signs), np.int32)
        place[blocks] = np.arange(len(blocks))
        old = np.maximum(some.rows, 0) // self.block_rows
        rows = np.where(some.rows < 0, some.rows, some.rows + (place[old] - old) * self.block_rows)
        return StructuredHyperplanes(
            self.signs[blocks], rows.astype(np.int32), some.extra, some.biases, self.origin,
            self.radius,
        )  # fmt: skip

    def with_blocks(self, signs: np.ndarray, n: int, biases: np.ndarray) -> StructuredHyperplanes:
        """These and the next n generated rows, of these blocks or of ``signs`` after them."""
        first = int(self.rows.max(initial=-1)) + 1
        return StructuredHyperplanes(
            np.concatenate([self.signs, signs]),
            np.concatenate([self.rows, np.arange(first, first + n, dtype=np.int32)]),
            self.extra, np.concatenate([self.biases, biases]), self.origin, self.radius,
        )  # fmt: skip

    def _with(self, rows: np.ndarray, extra: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        return StructuredHyperplanes(self.signs, rows, extra, biases, self.origin, self.radius)


@dataclass(frozen=True)
class StructuredRows(StoredCandidates):
    """Source of structured hyperplanes: as GaussianRows, with structured directions.

    A Gaussian row is a uniform direction times a norm of chi distribution with d degrees of
    freedom. No scale is stored: the hyperplane of G w / |w| and b is the one of w and b |w| / G.
    """

    kind: ClassVar[str] = "structured"
    generator: np.random.Generator
    center: np.ndarray
    max_bias: float
    norms: np.ndarray | None = None
    rounds: int = ROUNDS

    def start(self, n: int, origin: np.ndarray, radius: float) -> StructuredHyperplanes:
        """See RowSource."""
        d = len(self.center)
        size = block_rows(d)
        signs = self._signs(-(-n // size))
        rows = np.arange(n, dtype=np.int32)
        extra = np.empty((0, d), np.float32)
        with np.errstate(over="ignore"):
            short = origin.astype(np.float32).astype(np.float64)
        return StructuredHyperplanes(
            signs, rows, extra, self._biases(signs, rows),
            short if np.isfinite(short).all() else origin, radius,
        )  # fmt: skip

    def more(self, hyperplanes: Hyperplanes, n: int) -> Hyperplanes:
        """See RowSource."""
        assert isinstance(hyperplanes, StructuredHyperplanes)
        size = hyperplanes.block_rows
        first = int(hyperplanes.rows.max()) + 1
        signs = self._signs(-(-(first + n) // size) - len(hyperplanes.signs))
        every = np.concatenate([hyperplanes.signs, signs])
        block = first // size
        numbers = np.arange(first, first + n) - block * size
        return hyperplanes.with_blocks(signs, n, self._biases(every[block:], numbers))

    def _signs(self, n_blocks: int) -> np.ndarray:
        d = len(self.center)
        words = block_rows(d) // WORD_BITS
        signs = self.generator.integers(2**64, size=(n_blocks, self.rounds, words), dtype=np.uint64)
        signs[:, 0, -(-d // WORD_BITS) :] = 0
        if d % WORD_BITS:
            signs[:, 0, d // WORD_BITS] &= np.uint64((1 << d % WORD_BITS) - 1)
        return signs

    def _biases(self, signs: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Random biases of some rows, about the centre."""
        flips = flips_of(signs)
        n, d = len(numbers), len(self.center)
        numbers = numbers.astype(np.int64)
        norms = np.empty(n)
        structured_norms(flips, numbers, d, norms)
        chi = np.sqrt(self.generator.chisquare(d, n))
        shape = (len(signs), block_rows(d))
        high, low = np.empty(shape), np.empty(shape)
        error = structured_products(flips, frozen(-self.center), high, low)
        reach = reaches(self.generator, n, self.max_bias, self.norms)
        # the largest biases of d = 1, and those of a huge max_bias, may overflow
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            biases = reach * (self.generator.uniform(-1.0, 1.0, n) * (norms / chi))
        biases = np.nan_to_num(biases, nan=0.0, posinf=_LARGE, neginf=-_LARGE)
        shift = high.reshape(-1)[numbers], low.reshape(-1)[numbers]
        return _shortened(sums_with_errors(biases, *shift, error)[0], biases)


def _shortened(biases: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Biases rounded to float32 numbers, which take half the room in a file, where it is harmless.

    ``random`` are the biases about the centre. Where the shift is at most 256 times as large as
    most of them, they move by less than 2^-15 of their size.
    """
    usual = np.median(np.abs(random))
    in_range = 1e-30 < usual < 1e30 and np.abs(biases).max() < 1e38
    if in_range and np.abs(biases - random).max() <= 256 * usual:
        return biases.astype(np.float32).astype(np.float64)
    return biases


def flips_of(signs: np.ndarray) -> np.ndarray:
    """Signs as ``kernels.hadamard`` takes them: (n_blocks, rounds, D) uint32, 2^31 for a -1."""
    octets = signs.astype("<u8", copy=False).view(np.uint8)
    bits = np.unpackbits(octets, axis=2, bitorder="little")
    return bits.astype(np.uint32) << np.uint32(31)


def sums_with_errors(
    biases: np.ndarray, high: np.ndarray, low: np.ndarray, error: float
) -> tuple[np.ndarray, np.ndarray]:
    """biases + high + low, (n,) each, and bounds on its error; ``error`` is that of high + low.

    high is added with its rounding error (TwoSum), which leaves the rounding of the result and, of
    second order, that of the two small parts' sum, which is below ``error`` too.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = biases + high
        back = total - biases
        rest = ((biases - (total - back)) + (high - back)) + low
        shifted = total + rest
        errors = 1.02 * UNIT64 * np.abs(shifted) + 2 * error
    # not finite where something overflows: then every entry of the row is doubtful
    return shifted, np.where(errors < np.inf, errors, np.inf)
