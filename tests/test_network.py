"""Margins, decisions, widths, and what growth reports."""

from __future__ import annotations

import pickle
from xml.etree import ElementTree

import numpy as np
import oracle
import pytest
from scipy import sparse

import fastmem
from fastmem import datasets
from fastmem.inputs import check_points
from fastmem.network.network import Network
from fastmem.network.neurons_on import first_neuron_on, neurons_on


def three_classes(n_samples=400, d=3):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n_samples)
    return rng.standard_normal((n_samples, d)) + 2.0 * rng.standard_normal((3, d))[y], y


def oracle_decision(network, X):
    bits = oracle.exact_bits_filtered(X, network.first.weights, network.first.biases)
    second = network.second
    blocks = {
        code: (
            oracle.unpack(second.masks[second.owners == code], len(network.first)),
            second.thresholds[second.owners == code].astype(np.int64),
        )
        for code in network.covered
    }
    return oracle.decide(bits, blocks, len(network.classes_))


@pytest.mark.parametrize("selection", ["random", "merge"])
@pytest.mark.parametrize("covered", ["auto", "all", [0, 1], [1, 2]])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("width", ["auto", 3, 200])
@pytest.mark.filterwarnings("ignore::fastmem.UnseparatedWarning")
def test_margins_and_labels_equal_the_oracle(selection, covered, n_classes, width):
    X, y = three_classes()
    if n_classes == 2:
        y = np.minimum(y, 1)
        covered = [c for c in covered if c < 2] if isinstance(covered, list) else covered
    network = fastmem.interpolate(X, y, covered=covered, selection=selection, width=width, seed=4)
    unseen = np.concatenate([X, np.random.default_rng(1).standard_normal((300, 3)) * 4])
    scores, predicted = oracle_decision(network, unseen)
    np.testing.assert_array_equal(network.decision_function(unseen), scores)
    np.testing.assert_array_equal(network.predict(unseen), predicted)


@pytest.mark.parametrize("selection", ["random", "merge"])
@pytest.mark.parametrize("margin", [0.2, 0.5, 1.0])
def test_every_training_point_lies_inside_a_cell_by_the_margin(selection, margin):
    X, y = three_classes()
    network = fastmem.interpolate(X, y, width=300, selection=selection, margin=margin, seed=4)
    assert network.covered == (0, 1, 2)
    assert network.score(X, y) == 1.0
    bits = oracle.exact_bits_filtered(X, network.first.weights, network.first.biases)
    second = network.second
    counts = oracle.counts(oracle.unpack(second.masks, 300), bits)
    deep = counts <= (1 - margin) * second.thresholds[:, None]
    assert (deep & (second.owners[:, None] == y)).any(axis=0).all()
    narrow = fastmem.interpolate(X, y, width=300, selection=selection, covered="all", seed=4)
    assert len(narrow.second) < len(second)


def test_a_margin_predicts_unseen_points_better():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    half = np.arange(len(X)) % 2 == 0
    scores = [
        fastmem.interpolate(X[half], y[half], width=1024, margin=margin, seed=0).score(
            X[~half], y[~half]
        )
        for margin in (0.0, 0.5)
    ]
    assert scores[0] + 0.02 < scores[1]
    assert scores[1] > 0.95


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes", "maybe"]),
        np.array([False, True, True]),
        np.array([-5, 7, 2**40]),
        ["a", "b", "c"],
    ],
)
def test_labels_come_back_as_they_are(labels):
    X, codes = three_classes()
    y = np.array(labels)[codes]
    network = fastmem.interpolate(X, y, seed=0)
    assert network.predict(X).dtype == network.classes_.dtype
    np.testing.assert_array_equal(network.predict(X), y)
    np.testing.assert_array_equal(network.classes_, np.unique(y))


def test_predict_on_nothing_gives_nothing():
    X, y = three_classes()
    network = fastmem.interpolate(X, y, seed=0)
    assert network.predict(X[:0]).shape == (0,)
    assert network.decision_function(X[:0]).shape == (0, 3)


def test_widths_and_counts_of_parameters():
    X, y = three_classes()
    network = fastmem.interpolate(X, y, width=100, seed=0, max_bias=6.0)
    n, m = network.widths
    assert (n, m) == (100, len(network.second.thresholds))
    assert network.n_parameters == 100 * 4 + m * 101 + m
    ones = oracle.unpack(network.second.masks, 100).sum()
    assert network.n_nonzero == 100 * 4 + ones + 2 * m


