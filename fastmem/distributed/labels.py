"""Classes of all parts together, by the labels that occur in each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastmem.distributed.parts import PartFacts
from fastmem.errors import InvalidInputError
from fastmem.inputs.labels import classes_and_codes


def classes_of(facts: Sequence[PartFacts]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Labels of all parts, ascending, and the codes of those of each part.

    They are what one array of all labels would hold, and so of Python objects if those of any part
    are.

    Parameters
    ----------
    facts : sequence of PartFacts
        Of parts with rows.

    Raises
    ------
    InvalidInputError
        If parts have labels of different kinds, or some that no number type holds beside the
        others.
    """
    _require_one_kind(facts)
    labels = [fact.labels for fact in facts]
    if any(fact.has_objects for fact in facts):
        labels = [some.astype(object) for some in labels]
    joined = np.concatenate(labels)
    _require_exact(facts, joined.dtype)
    classes, codes = classes_and_codes(joined, len(joined), "y")
    ends = np.cumsum([len(some) for some in labels])
    return classes, np.split(codes, ends[:-1])


def _require_one_kind(facts: Sequence[PartFacts]) -> None:
    first = facts[0]
    for fact in facts:
        kinds = {"number" if one.labels.dtype.kind in "iuf" else one.labels.dtype.kind
                 for one in (fact, first)}  # fmt: skip
        if len(kinds) > 1:
            raise InvalidInputError(
                f"part {fact.number} has labels of {fact.labels.dtype} and part {first.number} of "
                f"{first.labels.dtype}; make all of them strings or all integers"
            )


def _require_exact(facts: Sequence[PartFacts], dtype: np.dtype) -> None:
    """Refuse integers that are not the same as floats, where others make them so."""
    for fact in facts:
        if dtype.kind != "f" or fact.labels.dtype.kind == "f":
            continue
        for label in fact.labels.tolist():
            if int(float(label)) != label:
                raise InvalidInputError(
                    f"part {fact.number} has the label {label} of {fact.labels.dtype}, which is "
                    f"rounded beside those of other types in other parts; give all parts integers "
                    f"of one type"
                )
