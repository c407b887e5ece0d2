"""Threads, forks and fresh processes: each case in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fastmem.kernels.threads import ranges, run_tasks

SETUP = """
import multiprocessing, os, threading
import numpy as np, fastmem
from fastmem import datasets
X, y = datasets.two_moons(3000)
def fit(seed=0):
    net = fastmem.interpolate(X, y, seed=seed, n_threads=2)
    assert (net.predict(X, n_threads=2) == y).all()
    return net.widths
"""


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(code)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fits_from_many_threads_at_once_agree():
    run(
        """
        expected = [fit(seed) for seed in range(8)]
        found = [None] * 8
        def work(seed):
            found[seed] = fit(seed)
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert found == expected, (found, expected)
        """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_of_a_process_that_has_run_kernels_can_run_them():
    run(
        """
        import warnings
        warnings.simplefilter("ignore")
        fit()
        for _ in range(3):
            child = os.fork()
            if child == 0:
                fit()
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        """
    )


def test_eight_processes_fill_an_empty_cache_at_once(tmp_path):
    """And again read it: no crash, no damaged cache, the same network in all."""
    code = SETUP + "print(fit())"
    for _ in range(2):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", code],
                env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for _ in range(8)
        ]
        outputs = [child.communicate(timeout=300) for child in children]
        assert [child.returncode for child in children] == [0] * 8, outputs
        assert len({out for out, _ in outputs}) == 1
    assert list(tmp_path.rglob("*.nbc"))


def test_processors_without_wide_vectors_give_the_same_network(tmp_path):
    """Compiled for a generic processor, the register tile is 16 hyperplanes wide, not 64."""
    code = """
    net = fastmem.interpolate(X, y, width=130, seed=3, max_bias=1.0)
    import hashlib
    print(hashlib.sha256(fastmem.sign_patterns(X, net.first)).hexdigest(), net.second.masks.sum())
    from fastmem.kernels.bits import _lanes
    from numba.core.registry import cpu_target
    print(_lanes(cpu_target.target_context))
    """
    native = run(code)
    generic = run(
        code, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=str(tmp_path)
    )
    assert native.splitlines()[0] == generic.splitlines()[0]
    assert generic.splitlines()[1] == "16"


def test_import_compiles_nothing_and_is_light():
    run(
        """
        import sys
        for name in ("scipy.sparse", "pandas", "matplotlib", "rich", "typer", "sklearn", "pyarrow"):
            assert name not in sys.modules, name
        from fastmem.kernels import cover, signs, rows
        for module in (cover, signs, rows):
            for name, kernel in vars(module).items():
                assert not getattr(kernel, "signatures", []), name
        """
    )


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
