"""The two layers of a network as plain dense arrays, as other programs take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.structured import StructuredHyperplanes
from fastmem.inputs import InvalidInputError
from fastmem.kernels.exact import shifted_biases
from fastmem.machine.arrays import frozen
from fastmem.network import checking
from fastmem.network.lists import runs_of
from fastmem.patterns.words import packed, unpacked
from fastmem.readout import ReadOut
from fastmem.readout.waves import waves_of
from fastmem.second_layer.cover_layer import CoverLayer

if TYPE_CHECKING:
    from fastmem.network.network import Network

MAX_WEIGHT_BYTES = 1 << 30
"""Beyond it, an ONNX file would pass the 2 GB that its format allows, in float64."""


def refuse(sentence: str) -> NoReturn:
    """Raise InvalidInputError."""
    raise InvalidInputError(sentence)


def check_network(network: Network) -> None:
    """Refuse what is no network, or one whose neurons are not thresholds."""
    checking.check_network(network)
    for owner in (network, network.first, network.second):
        activation = getattr(owner, "activation", "threshold")
        if activation != "threshold":
            refuse(
                f"the network has the activation {activation!r}, and only networks of thresholds "
                f"can be exported; fit it with activation='threshold'"
            )


def without_unused(network: Network) -> Network:
    """A network that votes, without the hyperplanes that no neuron uses: its votes are the same."""
    second, n = network.second, len(network.first)
    bits = unpacked(second.masks, n)
    kept = np.flatnonzero(bits.any(axis=0))
    if network.readout is None or len(kept) == n:
        return network
    if not len(kept):
        kept = np.arange(1)  # a first layer has a row at least
    masks = packed(bits[:, kept])
    return type(network)(
        network.classes_, network.first.subset(kept),
        CoverLayer(masks, second.thresholds, second.owners), network.covered,
        feature_names=network.feature_names, scale=network.scale, encoding=network.encoding,
        readout=network.readout,
    )  # fmt: skip


def has_patterns(network: Network) -> bool:
    """Whether sign patterns decide anything: not for a vote without exceptions."""
    return network.readout is None or len(network.second) > 0


def check_size(network: Network) -> None:
    """Refuse explicit weights that no file of them should hold."""
    n, d = len(network.first), network.n_features_in_
    if 4 * n * d > MAX_WEIGHT_BYTES:
        refuse(
            f"{n:,} hyperplanes in {d:,} dimensions have {4 * n * d / 1e9:.1f} GB of weights, and "
            f"an export holds {MAX_WEIGHT_BYTES / 1e9:.1f} GB; fit with compact=True or a smaller "
            f"width"
        )


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of some texts."""
    if not isinstance(value, str) or value not in choices:
        refuse(f"{name} is {value!r}; pass one of {', '.join(map(repr, choices))}")


@dataclass(frozen=True)
class SecondLayer:
    """The second layer of an argmax over all classes.

    A class without a block has one neuron of an empty mask: its level is 0.5 for a class that was
    left out, and -inf for a block without neurons, as ``Network.decision_function`` scores them.

    Attributes
    ----------
    masks : ndarray of shape (m, n), uint8
        0 or 1, for the hyperplanes in the order that was asked for.
    levels : ndarray of shape (m,), float32
        Thresholds.
    widths : list of int
        Neurons of each class.
    gains : ndarray of shape (m,), int64, or None
        What neurons that are on add to the votes of their classes.
    values : ndarray of shape (m,), float32, or None
        Scores of neurons that are on, in a decision list; those that are off have 0. The default
        class has one more neuron of an empty mask, which is always on, of 0.5.
    """

    masks: np.ndarray
    levels: np.ndarray
    widths: list[int]
    gains: np.ndarray | None = None
    values: np.ndarray | None = None


def unpacked_masks(network: Network, order: np.ndarray) -> np.ndarray:
    """The masks as (m, n) uint8, 0 or 1, for the hyperplanes ``order``."""
    bits = unpacked(network.second.masks, len(network.first))
    return np.ascontiguousarray(bits[:, order]).view(np.uint8)


def second_layer(network: Network, order: np.ndarray) -> SecondLayer:
    """The second layer for hyperplanes in another order."""
    masks = unpacked_masks(network, order)
    if network.default is not None:
        return _list_layer(network, masks)
    rows: list[np.ndarray] = []
    levels: list[float] = []
    gains: list[int] = []
    widths = []
    readout = network.readout
    for code in range(len(network.classes_)):
        own = np.flatnonzero(network.second.owners == code)
        if len(own):
            rows.append(masks[own])
            levels.extend(network.second.thresholds[own])
        else:
            rows.append(np.zeros((1, masks.shape[1]), np.uint8))
            levels.append(-np.inf if code in network.covered else 0.5)
        if readout is not None:
            gains.extend(readout.gains[own].tolist() or [0])
        widths.append(max(1, len(own)))
    return SecondLayer(
        np.concatenate(rows), np.array(levels, np.float32), widths,
        None if readout is None else np.array(gains, np.int64),
    )  # fmt: skip


