"""Threads, forks and fresh processes: each case in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numba
import pytest

import fastmem

PACKAGE = Path(fastmem.__file__).parent

SETUP = """
import multiprocessing, os, threading
import numpy as np, fastmem
from fastmem import datasets
X, y = datasets.two_moons(3000)
many, labels_of_many = datasets.two_moons(60_000)
def fit(seed=0):
    net = fastmem.interpolate(X, y, seed=seed, n_threads=2)
    assert (net.predict(X, n_threads=2) == y).all()
    # so large that its loops run side by side
    large = fastmem.interpolate(many, labels_of_many, width=1024, seed=seed, n_threads=2)
    assert large.score(many, labels_of_many) == 1
    return net.widths, large.widths
"""

LAYERS = ("default", "omp", "tbb", "workqueue")


@pytest.fixture(params=LAYERS)
def layer(request):
    """Environment variables that ask for one of Numba's threading layers."""
    asked = {"NUMBA_THREADING_LAYER": request.param}
    if request.param == "tbb":
        # the package index puts its library where no loader looks
        path = os.pathsep.join([os.environ.get("LD_LIBRARY_PATH", ""), f"{sys.prefix}/lib"])
        asked["LD_LIBRARY_PATH"] = path
        found = subprocess.run(
            [sys.executable, "-c", "import ctypes; ctypes.CDLL('libtbb.so.12')"],
            env=os.environ | asked, capture_output=True,
        )  # fmt: skip
        if found.returncode:
            pytest.skip("TBB is not installed")
    return asked


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(code)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=1000,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fits_from_many_threads_at_once_agree(layer):
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

        # one network that many threads use at once, fresh from a pickle: nothing is computed yet
        import pickle
        wide = np.random.default_rng(0).standard_normal((3000, 130))
        for points, projection in ((X, "gaussian"), (wide, "structured")):
            net = fastmem.interpolate(points, y, width=300, projection=projection, seed=0)
            right = net.predict(points)
            for _ in range(5):
                shared, found = pickle.loads(pickle.dumps(net)), [None] * 8
                def work(i):
                    found[i] = shared.predict(points, n_threads=2)
                threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
                assert all((labels == right).all() for labels in found)
        """,
        **layer,
    )


def test_joblib_and_multiprocessing_give_the_same_network(layer):
    """Under threads, loky, fork, spawn and forkserver, after this process has run kernels."""
    pytest.importorskip("sklearn")
    run(
        """
        if __name__ == "__main__":
            import functools, warnings
            import joblib
            from fastmem.sklearn import InterpolatingClassifier
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
            def same(net):
                return all(
                    (getattr(net.second, name) == getattr(expected.second, name)).all()
                    for name in ("masks", "thresholds", "owners")
                ) and (net.first.weights == expected.first.weights).all()
            Classifier = functools.partial(
                InterpolatingClassifier, decision="cells", random_state=0
            )
            expected = fastmem.interpolate(X, y, seed=0)
            parts, labels = np.array_split(X, 4), expected.predict(X)
            def predictions_are_right(found):
                return (np.concatenate(found) == labels).all()
            for backend in ("threading", "loky"):
                with joblib.parallel_config(backend, n_jobs=2):
                    run = joblib.Parallel()
                    models = run(
                        joblib.delayed(Classifier(n_jobs=n).fit)(X, y)
                        for n in (1, 2, -1, None)
                    )
                    assert all(same(model.network_) for model in models), backend
                    assert predictions_are_right(
                        run(joblib.delayed(models[0].predict)(part) for part in parts)
                    ), backend
            fit()  # its loops run side by side, so that the layer has started before the forks
            fit = functools.partial(fastmem.interpolate, X, y, seed=0)
            for method in ("fork", "spawn", "forkserver"):
                if method not in multiprocessing.get_all_start_methods():
                    continue
                with multiprocessing.get_context(method).Pool(2) as pool:
                    fits = [pool.apply_async(fit, kwds={"n_threads": n}) for n in (1, 2)]
                    assert all(same(found.get(900)) for found in fits), method
                    assert predictions_are_right(pool.map(expected.predict, parts)), method
        """,
        **layer,
    )


def test_environment_variables_change_no_network():
    code = """
    import hashlib
    names = np.array(["sun", "moon", "star"])[np.arange(len(y)) % 3]
    net = fastmem.interpolate(X, names, covered={"sun", "moon", "star"}, seed=4)
    print(hashlib.sha256(net.second.masks).hexdigest(), net.covered, net.predict(X[:9]))
    """
    names = (
        "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED",
    )  # fmt: skip
    few = run(code, **dict.fromkeys(names, "1"))
    assert run(code, **dict.fromkeys(names, "3"), NUMBA_THREADING_LAYER="omp") == few


SIGNS = """
import numpy as np, fastmem
from fastmem.kernels import signs
X = np.array([[1.0, 2.0], [-1.0, 0.5]])
words = fastmem.sign_patterns(X, fastmem.Hyperplanes(np.eye(2, dtype=np.float32), np.zeros(2)))
print(fastmem.__file__, words.ravel(), signs.pattern_words.stats.cache_path is None)
"""


def run_elsewhere(code, path, home):
    """Run code with the package at ``path`` and with no other place for caches than ``home``."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment
        | dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(home))
        | {"PYTHONPATH": str(path)},
        cwd=path if path.is_dir() else path.parent,
        capture_output=True,
        text=True,
        timeout=1000,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing to keep without the JIT")
