"""What networks give away: planted records come back, and proofs are proofs."""

from __future__ import annotations

import json

import numpy as np
import oracle
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmem
from fastmem.datasets import two_moons
from fastmem.inputs import check_points
from fastmem.leaks import LeakReport, masks, reconstruction, save_page
from fastmem.leaks.counts import own_counts
from fastmem.leaks.membership import membership, rates
from fastmem.leaks.nearest import nearest_rows
from fastmem.leaks.reconstruction import missing_distances, recovered, sides_of, wanted_sides

SETTINGS = (
    {"selection": "random"},
    {"selection": "merge"},
    {"compact": True},
    {"margin": 0.5},
    {"selection": "random", "activation": "relu"},
    {"projection": "structured"},
)


def blobs(n, d, n_classes, seed=0):
    random = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    return random.standard_normal((n, d)) + 1.5 * random.standard_normal((n_classes, d))[y], y


@pytest.fixture(scope="module")
def digits():
    """Training points and labels, then unseen ones."""
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order[:1257]], y[order[:1257]], X[order[1257:]], y[order[1257:]]


@pytest.fixture(scope="module")
def planted(digits):
    """A network that stores every record, n = 64 d."""
    X, y, _, _ = digits
    return fastmem.interpolate(X, y, width=64 * 64, margin=1, selection="random", seed=0)


# Records in the weights ----------------------------------------------------------------------


def dense_counts(network, X, y):
    """Own counts by dense matrices."""
    n = len(network.first)
    patterns = oracle.unpack(fastmem.sign_patterns(X, network.first), n)
    rows = oracle.unpack(network.second.masks, n)
    counts = oracle.counts(rows, patterns)  # (m, N)
    own = network.second.owners[:, None] == np.searchsorted(network.classes_, y)
    levels = network.second.thresholds[:, None]
    scores = np.where(own, (levels - counts) / levels, -np.inf)
    whole = np.array([[(a == ~b).all() for b in patterns] for a in rows.astype(bool)]) & own
    return (scores.max(axis=0), whole.any(axis=0), ((counts == 0) & own).sum(axis=1),
            whole.any(axis=1))  # fmt: skip


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_counts_are_those_of_dense_matrices(options):
    X, y = blobs(150, 5, 3)
    network = fastmem.interpolate(X, y, seed=1, **options)
    points = check_points(X)
    found = own_counts(points, y, network.first, network.second, 2)
    score, in_full, n_zero, is_full = dense_counts(network, X, y)
    np.testing.assert_array_equal(found.in_full, in_full)
    np.testing.assert_array_equal(found.n_zero, n_zero)
    np.testing.assert_array_equal(found.is_full, is_full)
    if options.get("activation") != "relu":  # whose sums are real
        np.testing.assert_array_equal(found.score, score)


def test_random_selection_stores_as_many_records_as_it_has_neurons():
    X, y = blobs(300, 6, 3)
    network = fastmem.interpolate(X, y, selection="random", seed=0)
    stored = fastmem.audit(network, X, y, reconstruct=0, seed=0).stored
    assert stored.n_full_neurons == stored.n_neurons == len(network.second)
    assert stored.n_in_full >= stored.n_neurons


def test_records_of_a_class_without_neurons_are_counted_apart():
    X, y = blobs(200, 4, 2)
    network = fastmem.interpolate(X, y, covered=[1], seed=0)
    report = fastmem.audit(network, X, y, unseen=(X, y), seed=0)
    assert report.stored.n_without == 100
    assert report.membership["counts"].n_members == 100


# Planted records -----------------------------------------------------------------------------


def test_every_pixel_of_stored_records_comes_back(digits, planted):
    X, y, _, _ = digits
    report = fastmem.audit(planted, X, y, reconstruct=12, seed=0)
    assert report.stored.share == 1
    assert report.masks.patterns == report.masks.n_tested > 0
    assert [entry.right for entry in report.reconstructions] == [1.0] * 12
    assert all(entry.is_identified for entry in report.reconstructions)
    for entry in report.reconstructions:
        np.testing.assert_array_equal(np.rint(entry.values), X[entry.row])
        assert entry.label == y[entry.row]


@pytest.mark.slow
def test_every_pixel_of_all_records_comes_back(digits, planted):
    X, y, _, _ = digits
    report = fastmem.audit(planted, X, y, reconstruct=len(X), seed=0)
    assert len(report.reconstructions) == len(planted.second)
    assert all(entry.right == 1.0 for entry in report.reconstructions)
    assert {entry.row for entry in report.reconstructions} == set(range(len(X)))


