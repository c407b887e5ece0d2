"""The sections of the complexity report that came later, and what its page says of all of them."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("matplotlib")

import fastmem
from fastmem import pages
from fastmem.datasets import clusters, random_labels, two_moons
from fastmem.experiments import complexity_page, complexity_tables, complexity_words
from fastmem.experiments.complexity import ComplexityReport, complexity
from fastmem.experiments.complexity_graph import save_graph
from fastmem.experiments.complexity_points import Usable
from fastmem.experiments.plain_data import built
from fastmem.experiments.section_facts import Representations
from fastmem.experiments.sections import SECTIONS, representing, separating, shapes
from fastmem.experiments.sections.representing import representations
from fastmem.experiments.sections.study import Seeds, Study

SMALL = {"width": 128, "trials": 2, "n_layers": 2, "hard_points": 10, "seed": 5}
NEW = ("separation", "topology", "patterns", "representation", "connectivity")
HOSTILE = "$\\foo$ <b>"


@pytest.fixture(scope="module")
def moons():
    return two_moons(400, 0.08, seed=3)


@pytest.fixture(scope="module")
def report(moons):
    X, y = moons
    return complexity(X, np.array([HOSTILE, "lower"])[y], name="moons", **SMALL)


def rings(n, seed=0):
    """A disc in a ring: one piece each, and a hole in the second."""
    generator = np.random.default_rng(seed)
    angles, radii = 2 * np.pi * generator.random(n), np.sqrt(generator.random(n))
    y = np.arange(n) % 2
    radii = np.where(y == 0, radii, 2 + 0.3 * radii)
    return np.column_stack([radii * np.cos(angles), radii * np.sin(angles)]), y


def study_of(X, y, section, width=128):
    """Run one section alone."""
    y = np.asarray(y)
    everything = np.ones(len(y), bool)
    fit = {"max_bias": "radius", "projection": "auto", "center": True, "n_threads": 2}
    usable = Usable(X, y, y, everything, np.random.default_rng(0))
    return section(
        Study(
            usable, X, np.unique(y), None, width, 1, 20_000, fit, Seeds(np.random.SeedSequence(0)),
            lambda *_: None,
        )
    )  # fmt: skip


class TestSections:
    def test_every_section_has_its_seconds_and_nothing_is_skipped(self, report):
        pytest.importorskip("ripser")
        assert set(SECTIONS) <= set(report.seconds) and not report.skipped
        assert all(getattr(report, name) is not None for name in NEW)

    def test_separation_is_between_one_class_and_coin_flips(self, report):
        easy = study_of(*clusters(120, 1, 2), separating.separation)
        noise = study_of(*random_labels(120, 8, seed=0), separating.separation)
        assert easy.width < report.separation.width
        assert 40 < noise.width < 90  # Cover: 60
        assert len(noise.widths) == 1 and noise.n_used == 120

    def test_shapes_of_a_disc_in_a_ring(self):
        pytest.importorskip("ripser")
        X, y = rings(3_000)
        found = study_of(X, y, shapes.topology, width=2048)
        assert [entry.points.betti for entry in found.classes] == [(1, 0), (1, 1)]
        assert all(entry.points.is_stable for entry in found.classes)
        assert [entry.patterns.betti[0] for entry in found.classes] == [1, 1]
        assert found.n_samples == 3_000
        assert all(len(bars) <= shapes.BARS_KEPT for bars in found.classes[0].points.bars)

    def test_dimensions_of_a_plane_in_space(self):
        generator = np.random.default_rng(0)
        X = generator.random((600, 2)) @ generator.normal(size=(2, 10))
        y = (X[:, 0] > np.median(X[:, 0])).astype(int)
        found = study_of(X, y, shapes.patterns, width=2048)
        assert 1.7 < found.points < 2.3 and 1.6 < found.patterns < 2.6

    def test_connections_are_those_of_the_network(self, report):
        network, found = report.network, report.connectivity
        assert (found.n_hyperplanes, found.n_neurons) == network.widths
        assert found.connectivity == network.connectivity
        assert found.n_bytes == network.nbytes

    def test_more_points_than_are_used(self, moons):
        X, y = moons
        found = complexity(X, y, most_points=100, **SMALL)
        assert [row.n_samples for row in found.widths] == [25, 50, 100]
        assert sum(entry.n_samples for entry in found.classes) == 400
        assert found.topology is None or found.topology.n_samples == 100
        page = complexity_page.page(found)
        assert "A random sample was used: 100 of 400 points." in page
        assert "random samples were used: least widths by 100." in page
        for wrong in (0, True, 2.5):
            with pytest.raises(fastmem.InvalidInputError, match="most_points"):
                complexity(X, y, most_points=wrong, **SMALL)

    def test_a_sample_holds_every_class(self):
        X = np.random.default_rng(0).normal(size=(200, 3))
        y = np.r_[np.arange(40), np.zeros(160, int)]
        found = complexity(X, y, **SMALL | {"most_points": 2, "trials": 1})
        assert found.widths[-1].n_samples == 160

    def test_what_is_missing_or_too_much_is_said(self, moons, monkeypatch):
        def without(*_, **__):
            raise ModuleNotFoundError('pip install "fastmem-nets[topology]"', name="ripser")

        monkeypatch.setattr(shapes, "shapes_of", without)
        monkeypatch.setattr(separating, "MOST_CLASSES", 1)
        monkeypatch.setattr(representing, "MOST_FEATURES", 1)
        found = complexity(*moons, **SMALL)
        assert found.topology is None and found.separation is None
        assert "fastmem-nets[topology]" in found.skipped["topology"]
        assert found.skipped["separation width"] == "2 classes are more than 1"
        assert found.skipped["representation"] == "2 features are more than 1"
        page = complexity_page.page(found)
        assert "Not measured" in page and "Pieces and holes" not in page
        assert ComplexityReport.from_json(found.to_json()) == found

    def test_sparse_points(self):
        generator = np.random.default_rng(1)
        X = scipy.sparse.csr_matrix((generator.random((120, 300)) < 0.03) * 1.0)
        found = complexity(X, np.arange(120) % 2, **SMALL)
        assert {"topology", "representation", "dimension of patterns"} <= set(found.skipped)
        assert found.separation is not None and found.connectivity is not None
        assert complexity_page.page(found)


class TestJson:
    def test_reports_that_are_older_have_none_of_it(self, report):
        facts = json.loads(report.to_json())
        for name in NEW:
            del facts[name]
        older = ComplexityReport.from_json(json.dumps(facts))
        assert all(getattr(older, name) is None for name in NEW)
        assert replace(report, **dict.fromkeys(NEW)) == older
        page = complexity_page.page(older)
        assert "Representation" not in page and "Widths over N" in page

    def test_objects_come_back_as_they_were(self, report):
        again = ComplexityReport.from_json(report.to_json())
        assert again == report and again.network is None
        assert type(again.topology) is type(report.topology)
        assert isinstance(again.representation, Representations)
        assert again.separation.widths == report.separation.widths

    @pytest.mark.parametrize(
        "change",
        [
            {"topology": []},
            {"topology": {"n_samples": 3}},
            {"representation": {"rows": 3}},
            {"separation": {"colour": "red"}},
            {"widths": "all"},
            {"classes": [3]},
        ],
    )
    def test_what_is_no_report_is_refused(self, report, change):
        facts = json.loads(report.to_json()) | change
        with pytest.raises(fastmem.InvalidInputError, match="no complexity report"):
            ComplexityReport.from_json(json.dumps(facts))

    def test_pairs_have_two_values(self):
        assert built(tuple[int, ...], [1, 2]) == (1, 2)
        assert built(tuple[float, float | None], [1.0, None]) == (1.0, None)
        with pytest.raises(TypeError):
            built(tuple[float, float], [1.0])


class TestRepresentations:
    @given(st.integers(-40, 40), st.integers(-1000, 1000), st.integers(0, 5))
    @settings(max_examples=8, deadline=None)
    def test_a_shift_or_a_power_of_two_changes_no_width(self, exponent, shift, seed):
        generator = np.random.default_rng(seed)
        X = generator.integers(-8, 9, (64, 3)).astype(np.float64)
        y = (X[:, 0] + X[:, 1] > 0).astype(int)
        X, first = np.unique(X, axis=0, return_index=True)
        y = y[first]
        options = {"width": 64, "trials": 1, "seed": seed}
        plain = representations(X, y, **options)
        scaled = representations(np.ldexp(X, exponent), y, **options)
        assert scaled == plain
        shifted = representations(X + shift, y, **options).rows[0]
        assert shifted.least == plain.rows[0].least
        assert shifted.merged == plain.rows[0].merged

    def test_units_matter_until_columns_have_equal_deviations(self):
        generator = np.random.default_rng(0)
        X = generator.normal(size=(300, 2))
        y = (X[:, 0] > 0).astype(int)
        X = X * [1.0, 1000.0]
        rows = {row.name: row for row in representations(X, y, trials=1, seed=0).rows}
        equal, given_ = rows["each column of deviation 1"], rows["as given"]
        assert equal.least[0] < given_.least[0]
        assert equal.unseen[0] > given_.unseen[0]
        assert rows["principal components"].n_features == 1
        assert rows["whitened"].n_features == 2
        assert rows["with 64 columns of noise"].n_features == 66

    def test_a_column_of_one_value_and_a_class_of_one_point(self):
        X, y = two_moons(60, 0.05, seed=0)
        X = np.column_stack([X, np.full(60, 3.0)])
        y = y.copy()
        y[7] = 5
        found = representations(X, y, width=64, trials=2, seed=0)
        rows = {row.name: row for row in found.rows}
        assert rows["whitened"].n_features == 2
        assert (found.n_fitted, found.n_unseen) == (48, 12)
        assert all(len(row.unseen) == 2 for row in found.rows)

    @pytest.mark.parametrize("exponent", [-900, 900])
    def test_values_whose_squares_leave_the_range(self, exponent):
        X, y = two_moons(60, 0.05, seed=0)
        X = X.astype(np.float64)
        options = {"width": 64, "trials": 1, "seed": 0}
        far = representations(np.ldexp(X, exponent), y, **options)
        assert far == representations(X, y, **options)

    def test_the_same_whatever_the_number_of_threads(self, moons):
        one, two = (
            representations(*moons, width=64, trials=1, seed=3, n_threads=n) for n in (1, 2)
        )
        assert one == two

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"X": np.zeros((20, 2)), "y": np.arange(20) % 2}, "20 points"),
            ({"X": np.zeros((60, 1025)), "y": np.arange(60) % 2}, "1,025 features"),
            (
                {
                    "X": scipy.sparse.random(60, 500, 0.01, format="csr", rng=0),
                    "y": np.arange(60) % 2,
                },
                "sparse",
            ),
            ({"trials": 0}, "trials"),
            ({"width": "auto"}, "width"),
            ({"seed": -1}, "seed"),
            ({"y": np.zeros(400, int)}, "class"),
        ],
    )
    def test_wrong_arguments_are_named(self, moons, change, words):
        X, y = moons
        with pytest.raises(fastmem.InvalidInputError, match=words):
            representations(**{"X": X, "y": y} | change)


class TestPage:
    def test_a_card_comes_first_and_every_figure_is_explained(self, report):
        page = complexity_page.page(report)
        panels = complexity_words.card(report)
        assert 6 <= len(panels) <= 8
        assert page.index('class="card"') < page.index("<h2>")
        for name, value, words in panels:
            assert html.escape(value) in page and html.escape(words) in page, name
            assert words.endswith(".")
        for name in complexity_tables.facts(report):
            assert complexity_words.meaning(name), name

    def test_every_section_says_what_was_used(self, report):
        page = complexity_page.page(report)
        assert page.count("All 400 points were used.") == 7
        for title in ("Separation by", "Pieces and holes", "Representation", "Connections"):
            assert f"<h2>{title}" in page

    def test_a_card_judges_what_it_shows(self):
        easy = dict(
            (n, w) for n, _, w in complexity_words.card(complexity(*clusters(200, 1, 2), **SMALL))
        )
        noise = dict(
            (n, w) for n, _, w in complexity_words.card(complexity(*random_labels(200, 4), **SMALL))
        )
        assert "simple regions" in easy["neurons"] and "fast as the points" in noise["neurons"]
        assert "None:" in easy["suspects"] and "Many:" in noise["suspects"]

    def test_cells_of_text_and_explained_figures(self):
        table = pages.table(["a", "b"], [["<i>", "1 [0 to 2]"], ["x", "w" * 40]], texts=(0,))
        assert '<td class="text">&lt;i&gt;</td><td class="short">1 [0 to 2]</td>' in table
        assert f"<td>{'w' * 40}</td>" in table
        explained = pages.explained([("<a>", "<b>", "<c>")])
        assert '&lt;b&gt;<span class="words">&lt;c&gt;</span>' in explained
        assert "<a>" not in explained and isinstance(explained, pages.Markup)

    def test_later_rows_are_behind_a_click(self, moons):
        X, y = moons
        page = complexity_page.page(complexity(X, y, **SMALL | {"hard_points": 25}))
        assert "5 more points" in page

    def test_pictures_take_labels_as_they_are(self, report):
        assert complexity_page.page(report)  # which is no formula: matplotlib would refuse it
        assert HOSTILE in [entry.label for entry in report.topology.classes]


class TestGraph:
    def test_both_files(self, report, tmp_path):
        networkx = pytest.importorskip("networkx")
        save_graph(report, tmp_path / "net.graphml")
        graph = networkx.read_graphml(tmp_path / "net.graphml")
        layers = [layer for _, layer in graph.nodes(data="layer")]
        assert layers.count("neurons") == report.connectivity.n_neurons
        edges = [edge for edge in graph.edges if edge[1].startswith("n")]
        assert len(edges) == report.connectivity.connectivity.n_edges
        save_graph(report, tmp_path / "net.svg")
        assert "<svg" in (tmp_path / "net.svg").read_text()[:800]
        with pytest.raises(ValueError, match=r"net\.png"):
            save_graph(report, tmp_path / "net.png")
        with pytest.raises(ValueError, match="network"):
            save_graph(replace(report, network=None), tmp_path / "other.svg")
        assert {p.name for p in tmp_path.iterdir()} == {"net.graphml", "net.svg"}

    def run(self, *arguments):
        pytest.importorskip("typer")
        from typer.testing import CliRunner

        from fastmem.commands import app

        return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)

    @pytest.fixture
    def table(self, moons, tmp_path):
        X, y = moons
        path = tmp_path / "moons.csv"
        rows = [f"{a},{b},{label}" for (a, b), label in zip(X, y, strict=True)]
        path.write_text("\n".join(["a,b,kind", *rows]) + "\n")
        return path

    def test_the_command_writes_it_and_prints_the_sections(self, table, tmp_path):
        pytest.importorskip("networkx")
        pytest.importorskip("ripser")
        out = tmp_path / "net.graphml"
        result = self.run(
            "complexity", table, "--label", "kind", "--width", 128, "--trials", 1, "--seed", 1,
            "--graph", out, "--most", 300,
        )  # fmt: skip
        assert result.exit_code == 0 and out.exists()
        for words in ("Pieces and holes", "representations", "separation width", "Graph:"):
            assert words in result.stdout
        lines = [line for line in result.stdout.splitlines() if str(tmp_path) not in line]
        assert max(map(len, lines)) <= 100

    def test_a_network_that_is_too_large_is_no_failure(self, table, tmp_path, monkeypatch):
        monkeypatch.setattr("fastmem.plots.graphs.MOST_NODES", 3)
        out = tmp_path / "net.svg"
        result = self.run(
            "complexity", table, "--label", "kind", "--width", 128, "--trials", 1, "--seed", 1,
            "--graph", out,
        )  # fmt: skip
        assert result.exit_code == 0 and not out.exists()
        assert re.search(r"No graph: the network has \d+ hyperplanes", result.stdout)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [(["--graph", "net.png"], ".graphml"), (["--most", "0"], "most_points")],
    )
    def test_wrong_options_give_one_sentence(self, table, arguments, words):
        result = self.run("complexity", table, "--label", "kind", *arguments)
        assert result.exit_code == 2 and words in result.stderr
        assert result.stderr.count("\n") == 1
