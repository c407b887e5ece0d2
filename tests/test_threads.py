"""Loops and calls on several cores: by prange, by plain threads, on one; and which it is to be."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_processes import layer, run  # noqa: F401  a fixture

from fastmem.kernels.compiling import njit
from fastmem.kernels.queue import new_queue, take
from fastmem.machine import loops, threading_layer
from fastmem.machine.loops import run_calls, run_loop
from fastmem.machine.threads import ranges, run_tasks

WAYS = ("prange", "threads")
needs_jit = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="needs compiled kernels")


@njit(nogil=True)
def add_numbers(queue, stop, out, size):
    """out[task] += task + 1; it works in ``size`` numbers."""
    room = np.empty(size, np.float64)
    while True:
        task = take(queue)
        if task >= stop:
            return
        room[0] = task
        out[task] += np.int64(room[0]) + 1


@njit(nogil=True)
def double(pair, factor):
    """pair[1] = factor pair[0], arrays of any length."""
    source, target = pair
    for i in range(source.shape[0]):
        target[i] = factor * source[i]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    if request.param == "threads":
        monkeypatch.setattr(loops, "may_use_prange", lambda: False)
    elif not loops.may_use_prange():
        pytest.skip("this machine has no threading layer for prange")
    return request.param


def test_every_task_of_a_loop_is_done_once(way):
    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 300), st.integers(1, 5), st.sampled_from([None, 1, 7, 400]))
    def check(n_tasks, n_threads, most):
        out, launches = np.zeros(n_tasks, np.int64), []
        run_loop(
            add_numbers, n_tasks, n_threads, (out, 1), most,
            lambda first, last: launches.append((first, last, out[:last].all())),
        )  # fmt: skip
        np.testing.assert_array_equal(out, np.arange(n_tasks) + 1)
        bounds = [0] + [last for _, last, _ in launches]
        assert [first for first, _, _ in launches] == bounds[:-1] and bounds[-1] == n_tasks
        assert all(done for *_, done in launches)
        assert most is None or all(last - first <= most for first, last, _ in launches)

    check()


@needs_jit
def test_calls_with_different_arguments_run_side_by_side(way):
    generator = np.random.default_rng(0)
    for n_calls in (0, 1, 2, 3, 17):
        calls = []
        for _ in range(n_calls):
            source = generator.standard_normal(generator.integers(0, 2000))
            calls.append(((source, np.empty_like(source)), 3.0))
        for n_threads in (1, 2, 5):
            for (_, target), _ in calls:
                target[:] = 0
            run_calls(double, calls, n_threads)
            for (source, target), _ in calls:
                np.testing.assert_array_equal(target, 3.0 * source)


@needs_jit
def test_a_worker_without_memory_is_an_error(way):
    out = np.zeros(100, np.int64)
    with pytest.raises(MemoryError):
        run_loop(add_numbers, 100, 2, (out, 1 << 55))


@needs_jit
def test_the_callers_mask_of_threads_is_left_as_it_was(way):
    before = numba.get_num_threads()
    out = np.zeros(1000, np.int64)

    def interrupt(first, last):
        raise KeyboardInterrupt

    for mask in (1, before):
        numba.set_num_threads(mask)
        run_loop(add_numbers, 1000, 2, (out, 1))
        assert numba.get_num_threads() == mask
        with pytest.raises(KeyboardInterrupt):
            run_loop(add_numbers, 1000, 2, (out, 1), 10, interrupt)
        assert numba.get_num_threads() == mask


def test_a_queue_gives_each_number_once():
    queue = new_queue()
    assert [int(take(queue)) for _ in range(5)] == list(range(5))


def test_ranges_tile_what_they_cut():
    assert ranges(0, 3) == []
    assert ranges(7, 3) == [(0, 3), (3, 6), (6, 7)]


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_every_task_runs_once_and_errors_come_out(n_threads):
    done = np.zeros(100, int)

    def work(i):
        done[i] += 1

    run_tasks(work, range(100), n_threads)
    assert (done == 1).all()

    def fail(i):
        done[i] += 1
        if i == 30:
            raise KeyError(i)

    with pytest.raises(KeyError, match="30"):
        run_tasks(fail, range(100), n_threads)
    assert done.sum() < 100 + 100


# Which it is to be --------------------------------------------------------------------------------


@needs_jit
def test_a_fit_uses_the_layer_that_was_asked_for_but_never_workqueue(layer):  # noqa: F811
    asked = layer["NUMBA_THREADING_LAYER"]
    found = run(
        """
        from numba.np.ufunc import parallel
        from fastmem.machine.threading_layer import may_use_prange
        assert parallel._threading_layer is None
        may = may_use_prange()
        assert parallel._threading_layer is None  # asking starts nothing
        assert "GOMP_SPINCOUNT" not in os.environ
        fit()
        print(may, parallel._threading_layer)
        """,
        **layer,
    ).split()
    if asked == "workqueue":
        assert found == ["False", "None"]
    elif found[0] == "True":
        assert found[1] in ("omp", "tbb") if asked == "default" else found[1] == asked
    else:
        assert found == ["False", "None"]


@needs_jit
def test_without_openmp_and_tbb_plain_threads_do_it():
    """As in a container without libgomp: its module of Numba's cannot be imported."""
    code = """
    import sys
    sys.modules["numba.np.ufunc.omppool"] = sys.modules["numba.np.ufunc.tbbpool"] = None
    from numba.np.ufunc import parallel
    from fastmem.machine.threading_layer import may_use_prange
    assert not may_use_prange()
    print(fit())
    assert parallel._threading_layer is None
    """
    assert run(code) == run("print(fit())")


@needs_jit
def test_a_child_uses_plain_threads_where_a_layer_had_started():
    run(
        """
        import warnings
        warnings.simplefilter("ignore")
        from fastmem.machine.threading_layer import may_use_prange
        fit()
        if may_use_prange():
            child = os.fork()
            if child == 0:
                os._exit(3 if may_use_prange() else 7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        """
    )


@needs_jit
@pytest.mark.skipif(not hasattr(threading_layer.os, "fork"), reason="needs fork")
def test_a_child_that_was_forked_before_it_imported_fastmem():
    """Somebody's own parallel kernel has run before: GNU OpenMP would end the child."""
    code = textwrap.dedent(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        import numba, numpy as np
        @numba.njit(parallel=True)
        def total(x):
            s = 0.0
            for i in numba.prange(len(x)):
                s += x[i]
            return s
        total(np.ones(100_000))
        child = os.fork()
        if child:
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 7)
        import fastmem
        from fastmem import datasets
        X, y = datasets.two_moons(60_000)
        net = fastmem.interpolate(X, y, width=1024, seed=0, n_threads=2)
        os._exit(7 if net.score(X, y) == 1 else 1)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=1000)
    assert done.returncode == 0, done.stderr


@needs_jit
def test_inside_a_callers_parallel_region_plain_threads_do_it():
    run(
        """
        import ctypes, numba
        from fastmem.machine.threading_layer import may_use_prange
        found = []
        def look(number):
            found.append((may_use_prange(), fit(number)))
            return 0
        callback = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(look)
        @numba.njit(parallel=True, nogil=True)
        def region(n):
            for i in numba.prange(n):
                callback(i)
        outside = [fit(i) for i in range(2)]
        region(2)
        assert sorted(widths for _, widths in found) == sorted(outside)
        if numba.threading_layer() == "omp":
            assert not any(may for may, _ in found)
        """
    )
