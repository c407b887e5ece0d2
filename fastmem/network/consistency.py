"""Whether the parts of a network fit together."""

from __future__ import annotations

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import InvalidInputError
from fastmem.readout import ReadOut
from fastmem.second_layer.cover_layer import CoverLayer


def check_readout(readout: ReadOut, n_classes: int, first: Hyperplanes, second: CoverLayer) -> None:
    """Refuse a read-out that does not belong to the other layers."""
    columns = readout.weights.shape[1]
    if readout.n_features != first.n_features or columns != (1 if n_classes == 2 else n_classes):
        raise InvalidInputError(
            f"readout has {readout.n_features} features and {columns} columns of weights, where "
            f"the first layer has {first.n_features} features and {n_classes} classes are there; "
            f"pass one column a class, or one for two classes"
        )
    if len(readout.gains) != len(second) or second.activation == "relu":
        raise InvalidInputError(
            f"readout has {len(readout.gains)} gains for {len(second)} neurons with "
            f"{second.activation} activations; pass one for each threshold neuron"
        )


def check_list(default: int, n_classes: int, second: CoverLayer, readout: ReadOut | None) -> None:
    """Refuse what is no decision list."""
    is_whole = isinstance(default, int | np.integer) and not isinstance(default, bool)
    if not is_whole or not 0 <= default < n_classes:
        raise InvalidInputError(
            f"default is {default!r}; pass the code, below {n_classes}, of the class where no "
            f"neuron is on, or None"
        )
    if readout is not None:
        raise InvalidInputError("default and readout were both passed; pass one of them")
    if second.activation == "relu" or (second.thresholds != 1).any():
        raise InvalidInputError(
            "default was passed with thresholds that are not 1; neurons with an order are "
            "conjunctions: pass thresholds of 1, or no default"
        )
