import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastmem import ContradictionError, InvalidInputError
from fastmem.datasets import parallel_lines, random_labels, two_moons
from fastmem.geometry import mutual_covering
from fastmem.kernels.distances import (
    SLACK,
    TILE,
    Balls,
    BallTasks,
    PointTiles,
    fill_boxes,
    fill_tiles,
    nearest_balls,
)
from fastmem.kernels.nearest import rows_needed
from fastmem.machine.loops import run_loop


def check_conditions(covering, X, y):
    """All conditions of a mutual covering, by brute force."""
    X = np.asarray(X, np.float64)
    negative = np.asarray(y) == covering.covered
    mean = np.array([math.fsum(column) / len(X) for column in X.T])
    R = np.sqrt(((X - mean) ** 2).sum(axis=1)).max()
    # R may be off by what the mean is, whose sums are of multiples of 2^-30 of half a column's
    # width; and by what float64 is off, which far from 0 is no fixed share of R
    off = math.sqrt(X.shape[1]) * (2.0**-31 * R + 2.0**-50 * np.abs(X).max())
    assert abs(covering.radius - R) <= off
    sides = [
        (negative, covering.centres_negative, covering.radii_negative, covering.gaps_negative),
        (~negative, covering.centres_positive, covering.radii_positive, covering.gaps_positive),
    ]
    for side, (mine, centres, radii, gaps) in enumerate(sides):
        others = sides[1 - side][1]
        assert len(centres) == len(radii) == len(gaps) == len(np.unique(centres)) >= 1
        assert mine[centres].all()
        to_others = np.sqrt(((X[centres][:, None] - X[others][None]) ** 2).sum(axis=2))
        d = to_others.min(axis=1)
        np.testing.assert_allclose(gaps, d, rtol=1e-12)
        bound = covering.radius_factor * d / np.sqrt(np.log(math.e * (R - off) / d))
        assert (radii <= bound * (1 + 1e-12)).all()
        rows = np.flatnonzero(mine)
        distances = np.sqrt(((X[rows][:, None] - X[centres][None]) ** 2).sum(axis=2))
        assert (distances <= radii).any(axis=1).all(), "a point is in no ball"
        homes = covering.members[rows]
        assert (distances[np.arange(len(rows)), homes] <= radii[homes]).all()
        if side == 0:
            assert covering.delta == pytest.approx(d.min(), rel=1e-12)


def balls_do_not_meet(covering, X):
    X = np.asarray(X, np.float64)
    a, b = X[covering.centres_negative], X[covering.centres_positive]
    apart = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))
    return (covering.radii_negative[:, None] + covering.radii_positive[None] < apart).all()


FIELDS = (
    "centres_negative", "centres_positive", "radii_negative", "radii_positive", "members",
    "mean_widths_negative", "delta", "omega", "omega_error", "radius", "covered",
)  # fmt: skip


def assert_same(a, b):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@st.composite
def samples(draw):
    """Points on a coarse grid, so that ties and duplicates occur, with labels of the points."""
    d = draw(st.sampled_from([1, 2, 3, 20]))
    n = draw(st.integers(2, 60))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    X = draw(arrays(np.int64, (n, d), elements=st.integers(-4, 4))).astype(dtype)
    unique, inverse = np.unique(X, axis=0, return_inverse=True)
    labels = draw(arrays(np.int64, len(unique), elements=st.integers(0, 1)))
    y = labels[inverse.reshape(-1)]
    if len(np.unique(y)) < 2:
        X = np.concatenate([X, np.full((1, d), 7, dtype)])
        y = np.append(y, 1 - y[0])
    return X, y


@settings(max_examples=60, deadline=None)
@given(samples(), st.integers(0, 5), st.sampled_from([0.1, 0.25, 0.5]))
def test_all_conditions_hold(sample, seed, factor):
    X, y = sample
    covering = mutual_covering(X, y, seed=seed, radius_factor=factor, n_threads=1, draws=4)
    check_conditions(covering, X, y)
    assert covering.is_complete and covering.n_uncovered == 0
    if factor <= 0.25:
        assert balls_do_not_meet(covering, X)


@settings(max_examples=15, deadline=None)
@given(samples(), st.integers(-60, 60), st.randoms(use_true_random=False))
def test_scaling_shifting_and_reordering(sample, exponent, random):
    X, y = sample
    options = {"seed": 1, "n_threads": 1, "draws": 8}
    plain = mutual_covering(X, y, **options)
    scaled = mutual_covering(X * X.dtype.type(2.0**exponent), y, **options)
    for name in ("centres_negative", "centres_positive", "members", "covered"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(scaled, name))
    assert scaled.delta == plain.delta * 2.0**exponent
    assert scaled.radius * scaled.omega == pytest.approx(plain.radius * plain.omega, rel=1e-12)
    far = X.astype(np.float64) + 2.0**20
    check_conditions(mutual_covering(far, y, **options), far, y)
    order = np.array(random.sample(range(len(y)), len(y)))
    check_conditions(mutual_covering(X[order], y[order], **options), X[order], y[order])


