"""The rule of coincidence: the class whose neurons store most of what a point's pattern is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs import Points
from fastmem.inputs.refusals import did_you_mean, is_text, show, typed
from fastmem.kernels.coincidences import coincidences
from fastmem.kernels.layout import TILE
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.patterns.words import padded

if TYPE_CHECKING:
    from fastmem.network.network import Network

RULES = ("margin", "coincidence")
LEAST_MARGIN = 0.5
"""Below it the rule is worse than margins: by 16 points and more where cells are merged freely."""
_TASK_SCORES = 1 << 20
_TASK_WORDS = 1 << 28
"""Words that a task counts at most, beyond one tile: some 50 ms."""


def takes_coincidence(network: Network, rule: object, abstain: object) -> bool:
    """Whether a rule is "coincidence"; refuse others than there are, and networks it is not for."""
    if is_text(rule, "margin"):
        return False
    if not is_text(rule, "coincidence"):
        raise InvalidInputError(
            f"rule is {typed(rule)}{did_you_mean(rule, RULES)}; pass 'margin' or 'coincidence'"
        )
    if abstain is not None:
        raise InvalidInputError(
            "abstain was passed with rule='coincidence', which has no probabilities; leave one out"
        )
    if network.decision != "cells" or network.second.activation == "relu":
        kind = "ReLU activations" if network.decision == "cells" else f"a {network.decision}"
        raise InvalidInputError(
            f"rule is 'coincidence' for a network with {kind}, whose labels it would lose; pass "
            f"'margin', or fit with decision='cells' and activation='threshold'"
        )
    if len(set(network.second.owners.tolist())) < len(network.classes_):
        raise InvalidInputError(
            "rule is 'coincidence' for a network in which a class has no neuron, so that its "
            "points would lose their labels; pass 'margin', or fit with covered='all'"
        )
    margin = network.summary.get("margin")
    if not isinstance(margin, int | float) or not margin >= LEAST_MARGIN:
        said = "no margin is known" if margin is None else f"margin is {show(margin)}"
        raise InvalidInputError(
            f"rule is 'coincidence' for a network of which {said}, where it predicts worse than "
            f"margins; pass 'margin', or fit with margin=0.5 or more"
        )
    return True


def codes_by_coincidence(network: Network, points: Points, n_threads: int) -> np.ndarray:
    """The class of the largest coincidence among those with a neuron on, else among all.

    Of equals the first; (N,) intp. On a training point that was separated no neuron of another
    class is on, and one of its own is where every class is covered.
    """
    first, second, n_classes = network.first, network.second, len(network.classes_)
    masks = padded(second.masks)
    blocks = np.full(len(masks), -1, np.int64)
    blocks[: len(second)] = second.owners
    ones = np.bitwise_count(masks).sum(axis=1, dtype=np.int64)
    neurons = (masks, ones, padded(second.thresholds.astype(np.int64)), blocks)
    codes = np.empty(points.n_samples, np.intp)

    def work(start: int, stop: int, tiles: np.ndarray) -> None:
        sizes = np.full(len(tiles), TILE, np.int64)
        sizes[-1] = stop - start - (len(tiles) - 1) * TILE
        shape = (n_classes, len(tiles) * TILE)
        best, largest = np.full(shape, np.iinfo(np.int64).min), np.full(shape, -1.0)
        coincidences(tiles, sizes, neurons, len(first), best, largest)
        are_on = best > 0
        largest[~are_on & are_on.any(axis=0)] = -1.0
        codes[start:stop] = largest[:, : stop - start].argmax(axis=0)

    rows = min(_TASK_SCORES // n_classes, _TASK_WORDS // masks.size)
    tiles_of_blocks(points, first, n_threads, work, rows)
    return codes
