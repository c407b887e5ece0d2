"""Studies: one table whatever the workers and interruptions, refusals, comparisons, pictures."""

from __future__ import annotations

import json
import math
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import fastmem
from fastmem import InvalidInputError, datasets
from fastmem.experiments import comparison, results, running, studies
from fastmem.experiments.study import Cell, Result, measure

PACKAGE_PARENT = str(Path(fastmem.__file__).parents[1])
FIGURES = Path(fastmem.__file__).parent / "docs" / "figures"
OTHER_SCRIPTS = {"algorithm": 4, "complexity": 1}  # pictures that those make that are no studies
SCRIPTS = [path for path in sorted(FIGURES.glob("*.py")) if path.stem not in OTHER_SCRIPTS]
PUBLISHED = Path(PACKAGE_PARENT, "bench", "published", "moons.csv")
SMALL = {"n": [20, 60], "lambda": [0, 0.5, 1]}
# for each study: axes that make it small, and how many cells they give
SMALL_STUDIES = {
    "moons": (SMALL, 6),
    "moons-samples": ({"N": [100, 1000], "n": [50]}, 2),
    "annuli-samples": ({"N": [100, 1000], "n": [50]}, 2),
    "digits-pairs": ({"N": [50, 100], "n": [20, 100]}, 8),
    "digits-classes": ({"N": [100], "n": [20, 100], "lambda": [0.5, 1]}, 4),
    "grid": (SMALL, 6),
    "samples": ({"n": [30]}, 7),
}


def small_moons(**more):
    """Make the moons study with six cells of three trials."""
    return studies.make_study("moons", **({"axes": SMALL, "trials": 3} | more))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Run the small moons study once, without interruption, in this process."""
    path = tmp_path_factory.mktemp("moons") / "moons.csv"
    running.run(small_moons(), path, workers=1)
    return path


@pytest.fixture
def csv_data(tmp_path):
    """Write shells of three dimensions, far from the origin, with text labels."""
    X, y = datasets.spheres(60, 3, seed=1)
    rows = [f"{a + 1000},{b},{c},{'in' if k else 'out'}" for (a, b, c), k in zip(X, y, strict=True)]
    path = tmp_path / "shells.csv"
    path.write_text("\n".join(["a,b,c,kind", *rows]) + "\n")
    return path


def reproduce(*arguments):
    """Run ``fastmem reproduce`` in this process."""
    typer_testing = pytest.importorskip("typer.testing")
    from fastmem.commands import app

    return typer_testing.CliRunner().invoke(
        app, ["reproduce", *map(str, arguments)], catch_exceptions=False
    )


def assert_refused(result, *words):
    """Check for exit code 2 and one sentence on standard error that has these words."""
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and result.stderr.endswith(".\n")
    for word in words:
        assert word in result.stderr


def children_of(pid):
    """List the processes that a process has started."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(child) for child in found.stdout.split()]


