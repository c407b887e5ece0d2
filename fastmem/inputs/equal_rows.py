"""Equal points, found by hashes of their rows and proved by comparing them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from fastmem.inputs.points import Points, row_ranges
from fastmem.kernels.rows import fingerprints
from fastmem.kernels.sparse import (
    sparse_fingerprints,
)
from fastmem.machine.threads import ranges, run_tasks

_AT_ONCE = 1 << 18
"""Hashes looked up at a time."""
_TASK_VALUES = 1 << 19
"""Values of rows that are compared at a time."""
_SEEN_WHOLE = 512
"""Points of which all are hashed to see whether they repeat."""
_PAIRS = 16
"""Pairs of equal points to be expected in a sample where half of all points are repeats."""
_LEAST_PAIRS = 4


@dataclass(frozen=True, eq=False)
class EqualRows:
    """Groups of two or more rows whose points are equal.

    Attributes
    ----------
    rows : ndarray of shape (m,), int32 or int64
        Group by group, ascending within each.
    starts : ndarray of shape (n_groups,), int64
        Where in ``rows`` each group begins.
    """

    rows: np.ndarray
    starts: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each group, int64."""
        return np.diff(self.starts, append=len(self.rows))

    @property
    def n_repeats(self) -> int:
        """Rows that equal a row before them."""
        return len(self.rows) - len(self.starts)

    def differ(self, codes: np.ndarray) -> EqualRows:
        """Return the groups whose rows have not all one code."""
        if not len(self.rows):
            return self
        mine = codes[self.rows]
        differs = mine != np.repeat(mine[self.starts], self.sizes)
        return self._some(np.logical_or.reduceat(differs, self.starts))

    def groups(self) -> list[np.ndarray]:
        """Return the groups one by one, those that begin first first, int64."""
        if not len(self.rows):
            return []
        found = np.split(self.rows.astype(np.int64), self.starts[1:])
        return sorted(found, key=lambda group: int(group[0]))

    def _some(self, which: np.ndarray) -> EqualRows:
        sizes = self.sizes
        kept = sizes[which]
        return EqualRows(self.rows[np.repeat(which, sizes)], np.cumsum(kept) - kept)


def equal_rows(points: Points, n_threads: int, like: np.ndarray | None = None) -> EqualRows:
    """Find the points that equal others.

    Only rows whose 64-bit hashes occur more than once are looked at: 8 bytes a point, whatever the
    number of features, and up to 24 more for each such row.

    Parameters
    ----------
    points : Points
    n_threads : int
    like : ndarray of int, optional
        Rows; only groups that hold one of them, or may, are returned.
    """
    if points.elsewhere is not None:
        rows, group, n_groups = points.elsewhere.equal_hashes(like)
    else:
        rows, group, n_groups = _equal_hashes(points, n_threads, like)
    if not len(rows):
        return EqualRows(np.empty(0, np.int64), np.empty(0, np.int64))
    group = _parted(points, rows, group, n_groups, n_threads)
    kept = np.bincount(group)[group] > 1
    rows, group = rows[kept], group[kept]
    # NumPy sorts 16 bits by their digits, which is faster than comparing
    narrow = len(group) == 0 or group.max() < 1 << 16
    rows = rows[np.argsort(group.astype(np.uint16) if narrow else group, kind="stable")]
    sizes = np.bincount(group)
    sizes = sizes[sizes > 0]
    return EqualRows(rows, (np.cumsum(sizes) - sizes).astype(np.int64))


