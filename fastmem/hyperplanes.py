"""First layer: random hyperplanes, how they grow, and how the last pairs are separated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from fastmem.inputs import InvalidInputError, Points, SparseRows, check_hyperplanes
from fastmem.kernels.bits import FEW_LANES, WORD_BITS
from fastmem.kernels.signs import pattern_words, shifted_biases
from fastmem.kernels.sparse import largest_weights, sparse_pattern_words, transpose
from fastmem.kernels.threads import ranges, run_tasks

PANEL_BYTES = 128 << 20
"""Room for the weights that one pass over sparse rows reads: half of what a fit may take beyond
its patterns. At a million columns it holds those of 32 hyperplanes."""
_TASK_WEIGHTS = 1 << 20
_NO_COLUMNS = np.empty(0, np.int64)

Fill = Callable[[Any, np.ndarray, int], int]
"""fill(block, tiles, position): write the patterns of ``block``, an ndarray or `SparseRows`, at
``position`` of ``tiles``; returns the doubtful bits."""


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

    def __post_init__(self) -> None:
        weights, biases = check_hyperplanes(self.weights, self.biases)
        d = weights.shape[1]
        origin = np.zeros(d) if self.origin is None else np.array(self.origin, np.float64)
        if origin.shape != (d,) or not np.isfinite(origin).all():
            raise InvalidInputError(
                f"origin has shape {origin.shape} or is not finite; pass {d} finite coordinates"
            )
        if not 0 <= self.radius < np.inf:
            raise InvalidInputError(f"radius is {self.radius}; pass a finite distance")
        # copies: nobody can change them behind the network's back
        object.__setattr__(self, "weights", _frozen(weights.copy()))
        object.__setattr__(self, "biases", _frozen(biases.copy()))
        object.__setattr__(self, "origin", _frozen(origin))

    def __len__(self) -> int:
        return len(self.biases)

    @property
    def n_words(self) -> int:
        """Words of 64 bits in a sign pattern."""
        return -(-len(self) // WORD_BITS)

    def extended(self, weights: np.ndarray, biases: np.ndarray) -> Hyperplanes:
        """These hyperplanes and, after them, others."""
        return Hyperplanes(
            np.concatenate([self.weights, weights]),
            np.concatenate([self.biases, biases]),
            self.origin,
            self.radius,
        )

    @property
    def n_features(self) -> int:
        """Coordinates of a point."""
        return len(self.origin)

    def streams(self, points: Points) -> bool:
        """Whether one pass, prepared once, writes all bits of ``points``."""
        return not points.is_sparse

    def passes(
        self, points: Points, n_threads: int, first_word: int = 0, room: int = PANEL_BYTES
    ) -> Iterator[tuple[Fill, float]]:
        """Passes over blocks of ``points`` that together write the words from ``first_word`` on.

        Yields a function that writes some of the bits of a block, and its share of the work. It
        may be called on any thread, but only before the next is asked for.
        """
        if points.is_sparse:
            yield from self._sparse_passes(points, n_threads, first_word, room)
        else:
            self.frame  # noqa: B018 - computed once, before the threads start
            yield partial(self._fill, first_word), 1.0

    def _fill(self, first_word: int, block: np.ndarray, tiles: np.ndarray, position: int) -> int:
        frame = self.frame
        return pattern_words(
            block, self.weights, self.biases, frame.panels, frame.scaled_biases,
            frame.norms, frame.floors, frame.origin, frame.shifted, frame.errors, frame.scale,
            first_word, self.n_words, tiles, position,
        )  # fmt: skip

    def _sparse_passes(
        self, points: Points, n_threads: int, first_word: int, room: int
    ) -> Iterator[tuple[Fill, float]]:
        """Passes over `SparseRows`, each with the weights of as many hyperplanes as ``room`` holds.

        Weights stand feature-major, those of 64 or 16 hyperplanes side by side, for all columns
        or, for few points, for the columns that occur.
        """
        used = points.used_columns()
        n_columns = self.n_features if used is None else max(1, len(used))
        lanes = WORD_BITS if 4 * WORD_BITS * n_columns <= room else FEW_LANES
        first, last = first_word * WORD_BITS, self.n_words * WORD_BITS
        groups = max(1, min(room // (4 * lanes * n_columns), (last - first) // lanes))
        panels = np.empty((groups, n_columns, lanes), np.float32)
        columns = _NO_COLUMNS if used is None else used
        size = max(1, _TASK_WEIGHTS // (groups * lanes))
        tasks = ranges(n_columns if used is None else len(used), size)
        biases = np.full(last, -1.0)  # those of the padding
        biases[: len(self)] = self.biases
        for start in range(first, last, groups * lanes):
            stop = min(start + groups * lanes, last)
            now = panels[: (stop - start) // lanes]
            largest = np.zeros((len(tasks) + 1, len(now), lanes))

            def prepare(index: int, now=now, start=start, largest=largest) -> None:
                self._fill_panels(start, columns, *tasks[index], now)
                largest_weights(now, *tasks[index], largest[index])

            run_tasks(prepare, range(len(tasks)), n_threads)
            bounds = largest.max(axis=0)
            levels = biases[start:stop].reshape(-1, lanes)

            def fill(
                block: SparseRows, tiles: np.ndarray, position: int,
                now=now, start=start, bounds=bounds, levels=levels,
            ) -> int:  # fmt: skip
                where = block.columns
                if used is not None:
                    where = _frozen(np.searchsorted(used, where).astype(where.dtype))
                return sparse_pattern_words(
                    block.values, where, block.starts, now, bounds, levels, start, tiles, position
                )

            yield fill, (stop - start) / (last - first)

    def _fill_panels(
        self, start: int, columns: np.ndarray, first: int, last: int, panels: np.ndarray
    ) -> None:
        """panels[g, k, h] = weight of hyperplane start + g L + h at columns[k], first <= k < last.

        ``columns`` is empty for all columns in order; beyond the last hyperplane stands 0.
        """
        stop = min(start + panels.shape[0] * panels.shape[2], len(self))
        transpose(self.weights, np.arange(start, stop), columns, first, last, panels)

    @cached_property
    def frame(self) -> Frame:
        """The float32 filter's data; see ``kernels.signs``."""
        n, d = self.weights.shape
        words = self.n_words
        padding = words * WORD_BITS - n
        # a power of two, so that scaling rounds nothing
        exponent = int(np.ceil(np.log2(self.radius))) if self.radius > 0 else 0
        scale = float(2.0 ** -np.clip(exponent, -1000, 1000))
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


@dataclass(frozen=True)
class GaussianRows:
    """Source of the paper's hyperplanes: W_i ~ N(0, I_d), b_i ~ Uniform[-max_bias, max_bias].

    The data are centred at ``center`` by folding it into the biases:
    <w, x - center> + b = <w, x> + (b - <w, center>).
    """

    generator: np.random.Generator
    center: np.ndarray
    max_bias: float

    def draw(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The next n rows: weights (n, d) float32 and biases (n,) float64."""
        weights = self.generator.standard_normal((n, len(self.center)), np.float32)
        # not uniform(-max_bias, max_bias): its width may overflow
        biases = self.max_bias * self.generator.uniform(-1.0, 1.0, n)
        return weights, through(weights, self.center, biases)


def through(weights: np.ndarray, point: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """biases - <weights, point>: the hyperplanes of ``biases`` about ``point``, (n,) float64.

    Not a BLAS product, whose last bits depend on its threads.
    """
    moved, errors = np.empty(len(weights)), np.empty(len(weights))
    shifted_biases(_frozen(weights), _frozen(biases), _frozen(-point), moved, errors)
    return moved


def _frozen(array: np.ndarray) -> np.ndarray:
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