def gone(pid):
    """Say whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_until(condition, seconds=300):
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class TestTrials:
    def test_a_result_is_what_its_trials_give(self, table):
        """Every figure agrees with fits repeated one by one, predictions and report alike."""
        study = small_moons()
        (X, y) = study.data["moons"]
        for result in results.read_results(table)[1]:
            again = [measure(result.cell, (X, y), trials=3, seed=0, fit=study.fit)]
            assert again == [result]
            assert result.trials == 3
            assert result.mean_accuracy <= 1
            assert (result.mean_accuracy == 1) == (result.interpolation_probability == 1)
        assert {r.interpolation_probability for r in results.read_results(table)[1]} != {0.0}

    def test_a_trial_without_a_neuron_counts_as_width_1(self):
        X, y = np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([0, 1])
        fit = studies.PAPER | {"covered": [1]}
        result = measure(Cell("same", 2, 5, 1.0), (X, y), trials=4, seed=0, fit=fit)
        assert asdict(result) == asdict(result.cell) | {
            "trials": 4,
            "interpolation_probability": 0.0,
            "mean_accuracy": 0.5,
            "mean_second_width": 1.0,
            "sd_second_width": 0.0,
        }

    def test_a_lucky_margin_is_not_interpolation(self):
        """With all classes covered, unseparated points may be labelled right; they do not count."""
        generator = np.random.default_rng(0)
        cluster = np.arange(90) % 6
        X = 2 * generator.normal(size=(6, 5))[cluster] + 0.5 * generator.normal(size=(90, 5))
        fit = studies.PAPER | {"covered": "all"}
        trials = [
            measure(Cell("clusters", 90, 22, 2.0), (X, cluster % 3), trials=1, seed=seed, fit=fit)
            for seed in range(40)
        ]
        lucky = [t for t in trials if t.mean_accuracy == 1 and t.interpolation_probability == 0]
        print(f"{len(lucky)} of 40 trials are lucky")
        assert lucky

    def test_results_do_not_depend_on_the_other_cells(self, table, tmp_path):
        fewer = small_moons(axes={"n": [60], "lambda": [1.0]})
        (alone,) = running.run(fewer, tmp_path / "one.csv", workers=1)
        assert alone in results.read_results(table)[1]

    def test_trials_and_cells_have_seeds_of_their_own(self):
        from fastmem.experiments.study import trial_seed

        cells = [
            Cell("a", 10, 20, 0.5),
            Cell("b", 10, 20, 0.5),
            Cell("a", 11, 20, 0.5),
            Cell("a", 10, 21, 0.5),
            Cell("a", 10, 20, np.nextafter(0.5, 1)),
        ]
        states = {
            tuple(trial_seed(seed, cell, trial).generate_state(4))
            for cell in cells
            for trial in range(3)
            for seed in range(2)
        }
        assert len(states) == len(cells) * 3 * 2


class TestStudies:
    @pytest.mark.parametrize("name", SMALL_STUDIES)
    def test_a_small_run_of_each(self, name, tmp_path):
        if name.startswith("digits"):
            pytest.importorskip("sklearn.datasets")
        data = datasets.spheres(100, 3) if name in ("grid", "samples") else None
        axes, n_cells = SMALL_STUDIES[name]
        study = studies.make_study(name, axes=axes, trials=2, data=data)
        rows = running.run(study, tmp_path / "t.csv", workers=1)
        assert [row.cell for row in rows] == list(study.cells)
        assert len(rows) == n_cells
        for row in rows:
            assert 0 <= row.interpolation_probability <= 1
            assert 0 < row.mean_accuracy <= 1
            assert row.mean_second_width >= 1
            assert row.sd_second_width >= 0
        assert results.read_results(tmp_path / "t.csv")[1] == rows

    def test_moons_are_the_published_points(self):
        """Those of make_moons in float32, scaled as the paper's authors did."""
        make_moons = pytest.importorskip("sklearn.datasets").make_moons
        X, y = make_moons(1000, noise=0.05, random_state=0)
        X = X.astype(np.float32)
        X /= np.linalg.norm(X, ord=2, axis=1).max()
        study = studies.make_study("moons")
        np.testing.assert_array_equal(study.data["moons"][0], X, strict=True)
        np.testing.assert_array_equal(study.data["moons"][1], y)
        assert study.fit == {
            "selection": "random", "projection": "gaussian", "center": False, "covered": [1],
        }  # fmt: skip
        assert (len(study.cells), study.trials) == (25 * 51, 50)
        assert {cell.max_bias for cell in study.cells} >= {0.0, 0.15, 0.3, 2.5}

    def test_samples_are_nested(self):
        study = studies.make_study("moons-samples", axes={"N": [50, 200], "n": [5]})
        assert [(cell.n_samples, cell.first_width) for cell in study.cells] == [(50, 5), (200, 5)]
        assert len(study.data["moons"][0]) == 200

    def test_own_points_are_centred_scaled_and_shuffled(self):
        X, y = datasets.spheres(200, 4, seed=2)
        study = studies.make_study("samples", data=(1e6 + 500 * X, y.astype(str)), seed=3)
        points, labels = study.data["data"]
        assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)
        np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-9)
        assert study.fit["covered"] == ["1"]
        assert labels.tolist() != y.astype(str).tolist()
        assert sorted(labels) == sorted(y.astype(str))
        inside = np.linalg.norm(points, axis=1) < 0.8
        np.testing.assert_array_equal(labels == "0", inside)  # each point kept its label

    def test_axes_are_read_with_both_ends_and_no_rounding_errors(self):
        axes = studies.read_axes(["n=20:60:20", "lambda=0:0.3:0.1", "N=1_000,5"])
        assert axes == {"n": [20, 40, 60], "lambda": [0.0, 0.1, 0.2, 0.3], "N": [1000, 5]}


