"""First layer: random hyperplanes, how they grow, and how the last pairs are separated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from fastmem.inputs import InvalidInputError, Points, SparseRows, check_hyperplanes
from fastmem.kernels.bits import WORD_BITS
from fastmem.kernels.signs import pattern_words, shifted_biases
from fastmem.kernels.sparse import transpose
from fastmem.sparse import Fill, PanelMaker, fill_sparse, sparse_passes


class Frame(NamedTuple):
    """What the float32 filter of ``kernels.signs.pattern_words`` needs beside the hyperplanes."""

    panels: np.ndarray
    scaled_biases: np.ndarray
    norms: np.ndarray
    floors: np.ndarray
    origin: np.ndarray
    shifted: np.ndarray
    errors: np.ndarray
    scale: float


@dataclass(frozen=True, eq=False)
class Hyperplanes:
    """The first layer: n hyperplanes in R^d, ``<weights[i], x> + biases[i] = 0``.

    Attributes
    ----------
    weights : ndarray of shape (n, d), float32
    biases : ndarray of shape (n,), float64
    origin : ndarray of shape (d,), float64
        Point near the data, and
    radius : float
        distance from it within which most data lie. Both speed up the float32 filter of
        :func:`fastmem.sign_patterns`; no bit depends on them.

    Raises
    ------
    InvalidInputError
        Where shapes, dtypes or values cannot be hyperplanes.
    """

    weights: np.ndarray
    biases: np.ndarray
    origin: np.ndarray = None  # type: ignore[assignment]
    radius: float = 1.0

    _defining: ClassVar[tuple[str, ...]] = ("weights", "biases", "origin", "radius")
    """Arguments of the constructor, in order."""

    def __post_init__(self) -> None:
        weights, biases = check_hyperplanes(self.weights, self.biases)
        self._set(
            weights=weights, biases=biases, origin=checked_origin(self.origin, weights.shape[1]),
            radius=checked_radius(self.radius),
        )  # fmt: skip

    def _set(self, **attributes: object) -> None:
        """Set attributes; of arrays read-only copies, which nobody can change unseen."""
        for name, value in attributes.items():
            if isinstance(value, np.ndarray):
                value = frozen(value.copy())
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """Pickle and copy what defines the layer, through the constructor.

        It makes the arrays read-only again: kernels would be compiled once more for writable ones.
        """
        return type(self), tuple(getattr(self, name) for name in self._defining)

    def __len__(self) -> int:
        return len(self.biases)

    @property
    def n_words(self) -> int:
        """Words of 64 bits in a sign pattern."""
        return -(-len(self) // WORD_BITS)

    @property
    def n_features(self) -> int:
        """The dimension d."""
        return len(self.origin)

    @property
    def n_nonzero(self) -> int:
        """Weights and biases that are not zero."""
        return int(np.count_nonzero(self.weights) + np.count_nonzero(self.biases))

    def extended(self, weights: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        """These hyperplanes and, after them, others: weights (m, d) float32, biases (m,)."""
        return Hyperplanes(
            np.concatenate([self.weights, weights]),
            np.concatenate([self.biases, biases]),
            self.origin,
            self.radius,
        )

    def subset(self, kept: np.ndarray) -> Hyperplanes:
        """The hyperplanes ``kept``, numbers in ascending order, as the same kind."""
        return Hyperplanes(self.weights[kept], self.biases[kept], self.origin, self.radius)

    def joined(self, others: Hyperplanes) -> Hyperplanes:
        """These hyperplanes and, after them, others."""
        return self.extended(others.weights, others.biases)

    def streams(self, points: Points) -> bool:
        """Whether one pass, prepared once, writes all bits of ``points``."""
        return not points.is_sparse

    def passes(
        self, points: Points, n_threads: int, first_word: int = 0
    ) -> Iterator[tuple[Fill, float]]:
        """Passes over blocks of ``points`` that together write the words from ``first_word`` on.

        Yields a function that writes some words of a block, and its share of the work. It may be
        called on any thread, but only before the next is asked for.
        """
        words = (first_word, self.n_words)
        if points.is_sparse:
            yield from sparse_passes(self, points.used_columns(), n_threads, words)
        else:
            yield from self._dense_passes(words)

    def _dense_passes(self, words: tuple[int, int]) -> Iterator[tuple[Fill, float]]:
        self.prepare(words)
        yield partial(self.fill, words=words), 1.0

    def panel_maker(self, start: int, stop: int) -> PanelMaker:
        """What writes the weights of the hyperplanes start..stop-1 for ``sparse_passes``."""
        return partial(transpose, self.weights, np.arange(start, stop))

    def prepare(self, words: tuple[int, int] | None = None) -> None:
        """Compute once, before threads start, what ``fill`` needs for these words."""
        self.frame  # noqa: B018

    def fill_from(
        self, first_word: int, block: np.ndarray, tiles: np.ndarray, position: int
    ) -> int:
        """Write the patterns of dense points to the words from ``first_word`` on."""
        return self._write(block, tiles, position, (0, self.n_words), first_word)

    def fill(
        self,
        block: np.ndarray | SparseRows,
        tiles: np.ndarray,
        position: int = 0,
        words: tuple[int, int] | None = None,
    ) -> int:
        """Write words of the sign patterns of some points; returns the doubtful bits.

        block (rows, d) float32 or float64, or sparse; tiles as in ``kernels.signs``. The words
        words[0]..words[1]-1 of the patterns position, ..., position + rows - 1 are written (all
        words by default), and nothing else.
        """
        first, last = words or (0, self.n_words)
        if isinstance(block, SparseRows):
            return fill_sparse(self, block, tiles, position, (first, last))
        return self._write(block, tiles, position, (first, last), 0)

    def _write(
        self,
        block: np.ndarray,
        tiles: np.ndarray,
        position: int,
        words: tuple[int, int],
        shift: int,
    ) -> int:
        frame = self.frame
        return pattern_words(
            block, self.weights, self.biases, frame.panels, frame.scaled_biases, frame.norms,
            frame.floors, frame.origin, frame.shifted, frame.errors, frame.scale, *words,
            tiles, position, shift,
        )  # fmt: skip

    @property
    def scale(self) -> float:
        """Power of two, so that scaling rounds nothing, that brings the points to norm 1."""
        exponent = int(np.ceil(np.log2(self.radius))) if self.radius > 0 else 0
        return float(2.0 ** -np.clip(exponent, -1000, 1000))

    @cached_property
    def frame(self) -> Frame:
        """The float32 filter's data; see ``kernels.signs``."""
        n, d = self.weights.shape
        words = self.n_words
        padding = words * WORD_BITS - n
        scale = self.scale
        shifted, errors = np.empty(n), np.empty(n)
        shifted_biases(self.weights, self.biases, self.origin, shifted, errors)
        panels = np.zeros((words, d, WORD_BITS), np.float32)
        whole = n // WORD_BITS
        panels[:whole] = (
            self.weights[: whole * WORD_BITS].reshape(whole, WORD_BITS, d).transpose(0, 2, 1)
        )
        if padding:
            panels[whole, :, : WORD_BITS - padding] = self.weights[whole * WORD_BITS :].T
        norms = np.zeros(words * WORD_BITS)
        scaled_biases = np.full(words * WORD_BITS, -1.0, np.float32)
        floors = np.zeros(words * WORD_BITS)
        with np.errstate(over="ignore", invalid="ignore"):
            norms[:n] = np.sqrt(
                np.einsum("ij,ij->i", self.weights, self.weights, dtype=np.float64)
            ) * (1 + 1e-9)
            scaled_biases[:n] = scale * shifted
            floors[:n] = scale * errors + 2.0**-148 * (d + 2) * (1 + norms[:n])
        shape = (words, WORD_BITS)
        return Frame(
            panels, scaled_biases.reshape(shape), norms.reshape(shape), floors.reshape(shape),
            self.origin, shifted, errors, scale,
        )  # fmt: skip