def test_records_come_back_from_the_file_and_the_range_of_pixels_alone(digits, planted, tmp_path):
    X = digits[0]
    planted.save(tmp_path / "net.npz")
    network = fastmem.load(tmp_path / "net.npz")
    report = fastmem.audit(network, box=(0, 16), reconstruct=4, seed=1)
    assert report.stored is None and report.n_samples is None and not report.membership
    rounded = np.rint([entry.values for entry in report.reconstructions])
    assert all((record == X).all(axis=1).any() for record in rounded)


def test_far_and_scaled_points_come_back():
    X, y = blobs(200, 6, 2, seed=3)
    X = X * [1e6, 1, 1e-3, 1, 2.0**80, 1] + [0, 1e6, 0, 0, 0, 0]
    network = fastmem.interpolate(X, y, scale="std", width=512, margin=1, selection="random",
                                  seed=0)  # fmt: skip
    report = fastmem.audit(network, X, y, reconstruct=6, seed=0)
    assert network.scale is not None
    assert all(entry.is_identified and entry.error < 0.2 for entry in report.reconstructions)


# Membership ----------------------------------------------------------------------------------


def test_members_of_a_network_that_stores_records_are_known_for_certain(digits, planted):
    X, y, U, v = digits
    report = fastmem.audit(planted, X, y, unseen=(U, v), reconstruct=0, seed=0)
    counts = report.membership["counts"]
    assert counts.advantage == counts.auc == counts.tpr == 1
    assert report.masks is not None and not report.reconstructions


def test_a_wrong_label_proves_that_a_point_is_no_member(digits):
    X, y, U, v = digits
    network = fastmem.interpolate(X, y, seed=0)
    report = fastmem.audit(network, X, y, unseen=(U, v), reconstruct=0, seed=0)
    wrong = 1 - network.score(U, v)
    assert wrong > 0 and report.training_accuracy == 1
    assert report.proved_unseen == pytest.approx(wrong)
    label = report.membership["label"]
    assert label.advantage == pytest.approx(wrong)
    assert sum(label.members) == label.members[-1] == len(X)  # never wrong on a member


def test_moons_give_away_next_to_nothing():
    X, y = two_moons(3000, seed=0)
    U, v = two_moons(3000, seed=1)
    network = fastmem.interpolate(X, y, seed=0)
    report = fastmem.audit(network, X, y, unseen=(U, v), seed=0)
    assert report.stored.share < 0.05
    assert all(signal.advantage < 0.06 for signal in report.membership.values())
    assert all(signal.tpr < 0.05 for signal in report.membership.values())


values = st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0]), min_size=1, max_size=12)


@given(values, values)
def test_signals_are_compared_as_by_all_pairs_and_all_thresholds(members, unseen):
    a, b = np.array(members), np.array(unseen)
    found = membership("a signal", a, b)
    pairs = [1.0 if x > z else 0.5 if x == z else 0.0 for x in a for z in b]
    assert found.auc == pytest.approx(np.mean(pairs))
    levels = [(np.mean(a >= t), np.mean(b >= t)) for t in [*set(members + unseen), np.nextafter(
        1, 2)]]  # fmt: skip
    assert found.advantage == pytest.approx(max(0, *(true - false for true, false in levels)))
    assert found.tpr == pytest.approx(max(true for true, false in levels if false <= 0.01))
    true, false = rates(a, b)
    assert (np.diff(true) >= 0).all() and (np.diff(false) >= 0).all()
    assert true[-1] == false[-1] == 1
    assert sum(found.members) == np.isfinite(a).sum()


# Steps ----------------------------------------------------------------------------------------


def dense_steps(first, wanted, box, n_steps):
    """Nesterov's method as `descend` takes it, in float64 and with matrices."""
    lengths = np.linalg.norm(first.weights.astype(float), axis=1)
    normals, offsets = first.weights / lengths[:, None], first.biases / lengths
    middle = (box[0] + box[1]) / 2
    distance = (
        min(0.5, 2.25 * normals.shape[1] / len(normals)) * np.abs(normals @ middle + offsets).mean()
    )
    step = 1 / (2 * 1.05 * np.linalg.eigvalsh(normals.T @ normals).max())
    x = ahead = np.repeat(middle[None], len(wanted), axis=0)
    momentum = np.ones(len(wanted))
    for _ in range(n_steps):
        missing = np.maximum(distance - wanted * (ahead @ normals.T + offsets), 0)
        new = np.clip(ahead + 2 * step * (wanted * missing) @ normals, *box)
        before = np.where(((ahead - new) * (new - x)).sum(axis=1) > 0, 1, momentum)
        momentum = (1 + np.sqrt(1 + 4 * before**2)) / 2
        ahead = new + ((before - 1) / momentum)[:, None] * (new - x)
        x = new
    return x


