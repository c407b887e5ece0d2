"""Fits of points on shards: byte for byte the files of one machine."""

from __future__ import annotations

import pickle
import random
import re
import tempfile
import warnings
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastmem
from fastmem import datasets
from fastmem.distributed import fitting, remote_points, window
from fastmem.distributed.fitting import interpolate_on
from fastmem.distributed.numbering import Placing
from fastmem.distributed.parts import Part
from fastmem.distributed.region import Region
from fastmem.distributed.shard import Shard, StaleShard
from fastmem.distributed.transport import ATTEMPTS, LocalShards, LostShardError
from fastmem.inputs import equal_rows
from fastmem.inputs import points as points_of_fits
from fastmem.patterns import bounded_tiles, neighbourhoods
from fastmem.second_layer import merged_cells, near_cells, random_order
from fastmem.second_layer.class_cover import ClassCover


def blobs(n=300, d=6, n_classes=4, dtype=np.float64, noise=1.0):
    rng = np.random.default_rng(11)
    centres = rng.integers(-12, 13, (3 * n_classes, d)) / 8
    which = rng.integers(0, len(centres), n)
    X = centres[which] + noise * rng.integers(-500, 501, (n, d)) / 1024
    return X.astype(dtype), which % n_classes


def coins(n=160, d=12, n_classes=3):
    rng = np.random.default_rng(3)
    X = (rng.integers(-2048, 2049, (n, d)) / 1024).astype(np.float32)
    return X, rng.integers(0, n_classes, n)


def wide():
    X, y = coins(150, 130, 4)
    return X, np.array(["b", "c", "Zürich", ""])[y]


def in_units():
    X, y = blobs()
    return X * [1e-3, 1, 50, 1e4, 7, 1], y


def contradicting():
    X, y = blobs(150)
    return np.concatenate([X[:12], X]), np.concatenate([(y[:11] + 1) % 4, [9], y])


def repeating(n=60, times=3, as_sparse=False):
    """Equal points in turns, a few of them with other labels."""
    X, y = blobs(n)
    rows = np.random.default_rng(2).permutation(np.arange(n * times) % n)
    y = y[rows]
    y[5:9] = (y[5:9] + 1) % 4
    y[20] = 7
    X = X[rows]
    X[rows == 3, 2] = 0.0
    X[np.flatnonzero(rows == 3)[0], 2] = -0.0
    return (sparse.csr_matrix(X) if as_sparse else X), y


def repeating_rarely():
    X, y = rare(80)
    rows = np.random.default_rng(2).permutation(np.arange(200) % 80)
    return X[rows], y[rows]


def rare(n=150, d=300, each=9):
    """CSR points of few values; the first two are as near as floats can be."""
    rng = np.random.default_rng(7)
    values = rng.integers(1, 64, (n, each)) / 16
    columns = rng.integers(0, d - each, (n, 1)) + np.arange(each)
    columns[1], values[1] = columns[0], values[0]
    values[1, 0] = np.nextafter(values[0, 0], 9)
    starts = np.arange(0, each * n + 1, each)
    y = rng.integers(0, 3, n)
    y[:2] = 0, 1
    return sparse.csr_matrix((values.ravel(), columns.ravel(), starts), (n, d)), y


def rather_dense():
    X, y = blobs(150)
    return sparse.csr_matrix(X), y


CASES = {
    "random": (blobs, dict(width=120, selection="random")),
    "merge": (blobs, dict(width=120)),
    "auto, random": (coins, dict(selection="random")),
    "auto, merge": (coins, {}),
    "too narrow": (coins, dict(width=9)),
    "completed": (coins, dict(width=9, complete=True)),
    "limited": (coins, dict(max_width=20, selection="random")),
    "margin, merge": (blobs, dict(width=200, margin=0.3)),
    "margin, random": (blobs, dict(width=200, margin=0.3, selection="random")),
    "margin, auto": (coins, dict(margin=0.5)),
    "all covered": (blobs, dict(covered="all", selection="random")),
    "some covered": (blobs, dict(covered=[0, 1, 3], width=100)),
    "structured": (wide, dict(width=100)),
    "structured, auto": (wide, dict(selection="random")),
    "gaussian, norms": (wide, dict(projection="gaussian", max_bias="norms", center=False)),
    "std": (in_units, dict(scale="std", width=90)),
    "scaled where it pays": (in_units, {}),
    "contradictions": (contradicting, dict(width=70)),
    "majority": (contradicting, dict(contradictions="majority")),
    "sparse": (rare, dict(width=90, selection="random")),
    "sparse, auto": (rare, dict(scale="std")),
    "sparse, structured": (rare, dict(projection="structured", margin=0.2)),
    "sparse as dense": (rather_dense, {}),
    "repeats": (repeating, dict(width=80)),
    "repeats, majority": (repeating, dict(contradictions="majority", scale="std")),
    "repeats, sparse": (repeating_rarely, {}),
    "repeats, sparse as dense": (lambda: repeating(as_sparse=True), dict(width=60)),
    "moons": (lambda: datasets.two_moons(400, seed=5), dict(max_bias=3.0)),
}