def seeded_network() -> fastmem.Network:
    """Hyperplanes that are computed from a key; any masks do."""
    layer = (np.arange(70, dtype=np.int32), np.zeros((0, 3), np.float32), np.zeros(70))
    first = fastmem.SeededHyperplanes(12345, *layer, np.zeros(3), 1.0)
    masks = np.full((2, 2), 63, np.uint64)
    second = fastmem.CoverLayer(masks, np.array([3, 4], np.int32), np.array([0, 1], np.int32))
    return fastmem.Network(np.array([0, 1]), first, second, (0, 1))


@pytest.mark.parametrize(
    ("projection", "activation"),
    [
        ("gaussian", "threshold"),
        ("structured", "threshold"),
        ("seeded", "threshold"),
        ("gaussian", "relu"),
        ("structured", "relu"),
    ],
)
def test_a_pickle_holds_nothing_that_was_computed_on_demand(projection, activation):
    X, y = three_classes()
    if projection == "seeded":
        network = seeded_network()
    else:
        network = fastmem.interpolate(X, y, seed=0, activation=activation, projection=projection)
    before = len(pickle.dumps(network))
    network.predict(X)
    network.decision_function(sparse.csr_matrix(X))
    assert network.nbytes > 0
    assert len(pickle.dumps(network)) == before
    again = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(again.decision_function(X), network.decision_function(X))


def test_a_network_that_an_older_release_pickled_loads():
    X, y = three_classes()
    network = fastmem.interpolate(X, y, seed=0, activation="relu")
    old = fastmem.Network.__new__(fastmem.Network)
    state = network.__getstate__() | {"_real": {False: "what was computed"}, "_stack": ()}
    del state["feature_names"]
    old.__setstate__(state)
    assert old.feature_names is None and not {"_real", "_stack"} & vars(old).keys()
    np.testing.assert_array_equal(old.predict(X), y)


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("activation", ["threshold", "relu"])
def test_neurons_are_on_where_their_block_has_a_positive_margin(activation, is_sparse):
    X, y = three_classes(1500)
    if is_sparse:
        X = sparse.csr_matrix(np.hstack([X, np.zeros((len(X), 400))]))
    network = fastmem.interpolate(X, y, seed=0, covered="all", activation=activation)
    first, second, points = network.first, network.second, check_points(X)
    assert points.is_sparse == is_sparse
    on = neurons_on(points, first, second, 2)
    assert on.shape == (len(second), len(y)) and not on.all() and on.any()
    for code, scores in enumerate(network.decision_function(X).T):
        np.testing.assert_array_equal(on[second.owners == code].any(axis=0), scores > 0)
    found = first_neuron_on(points, y, first, second, 2)
    on &= second.owners[:, None] == y
    np.testing.assert_array_equal(found, np.where(on.any(axis=0), on.argmax(axis=0), -1))
    rows = np.array([1200, 3, 700, 3])
    np.testing.assert_array_equal(first_neuron_on(points, y, first, second, 2, rows), found[rows])
    np.testing.assert_array_equal(first_neuron_on(points, y + 3, first, second, 2), -1)


@pytest.mark.filterwarnings("ignore::fastmem.UnseparatedWarning")
def test_neurons_of_a_block_come_in_order_of_what_they_covered():
    X, y = three_classes(1000)
    network = fastmem.interpolate(X, y, width=400, seed=0, selection="random")
    assert (np.diff(network.second.owners) >= 0).all()
    bits = oracle.exact_bits_filtered(X, network.first.weights, network.first.biases)
    code = network.covered[0]
    own = network.second.owners == code
    masks = oracle.unpack(network.second.masks[own], 400)
    on = oracle.coverage(masks, network.second.thresholds[own], bits[y == code])
    assert on.any(axis=0).mean() > 0.9
    assert on[0].sum() >= on[-1].sum()


def test_centring_and_bias_do_what_they_say():
    X, y = datasets.two_moons(500)
    far = X + 1e6
    network = fastmem.interpolate(far, y, width=200, seed=1)
    centred = X - X.mean(axis=0)
    assert network.report.max_bias == pytest.approx(np.linalg.norm(centred, axis=1).max(), 1e-6)
    centre = network.first.law.center
    assert np.linalg.norm(centre - far.mean(axis=0)) < network.report.max_bias / 16
    distances = network.first.weights.astype(float) @ centre + network.first.biases
    assert np.abs(distances).max() <= network.report.max_bias
    plain = fastmem.interpolate(X, y, width=200, seed=1, center=False, max_bias=0.25)
    assert plain.report.max_bias == 0.25
    assert np.abs(plain.first.biases).max() <= 0.25


