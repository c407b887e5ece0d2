"""What README.md promises, by its numbers, on real data sets through the public names only."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from interrupting import interrupt

import fastmem
from fastmem import datasets

SELECTIONS = ["random", "merge"]
KINDS = [("random", "gaussian"), ("merge", "gaussian"), ("merge", "structured")]


def sklearn_set(name):
    from sklearn import datasets as bundled

    return getattr(bundled, f"load_{name}")(return_X_y=True)


def equal_in_float32():
    rng = np.random.default_rng(0)
    X = 1.0 + rng.integers(0, 2**20, (800, 3)) * 2.0**-50
    assert len(np.unique(X.astype(np.float32), axis=0)) == 1
    assert len(np.unique(X, axis=0)) == 800
    return X, rng.integers(0, 2, 800)


def at_latitudes():
    X, y = datasets.two_moons(3000)
    return X * [1e-3, 1e-4] + [52.52, 13.405], y


def at_time_stamps():
    X, y = datasets.two_moons(3000)
    return X * [3600.0, 1.0] + [1.7e9, 0.0], y


def alternating():
    """No two neighbours on a line have the same label: as many hyperplanes as points."""
    return np.arange(300.0)[:, None], np.arange(300) % 2


def neighbouring_floats():
    X = np.full((40, 2), 1.0)
    X[:, 1] += np.arange(40) * np.spacing(1.0)
    return X, np.arange(40) // 3 % 2


def extreme_scales():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((200, 3)) * [1e-300, 1.0, 1e250]
    return X, rng.integers(0, 3, 200)


SETS = {
    "two moons": lambda: datasets.two_moons(2000),
    "digits": lambda: sklearn_set("digits"),
    "iris": lambda: sklearn_set("iris"),
    "breast cancer": lambda: sklearn_set("breast_cancer"),
    "coin flips": lambda: datasets.random_labels(5000, 50),
    "parallel lines": lambda: datasets.parallel_lines(2000, 1e-6),
    "latitudes": at_latitudes,
    "time stamps": at_time_stamps,
    "equal in float32": equal_in_float32,
    "alternating": alternating,
    "neighbouring floats": neighbouring_floats,
    "extreme scales": extreme_scales,
}


def distinct(X, y):
    """The first of each group of equal points."""
    _, first = np.unique(X, axis=0, return_index=True)
    return X[np.sort(first)], np.asarray(y)[np.sort(first)]


def same_network(a, b):
    for name in ("weights", "biases"):
        np.testing.assert_array_equal(getattr(a.first, name), getattr(b.first, name))
    for name in ("masks", "thresholds", "owners"):
        np.testing.assert_array_equal(getattr(a.second, name), getattr(b.second, name))
    assert a.covered == b.covered


# --- 1: right on every training point, in any batching, also after save and load ----------------


@pytest.mark.parametrize(("selection", "projection"), KINDS)
@pytest.mark.parametrize("name", SETS)
def test_invariant_1_every_training_point_is_right(name, selection, projection, tmp_path):
    X, y = distinct(*SETS[name]())
    network = fastmem.interpolate(X, y, selection=selection, projection=projection, seed=1)
    assert len(network.report.unseparated) == 0
    np.testing.assert_array_equal(network.predict(X), y)
    assert network.score(X, y) == 1.0
    for some in (slice(0, 1), slice(5, 70), slice(None, None, 3)):
        np.testing.assert_array_equal(network.predict(X[some]), y[some])
    network.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(fastmem.load(tmp_path / "net.npz").predict(X), y)


@pytest.mark.parametrize("name", SETS)
def test_invariant_1_one_at_a_time_equals_the_batch(name):
    X, y = distinct(*SETS[name]())
    network = fastmem.interpolate(X, y, seed=2)
    margins = network.decision_function(X)
    for i in range(len(X)):
        assert network.predict(X[i : i + 1])[0] == y[i]
    for i in range(0, len(X), 17):
        np.testing.assert_array_equal(network.decision_function(X[i : i + 1])[0], margins[i])


@pytest.mark.slow
def test_invariant_1_a_million_points_one_at_a_time():
    X, y = datasets.unit_moons(1_000_000)
    network = fastmem.interpolate(X, y, seed=0)
    assert network.score(X, y) == 1.0
    one_by_one = np.array([network.predict(X[i : i + 1])[0] for i in range(len(X))])
    np.testing.assert_array_equal(one_by_one, y)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(2, 40), st.integers(1, 3)),
        elements=st.floats(-2, 2, width=32),
    ),
    st.data(),
)
def test_invariant_1_any_points_without_contradictions(X, data):
    X = np.unique(X, axis=0)
    if len(X) < 2:
        return
    labels = st.lists(st.integers(0, 2), min_size=len(X), max_size=len(X))
    y = np.array(data.draw(labels.filter(lambda y: len(set(y)) > 1)))
    covered = data.draw(st.sampled_from(["auto", "all", int(y[0])]) if len(set(y)) == 2 else
                        st.sampled_from(["auto", "all"]))  # fmt: skip
    selection = data.draw(st.sampled_from(SELECTIONS))
    network = fastmem.interpolate(X, y, covered=covered, selection=selection, seed=0)
    np.testing.assert_array_equal(network.predict(X), y)


def test_invariant_1_contradictions_are_named():
    X = np.random.default_rng(0).standard_normal((50, 3))
    X[[7, 30]], X[41] = X[3], X[2]
    y = np.arange(50) % 2
    y[[3, 7, 30]], y[[2, 41]] = [0, 1, 0], [0, 1]
    with pytest.raises(fastmem.ContradictionError) as caught:
        fastmem.interpolate(X, y)
    assert caught.value.pairs == [(2, 41), (3, 7)] and caught.value.count == 5
    assert "5 points" in str(caught.value) and "rows 3 (0) and 7 (1)" in str(caught.value)
    y[[7, 41]] = 0
    assert fastmem.interpolate(X, y, seed=0).score(X, y) == 1.0


def test_invariant_1_zeros_of_both_signs_are_one_point():
    with pytest.raises(fastmem.ContradictionError):
        fastmem.interpolate(np.array([[0.0], [-0.0], [1.0]]), [0, 1, 1])


@pytest.mark.parametrize("name", SETS)
def test_invariant_1_a_vote_is_right_on_every_training_point(name, tmp_path):
    X, y = distinct(*SETS[name]())
    network = fastmem.interpolate(X, y, decision="vote", seed=1)
    assert len(network.report.unseparated) == 0 and network.readout is not None
    np.testing.assert_array_equal(network.predict(X), y)
    for some in (slice(0, 1), slice(5, 70), slice(None, None, 3)):
        np.testing.assert_array_equal(network.predict(X[some]), y[some])
    for i in range(0, len(X), 3):
        assert network.predict(X[i : i + 1])[0] == y[i]
    network.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(fastmem.load(tmp_path / "net.npz").predict(X), y)


# --- 2: with a given width, exactly the points that cannot be covered are wrong -----------------


@pytest.mark.parametrize(("selection", "projection"), KINDS)
@pytest.mark.parametrize("covered", ["auto", "all", [1, 0], [0, 2]])
@pytest.mark.parametrize("width", [1, 5, 20, 65])
def test_invariant_2_unseparated_points_are_the_uncoverable_ones(
    selection, projection, covered, width
):
    rng = np.random.default_rng(width)
    X = rng.standard_normal((400, 4)).astype(np.float32)
    y = rng.integers(0, 3, 400)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = fastmem.interpolate(
            X, y, width=width, selection=selection, projection=projection, covered=covered, seed=3
        )
    bits = oracle.exact_bits_filtered(X, network.first.weights, network.first.biases)
    expected = [
        np.flatnonzero(y == c)[oracle.uncoverable(bits[y == c], bits[y != c])]
        for c in network.covered
    ]
    expected = np.sort(np.concatenate(expected))
    np.testing.assert_array_equal(network.report.unseparated, expected)
    wrong = np.flatnonzero(network.predict(X) != y)
    assert np.isin(wrong, expected).all()
    if covered == "auto" or isinstance(covered, list):
        np.testing.assert_array_equal(wrong, expected)
    messages = [str(w.message) for w in caught if w.category is fastmem.UnseparatedWarning]
    assert len(messages) == (len(expected) > 0)
    if messages:
        assert messages[0].startswith(f"{len(expected)} of 400 training points")
        assert "width='auto'" in messages[0]


def test_invariant_2_holds_for_max_width_too():
    X, y = datasets.random_labels(500, 4)
    with pytest.warns(fastmem.UnseparatedWarning):
        network = fastmem.interpolate(X, y, max_width=10, seed=0)
    assert network.widths[0] == 10
    wrong = np.flatnonzero(network.predict(X) != y)
    np.testing.assert_array_equal(wrong, network.report.unseparated)


def test_invariant_2_holds_for_the_exceptions_of_a_vote():
    X, y = datasets.random_labels(500, 4)
    with pytest.warns(fastmem.UnseparatedWarning, match="of 500 training points"):
        network = fastmem.interpolate(X, y, decision="vote", max_width=10, seed=0)
    wrong = np.flatnonzero(network.predict(X) != y)
    assert len(wrong)
    np.testing.assert_array_equal(wrong, network.report.unseparated)


# --- 3: the same network for any number of threads ----------------------------------------------


@pytest.mark.parametrize(("selection", "projection"), KINDS)
@pytest.mark.parametrize("width", ["auto", 300])
def test_invariant_3_threads_change_nothing(selection, projection, width):
    X, y = sklearn_set("digits")
    settings = {"width": width, "selection": selection, "projection": projection, "seed": 7}
    networks = [fastmem.interpolate(X, y, **settings, n_threads=n) for n in (1, 2, 3, 8)]
    for other in networks[1:]:
        same_network(networks[0], other)
    margins = [net.decision_function(X[:500], n_threads=n) for n, net in enumerate(networks, 1)]
    for other in margins[1:]:
        np.testing.assert_array_equal(margins[0], other)


@pytest.mark.parametrize("width", ["auto", 300])
def test_invariant_3_threads_change_no_vote(width):
    X, y = sklearn_set("digits")
    settings = {"width": width, "decision": "vote", "seed": 7}
    networks = [fastmem.interpolate(X, y, **settings, n_threads=n) for n in (1, 2, 3, 8)]
    votes = networks[0].decision_function(X)
    for n, other in enumerate(networks[1:], 1):
        same_network(networks[0], other)
        for name in ("offsets", "weights", "intercepts", "gains", "key", "exponent", "temperature"):
            np.testing.assert_array_equal(
                getattr(networks[0].readout, name), getattr(other.readout, name)
            )
        np.testing.assert_array_equal(other.decision_function(X, n_threads=n), votes)


def test_invariant_3_the_seed_in_the_report_repeats_the_fit():
    X, y = datasets.two_moons(500)
    first = fastmem.interpolate(X, y)
    same_network(first, fastmem.interpolate(X, y, seed=first.report.seed))
    seeds = np.random.SeedSequence(5)
    same_network(fastmem.interpolate(X, y, seed=seeds), fastmem.interpolate(X, y, seed=seeds))
    other = fastmem.interpolate(X, y, seed=6)
    assert not np.array_equal(first.first.weights, other.first.weights)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_invariant_3_the_form_of_the_input_changes_nothing(dtype):
    import scipy.sparse

    X, y = datasets.two_moons(700)
    X = X.astype(np.float32).astype(dtype)
    network = fastmem.interpolate(X, y, seed=1)
    strided = np.zeros((1400, 4), dtype)
    strided[::2, ::2] = X
    for form in (np.asfortranarray(X), strided[::2, ::2], scipy.sparse.csr_array(X), X.tolist()):
        same_network(network, fastmem.interpolate(form, y, seed=1))


# --- 4: memory ----------------------------------------------------------------------------------

MEMORY = """
import sys, numpy as np, fastmem
from fastmem import datasets
from fastmem.machine.clock import peak_bytes
X, y = datasets.two_moons(1000)
fastmem.interpolate(X, y, width=64, seed=0).predict(X)
rng = np.random.default_rng(0)
X = np.concatenate([rng.uniform(0, 1, (150_000, 2)), rng.uniform(2, 3, (150_000, 2))])
y = np.repeat([0, 1], 150_000)
before = peak_bytes()
limit = int(sys.argv[2]) or None
network = fastmem.interpolate(
    X, y, width=4096, selection=sys.argv[1], max_bias=3.0, seed=0, memory_limit=limit
)
assert (network.report.file_bytes > 0) == bool(limit)
assert (network.predict(X) == y).all()
print(peak_bytes() - before - (0 if limit else 300_000 * 4096 // 8))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's account")
@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("limit", [0, (256 << 20) + 32 * 300_000])
def test_invariant_4_memory_is_the_patterns_and_a_bounded_rest(selection, limit):
    """Bytes that a fit of 300,000 points and a predict take beyond the 154 MB of its patterns.

    With the smallest limit these are in a file, whose resident pages count.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, selection, str(limit)],
        capture_output=True,
        text=True,
        check=True,
    )
    # 154 MB of patterns in memory would not fit
    assert int(done.stdout) < (150 << 20 if limit else 256 << 20)


VOTE_MEMORY = """
import sys, numpy as np, fastmem
from fastmem.machine.clock import peak_bytes
kind = sys.argv[1]
rng = np.random.default_rng(0)
X = rng.standard_normal((5000, 20), dtype=np.float32)
for classes in (2, 3):
    y = np.arange(5000) % classes
    fastmem.interpolate(X, y, width=64, decision="vote", seed=0, n_threads=2).predict(X)
if kind == "noisy":
    X = rng.standard_normal((60_000, 20), dtype=np.float32)
    y = (X[:, 0] + X[:, 1] ** 2 + 0.1 * rng.standard_normal(60_000) > 1).astype(int)
elif kind == "classes":
    X, y = rng.standard_normal((20_000, 6)), np.arange(20_000) % 1000
    X[:, 0] += y
else:
    X = rng.standard_normal((10_000, 784), dtype=np.float32)
    y = np.arange(10_000) % 10
    X[:, :10] += 4 * np.eye(10, dtype=np.float32)[y]
before = peak_bytes()
settings = {"width": 4096 if kind == "wide" else 64}
network = fastmem.interpolate(X, y, decision="vote", seed=0, n_threads=2, **settings)
assert (network.predict(X) == y).all()
print(peak_bytes() - before - len(X) * 512 // 8)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's account")
@pytest.mark.parametrize("kind", ["noisy", pytest.param("classes", marks=pytest.mark.slow), "wide"])
def test_invariant_4_memory_of_a_vote_is_bounded(kind):
    """Beyond the input and the patterns, whatever features, classes and points there are."""
    done = subprocess.run(
        [sys.executable, "-c", VOTE_MEMORY, kind],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 256 << 20


# --- 5: nothing foreign reaches a kernel: tests/test_inputs.py holds the table ------------------


def test_invariant_5_no_kernel_reads_out_of_bounds(tmp_path):
    """Fits and predictions of awkward sizes with Numba's bounds checks on."""
    code = """
import numpy as np, fastmem
rng = np.random.default_rng(0)
for n_samples in (2, 3, 5, 6, 7, 191, 192, 193, 385):
    for d in (1, 2, 513):
        X = rng.standard_normal((n_samples, d))
        y = np.arange(n_samples) % min(3, n_samples)
        net = fastmem.interpolate(X, y, decision="vote", width=64, seed=0)
        assert net.score(X, y) == 1
        for selection in ("random", "merge"):
            for width in ("auto", 129):
                net = fastmem.interpolate(X, y, width=width, selection=selection, seed=0)
                assert net.score(X, y) == 1 or width != "auto"
                net.decision_function(X[:1])
"""
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": "1",
        # kernels cached without the checks must not be found
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONWARNINGS": "ignore",
    }
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=1000)


# --- 6: Ctrl-C ----------------------------------------------------------------------------------

LONG_FIT = """
import sys, numpy as np, fastmem
rng = np.random.default_rng(0)
X = rng.standard_normal((60_000, 40)).astype(np.float32)
y = rng.integers(0, 2, 60_000)
fastmem.interpolate(X[:300], y[:300], selection=sys.argv[1], seed=0)
print("go", flush=True)
try:
    fastmem.interpolate(X, y, width=4096, selection=sys.argv[1], n_threads=int(sys.argv[2])).save(
        sys.argv[3])
except KeyboardInterrupt:
    sys.exit(3)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_invariant_6_ctrl_c_ends_a_long_fit(selection, n_threads, tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", LONG_FIT, selection, str(n_threads), str(tmp_path / "net.npz")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "go\n"
    # one second by the contract, of each thread; and a process is to end
    interrupt(child, after=1.0 * n_threads, most=1.0 * n_threads + 0.5)
    assert child.returncode == 3
    assert not list(tmp_path.iterdir())


LONG_VOTE = """
import sys, numpy as np, fastmem
rng = np.random.default_rng(0)
stage, n_threads = sys.argv[1], int(sys.argv[2])
for classes in (2, 3):
    X, y = rng.standard_normal((5000, 40)), rng.integers(0, classes, 5000)
    fastmem.interpolate(X[:5000:40], y[:5000:40], decision="vote", seed=0)
    fastmem.interpolate(X, np.arange(5000) % classes, decision="vote", width=64, seed=0)
settings = {}
if stage == "classes":
    X, y = rng.standard_normal((30_000, 40)), np.arange(30_000) % 5000
    settings["width"] = 1024
else:
    X, y = rng.standard_normal((60_000, 40)), np.arange(60_000) % 10
    settings["width"] = 8192 if stage == "factor" else 512
print("go", flush=True)
try:
    fastmem.interpolate(
        X, y, decision="vote", seed=0, n_threads=n_threads, **settings).save(sys.argv[3])
except KeyboardInterrupt:
    sys.exit(3)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize(
    ("stage", "seconds", "n_threads"),
    [("factor", 2.0, 2), ("factor", 5.0, 1), ("classes", 1.0, 2), ("classes", 4.0, 1),
     ("selection", 4.0, 2)],
)  # fmt: skip
def test_invariant_6_ctrl_c_ends_a_long_vote(stage, seconds, n_threads, tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", LONG_VOTE, stage, str(n_threads), str(tmp_path / "net.npz")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "go\n"
    interrupt(child, after=seconds * n_threads, most=1.0 * n_threads + 0.5)
    assert child.returncode == 3
    assert not list(tmp_path.iterdir())
