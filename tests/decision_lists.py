"""A slow grower of decision lists, and networks made by it: for tests of what becomes of them."""

from __future__ import annotations

import numpy as np

from fastmem.hyperplanes.keyed import KeyedHyperplanes, keyed_candidates
from fastmem.inputs import check_points, scaled
from fastmem.network.lists import list_layers
from fastmem.network.network import Network
from fastmem.patterns.bit_columns import bit_columns
from fastmem.patterns.words import unpacked


def grown(bits, codes, n_classes, usable):
    """Literals of each neuron, its class, and the default; bits (N, n) bool, codes (N,).

    Neurons are on for points of one class alone among those that are left; ValueError where no
    literal tells two points apart.
    """
    true = np.stack([bits, ~bits], axis=2).reshape(len(bits), -1)  # 2 i: bit i, 2 i + 1: not
    true[:, np.repeat(~usable, 2)] = False
    left = np.ones(len(bits), bool)
    neurons, classes = [], []
    while len(np.unique(codes[left])) > 1:
        code = np.bincount(codes[left], minlength=n_classes).argmax()
        inside, literals = left.copy(), []
        while True:
            p, q = inside & (codes == code), inside & (codes != code)
            if not q.any():
                break
            p1, q1 = true[p].sum(axis=0), true[q].sum(axis=0)
            p0, q0 = p.sum() - p1, q.sum() - q1
            gain = np.log2((p1 + 1e-9) / (p1 + q1 + 1e-9)) - np.log2((p0 + 1e-9) / (p0 + q0 + 1e-9))
            gain = np.where((q1 < q.sum()) & (p1 > 0), p1 * gain, -np.inf)
            if not np.isfinite(gain).any():
                raise ValueError("no literal tells these points apart")
            literals.append(int(gain.argmax()))
            inside &= true[:, literals[-1]]
        for literal in list(literals):  # thinned: none that the others make needless
            others = [one for one in literals if one != literal]
            on = left & true[:, others].all(axis=1)
            if others and not (on & (codes != code)).any():
                literals = others
        on = left & true[:, literals].all(axis=1)
        neurons.append(sorted(literals))
        classes.append(int(code))
        left &= ~on
    return neurons, np.array(classes, np.int64), int(codes[left][0])


def make_list(
    X, y, n=256, n_entries=5, key=7, n_extra=0, bits=2, scale=None, **described
) -> Network:
    """A network of a decision list that is right on all points; ``described`` go to `Network`."""
    classes, codes = np.unique(y, return_inverse=True)
    points = scaled(check_points(X), scale)
    candidates = keyed_candidates(key, n, n_entries, points, width=1.0, bits=bits)
    if n_extra:
        rng = np.random.default_rng(key)
        weights = rng.standard_normal((n_extra, points.n_features)).astype(np.float32)
        dense = points.dense(rng.integers(points.n_samples, size=n_extra)).astype(np.float64)
        biases = -np.sum(weights * dense, axis=1) + 1e-3
        candidates = candidates.extended(weights, biases)
        assert isinstance(candidates, KeyedHyperplanes)
    columns, touched = bit_columns(candidates, points, 1)
    found = unpacked(columns, points.n_samples).T
    neurons, owners, default = grown(found, codes, len(classes), ~touched)
    starts = np.cumsum([0, *map(len, neurons)])
    literals = np.array([one for neuron in neurons for one in neuron], np.int64)
    first, second = list_layers(candidates, starts, literals, owners)
    covered = tuple(np.unique(owners).tolist())
    return Network(classes, first, second, covered, scale=scale, default=default, **described)


def slow_scores(network, X):
    """Scores of all classes by the definition, from the sign patterns of the points."""
    from fastmem import sign_patterns

    first, second = network.first, network.second
    points = np.asarray(X, np.float64)
    points = points if network.scale is None else points * network.scale
    bits = unpacked(sign_patterns(points, first), len(first))
    masks = unpacked(second.masks, len(first))
    on = bits.astype(int) @ masks.T.astype(int) == 0
    runs = np.cumsum(np.diff(second.owners, prepend=-1) != 0)
    scores = np.zeros((len(points), len(network.classes_)))
    for j in range(len(second))[::-1]:
        scores[on[:, j], second.owners[j]] = runs[-1] - runs[j] + 1
    scores[:, network.default] = np.maximum(scores[:, network.default], 0.5)
    return scores
