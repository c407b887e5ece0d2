"""The complexity of a data set: hardness, gap, widths, the report and its page, wrong labels."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pytest
import scipy.sparse

pytest.importorskip("matplotlib")

import fastmem
from fastmem.datasets import clusters, two_moons
from fastmem.experiments import complexity_page, mislabelled
from fastmem.experiments.complexity import ComplexityReport, complexity
from fastmem.experiments.complexity_pictures import complexity_picture, pictures
from fastmem.experiments.complexity_report import VALUES_SHOWN
from fastmem.experiments.gap import class_gap, intrinsic_dimension
from fastmem.experiments.hardness import NEIGHBOURS, Hardness, hardness
from fastmem.inputs import check_points
from fastmem.kernels.layout import TILE
from fastmem.kernels.nearest import (
    FAR,
    Queries,
    References,
    nearest_counts,
    new_nearness,
    separation_widths,
)
from fastmem.network.coverage import coverage

HOSTILE = "<script>alert('x')</script> & $x_1$"
SMALL = {"width": 128, "trials": 2, "n_layers": 2, "hard_points": 10, "seed": 5}


@pytest.fixture(scope="module")
def moons():
    """Give 600 noisy moons of which every 60th has the wrong label."""
    X, y = two_moons(600, 0.08, seed=3)
    is_wrong = np.zeros(len(y), bool)
    is_wrong[::60] = True
    return X, np.where(is_wrong, 1 - y, y), is_wrong


@pytest.fixture(scope="module")
def report(moons):
    X, y, _ = moons
    return complexity(X, np.array([HOSTILE, "lower"])[y], name="a <b> & c", **SMALL)


def tiled(bits, codes, n_classes):
    """Sort bits (N, n) by class and put them in tiles; also where each point is."""
    n_words = -(-bits.shape[1] // 64)
    padded = np.zeros((len(bits), 64 * n_words), np.uint8)
    padded[:, : bits.shape[1]] = bits
    words = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
    tiles, sizes, first, at = [], [], [0], np.empty(len(bits), np.int64)
    for c in range(n_classes):
        members = np.flatnonzero(codes == c)
        for start in range(0, max(1, len(members)), TILE):
            some = members[start : start + TILE]
            tile = np.zeros((n_words, TILE), np.uint64)
            tile[:, : len(some)] = words[some].T
            at[some] = len(tiles) * TILE + np.arange(len(some))
            tiles.append(tile)
            sizes.append(len(some))
        first.append(len(tiles))
    return np.array(tiles), np.array(sizes, np.int64), np.array(first, np.int64), at


class TestKernels:
    @pytest.mark.parametrize("n", [40, 64, 150])
    def test_counts_and_separation_are_those_of_dense_bits(self, n):
        generator = np.random.default_rng(n)
        codes = np.repeat([0, 1, 2], [250, 3, 90])
        bits = generator.random((len(codes), n)) < 0.3
        bits[5] = bits[251]  # cannot be separated
        tiles, sizes, first, at = tiled(bits, codes, 3)
        valid = np.packbits(np.arange(64 * tiles.shape[1]) < n, bitorder="little").view(np.uint64)
        counts = (~bits[:, None] & bits[None]).sum(axis=2)
        k = 4
        for tile in range(len(tiles)):
            own = int(np.searchsorted(first, tile, side="right") - 1)
            near, widths = new_nearness(), np.empty(TILE, np.int64)
            queries = Queries(tiles[tile], int(sizes[tile]), own, np.arange(TILE) + tile * TILE)
            references = References(tiles, sizes, first, valid)
            nearest_counts(queries, references, k, near)
            separation_widths(queries, references, widths)
            for q in range(sizes[tile]):
                i = int(np.flatnonzero(at == tile * TILE + q)[0])
                others = {
                    c: np.sort(counts[i, codes == c])[:k].mean() for c in range(3) if c != own
                }
                nearest = min(others, key=others.get)
                siblings = np.flatnonzero((codes == own) & (np.arange(len(codes)) != i))
                m = counts[i, codes != own].min()
                assert near.own_mean[q] == np.sort(counts[i, siblings])[:k].mean()
                assert (near.other_mean[q], near.other_class[q]) == (others[nearest], nearest)
                assert near.threshold[q] == m
                assert near.nearest[q] == at[(codes != own) & (counts[i] == m)].min()
                assert near.company[q] == (counts[i, siblings] < m).sum()
                parting = ~bits[i] & bits[codes != own]
                if parting.any(axis=1).all():
                    assert widths[q] == parting.argmax(axis=1).max() + 1
                else:
                    assert widths[q] == 64 * tiles.shape[1] + 1 and m == 0

    def test_the_only_point_of_a_class_has_no_own_mean(self):
        tiles, sizes, first, _ = tiled(np.eye(3, 40, dtype=bool), np.array([0, 1, 1]), 2)
        near, valid = new_nearness(), np.array([2**40 - 1], np.uint64)
        queries = Queries(tiles[0], 1, 0, np.arange(TILE))
        nearest_counts(queries, References(tiles, sizes, first, valid), 5, near)
        assert near.own_mean[0] == -1 and near.other_mean[0] == 1
        assert near.threshold[0] == 1 and near.threshold[1] == FAR


class TestHardness:
    def test_wrong_labels_of_an_easy_set_are_the_hardest_points(self, moons):
        X, y, is_wrong = moons
        found = hardness(X, y, seed=0, n_hyperplanes=512)
        assert set(found.hardest(is_wrong.sum())) == set(np.flatnonzero(is_wrong))
        assert (found.score[is_wrong] > 0.5).all() and np.median(found.score) < 0.2
        np.testing.assert_array_equal(found.suggested[is_wrong], 1 - y[is_wrong])
        # the points of another class that are nearest are nearer than typical ones of its own
        gaps = np.linalg.norm(X - X[found.nearest], axis=1)
        assert (y[found.nearest] != y).all()
        assert np.median(gaps[is_wrong]) < np.median(gaps[~is_wrong]) / 2

    def test_the_same_whatever_the_number_of_threads(self, moons):
        X, y, _ = moons
        one, many = (
            hardness(X, y, seed=1, n_hyperplanes=100, n_threads=n, references=r)
            for n, r in ((1, 300), (5, 300))
        )
        assert one.n_references == 300
        for name in Hardness.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(one, name), getattr(many, name))

    def test_thresholds_and_separation_are_the_networks(self, moons):
        X, y, _ = moons
        found = hardness(X, y, seed=2, n_hyperplanes=24, n_layers=1)
        lost = found.separated_at[0] > 24
        np.testing.assert_array_equal(lost, found.threshold == 0)
        assert 0 < lost.sum() < len(y)
        assert (found.alone[found.score > 0.9] == 1).all()

    def test_classes_of_one_point_and_equal_points(self):
        X = np.array([[0.0, 0], [0, 0], [1, 0], [1, 0], [9, 9]])
        found = hardness(X, list("aabbc"), seed=0, n_hyperplanes=64)
        assert found.own[4] == 1 and found.score[4] > 0.5
        np.testing.assert_array_equal(found.score[:4], 0)
        both = hardness(X[:4], list("abab"), seed=0, n_hyperplanes=64)
        np.testing.assert_array_equal(both.threshold, 0)
        # its own class is elsewhere, and the other class is where the point is
        np.testing.assert_array_equal(both.score > 0.5, True)

    def test_few_references_hold_some_of_each_class(self):
        X, y = clusters(900, 2, 3)
        y = np.where(np.arange(900) < 12, 2, y)
        found = hardness(X, y, seed=0, n_hyperplanes=64, n_layers=1, references=30)
        assert 30 <= found.n_references <= 30 + 3 * 2 * NEIGHBOURS
        assert (found.own < 1).all()

    def test_sparse_points_and_the_table_of_all_points(self, moons, tmp_path):
        generator = np.random.default_rng(0)
        dense = generator.random((60, 300)) * (generator.random((60, 300)) < 0.05)
        y = np.arange(60) % 2
        settings = {"seed": 3, "n_hyperplanes": 64, "projection": "gaussian"}
        a = hardness(dense, y, **settings)
        b = hardness(scipy.sparse.csr_matrix(dense), y, **settings)
        np.testing.assert_allclose(a.score, b.score, atol=0.02)
        a.save(tmp_path / "points.csv", y, ["zero", "one"])
        lines = (tmp_path / "points.csv").read_text().splitlines()
        assert lines[0].startswith("row,label,hardness,suggested") and len(lines) == 61
        assert float(lines[1].split(",")[2]) == pytest.approx(a.score[0], abs=1e-6)

    @pytest.mark.parametrize(
        ("argument", "value"),
        [("n_layers", 0), ("references", 1.5), ("n_hyperplanes", 0), ("seed", -1)],
    )
    def test_wrong_arguments_are_named(self, moons, argument, value):
        with pytest.raises(fastmem.InvalidInputError, match=argument):
            hardness(*moons[:2], **{"n_hyperplanes": 64, argument: value})


class TestGap:
    @pytest.mark.parametrize("d", [1, 3, 20])
    @pytest.mark.parametrize("offset", [0.0, 1e6])
    def test_the_gap_is_the_least_distance(self, d, offset):
        generator = np.random.default_rng(d)
        X = generator.normal(size=(300, d)) + offset
        y = generator.integers(0, 3, 300)
        distances = np.linalg.norm(X[:, None] - X[None], axis=2)
        distances[y[:, None] == y] = np.inf
        anything = np.array([np.flatnonzero(y != label)[0] for label in y])
        delta, (i, j), is_exact = class_gap(check_points(X), y, anything, 2)
        assert is_exact and delta == pytest.approx(distances.min(), rel=1e-9)
        assert distances[i, j] == distances.min() and i < j

    def test_too_many_pairs_give_a_bound(self, monkeypatch):
        monkeypatch.setattr("fastmem.experiments.gap.PRODUCTS", 1)
        X = np.random.default_rng(0).normal(size=(40, 20))
        y = np.arange(40) % 2
        delta, (i, j), is_exact = class_gap(check_points(X), y, (np.arange(40) + 1) % 40, 1)
        assert not is_exact and delta == pytest.approx(np.linalg.norm(X[i] - X[j]))

    def test_the_intrinsic_dimension_of_a_plane_in_space(self):
        pytest.importorskip("skdim")
        generator = np.random.default_rng(0)
        X = generator.random((1000, 2)) @ generator.normal(size=(2, 10))
        for value in intrinsic_dimension(X).values():
            assert 1.8 < value < 2.2


class TestReport:
    def test_it_says_what_the_networks_are(self, report, moons):
        X, y, is_wrong = moons
        assert [row.n_samples for row in report.widths] == [37, 75, 150, 300, 600]
        last = report.widths[-1]
        assert all(len(last.__dict__[name]) == 2 for name in ("least", "merged", "random"))
        assert max(last.merged) < min(last.random)
        assert [entry.n_samples for entry in report.classes] == np.bincount(y).tolist()
        assert {point.row for point in report.hardest} == set(np.flatnonzero(is_wrong))
        assert sum(report.curves.hardness) == 600
        gap = report.gap
        distances = np.linalg.norm(X[:, None] - X[None], axis=2)
        distances[y[:, None] == y] = np.inf
        assert gap.delta == pytest.approx(distances.min()) and gap.is_exact
        for kind in ("merge", "random"):
            curve = np.array(report.curves.covered[kind])
            assert curve[0].tolist() == [0, 0] and (np.diff(curve, axis=0) >= 0).all()
            assert curve[-1, 1] >= 600 - max(last.unseparated)
        covering = report.classes[0].covering
        assert covering is not None and covering.is_complete and covering.n_negative > 0

    def test_json_and_back(self, report):
        text = report.to_json()
        again = ComplexityReport.from_json(text)
        assert again == report and again.points is None and again.to_json() == text
        for bad in ("", "[]", '{"format": 99}', json.dumps({"format": 1, "name": "x"})):
            with pytest.raises(fastmem.InvalidInputError, match="no complexity report"):
                ComplexityReport.from_json(bad)

    def test_the_same_for_a_seed_whatever_the_number_of_threads(self, moons, report):
        X, y, _ = moons
        again = complexity(
            X, np.array([HOSTILE, "lower"])[y], n_threads=3, name=report.name, **SMALL
        )
        one, other = json.loads(report.to_json()), json.loads(again.to_json())
        one.pop("seconds"), other.pop("seconds")
        assert one == other

    def test_hostile_names_are_escaped_and_the_page_needs_nothing_else(self, report):
        text = complexity_page.page(report)
        assert "<script" not in text and "a &lt;b&gt; &amp; c" in text
        assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in text
        addresses = re.findall(r'(?:src|href)="([^"]*)"', text) + re.findall(r"url\(([^)]*)", text)
        assert len(addresses) == 7  # six pictures and the bars
        assert all(address.startswith("data:image/png;base64,") for address in addresses)
        assert "Not measured" not in text and "http" not in text.replace("http-equiv", "")

    def test_a_report_that_was_read_gives_the_same_page(self, report):
        again = ComplexityReport.from_json(report.to_json())
        assert complexity_page.page(again) == complexity_page.page(report)

    def test_pictures_show_the_numbers(self, report):
        drawn = pictures(report)
        bars = drawn["Hardness of the points"].axes[0].patches
        assert sum(bar.get_height() for bar in bars) == 600
        (widths,) = (f.axes[0] for title, f in drawn.items() if title.startswith("Neurons of 128"))
        merged = next(line for line in widths.lines if line.get_label() == "merge")
        np.testing.assert_array_equal(
            merged.get_ydata(), [np.median(row.merged) for row in report.widths]
        )
        assert len(complexity_picture(report).axes) == 6
        for figure in drawn.values():  # no curve is a single dot
            assert all(len(line.get_xdata()) > 1 for line in figure.axes[0].lines)

    def test_so_few_points_that_there_are_no_samples_of_them(self):
        X, y = clusters(30, 2, 3)
        found = complexity(X, y, **SMALL)
        assert [row.n_samples for row in found.widths] == [30]
        assert not [title for title in pictures(found) if "number of hyperplanes" in title]
        assert len(complexity_picture(found).axes) == len(pictures(found)) == 3

    def test_hardest_points_show_their_values(self):
        X, y = clusters(60, 2, 3, seed=1)
        X = np.column_stack([X, np.arange(60)]).astype(np.float64)
        names = ["caf\u00e9", "<b>", "two\nlines", "number"]
        found = complexity(X, y, feature_names=names, **SMALL)
        for point in found.hardest:
            whole = f"caf\u00e9 = {X[point.row, 0]:.6g}, <b> = {X[point.row, 1]:.6g}, two lines = "
            assert point.values.startswith(whole)
            assert point.values.endswith(f"number = {point.row}")
        page = complexity_page.page(found)
        assert html.escape(found.hardest[0].values) in page and "<b>" not in page
        long = complexity(np.tile(X, 10), y, **SMALL)
        assert {len(point.values) for point in long.hardest} == {VALUES_SHOWN}
        assert long.hardest[0].values.startswith("0 = ")
        sparse = complexity(
            scipy.sparse.csr_matrix(np.tile(X, 10) * (np.arange(40) == 7)), y, **SMALL
        )
        assert all(re.fullmatch(r"7 = \S+|", point.values) for point in sparse.hardest)
        older = json.loads(found.to_json())
        for point in older["hardest"]:
            del point["values"]
        assert "values" not in complexity_page.hard_rows(found, 5)[0]
        assert complexity_page.page(ComplexityReport.from_json(json.dumps(older)))
        with pytest.raises(fastmem.InvalidInputError, match="2 names for 4 features"):
            complexity(X, y, feature_names=["a", "b"], **SMALL)

    def test_the_page_says_what_its_columns_are(self, report):
        page = complexity_page.page(report)
        for column in complexity_page.shape_rows(report)[0][2:]:
            assert column in html.unescape(complexity_page.class_note(report)).replace(
                "Hardness is the median", "median hardness"
            )
        assert html.escape(complexity_page.class_note(report)) in page

    @pytest.mark.parametrize(
        ("kind", "why"),
        [
            ("one column", "single feature"),
            ("one column of integers", "single feature"),
            ("two points", "different points"),
            ("two points, many times", "different points"),
            ("a constant column", None),
            ("on a line", "TwoNN: it is inf"),
            ("on a grid", "TwoNN: it is inf"),
            ("a class of one point", None),
            ("numbers whose squares overflow", "scikit-dimension says"),
        ],
    )
    @pytest.mark.filterwarnings("error")
    def test_degenerate_points_get_a_report_and_a_page(self, kind, why):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(300, 2)), np.arange(300) % 2
        if kind == "one column":
            X = X[:, :1]
        elif kind == "one column of integers":
            X, y = np.arange(300)[:, None], np.arange(300) // 150
        elif kind == "two points":
            X, y = np.array([[0.0, 1.0], [1.0, 2.0]]), np.array(["a", "b"])
        elif kind == "two points, many times":
            X = np.repeat([[0.0, 0.0], [1.0, 1.0]], 150, axis=0)
            y = np.repeat([0, 1], 150)
        elif kind == "a constant column":
            X[:, 0] = 1
        elif kind == "on a line":
            X = np.outer(np.arange(300.0), [1, 2, 3])
        elif kind == "on a grid":
            X = np.array([[i, j] for i in range(20) for j in range(15)], float)
        elif kind == "a class of one point":
            y = np.r_[np.zeros(299, int), 1]
        else:
            X = X * 1e200
        found = complexity(X, y, **SMALL | {"trials": 1, "n_layers": 1})
        said = ", ".join(f"{what}: {reason}" for what, reason in found.skipped.items())
        assert (why in said) if why else (not said and len(found.dimension) == 2)
        page = complexity_page.page(found)
        assert ("Not measured" in page) == bool(why)
        assert found.gap.delta > 0
        assert ComplexityReport.from_json(found.to_json()) == found

    def test_whatever_an_estimator_raises_is_told_and_stops_nothing(self, moons, monkeypatch):
        skdim = pytest.importorskip("skdim.id")

        def fail(self, points):
            raise ZeroDivisionError("no\nway")

        monkeypatch.setattr(skdim.TwoNN, "fit", fail)
        found = complexity(*moons[:2], **SMALL)
        assert found.skipped == {"dimension by TwoNN": "scikit-dimension says: no"}
        assert set(found.dimension) == {"MLE"}

    @pytest.mark.parametrize("exponent", [-250, 0, 200])
    @pytest.mark.parametrize("d", [2, 20])
    def test_gaps_whose_squares_leave_the_range(self, exponent, d):
        X, y = clusters(100, d, 3)
        X = X.astype(np.float64)
        plain = complexity(X, y, **SMALL).gap
        scaled = complexity(np.ldexp(X, exponent * 3), y, **SMALL).gap
        assert scaled.rows == plain.rows and scaled.delta == np.ldexp(plain.delta, exponent * 3)

    def test_contradictions_are_counted_and_left_out(self):
        X, y = clusters(300, 2, 3)
        X[0], X[7] = X[1], X[8]  # neighbours in number are of different classes
        found = complexity(X, y, **SMALL)
        assert found.n_contradictory == 4
        assert found.contradictory == [[0, 1], [7, 8]]
        assert found.widths[-1].n_samples == 296
        assert found.gap.delta > 0
        assert "equal points with different labels" in complexity_page.facts(found)

    def test_sparse_points_and_many_classes_skip_what_is_not_measured(self):
        generator = np.random.default_rng(1)
        X = scipy.sparse.csr_matrix((generator.random((120, 400)) < 0.02) * 1.0)
        y = np.arange(120) % 24
        found = complexity(X, y, **SMALL)
        assert found.gap is None and found.dimension is None
        assert {"gap", "dimension", "each class alone"} <= set(found.skipped)
        assert found.classes[0].least_width is None
        assert "Not measured" in complexity_page.page(found)
        assert ComplexityReport.from_json(found.to_json()) == found

    def test_frames_and_one_label_of_a_kind(self):
        pandas = pytest.importorskip("pandas")
        X, y = clusters(40, 1, 2)
        y = y.copy()
        y[0] = 7
        frame = pandas.DataFrame(X, columns=["a", "b"])
        found = complexity(frame, pandas.Series(y), **SMALL)
        assert [entry.n_samples for entry in found.classes] == [19, 20, 1]
        assert found.dimension is None and "dimension" in found.skipped

    @pytest.mark.parametrize(
        ("argument", "value"),
        [("trials", 0), ("width", "auto"), ("hard_points", True), ("n_layers", 0), ("width", 0)],
    )
    def test_wrong_arguments_are_named(self, moons, argument, value):
        with pytest.raises(fastmem.InvalidInputError, match=argument):
            complexity(*moons[:2], **SMALL | {argument: value})

    def test_labels_that_are_all_contradictions_are_refused(self):
        with pytest.raises(fastmem.InvalidInputError, match="nothing to memorise"):
            complexity([[0.0], [0.0], [1.0], [1.0]], [0, 1, 0, 1], **SMALL)


def test_coverage_counts_what_each_neuron_is_first_to_cover(moons):
    X, y, _ = moons
    network = fastmem.interpolate(X, y, selection="random", covered="all", seed=0)
    gained = coverage(network, X, y)
    bits = np.bitwise_count(
        fastmem.sign_patterns(X, network.first)[:, None] & network.second.masks
    ).sum(axis=2, dtype=int)
    is_on = (bits < network.second.thresholds) & (network.second.owners == y[:, None])
    expected = np.bincount(is_on.argmax(axis=1)[is_on.any(axis=1)], minlength=len(gained))
    np.testing.assert_array_equal(gained, expected)
    np.testing.assert_array_equal(
        coverage(network, X[y == 1], y[y == 1])[network.second.owners == 0], 0
    )


class TestMislabelled:
    def test_flips_are_as_many_as_asked_for_and_all_different(self):
        y = np.repeat(list("abc"), 100)
        labels, is_wrong = mislabelled.flipped(y, 0.05, 1)
        np.testing.assert_array_equal(labels != y, is_wrong)
        assert is_wrong.sum() == 15

    def test_equal_scores_are_judged_as_if_in_random_order(self):
        is_wrong = np.array([True, False, False, True, False])
        precision, recall = mislabelled.judged(np.array([2.0, 1, 1, 1, 0]), is_wrong)[1:]
        assert precision == pytest.approx((1 + 1 / 3) / 2)
        assert recall == pytest.approx(1.0)

    def test_a_small_run_finds_the_flipped(self, moons, tmp_path):
        pytest.importorskip("sklearn")
        X, y = two_moons(400, 0.05, seed=0)
        outcomes = mislabelled.run(
            [mislabelled.Data("moons", X, y)], shares=[0.05], seeds=1,
            methods=["hardness", "distances", "1-NN"],
        )  # fmt: skip
        ours, distances, nearest = outcomes
        assert ours.average_precision == distances.average_precision == 1.0
        assert nearest.average_precision < 1
        mislabelled.save(outcomes, tmp_path / "table.csv")
        again = mislabelled.load(tmp_path / "table.csv")
        assert [o.method for o in again] == ["hardness", "distances", "1-NN"]
        assert "| moons | 5 % | hardness | 1.000" in mislabelled.table(again)
        assert len(mislabelled.outcome_picture(again).axes) >= 1
        with pytest.raises(fastmem.InvalidInputError, match="no method 'x'"):
            mislabelled.run([], methods=["x"])

    def test_cleanlab_ranks_by_probabilities_of_held_out_points(self):
        pytest.importorskip("cleanlab")
        X, y = two_moons(200, 0.05, seed=0)
        (outcome,) = mislabelled.run(
            [mislabelled.Data("moons", X, y)], shares=[0.05], seeds=1, methods=["cleanlab, SVM"]
        )
        assert outcome.average_precision > 0.9


class TestCommand:
    @pytest.fixture
    def table(self, moons, tmp_path):
        X, y, _ = moons
        names = np.array([HOSTILE, "lower"])[y]
        path = tmp_path / "moons.csv"
        rows = [f'{a},{b},"{name}"' for (a, b), name in zip(X, names, strict=True)]
        path.write_text("\n".join(["a,b,kind", *rows]) + "\n")
        return path

    def run(self, *arguments):
        pytest.importorskip("typer")
        from typer.testing import CliRunner

        from fastmem.commands import app

        return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)

    def test_table_json_page_and_points(self, table, tmp_path, moons):
        page, report, points = (tmp_path / f"out.{kind}" for kind in ("html", "json", "csv"))
        result = self.run(
            "complexity", table, "--label", "kind", "--out", page, "--json", report,
            "--points", points, "--width", 128, "--trials", 1, "--seed", 1,
        )  # fmt: skip
        assert result.exit_code == 0 and result.stderr == ""
        lines = result.stdout.splitlines()  # but for names of files, which are as long as they are
        assert max(len(line) for line in lines if str(tmp_path) not in line) <= 100
        for words in (
            "ω is large",
            "Values of the hardest points",
            "gap δ",
            "least first width",
            "Widths over N",
            "Hardest points",
        ):
            assert words in result.stdout
        read = ComplexityReport.from_json(report.read_text())
        assert read.name == "moons.csv" and read.seed == "1"
        assert {point.row for point in read.hardest[:10]} == set(np.flatnonzero(moons[2]))
        assert page.read_text().startswith("<!DOCTYPE html>")
        assert len(points.read_text().splitlines()) == 601
        assert {p.name for p in tmp_path.iterdir()} == {
            "moons.csv", "out.html", "out.json", "out.csv"
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--label", "colour"], "'colour'"),
            (["--label", "kind", "--width", "0"], "width"),
            (["--label", "kind", "--trials", "0"], "trials"),
            (["--label", "kind", "--out", "page.pdf"], ".html"),
            (["--label", "kind", "--json", "nowhere/report.json"], "nowhere"),
            (["--label", "kind", "--max-bias", "x"], "--max-bias"),
            (["--label", "kind", "--projection", "x"], "projection"),
        ],
    )
    def test_wrong_options_give_one_sentence_and_exit_code_2(self, table, arguments, words):
        result = self.run("complexity", table, *arguments)
        assert result.exit_code == 2 and result.stdout == ""
        assert result.stderr.count("\n") == 1 and words in result.stderr


# --- points that repeat ---------------------------------------------------------------------------


def copies(n=3000, different=50):
    """Rows that repeat a few points, many of them with several labels."""
    generator = np.random.default_rng(4)
    few = generator.normal(size=(different, 3)).round(1)
    which = generator.integers(0, different, n)
    return few[which], np.where(which < 20, which % 3, generator.integers(0, 3, n))


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_copies_that_cannot_matter_change_no_hardness(monkeypatch, form):
    X, y = copies()
    settings = {"n_hyperplanes": 100, "n_layers": 2, "seed": 0}
    found = hardness(form(X), y, **settings)
    monkeypatch.setattr("fastmem.experiments.hardness._twins", lambda *_: None)
    expected = hardness(form(X), y, **settings)
    for name in ("score", "own", "other", "suggested", "threshold", "alone", "separated_at"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    np.testing.assert_array_equal(X[found.nearest], X[expected.nearest])
    assert (y[found.nearest] != y).all()
    assert found.n_references < expected.n_references == len(X)


def test_what_repeats_and_contradicts_is_said_before_the_work(monkeypatch):
    X, y = copies()
    said = []
    begun = "fastmem.experiments.complexity.hardness"
    monkeypatch.setattr(begun, lambda *_, **__: pytest.fail("it has begun"))
    with pytest.raises(pytest.fail.Exception):
        complexity(X, y, say=said.append)
    contrary = sum(len(set(y[(row == X).all(axis=1)].tolist())) > 1 for row in X)
    assert said == [
        f"{len(np.unique(X, axis=0))} of 3,000 points are different; {contrary:,} equal a point of "
        f"another label, which cannot be memorised: all but the hardness leaves them out."
    ]
    with pytest.raises(pytest.fail.Exception):
        complexity(np.arange(9.0)[:, None], np.arange(9) % 2, say=said.append)
    assert len(said) == 1
    with pytest.raises(fastmem.InvalidInputError, match="nothing to memorise"):
        complexity(np.ones((9, 1)), np.arange(9) % 2)


def test_units_of_measure_make_no_suspects():
    """Unscaled, body mass in grams drowns all else: 87 points are nearer to another class."""
    from pathlib import Path

    from fastmem.tables import read_table

    table = Path(__file__).parent / "tables" / "good.csv"
    X, y = read_table(table, "species", labels_required=True)
    settings = {"seed": 0, "trials": 1, "width": 256}
    nearer = [
        sum(entry.nearer_to_another for entry in complexity(X, y, scale=scale, **settings).classes)
        for scale in ("none", "auto")
    ]
    assert nearer[0] > 60
    assert nearer[1] < 10
