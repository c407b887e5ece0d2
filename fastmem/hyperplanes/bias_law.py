"""How the biases of random hyperplanes come from a key, so that a model file need not hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmem.inputs.refusals import refuse
from fastmem.inputs.values import check_values
from fastmem.kernels.normals import row_seeds, row_uniforms
from fastmem.machine.arrays import frozen

_LEVELS = 64
"""Reaches that are kept of the norms of a thousand points."""
_DIGITS = 8
"""Binary digits that they are kept to."""


@dataclass(frozen=True, eq=False)
class BiasLaw:
    """Biases that are uniform on [-r, r] about a centre, r one of a few reaches at random.

    Attributes
    ----------
    reaches : ndarray of shape (n_reaches,), float64
        Each as likely as the others: the paper's lambda alone, or what some points have as norms.
    center : ndarray of shape (d,), float64
        The point that hyperplanes of bias 0 pass through.

    Raises
    ------
    InvalidInputError
        If there is no reach, or a number is not finite.
    """

    reaches: np.ndarray
    center: np.ndarray

    def __post_init__(self) -> None:
        for name in ("reaches", "center"):
            array = np.array(getattr(self, name), np.float64)
            if array.size:
                check_values(array, name)
            object.__setattr__(self, name, frozen(array))
        if self.reaches.ndim != 1 or not len(self.reaches) or self.reaches.min() < 0:
            refuse("reaches holds no distances; pass one at least, none below 0")

    def uniform(self, key: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reaches of rows of a key, and numbers in (-1, 1); both (len(numbers),) float64.

        numbers as ``kernels.normals.row_seeds`` takes them: a mirrored row has minus the number of
        the row.
        """
        seeds, signs = seeds_of(key, numbers)
        shares, places = np.empty(len(seeds)), np.empty(len(seeds))
        row_uniforms(seeds, 0, shares)
        row_uniforms(seeds, 1, places)
        chosen = ((places + 0.5) * len(self.reaches)).astype(np.int64)
        reaches = self.reaches[np.minimum(chosen, len(self.reaches) - 1)]
        return reaches, 2.0 * shares * signs


def seeds_of(key: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seeds of rows of a key, uint64, and their signs, float32; see ``kernels.normals.row_seeds``.

    numbers (m,) of any integers.
    """
    seeds, signs = np.empty(len(numbers), np.uint64), np.empty(len(numbers), np.float32)
    row_seeds(np.uint64(key), numbers.astype(np.int64), seeds, signs)
    return seeds, signs


def reaches_of(max_bias: float, norms: np.ndarray | None) -> np.ndarray:
    """How far from the centre hyperplanes may be: all as far, or each as a random point.

    ``norms`` are those of some points; of them 64 quantiles are kept, in few digits.
    """
    if norms is None:
        return np.array([max_bias])
    few = min(_LEVELS, len(norms))
    middles = (2 * np.arange(few) + 1) * len(norms) // (2 * few)
    fractions, exponents = np.frexp(np.sort(norms)[middles])
    short = np.ldexp(np.rint(np.ldexp(fractions, _DIGITS)), exponents - _DIGITS)
    return np.minimum(short, max_bias)


def checked_law(law: BiasLaw | None, d: int) -> BiasLaw | None:
    """A law for points of d features, or None."""
    if law is not None and law.center.shape != (d,):
        refuse(f"law has a center of shape {law.center.shape}; pass one of {d} features")
    return law
