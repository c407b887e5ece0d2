"""Hostile files: a result or one sentence, never another exception, a crash, a hang or a bomb.

`FASTMEM_FUZZ=100 pytest tests/test_fuzz.py` tries a hundred times as many; `fuzzing.py` makes them.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pa = pytest.importorskip("pyarrow")
import fuzzing  # noqa: E402
from pyarrow import parquet  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import fastmem  # noqa: E402
from fastmem.commands import app  # noqa: E402
from fastmem.inputs import InvalidInputError, check_labels, check_points  # noqa: E402
from fastmem.tables import read_table  # noqa: E402

SCALE = float(os.environ.get("FASTMEM_FUZZ", "1"))
INPUTS = {
    "csv": 1500, "npy": 1000, "npz": 1000, "parquet": 1500, "model": 300,
    "jsonl": 500, "feather": 500, "gz": 500, "zip": 500, "xlsx": 500,
}  # fmt: skip


@pytest.mark.timeout(0)
@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a child process")
@pytest.mark.parametrize("kind", INPUTS)
def test_every_file_gives_a_result_or_one_sentence(kind):
    stop = int(SCALE * INPUTS[kind])
    counts, faults = fuzzing.run(kind, 0, stop)
    assert not faults, "\n".join(f"fuzzing.py {kind} {n}: {what}\n{t}" for n, what, t in faults)
    assert sum(counts.values()) == stop
    # damage leaves some files whole, or nothing behind the first check would be tried
    assert counts["read"] > stop // 200 and counts["refused"] > stop // 2


def refusal(path: Path, label: str | None = None) -> str:
    with pytest.raises(InvalidInputError) as caught:
        X, y = read_table(path, label, labels_required=False)
        points = check_points(X)
        check_labels(y, points.n_samples)
    fuzzing.check_sentence(str(caught.value))
    return str(caught.value)


# What the fuzzer found, each as small as it gets ------------------------------------------------


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"x,y\n1,2\n\x1b[2J\n")
    assert r"\x1b[2J" in refusal(path, "y")
    table = pa.table({"x": pa.array([{"\x1b[2J": 1}]), "y": [1]})
    parquet.write_table(table, tmp_path / "data.parquet")
    assert r"\x1b[2J" in refusal(tmp_path / "data.parquet", "y")


def test_a_sentence_does_not_quote_a_file_as_a_whole(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"x" * 100_000 + b",y\none,2\n")
    assert "is not a number" in refusal(path, "y")
    path.write_bytes(b"x" * 100_000 + b",z\n1,2\n")
    assert "no column" in refusal(path, "y" * 100_000)
    path = tmp_path / "data.npy"
    path.write_bytes(b"\x93NUMPY\1\0\x88\x13" + b"[" * 5000)
    refusal(path)


def test_a_damaged_archive_is_closed(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, X=np.eye(3), y=np.arange(3))
    content = path.read_bytes()
    at = content.index(b"PK\1\2")
    path.write_bytes(content[: at + 2] + b"\7" + content[at + 3 :])
    assert "central directory" in refusal(path)  # or pytest reports a ResourceWarning


def claiming(shape: str, descr: str = "'<f8'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0\x76\0" + header.encode()


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (claiming("(9223372036854775807,)"), "(9223372036854775807,)"),
        (claiming("(4294967296, 4294967296)"), "(4294967296, 4294967296)"),
        (claiming("(1000000000, 3)", "'|S0'"), "|S0, which holds nothing"),
        (claiming("(-1, 3)"), "(-1, 3)"),
        (claiming("(2, 3)", "'|O'"), "pickle"),
        (claiming("(2, 3)", "'<f8"), "cannot be read: "),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_headers_that_claim_what_is_not_there(tmp_path, header, words, suffix):
    path = tmp_path / f"data.{suffix}"
    if suffix == "npy":
        path.write_bytes(header + bytes(8))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("X.npy", header + bytes(8))
    assert words in refusal(path, "0")


def test_text_that_holds_no_characters(tmp_path):
    wrong = np.array([97, 98, 0x110000], np.uint32).view("<U1")
    np.savez(tmp_path / "data.npz", X=np.eye(3), y=wrong)
    assert "y[2] holds U+110000, which is no character" in refusal(tmp_path / "data.npz")
    np.savez(tmp_path / "data.npz", X=wrong[2:].reshape(()))
    assert "X[] holds U+110000" in refusal(tmp_path / "data.npz")
    np.save(tmp_path / "data.npy", wrong.reshape(3, 1))
    assert "X[2, 0] holds U+110000" in refusal(tmp_path / "data.npy")
    with pytest.raises(InvalidInputError, match=r"y\[2\] holds U\+110000"):
        fastmem.interpolate(np.eye(3), wrong.astype(">U1"))


def test_text_of_many_dimensions():
    with pytest.raises(InvalidInputError, match="is 'a'"):
        check_points(np.full((1,) * 40, "a"))


def test_not_a_number_of_any_bits_is_refused_without_a_warning():
    bits = np.array([0x7FF0000000000001], np.uint64).view(np.float64)  # signals when it is used
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidInputError, match="not a label"):
            check_labels(np.concatenate([bits, [1.0]]), 2)
        with pytest.raises(InvalidInputError, match="NaN or infinite"):
            check_points(bits[:, None])
        long = np.frombuffer(b"\1" + bytes(7) + b"\xff\x7f" + bytes(6), np.longdouble)
        with pytest.raises(InvalidInputError):
            check_points(long[:, None])


def test_labels_that_cannot_be_written_are_one_sentence(tmp_path):
    np.savez(tmp_path / "data.npz", X=np.eye(2), y=np.array(["\ud800", "\x1b[2J"]))
    command = ["fit", str(tmp_path / "data.npz"), "--out", str(tmp_path / "net.npz")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert r"\ud800" in result.stdout and r"\x1b[2J" in result.stdout
    command = ["predict", str(tmp_path / "net.npz"), str(tmp_path / "data.npz"), "--out"]
    result = CliRunner().invoke(app, [*command, str(tmp_path / "labels.csv")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and "cannot be written in utf-8" in result.stderr
    assert sorted(os.listdir(tmp_path)) == ["data.npz", "net.npz"]


def test_the_fuzzer_finds_what_is_wrong(monkeypatch, tmp_path):
    """A file that ends the process, one that takes memory, one that raises: all are found."""
    script = tmp_path / "broken.py"
    script.write_text(
        "import os, sys, fuzzing\n"
        "good = fuzzing.one\n"
        "def one(kind, number, folder):\n"
        "    if number == 7: os.abort()\n"
        "    if number == 9: bytearray(b'x') * (500 << 20)\n"
        "    if number == 11: raise KeyError(number)\n"
        "    return good(kind, number, folder)\n"
        "fuzzing.one = one\n"
        "fuzzing.main()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(fuzzing.__file__).parent))
    counts, faults = fuzzing.run("npy", 6, 14, script=script)
    found = {number: what for number, what, _ in faults}
    assert sorted(found) == [7, 9, 11]
    assert "ended with -6" in found[7] and "took" in found[9] and "KeyError" in found[11]
    assert sum(counts.values()) == 5


def test_same_number_same_input():
    for kind in INPUTS:
        content = fuzzing.the_input(kind, 5)[0]
        assert fuzzing.the_input(kind, 5)[0] == content
        assert len({fuzzing.the_input(kind, n)[0] for n in range(20)}) > 10


def test_npy_headers_of_all_versions(tmp_path):
    X = np.arange(6.0).reshape(3, 2)
    for version in ((1, 0), (2, 0), (3, 0)):
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.lib.format.write_array(buffer, X, version)
        (tmp_path / "X.npy").write_bytes(buffer.getvalue())
        assert read_table(tmp_path / "X.npy", None, labels_required=False)[0].tolist() == X.tolist()
