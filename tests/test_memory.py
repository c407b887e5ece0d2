"""Memory: what a fit is estimated to take, what it takes, and the refusal where there is less."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

import fastmem
from fastmem import datasets
from fastmem.errors import NotEnoughMemoryError
from fastmem.machine import memory
from fastmem.machine.memory import available, require
from fastmem.patterns import tile_store

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's account")


# The estimate against what is measured ----------------------------------------------------------

MEASURE = """
import json, sys, warnings
import numpy as np, fastmem
from fastmem import datasets
warnings.simplefilter("ignore")

def status(name):
    with open("/proc/self/status") as lines:
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

kind, n, d, settings = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
rng = np.random.default_rng(0)
if kind == "moons":
    X, y = datasets.unit_moons(n)
else:
    kinds = {"many": n // 2, "ten": 10}
    y = rng.integers(0, 2, n) if kind not in kinds else np.arange(n) % kinds[kind]
    X = rng.standard_normal((n, d), dtype=np.float32)
    X[:, 0] += (2 if kind == "noisy" else 20) * y
if kind == "border":  # thousands of neurons, looked for among neighbours
    y = (X @ rng.standard_normal(d) > 0).astype(np.int64)
few = settings | ({"width": 64} if isinstance(settings.get("width"), int) else {})
if kind == "border":  # compiles what few points do not use
    fastmem.interpolate(X[:8000].copy(), y[:8000], seed=0, n_threads=2, **settings)
if settings.get("decision") == "vote":
    some = X[:5000, :300].copy()
    fastmem.interpolate(some, np.arange(len(some)) % 2, width=64, decision="vote")
fastmem.interpolate(X[:200, :300].copy(), np.arange(200) % 2, **few).predict(X[:9, :300])
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
network = fastmem.interpolate(X, y, seed=0, n_threads=2, **settings)
print(status("VmHWM") - before, network.report.estimated_bytes)
"""

SHAPES = {
    "many points": ("moons", 1_000_000, 2, {"width": 1024}),
    "auto": ("moons", 300_000, 2, {}),
    "a long border": ("border", 100_000, 8, {"width": 512}),
    "compact": ("moons", 300_000, 2, {"width": 1024, "compact": True}),
    "relu": ("moons", 300_000, 2, {"width": 256, "activation": "relu"}),
    "many features": ("two", 300, 20_000, {"width": 1000, "projection": "gaussian"}),
    "structured": ("two", 10_000, 784, {"width": 4096}),
    "many classes": ("many", 2000, 20, {"width": 1024}),
    "a vote": ("noisy", 60_000, 20, {"decision": "vote", "width": 1024}),
    "a wide vote": ("ten", 20_000, 300, {"decision": "vote", "width": 4096}),
    "a vote for many classes": ("many", 2000, 20, {"decision": "vote", "width": 1024}),
    "a key": ("two", 200, 150_000, {"width": 512, "memory_limit": "300 MB"}),
}


@linux
@pytest.mark.parametrize("shape", SHAPES)
def test_the_estimate_is_above_what_is_measured_and_not_far(shape):
    kind, n, d, settings = SHAPES[shape]
    if shape == "a key":
        settings = settings | {"projection": "gaussian"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, kind, str(n), str(d), json.dumps(settings)],
        capture_output=True,
        text=True,
        check=True,
    )
    measured, estimated = map(int, done.stdout.split())
    assert measured <= estimated <= 2 * measured + (256 << 20)


@pytest.mark.filterwarnings("ignore::fastmem.UnseparatedWarning")
def test_the_report_tells_the_estimate_of_the_width_that_was_found():
    X, y = datasets.random_labels(2000, 4)
    few = fastmem.interpolate(X, y, width=64, seed=0, max_bias=1.0)
    many = fastmem.interpolate(X, y, seed=0)
    assert many.widths[0] > 64
    words = -(-many.widths[0] // 64) - 1
    assert many.report.estimated_bytes - few.report.estimated_bytes >= 2000 * 8 * words


# What is free -----------------------------------------------------------------------------------

GB = 10**9


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A system of our own: free memory, swap, and the groups of this process."""
    (tmp_path / "self").mkdir()
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    (tmp_path / "meminfo").write_text(
        "MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 8000000 kB\nSwapFree: 1000000 kB\n"
    )
    (tmp_path / "self" / "cgroup").write_text("")
    (tmp_path / "self" / "statm").write_text("100000 1 1 1 0 50000 0\n")
    return tmp_path


def group(path, **files):
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(str(text))


def test_free_on_the_machine(machine):
    assert available() == (9_000_000 * 1024, "are free")
    (machine / "meminfo").write_text("MemTotal: 16000000 kB\n")
    assert available()[0] == np.inf
    (machine / "meminfo").unlink()
    assert available()[0] == np.inf


def test_free_in_a_control_group(machine):
    (machine / "self" / "cgroup").write_text("0::/user.slice/job\n")
    top = machine / "groups"
    inner = top / "user.slice" / "job"
    stat = "anon 5\ninactive_file 300000000\nactive_file 200000000\n"
    group(inner, memory__max="max", memory__current=GB, memory__stat=stat)
    assert available() == (9_000_000 * 1024, "are free")
    group(inner, memory__max=3 * GB)
    assert available() == (2.5 * GB, "are left to the control group of this process")
    group(inner.parent, memory__max=4 * GB, memory__current=3 * GB, memory__stat="")
    assert available()[0] == GB


def test_free_in_a_control_group_of_version_1(machine):
    (machine / "self" / "cgroup").write_text("9:cpu:/x\n4:memory,hugetlb:/docker/abc\n0::/\n")
    # in a container the group is at the top, under a path that is not there
    group(
        machine / "groups" / "memory", memory__limit_in_bytes=2 * GB,
        memory__usage_in_bytes=GB, memory__stat="total_inactive_file 100000000\n",
    )  # fmt: skip
    assert available()[0] == 1.1 * GB
    group(machine / "groups" / "memory", memory__limit_in_bytes=9223372036854771712)
    assert available() == (9_000_000 * 1024, "are free")


def test_free_under_the_limits_of_the_process(machine, monkeypatch):
    resource = pytest.importorskip("resource")
    limits = {resource.RLIMIT_AS: 3 * GB, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], -1))
    page = os.sysconf("SC_PAGE_SIZE")
    assert available() == (3 * GB - 100_000 * page, "are left under the limits of this process")
    limits[resource.RLIMIT_DATA] = GB
    assert available()[0] == GB - 50_000 * page


