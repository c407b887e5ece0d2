"""What values the arrays of a model file may have."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import numpy as np

from fastmem.encoding import MOST_BYTES
from fastmem.inputs import InvalidInputError, check_seeded, check_structured
from fastmem.inputs.scaled_points import MAX_EXPONENT
from fastmem.kernels.layout import WORD_BITS
from fastmem.network.file_versions import MEMBERS, VERSIONS, Fault, Members, version_of

ALWAYS_UNPACKED = 64 << 20
"""Bytes to which any file may unpack. A larger one may unpack to 128 times its size: deflate could
reach 1,032 times, which is what zip bombs live on; the sparsest masks of a real network, 23 of
100,000 hyperplanes, reach 141, and the weights beside them do not shrink."""
NAME_BYTES = 4096
_INPUTS = ("feature_names", "scale", "encoding")

LABEL_DTYPES = tuple(np.dtype(c).newbyteorder("<") for c in "?bhilqBHILQefd")


def check_plain(arrays: dict[str, np.ndarray]) -> None:
    """Refuse what `file_packing.pack` cannot take."""
    thresholds = "f8" if arrays["thresholds"].dtype.kind == "f" else "i4"
    kinds = {"thresholds": thresholds, "owners": "i4", "masks": "u8", "biases": "f8"}
    for name, dtype in kinds.items():
        if arrays[name].dtype != np.dtype(dtype):
            raise Fault(f"{name} has dtype {arrays[name].dtype} instead of {np.dtype(dtype)}")
    _check_neurons(arrays)


def checked_feature_names(arrays: dict[str, np.ndarray]) -> list[str] | None:
    """The names that stand in a file of version 6 to 10: one a feature."""
    if not version_of(arrays).named:
        return None
    text, n_features = arrays["feature_names"], len(arrays["origin"])
    if len(text) > (n_features + 1) * NAME_BYTES:  # a list of them takes many times as much
        raise Fault(f"feature_names takes {len(text)} bytes for {n_features} features")
    return checked_names("feature_names", parsed("feature_names", text), n_features)


def checked_inputs(
    arrays: dict[str, np.ndarray],
) -> tuple[list[str] | None, np.ndarray | None, dict[str, Any] | None]:
    """What stands in a file of version 11 or above: names, exponents of the scale, the encoding.

    The encoding is an object of JSON, whatever it holds.
    """
    text, n_features = arrays["inputs"], len(arrays["origin"])
    if len(text) > (n_features + 1) * NAME_BYTES + MOST_BYTES:
        raise Fault(f"inputs takes {len(text)} bytes for {n_features} features and an encoding")
    described = parsed("inputs", text)
    if described is None and version_of(arrays).joined:
        return None, None, None
    if not isinstance(described, dict) or list(described) != list(_INPUTS):
        raise Fault(f"inputs is not a JSON object of {', '.join(_INPUTS)}")
    names, scale, encoding = described.values()
    if names is not None:
        names = checked_names("feature_names", names, n_features)
    exponents = None if scale is None else checked_exponents(scale, n_features)
    if not (encoding is None or isinstance(encoding, dict)):
        raise Fault("the encoding is not a JSON object")
    if scale is None and encoding is None and not version_of(arrays).joined:
        raise Fault("inputs holds neither a scale nor an encoding")
    return names, exponents, encoding


def parsed(name: str, text: np.ndarray) -> Any:
    """What JSON in UTF-8 says."""
    try:
        return json.loads(text.tobytes().decode(), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise Fault(f"{name} is no UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise Fault(f"{name} is no JSON") from error


def _no_number(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are no JSON


def checked_names(name: str, names: Any, n_features: int) -> list[str]:
    """A list of as many strings as there are features."""
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise Fault(f"{name} is not a JSON list of strings")
    if len(names) != n_features:
        raise Fault(f"{name} holds {len(names)} names for {n_features} features")
    return names


def checked_exponents(exponents: Any, n_features: int) -> np.ndarray:
    """Exponents of the powers of two of a scale, (n_features,) int64."""
    if not isinstance(exponents, list) or not all(type(one) is int for one in exponents):
        raise Fault("the scale is not a JSON list of whole numbers")
    if len(exponents) != n_features:
        raise Fault(f"the scale holds {len(exponents)} exponents for {n_features} features")
    for j, exponent in enumerate(exponents):
        if abs(exponent) > MAX_EXPONENT:
            raise Fault(
                f"the scale holds the exponent {exponent} of feature {j}, where they are from "
                f"-{MAX_EXPONENT} to {MAX_EXPONENT}"
            )
    return np.array(exponents, np.int64)


def check_summary(summary: object) -> None:
    """Refuse what is no dict of names to plain values."""
    if not isinstance(summary, dict):
        raise Fault("the summary is not a JSON object")
    for name, value in summary.items():
        if not isinstance(name, str):
            raise Fault(f"the name {name!r} in the summary is not a string")
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise Fault(
                f"entry {name!r} of the summary is a {type(value).__name__}, "
                "not a number, a boolean, a string or None"
            )


def check_dtype(name: str, dtype: np.dtype, members: Members) -> None:
    """Refuse a dtype that the array of this name may not have."""
    expected = members[name][0]
    if dtype.hasobject:
        raise Fault(f"{name} holds Python objects, which only a pickle could store")
    is_text = dtype.kind == "U" and dtype.itemsize > 0 and dtype.newbyteorder("<") == dtype
    if expected is None:
        if not is_text and dtype not in LABEL_DTYPES:
            raise Fault(f"{name} has dtype {dtype}, which no class labels have")
    elif expected == ("U",):
        if not is_text:
            raise Fault(f"{name} has dtype {dtype} instead of unicode text")
    elif dtype not in [np.dtype(one) for one in expected]:
        names = " or ".join(str(np.dtype(one)) for one in expected)
        raise Fault(f"{name} has dtype {dtype} instead of {names}")


def check_dimensions(shapes: dict[str, tuple[int, ...]], members: Members) -> None:
    """Refuse arrays of more or fewer dimensions than theirs."""
    for name, (_, n_dimensions) in members.items():
        if len(shapes[name]) != n_dimensions:
            raise Fault(f"{name} has {len(shapes[name])} dimensions instead of {n_dimensions}")


def check_shapes(shapes: dict[str, tuple[int, ...]], number: int) -> None:
    """Refuse shapes that are wrong by themselves or against each other in a file of a version."""
    version = VERSIONS[number]
    is_stored = version.first == "stored"
    check_dimensions(shapes, MEMBERS[number])
    (m,) = shapes["thresholds"]
    others: dict[str, tuple[int, ...]] = {}
    n_masks = m
    if is_stored:
        n, d = shapes["weights"]
    else:
        (n,), (_, d) = shapes["row_steps"], shapes["extra"]
    n_words = -(-n // WORD_BITS)
    if version.packed:
        is_listed = shapes["masks"][0] == 0
        n_masks = 0 if is_listed else m
        others["mask_sizes"] = (m if is_listed else 0,)
        if not is_listed:
            others["mask_gaps"] = (0,)
        n_bytes = m * n_words * 8
        if is_listed and n_bytes > ALWAYS_UNPACKED:
            raise Fault(f"its masks would unpack to {n_bytes}, above {ALWAYS_UNPACKED}")
    if version.keyed:
        others["own"] = (-(-n // 8),)
        if shapes["center"] != (0,):
            others["center"] = (d,)
    else:
        others["biases"] = (n,)
    for name, expected in {
        "origin": (d,),
        "masks": (n_masks, n_words),
        "owners": (m,),
        **others,
    }.items():
        if shapes[name] != expected:
            raise Fault(
                f"{name} has shape {shapes[name]} instead of {expected}, "
                f"as {n} hyperplanes in {d} dimensions and {m} neurons have"
            )
    (n_classes,) = shapes["classes"]
    if version.votes:
        _check_shapes_of_votes(shapes, d, m, n_classes)
    (n_covered,) = shapes["covered"]
    if n < 1 or d < 1:
        name = "weights" if is_stored else "the first layer"
        raise Fault(f"{name} has shape {(n, d)}, which leaves no hyperplane")
    if n_classes < 2:
        raise Fault(f"classes holds {n_classes} labels instead of two or more")
    if not 1 <= n_covered <= n_classes:
        raise Fault(f"covered names {n_covered} of {n_classes} classes")


def _check_shapes_of_votes(
    shapes: dict[str, tuple[int, ...]], d: int, m: int, n_classes: int
) -> None:
    n_columns = 1 if n_classes == 2 else n_classes
    for name, expected in {
        "offsets": (d,),
        "vote_weights": (shapes["vote_weights"][0], n_columns),
        "intercepts": (n_columns,),
        "gains": (m,),
    }.items():
        if shapes[name] != expected:
            raise Fault(
                f"{name} has shape {shapes[name]} instead of {expected}, "
                f"as {n_classes} classes, {d} features and {m} neurons have"
            )


def check_values(arrays: dict[str, np.ndarray]) -> None:
    """Refuse values that no network has, in arrays whose types and shapes are checked."""
    first = version_of(arrays).first
    for name in ("weights" if first == "stored" else "extra", "biases", "origin"):
        finite = np.isfinite(arrays[name])
        if not finite.all():
            where = np.unravel_index(int(np.argmin(finite)), finite.shape)
            index = ", ".join(str(i) for i in where)
            raise Fault(f"{name}[{index}] is {arrays[name][where]}, which is not finite")
    radius = float(arrays["radius"])
    if not (math.isfinite(radius) and radius >= 0):
        raise Fault(f"radius is {radius}, which is no distance")
    if first != "stored":
        try:
            layer_arrays = arrays["rows"], arrays["extra"], arrays["biases"]
            if first == "seeded":
                check_seeded(int(arrays["key"]), *layer_arrays)
            else:
                check_structured(arrays["signs"], *layer_arrays)
        except InvalidInputError as error:
            raise Fault(str(error).partition("; ")[0]) from error
    check_classes(arrays["classes"])
    _check_covered(arrays["covered"], len(arrays["classes"]))
    _check_neurons(arrays)
    _check_characters("summary", arrays["summary"])
    check_summary(json.loads(arrays["summary"].item()))
    if version_of(arrays).described:
        checked_inputs(arrays)
    checked_feature_names(arrays)


def check_classes(classes: np.ndarray) -> None:
    """Refuse labels that are no labels, or do not ascend."""
    if classes.dtype.kind == "U":
        _check_characters("classes", classes)
    elif classes.dtype.kind == "b":
        wrong = bytes_of(classes) > 1
        if wrong.any():
            raise Fault("classes holds a boolean that is neither true nor false")
    elif classes.dtype.kind == "f" and not np.isfinite(classes).all():
        raise Fault("classes holds a label that is not finite")
    ascending = classes[:-1] < classes[1:]
    if not ascending.all():
        i = int(np.argmin(ascending))
        pair = f"{classes[i].item()!r} and {classes[i + 1].item()!r}"
        raise Fault(f"classes[{i}] and classes[{i + 1}] are {pair}, where labels must ascend")


def _check_characters(name: str, texts: np.ndarray) -> None:
    points = bytes_of(texts).view("<u4")
    if points.size and points.max() > 0x10FFFF:
        raise Fault(f"{name} holds U+{points.max():X}, which is no character")


def _check_covered(covered: np.ndarray, n_classes: int) -> None:
    unknown = (covered < 0) | (covered >= n_classes)
    if unknown.any():
        i = int(np.argmax(unknown))
        raise Fault(f"covered[{i}] is {covered[i]}, where there are classes 0 to {n_classes - 1}")
    ascending = covered[:-1] < covered[1:]
    if not ascending.all():
        i = int(np.argmin(ascending)) + 1
        raise Fault(f"covered[{i}] is {covered[i]} after {covered[i - 1]}, where codes ascend")


def _check_neurons(arrays: dict[str, np.ndarray]) -> None:
    thresholds, owners, masks = arrays["thresholds"], arrays["owners"], arrays["masks"]
    n = len(arrays["biases"])
    is_real = thresholds.dtype.kind == "f"
    most = np.finfo(np.float64).max if is_real else n
    right = (thresholds > 0) & (thresholds <= most)
    if not right.all():
        i = int(np.argmin(right))
        possible = "they are positive" if is_real else f"1 to {n} hyperplanes can count"
        raise Fault(f"thresholds[{i}] is {thresholds[i]}, where {possible}")
    wrong = ~np.isin(owners, arrays["covered"])
    if wrong.any():
        i = int(np.argmax(wrong))
        raise Fault(f"owners[{i}] is {owners[i]}, which is no covered class")
    falls = owners[1:] < owners[:-1]
    if falls.any():
        i = int(np.argmax(falls)) + 1
        raise Fault(f"owners[{i}] is {owners[i]} after {owners[i - 1]}, where classes ascend")
    if n % WORD_BITS:
        wrong = masks[:, -1] >> np.uint64(n % WORD_BITS) != 0
        if wrong.any():
            i = int(np.argmax(wrong))
            raise Fault(f"masks[{i}] has bits beyond the {n} hyperplanes")


def bytes_of(array: np.ndarray) -> np.ndarray:
    """View a C-contiguous array as its bytes."""
    return array.reshape(-1).view(np.uint8)
