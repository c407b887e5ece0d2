"""Compiled kernels that are kept: as long as no source of a kernel changes, and no longer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from fastmem import warming
from fastmem.kernels import compiling

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
HELPER = """
from room.compiling import njit
FACTOR = {factor}

@njit(cache=True)
def scaled(x):
    return FACTOR * x
"""
KERNEL = """
from room.compiling import njit
from room.helper import scaled

@njit(cache=True)
def total(x, y):
    return scaled(x) + scaled(y)
"""
PROGRAM = """
from room.kernel import total
print(total(1, 2), sum(total.stats.cache_hits.values()))
"""
FAILING = """
from room.kernel import total
index = total._cache._cache_file
def full(*_):
    raise OSError(28, "No space left on device")
index._save_data = full
print(total(1, 2))
"""


@pytest.fixture
def room(tmp_path):
    """A package of two kernels, one of which calls the other, with fastmem's decorator."""
    room = tmp_path / "room"
    room.mkdir()
    shutil.copy(compiling.__file__, room / "compiling.py")
    (room / "__init__.py").touch()
    (room / "helper.py").write_text(HELPER.format(factor=10))
    (room / "kernel.py").write_text(KERNEL)
    return room


def run(room, program=PROGRAM, **environment):
    """What a program in a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=room.parent, env=os.environ | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def change(room, factor):
    """As `git pull` does: another helper, in a file of another time."""
    old = (room / "helper.py").stat().st_mtime
    (room / "helper.py").write_text(HELPER.format(factor=factor))
    os.utime(room / "helper.py", (old + 5, old + 5))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_changed_helper_is_used(room, tmp_path, elsewhere):
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")} if elsewhere else {}
    files = tmp_path / "cache" if elsewhere else room / "__pycache__"
    assert run(room, **environment) == [30, 0]
    assert run(room, **environment) == [30, 1]
    kept = sorted(path.name for path in files.rglob("*.nb[ic]"))
    assert len(kept) == 4
    for factor in (20, 30, 10):  # also back again
        change(room, factor)
        assert run(room, **environment) == [3 * factor, 0]
        assert run(room, **environment) == [3 * factor, 1]
        # in place of the old ones: nothing piles up
        assert sorted(path.name for path in files.rglob("*.nb[ic]")) == kept


def test_many_processes_find_a_changed_helper_at_once(room):
    run(room)
    change(room, 20)
    command = [sys.executable, "-c", PROGRAM]
    many = [
        subprocess.Popen(command, cwd=room.parent, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    assert {process.communicate()[0].split()[0] for process in many} == {"60"}
    assert run(room) == [60, 1]


def test_a_new_file_of_the_room_counts_too(room):
    run(room)
    (room / "more.py").write_text("LIMIT = 3\n")
    assert run(room) == [30, 0]
    assert run(room) == [30, 1]


def test_an_old_file_is_never_taken_for_a_new_one(room):
    """A disk that is full, or Ctrl-C, between the index and what it names."""
    assert run(room) == [30, 0]
    change(room, 20)
    assert run(room, FAILING) == [60]
    assert run(room) == [60, 0]
    assert run(room) == [60, 1]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_room(room):
    run(room)
    for path in (room, room / "__pycache__"):
        path.chmod(0o555)
    try:
        assert run(room)[0] == 30
    finally:
        for path in (room, room / "__pycache__"):
            path.chmod(0o755)


def test_a_room_in_an_archive(room, tmp_path):
    shutil.make_archive(str(tmp_path / "rooms"), "zip", tmp_path, "room")
    shutil.rmtree(room)
    assert run(room, PROGRAM, PYTHONPATH=str(tmp_path / "rooms.zip")) == [30, 0]


def test_all_kernels_are_stamped_with_all_sources():
    """Numba's own attributes: another version may have others, which this tells."""
    stamps = {
        kernel._cache._cache_file._source_stamp[1]
        for kernel in warming.kernels()
        if kernel.stats.cache_path is not None
    }
    assert stamps == {compiling._digest()}
    folder = Path(compiling.__file__).parent
    outside = [
        path.name
        for path in folder.parent.rglob("*.py")
        if path.parent != folder and "njit(" in path.read_text(encoding="utf-8")
    ]
    assert outside == []  # as the digest is of this room's files