def test_no_directory_for_the_cache(tmp_path):
    """A read-only installation without a home: kernels are compiled, but not kept."""
    shutil.copytree(PACKAGE, tmp_path / "fastmem", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "fastmem" / "kernels" / "__pycache__").write_text("a file, so no directory")
    nowhere = tmp_path / "fastmem" / "kernels" / "__pycache__" / "home"
    found = run_elsewhere(SIGNS, tmp_path, nowhere)
    assert found.split() == [str(tmp_path / "fastmem" / "__init__.py"), "[3", "2]", "True"]


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing to keep without the JIT")
def test_zip_archive(tmp_path):
    """From a zip archive kernels are kept in the user's cache, if there can be one."""
    archive = tmp_path / "site.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for source in PACKAGE.rglob("*.py"):
            file.write(source, source.relative_to(PACKAGE.parent))
    found = run_elsewhere(SIGNS, archive, tmp_path / "home")
    assert found.split() == [str(archive / "fastmem" / "__init__.py"), "[3", "2]", "False"]
    assert list((tmp_path / "home").rglob("*.nbc"))
    found = run_elsewhere(SIGNS, archive, archive / "home")
    assert found.split() == [str(archive / "fastmem" / "__init__.py"), "[3", "2]", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_of_a_process_that_has_run_kernels_can_run_them(layer):
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
        """,
        **layer,
    )


def test_eight_processes_fill_an_empty_cache_at_once(tmp_path):
    """And again read it: no crash, no damaged cache, the same network in all."""
    # a small fit: each process compiles all that it calls
    code = SETUP + "print(fastmem.interpolate(X, y, width=64, selection='random', seed=0).widths)"
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
        try:
            outputs = [child.communicate(timeout=1000) for child in children]
        finally:
            for child in children:  # no longer in the way of other tests
                child.kill()
        assert [child.returncode for child in children] == [0] * 8, outputs
        assert len({out for out, _ in outputs}) == 1
    assert list(tmp_path.rglob("*.nbc"))


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing to compile without the JIT")
def test_after_warmup_nothing_compiles():
    """Fits call what it has called, of the same types; and another process reads all of it."""
    run("fastmem.warmup()")  # of the cache of all other tests, as an empty one takes minutes
    run(
        """
        assert fastmem.warmup() == 0
        from scipy import sparse
        from fastmem.warming import kernels
        known = {kernel: set(kernel.signatures) for kernel in kernels()}
        generator = np.random.default_rng(1)
        labels = np.arange(200) % 3
        fits = (
            {}, {"compact": True}, {"margin": 0.5}, {"selection": "random"},
            {"width": "smallest"}, {"projection": "structured"},
            {"projection": "structured", "compact": True}, {"covered": "all", "center": False},
            {"decision": "vote", "width": 64}, {"objective": "bytes"},
        )
        few = {"projection": "gaussian", "memory_limit": "270 MB"}
        for dtype in (np.float32, np.float64):
            for d, zeros in ((3, 0), (64, 0), (300, 0), (300, 0.97), (20_000, 0), (20_000, 0.99)):
                points = generator.standard_normal((200, d)).astype(dtype)
                points[generator.random(points.shape) < zeros] = 0
                points[:, 0] = generator.standard_normal(200)
                rows = sparse.csr_matrix(points) if zeros else points
                for settings in fits if d < 1000 else (few,):
                    net = fastmem.interpolate(rows, labels, seed=0, **settings)
                    net.predict(rows)
                    net.decision_function(points)
        assert "SeededHyperplanes" in repr(net.first)
        from fastmem.experiments.hardness import hardness
        from fastmem.geometry.covering import mutual_covering
        for dtype in (np.float32, np.float64):
            points = generator.standard_normal((200, 5)).astype(dtype)
            mutual_covering(points, labels == 1)
            hardness(points, labels, n_hyperplanes=100)
            for selection in ("merge", "random"):
                fastmem.interpolate(
                    points, labels, activation="relu", selection=selection
                ).predict(points)
        net = fastmem.interpolate(
            generator.standard_normal((200, 512)), labels, width=1024, projection="structured"
        )
        fastmem.sign_patterns(np.ones((200, 512)), net.first.subset(np.arange(1, 1024)))
        more = {
            kernel.__name__: set(kernel.signatures) - known[kernel]
            for kernel in kernels() if set(kernel.signatures) - known[kernel]
        }
        assert not more, more
        """
    )


def test_processors_without_wide_vectors_give_the_same_network(tmp_path):
    """Compiled for a generic processor, the register tile is 16 hyperplanes wide, not 64."""
    code = """
    net = fastmem.interpolate(X, y, width=130, seed=3, max_bias=1.0)
    import hashlib
    print(hashlib.sha256(fastmem.sign_patterns(X, net.first)).hexdigest(), net.second.masks.sum())
    from fastmem.kernels.products import lanes_of
    from numba.core.registry import cpu_target
    print(lanes_of(cpu_target.target_context))
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
        for name in ("scipy.sparse", "pandas", "matplotlib", "rich", "typer", "sklearn", "pyarrow",
                     "polars", "joblib", "fastmem.sklearn", "fastmem.commands"):
            assert name not in sys.modules, name
        from fastmem.warming import kernels
        for kernel in kernels():
            assert not kernel.signatures, kernel
        """
    )


def test_documented_modules_are_imported_when_they_are_asked_for():
    pages = Path(fastmem.__file__).parent / "docs" / "pages" / "reference" / "api"
    text = "".join(page.read_text(encoding="utf-8") for page in pages.glob("*.md"))
    named = re.findall(r"(?m)^::: fastmem\.([a-z]+)(?=[.\n])", text)
    modules = {name for name in named if find_spec(f"fastmem.{name}")} - {"separate"}
    assert {"compact", "dask", "datasets", "plots", "ray", "sklearn", "tables"} <= modules
    code = f"""
        import types, fastmem
        for name in {sorted(modules)}:
            assert isinstance(getattr(fastmem, name), types.ModuleType), name
        assert not hasattr(fastmem, "commands")
        """
    run_as_is(code)


def test_modules_of_extras_that_are_not_installed():
    """Programs look through modules; who asks for one is told what to install."""
    run_as_is(
        """
        import inspect, sys
        absent = {"dask": "dask", "ray": "ray", "sklearn": "sklearn"}
        sys.modules |= dict.fromkeys(absent.values())
        import fastmem
        assert inspect.getmembers(fastmem)
        for name, extra in absent.items():
            assert not hasattr(fastmem, name), name
            for ask in (f"fastmem.{name}.any", f"from fastmem import {name}"):
                try:
                    exec(ask)
                except (AttributeError, ImportError) as error:
                    assert extra in str(error) and "install" in str(error), error
                else:
                    raise AssertionError(ask)
        """
    )


def run_as_is(code):
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=True)