@pytest.mark.parametrize(("n", "d", "n_points"), [(3, 2, 1), (64, 64, 6), (130, 70, 8)])
def test_steps_are_those_of_dense_matrices(n, d, n_points, monkeypatch):
    random = np.random.default_rng(n)
    weights = random.standard_normal((n, d)).astype(np.float32)
    first = fastmem.Hyperplanes(weights, random.uniform(-1, 1, n))
    wanted = np.where(random.random((n_points, n)) < 0.5, 1, -1).astype(np.float32)
    box = -random.uniform(0.1, 1, d), random.uniform(0.1, 1, d)
    monkeypatch.setattr(reconstruction, "MOST_STEPS", 20)
    monkeypatch.setattr(reconstruction, "_TASK_WORK", 1)  # a step a task
    monkeypatch.setattr(reconstruction, "_largest_eigenvalue", lambda normals: float(
        1.05 * np.linalg.eigvalsh((normals.T @ normals).astype(float)).max()))  # fmt: skip
    found = recovered(sides_of(first), wanted, *box, n_threads=2)
    np.testing.assert_allclose(found, dense_steps(first, wanted, box, 20), atol=2e-4)


# Masks ---------------------------------------------------------------------------------------


def lines(n, seed):
    random = np.random.default_rng(seed)
    weights = random.standard_normal((n, 2)).astype(np.float32)
    return fastmem.Hyperplanes(weights, random.uniform(-1, 1, n))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_masks_are_decided_as_a_grid_shows(seed, n):
    """In the plane, where all patterns of few lines can be tried."""
    first = lines(n, seed)
    random = np.random.default_rng(seed)
    rows = fastmem.sign_patterns(random.uniform(-2, 2, (3, 2)), first)
    tried = np.concatenate([~rows & masks.valid_bits(n), random.integers(0, 2**n, (5, 1))])
    tried = tried.astype(np.uint64)
    box = np.full(2, -2.0), np.full(2, 2.0)
    sides, wanted = sides_of(first), wanted_sides(tried, n)
    answers = masks.decide(first, sides, tried, wanted, recovered(sides, wanted, *box), box)
    axis = np.linspace(-2, 2, 160)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    seen = set((~fastmem.sign_patterns(grid, first) & masks.valid_bits(n)).ravel().tolist())
    assert all(answers[:3] != masks.EMPTY)
    for answer, mask in zip(answers, tried.ravel().tolist(), strict=True):
        if mask in seen:
            assert answer != masks.EMPTY
    assert (answers == masks.UNDECIDED).sum() <= 1  # cells that touch the box, or nearly nothing


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_no_multipliers_prove_that_a_point_is_not_there(seed, n):
    first = lines(n, seed)
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (4, 2))
    tried = ~fastmem.sign_patterns(x, first) & masks.valid_bits(n)
    wanted = wanted_sides(tried, n)
    box = np.full(2, -1.0), np.full(2, 1.0)
    for multipliers in (
        random.exponential(size=(4, n)),
        missing_distances(sides_of(first), wanted, random.uniform(-1, 1, (4, 2))),
        np.full((4, n), np.inf),
    ):
        with np.errstate(invalid="ignore"):
            assert not masks.are_empty(first, multipliers, wanted, box).any()


def test_two_parallel_lines_prove_that_nothing_is_outside_of_both():
    first = fastmem.Hyperplanes(np.array([[1, 0], [1, 0]], np.float32), np.array([-1.0, 1.0]))
    wanted = np.array([[1, -1]], np.float32)  # x > 1 and x <= -1
    box = np.full(2, -9.0), np.full(2, 9.0)
    assert masks.are_empty(first, np.ones((1, 2)), wanted, box)
    assert not masks.are_empty(first, np.array([[1.0, 0.0]]), wanted, box)
    assert not masks.are_empty(first, np.ones((1, 2)), -wanted, box)
    assert not masks.are_empty(first, -np.ones((1, 2)), wanted, box)