class TestTables:
    def test_one_and_two_workers_write_the_same(self, table, tmp_path):
        running.run(small_moons(), tmp_path / "two.csv", workers=2)
        assert (tmp_path / "two.csv").read_bytes() == table.read_bytes()

    def test_rows_keep_their_order_when_later_cells_are_ready_first(self, tmp_path):
        costly, *cheap = [Cell("moons", 1000, n, 1.0) for n in (20_000, 5, 6, 7, 8, 9)]
        study = replace(small_moons(), cells=[costly, *cheap])
        rows = running.run(study, tmp_path / "order.csv", workers=2)
        assert [row.cell for row in rows] == study.cells

    def test_a_table_cut_off_anywhere_is_completed_to_the_same(self, table, tmp_path, monkeypatch):
        """As if the process, or the machine, had died in the middle of any write."""
        known = {result.cell: result for result in results.read_results(table)[1]}
        monkeypatch.setattr(running, "measure", lambda cell, points, **_: known[cell])
        whole = table.read_bytes()
        path = tmp_path / "cut.csv"
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            running.run(small_moons(), path, workers=1)
            assert path.read_bytes() == whole, f"cut after {size} bytes"

    def test_the_end_that_a_failing_disk_leaves_is_written_anew(self, table, tmp_path):
        path = tmp_path / "zeros.csv"
        path.write_bytes(b"".join(table.read_bytes().splitlines(True)[:4]) + b"\0" * 30 + b"\n")
        running.run(small_moons(), path, workers=1)
        assert path.read_bytes() == table.read_bytes()

    def test_nothing_is_measured_twice(self, table, tmp_path, monkeypatch):
        path = tmp_path / "half.csv"
        path.write_bytes(b"".join(table.read_bytes().splitlines(True)[:5]))  # three cells
        measured = []
        monkeypatch.setattr(
            running,
            "measure",
            lambda cell, *a, **k: measured.append(cell) or measure(cell, *a, **k),
        )
        running.run(small_moons(), path, workers=1)
        assert measured == small_moons().cells[3:]
        assert path.read_bytes() == table.read_bytes()

    @pytest.mark.parametrize(
        ("changed", "word"),
        [
            ({"seed": 1}, "seed is 0 there and 1 here"),
            ({"trials": 4}, "trials is 3 there and 4 here"),
            ({"axes": {"n": [20], "lambda": [0.5]}}, "other settings"),
        ],
    )
    def test_other_settings_are_refused_and_the_table_is_kept(self, table, tmp_path, changed, word):
        path = tmp_path / "other.csv"
        path.write_bytes(table.read_bytes())
        with pytest.raises(InvalidInputError, match=word):
            running.run(small_moons(**changed), path, workers=1)
        assert path.read_bytes() == table.read_bytes()

    def test_other_points_are_refused(self, table, tmp_path):
        path = tmp_path / "other.csv"
        path.write_bytes(table.read_bytes())
        study = small_moons()
        X, y = study.data["moons"]
        with pytest.raises(InvalidInputError, match="data is"):
            running.run(replace(study, data={"moons": (X + 1, y)}), path, workers=1)

    @pytest.mark.parametrize(
        ("content", "word"),
        [
            (b"a,b\n1,2\n", "no table of results"),
            (b"\xff\xfe\x00binary\n\n", "no table of results"),
            (b"# [1]\na,b\n1,2\n", "no table of results"),
            (b"# {broken\na,b\n1,2\n", "no table of results"),
            (PUBLISHED.read_bytes(), "does not say"),
        ],
    )
    def test_foreign_files_are_refused_and_kept(self, tmp_path, content, word):
        path = tmp_path / "foreign.csv"
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match=word):
            running.run(small_moons(), path, workers=1)
        assert path.read_bytes() == content

    def test_damage_in_the_middle_is_refused(self, table, tmp_path):
        lines = table.read_bytes().splitlines(True)
        lines[3] = b"moons,1000,x\n"
        path = tmp_path / "damaged.csv"
        path.write_bytes(b"".join(lines))
        with pytest.raises(InvalidInputError, match="row 1"):
            running.run(small_moons(), path, workers=1)
        lines[3] = lines[4]
        path.write_bytes(b"".join(lines))
        with pytest.raises(InvalidInputError, match="row 1 a cell that does not belong"):
            running.run(small_moons(), path, workers=1)

    def test_a_file_that_another_run_writes_is_refused(self, table, tmp_path):
        path = tmp_path / "busy.csv"
        path.write_bytes(table.read_bytes())
        study = small_moons()
        with (
            results.Table(path, study.settings(), study.cells),
            pytest.raises(InvalidInputError, match="another process"),
        ):
            running.run(study, path, workers=1)

    def test_a_refused_fit_leaves_no_file(self, tmp_path):
        study = replace(small_moons(), fit=studies.PAPER | {"covered": [7]})
        for workers in (1, 2):
            with pytest.raises(InvalidInputError, match="covered names 7"):
                running.run(study, tmp_path / "none.csv", workers=workers)
            assert not (tmp_path / "none.csv").exists()

    def test_a_worker_that_fails_is_told_with_its_cell(self, tmp_path):
        study = replace(small_moons(), fit=studies.PAPER | {"no_such_setting": 1})
        with pytest.raises(RuntimeError, match=r"(?s)first_width=20.*no_such_setting"):
            running.run(study, tmp_path / "none.csv", workers=2)

    def test_workers_never_have_more_threads_than_cores(self, monkeypatch):
        cells = [Cell("a", 10**6, 2000, 1.0)] * 8
        for cores in (1, 2, 64):
            workers = running._affordable(cells, cores)
            assert 1 <= workers <= cores
        monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 10**6, "SC_PAGE_SIZE": 2000}.get)
        assert running._affordable(cells, 64) == 2  # 1 GB for fits of 450 MB