@pytest.mark.parametrize("d", [1, 2, 40])
def test_threads_do_not_matter(d, monkeypatch):
    monkeypatch.setattr("fastmem.geometry.class_points._TASK_WORK", 1 << 12)  # many tasks
    X, y = random_labels(600, d, seed=3)
    X[:, 0] += 2 * y
    one = mutual_covering(X, y, seed=0, n_threads=1, draws=8)
    check_conditions(one, X, y)
    assert_same(one, mutual_covering(X, y, seed=0, n_threads=3, draws=8))
    assert_same(one, mutual_covering(X, y, seed=0, n_threads=3, draws=8))


@pytest.mark.parametrize("d", [1, 2, 40])
def test_order_in_tiles_does_not_matter(d, monkeypatch):
    # it follows from rounded marks, which another BLAS may round otherwise
    X, y = random_labels(500, d, seed=4)
    X = np.round(X, 1) + 0.05 * y[:, None]  # ties
    plain = mutual_covering(X, y, covered=0, seed=0, draws=8)
    monkeypatch.setattr(
        "fastmem.geometry.class_points._by_place", lambda marks: np.arange(len(marks))[::-1]
    )
    assert_same(plain, mutual_covering(X, y, covered=0, seed=0, draws=8))


def test_layout_and_dtype_do_not_matter():
    X, y = two_moons(300, 0.05, seed=1)
    X = X.astype(np.float32)
    plain = mutual_covering(X, y, seed=0)
    wide = np.zeros((600, 4), np.float32)
    wide[::2, 1:3] = X
    assert_same(plain, mutual_covering(wide[::2, 1:3], y, seed=0))
    assert_same(plain, mutual_covering(np.asfortranarray(X), y, seed=0))
    assert_same(plain, mutual_covering(X.astype(">f8"), y, seed=0))


def test_sparse_points():
    sparse = pytest.importorskip("scipy.sparse")
    generator = np.random.default_rng(0)
    X = np.where(generator.random((200, 300)) < 0.02, generator.standard_normal((200, 300)), 0)
    y = np.arange(200) % 2
    X[:, 0] = y
    dense = mutual_covering(X, y, seed=0)
    check_conditions(dense, X, y)
    check_conditions(mutual_covering(sparse.csr_matrix(X), y, seed=0), X, y)
    huge = sparse.csr_matrix(([1.0], ([0], [0])), shape=(2_000, 1_000_000))
    with pytest.raises(InvalidInputError, match=r"14\.9 GiB as the dense array"):
        mutual_covering(huge, [0] + [1] * 1_999)


def test_two_points():
    covering = mutual_covering([[0.0, 3.0], [4.0, 0.0]], ["a", "b"], seed=0)
    assert (covering.n_negative, covering.n_positive) == (1, 1)
    assert covering.delta == 5.0 and covering.radius == 2.5 and covering.omega == 0.0
    assert covering.radii_negative[0] == covering.radii_positive[0] == 0.0
    first, second = covering.predicted_widths((2.0, 3.0), 7.0)
    assert first == pytest.approx(2 * 0.5 * math.log(2)) and second == 7.0


@pytest.mark.parametrize("d", [1, 2, 30])
def test_one_ball_for_each_of_two_far_clusters(d):
    generator = np.random.default_rng(d)
    X = generator.standard_normal((400, d)) / math.sqrt(d)
    y = np.arange(400) % 2
    X[:, 0] += 100 * y
    covering = mutual_covering(X, y, seed=0)
    check_conditions(covering, X, y)
    assert (covering.n_negative, covering.n_positive) == (1, 1)


def test_lines_take_length_over_gap():
    counts = []
    for gap in (0.4, 0.2, 0.1):
        X, y = parallel_lines(4_000, gap)
        covering = mutual_covering(X, y, seed=0)
        check_conditions(covering, X, y)
        # the fewest balls: 2 / (2 r), where centres stand opposite each other
        R = math.hypot(1, gap / 2)
        r = 0.25 * gap / math.sqrt(math.log(math.e * R / gap))
        assert 0.9 / r <= covering.n_negative <= 1.25 / r
        assert covering.delta == pytest.approx(gap, rel=0.1)
        counts.append(covering.n_negative)
    assert all(1.7 < b / a < 2.8 for a, b in pairwise(counts))


