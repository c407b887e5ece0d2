"""Which numbers are points: real, finite, and exact in float64."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import UNREADABLE, at, refuse, show, typed

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
EXACT = 2**53  # every integer up to this magnitude is a float64
SCAN = 1 << 16  # values scanned at a time: their mask stays in the second-level cache

Place = Callable[[Sequence[int]], str]  # index of a value -> its name in a message


def is_scipy_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix or array of SciPy."""
    sparse = sys.modules.get("scipy.sparse")  # not imported yet: then nothing is sparse
    return sparse is not None and sparse.issparse(X)


def as_array(X: Any, name: str) -> np.ndarray:
    """Return X as a plain array that holds the same values."""
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        masked = np.argwhere(np.ma.getmaskarray(X))
        refuse(
            f"{at(name, masked[0])} is masked, and {len(masked)} values in all are; "
            f"remove those rows, or fill them with {name}.filled(value)"
        )
    try:
        array = np.asarray(X)
    except UNREADABLE as error:
        rows = X if isinstance(X, list | tuple) else []
        lengths = [len(row) if hasattr(row, "__len__") else 1 for row in rows]
        if len(set(lengths)) > 1:
            row = next(i for i, length in enumerate(lengths) if length != lengths[0])
            refuse(
                f"row {row} of {name} has {lengths[row]} values but row 0 has {lengths[0]}; "
                f"give every row the same number of values"
            )
        sentence = f"{name} is a {type(X).__name__} that NumPy cannot read ({error})"
        raise InvalidInputError(f"{sentence}; pass an array of real numbers") from error
    if isinstance(X, list | tuple) and array.dtype.kind == "f" and (abs(array) >= EXACT).any():
        exact = np.asarray(X, dtype=object)  # NumPy has rounded ints that stand beside floats
        rounded = np.argwhere((exact != array) & (array == array))
        if len(rounded):
            refuse_inexact(at(name, rounded[0]), exact[tuple(rounded[0])], name)
    return array


def check_shape(shape: Sequence[int], n_features: int | None, name: str) -> None:
    """Refuse a table without rows or columns, or with other columns than there must be."""
    if n_features is not None and shape[1] != n_features:
        refuse(
            f"{name} has {shape[1]} features but {n_features} are expected; pass the same "
            f"{n_features} features as at the fit, in the same order"
        )
    if shape[1] == 0 or (shape[0] == 0 and n_features is None):
        what = "columns" if shape[1] == 0 else "rows"
        refuse(f"{name} has no {what}, shape {tuple(shape)}; pass at least one point and feature")


def check_dtype(array: np.ndarray, name: str) -> None:
    """Refuse what is not bool, integer or floating."""
    kind = array.dtype.kind
    if kind in "biuf":
        return
    title = f"{name} has dtype {array.dtype}"
    check_characters(array, name)
    if kind in "OSUT":
        number = (int, float, np.integer, np.floating)
        for i, value in enumerate(array.reshape(-1)):  # ndenumerate takes 32 dimensions at most
            if not isinstance(value, number):
                index = np.unravel_index(i, array.shape)
                refuse(
                    f"{title}, and {at(name, index)} is {typed(value)}; encode what is no "
                    f"number, or pass np.asarray({name}, dtype=float) if these are numbers as text"
                )
        refuse(f"{title}; pass np.asarray({name}, dtype=float)")
    remedy = "pass float32 or float64"
    if kind == "c":
        remedy = f"pass real and imaginary parts as columns, np.hstack([{name}.real, {name}.imag])"
    elif kind in "mM":
        remedy = "turn times into numbers, for instance seconds since the first"
    elif array.dtype.names:
        remedy = f"pass numpy.lib.recfunctions.structured_to_unstructured({name})"
    refuse(f"{title}; {remedy}")


def check_characters(array: np.ndarray, name: str) -> None:
    """Refuse text that holds what is no character, of which Python makes no string."""
    if array.dtype.kind != "U" or not array.dtype.itemsize:
        return
    points = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    points = points.reshape(-1, 1).view(np.uint32)
    wrong = points > sys.maxunicode
    if wrong.any():
        place = np.unravel_index(int(np.argmax(wrong.any(axis=1))), array.shape)
        refuse(
            f"{at(name, place)} holds U+{points[wrong][0]:X}, which is no character; "
            f"make the text anew from what it came from"
        )


def block_dtype(*dtypes: np.dtype) -> np.dtype:
    """Return float32 where it holds every value of these real dtypes, else float64."""
    narrow = all(dtype.itemsize <= (4 if dtype.kind == "f" else 2) for dtype in dtypes)
    return FLOAT32 if narrow else FLOAT64


def check_values(values: np.ndarray, name: str, place: Place | None = None) -> None:
    """Refuse real values that are not finite, or not exact in float64; scans in blocks."""
    if all_usable(values):
        return
    rows = max(1, SCAN * len(values) // values.size)
    count, first = 0, None
    for start in range(0, len(values), rows):
        wrong = np.argwhere(unusable(values[start : start + rows]))
        if first is None and len(wrong):
            first = (int(wrong[0][0]) + start, *map(int, wrong[0][1:]))
        count += len(wrong)
    assert first is not None
    where = place(first) if place else at(name, first)
    if np.isfinite(values[first]):
        refuse_inexact(where, values[first], name)
    refuse(
        f"{where} is {show(values[first])}, and {count} of {values.size} values "
        f"{'is' if count == 1 else 'are'} NaN or infinite; remove those rows or fill them"
    )


def refuse_inexact(where: str, value: Any, name: str, remedy: str = "") -> NoReturn:
    """Refuse a value that float64 would round."""
    own = f"subtract an offset, or round {name} yourself with np.asarray({name}, dtype=float)"
    refuse(f"{where} is {show(value)}, which float64 cannot hold exactly; {remedy or own}")


def all_usable(values: np.ndarray) -> bool:
    """Say whether all values are finite and exact in float64, without a large copy.

    Masks of SCAN values at a time run at the speed of memory, as sums would, and unlike sums of
    large finite values they cannot overflow.
    """
    if values.dtype.kind in "biu" and values.dtype.itemsize < 8:
        return True
    if values.flags.c_contiguous:
        values = values.reshape(-1)
    elif values.flags.f_contiguous:
        values = values.T.reshape(-1)
    rows = max(1, SCAN * len(values) // max(1, values.size))
    parts = (values[start : start + rows] for start in range(0, len(values), rows))
    if values.dtype.kind == "f" and values.dtype.itemsize <= 8:
        return all(np.isfinite(part).all() for part in parts)
    return not any(unusable(part).any() for part in parts)


def unusable(part: np.ndarray) -> np.ndarray:
    """Return the mask of the values that are not finite, or not exact in float64."""
    mask: np.ndarray = ~np.isfinite(part)
    if part.dtype.kind == "f" and part.dtype.itemsize > 8:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            mask |= part.astype(np.float64) != part
    elif part.dtype.kind in "iu" and (part.min() < -EXACT or part.max() > EXACT):
        magnitude = part.astype(np.uint64)
        magnitude = np.where(part < 0, -magnitude, magnitude)
        lowest_bit = np.maximum(magnitude & -magnitude, np.uint64(1))
        mask |= magnitude // lowest_bit > np.uint64(EXACT)
    return mask