class TestInterruptions:
    """A process of its own, stopped in the middle of a study with two workers."""

    @pytest.fixture
    def running_study(self, tmp_path):
        pytest.importorskip("typer")
        path = tmp_path / "moons.csv"
        arguments = ["reproduce", "moons", "--grid", "n=50:500:10", "--grid", "lambda=0.5,1"]
        process = subprocess.Popen(
            [sys.executable, "-m", "fastmem.cli", *arguments, "--trials", "40", "--workers", "2",
             "--out", str(path)],
            env=os.environ | {"PYTHONPATH": PACKAGE_PARENT},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") > 4)
        workers = children_of(process.pid)
        assert len(workers) == 2
        yield process, path, workers
        process.kill()
        process.communicate()

    def test_ctrl_c_ends_with_one_sentence_and_no_worker(self, running_study):
        process, path, workers = running_study
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=1000)
        assert process.returncode == 130
        assert out == ""
        n_rows = path.read_text().count("\n") - 2
        assert err == (
            f"Interrupted: {path} holds {n_rows} of 92 cells, and the same command goes on from "
            "there.\n"
        )
        assert path.read_text().endswith("\n")
        wait_until(lambda: all(map(gone, workers)))

    def test_a_killed_study_leaves_no_worker_and_goes_on_to_the_same_table(self, running_study):
        process, path, workers = running_study
        process.kill()
        process.wait()
        wait_until(lambda: all(map(gone, workers)))
        settings, rows = results.read_results(path)
        axes = {"n": list(range(50, 501, 10)), "lambda": [0.5, 1]}
        study = studies.make_study("moons", axes=axes, trials=40)
        assert json.loads(json.dumps(study.settings())) == settings
        few = study.cells[: len(rows) + 3]
        X, y = study.data["moons"]
        fresh = [
            measure(cell, (X, y), trials=40, seed=0, fit=study.fit) for cell in (few[0], *few[-3:])
        ]
        assert rows[0] == fresh[0]
        done = running.run(replace(study, cells=study.cells), path, workers=2)
        assert done[: len(rows)] == rows
        assert done[len(rows) : len(rows) + 3] == fresh[1:]
        assert [row.cell for row in done] == study.cells


def made(probability=0.5, width=10.0, sd=2.0, trials=50, n=20, bias=1.0, size=0):
    """Make a result."""
    return Result("made", size, n, bias, trials, probability, 0.9, width, sd)