def test_number_of_points_does_not_matter():
    counts = []
    for n in (2_000, 20_000):
        X, y = parallel_lines(n, 0.2)
        covering = mutual_covering(X, y, seed=0)
        counts.append(covering.n_negative + covering.n_positive)
    assert abs(counts[1] - counts[0]) <= 0.1 * counts[0]


def test_gaps_down_to_the_last_bits():
    X = np.array([[0.0], [1e-200], [1.0], [1.0 + 2.0**-52], [2.0]])
    y = np.array([0, 1, 1, 0, 1])
    covering = mutual_covering(X, y, seed=0)
    assert (covering.n_negative, covering.n_positive) == (2, 3)
    assert covering.delta == 1e-200
    tiny = mutual_covering(np.array([[0.0], [5e-324], [1e-323]]), [0, 1, 1], seed=0)
    assert tiny.delta == 5e-324 and tiny.n_negative == 1
    large = np.array([[-1e297], [0.0], [1e297]])
    assert mutual_covering(large, [0, 1, 1], seed=0).delta == 1e297


def test_the_smaller_covering_is_the_negative_one():
    X = np.concatenate([np.zeros((5, 2)), np.column_stack([np.linspace(1, 9, 50), np.zeros(50)])])
    y = np.array(["point"] * 5 + ["line"] * 50)
    covering = mutual_covering(X, y, seed=0)
    assert covering.covered == "point" and covering.n_negative == 1 < covering.n_positive
    other = mutual_covering(X, y, covered="line", seed=0)
    assert other.covered == "line" and other.n_positive == 1


def test_one_class_against_the_rest():
    X, _ = random_labels(300, 2, seed=0)
    y = np.arange(300) % 3
    X += 6 * np.column_stack([y, y == 1])
    with pytest.raises(InvalidInputError, match=r"3 classes \(0, 1, 2\).*covered="):
        mutual_covering(X, y)
    covering = mutual_covering(X, y, covered=2, seed=0)
    assert covering.covered == 2
    check_conditions(covering, X, y)


def test_contradictions_are_named_and_duplicates_are_not():
    X = np.array([[0.0, 1.0], [2.0, 2.0], [0.0, 1.0], [2.0, 2.0]])
    assert mutual_covering(X, [0, 1, 0, 1], seed=0).n_negative == 1
    with pytest.raises(ContradictionError, match=r"4 points .*rows 0 \(7\) and 2 \(5\)") as found:
        mutual_covering(X, [7, 9, 5, 7], covered=7)
    assert found.value.pairs == [(0, 2), (1, 3)]
    # equal points of two classes that both belong to X^+ are no contradiction
    assert mutual_covering(X, [0, 1, 0, 2], covered=0, seed=0).n_positive == 1


