"""Studies on an executor: the table of one process, byte for byte."""

from __future__ import annotations

import warnings
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from fastmem import InvalidInputError, UnseparatedWarning
from fastmem.experiments import running
from fastmem.experiments.study import measure
from tests.test_experiments import assert_refused, reproduce, small_moons


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    path = tmp_path_factory.mktemp("moons") / "moons.csv"
    running.run(small_moons(), path, workers=1)
    return path.read_bytes()


@pytest.mark.parametrize("fewest", [1, 2, 16])
def test_the_table_is_that_of_one_process(fewest, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_FEWEST_ASKED", fewest)
    monkeypatch.setattr(running, "_ASKED_BYTES", 0)
    path, told = tmp_path / "moons.csv", []
    with ThreadPoolExecutor(2) as pool:
        found = running.run(
            small_moons(), path, executor=pool, progress=lambda *done: told.append(done)
        )
    assert path.read_bytes() == expected and len(found) == 6
    assert not any(UnseparatedWarning in some for some in warnings.filters)
    assert told == [("trials", 3 * i, 18, 0) for i in range(7)]


def test_processes_may_do_it_and_a_study_goes_on_by_it(expected, tmp_path):
    path = tmp_path / "moons.csv"
    path.write_bytes(b"".join(expected.splitlines(keepends=True)[:-4]))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        running.run(small_moons(), path, executor=pool)
    assert path.read_bytes() == expected


def test_not_too_many_points_are_under_way(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_FEWEST_ASKED", 2)
    waiting, most = [], []

    class Slow:
        def submit(self, work, *arguments, **more):
            waiting.append(1)
            most.append(len(waiting))
            future = Future()

            def result():
                waiting.pop()
                return work(*arguments, **more)

            future.result = result
            return future

    monkeypatch.setattr(running, "_ASKED_BYTES", 1)
    running.run(small_moons(), tmp_path / "few.csv", executor=Slow())
    assert max(most) == 2
    monkeypatch.setattr(running, "_ASKED_BYTES", 1 << 20)
    running.run(small_moons(), tmp_path / "all.csv", executor=Slow())
    assert max(most) == 6


def test_refusals_and_failures_name_the_cell_and_leave_nothing(tmp_path, monkeypatch):
    done = []

    class Failing:
        def __init__(self, error):
            self._error = error

        def submit(self, work, cell, points, **more):
            future = Future()
            if len(done) == 1:
                future.set_exception(self._error)
            elif not done:
                future.set_result(measure(cell, points, **more))
            done.append(future)
            return future

    with pytest.raises(InvalidInputError, match="no good"):
        running.run(
            small_moons(), tmp_path / "a.csv", executor=Failing(InvalidInputError("no good"))
        )
    assert all(future.cancelled() for future in done[2:]) and len(done) == 6
    done.clear()
    with pytest.raises(RuntimeError, match=r"A worker failed in Cell\(.*\): OSError\('gone'\)"):
        running.run(small_moons(), tmp_path / "b.csv", executor=Failing(OSError("gone")))
    assert (tmp_path / "b.csv").read_text().count("\n") == (tmp_path / "a.csv").read_text().count(
        "\n"
    )
    with pytest.raises(InvalidInputError, match="both given; leave out workers"):
        running.run(small_moons(), tmp_path / "c.csv", workers=2, executor=Failing(None))


@pytest.fixture(scope="module")
def scheduler():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        processes=False,
        threads_per_worker=1,
        protocol="tcp://",
        dashboard_address=":0",
        memory_limit=0,  # this process may have much of other tests
    ) as cluster:
        yield cluster.scheduler_address


GRID = ("--trials", 3, "--grid", "n=20,60", "--grid", "lambda=0,0.5,1")


def test_a_study_on_a_dask_cluster(scheduler, expected, tmp_path):
    path = tmp_path / "moons.csv"
    result = reproduce("moons", "--out", path, *GRID, "--executor", scheduler)
    assert result.exit_code == 0 and path.read_bytes() == expected


def test_what_is_no_cluster_is_refused(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr("fastmem.machine.clusters.TO_CONNECT", 0.5)
    path = tmp_path / "moons.csv"
    result = reproduce("moons", "--out", path, *GRID, "--executor", "tcp://127.0.0.1:9")
    assert_refused(result, "no scheduler of Dask answers at 'tcp://127.0.0.1:9'")
    both = reproduce("moons", "--out", path, *GRID, "--executor", scheduler, "--workers", 2)
    assert_refused(both, "leave them out with --executor")
    assert not path.exists()