class TestComparison:
    def test_differences_are_in_standard_errors(self):
        one, two = made(0.6, 10.0, 3.0, trials=40), made(0.3, 11.0, 4.0, trials=60)
        pooled = (24 + 18) / 100
        expected = 0.3 / math.sqrt(pooled * (1 - pooled) * (1 / 40 + 1 / 60))
        assert comparison.errors_of_probability(one, two) == pytest.approx(expected)
        expected = -1 / math.sqrt(9 / 40 + 16 / 60)
        assert comparison.errors_of_width(one, two) == pytest.approx(expected)
        assert comparison.errors_of_probability(made(1.0), made(1.0)) == 0
        assert comparison.errors_of_width(made(sd=0.0), made(sd=0.0)) == 0
        assert comparison.errors_of_width(made(width=1.0, sd=0.0), made(sd=0.0)) == -math.inf

    def test_bands_are_standard_normal_where_both_sides_are_alike(self):
        """And far from it where a small shift runs through all cells."""
        generator = np.random.default_rng(0)
        print("seed 0")

        def draw(shift):
            rows = []
            for n in range(20, 420, 20):
                for bias in np.arange(0, 2, 0.1):
                    widths = generator.normal(10 + shift, 2, 50)
                    rows.append(made(generator.binomial(50, 0.5) / 50, widths.mean(),
                                     widths.std(ddof=1), n=n, bias=float(bias)))  # fmt: skip
            return rows

        alike = list(comparison.bands(comparison.matched(draw(0), draw(0))))
        assert [band.axis for band in alike] == ["lambda"] * 5 + ["n"] * 5 + ["all"]
        assert sum(band.n_cells for band in alike) == 3 * 400
        assert max(abs(z) for b in alike for z in (b.z_probability, b.z_width)) < 4
        assert np.std([z for b in alike for z in (b.z_probability, b.z_width)]) > 0.4
        shifted = comparison.matched(draw(0.2), draw(0))
        assert comparison.share_within([p.z_width for p in shifted], 3) > 0.98
        assert list(comparison.bands(shifted))[-1].z_width > 6

    def test_cells_are_matched_by_their_settings(self):
        ours = [made(n=20, bias=0.1 + 0.2), made(n=40), made(n=60)]
        theirs = [made(n=60, width=7.0), made(n=20, bias=0.3, width=5.0)]
        pairs = comparison.matched(ours, theirs)
        assert [pair.theirs.mean_second_width for pair in pairs] == [5.0, 7.0]
        with pytest.raises(InvalidInputError, match="share no cell"):
            comparison.matched([made(size=10)], [made(size=20)])
        with pytest.raises(InvalidInputError, match="several data sets"):
            comparison.matched([made(), replace(made(), dataset="other")], theirs)

    def test_the_published_table_is_matched_and_agrees(self, tmp_path):
        axes = {"n": [120, 200], "lambda": [0.5, 1.0]}
        published = results.read_results(PUBLISHED)[1]
        there = {(r.first_width, r.max_bias) for r in published}
        chosen = sorted(there)[::6]
        axes = {"n": [n for n, _ in chosen], "lambda": [bias for _, bias in chosen]}
        rows = running.run(small_moons(axes=axes, trials=20), tmp_path / "t.csv", workers=1)
        pairs = comparison.matched(rows, published)
        assert len(pairs) >= len(chosen)
        assert max(max(abs(p.z_probability), abs(p.z_width)) for p in pairs) < 4.5
        text = comparison.report(pairs)
        assert f"{len(pairs)} cells of 20 trials" in text
        assert text.count("\n| λ ") <= 5 and "| all |" in text
        assert "nan" not in text


def test_the_published_trials_themselves_are_repeated_to_the_last_digit():
    from bench.published import seeds

    assert seeds.main(["--cells", "2"]) == 0


