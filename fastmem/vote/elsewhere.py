"""What a fit with decision="vote" asks of points that are on other machines, and of those here."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.inputs.points import SomePoints
from fastmem.machine.threads import ranges
from fastmem.network.neurons_on import neurons_on
from fastmem.readout import ReadOut
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.vote.sums import FeatureSums, Recipe

_ON_BYTES = 32 << 20


class Misread(NamedTuple):
    """Points whose class does not win the votes of a read-out.

    Attributes
    ----------
    rows, codes : ndarrays of shape (R,), int64
        Ascending, and their classes.
    gaps : ndarray of shape (R,), int64
        What their own class lacks to win, at least 1.
    """

    rows: np.ndarray
    codes: np.ndarray
    gaps: np.ndarray


class VotesElsewhere(Protocol):
    """Points on other machines.

    Attributes
    ----------
    counts : ndarray of shape (K,), int64
        Points of each class.
    """

    counts: np.ndarray

    def sums(self, rows: np.ndarray | None, recipe: Recipe) -> FeatureSums:
        """Sums over the features of some rows, or of all."""

    def misread(self, readout: ReadOut) -> Misread:
        """See `misread`."""

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Numbers of rows within their classes, int64."""

    def pairs_on(
        self, some: Misread, first: Hyperplanes, second: CoverLayer
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `pairs_on`."""


def votes_of(points: Points) -> VotesElsewhere | None:
    """What answers for points that are on other machines, None if they are here."""
    return None if points.elsewhere is None else points.elsewhere.votes


def misread(points: Points, codes: np.ndarray, readout: ReadOut, n_threads: int) -> Misread:
    """Find the points of classes ``codes`` (N,) that votes get wrong."""
    found = [Misread(*np.empty((3, 0), np.int64))]
    for start, stop, votes in readout.in_blocks(points, n_threads):
        here = codes[start:stop].astype(np.int64)
        gaps = gaps_of(votes, here)
        wrong = np.flatnonzero(gaps > 0)
        found.append(Misread(wrong + start, here[wrong], gaps[wrong]))
    return Misread(*(np.concatenate(some) for some in zip(*found, strict=True)))


def gaps_of(votes: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """How much each point's own class lacks to win: at most 0 where it does. (N,) int64.

    Of equal votes the first class wins.
    """
    rows = np.arange(len(codes))
    own = votes[rows, codes]
    others = votes.copy()
    others[rows, codes] = np.iinfo(np.int64).min
    rival = others.argmax(axis=1)
    return others[rows, rival] - own + (rival < codes)


def numbers_of(codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Numbers of some rows within their classes, where all rows have ``codes`` (N,); int64."""
    counts = np.bincount(codes)
    rank = np.empty(len(codes), np.int64)
    rank[np.argsort(codes, kind="stable")] = np.arange(len(codes)) - np.repeat(
        np.cumsum(counts) - counts, counts
    )
    return rank[rows]


def pairs_on(
    points: Points, some: Misread, first: Hyperplanes, second: CoverLayer, n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which neurons are on for which points of their own class.

    Returns neurons, and the points' places among ``some``: (P,) int64 each.
    """
    neurons, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for code in np.unique(some.codes):
        here = np.flatnonzero(some.codes == code)
        mine = np.flatnonzero(second.owners == code)
        own = CoverLayer(second.masks[mine], second.thresholds[mine], second.owners[mine])
        for start, stop in ranges(len(here), max(1, _ON_BYTES // max(1, len(mine)))):
            part = here[start:stop]
            which, on = np.nonzero(
                neurons_on(SomePoints(points, some.rows[part]), first, own, n_threads)
            )
            neurons.append(mine[which])
            places.append(part[on])
    return np.concatenate(neurons), np.concatenate(places)
