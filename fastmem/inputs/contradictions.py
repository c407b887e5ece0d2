"""Equal points with different labels: refused, settled by the majority, or told of."""

from __future__ import annotations

import numpy as np

from fastmem.errors import ContradictionError
from fastmem.inputs.equal_rows import EqualRows, equal_rows
from fastmem.inputs.points import Points

_REMEDY = (
    "remove or relabel them, or pass contradictions='majority', which gives equal points their "
    "most frequent label"
)


def contradictions(points: Points, codes: np.ndarray, n_threads: int) -> list[np.ndarray]:
    """Groups of rows, ascending, that are equal but have more than one label."""
    return equal_rows(points, n_threads).differ(codes).groups()


def settled(equal: EqualRows, codes: np.ndarray) -> np.ndarray:
    """Give equal points their most frequent label, of equally frequent ones the first.

    Returns codes; the same array where no points contradict each other.
    """
    rows, winners = overruled(equal, codes)
    if not len(rows):
        return codes
    new: np.ndarray = codes.copy()
    new[rows] = winners
    return new


def overruled(equal: EqualRows, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows, ascending int64, whose label gives way to a more frequent one of equal points.

    And the codes that they get; of equally frequent ones the first.
    """
    contrary = equal.differ(codes)
    if not len(contrary.rows):
        return np.empty(0, np.int64), codes[:0]
    sizes, mine = contrary.sizes, codes[contrary.rows]
    n_codes = int(mine.max()) + 1
    group = np.repeat(np.arange(len(sizes)), sizes)
    pairs, counts = np.unique(group * n_codes + mine, return_counts=True)
    of_group, code = np.divmod(pairs, n_codes)
    order = np.lexsort((code, -counts, of_group))
    winners = code[order][np.unique(of_group[order], return_index=True)[1]]
    winners = np.repeat(winners, sizes)
    changes = np.flatnonzero(winners != mine)
    changes = changes[np.argsort(contrary.rows[changes])]
    return contrary.rows[changes].astype(np.int64), winners[changes].astype(mine.dtype)


def contradicting(
    points: Points, codes: np.ndarray, rows: np.ndarray, n_threads: int
) -> np.ndarray:
    """Say which of some rows equal a point of another label, bool (len(rows),)."""
    if not len(rows):
        return np.zeros(0, bool)
    contrary = equal_rows(points, n_threads, rows).differ(codes)
    return np.isin(rows, contrary.rows)


def refuse_contradictions(
    points: Points,
    codes: np.ndarray,
    classes: np.ndarray,
    n_threads: int,
    equal: EqualRows | None = None,
) -> None:
    """Raise ContradictionError where equal points have different labels.

    ``equal`` are the equal points, where they are known.
    """
    equal = equal_rows(points, n_threads) if equal is None else equal
    contrary = equal.differ(codes)
    if not len(contrary.rows):
        return
    count = len(contrary.rows)
    firsts = np.argsort(contrary.rows[contrary.starts])[:3]
    pairs: list[tuple[int, int]] = []
    for start, size in zip(contrary.starts[firsts], contrary.sizes[firsts], strict=True):
        group = contrary.rows[start : start + size]
        other = group[np.flatnonzero(codes[group] != codes[group[0]])[0]]
        pairs.append((int(group[0]), int(other)))
    named = ", ".join(
        f"rows {i} ({classes[codes[i]]}) and {j} ({classes[codes[j]]})" for i, j in pairs
    )
    raise ContradictionError(
        f"X holds {count} points that equal a point of another label ({named}"
        f"{', ...' if count > 2 * len(pairs) else ''}); {_REMEDY}",
        pairs,
        count,
    )