class TestPictures:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        pytest.importorskip("matplotlib")

    def test_the_grid_shows_every_cell_in_its_place(self, table):
        from fastmem.experiments.pictures import grid_picture

        _, rows = results.read_results(table)
        figure = grid_picture(rows, "moons")
        for ax, name in ((figure.axes[0], "interpolation_probability"),
                         (figure.axes[3], "mean_second_width")):  # fmt: skip
            shown = ax.collections[0].get_array()
            expected = [[getattr(r, name) for r in rows if r.first_width == n] for n in SMALL["n"]]
            np.testing.assert_allclose(shown.reshape(2, 3), expected)
        along_bias = {line.get_label(): line for line in figure.axes[4].lines}
        sixty = [r for r in rows if r.first_width == 60]
        np.testing.assert_allclose(along_bias["n = 60"].get_ydata(),
                                   [r.mean_second_width for r in sixty])  # fmt: skip
        band = figure.axes[4].collections[-1].get_paths()[0].vertices[:, 1]
        half = 1.96 * np.array([r.sd_second_width for r in sixty]) / math.sqrt(3)
        means = np.array([r.mean_second_width for r in sixty])
        assert band.max() == pytest.approx((means + half).max())
        assert band.min() == pytest.approx((means - half).min())

    def test_bands_of_probability_stay_within_0_and_1_and_are_never_empty(self):
        from fastmem.experiments.pictures import _quantities

        for share in (0.0, 0.02, 0.5, 1.0):
            (_, values, band), _ = _quantities([made(share)])
            assert 0 <= band[0, 0] <= values[0] + 1e-12
            assert values[0] - 1e-12 <= band[0, 1] <= 1
            assert band[0, 1] - band[0, 0] > 0.05

    def test_grids_with_holes_one_row_or_one_cell_are_drawn(self, table, tmp_path):
        from fastmem.experiments.pictures import comparison_picture, grid_picture, save_picture

        rows = results.read_results(table)[1]
        for some in (rows[:4], rows[:3], rows[::3], rows[:1]):
            save_picture(grid_picture(some), tmp_path / "grid.png")
            pairs = comparison.matched(some, some)
            save_picture(comparison_picture(pairs), tmp_path / "comparison.png")
        with pytest.raises(InvalidInputError, match="several data sets or sizes"):
            grid_picture([made(size=10), made(size=20)])

    def test_widths_against_the_number_of_samples(self):
        from fastmem.experiments.pictures import samples_picture

        rows = [
            made(p, width, n=n, size=size)
            for n in (20, 40)
            for p, width, size in ((1.0, 5.0, 100), (0.5, 6.0, 10_000), (1.0, 7.0, 1_000))
        ]
        figure = samples_picture(rows)
        probability, second = figure.axes
        lines = {line.get_label(): line for line in second.lines}
        assert lines["n = 40"].get_xdata().tolist() == [100, 1_000, 10_000]
        assert lines["n = 40"].get_ydata().tolist() == [5.0, 7.0, 6.0]
        assert probability.get_xscale() == "log"
        filled = [line for line in second.lines if line.get_label().startswith("_")]
        assert filled[0].get_xdata().tolist() == [100, 1_000]  # only where trials are sure