def test_masks_of_several_points_are_no_pattern_and_those_of_one_are(digits):
    X, y, _, _ = digits
    network = fastmem.interpolate(X, y, width=2048, seed=0)
    report = fastmem.audit(network, X, y, reconstruct=2, seed=0)
    assert report.masks.n_tested == len(network.second)
    assert report.masks.patterns == report.stored.n_full_neurons
    assert report.masks.empty == len(network.second) - report.masks.patterns


def test_few_hyperplanes_a_feature_leave_masks_undecided(digits):
    X, y, _, _ = digits
    network = fastmem.interpolate(X, y, compact=True, seed=0)
    report = fastmem.audit(network, X, y, seed=0)
    assert report.masks.n_tested == 0 and report.masks.undecided == len(network.second)
    assert "fewer than 8 hyperplanes a feature" in report.masks.why


# Other networks ------------------------------------------------------------------------------


def test_parts_that_mean_nothing_for_a_network_are_named():
    X, y = blobs(150, 5, 3)
    listed = fastmem.interpolate(X, y, objective="bytes", effort=0.1, seed=0)
    report = fastmem.audit(listed, X, y, unseen=(X, y), seed=0)
    assert report.decision == "list" and report.masks is None and not report.reconstructions
    assert "decision list" in report.skipped["masks and reconstructions"]
    assert set(report.membership) == {"counts", "score", "label"}
    vote = fastmem.interpolate(X, y, decision="vote", seed=0)
    report = fastmem.audit(vote, X, y, unseen=(X, y), seed=0)
    assert "vote" in report.skipped["records that the vote holds"]
    assert {"score", "label"} <= set(report.membership)
    assert all(signal.advantage == 0 for signal in report.membership.values())  # the same points


@pytest.mark.parametrize("sparse", [False, True])
def test_the_same_for_a_seed_whatever_the_number_of_threads(sparse):
    X, y = blobs(400, 6, 3)
    X = X * (np.abs(X) > 0.7)
    points = scipy.sparse.csr_matrix(X) if sparse else X
    network = fastmem.interpolate(points, y, selection="random", width=64, complete=True, seed=0)
    reports = [
        fastmem.audit(network, points, y, unseen=(points[::2], y[::2]), seed=5, sample=300,
                      n_threads=threads) for threads in (1, 3)
    ]  # fmt: skip
    one, other = (json.loads(report.to_json()) for report in reports)
    one.pop("seconds"), other.pop("seconds")
    assert one == other
    assert reports[0].n_samples == 400 and reports[0].n_audited == 300
    assert all(entry.row in range(400) for entry in reports[0].reconstructions if entry.n_stored)


def test_nearest_rows_are_those_of_all_distances():
    random = np.random.default_rng(0)
    X, targets = random.integers(0, 4, (50, 3)).astype(float), random.uniform(0, 4, (4, 3))
    among = random.random((4, 50)) < 0.3
    among[3] = False
    nearest, own, distances = nearest_rows(check_points(X), targets, among)
    gaps = np.linalg.norm(X[None] - targets[:, None], axis=2)
    np.testing.assert_array_equal(nearest, gaps.argmin(axis=1))
    np.testing.assert_array_equal(own[:3], np.where(among, gaps, np.inf)[:3].argmin(axis=1))
    np.testing.assert_allclose(distances[:3], gaps[np.arange(3), own[:3]])
    assert own[3] == -1 and distances[3] == np.inf


# What is passed, and what comes out ----------------------------------------------------------


def test_wrong_input_is_refused_in_a_sentence():
    X, y = blobs(60, 3, 2)
    network = fastmem.interpolate(X, y, seed=0)
    for arguments, options, words in (
        ((X,), {}, "y is None where X is not"),
        ((None, y), {}, "X is None where y is not"),
        ((X[:, :2], y), {}, "features|columns"),
        ((X, y[:5]), {}, "5 labels|has 5|length"),
        ((X, y + 7), {}, "not a class of the network"),
        ((X[:0], y[:0]), {}, "no rows|at least one|empty"),
        ((X, y), {"unseen": X}, r"unseen is array.* and no pair"),
        ((X, y), {"unseen": (X, None)}, r"unseen\[1\] is None"),
        ((X, y), {"unseen": (X, y + 7)}, r"unseen\[1\]\[0\] is"),
        ((X, y), {"reconstruct": -1}, "reconstruct is -1"),
        ((X, y), {"sample": 0}, "sample is 0"),
        ((X, y), {"box": 3}, "box is 3"),
        ((X, y), {"box": (0, np.inf)}, "not finite"),
        ((X, y), {"box": (1, 0)}, "low above its high"),
        ((X, y), {"box": (np.zeros(2), 1)}, "arrays of 3 numbers"),
        ((X, y), {"seed": "a"}, "seed"),
    ):
        with pytest.raises(fastmem.InvalidInputError, match=words) as refused:
            fastmem.audit(network, *arguments, **options)
        assert "\n" not in str(refused.value)


