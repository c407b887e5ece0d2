"""The least number of random features that make the classes linearly separable."""

from __future__ import annotations

from dataclasses import replace

from fastmem.experiments.sections.study import Skip, Study
from fastmem.inputs import check_labels
from fastmem.separation import SeparationWidth, separation_width

MOST_POINTS = 1_000
"""Points that are separated: labels at random take half as many features, which takes seconds."""
MOST_FEATURES = 1_024
FEWEST_FEATURES = 64
MOST_CLASSES = 20


def separation(study: Study) -> SeparationWidth:
    """How many random features separate the classes of (a sample of) the points."""
    X, y = study.usable.sample(MOST_POINTS)
    classes, codes = check_labels(y, len(y))
    if len(classes) > MOST_CLASSES:
        raise Skip(f"{len(classes)} classes are more than {MOST_CLASSES}")
    most = min(MOST_FEATURES, max(FEWEST_FEATURES, len(y)))  # more say nothing
    options = {key: value for key, value in study.fit.items() if key != "n_threads"}
    found = separation_width(
        X, codes, most=MOST_POINTS, trials=study.trials, max_width=most, scale="none",
        seed=study.seeds.several("separation", 1)[0], n_threads=study.n_threads, **options,
    )  # fmt: skip
    study.tell("separation", 1, 1, 0)
    return replace(found, seconds=0.0)  # the report has them, apart from what a seed determines
