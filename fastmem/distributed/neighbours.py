"""Whether merged cells would have gone over to growing among neighbours, on one machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastmem.distributed.remote_cover import RemoteCover
from fastmem.second_layer.near_cells import FIRST_LOOK, LAST_LOOK, MANY, MANY_BOUNDED


def may_be_many(covers: Sequence[RemoteCover], is_bounded: bool) -> bool:
    """Whether `Outlook` may have said that neurons will be many, in whatever steps covers advanced.

    In which step a cell is settled depends on the points that it is grown against, which are others
    on several machines. So at each look every cover is taken at its worst from then on: what one
    machine may have seen is at most the sum. Then all covers went the same way on one machine.
    """
    most = MANY_BOUNDED if is_bounded else MANY
    expected = [_expected(cover) for cover in covers]
    look = FIRST_LOOK
    while look <= LAST_LOOK:
        total = 0.0
        for tried, neurons in expected:
            total += float(neurons[tried >= look].max(initial=0.0))
        if total >= most:
            return True
        look *= 2
    return False


def _expected(cover: RemoteCover) -> tuple[np.ndarray, np.ndarray]:
    """Points tried after each step of a cover, and neurons still to come as `Outlook` has them."""
    gained = np.concatenate([[0], np.cumsum(cover.gained)])
    tried, neurons = [], []
    for width, n_failed in cover.steps:
        remaining = cover.n_members - gained[width] - n_failed
        latest = (gained[width] - gained[width // 2]) / max(1, width - width // 2)
        share = n_failed / max(1, width + n_failed)
        tried.append(width + n_failed)
        neurons.append(remaining / max(share + (1 - share) * latest, 1e-9))
    return np.array(tried), np.array(neurons)
