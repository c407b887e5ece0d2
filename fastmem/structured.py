"""Structured hyperplanes: rows of random signs and Walsh-Hadamard transforms.

A block of D rows takes D log D operations a point and 3 D bits, where Gaussian rows take D d
operations and D d numbers (DESIGN, "Structured hyperplanes"; Dirksen and Stollenwerk, Fast binary
embeddings with Gaussian circulant matrices, 2018, studied their like). ``kernels.hadamard`` says
what the rows are and why every bit is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from fastmem.hyperplanes import (
    Hyperplanes,
    NumberedHyperplanes,
    StoredCandidates,
    checked_origin,
    checked_radius,
    frozen,
)
from fastmem.inputs import SparseRows, block_rows, check_structured
from fastmem.kernels.bits import WORD_BITS
from fastmem.kernels.hadamard import (
    collect_bits,
    structured_norms,
    structured_products,
    structured_rows,
    structured_words,
)
from fastmem.kernels.signs import TILE
from fastmem.sparse import fill_sparse

ROUNDS = 3
_UNIT32 = 2.0**-24
_UNIT64 = 2.0**-53
_MORE_STAGES = 15
"""What a row of a transform costs beside its stages, in stages: points, signs, last pass."""
_COLLECT = 40
"""What it costs to bring one bit to its place, in stages of a row."""
_STORED_BYTES = 32 << 20
"""More weights are not computed all at once: a product takes three times as many bytes, and a fit
has 256 MB."""


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

    # Evaluation -------------------------------------------------------------------------------

    @cached_property
    def _plans(self) -> dict[tuple[int, int], _Plan | None]:
        return {}

    def prepare(self, words: tuple[int, int] | None = None) -> None:
        """Compute once, before threads start, what ``fill`` needs for these words."""
        words = words or (0, self.n_words)
        if words not in self._plans:
            plan = None if self._dense_is_cheaper(words) else self._plan(words)
            if plan is None:
                self.explicit.prepare()
            self._plans[words] = plan

    def fill(
        self,
        block: np.ndarray | SparseRows,
        tiles: np.ndarray,
        position: int = 0,
        words: tuple[int, int] | None = None,
    ) -> int:
        """Write words of the sign patterns of some points; see ``Hyperplanes.fill``."""
        words = words or (0, self.n_words)
        if isinstance(block, SparseRows):
            return fill_sparse(self, block, tiles, position, words)
        self.prepare(words)
        plan = self._plans[words]
        if plan is None:
            return self.explicit.fill(block, tiles, position, words)
        if plan.is_direct:
            return plan.transform(block, tiles, position)
        column = position % TILE
        n_tiles = -(-(column + len(block)) // TILE)
        parts = np.empty((n_tiles, plan.n_words, TILE), np.uint64)
        doubtful = plan.transform(block, parts, column)
        collect_bits(parts, plan.sources, plan.bits, tiles, position, len(block), True, *words)
        if plan.stored is not None:
            parts = np.empty((n_tiles, plan.stored.n_words, TILE), np.uint64)
            doubtful += plan.stored.fill(block, parts, column)
            numbers = np.arange(len(plan.stored))
            collect_bits(
                parts, numbers, plan.stored_bits, tiles, position, len(block), False, *words
            )
        return doubtful

    def _dense_is_cheaper(self, words: tuple[int, int]) -> bool:
        """Whether a product with the rows is faster than transforms of the blocks they are in.

        In multiply-adds of the dense kernel, 9 ps each on one core: an addition of a transform
        takes as long.
        """
        n, d = len(self), self.n_features
        rows = self._rows_in(words)
        if d * n * 4 > _STORED_BYTES:
            return False
        stages = len(self.signs[0]) * (self.block_rows.bit_length() - 1) if len(self.signs) else 0
        generated = rows[rows >= 0]
        blocks = np.unique(generated // self.block_rows)
        transform = len(blocks) * self.block_rows * (stages + _MORE_STAGES)
        if not self._is_direct(words):
            transform += _COLLECT * len(rows)
        return len(generated) * d < transform

    def _rows_in(self, words: tuple[int, int]) -> np.ndarray:
        return self.rows[WORD_BITS * words[0] : WORD_BITS * words[1]]

    def _is_direct(self, words: tuple[int, int]) -> bool:
        """Whether the words of the patterns are those of the transforms, in any order."""
        rows = self._rows_in(words)
        first = np.repeat(rows[::WORD_BITS], WORD_BITS)[: len(rows)]
        places = np.arange(len(rows)) % WORD_BITS
        return bool((rows >= 0).all() and (rows == first // WORD_BITS * WORD_BITS + places).all())

    def _plan(self, words: tuple[int, int]) -> _Plan:
        """What the transform's kernel and the collection of its bits need for some words."""
        size = self.block_rows
        first = WORD_BITS * words[0]
        rows = self._rows_in(words).astype(np.int64)
        planes = first + np.flatnonzero(rows >= 0)  # numbers of hyperplanes
        rows = rows[rows >= 0]
        used, blocks = np.unique(rows // size, return_inverse=True)
        places = rows % size
        flips = flips_of(self.signs[used])
        shape = (len(used), size)
        plane_of = np.full(shape, -1, np.int32)
        plane_of[blocks, places] = planes
        bits = (plane_of >= 0).reshape(len(used), -1, WORD_BITS)
        valid = np.packbits(bits, axis=2, bitorder="little").view(np.uint64)[:, :, 0]
        targets = np.full(valid.shape, -1, np.int64)
        is_direct = self._is_direct(words)
        if is_direct:
            targets[blocks, places // WORD_BITS] = planes // WORD_BITS
        else:
            targets[valid != 0] = np.arange(np.count_nonzero(valid))
        shifted, errors = np.zeros(len(self)), np.zeros(len(self))
        high, low = np.empty(shape), np.empty(shape)
        error = structured_products(flips, self.origin, high, low)
        shifted[planes], errors[planes] = _sums(
            self.biases[planes], high[blocks, places], low[blocks, places], error
        )
        sums = np.zeros(shape, np.float32)
        floors, largest = np.zeros(len(used)), np.zeros(len(used))
        scale = self.scale
        with np.errstate(over="ignore"):
            sums[blocks, places] = size * (scale * shifted[planes])
            magnitude = np.abs(sums[blocks, places]).astype(np.float64)
            floor = 1.01 * _UNIT32 * magnitude + 2.0**-148 + size * (scale * errors[planes])
        np.maximum.at(largest, blocks, magnitude)
        np.maximum.at(floors, blocks, floor)
        stored = first + np.flatnonzero(self._rows_in(words) < 0)
        return _Plan(
            flips, sums, floors, largest, plane_of, valid, targets, self.biases, self.origin,
            shifted, errors, scale, is_direct, int(targets.max(initial=-1)) + 1,
            targets[blocks, places // WORD_BITS] * WORD_BITS + places % WORD_BITS, planes,
            Hyperplanes(
                self.extra[-1 - self.rows[stored]], self.biases[stored], self.origin, self.radius
            ) if len(stored) else None, stored,
        )  # fmt: skip


class _Plan(NamedTuple):
    """Arguments of ``kernels.hadamard``, and where the bits go that are not in place at once."""

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
    is_direct: bool
    n_words: int
    sources: np.ndarray
    bits: np.ndarray
    stored: Hyperplanes | None
    stored_bits: np.ndarray

    def transform(self, block: np.ndarray, tiles: np.ndarray, position: int) -> int:
        return structured_words(
            block, self.flips, self.sums, self.floors, self.largest, self.planes, self.valid,
            self.targets, self.biases, self.origin, self.shifted, self.errors, self.scale, tiles,
            position,
        )  # fmt: skip


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
        # the largest biases of d = 1, and those of a huge max_bias, may overflow
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            biases = self.max_bias * (self.generator.uniform(-1.0, 1.0, n) * (norms / chi))
        biases = np.nan_to_num(biases, nan=0.0, posinf=_LARGE, neginf=-_LARGE)
        shift = high.reshape(-1)[numbers], low.reshape(-1)[numbers]
        return _shortened(_sums(biases, *shift, error)[0], biases)


_LARGE = 2.0**1020


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


def _sums(
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
        errors = 1.02 * _UNIT64 * np.abs(shifted) + 2 * error
    # not finite where something overflows: then every entry of the row is doubtful
    return shifted, np.where(errors < np.inf, errors, np.inf)
