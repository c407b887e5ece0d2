"""width="smallest": the first width at which the whole network has the fewest parameters.

Few hyperplanes need many neurons, many need few: n (d + 1) + m (n + 2) parameters have their least
in between. The least separating width (width="auto") comes first, then rows are added, a quarter at
a time, and the second layer is chosen anew, until two steps in a row were no better or the first
layer alone has more parameters than the best network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastmem.hyperplanes.gaussian import RowSource
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import Points
from fastmem.kernels.layout import WORD_BITS
from fastmem.network.report import Trial, n_parameters
from fastmem.patterns.by_class import Patterns
from fastmem.second_layer.class_cover import ClassCover
from fastmem.second_layer.selection import Selector

_PATIENCE = 2


def smallest(
    points: Points,
    first: Hyperplanes,
    patterns: Patterns,
    source: RowSource,
    selector: Selector,
    codes: Sequence[int],
    leave_one_out: bool,
    max_width: int | None,
) -> tuple[Hyperplanes, Patterns, list[ClassCover], list[Trial]]:
    """The best first layer from ``first`` on, its patterns and covers, and what was tried.

    ``first`` separates the points of ``codes``, and ``patterns`` are its own; rows are added up to
    ``max_width``.
    """
    trials: list[Trial] = []
    d = first.n_features
    best: list[ClassCover] = []
    least = 2**62
    worse = 0
    while True:
        width = len(first)
        covers = selector.covers(patterns, first, codes, leave_one_out)
        neurons = sum(cover.width for cover in covers)
        size = n_parameters(width, neurons, d)
        trials.append(Trial(width, neurons, size))
        if size < least:
            best, best_width, least, worse = covers, width, size, 0
        else:
            worse += 1
        more = max(WORD_BITS, width // 4 // WORD_BITS * WORD_BITS)
        more = min(more, (max_width or 2**62) - width)
        if worse == _PATIENCE or more <= 0 or n_parameters(width + more, 1, d) >= least:
            break
        first = source.more(first, more)
        patterns.fill(points, first, selector.n_threads, width)
    if best_width < len(first):
        kept = np.arange(best_width)
        first, patterns = first.subset(kept), patterns.picked(kept, selector.n_threads)
    return first, patterns, best, trials
