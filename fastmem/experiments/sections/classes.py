"""Each class against all others: what separates it, what covers it, how hard its points are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmem.experiments.complexity_report import NEARER_TO_ANOTHER, ClassFacts, Covering
from fastmem.experiments.sections.study import Study, memorised, plain
from fastmem.geometry.covering import mutual_covering
from fastmem.inputs import check_points

MOST_CLASSES = 20
"""Classes up to which each is memorised and covered against all others."""
COVERING_WORK = 10_000_000_000
"""Points squared times features, for the points that are covered by balls: some seconds."""
LEAST_COVERED = 2_000
SHARES = (0.5, 0.9, 0.99, 1.0)


def class_facts(study: Study) -> list[ClassFacts]:
    """What each class takes against all others."""
    seeds = study.seeds.several("classes", study.trials)
    usable, classes, found = study.usable, study.classes, study.hardness
    X, y = usable.sample(study.most)
    few = len(classes) <= MOST_CLASSES
    if not few:
        study.skipped["each class alone"] = f"{len(classes)} classes are more than {MOST_CLASSES}"
    facts = []
    for code, label in enumerate(classes):
        members = usable.codes == code
        separated = np.sort(found.separated_at[:, members], axis=1)
        n = separated.shape[1]
        is_class = y == label
        left = bool(is_class.any()) and few
        facts.append(
            ClassFacts(
                label=plain(label),
                n_samples=int(n),
                separated_at={
                    str(share): [int(v) for v in separated[:, int(np.ceil(share * n)) - 1]]
                    for share in SHARES
                },
                least_width=[
                    memorised(
                        X, is_class, width="auto", covered=True, seed=one, **study.fit
                    ).widths[0]
                    for one in seeds
                ]
                if left
                else None,
                covering=_covering(study, label) if left else None,
                hardness=float(np.median(found.score[members])),
                nearer_to_another=int(np.sum(found.score[members] > NEARER_TO_ANOTHER)),
            )
        )
        study.tell("classes", code + 1, len(classes), 0)
    return facts


def _covering(study: Study, label: Any) -> Covering | None:
    """Mutual covering of one class and all others, by some of the points if they are many."""
    usable, skipped = study.usable, study.skipped
    n_features = check_points(usable.sample(1)[0]).n_features
    most = max(LEAST_COVERED, math.isqrt(COVERING_WORK // n_features))
    X, y = usable.sample(most)
    if check_points(X).is_sparse:
        skipped["covering"] = "points are sparse"
        return None
    if len(usable.rows) > most:
        skipped["covering of all points"] = f"a sample of {most:,} was covered"
    found = mutual_covering(
        X, y == label, covered=True, seed=np.random.SeedSequence(study.seeds["covering"].entropy),
        n_threads=study.n_threads,
    )  # fmt: skip
    first, second = found.predicted_widths()
    return Covering(
        found.n_negative, found.n_positive, found.delta, found.radius, found.omega,
        found.omega_error, first, second, found.is_complete,
    )  # fmt: skip
