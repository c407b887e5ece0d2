"""Structured hyperplanes: rows of random signs and Walsh-Hadamard transforms.

A block of D rows takes D log D operations a point and 3 D bits, where Gaussian rows take D d
operations and D d numbers (Dirksen and Stollenwerk, Fast binary embeddings with Gaussian circulant
matrices, 2018, studied their like). ``kernels.hadamard`` says what the rows are and why every bit
is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import ClassVar

import numpy as np

from fastmem.hyperplanes.bias_law import BiasLaw, checked_law, reaches_of, seeds_of
from fastmem.hyperplanes.gaussian import StoredCandidates
from fastmem.hyperplanes.hyperplanes import Hyperplanes, checked_origin, checked_radius
from fastmem.hyperplanes.numbered import NumberedHyperplanes
from fastmem.inputs import block_rows, check_structured
from fastmem.inputs.refusals import refuse
from fastmem.kernels.exact import UNIT64
from fastmem.kernels.hadamard import (
    structured_norms,
    structured_products,
    structured_rows,
)
from fastmem.kernels.layout import WORD_BITS
from fastmem.kernels.normals import mixed_words, normal_rows
from fastmem.machine.arrays import frozen

ROUNDS = 3
_SUMMED = 32
"""Features up to which norms of Gaussian rows are made of all their numbers."""
_LARGE = 2.0**1020
"""Biases beyond are cut off."""


@dataclass(frozen=True, eq=False)
class BlockLaw(BiasLaw):
    """How signs of blocks, and biases of their rows, come from a key.

    Attributes
    ----------
    reaches, center
        As of BiasLaw.
    key : int
        0 to 2^64 - 1.
    blocks : ndarray of shape (n_blocks,), int64
        Numbers of blocks, ascending: which of the key's they are.
    rounds : int
    """

    key: int
    blocks: np.ndarray
    rounds: int = ROUNDS

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "blocks", frozen(np.array(self.blocks, np.int64)))

    @property
    def bias_key(self) -> int:
        """The key of biases and norms."""
        return int(_words(self.key, 0, 1)[0])

    def signs(self, d: int) -> np.ndarray:
        """Signs of the blocks for points of d features; see `StructuredHyperplanes`."""
        words = block_rows(d) // WORD_BITS
        key, size = int(_words(self.key, 1, 1)[0]), self.rounds * words
        signs = np.empty((len(self.blocks), self.rounds, words), np.uint64)
        for i, block in enumerate(self.blocks.tolist()):
            signs[i] = _words(key, block * size, size).reshape(self.rounds, words)
        signs[:, 0, -(-d // WORD_BITS) :] = 0
        if d % WORD_BITS:
            signs[:, 0, d // WORD_BITS] &= np.uint64((1 << d % WORD_BITS) - 1)
        return signs

    def chi(self, numbers: np.ndarray, d: int) -> np.ndarray:
        """Norms that Gaussian rows of these numbers have, (len(numbers),) float64.

        Beyond a few features by Wilson and Hilferty's approximation (The distribution of
        chi-square, 1931), which is 1e-3 off at most there; in an order of sums that is the same
        everywhere.
        """
        seeds, signs = seeds_of(self.bias_key, numbers)
        weights = np.empty((len(seeds), d if d <= _SUMMED else 1), np.float32)
        normal_rows(seeds, signs, weights)
        if d > _SUMMED:
            part = 2.0 / (9.0 * d)
            root = 1.0 - part + float(np.sqrt(part)) * weights[:, 0].astype(np.float64)
            norms: np.ndarray = np.sqrt(d * (root * root * root))
            return norms
        total = np.zeros(len(seeds))
        for column in weights.T.astype(np.float64):
            total += column * column
        return np.sqrt(total)


def _words(key: int, first: int, n: int) -> np.ndarray:
    words = np.empty(n, np.uint64)
    mixed_words(np.uint64(key), first, words)
    return words


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
    law : BlockLaw or None
        How signs and biases come from a key, if they do; which biases is seen by comparing.
    weights : ndarray of shape (n, d), float32
        All rows, computed when first asked for.

    Raises
    ------
    InvalidInputError
        Where shapes, dtypes or values cannot be hyperplanes.
    """

    signs: np.ndarray
    law: BlockLaw | None

    _defining = ("signs", "rows", "extra", "biases", "origin", "radius", "law")

    def __init__(
        self,
        signs: np.ndarray,
        rows: np.ndarray,
        extra: np.ndarray,
        biases: np.ndarray,
        origin: np.ndarray | None = None,
        radius: float = 1.0,
        law: BlockLaw | None = None,
    ) -> None:
        signs, rows, extra, biases = check_structured(signs, rows, extra, biases)
        self._set(
            signs=signs, rows=rows, extra=extra, biases=biases,
            origin=checked_origin(origin, extra.shape[1]), radius=checked_radius(radius),
            law=checked_law(law, extra.shape[1]),
        )  # fmt: skip
        if law is not None and len(law.blocks) != len(signs):
            refuse(f"law names {len(law.blocks)} blocks where signs has {len(signs)}")

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
        law = None if self.law is None else replace(self.law, blocks=self.law.blocks[blocks])
        return StructuredHyperplanes(
            self.signs[blocks], rows.astype(np.int32), some.extra, some.biases, self.origin,
            self.radius, law,
        )  # fmt: skip

    def joined(self, others: Hyperplanes) -> Hyperplanes:
        """These hyperplanes and, after them, others; of the same key, none is stored anew."""
        law = self.law
        if law is None or not isinstance(others, StructuredHyperplanes) or others.law is None:
            return super().joined(others)
        if (others.law.key, others.law.rounds) != (law.key, law.rounds):
            return super().joined(others)
        law = replace(law, blocks=np.union1d(law.blocks, others.law.blocks))
        rows = [self._rows_among(law.blocks), others._rows_among(law.blocks)]
        rows[1] = np.where(rows[1] < 0, rows[1] - len(self.extra), rows[1])
        return StructuredHyperplanes(
            law.signs(self.n_features), np.concatenate(rows).astype(np.int32),
            np.concatenate([self.extra, others.extra]),
            np.concatenate([self.biases, others.biases]), self.origin, self.radius, law,
        )  # fmt: skip

    def _rows_among(self, blocks: np.ndarray) -> np.ndarray:
        """The rows by the places of their blocks among others, int64."""
        assert self.law is not None
        places = np.searchsorted(blocks, self.law.blocks)
        block, place = np.divmod(self.rows.astype(np.int64), self.block_rows)
        if not len(places):
            return self.rows.astype(np.int64)
        moved = places[np.maximum(block, 0)] * self.block_rows + place
        return np.where(self.rows < 0, self.rows, moved)

    def keyed_biases(self) -> np.ndarray:
        """Biases that the law gives the rows of blocks, (n,) float64; 0 for stored rows.

        Uniform about the centre, at the reach of a Gaussian row whose norm is a chi number.
        """
        biases = np.zeros(len(self))
        law, of_block = self.law, self.rows >= 0
        if law is None or not of_block.any():
            return biases
        rows, d, size = self.rows[of_block].astype(np.int64), self.n_features, self.block_rows
        used, places = np.unique(rows // size, return_inverse=True)
        local = places * size + rows % size
        flips = flips_of(self.signs[used])
        norms = np.empty(len(rows))
        structured_norms(flips, local, d, norms)
        shape = (len(used), size)
        high, low = np.empty(shape), np.empty(shape)
        error = structured_products(flips, frozen(-law.center), high, low)
        numbers = law.blocks[rows // size] * size + rows % size
        reaches, shares = law.uniform(law.bias_key, 2 * numbers)
        # the largest biases of d = 1, and those of a huge max_bias, may overflow
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            most = reaches * (norms / law.chi(2 * numbers, d))
            random = np.nan_to_num(most * shares, nan=0.0, posinf=_LARGE, neginf=-_LARGE)
        shift = high.reshape(-1)[local], low.reshape(-1)[local]
        biases[of_block] = _shortened(sums_with_errors(random, *shift, error)[0], random, most)
        return biases

    def _with(self, rows: np.ndarray, extra: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        return StructuredHyperplanes(
            self.signs, rows, extra, biases, self.origin, self.radius, self.law
        )


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
    law: BlockLaw = field(init=False)
    _numbers: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        key = int(self.generator.integers(2**64, dtype=np.uint64))
        reaches = reaches_of(self.max_bias, self.norms)
        law = BlockLaw(reaches, self.center, key, np.empty(0, np.int64), self.rounds)
        object.__setattr__(self, "law", law)
        object.__setattr__(self, "_numbers", count())

    def start(self, n: int, origin: np.ndarray, radius: float) -> StructuredHyperplanes:
        """See RowSource."""
        d = len(self.center)
        size = block_rows(d)
        numbers = np.array([next(self._numbers) for _ in range(n)])
        blocks = np.unique(numbers // size)
        law = replace(self.law, blocks=blocks)
        rows = (numbers - blocks[0] * size).astype(np.int32)
        arrays = law.signs(d), rows, np.empty((0, d), np.float32)
        bare = StructuredHyperplanes(*arrays, np.zeros(n), origin, radius, law)
        return StructuredHyperplanes(*arrays, bare.keyed_biases(), origin, radius, law)

    def more(self, hyperplanes: Hyperplanes, n: int) -> Hyperplanes:
        """See RowSource."""
        return hyperplanes.joined(self.start(n, hyperplanes.origin, hyperplanes.radius))


def _shortened(biases: np.ndarray, random: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Biases rounded to float32 numbers, which take half the room, where it is harmless.

    ``random`` are the biases about the centre, and ``most`` the largest that they might be. Where
    the shift is at most 128 times as large, they move by less than 2^-16 of it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        in_range = (most > 1e-30) & (most < 1e30) & (np.abs(biases) < 1e38)
        is_near = np.abs(biases - random) <= 128 * most
        return np.where(in_range & is_near, biases.astype(np.float32).astype(np.float64), biases)


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
