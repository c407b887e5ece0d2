"""The neurons of a decision list in words: what a point must be for each of them to be on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.network.lists import literals_of
from fastmem.second_layer.cover_layer import CoverLayer

if TYPE_CHECKING:
    from fastmem.network.network import Network


def rules_of(
    first: Hyperplanes, second: CoverLayer, names: Sequence[str], scale: np.ndarray | None
) -> Iterator[tuple[str, ...]]:
    """What each neuron of a list asks for, in their order: one comparison a literal.

    Parameters
    ----------
    first, second
        Layers of a decision list.
    names : sequence of str
        Of the features.
    scale : ndarray of shape (d,), float64, or None
        Powers of two that points are multiplied by before the first layer.
    """

    @cache
    def comparison(row: int) -> str:
        weights = first.subset(np.array([row])).weights[0]  # all of them may not fit in memory
        weights = weights if scale is None else weights * scale
        return _comparison(weights, float(first.biases[row]), names)

    starts, literals = literals_of(second, len(first))
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        yield tuple(comparison(row) for row in literals[begin:end].tolist())


def labelled_rules(network: Network) -> list[tuple[str, Any]]:
    """The rules of a list in their order with their labels, and the default."""
    assert network.default is not None
    names = network.feature_names or [f"x{k}" for k in range(network.n_features_in_)]
    labels = network.classes_.tolist()
    texts = rules_of(network.first, network.second, names, network.scale)
    found = [
        (" and ".join(text), labels[owner])
        for text, owner in zip(texts, network.second.owners.tolist(), strict=True)
    ]
    return [*found, ("else", labels[network.default])]


def _comparison(weights: np.ndarray, bias: float, names: Sequence[str]) -> str:
    """<w, x> + b <= 0 as "a + 2 b <= 3.5", with a positive first factor."""
    used = np.flatnonzero(weights)
    sign, relation = (1.0, "<=") if len(used) == 0 or weights[used[0]] > 0 else (-1.0, ">=")
    text = ""
    for k in used.tolist():
        factor = sign * float(weights[k])
        mark = ("-" if factor < 0 else "") if not text else (" - " if factor < 0 else " + ")
        size = "" if abs(factor) == 1 else f"{abs(factor):.9g} "
        text += f"{mark}{size}{names[k]}"
    return f"{text or '0'} {relation} {-sign * bias + 0.0:.6g}"