def test_growth_is_reported_and_monotone():
    X, y = datasets.parallel_lines(400, 1e-7)
    report = fastmem.interpolate(X, y, seed=0, scale="none").report
    widths = [step.width for step in report.growth]
    assert widths == sorted(widths)
    assert report.growth[-1].open_points == 0
    assert {step.kind for step in report.growth} == {"gaussian", "targeted"}


def test_progress_tells_stages_and_ends():
    X, y = datasets.two_moons(2000)
    for width, stages in ((200, {"patterns", "neurons"}), ("auto", {"hyperplanes", "neurons"})):
        calls = []
        fastmem.interpolate(
            X, y, width=width, seed=0, progress=lambda *call, calls=calls: calls.append(call)
        )
        assert {stage for stage, *_ in calls} == stages
        assert all(0 <= done <= total for _, done, total, _ in calls)
        assert calls[-1][3] > 0


def test_coordinates_that_would_overflow_a_bias_are_refused():
    X = np.array([[1e305], [0.0]])
    with pytest.raises(fastmem.InvalidInputError, match=r"magnitude 1e\+305"):
        fastmem.interpolate(X, [0, 1])


PLANES = (np.ones((2, 3), np.float32), np.zeros(2))
LAYER = (np.ones((2, 1), np.uint64), np.ones(2, np.int32), np.zeros(2, np.int32))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: fastmem.Hyperplanes(*PLANES, np.zeros(2)), "pass 3 finite coordinates"),
        (lambda: fastmem.Hyperplanes(*PLANES, [0, np.nan, 0]), "pass 3 finite coordinates"),
        (lambda: fastmem.Hyperplanes(*PLANES, None, -1.0), "radius is -1.0"),
        (lambda: fastmem.Hyperplanes(*PLANES, None, np.inf), "radius is inf"),
        (lambda: fastmem.CoverLayer(LAYER[0].astype(int), *LAYER[1:]), "masks is no uint64"),
        (lambda: fastmem.CoverLayer(LAYER[0][0], *LAYER[1:]), r"masks has shape \(1,\)"),
        (lambda: fastmem.CoverLayer(*LAYER[:2], LAYER[2][:1]), r"owners has shape \(1,\)"),
        (lambda: network_of(np.ones((2, 2), np.uint64)), "masks has 2 words a row where 2"),
        (lambda: network_of(LAYER[0], covered=(1,)), r"covered is \(1,\)"),
        (lambda: network_of(LAYER[0], covered=(0, 2)), r"covered is \(0, 2\)"),
    ],
)
def test_layers_that_do_not_fit_are_refused(build, sentence):
    with pytest.raises(fastmem.InvalidInputError, match=sentence):
        build()


def network_of(masks, covered=(0,)):
    return fastmem.Network(
        np.array([0, 1]),
        fastmem.Hyperplanes(*PLANES),
        fastmem.CoverLayer(masks, *LAYER[1:]),
        covered,
    )


def test_a_network_does_not_change_with_the_arrays_it_was_made_of():
    weights, biases = np.ones((2, 3), np.float32), np.zeros(2)
    planes = fastmem.Hyperplanes(weights, biases)
    weights[:], biases[:] = -1, 5
    assert (planes.weights == 1).all() and (planes.biases == 0).all()
    with pytest.raises(ValueError, match="read-only"):
        planes.weights[0] = 2


def test_the_published_moons_still_agree_on_a_few_cells():
    from bench.published import moons

    assert moons.main(["--cells", "4", "--trials", "12"]) == 0


def test_notebooks_show_escaped_tables():
    hostile = "<script>alert(1)</script>\n& x"
    X = np.eye(3)
    net = fastmem.interpolate(X, [hostile, "b", "c"], seed=0)
    net = Network(
        net.classes_, net.first, net.second, net.covered, net.report,
        feature_names=["<b>", "two\nlines", "caf\u00e9"],
    )  # fmt: skip
    for shown in (net._repr_html_(), net.report._repr_html_()):
        tree = ElementTree.fromstring(shown)  # it is well-formed
        texts = {row[0].text: row[1].text for row in tree.iter("tr")}
        assert "<script>alert(1)</script> & x" in texts["classes"]
        assert "<script>" not in shown and "<b>" not in shown
    assert "caf\u00e9" in net._repr_html_()
    many = fastmem.interpolate(np.eye(40), np.arange(40), seed=0)
    assert len(many._repr_html_()) < 2000