class NumberedHyperplanes(Hyperplanes):
    """Hyperplanes whose weights are computed from their numbers, and some that are stored.

    Attributes
    ----------
    rows : ndarray of shape (n,), int32
        Number, at least 0, of the generated row; or -1 - i for row i of ``extra``.
    extra : ndarray of shape (n_extra, d), float32
        Rows that are stored, in order of use.
    biases, origin, radius
        As of Hyperplanes.
    """

    rows: np.ndarray
    extra: np.ndarray

    def __repr__(self) -> str:
        return (
            f"<fastmem.{type(self).__name__}: {len(self)} in {self.n_features} dimensions, "
            f"{len(self.extra)} stored>"
        )

    def generated(self, numbers: np.ndarray) -> np.ndarray:
        """Weights of the generated rows of these numbers, (len(numbers), d) float32."""
        raise NotImplementedError

    def _with(self, rows: np.ndarray, extra: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        """The same kind with other rows."""
        raise NotImplementedError

    @cached_property
    def weights(self) -> np.ndarray:
        """All weights, (n, d) float32: the numbers that define the bits."""
        return frozen(self.weights_of(slice(None)))

    def weights_of(self, some: slice) -> np.ndarray:
        """Weights of some of the hyperplanes, float32."""
        rows = self.rows[some]
        weights = np.empty((len(rows), self.n_features), np.float32)
        weights[rows >= 0] = self.generated(rows[rows >= 0])
        weights[rows < 0] = self.extra[-1 - rows[rows < 0]]
        return weights

    @property
    def n_nonzero(self) -> int:
        """Weights and biases that are not zero."""
        size = max(1, (1 << 22) // self.n_features)  # never all weights at once
        counts = (
            np.count_nonzero(self.weights_of(slice(i, i + size))) for i in range(0, len(self), size)
        )
        return int(sum(counts) + np.count_nonzero(self.biases))

    def panel_maker(self, start: int, stop: int) -> PanelMaker:
        """See Hyperplanes."""
        return partial(transpose, self.weights_of(slice(start, stop)), np.arange(stop - start))

    @cached_property
    def explicit(self) -> Hyperplanes:
        """The same hyperplanes with all their weights stored."""
        return Hyperplanes(self.weights_of(slice(None)), self.biases, self.origin, self.radius)

    def extended(self, weights: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        """These hyperplanes and, after them, others, whose weights are stored."""
        more = -1 - np.arange(len(self.extra), len(self.extra) + len(weights), dtype=np.int32)
        return self._with(
            np.concatenate([self.rows, more]),
            np.concatenate([self.extra, weights]),
            np.concatenate([self.biases, biases]),
        )

    def subset(self, kept: np.ndarray) -> Hyperplanes:
        """The hyperplanes ``kept``, numbers in ascending order, as the same kind."""
        rows = self.rows[kept]
        is_extra = rows < 0
        extra = self.extra[-1 - rows[is_extra]]
        rows[is_extra] = -1 - np.arange(len(extra))
        return self._with(rows, extra, self.biases[kept])


def checked_origin(origin: np.ndarray | None, d: int) -> np.ndarray:
    """A point of d finite coordinates; zeros for None."""
    point = np.zeros(d) if origin is None else np.array(origin, np.float64)
    if point.shape != (d,) or not np.isfinite(point).all():
        raise InvalidInputError(
            f"origin has shape {point.shape} or is not finite; pass {d} finite coordinates"
        )
    return point


def checked_radius(radius: float) -> float:
    """A finite distance."""
    if not 0 <= radius < np.inf:
        raise InvalidInputError(f"radius is {radius}; pass a finite distance")
    return radius


class RowSource(Protocol):
    """Where a first layer's rows come from; ``kind`` is their name in growth steps."""

    kind: ClassVar[str]

    def start(self, n: int, origin: np.ndarray, radius: float) -> Hyperplanes:
        """The first n hyperplanes, with the frame of the data."""

    def more(self, hyperplanes: Hyperplanes, n: int) -> Hyperplanes:
        """Those of ``start`` or ``more``, perhaps extended, and n more."""

    @property
    def max_targets(self) -> int:
        """Pairs for which ``between`` makes candidates at most."""

    def between(
        self,
        points: Points,
        pairs: Sequence[tuple[int, int]],
        generator: np.random.Generator,
        n_random: int,
        origin: np.ndarray,
        radius: float,
    ) -> Hyperplanes:
        """Candidates that pass between pairs of rows (low, high), high on the positive side."""


class StoredCandidates:
    """A source of rows whose candidates between pairs are stored: those of ``rows_between``."""

    center: np.ndarray

    @property
    def max_targets(self) -> int:
        """See RowSource: so many that their candidates take some 16 MB."""
        return max(1, 2**22 // (8 * len(self.center)))

    def between(
        self,
        points: Points,
        pairs: Sequence[tuple[int, int]],
        generator: np.random.Generator,
        n_random: int,
        origin: np.ndarray,
        radius: float,
    ) -> Hyperplanes:
        """See RowSource."""
        weights, biases = [], []
        for pair in pairs:
            low, high = points.dense(np.array(pair)).astype(np.float64)
            rows, shifts = rows_between(low, high, generator, n_random)
            weights.append(rows)
            # a rounded bias may be infinite for points of 1e308: such a row parts nothing
            biases.append(np.where(np.isfinite(shifts), shifts, 0.0))
        return Hyperplanes(np.concatenate(weights), np.concatenate(biases), origin, radius)


@dataclass(frozen=True)
class GaussianRows(StoredCandidates):
    """Source of the paper's hyperplanes: W_i ~ N(0, I_d), b_i ~ Uniform[-max_bias, max_bias].

    The data are centred at ``center`` by folding it into the biases:
    <w, x - center> + b = <w, x> + (b - <w, center>).
    """

    kind: ClassVar[str] = "gaussian"
    generator: np.random.Generator
    center: np.ndarray
    max_bias: float

    def draw(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The next n rows: weights (n, d) float32 and biases (n,) float64."""
        weights = self.generator.standard_normal((n, len(self.center)), np.float32)
        # not uniform(-max_bias, max_bias): its width may overflow
        biases = self.max_bias * self.generator.uniform(-1.0, 1.0, n)
        return weights, through(weights, self.center, biases)

    def start(self, n: int, origin: np.ndarray, radius: float) -> Hyperplanes:
        """See RowSource."""
        return Hyperplanes(*self.draw(n), origin, radius)

    def more(self, hyperplanes: Hyperplanes, n: int) -> Hyperplanes:
        """See RowSource."""
        return hyperplanes.extended(*self.draw(n))


def through(weights: np.ndarray, point: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """biases - <weights, point>: the hyperplanes of ``biases`` about ``point``, (n,) float64.

    Not a BLAS product, whose last bits depend on its threads.
    """
    moved, errors = np.empty(len(weights)), np.empty(len(weights))
    shifted_biases(frozen(weights), frozen(biases), frozen(-point), moved, errors)
    return moved


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only view: kernels are compiled once, for what users' arrays may be."""
    view = array.view()
    view.flags.writeable = False
    return view


def rows_between(
    low: np.ndarray, high: np.ndarray, generator: np.random.Generator, n_random: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hyperplanes that pass between two different points, ``high`` on the positive side.

    low, high (d,) float64. Returns weights (n_random + 2, d) float32 and biases: n_random Gaussian
    rows turned the right way round and put in the middle, then the one across the segment from
    low to high, then an axis row w = +-e_k, b = -+low_k. Rounding can spoil any but the last, which
    is exact: e_k(low) + b = 0, and positive at high, where their k-th coordinates differ.
    """
    gap = high - low
    if not np.isfinite(gap).all():
        gap = high / 2 - low / 2
    axis = int(np.argmax(np.abs(gap)))
    # towards 1, so that neither the squares nor float32 overflow or vanish
    direction = np.ldexp(gap, -int(np.frexp(gap[axis])[1]))
    weights = generator.standard_normal((n_random + 2, len(low)), np.float32)
    length = np.sqrt(np.sum(direction * direction))
    weights[n_random] = direction * (np.sqrt(len(low)) / length)
    weights[:n_random][np.sum(weights[:n_random] * direction, axis=1) < 0] *= -1
    middle = low / 2 + high / 2
    biases = through(weights, middle, np.zeros(len(weights)))
    weights[-1] = 0.0
    weights[-1, axis] = np.sign(gap[axis])
    biases[-1] = -weights[-1, axis] * low[axis]
    return weights, biases