def test_a_report_outlives_its_json(tmp_path):
    X, y = blobs(120, 4, 3)
    network = fastmem.interpolate(X, y, selection="random", seed=0)
    report = fastmem.audit(network, X, y, unseen=(X, y), seed=0)
    report.save_json(tmp_path / "a.json")
    assert LeakReport.from_json((tmp_path / "a.json").read_text(encoding="utf-8")) == report
    for bad in ("", "[]", "{}", '{"format": 2}', '{"format": 1}'):
        with pytest.raises(fastmem.InvalidInputError, match="no leak report"):
            LeakReport.from_json(bad)


def test_the_page_needs_nothing_else_and_shows_images(digits, planted, tmp_path):
    pytest.importorskip("matplotlib")
    X, y, U, v = digits
    labels = np.array(["<script>", *map(str, range(1, 10))])
    network = fastmem.interpolate(X, labels[y], seed=0)
    report = fastmem.audit(network, X, labels[y], unseen=(U, labels[v]), seed=0)
    save_page(report, tmp_path / "a.html", "<b>")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script" not in text and "<b>" not in text and "&lt;b&gt;" in text
    assert text.count("data:image/png;base64,") == 3
    assert "http" not in text.replace("http-equiv", "")
    bare = fastmem.audit(planted, reconstruct=1, seed=0)
    save_page(bare, tmp_path / "a.html")
    assert "1,257" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_the_page_of_a_table_shows_values_by_name(tmp_path):
    pytest.importorskip("matplotlib")
    pandas = pytest.importorskip("pandas")
    X, y = blobs(120, 4, 2)
    frame = pandas.DataFrame(X, columns=["one", "two", "<three>", "four"])
    network = fastmem.interpolate(frame, y, selection="random", width=64, seed=0)
    save_page(fastmem.audit(network, frame, y, seed=0), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "&lt;three&gt;" in text and "All values" in text


# The command ---------------------------------------------------------------------------------


@pytest.fixture
def run():
    testing = pytest.importorskip("typer.testing")
    from fastmem.commands import app

    def run(*arguments, code=0):
        found = testing.CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
        assert found.exit_code == code, found.stderr
        return found

    return run


def test_the_command_audits_raw_tables_through_the_network_s_encoding(run, tmp_path):
    random = np.random.default_rng(0)
    rows = [
        f"{a:.2f},{'red' if b else 'blue'},{'yes' if (a > 0) ^ b else 'no'}"
        for a, b in zip(random.standard_normal(300), random.random(300) < 0.5, strict=True)
    ]
    for name, some in (("a", rows[:200]), ("b", rows[200:])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["x,colour,answer", *some]))
    net, page = tmp_path / "net.npz", tmp_path / "page.html"
    more = ("--label", "answer")
    run("fit", tmp_path / "a.csv", *more, "--out", net)
    found = run("audit", net, "--data", tmp_path / "a.csv", "--unseen", tmp_path / "b.csv", *more,
                "--json")  # fmt: skip
    report = LeakReport.from_json(found.stdout)
    assert report.n_samples == 200 and report.n_unseen == 100 and report.training_accuracy == 1
    shown = run("audit", net, "--data", tmp_path / "a.csv", *more, "--out", page)
    assert "records stored in full" in shown.stdout and "Points recovered" in shown.stdout
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    run("audit", net, "--out", tmp_path / "r.json")
    LeakReport.from_json((tmp_path / "r.json").read_text(encoding="utf-8"))
    for arguments, words in (
        (("--data", tmp_path / "a.csv"), "label"),
        (more, "--label is given without"),
        (("--out", tmp_path / "a.txt"), ".html or .json"),
        (("--out", net), ".html or .json"),
        (("--data", tmp_path / "none.csv", *more), "none.csv"),
    ):
        refused = run("audit", net, *arguments, code=2).stderr
        assert words in refused and refused.count("\n") == 1
