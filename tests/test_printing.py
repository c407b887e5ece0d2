"""Output that cannot hold every character: everything is done and said, nothing fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")

from typer.testing import CliRunner

import fastmem
from fastmem.commands import app, terminal
from fastmem.datasets import unit_moons

ENCODINGS = ["ascii", "cp1252", "latin-1", "cp932", "utf-8"]
LABEL = "caf\u00e9"
OTHER = "\u6771\u4eac \u03b4"
HERE = {"PYTHONPATH": str(Path(fastmem.__file__).parent.parent)}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Moons with labels and names that no small character set holds, and their network."""
    folder = tmp_path_factory.mktemp("tables")
    X, y = unit_moons(60, seed=1)
    lines = ["\u00f8,\u03c9,kind"]
    lines += [f"{a!r},{b!r},{(LABEL, OTHER)[c]}" for (a, b), c in zip(X.tolist(), y, strict=True)]
    (folder / "d\u00e9.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = run(
        "utf-8",
        "fit",
        folder / "d\u00e9.csv",
        "--label",
        "kind",
        "--out",
        folder / "n.npz",
        "--seed",
        0,
    )
    assert done.exit_code == 0, done.output
    return folder


def run(encoding, *words):
    return CliRunner(charset=encoding).invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "command", ["fit", "predict", "info", "export", "complexity", "--help", "fit --help", "list"]
)
def test_every_command_does_its_work_and_says_so(table, tmp_path, encoding, command):
    data, net = table / "d\u00e9.csv", table / "n.npz"
    out = tmp_path / "\u00fcber"
    words = {
        "fit": ["fit", data, "--label", "kind", "--out", f"{out}.npz", "--seed", 0],
        "predict": ["predict", net, data, "--label", "kind"],
        "info": ["info", net],
        "export": ["export", net, "--out", f"{out}.h", "--data", data, "--label", "kind"],
        "complexity": [
            "complexity", data, "--label", "kind", "--width", 64, "--trials", 1, "--seed", 0,
            "--json", f"{out}.json", "--points", f"{out}.csv", "--out", f"{out}.html",
        ],
        "list": ["reproduce", "--list"],
    }.get(command, command.split())  # fmt: skip
    done = run(encoding, *words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Traceback" not in done.output
    # all of it is in the encoding, but that click takes a stream of ascii for one of UTF-8
    said = done.stdout_bytes.decode(encoding, "replace" if encoding == "ascii" else "strict")
    files = {"fit": ["npz"], "export": ["h"], "complexity": ["json", "csv", "html"]}
    for suffix in files.get(command, []):
        assert (tmp_path / f"\u00fcber.{suffix}").stat().st_size > 0
    if command == "complexity":
        assert ("gap \u03b4" if terminal._has(encoding, "\u03b4") else "gap delta") in said
        assert ("M\u207b" if encoding == "utf-8" else "M-") in said
        assert ("\u00b1" if terminal._has(encoding, "\u00b1") else "+/-") in said
        assert LABEL in (tmp_path / "\u00fcber.json").read_text(encoding="utf-8")
    if command == "predict":
        # one a line, each label distinct, and a note where they are not spelled as they are
        lines = said.splitlines()
        shown = [
            label.encode(encoding, "backslashreplace").decode(encoding) for label in (LABEL, OTHER)
        ]
        assert len(lines) == 60 and set(lines) == set(shown)
        assert ("shown as escapes" in done.stderr) == (shown != [LABEL, OTHER])
        assert done.stderr.splitlines()[0].startswith("Accuracy: 100 %")


@pytest.mark.parametrize("encoding", ENCODINGS[:-1])
def test_refusals_quote_what_they_can(table, encoding):
    done = run(encoding, "fit", table / "d\u00e9.csv", "--label", OTHER, "--out", table / "x.npz")
    assert done.exit_code == 2 and "Traceback" not in done.output
    assert "kind" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252:strict", "cp932", "ascii:replace"])
def test_a_pipe_with_its_own_encoding(table, encoding):
    """As `fastmem info n.npz > log` runs, in a process of its own."""
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"} | HERE
    command = [sys.executable, "-m", "fastmem.cli", "predict", "n.npz", "d\u00e9.csv"]
    done = subprocess.run(
        [*command, "--label", "kind"], cwd=table, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 60
    escapes = OTHER.encode(encoding.split(":")[0], "backslashreplace") in done.stdout
    assert escapes == (not encoding.endswith("replace"))  # which was the user's own choice
    assert b"Traceback" not in done.stderr


def test_the_c_locale(table):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "PYTHON"))}
    environment |= {
        "LANG": "C",
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    } | HERE
    for words in (["info", "n.npz"], ["predict", "n.npz", "moved.csv"]):
        (table / "moved.csv").write_text("\u00f8,\u03c9\n0,1\n0.5,0.2\n", encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "fastmem.cli", *words], cwd=table, env=environment,
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr


def test_files_are_written_before_anything_is_printed(table, tmp_path, monkeypatch):
    from fastmem.commands import studies

    def fail(*_):
        raise OSError(5, "the terminal is gone")

    for name in ("print_table", "print_rows", "print_text"):
        monkeypatch.setattr(studies, name, fail)
    out = [tmp_path / f"a.{suffix}" for suffix in ("json", "csv", "html")]
    done = run(
        "utf-8", "complexity", table / "d\u00e9.csv", "--label", "kind", "--width", 64, "--trials",
        1, "--json", out[0], "--points", out[1], "--out", out[2],
    )  # fmt: skip
    assert done.exit_code == 2 and "the terminal is gone" in done.stderr
    assert all(path.stat().st_size > 0 for path in out)


def test_streams_are_left_as_they_were(table):
    before = sys.stdout.errors
    with terminal.any_encoding():
        pass
    assert sys.stdout.errors == before
    labels = np.array([LABEL, OTHER])
    assert [terminal.spelled(label, terminal.SIGNS) for label in labels] == labels.tolist()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell):
    # the shell is named, not looked for among the parents of this process
    environment = os.environ | HERE | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-c", "from fastmem.cli import main; main()"]
    done = subprocess.run(
        [*command, "--show-completion", shell], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "_FASTMEM_COMPLETE" in done.stdout, done.stderr
    words = {
        "_FASTMEM_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "fastmem com",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "fastmem com",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        command, env=environment | words, capture_output=True, text=True, check=False
    )
    assert "complexity" in done.stdout and "Traceback" not in done.stderr


def test_an_export_of_another_kind_says_which_there_are(table):
    for words in (["--out", "e.pt"], ["--out", "e.h", "--format", "torch"]):
        done = run("utf-8", "export", table / "n.npz", *words)
        assert done.exit_code == 2 and "--format is ''" not in done.stderr
        for part in (words[-1][-2:], ".onnx", ".h", "fastmem.export.to_torch"):
            assert part in done.stderr


def test_a_network_knows_the_names_of_its_features(table):
    assert "\u00f8, \u03c9" in run("utf-8", "info", table / "n.npz").stdout


@pytest.mark.parametrize("kind", ["nowhere", "a file"])
def test_python_says_why_a_file_cannot_be_saved(table, tmp_path, kind):
    network = fastmem.load(table / "n.npz")
    place = tmp_path / kind
    if kind == "a file":
        place.touch()
    wanted = FileNotFoundError if kind == "nowhere" else NotADirectoryError
    with pytest.raises(wanted, match=r"create it first|give another place") as caught:
        network.save(place / "x.npz")
    assert caught.value.filename == str(place / "x.npz") and str(place) in str(caught.value)
