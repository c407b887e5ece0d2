"""No room or no permission to write: one sentence, the old file intact, nothing left behind."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import numpy as np
import pytest

import fastmem
from fastmem import datasets, inputs
from fastmem.inputs import InvalidInputError
from fastmem.tables import write_labels

resource = pytest.importorskip("resource")


@pytest.fixture(scope="module")
def moons():
    return datasets.two_moons(400, 0.08, seed=3)


@pytest.fixture(scope="module")
def network(moons):
    return fastmem.interpolate(*moons, width=256, projection="structured", seed=0)


# What cannot be written ------------------------------------------------------------------------


@contextlib.contextmanager
def no_large_files(folder: Path, size: int = 400):
    """Files of this process may have ``size`` bytes: writing more is EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def full_disk(folder: Path):
    """A file system of a page for the old file and one more: writing more is ENOSPC."""
    command = ["mount", "-t", "tmpfs", "-o", "size=8k,mode=755", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system may be mounted here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no page on the disk."""
    with contextlib.suppress(OSError), open(folder / "filled", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@contextlib.contextmanager
def write_protected(folder: Path):
    """A directory without permission to write, which counts for root too while this lasts."""
    folder.chmod(0o555)
    try:
        with without_privileges():
            try:
                (folder / "trial").touch()
            except PermissionError:
                yield folder
            else:
                pytest.skip("root may write everywhere, and cannot give that up here")
    finally:
        folder.chmod(0o755)


@contextlib.contextmanager
def without_privileges():
    """Give up, on this thread and for a while, root's right to write where no one may."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    if libc.capget(header, sets):
        pytest.skip(f"capabilities cannot be read: {os.strerror(ctypes.get_errno())}")
    before = sets[0]
    sets[0] = before & ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    libc.capset(header, sets)
    try:
        yield
    finally:
        sets[0] = before
        libc.capset(header, sets)


PLACES = [no_large_files, full_disk, write_protected]


def to_onnx(path, network, moons):
    pytest.importorskip("onnx")
    from fastmem.export import to_onnx

    to_onnx(network, path)


def to_c(path, network, moons):
    from fastmem.export import to_c

    to_c(network, path)


def picture(path, network, moons):
    pytest.importorskip("matplotlib")
    from fastmem.plots.regions import save_decision_regions

    save_decision_regions(path, network, *moons)


def study_picture(path, network, moons):
    figures = pytest.importorskip("matplotlib.figure")
    from fastmem.experiments.pictures import save_picture

    save_picture(figures.Figure(), path)


TEXTS = np.array([f"label {i}" for i in range(2000)])
WRITERS = {
    "net.npz": lambda path, network, moons: network.save(path),
    "labels.csv": lambda path, network, moons: write_labels(path, TEXTS),
    "labels.npy": lambda path, network, moons: write_labels(path, np.arange(2000)),
    "net.h": to_c,
    "net.onnx": to_onnx,
    "regions.png": picture,
    "regions.svg": picture,
    "study.png": study_picture,
}


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", WRITERS)
def test_what_cannot_be_written_leaves_all_as_it_was(
    name, place, is_there, tmp_path, network, moons
):
    from fastmem.commands.application import _sentence

    WRITERS[name](tmp_path / name, network, moons)  # and imports what it needs
    assert (tmp_path / name).stat().st_size > 400
    folder = tmp_path / "here"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        if place is full_disk:
            stack.enter_context(place(folder))
        if is_there:
            (folder / name).write_text("old")
        if place is full_disk:
            fill(folder)
        else:
            stack.enter_context(place(folder))
        before = sorted(os.listdir(folder))
        with pytest.raises((OSError, InvalidInputError)) as caught:
            WRITERS[name](folder / name, network, moons)
        sentence = _sentence(caught.value)
        assert str(folder / name) in sentence and "\n" not in sentence
        reasons = {
            no_large_files: os.strerror(errno.EFBIG),
            full_disk: os.strerror(errno.ENOSPC),
            write_protected: os.strerror(errno.EACCES),
        }
        assert reasons[place] in sentence or "no room" in sentence
        assert sorted(os.listdir(folder)) == before
        if is_there:
            assert (folder / name).read_text() == "old"


# Tables of studies grow row by row -------------------------------------------------------------


def test_a_table_of_results_that_cannot_grow_goes_on_later(tmp_path):
    from fastmem.experiments.running import run
    from fastmem.experiments.studies import make_study, read_axes

    axes = read_axes(["n=10,20,30"])
    X, y = datasets.two_moons(60, seed=0)
    study = make_study("grid", axes=axes, trials=2, seed=0, data=(X, y))
    whole = run(study, tmp_path / "whole.csv", workers=1)
    content = (tmp_path / "whole.csv").read_bytes()
    assert len(whole) >= 3
    for size in (10, 150, len(content) - 5):
        path = tmp_path / f"{size}.csv"
        with pytest.raises(OSError) as caught, no_large_files(tmp_path, size):
            run(study, path, workers=1)
        assert caught.value.filename == str(path)
        assert content.startswith(path.read_bytes() if path.exists() else b"")
        assert path.exists() == (size > 150) or size == 150
        run(study, path, workers=1)
        assert path.read_bytes().count(b"\n") == content.count(b"\n")


# Scratch files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [no_large_files, full_disk, write_protected])
def test_patterns_that_find_no_room_are_one_sentence(place, tmp_path, monkeypatch, moons):
    monkeypatch.setattr(inputs.settings, "MEMORY_BESIDE", 0)
    settings = {"width": 4096, "memory_limit": 32 * 400, "seed": 0}
    fastmem.interpolate(*moons, **settings)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with place(tmp_path), pytest.raises(InvalidInputError) as caught:
        fastmem.interpolate(*moons, **settings)
    sentence = str(caught.value)
    assert str(tmp_path) in sentence and "TMPDIR" in sentence and "memory_limit" in sentence
    assert os.listdir(tmp_path) == []


# The command line -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_commands_refuse_in_one_sentence(place, tmp_path, moons):
    testing = pytest.importorskip("typer.testing")
    pytest.importorskip("pyarrow")
    from fastmem.commands import app

    data, net = str(tmp_path / "data.npz"), str(tmp_path / "net.npz")
    np.savez(data, X=moons[0], y=moons[1])
    fit = ["fit", data, "--width", "256", "--seed", "0", "--out"]
    predict = ["predict", net, data, "--out"]
    export = ["export", net, "--out"]
    calls = {
        "net.npz": fit, "labels.csv": predict, "labels.npy": predict, "net.h": export,
        "demo.png": ["demo", "--samples", "500", "--width", "64", "--seed", "2", "--out"],
    }  # fmt: skip
    assert testing.CliRunner().invoke(app, [*fit, net]).exit_code == 0
    folder = tmp_path / "here"
    folder.mkdir()
    for name, call in calls.items():
        first = testing.CliRunner().invoke(app, [*call, str(tmp_path / f"first-{name}")])
        assert first.exit_code == 0, first.stderr
    with place(folder):
        if place is full_disk:
            fill(folder)
        before = os.listdir(folder)
        for name, call in calls.items():
            result = testing.CliRunner().invoke(app, [*call, str(folder / name)])
            assert result.exit_code == 2, (name, result.stdout, result.exception)
            assert result.stderr.count("\n") == 1 and str(folder / name) in result.stderr
            assert os.listdir(folder) == before


def test_points_for_workers_that_find_no_room_are_named(tmp_path):
    from fastmem.tables import save_array

    with pytest.raises(OSError) as caught, no_large_files(tmp_path):
        save_array(tmp_path / "X.npy", np.zeros(100))
    assert caught.value.filename == str(tmp_path / "X.npy")


def test_a_complexity_report_that_cannot_be_written_is_one_sentence(tmp_path, moons):
    testing = pytest.importorskip("typer.testing")
    pytest.importorskip("skdim")
    pytest.importorskip("matplotlib")
    from fastmem.commands import app

    np.savez(tmp_path / "data.npz", X=moons[0][:80], y=moons[1][:80])
    (tmp_path / "here").mkdir()
    call = ["complexity", str(tmp_path / "data.npz"), "--width", "64", "--trials", "1", "--seed=0"]
    for option, name in {"--json": "net.json", "--points": "points.csv", "--out": "p.html"}.items():
        path = tmp_path / "here" / name
        path.write_text("old")
        with no_large_files(path.parent, 200):
            result = testing.CliRunner().invoke(app, [*call, option, str(path)])
        assert result.exit_code == 2, (result.stderr, result.exception)
        assert result.stderr.count("\n") == 1 and str(path) in result.stderr
        assert os.listdir(path.parent) == [name] and path.read_text() == "old"
        path.unlink()


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing to keep without the JIT")
def test_a_full_disk_keeps_no_kernels_but_runs_them(tmp_path):
    (tmp_path / "doubling.py").write_text(
        "import resource, sys\n"
        "from fastmem.kernels.compiling import njit\n"
        "@njit(cache=True)\n"
        "def double(x):\n"
        "    return 2 * x\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)\n"
        "print(double(21))\n"
    )
    for size, is_kept in ((100, False), (1 << 20, True)):
        done = subprocess.run(
            [sys.executable, str(tmp_path / "doubling.py"), str(size)],
            env=os.environ | {"PYTHONPATH": str(Path(fastmem.__file__).parents[1])},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout == "42\n", done.stderr
        assert any(tmp_path.rglob("*.nbc")) == is_kept


def test_the_limits_of_this_test_hold(tmp_path):
    with no_large_files(tmp_path), pytest.raises(OSError, match="File too large"):
        (tmp_path / "large").write_bytes(bytes(1000))
    (tmp_path / "large").write_bytes(bytes(1000))
