"""Explanations put together: what decided, the rows beside it, and what would change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.encoding import is_table
from fastmem.errors import InvalidInputError
from fastmem.inputs import (
    Points,
    check_count,
    check_known_labels,
    check_names,
    check_threads,
    scaled,
)
from fastmem.machine.arrays import frozen
from fastmem.network.cells import Cells
from fastmem.network.explanations.changes import Start, change_on_line, changes_along_features
from fastmem.network.explanations.directions import directions, feature_names, values_of
from fastmem.network.explanations.flips import (
    fewest_flips,
    fewest_flips_of_list,
    flipped,
    nearest_rules,
)
from fastmem.network.explanations.nearest_rows import Neighbours, Probe, Ranked, neighbours, spans
from fastmem.network.explanations.report import Change, Example, Explanation, Flips, Rule
from fastmem.network.explanations.votes import contributions
from fastmem.network.lists import DecisionList
from fastmem.network.margins import margins_of
from fastmem.network.rules import rules_of
from fastmem.network.votes import Votes
from fastmem.patterns.of_points import tiles_of_blocks
from fastmem.patterns.words import rows_of, unpacked
from fastmem.second_layer.cover_layer import CoverLayer

if TYPE_CHECKING:
    from fastmem.network.network import Network

Decider = Cells | Votes | DecisionList

MOST_POINTS = 1000
_N_FEATURES = 5
"""Features of a read-out that are named."""
_N_RULES = 2
"""Earlier rules of a list that are shown beside the one that decided."""


def explain(
    network: Network,
    decider: Decider,
    data: tuple[Any, Any, Any],
    n_prototypes: int,
    n_changes: int,
    n_threads: int | None,
) -> Explanation | list[Explanation]:
    """Explain the labels of x by (x, X, y): see :meth:`fastmem.Network.explain`."""
    n_prototypes = check_count("n_prototypes", n_prototypes, 0)
    n_changes = check_count("n_changes", n_changes, 0)
    threads = check_threads(n_threads)
    asked = network.checked_points(_in_rows(data[0], network), name="x")
    rows = network.checked_points(data[1])
    codes = check_known_labels(data[2], rows.n_samples, network.classes_)
    if not 0 < asked.n_samples <= MOST_POINTS:
        raise InvalidInputError(
            f"x has {asked.n_samples:,} points; pass 1 to {MOST_POINTS:,} at a time"
        )
    explainer = _Explainer(network, decider, rows, codes, threads)
    found = explainer.explained(asked, n_prototypes, n_changes)
    return found[0] if len(found) == 1 else found


def _in_rows(x: Any, network: Network) -> Any:
    """One point as a table of one row."""
    if hasattr(x, "to_frame") and hasattr(x, "to_dict"):  # a row of a pandas frame
        has_names = network.encoding is not None or network.feature_names is not None
        x = x.to_dict() if has_names else np.asarray(x)
    if isinstance(x, dict):
        columns = {
            name: [value] if isinstance(value, str) or np.ndim(value) == 0 else value
            for name, value in x.items()
        }
        if network.encoding is not None or network.feature_names is None:
            return columns
        check_names(list(columns), network.feature_names, "x")
        return np.array(list(columns.values())).T
    if isinstance(x, Points) or is_table(x) or hasattr(x, "tocsr"):
        return x
    try:
        is_one = np.ndim(x) == 1
    except ValueError:  # rows of several lengths, which are refused in a sentence
        return x
    return np.asarray(x)[None] if is_one else x


class _Explainer:
    """What explanations of several points share.

    Parameters
    ----------
    network : Network
    decider : Cells, Votes or DecisionList
        The network's.
    rows : Points
        Not scaled.
    codes : ndarray of shape (N,), intp
    n_threads : int
    """

    def __init__(
        self,
        network: Network,
        decider: Decider,
        rows: Points,
        codes: np.ndarray,
        n_threads: int,
    ) -> None:
        self._network, self._decider = network, decider
        self._rows, self._codes, self._n_threads = rows, codes, n_threads
        self._labels = network.classes_.tolist()
        self._sizes = np.bincount(codes, minlength=len(self._labels))

    def explained(self, asked: Points, n_prototypes: int, n_changes: int) -> list[Explanation]:
        """Explain points, not scaled."""
        network, threads = self._network, self._n_threads
        points = scaled(asked, network.scale)
        scores = self._decider.scores(points, threads)
        codes = self._decider.codes(points, threads)
        dense = asked.dense(np.arange(asked.n_samples)).astype(np.float64)
        patterns, margins = self._looked_at(points)
        order = None
        if isinstance(self._decider, DecisionList):
            order = self._decider.rules(scaled(self._rows, network.scale), threads)
        deciding = [
            self._deciding(int(code), scores[i], margins[:, i]) for i, code in enumerate(codes)
        ]
        probes = []
        for i, code in enumerate(codes.tolist()):
            by_values = network.readout is not None and deciding[i] is None
            values = points.dense(np.array([i]))[0].astype(np.float64) if by_values else None
            probes.append(Probe(code, patterns[i], deciding[i], values))
        beside = neighbours(
            network, scaled(self._rows, network.scale), self._codes, probes,
            max(1, n_prototypes), threads, order,
        )  # fmt: skip
        widths = spans(self._rows, threads) if n_changes else None
        found = []
        for i, probe in enumerate(probes):
            start = Start(dense[i], probe.pattern, probe.code)
            parts = self._of_rows(beside[i], probe, n_prototypes)
            parts |= self._of_scores(probe, scores[i], margins[:, i])
            if widths is not None:
                parts |= self._changes(start, widths, beside[i].others, n_changes)
            else:
                parts |= {"flips": None, "changes": (), "n_searched": 0}
            if isinstance(self._decider, DecisionList):
                parts["rules"] = self._rules(probe)
            if network.readout is not None:
                other = self._labels.index(parts["runner_up"])
                one = Points(points.dense(np.array([i])))
                parts["contributions"], lead = contributions(
                    network.readout, one, probe.code, other, _N_FEATURES
                )
                parts["readout_votes"] = lead
                parts["neuron_votes"] = int(scores[i, probe.code] - scores[i, other]) - lead
            found.append(
                Explanation(
                    label=self._labels[probe.code],
                    decision=network.decision,
                    values=values_of(network, dense[i]),
                    features=tuple(dense[i].tolist()),
                    **parts,
                )
            )
        return found

    def _looked_at(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Patterns (P, n_words) and the margins of all neurons (m, P) float64."""
        first, second = self._network.first, self._network.second
        patterns = np.empty((points.n_samples, first.n_words), np.uint64)
        margins = np.empty((len(second), points.n_samples))
        measure = margins_of(first, second, np.arange(len(second)), len(second))

        def keep(start: int, stop: int, tiles: np.ndarray) -> None:
            patterns[start:stop] = rows_of(tiles, stop - start)
            if len(second):
                margins[:, start:stop] = measure.of(points, start, stop, tiles, False)

        tiles_of_blocks(points, first, self._n_threads, keep)
        return frozen(patterns), margins

    def _deciding(self, code: int, scores: np.ndarray, margins: np.ndarray) -> int | None:
        """The neuron to which a point owes its class, if to one."""
        network = self._network
        own = np.flatnonzero(network.second.owners == code)
        if isinstance(self._decider, DecisionList):
            on = np.flatnonzero(margins > 0)
            return int(on[0]) if len(on) else None
        if network.readout is None:
            return int(own[margins[own].argmax()]) if code in network.covered else None
        on = np.flatnonzero(margins > 0)
        gains = network.readout.gains
        without = scores.copy()
        np.subtract.at(without, network.second.owners[on], gains[on])
        own = on[network.second.owners[on] == code]
        # a label that the read-out gives by itself is not a neuron's
        return None if without.argmax() == code or not len(own) else int(own[gains[own].argmax()])

    def _of_scores(self, probe: Probe, scores: np.ndarray, margins: np.ndarray) -> dict[str, Any]:
        second, code = self._network.second, probe.code
        others = np.where(np.arange(len(scores)) == code, -np.inf, scores)
        other = int(others.argmax())
        if other == code:  # no other class has any score
            other = int(code == 0)
        threshold = count = None
        if probe.neuron is not None:
            threshold = second.thresholds[probe.neuron].item()
            count = threshold - margins[probe.neuron].item()
            count = count if second.activation == "relu" else round(count)
        theirs = np.flatnonzero(second.owners == other)
        runner = None
        if self._network.default is not None:
            theirs = theirs[margins[theirs] > 0]
            runner = int(theirs[0]) if len(theirs) else None
        elif self._network.readout is None and len(theirs):
            runner = int(theirs[margins[theirs].argmax()])
        return {
            "score": float(scores[code]), "runner_up": self._labels[other],
            "runner_up_score": float(scores[other]), "neuron": probe.neuron,
            "threshold": threshold, "count": count, "runner_up_neuron": runner,
        }  # fmt: skip

    def _of_rows(self, beside: Neighbours, probe: Probe, most: int) -> dict[str, Any]:
        return {
            "n_rows": int(self._sizes[probe.code]), "n_covered": int(beside.n_covered),
            "n_stored": int(beside.n_stored),
            "prototypes": self._examples(beside.own, probe, most),
            "counter_prototypes": self._examples(beside.others, probe, most),
        }  # fmt: skip

    def _examples(self, ranked: Ranked, probe: Probe, most: int) -> tuple[Example, ...]:
        rows = ranked.rows[:most]
        features = self._rows.dense(rows).astype(np.float64)
        are_whole = self._network.second.activation == "threshold"
        examples = []
        for i, row in enumerate(rows.tolist()):
            count = None
            if probe.neuron is not None:
                count = int(ranked.counts[i]) if are_whole else float(ranked.counts[i])
            distance = float(ranked.distances[i])
            examples.append(
                Example(
                    row,
                    self._labels[self._codes[row]],
                    count,
                    int(distance) if probe.values is None else distance,
                    values_of(self._network, features[i]),
                    tuple(features[i].tolist()),
                )
            )
        return tuple(examples)

    def _changes(
        self, start: Start, widths: tuple[np.ndarray, np.ndarray], others: Ranked, most: int
    ) -> dict[str, Any]:
        network, decider = self._network, self._decider

        def codes(points: np.ndarray) -> np.ndarray:
            some = Points(np.ascontiguousarray(points))
            return decider.codes(scaled(some, network.scale), self._n_threads)

        ways = directions(network, start.point, *widths)
        found: list[Change] = changes_along_features(
            network, decider, start, ways, widths, most, codes
        )
        if len(others.rows):
            target = self._rows.dense(others.rows[:1])[0].astype(np.float64)
            line = change_on_line(network, decider, start, target, codes)
            found += [] if line is None else [line]
        return {
            "flips": self._flips(start.pattern), "changes": tuple(found),
            "n_searched": ways.n_columns,
        }  # fmt: skip

    def _flips(self, pattern: np.ndarray) -> Flips | None:
        network, decider = self._network, self._decider
        second, n = network.second, len(network.first)
        if isinstance(decider, Votes) or second.activation == "relu":
            return None
        labels = decider.codes_of_patterns
        if isinstance(decider, Cells):
            n_classes = len(network.classes_)
            found = fewest_flips(second, network.covered, n_classes, pattern, n, labels)
        else:
            found = fewest_flips_of_list(second, pattern, n, labels)
        if found is None:
            return None
        bits, are_fewest = found
        code = int(labels(flipped(pattern, bits, n)[None])[0])
        return Flips(tuple(bits.tolist()), self._labels[code], are_fewest)

    def _rules(self, probe: Probe) -> tuple[Rule, ...]:
        network, second = self._network, self._network.second
        decides = len(second) if probe.neuron is None else probe.neuron
        shown = nearest_rules(second, probe.pattern, probe.code, decides, _N_RULES).tolist()
        shown = ([] if probe.neuron is None else [probe.neuron]) + shown
        some = CoverLayer(second.masks[shown], second.thresholds[shown], second.owners[shown])
        names = network.feature_names or feature_names(network.n_features_in_)
        bits = unpacked(probe.pattern[None], len(network.first))[0]
        masks = unpacked(some.masks, len(network.first))
        texts = rules_of(network.first, some, names, network.scale)
        return tuple(
            Rule(j, self._labels[owner], text, tuple((~bits[mask]).tolist()))
            for j, owner, text, mask in zip(shown, some.owners.tolist(), texts, masks, strict=True)
        )
