"""Networks through their life: fitted, asked, saved over each other, loaded, pickled, refitted.

`FASTMEM_STATES=50 pytest tests/test_state_machine.py` lives fifty times as many lives.
"""

from __future__ import annotations

import copy
import os
import pickle
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule
from random_fits import check_scores, contradicts, distinct

import fastmem

SCALE = float(os.environ.get("FASTMEM_STATES", "1"))
NAMES = ("a.npz", "b.npz", "c.npz")


class Data(NamedTuple):
    """Points, their labels, and whether equal ones have different labels."""

    X: np.ndarray
    y: np.ndarray
    contradicts: bool


class Known(NamedTuple):
    """A network, what it was fitted to and how, and what it predicts for that."""

    network: Any
    data: Data
    settings: dict[str, Any]
    labels: np.ndarray
    scores: np.ndarray
    content: bytes | None


LABELS = st.sampled_from(
    [
        np.array([-1, 1, 7]),
        np.array(["nein", "ja", "é雪"]),
        np.array([False, True]),
        np.array([0.0, 2.0, 2.0**60]),
        np.array([2**63, 1, 2**64 - 1], np.uint64),
        np.array([3, -128, 127], np.int8),
    ]
)
SCALES = {
    np.float32: [1.0, 1e-40, 1e-20, 1e30, 1e37],
    np.float64: [1.0, 1e-310, 1e-100, 1e100, 1e290],
}


