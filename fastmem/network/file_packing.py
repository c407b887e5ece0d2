"""Arrays in fewer bytes: gaps, lists and deflate."""

from __future__ import annotations

import zlib

import numpy as np

from fastmem.kernels.layout import WORD_BITS
from fastmem.network.file_keys import keyed_layer
from fastmem.network.file_members import ALWAYS_UNPACKED
from fastmem.network.file_versions import (
    COUNT_TYPES,
    GAIN_TYPES,
    OFFSET_TYPES,
    STEP_TYPES,
    Fault,
    version_of,
)
from fastmem.patterns.words import unpacked

_SAMPLE_BYTES = 1 << 18
"""Bytes of masks that are packed both ways to see which is shorter."""
_LONG_GAP = 255
"""In a list of gaps: 255 zeros and no one."""


def pack(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The members of a packed file, from plain arrays that `check_plain` has passed."""
    packed = arrays | {"summary": np.frombuffer(arrays["summary"].item().encode(), np.uint8)}
    if version_of(arrays).keyed:
        packed |= _packed_law(arrays)
    else:
        packed |= {name: _shortest(arrays[name]) for name in ("biases", "origin")}
    if "rows" in arrays:
        rows = arrays["rows"].astype(np.int64)
        packed["row_steps"] = _smallest(np.diff(rows, prepend=0), STEP_TYPES)
    if "offsets" in arrays:
        packed["offsets"] = _whole(arrays["offsets"])
        packed["intercepts"] = _smallest(arrays["intercepts"], STEP_TYPES)
        packed["gains"] = _smallest(arrays["gains"], GAIN_TYPES)
    for name in ("thresholds", "owners", "covered"):
        is_real = arrays[name].dtype.kind == "f"
        packed[name] = _shortest(arrays[name]) if is_real else _smallest(arrays[name], COUNT_TYPES)
    masks = arrays["masks"]
    lists = {"mask_sizes": np.empty(0, np.uint8), "mask_gaps": np.empty(0, np.uint8)}
    # a reader makes a matrix of the lists, and believes no larger one
    if masks.size and masks.nbytes <= ALWAYS_UNPACKED:
        some = masks[:: max(1, masks.nbytes // _SAMPLE_BYTES)]
        if _deflated(*_mask_lists(some).values()) < _deflated(some):
            packed["masks"] = masks[:0]
            lists = _mask_lists(masks)
    return packed | lists


def unpack(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Plain arrays, from those of a file whose types and shapes are checked."""
    if not version_of(arrays).packed:
        return arrays
    plain = arrays.copy()
    if "row_steps" in arrays:
        plain["rows"] = _rows_of_steps(arrays["row_steps"].astype(np.int64))
    if "offsets" in arrays:
        plain["offsets"] = arrays["offsets"].astype(np.float64)
        # beyond 2^63 a gain becomes negative, which no read-out has
        plain |= {name: arrays[name].astype(np.int64) for name in ("intercepts", "gains")}
    try:
        summary = arrays["summary"].tobytes().decode()
    except UnicodeDecodeError as error:
        raise Fault("the summary is no UTF-8 text") from error
    if version_of(arrays).keyed:
        plain |= _plain_law(plain)
    else:
        plain |= {name: arrays[name].astype(np.float64) for name in ("biases", "origin")}
    return plain | {
        "masks": arrays["masks"] if len(arrays["masks"]) else _masks_of_lists(plain),
        "thresholds": _plain_thresholds(arrays["thresholds"]),
        "owners": _as_int32("owners", arrays["owners"]),
        "covered": arrays["covered"].astype(np.int64),
        "summary": np.array(summary),
    }


def _packed_law(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What comes from a key: only the biases that do not, and points as whole numbers."""
    biases, center = arrays["biases"], arrays["center"]
    is_own = biases.view(np.uint64) != arrays["keyed_biases"].view(np.uint64)
    packed = {
        "reaches": _shortest(arrays["reaches"]),
        "own": np.packbits(is_own, bitorder="little"),
        "own_biases": _shortest(biases[is_own]),
    }
    if "blocks" in arrays:
        packed["block_steps"] = _smallest(np.diff(arrays["blocks"], prepend=0), STEP_TYPES)
    if center.tobytes() == arrays["origin"].tobytes():
        center = center[:0]
    for name, point in (("center", center), ("origin", arrays["origin"])):
        packed[name], packed[f"{name}_exponent"] = _multiples(point)
    return packed


def _plain_law(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The reverse of `_packed_law`, with all biases and signs of blocks."""
    n = len(arrays["rows"])
    plain = {"reaches": arrays["reaches"].astype(np.float64)}
    for name in ("center", "origin"):
        with np.errstate(over="ignore"):  # what is infinite then is refused
            plain[name] = np.ldexp(arrays[name].astype(np.float64), int(arrays[f"{name}_exponent"]))
    if not len(plain["center"]):
        plain["center"] = plain["origin"]
    if "block_steps" in arrays:
        steps = arrays["block_steps"].astype(np.int64)
        plain["blocks"] = _rows_of_steps(steps).astype(np.int64)
    own = np.unpackbits(arrays["own"], bitorder="little").astype(bool)
    if own[n:].any() or np.count_nonzero(own) != len(arrays["own_biases"]):
        raise Fault(
            f"own names {np.count_nonzero(own)} of {n} hyperplanes where own_biases holds "
            f"{len(arrays['own_biases'])}"
        )
    plain |= keyed_layer(arrays | plain)
    plain["biases"][own[:n]] = arrays["own_biases"]
    return plain


def _multiples(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Floats as the smallest integers times 2^exponent, if they are; else as they are, times 1."""
    fractions, exponents = np.frexp(numbers[numbers != 0])
    digits = np.ldexp(fractions, 53).astype(np.int64)
    zeros = np.frexp((digits & -digits).astype(np.float64))[1] - 1
    exponent = int((exponents - 53 + zeros).min(initial=np.iinfo(np.int16).max))
    with np.errstate(over="ignore"):
        whole = np.ldexp(numbers, -exponent)
    if not len(digits) or np.abs(whole).max() >= 2.0**31:
        exponent, whole = 0, numbers
    short = _whole(whole)
    return short, np.array(0 if short.dtype == np.dtype(OFFSET_TYPES[-1]) else exponent, np.int16)


def _rows_of_steps(steps: np.ndarray) -> np.ndarray:
    rows = np.cumsum(steps)
    # |a step| < 2^33 excludes an overflow of the sums: n < 2^30 of them take 8 GB
    wrong = (steps > 1 << 33) | (steps < -(1 << 33)) | (rows != rows.astype(np.int32))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise Fault(f"row_steps[{i}] is {steps[i]}, which leads to no row")
    return rows.astype(np.int32)


def _smallest(numbers: np.ndarray, dtypes: tuple[str, ...]) -> np.ndarray:
    """Integers in the first of some types that holds them all."""
    low, high = int(numbers.min(initial=0)), int(numbers.max(initial=0))
    for dtype in dtypes:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return numbers.astype(dtype)
    raise Fault(f"a number from {low} to {high} does not fit {dtypes[-1]}")


def _whole(numbers: np.ndarray) -> np.ndarray:
    """Floats as the smallest integers, if that changes none of them."""
    if np.abs(numbers).max(initial=0.0) >= 2.0**63:
        return numbers
    whole = numbers.astype(np.int64)
    same = whole.astype(np.float64).tobytes() == numbers.tobytes()
    return _smallest(whole, STEP_TYPES) if same else numbers


def _shortest(numbers: np.ndarray) -> np.ndarray:
    """Floats as float32 if that changes none of them, not even the sign of a zero."""
    with np.errstate(over="ignore"):
        short = numbers.astype(np.float32)
    return short if short.astype(np.float64).tobytes() == numbers.tobytes() else numbers


def _plain_thresholds(thresholds: np.ndarray) -> np.ndarray:
    if thresholds.dtype.kind == "f":
        return thresholds.astype(np.float64)
    return _as_int32("thresholds", thresholds)


def _as_int32(name: str, numbers: np.ndarray) -> np.ndarray:
    if numbers.size and numbers.max() > np.iinfo(np.int32).max:
        i = int(np.argmax(numbers))
        raise Fault(f"{name}[{i}] is {numbers[i]}, which does not fit int32")
    return numbers.astype(np.int32)


def _mask_lists(masks: np.ndarray) -> dict[str, np.ndarray]:
    """Masks as gaps between their ones; bytes, because wider ones deflate to a third more."""
    places = [  # one mask at a time: all as bytes would take 512 MB
        np.flatnonzero(unpacked(mask[None], WORD_BITS * masks.shape[1])) for mask in masks
    ]
    gaps = np.concatenate([np.diff(ones, prepend=-1) - 1 for ones in places])
    lengths = gaps // _LONG_GAP + 1
    octets = np.full(lengths.sum(), _LONG_GAP, np.uint8)
    octets[np.cumsum(lengths) - 1] = gaps % _LONG_GAP
    owners = np.repeat(np.arange(len(masks)), [len(ones) for ones in places])
    sizes = np.bincount(owners, lengths, len(masks)).astype(np.int64)
    return {"mask_sizes": _smallest(sizes, COUNT_TYPES), "mask_gaps": octets}


def _masks_of_lists(arrays: dict[str, np.ndarray]) -> np.ndarray:
    n, sizes = len(arrays["biases"]), arrays["mask_sizes"].astype(np.int64)
    if sizes.sum() != len(arrays["mask_gaps"]):
        raise Fault(
            f"mask_sizes add up to {sizes.sum()} where mask_gaps holds {len(arrays['mask_gaps'])}"
        )
    gaps = arrays["mask_gaps"].astype(np.int64)
    is_one = gaps < _LONG_GAP
    owners = np.repeat(np.arange(len(sizes)), sizes)
    ends = np.cumsum(gaps + is_one)
    before = np.concatenate([[0], ends])[np.cumsum(sizes) - sizes]
    places = (ends - 1 - before[owners])[is_one]
    owners = owners[is_one]
    if (places >= n).any():
        i = owners[int(np.argmax(places >= n))]
        raise Fault(f"masks[{i}] has bits beyond the {n} hyperplanes")
    masks = np.zeros((len(sizes), -(-n // WORD_BITS)), np.uint64)
    bits = np.uint64(1) << (places % WORD_BITS).astype(np.uint64)
    np.bitwise_or.at(masks, (owners, places // WORD_BITS), bits)
    return masks


def _deflated(*arrays: np.ndarray) -> int:
    """Bytes that deflate makes of some arrays."""
    return sum([len(zlib.compress(array.tobytes())) for array in arrays])
