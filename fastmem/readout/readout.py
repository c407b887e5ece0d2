"""The read-out: what it is made of, and the votes of points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs import Points
from fastmem.kernels.butterflies import LANES
from fastmem.kernels.cosines import Waves, feature_votes
from fastmem.kernels.layout import WORD_BITS
from fastmem.machine.arrays import frozen
from fastmem.machine.threads import ranges
from fastmem.readout.costs import BLOCK_VOTES
from fastmem.readout.waves import dense_block, rows_at_once, run_over, waves_of

MAX_WEIGHT = 127
MULTIPLIERS = (1, 3, 5, 7)
NEVER = -(1 << 61)
"""Intercept of a class that no point has."""
_MAX_FEATURES = 1 << 16
"""Sums of so many products of 7 bits each stay within 31 bits."""


@dataclass(frozen=True, eq=False)
class ReadOut:
    """Votes for classes: whole numbers, linear in cosine features of a point.

    ``kernels.cosines`` says what the features are. All arithmetic is of integers, so votes are the
    same on every machine.

    Attributes
    ----------
    key : int
        0 to 2^64 - 1: the random signs of the projections.
    exponent : int
        Coordinates are multiplied by 2^exponent before they are rounded.
    offsets : ndarray of shape (d,), float64
        Whole numbers, taken off them before that.
    weights : ndarray of shape (n, K), int8
        n a multiple of 64. For two classes K is 1: what positive votes say is the second class.
    intercepts : ndarray of shape (K,), int64
    gains : ndarray of shape (m,), int64
        What each neuron of the second layer that is on adds to the votes of its class; positive.
    temperature : float
        Probabilities are softmax(votes / temperature).
    reach : float
        All points that it was fitted to are within this distance of the offsets, on the grid.
    multiplier : {1, 3, 5, 7}
        The whole numbers that coordinates become are multiplied by it, modulo 2^32.

    Raises
    ------
    InvalidInputError
        Where shapes, dtypes or values cannot be a read-out.
    """

    key: int
    exponent: int
    offsets: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    gains: np.ndarray
    temperature: float = 1.0
    reach: float = np.inf
    multiplier: int = 1

    def __post_init__(self) -> None:
        for name, dtype, n_dimensions in (
            ("offsets", np.float64, 1), ("weights", np.int8, 2), ("intercepts", np.int64, 1),
            ("gains", np.int64, 1),
        ):  # fmt: skip
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                raise InvalidInputError(f"{name} is no {np.dtype(dtype)} array; convert it")
            if array.ndim != n_dimensions:
                raise InvalidInputError(
                    f"{name} has shape {array.shape}; pass {n_dimensions} dimensions"
                )
            object.__setattr__(self, name, frozen(np.ascontiguousarray(array).copy()))
        n, k = self.weights.shape
        if n % WORD_BITS or not 0 < n <= _MAX_FEATURES or not len(self.intercepts) == k > 0:
            raise InvalidInputError(
                f"weights has shape {self.weights.shape} and intercepts {self.intercepts.shape}; "
                f"pass a multiple of 64 features, at most {_MAX_FEATURES:,}, and one intercept for "
                f"each column"
            )
        if (self.weights == -MAX_WEIGHT - 1).any():
            raise InvalidInputError("weights has -128; pass weights from -127 to 127")
        if not 0 <= self.key < 1 << 64 or not -1074 <= self.exponent <= 1023:
            raise InvalidInputError(
                f"key is {self.key} and exponent {self.exponent}; pass 64 bits and -1074 to 1023"
            )
        # a file holds whole numbers, among which there is no -0.0
        object.__setattr__(self, "offsets", frozen(self.offsets + 0.0))
        whole = np.isfinite(self.offsets) & (self.offsets == np.rint(self.offsets))
        if not whole.all():
            raise InvalidInputError("offsets has a number that is not whole; round it")
        far = (self.intercepts >= 1 << 62) | (self.intercepts <= -(1 << 62))
        if (self.gains <= 0).any() or far.any():
            raise InvalidInputError("gains has a number below 1, or intercepts one beyond 2^62")
        if not (0 < self.temperature < np.inf and self.reach >= 0):
            raise InvalidInputError(
                f"temperature is {self.temperature} and reach {self.reach}; pass a positive finite "
                f"number and a distance"
            )
        if self.multiplier not in MULTIPLIERS:
            raise InvalidInputError(f"multiplier is {self.multiplier}; pass 1, 3, 5 or 7")

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def n_features(self) -> int:
        """The dimension d."""
        return len(self.offsets)

    @property
    def n_parameters(self) -> int:
        """Weights and intercepts."""
        return self.weights.size + len(self.intercepts)

    @cached_property
    def _waves(self) -> Waves:
        return waves_of(self.key, self.exponent, self.offsets, len(self), self.multiplier)

    @cached_property
    def _weights(self) -> np.ndarray:
        return frozen(self.weights.astype(np.float32))

    def __getstate__(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            held = frozen(value) if isinstance(value, np.ndarray) else value
            object.__setattr__(self, name, held)

    def for_classes(self, codes: np.ndarray, n_classes: int) -> ReadOut:
        """The same votes for the classes ``codes``, ascending, of more; none for the others.

        Intercepts of classes without points lie below all votes.
        """
        weights, intercepts = self.weights, self.intercepts
        if weights.shape[1] == 1:
            weights = np.concatenate([np.zeros_like(weights), weights], axis=1)
            intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
        wide = np.zeros((len(weights), n_classes), np.int8)
        wide[:, codes] = weights
        levels = np.full(n_classes, NEVER)
        levels[codes] = intercepts
        return replace(self, weights=wide, intercepts=levels)

    def votes(self, block: np.ndarray, n_threads: int = 1) -> np.ndarray:
        """Votes of points, without the second layer's.

        Parameters
        ----------
        block : ndarray of shape (m, d), float32 or float64, as of `Points.block`
        n_threads : int

        Returns
        -------
        ndarray of shape (m, 2 if K is 1 else K), int64
        """
        votes = np.zeros((len(block), self.weights.shape[1]), np.int64)
        others = (self._weights, votes)
        run_over(feature_votes, block, self._waves, others, n_threads, votes.shape[1])
        votes += self.intercepts
        return both_columns(votes)

    def is_beyond(self, block: np.ndarray) -> np.ndarray:
        """Whether points, as of `votes`, are further out than any that it was fitted to; (m,)."""
        with np.errstate(over="ignore"):
            away = np.ldexp(block.astype(np.float64), self.exponent) - self.offsets
            shift = np.frexp(np.abs(away).max(axis=1, initial=0.0))[1]
            away = np.ldexp(away, -shift[:, None])
            distances = np.ldexp(np.sqrt((away * away).sum(axis=1)), shift)
        result: np.ndarray = ~(distances <= self.reach)
        return result

    def in_blocks(self, points: Points, n_threads: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """Blocks of rows start..stop-1 of points, with their votes as of `votes`."""
        width = max(2, self.weights.shape[1])
        size = max(LANES, min(rows_at_once(points), BLOCK_VOTES // width))
        for start, stop in ranges(points.n_samples, size):
            yield start, stop, self.votes(dense_block(points, start, stop), n_threads)


def probabilities(votes: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(votes / temperature): votes (m, K) int64, returns (m, K) float64."""
    best = votes.max(axis=1, keepdims=True)
    shares = np.exp((votes - best) / temperature)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def both_columns(votes: np.ndarray) -> np.ndarray:
    """Votes (m, 1) for the second of two classes as those of both; others as they are."""
    return np.concatenate([np.zeros_like(votes), votes], axis=1) if votes.shape[1] == 1 else votes
