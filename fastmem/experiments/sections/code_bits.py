"""Bits a label: the length of the smallest exact network."""

from __future__ import annotations

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.experiments.code_length import CodeLength, code_length
from fastmem.experiments.sections.study import Skip, Study


def bits(study: Study) -> CodeLength:
    """What the smallest exact network takes for a label, in sorted rows of all points."""
    rows = np.sort(study.usable.rows)
    try:
        found = code_length(
            *study.usable.sample(len(rows)), keys=study.trials, scale="none",
            seed=study.seeds["bits"], n_threads=study.n_threads,
            say=lambda done, total: study.tell("bits a label", done, total, 0),
        )  # fmt: skip
    except InvalidInputError as error:  # points are too far from 0
        raise Skip(str(error)) from error
    return found.among(rows)