def bytes_of(net):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.npz"
        net.save(path)
        return path.read_bytes()


def fit_here(X, y, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        return fastmem.interpolate(X, y, seed=1, n_threads=1, **parameters)


@cache
def on_one_machine(name):
    make, parameters = CASES[name]
    X, y = make()
    return X, y, fit_here(X, y, **parameters)


def shards_of(X, y, cuts, owners, n_shards):
    """Parts between cuts, each on its owner's shard."""
    bounds = [0, *sorted(cuts), X.shape[0]]
    shards = [[] for _ in range(n_shards)]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        owner = owners[number % len(owners)] % n_shards
        shards[owner].append(Part(number, X[start:stop], y[start:stop]))
    return shards


def fit(transport, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        return interpolate_on(transport, seed=1, **{"n_threads": 1, **parameters})


def agree(found, expected):
    """Same file, and the same rows told of."""
    assert bytes_of(found) == bytes_of(expected)
    for name in ("unseparated", "contradictory", "relabelled"):
        mine, theirs = getattr(found.report, name), getattr(expected.report, name)
        assert np.array_equal(mine, theirs), name
    assert found.report.n_distinct == expected.report.n_distinct
    assert str(found.report.scale) == str(expected.report.scale)
    assert [(s.width, s.kind) for s in found.report.growth] == [
        (s.width, s.kind) for s in expected.report.growth
    ]


def losing(seed, share=0.03):
    """What loses a shard now and then, but never where the seed is 0."""
    luck = random.Random(seed)  # not hypothesis's, which would find five losses in a row
    return lambda shard: bool(seed) and luck.random() < share


def agree_on_parts(known, partitioning, seed, **parameters):
    """Fit points, of which the network on one machine is ``known``, in any parts, with losses."""
    X, y, expected = known
    shards = shards_of(X, y, *partitioning)
    agree(fit(LocalShards(shards, losing(seed)), **parameters), expected)


def agree_after_losses(known, cuts, rounds, **parameters):
    """The same where some of three shards are lost before one of ``rounds(n_rounds)``."""
    X, y, expected = known
    shards = shards_of(X, y, cuts, [0, 1, 2], 3)
    transport = LocalShards(shards)
    fit(transport, **parameters)
    for lost in rounds(transport.n_rounds):
        transport = LocalShards(shards)
        lose_once(transport, lost + 1, {lost % 3, 2})
        agree(fit(transport, **parameters), expected)
        assert transport.n_lost == (len({lost % 3, 2}) if lost else 0)  # at first there is no state


partitionings = st.tuples(
    st.lists(st.integers(0, 150), max_size=12),
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.integers(1, 4),
)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=6)
@given(partitionings, st.integers(0, 2**32))
@example(([], [0], 1), 0)
@example(([0, 0, 1, 2, 3, 150, 150], [2], 4), 0)
def test_the_file_of_one_machine_whatever_the_parts(name, partitioning, seed):
    agree_on_parts(on_one_machine(name), partitioning, seed, **CASES[name][1])


@pytest.mark.parametrize("name", ["random", "auto, merge", "margin, merge"])
def test_parts_of_one_class_and_of_one_row(name):
    X, y, _ = on_one_machine(name)
    rows = np.argsort(y, kind="stable")
    X, y = X[rows], y[rows]
    expected = fit_here(X, y, **CASES[name][1])
    borders = np.flatnonzero(np.diff(y)) + 1
    cuts = [*borders, borders[0] + 1, borders[1] - 1]
    for owners in ([0, 1, 2, 3], [3, 2, 1, 0, 0]):
        agree(fit(LocalShards(shards_of(X, y, cuts, owners, 5)), **CASES[name][1]), expected)


@pytest.mark.parametrize(
    "name", ["random", "auto, merge", "scaled where it pays", "repeats, majority"]
)
def test_a_shard_may_be_lost_before_any_round(name):
    agree_after_losses(
        on_one_machine(name), [40, 60, 100, 101], lambda n: range(0, n, 1 if n < 50 else 7),
        **CASES[name][1],
    )  # fmt: skip


def lose_once(transport, n_rounds, which):
    """Let some shards be lost before a round."""
    left = set(which)

    def loses(shard):
        is_lost = transport.n_rounds == n_rounds and shard in left
        left.discard(shard if is_lost else None)
        return is_lost

    transport._loses = loses


@pytest.mark.parametrize("name", ["repeats", "repeats, sparse", "majority"])
def test_points_of_one_hash_are_told_apart(monkeypatch, name):
    """Hashes of 2 bits; points that count once, but for a copy of them, are in no array."""
    original = equal_rows._hashes_of
    coarse = lambda block, is_sparse: original(block, is_sparse) & np.uint64(3)  # noqa: E731
    monkeypatch.setattr(equal_rows, "_hashes_of", coarse)
    monkeypatch.setattr(equal_rows, "look_repeated", lambda points: True)
    monkeypatch.setattr(points_of_fits, "BLOCK_BYTES", 256)
    make, parameters = CASES[name]
    X, y = make()
    expected = fit_here(X, y, **parameters)
    for cuts, owners in (([30, 31, 100], [0, 1]), ([90], [1, 0, 2])):
        agree(
            fit(LocalShards(shards_of(X, y, cuts, owners, 3), n_threads=2), **parameters), expected
        )


def test_a_shard_that_is_lost_again_and_again_is_named():
    X, y, _ = on_one_machine("merge")
    transport = LocalShards(shards_of(X, y, [10, 20, 30], [0, 1], 2))
    calls = []
    transport._loses = lambda shard: transport.n_rounds > 9 and shard == 1 and not calls.append(1)
    words = f"shard 1, which holds the parts [1, 3], was lost {ATTEMPTS} times"
    with pytest.raises(LostShardError, match=re.escape(words)):
        fit(transport, width=120)
    assert len(calls) == ATTEMPTS


def test_two_fits_on_the_same_shards_do_not_mix():
    X, y, expected = on_one_machine("merge")
    transport = LocalShards(shards_of(X, y, [40, 90], [0, 1], 2))
    others, begins = [], {5, 12}

    def begin_another(shard):
        if transport.n_rounds in begins:
            begins.discard(transport.n_rounds)
            others.append(fit(transport, width=60, selection="random"))
        return False

    transport._loses = begin_another
    agree(fit(transport, **CASES["merge"][1]), expected)
    other = fit_here(X, y, width=60, selection="random")
    assert len(others) == 2 and all(bytes_of(net) == bytes_of(other) for net in others)


def test_a_shard_at_another_number_does_nothing():
    X, y = blobs(40)
    shard = Shard([Part(0, X, y)])
    placing = Placing(np.arange(4), 6, "float64", np.bincount(y)[None])
    assert shard.run(0, [("place", placing), ("extremes",)])[0] is None
    for seq in (0, 2):
        with pytest.raises(StaleShard, match=f"at 1, not at {seq}"):
            shard.run(seq, [("be_at", 7)])
    shard.run(1, [("be_at", 7)])
    with pytest.raises(ValueError, match="_codes is no command"):
        shard.run(7, [("_codes",)])


def test_threads_of_shards_change_nothing():
    X, y, expected = on_one_machine("margin, merge")
    transport = LocalShards(shards_of(X, y, [50, 200], [0, 1], 2), n_threads=3)
    agree(fit(transport, n_threads=2, **CASES["margin, merge"][1]), expected)


def test_pools_and_orders_may_be_small(monkeypatch):
    """Pools that do not hold a class, orders from keys, stretches and hashes of a few."""
    monkeypatch.setattr(merged_cells, "_POOL_WORDS", 600)
    monkeypatch.setattr(random_order, "MOST_SHUFFLED", 50)
    monkeypatch.setattr(window, "_LEAST", 5)
    monkeypatch.setattr(window, "_MOST", 37)
    monkeypatch.setattr(remote_points, "_HASHES", 64)
    X, y = blobs(1500, noise=1.5)
    for parameters in (dict(width=130), dict(selection="random"), dict(width=130, margin=0.2)):
        expected = fit_here(X, y, **parameters)
        transport = LocalShards(shards_of(X, y, [400, 900, 1400], [0, 1], 3))
        agree(fit(transport, **parameters), expected)


def test_named_points_that_were_forgotten_are_fetched_again(monkeypatch):
    monkeypatch.setattr("fastmem.distributed.remote_cover._NAMED_BYTES", 100)
    X, y, expected = on_one_machine("margin, merge")
    transport = LocalShards(shards_of(X, y, [50, 200], [0, 1], 2))
    agree(fit(transport, **CASES["margin, merge"][1]), expected)


def noisy(n=4000, flips=0.05):
    rng = np.random.default_rng(1)
    X = rng.integers(-3000, 3001, (n, 3)) / 1024
    y = (X[:, 0] + 0.25 * X[:, 1] > 0).astype(int)
    return X, np.where(rng.random(n) < flips, 1 - y, y)


@pytest.mark.parametrize("width", [256, "auto"])
def test_the_papers_neurons_are_the_same_where_one_machine_looks_among_neighbours(
    monkeypatch, width
):
    X, y = noisy()
    monkeypatch.setattr(neighbourhoods, "NEIGHBOURS", "always")
    expected = fit_here(X, y, width=width, selection="random")
    transport = LocalShards(shards_of(X, y, [1500], [0, 1], 2))
    agree(fit(transport, width=width, selection="random"), expected)


@pytest.mark.parametrize("parameters", [{}, dict(width=256), dict(width=256, margin=0.3)], ids=str)
@pytest.mark.parametrize("mode", ["neighbours", "bounds"])
def test_merged_cells_grow_among_neighbours_as_on_one_machine(monkeypatch, mode, parameters):
    if mode == "bounds":
        monkeypatch.setattr(bounded_tiles, "MODE", "always")
        monkeypatch.setattr(near_cells, "MANY_BOUNDED", 16)
    X, y = noisy()
    expected = fit_here(X, y, **parameters)
    taken_over = []
    take_over = ClassCover.take_over
    monkeypatch.setattr(
        ClassCover, "take_over", lambda *covers: taken_over.append(take_over(*covers))
    )
    for cuts, owners, n_shards in ([1500], [0, 1], 2), ([0, 0, 10, 11, 3999], [1, 0, 2], 3):
        transport = LocalShards(shards_of(X, y, cuts, owners, n_shards))
        agree(fit(transport, **parameters), expected)
    assert taken_over


def test_patterns_of_the_ground_come_once_and_again_where_a_shard_was_lost(monkeypatch):
    X, y = noisy()
    expected = fit_here(X, y, width=256)
    stand, stood, lost = Region.stand, [], set()

    def standing(self, *arguments):
        found = stand(self, *arguments)
        stood.append((arguments[-1] is not None, found))  # with bits of what was there
        return found

    monkeypatch.setattr(Region, "stand", standing)
    shards = shards_of(X, y, [1500], [0, 1], 2)
    agree(fit(LocalShards(shards), width=256), expected)
    assert stood[:2] == [(False, True)] * 2 and set(stood[2:]) == {(True, True)}
    n_stood = len(stood)
    transport = LocalShards(shards, lambda shard: shard in lost and not lost.discard(shard))
    call = transport.call

    def losing(*arguments):
        if len(stood) == n_stood + 2 and not transport.n_lost:  # its region goes
            lost.add(1)
        return call(*arguments)

    monkeypatch.setattr(transport, "call", losing)
    agree(fit(transport, width=256), expected)
    assert transport.n_lost and (False, True) in stood[n_stood + 2 :]
    # where shards have another ground than the driver takes them to have
    monkeypatch.setattr(Region, "stand", lambda self, version, *some: (
        stand(self, version, *some[:-2], -2, some[-1]) if some[-1] is not None
        else stand(self, version, *some)
    ))  # fmt: skip
    agree(fit(LocalShards(shards), width=256), expected)


def test_few_merged_cells_are_the_same_where_neighbours_are_asked(monkeypatch):
    monkeypatch.setattr(neighbourhoods, "NEIGHBOURS", "always")
    X, y = datasets.two_moons(3000, seed=2)
    expected = fit_here(X, y, width=200)
    agree(fit(LocalShards(shards_of(X, y, [1500], [0, 1], 2)), width=200), expected)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
@pytest.mark.parametrize("scaled_too", [False, True])
@pytest.mark.parametrize("as_sparse", [False, True])
def test_products_with_scales_are_refused_as_on_one_machine(unit, scaled_too, as_sparse):
    """Where one of them is rounded or infinite, not where the extremes alone would let it be."""
    X, y = blobs()
    X[40:, 5] *= unit
    X[:40, 5] = 0.0
    scale = np.ones(6)
    scale[5 if scaled_too else 0] = 2.0 ** (500 if unit > 1 else -500)
    X = sparse.csr_matrix(X) if as_sparse else X
    parameters = dict(width=64, scale=scale, center=False)
    transport = LocalShards(shards_of(X, y, [20, 90], [1, 0], 3))
    if scaled_too:
        with pytest.raises(fastmem.InvalidInputError) as expected:
            fit_here(X, y, **parameters)
        with pytest.raises(fastmem.InvalidInputError, match=re.escape(str(expected.value))):
            fit(transport, **parameters)
    else:
        agree(fit(transport, **parameters), fit_here(X, y, **parameters))


@pytest.mark.parametrize(
    "parameters",
    [
        dict(objective="bytes"), dict(activation="relu"),
        dict(compact=True), dict(width="smallest"), dict(memory_limit="1 GiB"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_for_one_machine_is_refused(parameters):
    X, y = blobs(60)
    ((name, value),) = parameters.items()
    words = rf"{name}.*is for points on one machine; leave it out, or fit a sample there"
    with pytest.raises(fastmem.InvalidInputError, match=words):
        fit(LocalShards([[Part(0, X, y)]]), **parameters)


X, Y = blobs(60)
WRONG = {
    "not finite": (
        [Part(0, X, Y), Part(1, np.where(X[7, 2] == X, np.inf, X), Y)],
        r"in part 1, X\[7, 2\] is inf, and 1 of 360 values",
    ),
    "misaligned": ([Part(0, X, Y[:-1])], "part 0 has 60 rows and 59 labels"),
    "columns": ([Part(0, X, Y), Part(1, X[:, :4], Y)], "part 1 has 4 features and part 0 has 6"),
    "numbers": ([Part(0, X, Y), Part(2, X, Y)], re.escape("the parts are [0, 2]; pass each")),
    "empty": ([Part(0, X[:0], Y[:0])], "X has no rows; pass parts with points"),
    "one class": ([Part(0, X, 0 * Y), Part(1, X[:0], Y[:0])], "holds one class only"),
    "ways": ([Part(0, X, Y), Part(1, sparse.csr_matrix(X), Y)], "part 0 is dense and others"),
    "twice": (
        [Part(0, sparse.csr_matrix(([1.0, 2.0], [1, 1], [0, 2]), (1, 6)), np.array([0]))],
        re.escape("call sum_duplicates() on it"),
    ),
    "far out": ([Part(0, X, Y), Part(1, X * 2.0**1000, Y)], "divide X by a power of two"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_parts_are_refused(name):
    parts, words = WRONG[name]
    with pytest.raises(fastmem.InvalidInputError, match=words):
        fit(LocalShards([parts[::2], parts[1::2]]))


def test_contradictions_are_named_as_on_one_machine():
    X, y = contradicting()
    messages = []
    for run in (
        lambda: fastmem.interpolate(X, y, seed=1),
        lambda: fit(LocalShards(shards_of(X, y, [5, 30], [0, 1], 2))),
    ):
        with pytest.raises(fastmem.ContradictionError) as caught:
            run()
        messages.append((str(caught.value), caught.value.pairs, caught.value.count))
    assert messages[0] == messages[1]


def test_frames_keep_the_names_of_their_columns():
    pandas = pytest.importorskip("pandas")
    X, y = blobs(200)
    frame = pandas.DataFrame(X, columns=[*"abcde", "größe"])
    parts = [Part(0, frame[:90], y[:90]), Part(1, frame[90:], y[90:])]
    agree(fit(LocalShards([parts[1:], parts[:1]])), fit_here(frame, y))
    with pytest.raises(fastmem.InvalidInputError, match="part 1 has other names of columns than"):
        fit(LocalShards([[parts[0], Part(1, X[90:], y[90:])]]))


def test_float32_parts_beside_float64_are_those_of_all_together():
    X, y = blobs(200)
    parts = [Part(0, X[:80].astype(np.float32), y[:80]), Part(1, X[80:], y[80:])]
    whole = np.concatenate([part.points for part in parts])
    expected = fit_here(whole, y)
    agree(fit(LocalShards([parts[:1], parts[1:]])), expected)


def test_errors_travel():
    lost = pickle.loads(pickle.dumps(LostShardError("shard 1")))
    assert str(lost) == "shard 1"
    assert isinstance(pickle.loads(pickle.dumps(StaleShard("at 1"))), StaleShard)


def test_settings_that_are_for_one_machine_are_refused_before_the_points_are_measured(monkeypatch):
    monkeypatch.setattr(fitting, "covering_cells", lambda *_: pytest.fail("it has begun"))
    X, y = blobs(60)
    with pytest.raises(fastmem.InvalidInputError, match="memory_limit is for points on one"):
        fit(LocalShards([[Part(0, X, y)]]), memory_limit="1 GiB")
