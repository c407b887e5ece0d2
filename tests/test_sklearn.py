"""The scikit-learn estimators keep scikit-learn's conventions and fastmem's promises."""

from __future__ import annotations

import copy
import doctest
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

pytest.importorskip("sklearn")

import joblib
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastmem
import fastmem.sklearn
from fastmem.patterns.words import packed
from fastmem.sklearn import ContradictionWarning, HyperplanePatterns, InterpolatingClassifier

ESTIMATORS = [InterpolatingClassifier(), HyperplanePatterns(n_hyperplanes=70)]
PEERS = [InterpolatingClassifier, KNeighborsClassifier, DecisionTreeClassifier]
NEEDS_A_VARIABLE = "check_array_api_input"  # skipped without SCIPY_ARRAY_API, see below


def needed(check):
    return getattr(check, "func", check).__name__


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    X, kept = np.unique(X, axis=0, return_index=True)
    return X, y[kept]


@pytest.mark.filterwarnings("ignore::fastmem.sklearn.ContradictionWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_own_checks(estimator, check):
    if needed(check) != NEEDS_A_VARIABLE:
        check(estimator)


def test_the_check_that_needs_an_environment_variable():
    code = f"""
import os
os.environ["SCIPY_ARRAY_API"] = "1"
from sklearn.utils.estimator_checks import estimator_checks_generator
from fastmem.sklearn import HyperplanePatterns, InterpolatingClassifier
for estimator in (InterpolatingClassifier(), HyperplanePatterns()):
    for same, check in estimator_checks_generator(estimator):
        if getattr(check, "func", check).__name__ == "{NEEDS_A_VARIABLE}":
            check(same)
            print("checked")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("checked") in (0, 2)  # older versions of scikit-learn have no such


# --- conventions shared with scikit-learn's classifiers -----------------------------------------


@pytest.mark.parametrize("labels", [[0, 1, 2], [-5, 2, 40], ["a", "b", "c"], "objects", "floats"])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, "csr", "csc"])
def test_labels_dtypes_and_formats_are_as_those_of_peers(iris, labels, kind):
    X, codes = iris
    if isinstance(labels, str):
        labels = {
            "objects": np.array(["ä", "b", "cc"], dtype=object),
            "floats": np.array([0.0, 1.0, 7.0]),
        }[labels]
    y = np.asarray(labels)[codes]
    X = getattr(sparse, f"{kind}_matrix")(X) if isinstance(kind, str) else (10 * X).astype(kind)
    found = [peer().fit(X, y) for peer in PEERS]
    for peer in found:
        assert peer.classes_.dtype == y.dtype
        assert peer.predict(X).dtype == y.dtype
        assert peer.classes_.tolist() == found[1].classes_.tolist()
    assert found[0].score(X, y) == 1.0


def sentence_of(function, *arguments):
    with pytest.raises((ValueError, TypeError)) as error:
        function(*arguments)
    return type(error.value).__mro__, str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda X, y: (np.where(np.equal(X, X[0, 0]), np.nan, X), y),
        lambda X, y: (np.where(np.equal(X, X[0, 0]), np.inf, X), y),
        lambda X, y: (X[0], y),
        lambda X, y: (X[:-1], y),
        lambda X, y: (X[:, :0], y),
        lambda X, y: (X[:0], y[:0]),
        lambda X, y: (X + 1j, y),
        lambda X, y: (X.astype(str) + "a", y),
        lambda X, y: (X, None),
        lambda X, y: (X, np.where(y == 0, np.nan, y)),
        lambda X, y: (X[:, :, None], y),
    ],
    ids=["NaN", "inf", "1d", "short", "no columns", "no rows", "complex", "text", "no y", "NaN y",
         "3d"],
)  # fmt: skip
def test_what_no_classifier_takes_is_refused_in_the_same_words(iris, change):
    X, y = change(*iris)
    mine, peer = (sentence_of(kind().fit, X, y) for kind in (InterpolatingClassifier, PEERS[1]))
    assert ValueError in mine[0] and ValueError in peer[0]
    words = [
        text.split("\n")[0].replace("KNeighborsClassifier", "X") for text in (mine[1], peer[1])
    ]
    assert words[0].replace("InterpolatingClassifier", "X") == words[1]


@pytest.mark.parametrize("method", ["predict", "decision_function"])
def test_wrong_columns_at_predict(iris, method):
    X, y = iris
    model = InterpolatingClassifier().fit(X, y)
    with pytest.raises(ValueError, match="X has 2 features, but InterpolatingClassifier is expect"):
        getattr(model, method)(X[:, :2])


def test_tags_are_those_of_peers():
    mine, tree = get_tags(InterpolatingClassifier()), get_tags(DecisionTreeClassifier())
    assert mine.estimator_type == tree.estimator_type == "classifier"
    assert mine.input_tags.sparse and mine.classifier_tags.multi_class
    assert not mine.input_tags.allow_nan
    assert not mine.classifier_tags.multi_label
    assert not mine.non_deterministic


@pytest.mark.parametrize("arguments", [{"sample_weight": np.ones(3)}, {"class_weight": {}}])
def test_weights_are_refused_by_their_name(arguments):
    with pytest.raises(TypeError, match=next(iter(arguments))):
        InterpolatingClassifier().fit([[0.0], [1.0], [2.0]], [0, 1, 0], **arguments)
    with pytest.raises((TypeError, ValueError), match="class_weight"):
        InterpolatingClassifier().set_params(class_weight={0: 1})


def test_auto_decides_by_vote_unless_a_parameter_is_for_cells(iris):
    X, y = iris
    assert InterpolatingClassifier(random_state=0).fit(X, y).network_.readout is not None
    for parameters in (
        {"compact": True}, {"width": "smallest"}, {"covered": [0, 1]}, {"decision": "cells"},
    ):  # fmt: skip
        model = InterpolatingClassifier(random_state=0, **parameters)
        assert not hasattr(model, "predict_proba")
        assert model.fit(X, y).network_.readout is None
    with pytest.raises(ValueError, match=r"compact is True .* but decision is 'vote'"):
        InterpolatingClassifier(decision="vote", compact=True).fit(X, y)
    with pytest.raises(ValueError, match="decision is 'votes'"):
        InterpolatingClassifier(decision="votes").fit(X, y)


def test_probabilities_and_withheld_labels(iris):
    X, y = iris
    model = InterpolatingClassifier(random_state=0).fit(X[::2], y[::2])
    shares = model.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    labels = model.predict(X)
    assert (model.classes_[shares.argmax(axis=1)] == labels).all()
    some = model.predict(X, abstain=0.9)
    assert (some.mask == (shares.max(axis=1) < 0.9)).all() and some.mask.any()
    assert (some[~some.mask] == labels[~some.mask]).all()
    assert model.predict(1e6 * X, abstain=0.0).mask.all()  # far out of what it was shown
    assert not model.predict(X[::2], abstain=0.0).mask.any()
    with pytest.raises(ValueError, match=r"abstain is 1\.5"):
        model.predict(X, abstain=1.5)
    cells = InterpolatingClassifier(decision="cells", random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="margins of cells are no probabilities"):
        cells.predict(X, abstain=0.5)


# --- tools of scikit-learn ------------------------------------------------------------------------


def test_pipeline_grid_search_and_calibration(iris):
    X, y = iris
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    pipe = make_pipeline(StandardScaler(), InterpolatingClassifier(random_state=0))
    search = GridSearchCV(pipe, {"interpolatingclassifier__margin": [0.0, 1.0]}, cv=folds, n_jobs=1)
    search.fit(X, y)
    assert search.score(X, y) == 1.0
    assert cross_val_score(search.best_estimator_, X, y, cv=folds).mean() > 0.85
    with joblib.parallel_config("threading", n_jobs=2):
        both = cross_val_score(search.best_estimator_, X, y, cv=folds)
    assert (both == cross_val_score(search.best_estimator_, X, y, cv=folds)).all()
    assert hasattr(pipe, "predict_proba")
    cells = make_pipeline(StandardScaler(), InterpolatingClassifier(decision="cells"))
    assert not hasattr(cells, "predict_proba")
    calibrated = CalibratedClassifierCV(pipe, cv=folds, ensemble=False).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)
    features = make_pipeline(HyperplanePatterns(300, random_state=0), LogisticRegression())
    assert cross_val_score(features, X, y, cv=folds).mean() > 0.85


@pytest.mark.parametrize("settings", [{}, {"projection": "structured", "compact": True}])
def test_copies_pickles_and_files_predict_the_same(iris, settings, tmp_path):
    X, y = iris
    model = InterpolatingClassifier(random_state=3, **settings).fit(X, y)
    scores = model.decision_function(X)
    joblib.dump(model, tmp_path / "model.joblib")
    model.network_.save(tmp_path / "net.npz")
    for other in (
        copy.deepcopy(model),
        copy.copy(model),
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model.joblib"),
        joblib.load(tmp_path / "model.joblib", mmap_mode="r"),
        clone(model).fit(X, y),
        fastmem.load(tmp_path / "net.npz"),
    ):
        assert (other.predict(X) == y).all()
        assert (other.decision_function(X) == scores).all()
    # nor is what a prediction computes once in it
    assert len(vars(pickle.loads(pickle.dumps(model)).network_)) < len(vars(model.network_))
    weights = pickle.loads(pickle.dumps(model)).network_.first.biases
    assert not weights.flags.writeable


def test_seeds_and_threads(iris):
    X, y = iris
    for decision in ("vote", "cells"):
        expected = fastmem.interpolate(X, y, seed=5, decision=decision)
        for n_jobs in (None, 1, 2, -1):
            model = InterpolatingClassifier(decision=decision, random_state=5, n_jobs=n_jobs)
            network = model.fit(X, y).network_
            assert (network.first.weights == expected.first.weights).all()
            assert (network.second.masks == expected.second.masks).all()
            if decision == "vote":
                assert (network.readout.weights == expected.readout.weights).all()
    states = [np.random.RandomState(1), np.random.RandomState(1), np.random.RandomState(2)]
    first, same, other = (
        InterpolatingClassifier(random_state=s).fit(X, y).network_.report.seed for s in states
    )
    assert first == same != other
    with pytest.raises(ValueError, match="n_jobs is 0"):
        InterpolatingClassifier(n_jobs=0).fit(X, y)


def test_verbose_prints_one_line(iris, capsys):
    model = InterpolatingClassifier(verbose=1).fit(*iris)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and f"{model.network_.widths[0]:,} hyperplanes" in lines[0]
    InterpolatingClassifier().fit(*iris)
    assert capsys.readouterr().out == ""


# --- contradictory labels -------------------------------------------------------------------------


def contradictory(labels, n_more=4):
    """Groups of equal points with these labels, one list a group, and more points of class 0."""
    X = np.concatenate([np.full(len(group), i) for i, group in enumerate(labels)])
    X = np.concatenate([X, -1.0 - np.arange(n_more)])[:, None]
    return X, np.concatenate([*labels, np.zeros(n_more, int)])


@pytest.mark.parametrize("width", ["auto", 200])
def test_equal_points_get_their_most_frequent_label(width):
    X, y = contradictory([[1, 1, 2], [2, 1], [2, 2, 1, 1, 1], [2]])
    with pytest.warns(ContradictionWarning, match=r"4 of 15 .*\(rows 2, 3, 5"):
        model = InterpolatingClassifier(width=width, random_state=0).fit(X, y)
    assert model.predict(X).tolist() == [1] * 3 + [1] * 2 + [1] * 5 + [2] + [0] * 4
    assert model.relabelled_.tolist() == [2, 3, 5, 6]
    peer = DecisionTreeClassifier().fit(X, y)
    assert model.score(X, y) == peer.score(X, y)
    with pytest.raises(fastmem.ContradictionError, match=r"rows 0 \(1\) and 2 \(2\)"):
        InterpolatingClassifier(contradictions="raise").fit(X, y)


@pytest.mark.parametrize("names", [[0, 1, 2, 3], ["a", "b", "c", "d"]])
@pytest.mark.parametrize("lost", [[1], [1, 2], [3]])
@pytest.mark.parametrize("covered", ["auto", "all", "list"])
def test_a_class_whose_points_all_lose_is_never_predicted(names, lost, covered):
    names = np.array(names, dtype=object if isinstance(names[0], str) else None)
    groups = [[0, 0, code] if code in lost else [code] for code in range(4)]
    X, y = contradictory(groups)
    covered = list(names[1:]) if covered == "list" else covered
    with pytest.warns(ContradictionWarning):
        model = InterpolatingClassifier(covered=covered, random_state=0).fit(X, names[y])
    right = np.where(np.isin(y, lost), 0, y)
    assert model.classes_.tolist() == names.tolist()
    assert model.predict(X).tolist() == names[right].tolist()
    scores = model.decision_function(X)
    assert scores.shape == (len(X), 4)
    assert (scores.argmax(axis=1) == right).all()
    assert (scores[:, lost] == -np.inf).all()


@pytest.mark.parametrize("covered", [None, [[0]], [0, "1"], 0.5])
def test_covered_that_is_no_class_is_refused_in_a_sentence(covered):
    with pytest.raises(fastmem.InvalidInputError, match=r"(?s)covered names .* not a class of y"):
        InterpolatingClassifier(covered=covered).fit([[0.0], [1.0]], [0, 1])


def test_covered_may_be_any_number_or_array():
    for covered in (np.True_, np.array(True), np.array([True]), {True}):
        model = InterpolatingClassifier(covered=covered).fit([[0.0], [1.0]], [False, True])
        assert model.network_.covered == (1,)


def test_points_that_tell_nothing_are_refused():
    with pytest.raises(ValueError, match="all points have one class"):
        InterpolatingClassifier().fit(np.ones((4, 2)), [0, 1, 1, 1])
    with pytest.raises(ValueError, match="contradictions is 'ignore'"):
        InterpolatingClassifier(contradictions="ignore").fit([[0.0], [1.0]], [0, 1])


# --- sign patterns as features --------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 64, 130])
@pytest.mark.parametrize("projection", ["gaussian", "structured"])
def test_patterns_are_the_signs_of_the_hyperplanes(iris, n, projection):
    X, y = iris
    settings = {"projection": projection, "random_state": 2}
    model = HyperplanePatterns(n, **settings).fit(X)
    bits = model.transform(X)
    assert bits.dtype == np.uint8 and bits.shape == (len(X), n)
    planes = model.hyperplanes_
    clear = X @ planes.weights.T.astype(np.float64) + planes.biases
    assert (bits == (clear > 0))[np.abs(clear) > 1e-9].all()
    assert (model.transform(sparse.csr_matrix(X)) == bits).all()
    flags = clone(model).set_params(output="bool").fit_transform(X)
    assert flags.dtype == np.bool_ and (flags == bits).all()
    words = clone(model).set_params(output="packed").fit_transform(X)
    assert words.dtype == np.uint64 and (words == packed(bits.astype(bool))).all()


def test_patterns_are_those_of_interpolate(iris):
    X, y = iris
    network = fastmem.interpolate(X, y, width=2000, seed=2)
    planes = HyperplanePatterns(2000, random_state=2).fit(X).hyperplanes_
    assert (planes.weights == network.first.weights).all()
    assert (planes.biases == network.first.biases).all()


def test_names_and_data_frames(iris):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    X, y = iris
    columns = ["a", "b", "c", "d"]
    for frame in (pandas.DataFrame(X, columns=columns), polars.DataFrame(X, schema=columns)):
        model = InterpolatingClassifier(random_state=0).fit(frame, y)
        assert model.feature_names_in_.tolist() == columns
        assert model.score(frame, y) == 1.0
    library = {"pandas": pandas.DataFrame, "polars": polars.DataFrame}
    for output, names in (("uint8", 70), ("packed", 2)):
        model = HyperplanePatterns(70, output=output, random_state=0).fit(X)
        assert model.get_feature_names_out()[-1] == f"hyperplanepatterns{names - 1}"
        for name, kind in library.items():
            table = model.set_output(transform=name).transform(X)
            assert isinstance(table, kind) and table.shape == (len(X), names)
            assert list(table.columns) == list(model.get_feature_names_out())


@pytest.mark.parametrize(
    "settings", [{"n_hyperplanes": 0}, {"output": "bits"}, {"max_bias": -1}, {"scale": "big"}]
)
def test_wrong_parameters_of_patterns(settings):
    (name,) = settings
    with pytest.raises(fastmem.InvalidInputError, match=f"^{name} is"):
        HyperplanePatterns(**settings).fit([[0.0], [1.0]])


def test_examples_of_docstrings():
    tried = doctest.testmod(fastmem.sklearn)
    assert tried.attempted > 5 and tried.failed == 0


@pytest.mark.parametrize("as_csr", [False, True])
def test_a_scale_reaches_the_classifier_and_the_patterns(iris, as_csr):
    X, y = iris
    X = X * [1, 1024, 2.0**-20, 1]
    given = sparse.csr_matrix(X) if as_csr else X
    for scale in ("std", "auto", np.array([1, 2.0**-10, 2.0**20, 1])):
        model = clone(InterpolatingClassifier(scale=scale, random_state=0)).fit(given, y)
        assert model.score(given, y) == 1.0 and model.network_.scale is not None
        network = fastmem.interpolate(X, y, scale=scale, seed=0)
        np.testing.assert_array_equal(model.network_.scale, network.scale)
        np.testing.assert_array_equal(model.predict(given), network.predict(X))
        if isinstance(scale, str) and scale == "auto":
            continue
        patterns = HyperplanePatterns(200, scale=scale, random_state=2, output="packed").fit(given)
        np.testing.assert_array_equal(patterns.scale_, network.scale)
        wanted = fastmem.sign_patterns(X * network.scale, patterns.hyperplanes_)
        np.testing.assert_array_equal(patterns.transform(given), wanted)
        same = fastmem.interpolate(X, y, width=200, scale=scale, seed=2)
        np.testing.assert_array_equal(patterns.hyperplanes_.weights, same.first.weights)
        np.testing.assert_array_equal(patterns.hyperplanes_.biases, same.first.biases)
    with pytest.raises(fastmem.InvalidInputError, match="scale is 'auto', which needs labels"):
        HyperplanePatterns(scale="auto").fit(X)