@linux
def test_what_this_machine_says_is_possible():
    free, _ = available()
    assert 1 << 20 < free < 1 << 50


# The refusal ------------------------------------------------------------------------------------


@pytest.fixture
def free(monkeypatch):
    """Sets what is free."""

    def set_free(n_bytes):
        monkeypatch.setattr(memory, "available", lambda: (n_bytes, "are free"))

    return set_free


def test_small_needs_are_not_compared(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: pytest.fail("took time"))
    require(memory.UNCHECKED - 1, "this", "that")
    X, y = datasets.two_moons(300)
    fastmem.interpolate(X, y, seed=0, n_threads=1).predict(X)


@pytest.mark.parametrize(
    ("X", "y", "settings", "sentence"),
    [
        (
            np.arange(400_000.0)[:, None], np.arange(400_000) > 2, {"width": 2048},
            "a fit of 400,000 points with 2,048 hyperplanes takes up to 259 MB of memory, but "
            "100 MB are free; pass memory_limit= so that sign patterns go to a temporary file, "
            "a smaller width or fewer points",
        ),
        (
            np.eye(9, 20_000), np.arange(9) % 2, {"width": 2048, "projection": "gaussian"},
            "a fit of 9 points with 2,048 hyperplanes takes up to 411 MB of memory, but 100 MB "
            "are free; pass fewer features, a smaller width or fewer points",
        ),
    ],
)  # fmt: skip
def test_a_fit_that_has_no_room_is_refused_before_the_work(X, y, settings, sentence, free):
    free(100 * 10**6)
    calls = []
    with pytest.raises(NotEnoughMemoryError) as caught:
        fastmem.interpolate(
            X, y, **settings, n_threads=1, seed=0, progress=lambda *now: calls.append(now)
        )
    assert str(caught.value) == sentence
    assert isinstance(caught.value, MemoryError) and not calls
    free(500 * 10**6)
    fastmem.interpolate(X[:5], y[:5], **settings, seed=0)


def test_a_vote_of_too_many_features_is_refused_before_the_work(free):
    free(100e6)
    with pytest.raises(NotEnoughMemoryError) as caught:
        fastmem.interpolate(np.eye(3), [0, 1, 0], width=16_384, decision="vote")
    assert str(caught.value) == (
        "a vote of 16,384 features for 3 points takes up to 2.2 GB of memory, but 100 MB are "
        "free; pass a smaller width or fewer points"
    )
    free(10e9)
    with pytest.raises(NotEnoughMemoryError, match=r"a vote of 65,536 features .* 34.5 GB"):
        fastmem.interpolate(np.eye(3), [0, 1, 0], width=65_536, decision="vote")


