"""Few bits of a pattern whose flips change the label that it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fastmem.patterns.words import packed, unpacked
from fastmem.second_layer.cover_layer import CoverLayer

_MOST_BITS = 1 << 27
"""Bits of masks that are unpacked at most, to a byte each: where neurons come by the 100,000."""
_TRIED = 8
"""Neurons of other classes, and rules, for which bits are looked for."""

Labels = Callable[[np.ndarray], np.ndarray]
"""The classes of patterns (P, n_words) uint64, (P,) intp."""


def fewest_flips(
    second: CoverLayer,
    covered: tuple[int, ...],
    n_classes: int,
    pattern: np.ndarray,
    n: int,
    labels: Labels,
) -> tuple[np.ndarray, bool] | None:
    """Bits (k,) to flip for another class, of cells; and whether fewer are proved not to do.

    A neuron of another class has to come before all neurons of this one. A flip brings two of them
    nearer to each other by one at most, so the difference of their margins is a bound. Flips that
    bring it nearer to some and further from none: bits that are on in its mask, and bits that are
    off outside it. Which of these do for all is a set cover, for which a bit of those that the
    furthest needs is taken, by how many it helps. None where nothing is found.
    """
    code = int(labels(pattern[None])[0])
    counts = np.bitwise_count(second.masks & pattern).sum(axis=1, dtype=np.int64)
    margins = second.thresholds.astype(np.int64) - counts
    is_covered = code in covered
    own = np.flatnonzero(second.owners == code)
    # where this class has no block, one neuron of another has to be on
    level = int(margins[own].max()) if is_covered else 0
    targets = []  # (least flips, neuron), -1 for all neurons of this class off
    for other in set(second.owners.tolist()) - {code}:
        theirs = np.flatnonzero(second.owners == other)
        best = theirs[np.argsort(-margins[theirs], kind="stable")[:_TRIED]]
        ahead = other > code or not is_covered
        targets += [(level - int(margins[k]) + ahead, int(k)) for k in best]
    if is_covered and len(covered) < n_classes:
        targets.append((level, -1))
    if not targets:
        return None
    targets.sort()
    fewest = targets[0][0]
    on = unpacked(pattern[None], n)[0]
    found: np.ndarray | None = None
    for least, k in targets[:_TRIED]:
        if found is not None and len(found) <= least:
            break
        masks, needs = np.zeros((1, n), np.bool_), np.array([least])
        if is_covered:
            rivals = own[margins[own] > level - least]
            if len(rivals) * n > _MOST_BITS:
                return None
            masks, needs = unpacked(second.masks[rivals], n), margins[rivals] - level + least
        target = unpacked(second.masks[k : k + 1], n)[0] if k >= 0 else None
        bits = _cover(masks, needs, on, target)
        if bits is not None and (found is None or len(bits) < len(found)):
            found = bits
    if found is None or labels(flipped(pattern, found, n)[None])[0] == code:
        return None
    return found, len(found) <= fewest


def flipped(pattern: np.ndarray, bits: np.ndarray, n: int) -> np.ndarray:
    """A pattern (n_words,) uint64 with some bits flipped."""
    chosen = np.zeros((1, n), np.bool_)
    chosen[0, bits] = True
    other: np.ndarray = pattern ^ packed(chosen)[0]
    return other


def _cover(
    masks: np.ndarray, needs: np.ndarray, on: np.ndarray, target: np.ndarray | None
) -> np.ndarray | None:
    """Bits that bring a target nearer to each of some masks (J, n), by ``needs`` (J,) each."""
    inside = np.zeros(len(on), np.bool_) if target is None else target
    off = ~on & ~inside
    # a bit of the target's mask going off helps where a mask has it not, others where it has
    helps = (masks & off) | (~masks & (on & inside))
    needs = needs.copy()
    open_rows = needs > 0
    gains = helps[open_rows].sum(axis=0, dtype=np.int64)
    chosen: list[int] = []
    while open_rows.any():
        furthest = int(np.where(open_rows, needs, -1).argmax())
        usable = np.where(helps[furthest], gains, 0)
        bit = int(usable.argmax())
        if not usable[bit]:
            return None
        chosen.append(bit)
        gains[bit] = 0
        needs[helps[:, bit]] -= 1
        met = open_rows & (needs <= 0)
        if met.any():
            open_rows &= ~met
            gains -= np.minimum(gains, helps[met].sum(axis=0, dtype=np.int64))
    return np.sort(np.array(chosen, np.int64))


def fewest_flips_of_list(
    second: CoverLayer, pattern: np.ndarray, n: int, labels: Labels
) -> tuple[np.ndarray, bool] | None:
    """As `fewest_flips`, for neurons in an order, of which the first that is on decides.

    Either an earlier rule of another class is to hold, by all bits that it fails by, or the rules
    of this class that hold are to fail until one of another decides: a set cover again.
    """
    code = int(labels(pattern[None])[0])
    best: np.ndarray | None = None
    for bits in _ways_in_list(second, pattern, n, code):
        if best is not None and len(bits) >= len(best):
            continue
        if labels(flipped(pattern, bits, n)[None])[0] != code:
            best = bits
    return None if best is None else (best, len(best) == 1)


def _ways_in_list(
    second: CoverLayer, pattern: np.ndarray, n: int, code: int
) -> Iterator[np.ndarray]:
    on = unpacked(pattern[None], n)[0]
    failing = np.bitwise_count(second.masks & pattern).sum(axis=1, dtype=np.int64)
    holds = failing == 0
    decides = int(holds.argmax()) if holds.any() else len(second)
    for j in nearest_rules(second, pattern, code, decides, _TRIED):
        yield np.flatnonzero(on & unpacked(second.masks[j : j + 1], n)[0])
    later = np.flatnonzero(holds)
    others = later[second.owners[later] != code]
    own = later[: np.searchsorted(later, others[0])] if len(others) else later
    if len(own) * n <= _MOST_BITS and len(own):
        masks = unpacked(second.masks[own], n)
        bits = _cover(masks, np.ones(len(own), np.int64), on, None)
        if bits is not None:
            yield bits


def nearest_rules(
    second: CoverLayer, pattern: np.ndarray, code: int, before: int, most: int
) -> np.ndarray:
    """The rules of other classes than ``code`` before one that fail by fewest comparisons."""
    earlier = np.flatnonzero(second.owners[:before] != code)
    failing = np.bitwise_count(second.masks[earlier] & pattern).sum(axis=1, dtype=np.int64)
    return earlier[np.argsort(failing, kind="stable")[:most]]
