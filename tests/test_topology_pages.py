"""What of shapes is printed and drawn."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("ripser")
pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")
from typer.testing import CliRunner  # noqa: E402

import fastmem  # noqa: E402
from bench.shapes import shape  # noqa: E402
from fastmem import InvalidInputError, plots  # noqa: E402
from fastmem.commands import app  # noqa: E402


def run(*arguments):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def rings():
    X, y = shape("two annuli", 1_200)
    names = np.array(["inner", "outer"])[y]
    return X, names, fastmem.interpolate(X, names, seed=0, compact=True, covered="all")


@pytest.fixture(scope="module")
def files(rings, tmp_path_factory):
    directory = tmp_path_factory.mktemp("rings")
    X, y, network = rings
    np.savez(directory / "data.npz", X=X, y=y)
    lines = [f"{a!r},{b!r},{label}" for (a, b), label in zip(X.tolist(), y, strict=True)]
    (directory / "data.csv").write_text("\n".join(["a,b,side", *lines]), encoding="utf-8")
    network.save(directory / "net.npz")
    return directory


def test_the_command_prints_the_numbers_and_what_they_do_not_say(files):
    printed = run("topology", files / "net.npz", "--data", files / "data.npz", "--landmarks", 100)
    assert printed.exit_code == 0, printed.stderr
    inner, outer = (
        line.split()
        for line in printed.stdout.splitlines()
        if line.strip()[:6] in ("inner ", "outer ")
    )
    assert inner[1:6] == ["600", "1,", "1", "same", "-"] and inner[-4:] == ["1,", "0", "1", "3"]
    assert outer[-4:-2] == ["1,", "1"] and outer[-1] == "3"
    for sentence in ("Class inner: the points have Betti numbers 1, 1, the region 1, 0.",
                     "No numbers of patterns of inner:"):  # fmt: skip
        assert sentence in printed.stdout


def test_the_json_is_the_report(files, rings):
    X, y, network = rings
    printed = run(
        "topology", files / "net.npz", "--data", files / "data.csv", "--label", "side",
        "--landmarks", 50, "--max-cells", 2, "--json",
    )  # fmt: skip
    assert printed.exit_code == 0, printed.stderr
    facts = json.loads(printed.stdout)
    report = fastmem.topology(network, X, y, landmarks=50, max_cells=2)
    assert facts["max_cells"] == 2 and facts["differences"] == report.differences()
    for one, entry in zip(facts["classes"], report.classes, strict=True):
        assert one["points"]["landmarks"] == list(entry.points.landmarks)
        assert one["region"]["betti"] == list(entry.region.betti)


def test_the_command_takes_the_encoding_of_a_raw_table(tmp_path):
    generator = np.random.default_rng(0)
    rows = [
        f"{x:.3f},{'yes' if x > 0 else 'no'},{'up' if x > 0.5 else 'down'}"
        for x in generator.standard_normal(200)
    ]
    (tmp_path / "raw.csv").write_text("\n".join(["x,sign,side", *rows]), encoding="utf-8")
    net = tmp_path / "raw.npz"
    options = ["--label", "side", "--out", net, "--compact", "--covered", "all"]
    assert run("fit", tmp_path / "raw.csv", *options).exit_code == 0
    printed = run("topology", net, "--data", tmp_path / "raw.csv", "--label", "side")
    assert printed.exit_code == 0 and "down" in printed.stdout
    refused = run("topology", net, "--data", tmp_path / "raw.csv")
    assert refused.exit_code == 2 and "--label" in refused.stderr


def test_the_command_refuses_in_a_sentence(files, tmp_path, monkeypatch):
    net, data = files / "net.npz", files / "data.npz"
    for options, word in (
        (["--landmarks", 1], "landmarks is 1"), (["--out", tmp_path / "bars.txt"], ".txt"),
        (["--label", "nobody"], "nobody"),
    ):  # fmt: skip
        refused = run("topology", net, "--data", data, *options)
        assert refused.exit_code == 2 and refused.stderr.count("\n") == 1
        assert word in refused.stderr
    monkeypatch.setitem(sys.modules, "ripser", None)
    refused = run("topology", net, "--data", data)
    assert refused.exit_code == 2 and "fastmem-nets[topology]" in refused.stderr


def test_bars_are_drawn_for_points_beside_patterns(rings, files, tmp_path):
    X, y, network = rings
    report = fastmem.topology(network, X, y, landmarks=60)
    figure = plots.persistence_bars(report)
    axes = np.array(figure.axes).reshape(2, 2)
    assert axes[0, 0].get_title(loc="left") == f"inner, points: {report.classes[0].points.betti}"
    assert axes[1, 1].get_title(loc="left") == "outer, patterns: no numbers"
    for row, entry in zip(axes, report.classes, strict=True):
        for ax, found in zip(row, (entry.points, entry.patterns), strict=True):
            drawn = sum(len(lines.get_segments()) for lines in ax.collections)
            assert drawn == sum(min(80, len(bars)) for bars in found.bars)
    out = tmp_path / "bars.svg"
    printed = run("topology", files / "net.npz", "--data", files / "data.npz", "--out", out)
    assert printed.exit_code == 0 and f"Picture: {out}" in printed.stdout.replace("\n", "")
    assert out.read_bytes().lstrip().startswith(b"<?xml")


def test_the_nerve_is_drawn(rings):
    X, y, network = rings
    report = fastmem.topology(network, X, y, landmarks=60)
    ax = plots.nerve_graph(network, X, y, report)
    regions = [entry.region for entry in report.classes]
    pairs = sum(
        len(region.neurons) * (len(region.neurons) - 1) // 2
        if region.have_common
        else len(region.simplices[0])
        for region in regions
    )
    assert len(ax.lines) == pairs
    for i, region in enumerate(regions):
        places = np.asarray(ax.collections[2 + i].get_offsets())
        on = ~(network.second.masks[list(region.neurons)] & fastmem.sign_patterns(
            places, network.first)).any(axis=1)  # fmt: skip
        assert on.all(), "a cell is drawn where it is not"
    wide = fastmem.interpolate(X, y, seed=0, width=256, covered="all")
    with pytest.raises(InvalidInputError, match="no regions"):
        plots.nerve_graph(wide, X, y, fastmem.topology(wide, X, y, landmarks=60))
