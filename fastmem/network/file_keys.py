"""First layers that come from a key as a whole, and the arrays that stand for them in a file."""

from __future__ import annotations

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.hyperplanes.bias_law import BiasLaw
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.seeded import SeededHyperplanes
from fastmem.hyperplanes.structured import ROUNDS, BlockLaw, StructuredHyperplanes
from fastmem.inputs import check_blocks
from fastmem.network.file_versions import Fault

Keyed = SeededHyperplanes | StructuredHyperplanes
_MOST_WEIGHTS = 1 << 36
"""So many weights a reader makes for biases about a centre, in some two minutes; biases of larger
layers are stored."""


def is_keyed(first: Hyperplanes) -> bool:
    """Whether a first layer comes from a key as a whole, but for some biases and rows."""
    if isinstance(first, SeededHyperplanes):
        return first.law is not None and not _is_large(len(first), first.law.center)
    if not isinstance(first, StructuredHyperplanes) or first.law is None:
        return False
    is_usual = first.law.rounds == ROUNDS
    return is_usual and np.array_equal(first.law.signs(first.n_features), first.signs)


def _is_large(n: int, center: np.ndarray) -> bool:
    return n * len(center) > _MOST_WEIGHTS and bool(center.any())


def arrays_of_keyed(first: Hyperplanes) -> dict[str, np.ndarray]:
    """What stands for a layer beside biases and origin; ``keyed_biases`` are those of its law."""
    assert isinstance(first, Keyed) and first.law is not None
    arrays = {
        "rows": first.rows, "extra": first.extra, "reaches": first.law.reaches,
        "center": first.law.center, "keyed_biases": first.keyed_biases(),
    }  # fmt: skip
    if isinstance(first, SeededHyperplanes):
        return {"key": np.array(first.key, np.uint64), **arrays}
    assert isinstance(first.law, BlockLaw)
    return {"key": np.array(first.law.key, np.uint64), "blocks": first.law.blocks, **arrays}


def layer_of(arrays: dict[str, np.ndarray]) -> Keyed:
    """The layer of plain arrays; one with zeros for biases where there are none yet."""
    key, rows, extra = int(arrays["key"]), arrays["rows"], arrays["extra"]
    biases = arrays.get("biases", np.zeros(len(rows)))
    about = arrays["origin"], float(arrays["radius"])
    points = arrays["reaches"], arrays["center"]
    if "blocks" not in arrays:
        return SeededHyperplanes(key, rows, extra, biases, *about, BiasLaw(*points))
    blocks = arrays["blocks"]
    law = BlockLaw(*points, key, blocks)
    signs = law.signs(extra.shape[1])
    return StructuredHyperplanes(signs, rows, extra, biases, *about, law)


def keyed_layer(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Biases, and signs of blocks, that come from the key of a file; nothing in it is believed."""
    if _is_large(len(arrays["rows"]), arrays["center"]):
        raise Fault(f"its hyperplanes have more than {_MOST_WEIGHTS} weights")
    try:
        if "blocks" in arrays:
            check_blocks(arrays["blocks"], arrays["extra"].shape[1])
        layer = layer_of(arrays)
    except InvalidInputError as error:
        raise Fault(str(error).partition("; ")[0]) from error
    plain = {"biases": layer.keyed_biases()}
    if isinstance(layer, StructuredHyperplanes):
        plain["signs"] = layer.signs
    return plain
