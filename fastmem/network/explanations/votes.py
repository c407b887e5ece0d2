"""What the features of a read-out add to a label's votes."""

from __future__ import annotations

import numpy as np

from fastmem.inputs import Points
from fastmem.network.explanations.report import Contribution
from fastmem.readout import ReadOut
from fastmem.readout.readout import both_columns
from fastmem.readout.waves import FeatureTiles, waves_of


def contributions(
    readout: ReadOut, point: Points, code: int, other: int, most: int
) -> tuple[tuple[Contribution, ...], int]:
    """The features that add most, for or against, to the lead of a class over another.

    point is one row, scaled. Returns also the lead in the read-out, of all features and intercepts.
    """
    waves = waves_of(
        readout.key, readout.exponent, readout.offsets, len(readout), readout.multiplier
    )
    features = FeatureTiles(point, np.zeros(1, np.int64), waves, 1, 0)
    values = features.rows(np.zeros(1, np.int64))[0].astype(np.int64)
    weights = both_columns(readout.weights.astype(np.int64))
    levels = both_columns(readout.intercepts[None])[0]
    differences = weights[:, code] - weights[:, other]
    votes = values * differences
    largest = np.argsort(-np.abs(votes), kind="stable")[:most]
    found = tuple(
        Contribution(k, int(values[k]), int(differences[k]), int(votes[k]))
        for k in largest.tolist()
        if votes[k]
    )
    return found, int(votes.sum() + levels[code] - levels[other])