@st.composite
def new_data_sets(draw):
    """From two points in one dimension on; duplicates and contradictions as they come."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    d = draw(st.sampled_from([1, 1, 2, 3, 7, 130]))
    n = draw(st.integers(2, 4) if draw(st.booleans()) else st.integers(5, 60))
    if draw(st.booleans()):  # many equal coordinates, and shrinking ones
        X = draw(hnp.arrays(np.int8, (n, min(d, 3)), elements=st.integers(-2, 2))).astype(dtype)
    else:
        X = np.random.default_rng(draw(st.integers(0, 2**32))).standard_normal((n, d))
    scale = draw(st.sampled_from(SCALES[dtype]))
    offset = draw(st.sampled_from([0.0, 0.0, 1.0, -1e6]))
    X = ((X + offset * (scale == 1.0)) * scale).astype(dtype)
    if draw(st.booleans()):
        X = X[draw(st.lists(st.integers(0, n - 1), min_size=2, max_size=60))]
    classes = draw(LABELS)
    codes = draw(hnp.arrays(np.int64, len(X), elements=st.integers(0, len(classes) - 1)))
    codes[0], codes[-1] = 0, 1
    y = classes[codes]
    return Data(X, y, contradicts(X, y))


@st.composite
def settings_of_fits(draw):
    """Combinations that `interpolate` takes."""

    def maybe(name, values):
        if draw(st.booleans()):
            settings[name] = draw(values)

    settings: dict[str, Any] = {"seed": draw(st.integers(0, 2**32))}
    maybe("width", st.sampled_from([1, 3, 64, 65, 200, "auto", "smallest"]))
    maybe("selection", st.sampled_from(["merge", "random"]))
    maybe("projection", st.sampled_from(["gaussian", "structured"]))
    maybe("activation", st.sampled_from(["threshold", "relu"]))
    maybe("covered", st.sampled_from(["auto", "all", "first"]))
    maybe("margin", st.sampled_from([0.0, 0.3, 1.0]))
    maybe("center", st.booleans())
    maybe("n_threads", st.sampled_from([1, 2]))
    maybe("memory_limit", st.sampled_from([None, "300 MB"]))
    maybe("complete", st.booleans())
    if settings.get("selection") != "random":
        maybe("compact", st.booleans())
    if settings.get("width", "auto") in ("auto", "smallest"):
        maybe("max_width", st.sampled_from([None, 2, 70, 1000]))
    if draw(st.integers(0, 3)) == 0:
        settings["decision"] = "vote"
        for name in ("activation", "compact", "complete"):
            settings.pop(name, None)
        for name, refused in (("covered", "first"), ("width", "smallest")):
            if settings.get(name) == refused:
                settings.pop(name)
    return settings


class Life(RuleBasedStateMachine):
    """See the module."""

    data_sets = Bundle("data_sets")
    networks = Bundle("networks")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="fastmem-states-")
        self.saved: dict[str, Known] = {}

    def teardown(self):
        left = sorted(os.listdir(self.folder.name))
        self.folder.cleanup()
        assert left == sorted(self.saved)

    def path(self, name):
        return Path(self.folder.name) / name

    def fitted(self, data, settings, X=None):
        settings = dict(settings)
        if settings.get("covered") == "first":
            settings["covered"] = np.unique(data.y)[:-1].tolist()
        if settings.get("width", "auto") in ("auto", "smallest") and data.contradicts:
            settings["width"] = 65
            settings.pop("max_width", None)
        if data.contradicts:
            settings.pop("complete", None)
            if settings.pop("decision", None):  # which gives votes to all points
                settings["width"] = 65
                settings.pop("max_width", None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("error")
            warnings.simplefilter("always", fastmem.UnseparatedWarning)
            network = fastmem.interpolate(data.X if X is None else X, data.y, **settings)
        failed = network.report.unseparated
        assert bool(caught) == bool(len(failed))
        labels = network.predict(data.X)
        assert labels.dtype == network.classes_.dtype
        wrong = np.flatnonzero(labels != data.y)
        assert np.isin(wrong, failed).all()
        if settings.get("width", "auto") in ("auto", "smallest") and not settings.get("max_width"):
            assert not len(failed)
        scores = network.decision_function(data.X)
        return Known(network, data, settings, labels, scores, None)

    # Making

    @rule(target=data_sets, data=new_data_sets())
    def make_data(self, data):
        return data

    @rule(target=data_sets, data=data_sets)
    def without_contradictions(self, data):
        X, y = distinct(data.X, data.y)
        return Data(X, y, False) if len(np.unique(y)) > 1 else multiple()

    @initialize(target=networks, data=new_data_sets(), settings=settings_of_fits())
    def first_fit(self, data, settings):
        return self.fit_or_refuse(data, settings)

    @rule(target=networks, data=data_sets, settings=settings_of_fits())
    def fit(self, data, settings):
        return self.fit_or_refuse(data, settings)

    def fit_or_refuse(self, data, settings):
        try:
            return self.fitted(data, settings)
        except fastmem.InvalidInputError as error:
            # 60 coordinates of 1e-310 give sums that no real threshold can be
            assert "scaled so small" in str(error) and settings.get("activation") == "relu"
            assert abs(data.X).max() < 1e-300
            return multiple()

    @rule(target=networks, known=networks, sparse=st.booleans(), threads=st.sampled_from([1, 3]))
    def refit(self, known, sparse, threads):
        """The same data, parameters and seed give the same network and bytes, in any form."""
        import scipy.sparse

        X = np.asfortranarray(known.data.X)
        if sparse and known.settings.get("projection") and known.data.X.shape[1] < 128:
            X = scipy.sparse.csr_array(known.data.X)
        again = self.fitted(known.data, known.settings | {"n_threads": threads}, X)
        self.equal(again, known)
        if known.network.report is not None:
            np.testing.assert_array_equal(
                again.network.report.unseparated, known.network.report.unseparated
            )
        known.network.save(self.path("a.npz"))
        again.network.save(self.path("b.npz"))
        assert self.path("a.npz").read_bytes() == self.path("b.npz").read_bytes()
        self.saved["a.npz"] = self.saved["b.npz"] = known
        return again

    # Saving, loading, copying

    @rule(known=networks, name=st.sampled_from(NAMES))
    def save(self, known, name):
        known.network.save(self.path(name))
        assert self.path(name).stat().st_size == known.network.nbytes
        self.saved[name] = known

    @rule(target=networks, name=st.sampled_from(NAMES))
    def load(self, name):
        if name not in self.saved:
            with pytest.raises(FileNotFoundError):
                fastmem.load(self.path(name))
            return multiple()
        network = fastmem.load(self.path(name))
        assert network.report is None
        return self.copied(self.saved[name], network)

    @rule(name=st.sampled_from(NAMES), at=st.floats(0, 1, exclude_max=True))
    def damage(self, name, at):
        """A damaged file is refused, and the next network can be saved over it."""
        if name in self.saved:
            content = bytearray(self.path(name).read_bytes())
            content[int(at * len(content))] ^= 1
            self.path(name).write_bytes(content)
            with pytest.raises(fastmem.ModelFileError):
                fastmem.load(self.path(name))
            self.path(name).unlink()
            del self.saved[name]

    @rule(target=networks, known=networks)
    def pickled(self, known):
        return self.copied(known, pickle.loads(pickle.dumps(known.network)))

    @rule(target=networks, known=networks)
    def deep_copied(self, known):
        return self.copied(known, copy.deepcopy(known.network))

    def copied(self, known, network):
        copy = known._replace(network=network)
        self.equal(copy, known)
        return copy

    def equal(self, a, b):
        assert a.network.widths == b.network.widths
        assert a.network.classes_.tolist() == b.network.classes_.tolist()
        assert a.network.covered == b.network.covered
        assert a.network.n_nonzero == b.network.n_nonzero
        for name in ("masks", "thresholds", "owners"):
            one, other = getattr(a.network.second, name), getattr(b.network.second, name)
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(a.network.first.biases, b.network.first.biases)
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(a.scores, b.scores)

    # Asking

    @rule(known=networks)
    def predict(self, known):
        np.testing.assert_array_equal(known.network.predict(known.data.X), known.labels)
        right = float(np.mean(known.labels == known.data.y))
        assert known.network.score(known.data.X, known.data.y) == right

    @rule(known=networks, sizes=st.lists(st.integers(1, 20), min_size=1), threads=st.integers(1, 3))
    def predict_in_batches(self, known, sizes, threads):
        start = 0
        for size in sizes:
            part = slice(start, start + size)
            labels = known.network.predict(known.data.X[part], n_threads=threads)
            np.testing.assert_array_equal(labels, known.labels[part])
            start += size
        assert len(known.network.predict(known.data.X[:0])) == 0

    @rule(known=networks, rows=st.lists(st.integers(0, 59), min_size=1, max_size=5))
    def predict_one_at_a_time(self, known, rows):
        for row in rows:
            i = row % len(known.labels)
            assert known.network.predict(known.data.X[i : i + 1])[0] == known.labels[i]
            scores = known.network.decision_function(known.data.X[i : i + 1])
            np.testing.assert_array_equal(scores[0], known.scores[i])

    @rule(known=networks, seed=st.integers(0, 2**32))
    def predict_in_another_order(self, known, seed):
        order = np.random.default_rng(seed).permutation(len(known.labels))
        labels = known.network.predict(known.data.X[order])
        np.testing.assert_array_equal(labels, known.labels[order])

    @rule(known=networks, form=st.sampled_from(["columns", "wide", "swapped", "list", "sparse"]))
    def predict_in_another_form(self, known, form):
        import scipy.sparse

        X = known.data.X
        forms = {
            "columns": np.asfortranarray,
            "wide": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
            "swapped": lambda X: X.astype(X.dtype.newbyteorder()),
            "list": lambda X: X.astype(float).tolist(),
            "sparse": scipy.sparse.csr_array,
        }
        np.testing.assert_array_equal(known.network.predict(forms[form](X)), known.labels)

    @rule(known=networks)
    def scores_say_the_same(self, known):
        scores = known.network.decision_function(known.data.X)
        np.testing.assert_array_equal(scores, known.scores)
        check_scores(known.network, known.data.X, known.labels)

    @rule(known=networks, other=data_sets)
    def other_points_do_no_harm(self, known, other):
        if other.X.shape[1] == known.network.n_features_in_:
            assert np.isin(known.network.predict(other.X), known.network.classes_).all()
        else:
            with pytest.raises(fastmem.InvalidInputError, match="features"):
                known.network.predict(other.X)


TestLife = Life.TestCase
TestLife.settings = hypothesis.settings(
    max_examples=int(100 * SCALE), stateful_step_count=25, deadline=None, derandomize=SCALE == 1,
)  # fmt: skip
