"""The finished second layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmem.errors import InvalidInputError


@dataclass(frozen=True, eq=False)
class CoverLayer:
    """The second layer: neuron j is on for x iff ``thresholds[j] > <masks[j], a(x)>``.

    The activations a(x) of the first layer are its sign pattern Phi(x), so that the product counts
    ones, or max(W x + b, 0).

    Attributes
    ----------
    masks : ndarray of shape (m, ceil(n / 64)), uint64
        Bit k of word i is the (negative) weight of hyperplane 64 i + k.
    thresholds : ndarray of shape (m,), int32 or float64
        Counts of at least 1, or positive real numbers, to which real activations belong.
    owners : ndarray of shape (m,), int32
        Index into ``classes_`` of the class that the neuron covers; ascending, but for decision
        lists, whose neurons stand in their order. Of a class, the neurons that covered most
        training points come first.
    """

    masks: np.ndarray
    thresholds: np.ndarray
    owners: np.ndarray

    def __post_init__(self) -> None:
        for name, dtypes, n_dimensions in (
            ("masks", ["uint64"], 2),
            ("thresholds", ["int32", "float64"], 1),
            ("owners", ["int32"], 1),
        ):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype not in dtypes:
                raise InvalidInputError(f"{name} is no {' or '.join(dtypes)} array; convert it")
            if array.ndim != n_dimensions or len(array) != len(self.masks):
                raise InvalidInputError(
                    f"{name} has shape {array.shape} where masks has {self.masks.shape}; pass one "
                    f"row, threshold and owner for each neuron"
                )

        if (
            self.activation == "relu"
            and not ((self.thresholds > 0) & (self.thresholds < np.inf)).all()
        ):
            raise InvalidInputError(
                "thresholds holds a number that is not positive and finite; pass real sums"
            )

    def __len__(self) -> int:
        return len(self.thresholds)

    @property
    def activation(self) -> str:
        """What the neurons take from the first layer: "threshold" or "relu"."""
        return "relu" if self.thresholds.dtype == np.float64 else "threshold"
