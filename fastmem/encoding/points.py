"""Tables that are to be encoded, as `interpolate` and networks are given them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmem.encoding.column import Surprises, is_text
from fastmem.encoding.encoding import Choices, Encoding
from fastmem.encoding.tables import ArrowSource, arrow_table
from fastmem.errors import UnknownValueWarning
from fastmem.inputs import Points, Wording
from fastmem.inputs.frames import is_frame
from fastmem.inputs.refusals import refuse, typed
from fastmem.machine.warned import warn_user


def is_table(X: Any) -> bool:
    """Whether X has named columns, which an encoding can take."""
    return isinstance(X, dict) or is_frame(X)


def encode_table(X: Any, encode: bool | Encoding) -> tuple[Any, Encoding | None]:
    """What `interpolate` is given, encoded where it is asked for, and the encoding.

    A table of numbers alone, none of them missing, stays as it is, without an encoding. `Points`
    are taken for what the encoding made of a table.

    Raises
    ------
    InvalidInputError
        If ``encode`` is none of True, False and an `Encoding`, or X cannot be encoded.
    """
    if isinstance(encode, bool | np.bool_):
        if not encode:
            return X, None
        source = ArrowSource(arrow_table(X))
        encoding = Encoding.of_source(source, Choices(), Wording("X"))
        if encoding.is_plain and not any(map(is_text, source.types)) and is_frame(X):
            return X, None
    elif isinstance(encode, Encoding):
        if isinstance(X, Points):
            return X, encode
        encoding = encode
    else:
        refuse(f"encode is {typed(encode)}; pass True, False or a fastmem.tables.Encoding")
    return encoded_points(X, encoding), encoding


def encoded_points(X: Any, encoding: Encoding, *, name: str = "X") -> Points:
    """The points of a table, with the names of its features.

    Warns
    -----
    UnknownValueWarning
        As `Encoding.transform`.
    """
    surprises = Surprises()
    points = Points(encoding.features(X, name, surprises))
    points.feature_names = encoding.feature_names
    for sentence in surprises.sentences():
        warn_user(sentence, UnknownValueWarning)
    return points