def test_growth_looks_again(free, monkeypatch):
    """The first width has room, a later one has not: refused before its patterns are made."""
    X, y = datasets.random_labels(2000, 4)
    monkeypatch.setattr(memory, "UNCHECKED", 0)
    free(10**9)
    width = fastmem.interpolate(X, y, seed=0).widths[0]
    assert width > 128
    asked = []
    monkeypatch.setattr(memory, "available", lambda: (asked.append(0) or 10**9, ""))
    fastmem.interpolate(X, y, seed=0)
    n_asked = len(asked)
    assert n_asked > 2

    def less_and_less():
        asked.append(0)
        return 10**9 if len(asked) < n_asked - 1 else 0, "are free"

    asked.clear()
    monkeypatch.setattr(memory, "available", less_and_less)
    with pytest.raises(NotEnoughMemoryError, match=r"growing the sign patterns to .* pass mem"):
        fastmem.interpolate(X, y, seed=0)


def test_a_prediction_that_has_no_room_is_refused(free, monkeypatch):
    monkeypatch.setattr(memory, "UNCHECKED", 10**7)
    X, y = np.arange(6.0)[:, None], np.array([f"a rather long name of class {i}" for i in range(6)])
    network = fastmem.interpolate(X, y, seed=0)
    many = np.zeros((1_000_000, 1), np.float32)
    free(100 * 10**6)
    for predict in (network.predict, network.decision_function):
        with pytest.raises(NotEnoughMemoryError, match=r"a prediction of 1,000,000 points takes"):
            predict(many)
        predict(many[:1000])


def test_a_disk_that_has_no_room_is_told_before_the_work(monkeypatch):
    X, y = datasets.two_moons(2000)
    monkeypatch.setattr(fastmem.inputs.settings, "MEMORY_BESIDE", 0)
    monkeypatch.setattr(tile_store.shutil, "disk_usage", lambda place: SimpleNamespace(free=10_000))
    monkeypatch.setattr("fastmem.problem.extent_of", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(fastmem.InvalidInputError, match=r"go to .*, but there is no room"):
        fastmem.interpolate(X, y, width=200, memory_limit=64_000)


def test_a_system_that_gives_no_memory_for_patterns(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(tile_store.mmap, "mmap", refuse)
    with pytest.raises(NotEnoughMemoryError, match="sign patterns"):
        fastmem.interpolate(*datasets.two_moons(2000), width=200)


def test_commands_refuse_in_one_sentence(free, tmp_path):
    testing = pytest.importorskip("typer.testing")
    pytest.importorskip("pyarrow")
    from fastmem.commands import app

    X, y = datasets.two_moons(200_000)
    np.savez(tmp_path / "data.npz", X=X, y=y)
    out = tmp_path / "net.npz"
    fit = ["fit", str(tmp_path / "data.npz"), "--width", "2048", "--out", str(out)]
    free(20 * 10**6)
    result = testing.CliRunner().invoke(app, fit)
    assert result.exit_code == 2 and result.stdout == "" and not out.exists()
    assert result.stderr.count("\n") == 1 and "are free; pass memory_limit=" in result.stderr
    free(10**9)
    result = testing.CliRunner().invoke(app, fit)
    assert result.exit_code == 0
    assert "bound on the fit's own" in result.stdout and "peak of the process" in result.stdout


@linux
def test_a_real_limit_is_met_with_the_sentence():
    """Where the address space is limited, nothing fails in the middle of the work."""
    code = """
import resource, numpy as np, fastmem
from fastmem import datasets
X, y = datasets.unit_moons(200_000)
fastmem.interpolate(X, y, width=64, seed=0)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * 4096 + (150 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    fastmem.interpolate(X, y, width=8192, seed=0)
except fastmem.memory.NotEnoughMemoryError as error:
    print(error)
network = fastmem.interpolate(X, y, width=128, seed=0)
assert (network.predict(X) == y).all()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "are left under the limits of this process; pass memory_limit=" in done.stdout


@linux
def test_an_npz_bomb_is_refused_before_it_is_read(free, tmp_path):
    """300 KB that unpack to 300 MB."""
    from fastmem.tables import read_table

    path = tmp_path / "data.npz"
    header = (
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (40000000, 1), }".ljust(117) + b"\n"
    )
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("X.npy", "w") as member,
    ):
        member.write(b"\x93NUMPY\1\0\x76\0" + header)
        for _ in range(320):
            member.write(bytes(10**6))
    free(200 * 10**6)
    with pytest.raises(NotEnoughMemoryError, match=r"takes up to 320 MB of memory"):
        read_table(path, None, labels_required=False)


def test_threads_that_cannot_be_started_are_done_without(monkeypatch):
    import threading

    from fastmem.machine.threads import run_tasks

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = []
    run_tasks(done.append, range(10), 4)
    assert sorted(done) == list(range(10))
