"""All arrays of a network in two members: small networks take no bytes for many headers.

A member of an archive takes some 175 bytes beside its numbers, and networks have
about twenty, many of a few bytes. They are one after another in the member ``arrays``, each as the
first bytes of all its numbers, then the second ones, and so on, which deflates better. ``facts`` is
a JSON object with their types and shapes and with all that is text.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np

from fastmem.encoding import MOST_BYTES
from fastmem.network.file_members import NAME_BYTES, bytes_of, check_dtype, check_shapes
from fastmem.network.file_versions import MEMBERS, MULTIPLIER, Fault, Members

_TEXTS = ("summary", "inputs")
_FACTS = ("arrays", *_TEXTS)
_TYPE = re.compile(r"[<|][biufU][0-9]{1,12}")
_FEATURE_BYTES = 5
"""Of all arrays, for each feature at least: of the origin and of the offsets."""


def joined(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The members of a file, from the packed arrays of a network."""
    inside = {name: arrays[name] for name in _names(int(arrays["format_version"]))}
    table = [[array.dtype.str, *array.shape] for array in inside.values()]
    texts = {name: json.loads(arrays[name].tobytes()) for name in _TEXTS}
    multiplier = int(arrays.get(MULTIPLIER, 1))
    more = {MULTIPLIER: multiplier} if multiplier != 1 else {}
    facts = json.dumps({"arrays": table, **texts, **more}, separators=(",", ":"))
    planes = [bytes_of(array).reshape(-1, array.itemsize).T.ravel() for array in inside.values()]
    return {
        "format_version": arrays["format_version"],
        "facts": np.frombuffer(facts.encode(), np.uint8),
        "arrays": np.concatenate(planes),
    }


def parted(members: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The reverse of `joined`; types, sizes and shapes are checked, values are not."""
    number, content = int(members["format_version"]), members["arrays"]
    table, texts = _parsed(members["facts"], len(content), number)
    types, shapes = _checked_table(table, number)
    sizes = {name: math.prod(shapes[name]) * types[name].itemsize for name in shapes}
    if sum(sizes.values()) != len(content):
        raise Fault(f"its arrays take {sum(sizes.values())} bytes, and {len(content)} are there")
    arrays, start = {"format_version": members["format_version"]}, 0
    for name, size in sizes.items():
        planes = content[start : start + size].reshape(types[name].itemsize, -1)
        plain = np.ascontiguousarray(planes.T).reshape(-1).view(types[name])
        arrays[name] = plain.astype(types[name].newbyteorder("=")).reshape(shapes[name])
        start += size
    return arrays | texts


def _names(number: int) -> Members:
    """The arrays of a version that are numbers or labels."""
    outside = ("format_version", *_TEXTS, MULTIPLIER)
    return {name: what for name, what in MEMBERS[number].items() if name not in outside}


def _parsed(text: np.ndarray, n_bytes: int, number: int) -> tuple[Any, dict[str, np.ndarray]]:
    """The table of arrays that take n_bytes, and all else in a file of a version by its name."""
    most = (n_bytes // _FEATURE_BYTES + 1) * NAME_BYTES + MOST_BYTES
    if len(text) > most:  # what JSON makes of it takes many times as much
        raise Fault(f"facts takes {len(text)} bytes for {n_bytes} of arrays")
    try:
        facts = json.loads(text.tobytes().decode())
        votes = MULTIPLIER in MEMBERS[number]
        more = {MULTIPLIER: facts.pop(MULTIPLIER, 1)} if votes and isinstance(facts, dict) else {}
        if not isinstance(facts, dict) or list(facts) != list(_FACTS):
            raise Fault(f"facts is not a JSON object of {', '.join(_FACTS)}")
        found = {name: _text_of(facts[name]) for name in _TEXTS}
        return facts["arrays"], found | {name: _multiplier(one) for name, one in more.items()}
    except UnicodeDecodeError as error:
        raise Fault("facts is no UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise Fault("facts is no JSON") from error


def _multiplier(value: Any) -> np.ndarray:
    if type(value) is not int or not 0 < value < 256:  # `ReadOut` says which there are
        raise Fault("facts has a multiplier that no read-out has")
    return np.array(value, np.uint8)


def _text_of(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _checked_table(
    table: Any, number: int
) -> tuple[dict[str, np.dtype], dict[str, tuple[int, ...]]]:
    """Types and shapes of the arrays in a file of a version, by name."""
    names = _names(number)
    if not isinstance(table, list) or len(table) != len(names):
        raise Fault(f"facts does not list {len(names)} arrays")
    types, shapes = {}, {}
    for (name, (_, n_dimensions)), entry in zip(names.items(), table, strict=True):
        if not isinstance(entry, list) or len(entry) != 1 + n_dimensions:
            raise Fault(f"facts does not list a type and {n_dimensions} extents of {name}")
        text, *extents = entry
        types[name] = _dtype_of(name, text)
        check_dtype(name, types[name], MEMBERS[number])
        if any(type(extent) is not int or extent < 0 for extent in extents):
            raise Fault(f"{name} has the impossible shape {tuple(extents)}")
        shapes[name] = tuple(extents)
    scalars: dict[str, tuple[int, ...]] = dict.fromkeys(("format_version", MULTIPLIER), ())
    check_shapes(shapes | {name: (0,) for name in _TEXTS} | scalars, number)
    return types, shapes


def _dtype_of(name: str, text: Any) -> np.dtype:
    try:
        if isinstance(text, str) and _TYPE.fullmatch(text):
            return np.dtype(text)
    except (TypeError, ValueError):  # of a size that no number has
        pass
    raise Fault(f"{name} has a type that no array has")
