"""The report's pieces: fits of exponents, labels, tables, markers, splits, and the cap."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext

import numpy as np
import pytest

import fastmem
from fastmem.datasets import unit_moons

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from bench import parts  # noqa: E402
from bench.report import classifiers, comparison, plots, report, tables  # noqa: E402
from bench.report.points import exponent  # noqa: E402


def test_an_exponent_is_that_of_the_upper_half():
    x = np.array([1, 10, 100, 1_000, 10_000, 100_000])
    y = np.where(x < 300, 5.0, 5.0 * (x / 300.0) ** 1.5)
    assert exponent(x, y) == pytest.approx(1.5)
    assert exponent([2, 200], [1, 10]) == pytest.approx(0.5)
    assert math.isnan(exponent([3], [1.0]))


@pytest.mark.parametrize(
    "heights", [[0.1, 0.9], [0.5, 0.5, 0.51], [0.0, 0.01, 0.5, 0.52, 0.53], [0.85, 0.99, 1.0, 1.0]]
)
def test_labels_keep_their_order_and_their_distance(heights):
    moved = plots.spread(heights, 0.1)
    assert np.diff(moved).min() >= 0.1 - 1e-12
    assert moved[0] >= 0 and moved[-1] <= 1 + 1e-12
    if min(np.diff(heights)) >= 0.1:
        assert moved == heights


def test_only_known_markers_are_filled_and_again_the_same(tmp_path):
    path = tmp_path / "some.md"
    path.write_text(
        "a\n<!-- report:one -->\nold\n<!-- /report:one -->\nb\n"
        "<!-- report:other -->\nkept\n<!-- /report:other -->\n"
    )
    assert tables.rewrite(path, {"one": "new \\1", "absent": "x"}) == ["one"]
    text = path.read_text()
    assert "new \\1" in text and "old" not in text and "kept" in text and "x" not in text
    assert tables.rewrite(path, {"one": "new \\1"}) == ["one"] and path.read_text() == text


def test_the_readme_has_markers_that_a_report_fills():
    known = set(report.STUDIES) | {"scaling", "pictures", "machine"}
    known |= {f"peers-{report._slug(p.name)}" for p in report.FULL.peers}
    names = tables.MARKED.findall(report.README.read_text(encoding="utf-8"))
    assert names and set(names) <= known


def test_no_digit_is_on_both_sides_of_a_split():
    problem = comparison.Problem("", "digits784", 4_000, 64, splits=2)
    (train, unseen), (others, _) = problem.split(0), problem.split(1)
    assert not set(train % comparison.N_DIGITS) & set(unseen % comparison.N_DIGITS)
    assert np.array_equal(np.sort(np.concatenate([train, unseen])), np.arange(4_000))
    assert not np.array_equal(train, others)


def test_configurations_of_unknown_arguments_are_left_out(monkeypatch):
    monkeypatch.setitem(classifiers.CONFIGURATIONS, "impossible", {"no_such_argument": 1})
    assert "fastmem, impossible" not in classifiers.names()
    assert {"fastmem, default", "fastmem, compact", "decision tree"} <= set(classifiers.names())


def test_what_is_measured_of_an_exact_classifier():
    X, y = comparison._data("moons", 400)
    for name in ("fastmem, default", "1 nearest neighbour"):
        row = comparison.measure(
            classifiers.roster(128, 1.0)[name], (X[:300], y[:300]), (X[300:], y[300:])
        )
        assert row["training_accuracy"] == 1 and row["unseen_accuracy"] > 0.9
        assert row["bits_a_label"] == 8 * row["nbytes"] / 300


def test_a_row_beyond_the_cap_is_ended_and_the_next_is_measured():
    problem = comparison.Problem("p", "moons", 400, 64, 1)
    with comparison.Helper() as helper:
        with pytest.raises(TimeoutError):
            helper.measure(problem, "100 extra trees", 0, 0.0)
        assert helper.measure(problem, "decision tree", 0, 60.0)["training_accuracy"] == 1


def test_what_loops_do_is_counted():
    """Bounding tiles store and count less for the same network; searches tell their counts."""
    X, y = unit_moons(60_000)
    found = {}
    for name, context in (("all", parts.without_bounding_tiles), ("bounds", nullcontext)):
        with context(), parts.watched_loops() as done:
            network = fastmem.interpolate(X, y, width=512, selection="random", seed=0, max_bias=1.0)
        found[name] = done, network
    (every, one), (bounds, other) = found["all"], found["bounds"]
    np.testing.assert_array_equal(one.second.masks, other.second.masks)
    assert set(every.words) == {"pattern_words", "minima", "cover"}
    assert {"bound_tiles", "lower_bounds", "cover_bounded"} <= set(bounds.words)
    assert every.pattern_bytes >= 60_000 * 64 > 4 * bounds.pattern_bytes
    # stacks of masks are padded to four, and points to tiles
    pairs = sum(every.words.values()) / 8
    assert one.report.evaluations / 2 < pairs < 4 * one.report.evaluations + 1000
    assert 0 < sum(bounds.words.values()) < sum(every.words.values()) / 4
    # labels are noisy
    X = np.random.default_rng(0).standard_normal((5000, 2)).astype(np.float32)
    with parts.watched_loops() as done:
        network = fastmem.interpolate(X, X[:, 0] + X[::-1, 1] > 0, seed=0, scale="none")
    assert done.words["grow_near"] > 0 and done.words["look_for_lower"] > 0
    assert done.pattern_bytes >= 5000 * 8 * network.second.masks.shape[1]


def test_a_study_is_kept_redrawn_and_shown(tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- report:threads -->\n<!-- /report:threads -->\n")
    rows = [
        {"panel": "moons", "series": "fit", "x": n, "seconds": 1 / n, "runs": 5} for n in (1, 2)
    ]
    machine = {"processor": "some", "cores for this process": 2, "numpy": "2"}
    kept = {"when": "now", "seconds": 1.0, "smoke": True, "machine": machine, "points": rows}
    (tmp_path / "results.json").write_text(json.dumps({"threads": kept}))
    options = ["--redraw", "--out", str(tmp_path), "--readme", str(readme)]
    assert report.main(options) == 0
    assert "| moons | fit | 1 | 0.5 | 2.00 |" in readme.read_text()
    assert "| moons | fit | 1 | 0.5 | 2.00 |" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "threads.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        report.main(["no-such-study"])