def _equal_hashes(
    points: Points, n_threads: int, like: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """See `MeasuresElsewhere`: of points that are here."""
    hashes = row_hashes(points, n_threads)
    if like is None:
        hashes.sort()
        wanted = repeated(hashes)
        if not len(wanted):
            return np.empty(0, np.int64), np.empty(0, np.int64), 0
        hashes = row_hashes(points, n_threads)
    else:
        wanted = np.unique(hashes[like])
    return *occurrences(hashes, wanted), len(wanted)


def repeated(hashes: np.ndarray) -> np.ndarray:
    """Return those of ascending hashes that occur more than once, ascending."""
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def look_repeated(points: Points) -> bool:
    """Say whether half of the points may well be repeats of others, by hashes of a few.

    It is wrong about one data set in ten thousand that half consists of repeats, and right about
    all that have none.
    """
    n = points.n_samples
    kind = _index_kind(n)
    if n > _SEEN_WHOLE:
        size = math.isqrt(2 * _PAIRS * n)
        rows = np.unique(np.random.default_rng(0).integers(0, n, size)).astype(kind)
    else:
        rows = np.arange(n, dtype=kind)
    _, counts = np.unique(_hashes_of(points.take(rows), points.is_sparse), return_counts=True)
    if n <= _SEEN_WHOLE:
        return 2 * len(counts) <= n
    return int((counts * (counts - 1)).sum()) >= 2 * _LEAST_PAIRS


def _index_kind(n: int) -> type[np.signedinteger[Any]]:
    return np.int32 if n < 1 << 31 else np.int64


def row_hashes(points: Points, n_threads: int) -> np.ndarray:
    """Hashes of all rows, (n_samples,) uint64; equal rows have equal ones."""
    hashes = np.empty(points.n_samples, np.uint64)

    def work(task: tuple[int, int]) -> None:
        hashes[task[0] : task[1]] = _hashes_of(points.block(*task), points.is_sparse)

    run_tasks(work, row_ranges(points), n_threads)
    return hashes


def _hashes_of(block: Any, is_sparse: bool) -> np.ndarray:
    out = np.empty(len(block), np.uint64)
    if is_sparse:
        sparse_fingerprints(block.values, block.columns, block.starts, out)
    else:
        fingerprints(block, out)
    return out


def occurrences(hashes: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows, ascending, whose hash is among the ascending ``wanted``, and which."""
    kind = _index_kind(len(hashes))
    rows, places = [], []
    for start, stop in ranges(len(hashes), _AT_ONCE):
        part = hashes[start:stop]
        place = np.minimum(np.searchsorted(wanted, part), len(wanted) - 1)
        found = wanted[place] == part
        rows.append((np.flatnonzero(found) + start).astype(kind))
        places.append(place[found].astype(kind))
    return np.concatenate(rows), np.concatenate(places)


def _parted(
    points: Points, rows: np.ndarray, group: np.ndarray, n_groups: int, n_threads: int
) -> np.ndarray:
    """Return groups of rows, ascending, that are truly equal, given groups of equal hashes."""
    first = np.zeros(n_groups, np.int64)  # by place in ``rows``
    first[group[::-1]] = np.arange(len(rows))[::-1]
    differs = np.zeros(len(rows), bool)
    digests = None
    if points.elsewhere is not None:
        digests = points.elsewhere.digests(rows)
        differs = (digests != digests[first[group]]).any(axis=1)
    else:

        def work(task: tuple[int, int]) -> None:
            part = slice(*task)
            differs[part] = _differ(points, rows[part], rows[first[group[part]]])

        size = max(1, min(points.max_block_rows, _TASK_VALUES // points.row_values))
        run_tasks(work, ranges(len(rows), size), n_threads)
    if not differs.any():
        return group
    group, most = group.copy(), n_groups
    for one in np.unique(group[differs]):
        members = np.flatnonzero(group == one)
        numbers: dict[bytes, int] = {}
        for i in members:
            if digests is not None:
                key = digests[i].tobytes()
            else:
                key = (points.dense(rows[i : i + 1])[0] + 0.0).tobytes()
            group[i] = most + numbers.setdefault(key, len(numbers))
        most += len(numbers)
    return group


def row_digests(points: Points, rows: np.ndarray) -> np.ndarray:
    """Digests of some rows, (len(rows), 2) uint64, the same for equal points.

    They stand for points on several machines, which are not compared: that two of 10^9 different
    ones have the same 128 bits has a chance of 10^-21.
    """
    found = np.empty((len(rows), 2), np.uint64)
    for start, stop in ranges(len(rows), max(1, min(points.max_block_rows, _AT_ONCE))):
        block = points.take(rows[start:stop])
        if points.is_sparse:
            row, columns, values = _entries(block)
            bounds = np.searchsorted(row, np.arange(stop - start + 1))
            columns = columns.astype(np.int64)
            texts = (
                columns[i:j].tobytes() + values[i:j].tobytes()
                for i, j in itertools.pairwise(bounds.tolist())
            )
        else:
            texts = (row.tobytes() for row in block + 0.0)  # of -0.0 it makes 0.0
        joined = b"".join(blake2b(text, digest_size=16).digest() for text in texts)
        found[start:stop] = np.frombuffer(joined, np.uint64).reshape(-1, 2)
    return found


def _differ(points: Points, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Say of each pair of rows whether their points differ, bool (len(rows),)."""
    if not points.is_sparse:
        if points.array is not None:
            repeats = points.take(others)
        else:  # they are few: a file is read in its order, and each row once
            different, which = np.unique(others, return_inverse=True)
            repeats = points.take(different)[which]
        unlike: np.ndarray = (points.take(rows) != repeats).any(axis=1)
        return unlike
    entries = [_entries(points.take(some)) for some in (rows, others)]
    (one, columns, values), (other, other_columns, other_values) = entries
    counts = np.bincount(one, minlength=len(rows))
    differs = counts != np.bincount(other, minlength=len(rows))
    same = ~differs[one], ~differs[other]
    wrong = (columns[same[0]] != other_columns[same[1]]) | (
        values[same[0]] != other_values[same[1]]
    )
    differs[one[same[0]][wrong]] = True
    return differs


def _entries(rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, column and value of what is not zero."""
    kept = rows.values != 0
    row = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    return row[kept], rows.columns[kept], rows.values[kept]
