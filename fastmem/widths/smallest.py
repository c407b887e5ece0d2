"""width="smallest": the first width at which the whole network has the fewest parameters.

Few hyperplanes need many neurons, many need few: n (d + 1) + m (n + 2) parameters have their least
in between. The least separating width (width="auto") comes first, then rows are added, a quarter at
a time, and the second layer is chosen anew, until two steps in a row were no better or the first
layer alone has more parameters than the best network.
"""

from __future__ import annotations

from fastmem.kernels.layout import WORD_BITS
from fastmem.network.report import Trial, n_parameters
from fastmem.problem import Problem
from fastmem.second_layer.cover import Cover
from fastmem.second_layer.selection import Selector
from fastmem.widths.first_layer import FirstLayer

_PATIENCE = 2


def smallest(
    problem: Problem, layer: FirstLayer, selector: Selector
) -> tuple[list[Cover], list[Trial]]:
    """Take ``layer``, which separates the points, to the best width from its own on.

    Returns the covers of its classes, and what was tried.
    """
    trials: list[Trial] = []
    d = problem.points.n_features
    best: list[Cover] = []
    least = 2**62
    worse = 0
    while True:
        width = len(layer)
        covers = selector.covers(
            layer.patterns, layer.hyperplanes, problem.to_cover, problem.leave_one_out
        )
        neurons = sum(cover.width for cover in covers)
        size = n_parameters(width, neurons, d)
        trials.append(Trial(width, neurons, size))
        if size < least:
            best, best_width, least, worse = covers, width, size, 0
        else:
            worse += 1
        more = max(WORD_BITS, width // 4 // WORD_BITS * WORD_BITS)
        more = min(more, problem.most_hyperplanes - width)
        if worse == _PATIENCE or more <= 0 or n_parameters(width + more, 1, d) >= least:
            break
        layer.draw(more)
        layer.fill()
    if best_width < len(layer):
        layer.keep(best_width)
    return best, trials
