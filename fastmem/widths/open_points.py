"""Points that are not known to be separated."""

from __future__ import annotations

import numpy as np

from fastmem.patterns.by_class import Patterns
from fastmem.second_layer.class_cover import ClassCover, least_counts

MANY = 0.05
"""Share of failing points above which random rows are added as long as they help."""
_PROBE = 256
"""Open points of a class looked at before a whole run over it: while more of them fail than MANY
says, the run would only find that out again, one sweep a point."""


class OpenPoints:
    """The points of one class that are not known to be separated, and pairs that fail.

    Attributes
    ----------
    code : int
        The class.
    members : ndarray of int32
        These points, by their numbers within the class.
    failing : int
        How many of them fail, as far as is known.
    pairs : list of (int, int)
        Points that fail and, for each, the position in all patterns of one whose pattern lies
        below its own.
    """

    def __init__(self, patterns: Patterns, code: int) -> None:
        self.code = code
        self.members = np.arange(patterns.class_size(code), dtype=np.int32)
        self.failing = len(self.members)
        self.pairs: list[tuple[int, int]] = []

    def look(
        self, patterns: Patterns, width: int, seed: np.random.SeedSequence, n_threads: int
    ) -> int:
        """Find out which members ``width`` hyperplanes separate; returns the counts made."""
        cover = ClassCover(
            patterns, width, self.code, np.random.default_rng(seed), n_threads, self.members
        )
        probe = cover.next_candidates(_PROBE)
        least, nearest = least_counts([cover] * len(probe), cover.masks_of(probe))
        fails = np.flatnonzero(least == 0)
        share = len(fails) / len(probe)
        if share > MANY:
            self.failing = int(np.ceil(share * len(self.members)))
            self.pairs = [(int(cover.members[probe[i]]), int(nearest[i])) for i in fails]
            return cover.evaluations
        while not cover.done:
            cover.step_random()
        self.members = np.sort(np.array(cover.failed, np.int32))
        self.failing = len(self.members)
        self.pairs = list(zip(cover.failed, cover.witnesses, strict=True))
        return cover.evaluations