def _list_layer(network: Network, masks: np.ndarray) -> SecondLayer:
    """The second layer of a decision list, class by class."""
    owners = network.second.owners
    runs = runs_of(owners)
    none = np.zeros((1, masks.shape[1]), np.uint8)
    rows: list[np.ndarray] = []
    values: list[float] = []
    widths = []
    for code in range(len(network.classes_)):
        own = np.flatnonzero(owners == code)
        last = 0.5 if code == network.default else 0.0
        # of other classes none is needed where there are neurons, and one more does no harm
        rows += [masks[own], none]
        values += [*(runs[-1:] + 1 - runs[own]).tolist(), last]
        widths.append(len(own) + 1)
    levels = np.ones(len(values), np.float32)
    return SecondLayer(np.concatenate(rows), levels, widths, values=np.array(values, np.float32))


@dataclass(frozen=True)
class Arithmetic:
    """How another program computes the first layer: bit h is <w_h, s x - shift> > levels[h].

    Attributes
    ----------
    dtype : numpy.dtype
        float32 or float64, of the product.
    wide : numpy.dtype
        Of the difference: the wider of ``dtype`` and that of the points.
    shift : ndarray of shape (d,), float64, or None
        Float32 numbers; taken from the points, it spares a float the rounding of far-away data.
    levels : ndarray of shape (n,), dtype
    scale : ndarray of shape (d,), float64, or None
        By which points are multiplied before all else, in ``wide``.
    adjusted : int
        Levels that were moved.
    """

    dtype: np.dtype
    wide: np.dtype
    shift: np.ndarray | None
    levels: np.ndarray
    scale: np.ndarray | None = None
    adjusted: int = 0

    def __str__(self) -> str:
        moved = f", {self.adjusted} biases moved" if self.adjusted else ""
        return f"{self.dtype}{', centred' if self.shift is not None else ''}{moved}"


def arithmetic(
    network: Network, points_dtype: np.dtype, dtype: np.dtype, centred: bool
) -> Arithmetic | None:
    """A way to compute the first layer, or None where ``centred`` changes nothing.

    Also None where ``dtype`` cannot hold the biases or the scale.
    """
    first, scale = network.first, network.scale
    shift = None
    biases = first.biases
    wide = np.promote_types(dtype, points_dtype)
    if scale is not None:
        limits = np.finfo(wide)
        if scale.min() < limits.tiny or scale.max() > limits.max:
            return None
    if centred:
        with np.errstate(over="ignore"):
            shift = first.origin.astype(np.float32).astype(np.float64)
        if not shift.any() or not np.isfinite(shift).all():
            return None
        moved, errors = np.empty(len(first)), np.empty(len(first))
        shifted_biases(frozen(first.weights), frozen(biases), frozen(shift), moved, errors)
        biases = moved
    with np.errstate(over="ignore"):
        levels = (-biases).astype(dtype)
    if not np.isfinite(levels).all():
        return None
    return Arithmetic(dtype, wide, shift, levels, scale)


def transforms_of(first: Hyperplanes) -> StructuredHyperplanes | None:
    """The hyperplanes, where some of them are rows of transforms."""
    if isinstance(first, StructuredHyperplanes) and (first.rows >= 0).any():
        return first
    return None


def wave_signs(readout: ReadOut) -> np.ndarray:
    """The random signs of cosine features, (n_blocks, rounds, D) bool: whether it is -1."""
    flips = waves_of(readout.key, readout.exponent, readout.offsets, len(readout)).flips
    return flips != 0


def cosine_table() -> np.ndarray:
    """Cosines by the upper 8 bits of an angle, (256,) float64; see ``kernels.cosines``."""
    r = np.arange(128)
    half = (2 * r + 1) * (255 - 2 * r) >> 7
    return np.concatenate([half, -half]).astype(np.float64)


def largest_votes(readout: ReadOut, owners: np.ndarray) -> int:
    """A bound on the size of all votes, with the gains of neurons of the classes ``owners``."""
    sums = 127 * np.abs(readout.weights.astype(np.int64)).sum(axis=0)
    own = np.abs(readout.intercepts) + sums
    gains: dict[int, int] = {}
    for owner, gain in zip(owners.tolist(), readout.gains.tolist(), strict=True):
        gains[owner] = gains.get(owner, 0) + gain
    return int(own.max()) + max(gains.values(), default=0)
