"""What a network gives away of the points it was fitted to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.hyperplanes.extent import extent_of
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import InvalidInputError, check_count, check_seed, check_threads
from fastmem.inputs.refusals import typed
from fastmem.leaks.counts import OwnCounts, own_counts
from fastmem.leaks.data import Box, Data, checked_data, known_box, own_scores
from fastmem.leaks.masks import EMPTY, LEAST_RATIO, PATTERN, UNDECIDED, decide, have_pattern
from fastmem.leaks.membership import membership
from fastmem.leaks.nearest import Values, nearest_rows, values_of
from fastmem.leaks.reconstruction import Sides, recovered, sides_of, wanted_sides
from fastmem.leaks.report import LeakReport, MaskTest, Membership, Reconstruction, StoredRecords
from fastmem.machine.clock import Clock
from fastmem.network.checking import check_network
from fastmem.network.neurons_on import neurons_on
from fastmem.second_layer.cover_layer import CoverLayer

if TYPE_CHECKING:
    from fastmem.network.network import Network

_MOST_TESTED = 64
_LEAST_TESTED = 8
_WORK = 1e7
"""Neurons times hyperplanes times features that are tested: some seconds of products."""
_MOST_WEIGHTS = 1 << 25
"""Weights of the first layer that are kept, in three orders, for reconstructions: 128 MB each."""
_OTHER_DISTANCES = (0.5, 2.0)
_MOST_VALUES = 4096
"""Values of a reconstruction that a report keeps."""

COUNTS = "the largest share of a neuron's threshold that is left: 1 - c / m over its class"
SCORE = "the score of the point's class less the largest of the others"
LABEL = "whether the network gives the point's label"
BLUNT = (
    f"with fewer than {LEAST_RATIO} hyperplanes a feature nearly every mask is the pattern of some "
    f"point, be it a record or not"
)
DRAWN = "{:,} of {:,} neurons were drawn"
LIST = (
    "the neurons of a decision list are a few comparisons each, of many points together: no mask "
    "is a point's pattern"
)
NO_NEURONS = "the network has no neurons: its vote is right on all training points without them"
EXCEPTIONS = (
    "the neurons of a vote hold only the training points that the vote alone gets wrong or nearly "
    "wrong; what its weights say of the others is in no part but the score"
)


def audit(
    network: Network,
    X: Any = None,
    y: Any = None,
    *,
    unseen: tuple[Any, Any] | None = None,
    reconstruct: int = 5,
    box: tuple[Any, Any] | None = None,
    sample: int = 100_000,
    seed: Any = None,
    n_threads: int | None = None,
) -> LeakReport:
    """Measure what a network gives away of its training points.

    Four questions: which training points the second layer stores in full; how well one can tell,
    with the network at hand, a training point from another (membership inference); which neurons
    hold one point's pattern, as the network alone shows; and how near points that are recovered
    from such neurons come to the training points.

    Parameters
    ----------
    network : Network
    X : array-like, CSR matrix or data frame of shape (n_samples, n_features), optional
        The training points. Without them, only what the network alone shows is reported.
    y : array-like of shape (n_samples,), optional
        Their labels.
    unseen : (X, y), optional
        Points from the same source that the network was not fitted to, and their labels, for
        membership.
    reconstruct : int
        Neurons from which points are recovered, drawn at random, those first whose mask is known to
        be one point's pattern.
    box : (low, high), optional
        What is known of the features' values: least and greatest, numbers or arrays of shape
        (n_features,), as the network takes them. By default those of X; without X, four times the
        radius that the first layer is made for.
    sample : int
        Of more points than these, so many are drawn and looked at, of X and of ``unseen`` each.
    seed : int, numpy.random.Generator, SeedSequence or None
        For all that is drawn.
    n_threads : int, optional
        Threads to use; all cores by default. The report does not depend on it.

    Returns
    -------
    LeakReport

    Raises
    ------
    InvalidInputError
        If X, ``unseen`` or their labels do not belong to the network, X comes without y or y
        without X, or another argument is out of range.

    Warns
    -----
    UnknownValueWarning
        As :meth:`fastmem.tables.Encoding.transform`, where X is a raw table.

    Notes
    -----
    Membership by thresholds: Yeom, Giacomelli, Fredrikson and Jha, *Privacy Risk in Machine
    Learning* (2018), whose advantage is TPR - FPR; true positives at 1 % false ones: Carlini et
    al., *Membership Inference Attacks From First Principles* (2022). That low figures are no proof
    of privacy holds for all of them: another attack may do better.
    """
    check_network(network)
    threads = check_threads(n_threads)
    n_wanted = check_count("reconstruct", reconstruct, low=0)
    most = check_count("sample", sample, low=1)
    sequence = check_seed(seed)
    random = np.random.default_rng(sequence)
    members = checked_data(network, X, y, ("X", "y"), most, random)
    others = checked_data(network, *_pair(unseen), ("unseen[0]", "unseen[1]"), most, random)
    clock, skipped = Clock(), _meaningless(network, members, others)
    both = (members, others)
    with clock.stage("counts"):
        counts = [_counts(network, data, threads) for data in both]
    with clock.stage("scores"):
        scores = [None if data is None else own_scores(network, data, threads) for data in both]
    with clock.stage("masks"):
        known = None if members is None else values_of(members.plain)
        area = known_box(network, box, known)
        tested, made = _from_masks(network, area, n_wanted, random, skipped, known, threads)
    with clock.stage("records"):
        if members is not None and known is not None:
            made = _beside_records(network, made, members, known, threads)
    n, m = network.widths
    sizes = [None if data is None else data.n_samples for data in both]
    accuracies = [None if found is None else float(found[1].mean()) for found in scores]
    return LeakReport(
        decision=network.decision, activation=network.second.activation,
        n_features=network.n_features_in_, n_hyperplanes=n, n_neurons=m,
        n_samples=sizes[0], n_unseen=sizes[1],
        n_audited=None if members is None else len(members.rows),
        training_accuracy=accuracies[0], unseen_accuracy=accuracies[1],
        stored=_stored(counts[0]), membership=_signals(counts, scores), masks=tested,
        reconstructions=made, box=area.words,
        feature_names=None if network.feature_names is None else list(network.feature_names),
        skipped=skipped, seconds=clock.seconds(), seed=str(sequence.entropy),
    )  # fmt: skip


def _pair(unseen: Any) -> tuple[Any, Any]:
    if unseen is None:
        return None, None
    if not isinstance(unseen, tuple | list) or len(unseen) != 2:
        raise InvalidInputError(
            f"unseen is {typed(unseen)} and no pair; pass (X, y), points and their labels"
        )
    return unseen[0], unseen[1]


def _meaningless(network: Network, members: Data | None, others: Data | None) -> dict[str, str]:
    """What is not measured, or says little of this network."""
    skipped = {}
    if members is None:
        skipped["records stored in full"] = "X and y, the training points, were not passed"
    if members is None or others is None:
        skipped["membership"] = "it takes both the training points and unseen ones"
    if network.decision == "vote":
        skipped["records that the vote holds"] = EXCEPTIONS if len(network.second) else NO_NEURONS
    return skipped


def _counts(network: Network, data: Data | None, n_threads: int) -> OwnCounts | None:
    if data is None or not len(network.second):
        return None
    return own_counts(data.points, data.codes, network.first, network.second, n_threads)


def _stored(counts: OwnCounts | None) -> StoredRecords | None:
    if counts is None:
        return None
    return StoredRecords(
        n_records=len(counts.score), n_in_full=int(counts.in_full.sum()),
        n_without=int((counts.score == -np.inf).sum()), n_neurons=len(counts.n_zero),
        n_full_neurons=int(counts.is_full.sum()), n_single=int((counts.n_zero == 1).sum()),
        median_zero=float(np.median(counts.n_zero)),
    )  # fmt: skip


def _signals(
    counts: list[OwnCounts | None], scores: list[tuple[np.ndarray, np.ndarray] | None]
) -> dict[str, Membership]:
    """What members and unseen points differ in."""
    signals = {}
    if counts[0] is not None and counts[1] is not None:
        # a class without neurons tells nothing
        parts = [count.score[count.score > -np.inf] for count in counts if count is not None]
        if all(map(len, parts)):
            signals["counts"] = membership(COUNTS, *parts)
    if scores[0] is not None and scores[1] is not None:
        signals["score"] = membership(SCORE, scores[0][0], scores[1][0])
        right = [found[1].astype(np.float64) for found in scores if found is not None]
        signals["label"] = membership(LABEL, *right)
    return signals


def _from_masks(
    network: Network,
    box: Box,
    n_wanted: int,
    random: np.random.Generator,
    skipped: dict[str, str],
    known: Values | None,
    n_threads: int,
) -> tuple[MaskTest | None, list[Reconstruction]]:
    """What the network alone shows: masks that are a pattern, and points recovered from some."""
    first, second = network.first, network.second
    n, m = network.widths
    n_weights = n * first.n_features
    why = ""
    if network.decision == "list":
        why = LIST
    elif not m:
        why = NO_NEURONS
    elif n_weights > _MOST_WEIGHTS:
        why = f"the first layer has {n_weights:,} weights, more than {_MOST_WEIGHTS:,}"
    if why:
        skipped["masks and reconstructions"] = why
        return None, []
    is_blunt = n < LEAST_RATIO * first.n_features
    n_tested = 0 if is_blunt else int(np.clip(_WORK / n_weights, _LEAST_TESTED, _MOST_TESTED))
    n_looked = min(m, max(n_tested, n_wanted))
    if not n_looked:
        return MaskTest(m, 0, 0, 0, m, BLUNT), []
    chosen = random.choice(m, n_looked, replace=False)
    masks = np.ascontiguousarray(second.masks[chosen])
    sides, wanted = sides_of(first), wanted_sides(masks, n)
    points = recovered(sides, wanted, box.low, box.high, n_threads=n_threads)
    if known is not None and known.are_whole and not is_blunt and network.scale is None:
        points = _whole(first, sides, masks, wanted, points, box, n_threads)
    answers = np.full(n_looked, UNDECIDED)
    n_tested = min(n_tested, n_looked)
    if n_tested:
        some = slice(0, n_tested)
        edges = box.low, box.high
        answers[some] = decide(
            first, sides, masks[some], wanted[some], points[some], edges, n_threads
        )
    patterns, empty = (int((answers[:n_tested] == kind).sum()) for kind in (PATTERN, EMPTY))
    undecided = n_tested - patterns - empty if n_tested else m
    why = BLUNT if is_blunt else DRAWN.format(n_tested, m) if n_tested < m else ""
    tested = MaskTest(m, n_tested, patterns, empty, undecided, why)
    kept = np.argsort(-(answers == PATTERN).astype(int), kind="stable")[:n_wanted]
    consistent = have_pattern(points[kept], masks[kept], first)
    labels = network.classes_[second.owners[chosen[kept]]].tolist()
    scale = 1.0 if network.scale is None else network.scale
    made = [
        Reconstruction(neuron, label, bool(same), _values(point / scale))
        for neuron, label, same, point in zip(
            chosen[kept].tolist(), labels, consistent, points[kept], strict=True
        )
    ]
    return tested, made


def _whole(
    first: Hyperplanes, sides: Sides, masks: np.ndarray, wanted: np.ndarray, points: np.ndarray,
    box: Box, n_threads: int,
) -> np.ndarray:  # fmt: skip
    """Look again where a point that is rounded has not the pattern, which is seen without data."""
    points = points.copy()
    for closer in _OTHER_DISTANCES:
        rows = np.flatnonzero(~have_pattern(np.rint(points), masks, first))
        if not len(rows):
            break
        again = recovered(
            sides, wanted[rows], box.low, box.high, closer=closer, n_threads=n_threads
        )
        is_right = have_pattern(np.rint(again), masks[rows], first)
        points[rows[is_right]] = again[is_right]
    return points


def _values(point: np.ndarray) -> list[float] | None:
    return point.tolist() if len(point) <= _MOST_VALUES else None


def _beside_records(
    network: Network, made: list[Reconstruction], members: Data, known: Values, n_threads: int
) -> list[Reconstruction]:
    """Compare reconstructions with the training points."""
    made = [entry for entry in made if entry.values is not None]
    if not made:
        return made
    neurons = np.array([entry.neuron for entry in made])
    owners = network.second.owners[neurons]
    # on where no hyperplane of the mask is: count 0
    zero = CoverLayer(network.second.masks[neurons], np.ones(len(made), np.int32), owners)
    among = neurons_on(members.points, network.first, zero, n_threads)
    among &= members.codes == owners[:, None]
    plain = np.array([entry.values for entry in made])
    scale = 1.0 if network.scale is None else network.scale
    nearest, own, distances = nearest_rows(members.points, plain * scale, among)
    radius = extent_of(members.points, n_threads).radius or 1.0
    records = members.plain.dense(np.maximum(own, 0)).astype(np.float64)
    rounded = np.rint(plain) if known.are_whole else plain
    compared = []
    for b, entry in enumerate(made):
        facts: dict[str, Any] = {
            "n_stored": int(among[b].sum()), "nearest": int(members.rows[nearest[b]])
        }  # fmt: skip
        if own[b] >= 0:
            facts |= {
                "row": int(members.rows[own[b]]), "error": float(distances[b] / radius),
                "record": records[b].tolist(),
                "right": float((rounded[b] == records[b]).mean()) if known.are_whole else None,
            }  # fmt: skip
        compared.append(replace(entry, **facts))
    return compared
