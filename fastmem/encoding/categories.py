"""Columns of categories: a feature a level, a code of signs, or the place in an order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fastmem.encoding.codes import codes
from fastmem.encoding.column import EXAMPLES, Column, Place, Surprises, as_texts
from fastmem.inputs.refusals import show

UNKNOWN_OF_TWO = 0.5


@dataclass(frozen=True)
class _Levels(Column):
    """A column whose texts are looked up.

    Attributes
    ----------
    levels : tuple of str
        Those of the fit.
    """

    name: str
    levels: tuple[str, ...]
    flags_missing: bool

    def _found(self, chunk: Any, missing: np.ndarray, surprises: Surprises) -> np.ndarray:
        """The number of each value's level, -1 where there is none, int64."""
        from pyarrow import array, compute, string

        values = as_texts(chunk, f"column {show(self.name)}")
        places = compute.index_in(values, array(self.levels, string()))
        numbers = np.array(compute.fill_null(places, -1).to_numpy(zero_copy_only=False), np.int64)
        unknown = (numbers < 0) & ~missing
        if unknown.any():
            surprises.unknown[self.name] += int(unknown.sum())
            examples = surprises.examples.setdefault(self.name, [])
            for i in np.flatnonzero(unknown):
                if len(examples) >= EXAMPLES:
                    break
                if values[i].as_py() not in examples:
                    examples.append(values[i].as_py())
        return numbers

    def _features(self, levels: np.ndarray) -> np.ndarray:
        """The features of levels by their numbers, -1 for none; (rows, own features)."""
        raise NotImplementedError

    def _value(self, features: np.ndarray) -> Any:
        own = len(self.own_features)
        known = self._features(np.arange(len(self.levels)))
        found = np.flatnonzero((known == features[:own]).all(axis=1))
        return self.levels[found[0]] if len(found) else None

    def others(self, features: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
        """The other levels, each with its features."""
        known = self._features(np.arange(len(self.levels)))
        for level, own in zip(self.levels, known, strict=True):
            other = np.zeros(len(features))
            other[: len(own)] = own
            if not (other == features).all():
                yield level, other


@dataclass(frozen=True)
class OneHot(_Levels):
    """A feature a level, 1 for its rows; of two levels only the second has one, of one level none.

    A value that is no level is 0 everywhere; of two levels, 0.5.
    """

    kind: ClassVar[str] = "one-hot"

    @property
    def own_features(self) -> list[str]:
        """One for each level, but for the first of two."""
        shown = self.levels if len(self.levels) > 2 else self.levels[1:]
        return [f"{self.name}={level}" for level in shown]

    def _write(
        self, chunk: Any, missing: np.ndarray, out: np.ndarray, place: Place, surprises: Surprises
    ) -> None:
        features = self._features(self._found(chunk, missing, surprises))
        out[:, : features.shape[1]] = features

    def _features(self, levels: np.ndarray) -> np.ndarray:
        if len(self.levels) <= 2:
            features = np.where(levels < 0, UNKNOWN_OF_TWO, levels)[:, None]
            return features[:, : len(self.levels) - 1]
        features = np.zeros((len(levels), len(self.levels)))
        known = np.flatnonzero(levels >= 0)
        features[known, levels[known]] = 1
        return features

    def described(self) -> str:
        """What the column became."""
        if len(self.levels) == 1:
            return "category of one level"
        return f"category of {len(self.levels)} levels, one-hot"


@dataclass(frozen=True)
class Code(_Levels):
    """Signs from a key for each level: -1 and 1 in ``n_bits`` features; of no level 0.

    Attributes
    ----------
    n_bits : int
    key : int
    """

    kind: ClassVar[str] = "code"
    n_bits: int
    key: int

    @cached_property
    def _signs(self) -> np.ndarray:
        """Of each level, and of none; (levels + 1, n_bits) float32."""
        none = np.zeros((1, self.n_bits), np.float32)
        return np.concatenate([codes(self.levels, self.n_bits, self.key), none])

    @property
    def own_features(self) -> list[str]:
        """One for each sign."""
        return [f"{self.name} code[{k}]" for k in range(self.n_bits)]

    def _write(
        self, chunk: Any, missing: np.ndarray, out: np.ndarray, place: Place, surprises: Surprises
    ) -> None:
        out[:, : self.n_bits] = self._features(self._found(chunk, missing, surprises))

    def _features(self, levels: np.ndarray) -> np.ndarray:
        return self._signs[levels]

    def described(self) -> str:
        """What the column became."""
        return f"category of {len(self.levels):,} levels, {self.n_bits} signs"


@dataclass(frozen=True)
class Ordinal(_Levels):
    """The place of each level in their order; of no level the place of the median.

    Attributes
    ----------
    fill : float
    """

    kind: ClassVar[str] = "ordinal"
    fill: float

    def _write(
        self, chunk: Any, missing: np.ndarray, out: np.ndarray, place: Place, surprises: Surprises
    ) -> None:
        out[:, :1] = self._features(self._found(chunk, missing, surprises))

    def _features(self, levels: np.ndarray) -> np.ndarray:
        return np.where(levels < 0, self.fill, levels)[:, None].astype(np.float64)

    def described(self) -> str:
        """What the column became."""
        shown = " < ".join(self.levels[:6]) + (" < ..." if len(self.levels) > 6 else "")
        return f"place among {len(self.levels)} levels: {shown}"
