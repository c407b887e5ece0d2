"""Whether the parts of a network fit together."""

from __future__ import annotations

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import InvalidInputError
from fastmem.network.model_file import ModelParts
from fastmem.readout import ReadOut
from fastmem.second_layer.cover_layer import CoverLayer


def check_parts(parts: ModelParts) -> None:
    """Refuse layers, classes and names that do not belong together."""
    first, second, n_classes = parts.first, parts.second, len(parts.classes)
    if second.masks.shape[1] != first.n_words:
        raise InvalidInputError(
            f"masks has {second.masks.shape[1]} words a row where {len(first)} hyperplanes "
            f"have {first.n_words}; build both layers for one width"
        )
    if not np.isin(second.owners, parts.covered).all() or not all(
        0 <= code < n_classes for code in parts.covered
    ):
        raise InvalidInputError(
            f"covered is {parts.covered!r}; pass the codes, below {n_classes}, of all classes "
            f"that own neurons"
        )
    names, encoding = parts.feature_names, parts.encoding
    if names is not None and len(names) != first.n_features:
        raise InvalidInputError(
            f"feature_names has {len(names)} names for {first.n_features} features; "
            f"pass one for each, or None"
        )
    if encoding is not None and not callable(getattr(encoding, "to_dict", None)):
        raise InvalidInputError(
            f"encoding is a {type(encoding).__name__}; pass a fastmem.encoding.Encoding, or None"
        )
    if parts.readout is not None:
        check_readout(parts.readout, n_classes, first, second)
    if parts.default is not None:
        check_list(parts.default, n_classes, second, parts.readout)


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