def test_too_many_centres_end_the_work():
    X, y = random_labels(400, 3, seed=0)
    full = mutual_covering(X, y, seed=0)
    assert full.is_complete and full.n_negative + full.n_positive > 300
    part = mutual_covering(X, y, seed=0, max_centres=50)
    assert not part.is_complete and part.n_negative + part.n_positive == 50
    assert part.n_uncovered == np.count_nonzero(part.members < 0) > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"covered": 7}, "covered is 7 .*not a class of y"),
        ({"covered": True}, "covered is True"),
        ({"radius_factor": 0}, "radius_factor is 0"),
        ({"radius_factor": 1.5}, "radius_factor is 1.5"),
        ({"radius_factor": math.nan}, "radius_factor is nan"),
        ({"max_centres": 1}, "max_centres is 1"),
        ({"draws": 1.0}, "draws is 1.0"),
        ({"n_threads": 0}, "n_threads is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_arguments(options, words):
    with pytest.raises(InvalidInputError, match=words):
        mutual_covering([[0.0], [1.0]], [0, 1], **options)


def test_wrong_points():
    with pytest.raises(InvalidInputError, match=r"X\[1, 0\]"):
        mutual_covering([[0.0], [math.nan]], [0, 1])
    with pytest.raises(InvalidInputError, match="one class"):
        mutual_covering([[0.0], [1.0]], [1, 1])


# Gaussian mean width: one ball holds the whole class, its centre the first point ----------------


def width_of(X_class, draws=4_000):
    """Mean width about the centre that was chosen, its standard error, and the centre."""
    far = np.zeros((1, X_class.shape[1]))
    far[0, 0] = 1_000.0
    X = np.concatenate([X_class, far])
    y = np.arange(len(X)) == len(X) - 1
    covering = mutual_covering(X, y, covered=False, seed=0, draws=draws)
    assert covering.n_negative == 1
    w = covering.mean_widths_negative[0]
    assert covering.omega == pytest.approx(w**2 / covering.gaps_negative[0] ** 3)
    relative = covering.omega_error / (2 * covering.omega)
    return w, relative * w, X[covering.centres_negative[0]]


def test_mean_width_of_a_segment():
    # about an end: E|g| = sqrt(2 / pi) times the length
    w, error, centre = width_of(np.array([[0.0, 0.0], [0.0, 3.0]]))
    assert centre[1] in (0.0, 3.0)
    assert abs(w - 3 * math.sqrt(2 / math.pi)) < 4 * error
    assert 0 < error < 0.1


def test_mean_width_of_a_ball():
    d = 5
    generator = np.random.default_rng(0)
    sphere = generator.standard_normal((60_000, d))
    sphere /= np.linalg.norm(sphere, axis=1)[:, None]
    w, error, centre = width_of(sphere)
    # E sup |<g, x - c>| over the sphere = E (|g| + |<g, c>|)
    chi = math.sqrt(2) * math.gamma((d + 1) / 2) / math.gamma(d / 2)
    expected = chi + np.linalg.norm(centre) * math.sqrt(2 / math.pi)
    assert 0 <= expected - w + 4 * error < 0.05 * expected + 8 * error


def test_mean_width_of_a_simplex():
    d = 50
    w, error, centre = width_of(np.eye(d) * 2)
    g = np.random.default_rng(1).standard_normal((40_000, d))
    at = int(np.argmax(centre))
    expected = (2 * np.abs(g - g[:, [at]])).max(axis=1).mean()
    assert abs(w - expected) < 4 * error + 0.02


# Kernels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 3, 33, 200])
def test_nearest_balls_against_numpy(d):
    generator = np.random.default_rng(d)
    n, m = 3 * TILE + 5, 17
    X = generator.standard_normal((n, d)).astype(np.float32)
    marks = X[:, :16]
    tiles = np.zeros((4, d, TILE), np.float32)
    mark_tiles = np.zeros((4, marks.shape[1], TILE), np.float32)
    boxes = np.zeros((4, 2, marks.shape[1]), np.float32)
    fill_tiles(X, tiles, 0)
    fill_tiles(marks, mark_tiles, 0)
    fill_boxes(mark_tiles, 0, n, boxes)
    centres = X[:m].astype(np.float64)
    limits = generator.uniform(0, 1.2 * math.sqrt(2 * d), m)
    limits[0] = 0.0
    distances = np.sqrt(((X[:, None].astype(np.float64) - centres) ** 2).sum(axis=2))
    inside = np.where(distances <= limits, distances, np.inf)
    homes, gaps = np.full(n, -1), np.full(n, np.inf)
    homes[-1] = 3  # not open
    points = PointTiles(tiles, mark_tiles, boxes)
    balls = Balls(centres, np.ascontiguousarray(marks[:m]), limits)
    tasks = BallTasks(points, n, balls, 1.0, TILE)
    run_loop(nearest_balls, 4, 2, (tasks, homes, gaps))
    expected = np.where(np.isfinite(inside.min(axis=1)), inside.argmin(axis=1), -1)
    np.testing.assert_array_equal(homes[:-1], expected[:-1])
    assert homes[-1] == 3 and (expected >= 0).any()
    found = expected[:-1] >= 0
    np.testing.assert_allclose(gaps[:-1][found], inside.min(axis=1)[:-1][found], rtol=1e-12)
    assert SLACK > 2.0**-17


def test_rows_needed_against_numpy():
    generator = np.random.default_rng(0)
    bits = generator.random((40, 192)) < 0.5
    bits[3] |= bits[30]  # a pair that nothing separates
    words = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
    firsts = [
        [int(np.flatnonzero(~a & b)[0]) + 1 if (~a & b).any() else 193 for b in bits[20:]]
        for a in bits[:20]
    ]
    rows, i, j = rows_needed(words[:20], words[20:], 0, 20)
    assert (rows, i, j) == (193, 3, 10)
    rows, i, j = rows_needed(words[:20], words[20:], 4, 20)
    assert rows == np.max(firsts[4:]) == firsts[i][j]


@pytest.mark.slow
def test_a_million_points():
    X, y = two_moons(1_000_000, 0.05)
    covering = mutual_covering(X, y, seed=0)
    assert covering.is_complete and covering.n_negative < 400
    X = X.astype(np.float64)
    negative = y == covering.covered
    for mine, centres, radii in (
        (negative, covering.centres_negative, covering.radii_negative),
        (~negative, covering.centres_positive, covering.radii_positive),
    ):
        homes = covering.members[mine]
        distances = np.sqrt(((X[mine] - X[centres[homes]]) ** 2).sum(axis=1))
        assert (distances <= radii[homes]).all()