class TestCommand:
    @pytest.fixture(autouse=True)
    def command_line(self):
        pytest.importorskip("typer")
        pytest.importorskip("pyarrow")

    def test_a_study_is_run_drawn_compared_and_redrawn_without_a_trial(
        self, table, tmp_path, monkeypatch
    ):
        pytest.importorskip("matplotlib")
        out = tmp_path / "moons.csv"
        grid = ["--grid", "n=20,60", "--grid", "lambda=0:1:0.5"]
        result = reproduce("moons", *grid, "--trials", 3, "--workers", 1, "--out", out)
        assert result.exit_code == 0, result.stderr
        assert out.read_bytes() == table.read_bytes()
        picture = out.with_suffix(".png")
        drawn = picture.read_bytes()
        assert drawn.startswith(b"\x89PNG")
        picture.unlink()
        monkeypatch.setattr(running, "measure", None)
        result = reproduce("moons", "--redraw", "--out", out, "--compare", table)
        assert result.exit_code == 0, result.stderr
        assert picture.read_bytes() == drawn
        assert "100.00 % (6 of 6)" in result.stdout
        assert (tmp_path / "moons-comparison.png").exists()

    @pytest.mark.parametrize("name", ["grid", "samples"])
    def test_own_points(self, name, csv_data, tmp_path):
        out = tmp_path / "own.csv"
        result = reproduce(name, csv_data, "--label", "kind", "--covered", "in", "--trials", 2,
                           "--grid", "n=300", "--workers", 1, "--out", out)  # fmt: skip
        assert result.exit_code == 0, result.stderr
        settings, rows = results.read_results(out)
        assert settings["fit"]["covered"] == ["in"]
        assert max(row.n_samples for row in rows) == 60
        assert max(row.interpolation_probability for row in rows) > 0

    def test_the_list_names_every_study(self):
        result = reproduce("--list")
        assert result.exit_code == 0
        for name in studies.STUDIES:
            assert name in result.stdout

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], ["No study was named", "moons-samples"]),
            (["sun"], ["'sun'", "moons"]),
            (["grid"], ["needs a data file"]),
            (["moons", "DATA"], ["brings its own points"]),
            (["grid", "DATA"], ["--label"]),
            (["grid", "DATA", "--label", "kind", "--covered", "no"], ["'no'", "covered"]),
            (["samples", "DATA", "--label", "kind", "--grid", "N=61"], ["61", "60 points"]),
            (["moons", "--grid", "m=3"], ["--grid", "'m=3'"]),
            (["moons", "--grid", "n=3", "--grid", "n=4"], ["--grid", "once"]),
            (["moons", "--grid", "n=20:10:5"], ["'n=20:10:5'"]),
            (["moons", "--grid", "n=1:1e9:1"], ["--grid"]),
            (["moons", "--grid", "n="], ["--grid"]),
            (["moons", "--grid", "n=2.5"], ["n is 2.5", "whole number"]),
            (["moons", "--grid", "n=0"], ["n is 0.0", "at least 1"]),
            (["moons", "--grid", "lambda=-1"], ["lambda is -1.0"]),
            (["moons", "--grid", "lambda=nan"], ["lambda is nan"]),
            (["moons", "--grid", "N=1"], ["N is 1.0", "at least 2"]),
            (["moons", "--trials", "0"], ["trials is 0"]),
            (["moons", "--trials", "many"], ["--trials"]),
            (["moons", "--seed", "-1"], ["seed is -1"]),
            (["moons", "--workers", "0"], ["n_threads is 0"]),
            (["moons", "--out", "moons.txt"], [".csv"]),
            (["moons", "--redraw", "--out", "none.csv"], ["none.csv does not exist"]),
            (["moons", "--compare", "none.csv"], ["none.csv does not exist"]),
        ],
    )
    def test_wrong_options_are_refused_in_one_sentence(
        self, arguments, words, csv_data, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(running, "_measured", None)  # nothing may be measured before
        before = sorted(tmp_path.iterdir())
        result = reproduce(*(csv_data if a == "DATA" else a for a in arguments))
        assert_refused(result, *words)
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_of_each_figure_runs(script, tmp_path, monkeypatch):
    """As it stands but for smaller settings, which it states in its first cell."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn.datasets")
    text = script.read_text()
    assert text.count("# %%") >= 3
    axes = SMALL_STUDIES.get(script.stem.replace("_", "-"), ({"n": [30]}, 0))[0]
    for pattern, value in (
        (r"TRIALS = .*", "TRIALS = 1"),
        (r"AXES: .* = \{\}.*", f"AXES: dict[str, list[float]] = {axes}"),
    ):
        text, found = re.subn(f"^{pattern}$", value, text, flags=re.MULTILINE)
        assert found == 1
    text = text.replace("spheres(5_000", "spheres(100").replace("progress=True", "workers=1")
    copy = tmp_path / script.name
    copy.write_text(text)
    monkeypatch.chdir(tmp_path)
    if "PUBLISHED" in text:
        Path("published_moons.csv").write_bytes(Path("moons.csv").read_bytes() if Path(
            "moons.csv").exists() else b"".join(_first_cells()))  # fmt: skip
    runpy.run_path(str(copy))
    tables = sorted(tmp_path.glob("*-*.csv")) or [tmp_path / "moons.csv"]
    for path in tables:
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    pyplot = sys.modules.get("matplotlib.pyplot")  # which scikit-dimension imports
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.filterwarnings("ignore::fastmem.UnseparatedWarning")
@pytest.mark.parametrize("name", OTHER_SCRIPTS)
def test_the_other_scripts_run(name, tmp_path, monkeypatch):
    for package in ("matplotlib", "sklearn.datasets", "skdim"):
        pytest.importorskip(package)
    text = (FIGURES / f"{name}.py").read_text()
    assert text.count("20_000") == 1
    copy = tmp_path / f"{name}.py"
    copy.write_text(text.replace("20_000", "400"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(copy))
    assert len(list(tmp_path.glob("*.png"))) == OTHER_SCRIPTS[name]


def _first_cells():
    header = ",".join(results.COLUMNS)
    yield f"{header}\n".encode()
    yield b"moons,1000,20,0.5,50,0.1,0.8,5.0,2.0\n"
