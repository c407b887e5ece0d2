import math

import numpy as np
import pytest

from fastmem import InvalidInputError, interpolate
from fastmem.datasets import parallel_lines, two_moons
from fastmem.experiments import theory
from fastmem.geometry import mutual_covering
from fastmem.geometry.covering import FIRST_CONSTANTS, SECOND_CONSTANT


def test_least_widths_are_those_of_networks():
    # the same law as interpolate(): the share of widths up to n is the probability at n
    X, y = two_moons(200, 0.05, seed=0)
    widths = theory.least_widths(X, y == 1, trials=60, seed=0)
    assert len(widths) == 60 and (np.diff(widths) >= 0).all()
    n = int(np.quantile(widths, 0.5))
    with pytest.warns(UserWarning):
        done = [
            not len(
                interpolate(
                    X, y, width=n, selection="random", projection="gaussian", covered=[0], seed=i
                ).report.unseparated
            )
            for i in range(60)
        ]
    # two shares of 60 trials each, near 1/2: four standard errors of their difference
    assert abs(np.mean(done) - np.mean(widths <= n)) < 4 * math.sqrt(2 * 0.25 / 60)


def test_fit_finds_constants():
    generator = np.random.default_rng(0)
    rows = []
    for i in range(12):
        m, gap, omega = int(generator.integers(2, 200)), generator.uniform(0.01, 1), i / 10
        row = theory.Row("x", 9, 2, m, m, gap, 1.0, omega, 0.0, 1.0, 1.0, 0.3 * m, 1.0)
        first = 2.5 * row.separation + 40 * row.width
        rows.append(theory.Row("x", 9, 2, m, m, gap, 1.0, omega, 0.0, first, first, 0.3 * m, 1.0))
    constants = theory.fit_constants(rows)
    assert constants.first == pytest.approx((2.5, 40), rel=1e-4)
    assert constants.second == pytest.approx(0.3)
    assert constants.first_spread == pytest.approx(1) and constants.second_spread == 1


def test_default_prediction():
    X, y = parallel_lines(400, 0.2)
    covering = mutual_covering(X, y, seed=0)
    a, b = FIRST_CONSTANTS
    assert covering.predicted_widths() == (
        a * covering.separation_term + b * covering.width_term,
        SECOND_CONSTANT * covering.n_negative,
    )


def test_a_small_run(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    sizes = {"moons 0.05": 0.05, "moons 0.1": 0.1, "lines 0.1": 0.1}
    monkeypatch.setattr(
        theory,
        "DATA_SETS",
        {
            name: (lambda name=name, size=size: (
                parallel_lines(100, size) if "lines" in name else two_moons(100, size)
            ))
            for name, size in sizes.items()
        },
    )  # fmt: skip
    theory.main(["--out", str(tmp_path / "new"), "--trials", "4", "--only", "moons 0.05"])
    assert not (tmp_path / "new" / "theory.png").exists()
    before = theory.read_rows(tmp_path / "new" / "theory.csv")
    theory.main(["--out", str(tmp_path / "new"), "--trials", "4"])
    rows = theory.read_rows(tmp_path / "new" / "theory.csv")
    assert [row.name for row in rows] == list(sizes) and rows[:1] == before
    assert (tmp_path / "new" / "theory.png").stat().st_size > 10_000
    out = capsys.readouterr().out
    assert "Spearman" in out and "constants: first" in out
    for row in rows:
        assert row.first_most >= row.first_half >= 1
        assert row.second_merge <= row.second_random


def test_a_foreign_table_is_refused(tmp_path):
    (tmp_path / "theory.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidInputError, match="not a table of this study"):
        theory.main(["--out", str(tmp_path)])


def test_labels_of_the_picture_do_not_leave_it():
    FigureCanvasAgg = pytest.importorskip("matplotlib.backends.backend_agg").FigureCanvasAgg
    from fastmem.experiments.theory_pictures import predicted_and_measured

    rows = [
        theory.Row(f"coin flips {i}", 9, 2, 10 + i, 10, 0.1, 1.0, 0.1, 0.0, 9.0 + i, 99.0, 5.0, 2.0)
        for i in range(9)
    ]
    figure = predicted_and_measured(rows, theory.fit_constants(rows))
    renderer = FigureCanvasAgg(figure).get_renderer()
    for ax in figure.axes:
        frame = ax.get_window_extent()
        boxes = [text.get_window_extent(renderer) for text in ax.texts]
        assert len(boxes) == len(rows)
        assert all(frame.x0 - 3 < box.x0 and box.x1 < frame.x1 + 3 for box in boxes)
