"""Equal points with different labels."""

from __future__ import annotations

import numpy as np

from fastmem.errors import ContradictionError
from fastmem.inputs import Points
from fastmem.inputs.points import row_ranges
from fastmem.kernels.rows import fingerprints
from fastmem.kernels.sparse import (
    sparse_fingerprints,
)
from fastmem.machine.threads import run_tasks


def _hashes(points: Points, n_threads: int) -> np.ndarray:
    hashes = np.empty(points.n_samples, np.uint64)

    def work(task: tuple[int, int]) -> None:
        block, out = points.block(*task), hashes[task[0] : task[1]]
        if points.is_sparse:
            sparse_fingerprints(block.values, block.columns, block.starts, out)
        else:
            fingerprints(block, out)

    run_tasks(work, row_ranges(points), n_threads)
    return hashes


def contradictions(points: Points, codes: np.ndarray, n_threads: int) -> list[np.ndarray]:
    """Groups of rows, ascending, that are equal but have more than one label.

    Only rows whose 64-bit hashes occur more than once are compared: 8 bytes a point, whatever the
    number of features, and 8 more where there are such rows.
    """
    hashes = _hashes(points, n_threads)
    hashes.sort()
    repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(repeated):
        return []
    hashes = _hashes(points, n_threads)
    rows = np.flatnonzero(np.isin(hashes, repeated))
    rows = rows[np.argsort(hashes[rows], kind="stable")]
    starts = np.searchsorted(hashes[rows], repeated)
    groups: list[np.ndarray] = []
    for members in np.split(rows, starts[1:]):
        if (codes[members] != codes[members[0]]).any():
            groups += _contradictions(points, codes, members)
    return groups


def settle_contradictions(points: Points, codes: np.ndarray, n_threads: int) -> np.ndarray:
    """Give equal points their most frequent label, of equally frequent ones the first.

    Returns codes; the same array where no points contradict each other.
    """
    groups = contradictions(points, codes, n_threads)
    if not groups:
        return codes
    settled = codes.copy()
    for group in groups:
        settled[group] = np.bincount(codes[group]).argmax()
    return settled


def refuse_contradictions(
    points: Points, codes: np.ndarray, classes: np.ndarray, n_threads: int
) -> None:
    """Raise ContradictionError where equal points have different labels."""
    groups = contradictions(points, codes, n_threads)
    if not groups:
        return
    count = sum(len(group) for group in groups)
    pairs: list[tuple[int, int]] = []
    for group in groups:
        other = group[np.flatnonzero(codes[group] != codes[group[0]])[0]]
        pairs.append((int(group[0]), int(other)))
    pairs = sorted(pairs)[:3]
    named = ", ".join(
        f"rows {i} ({classes[codes[i]]}) and {j} ({classes[codes[j]]})" for i, j in pairs
    )
    raise ContradictionError(
        f"X holds {count} points that equal a point of another label ({named}"
        f"{', ...' if count > 2 * len(pairs) else ''}); remove or relabel them, or give width= as "
        f"a number to memorise the rest",
        pairs,
        count,
    )


def _contradictions(points: Points, codes: np.ndarray, members: np.ndarray) -> list[np.ndarray]:
    """Groups of truly equal rows among ``members`` (equal hashes) with more than one label."""
    groups: dict[bytes, list[int]] = {}
    for row in members:
        key = (points.dense(np.array([row]))[0] + 0.0).tobytes()
        groups.setdefault(key, []).append(int(row))
    found = (np.array(sorted(group)) for group in groups.values())
    return [group for group in found if (codes[group] != codes[group[0]]).any()]
