"""Decision lists against a dense oracle: counts, literals, thinning, whole lists, runs."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastmem.decision_list import effort as effort_module
from fastmem.decision_list import open_sample, tables
from fastmem.decision_list.candidates import GivenColumns, RowCandidates, picked
from fastmem.decision_list.effort import smallest_list
from fastmem.decision_list.growth import InseparableError, Search, grow_list
from fastmem.decision_list.lists import Neuron, new_list
from fastmem.decision_list.open_sample import pairs_of, with_room
from fastmem.decision_list.runs import in_runs
from fastmem.hyperplanes.keyed import keyed_candidates
from fastmem.inputs.points import Points
from fastmem.kernels.bit_rows import ROW_WORDS, ones_of, rows_of_columns
from fastmem.kernels.conjunctions import thin_conjunction
from fastmem.kernels.improving import improve_conjunction
from fastmem.kernels.open_conjunctions import MOST_LITERALS, Open, Room, Tables
from fastmem.machine.loops import run_loop

fast = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)
QUICK, SOME = Search(instead=0), Search((1, 6), 1, instead=0, slack=1.0)
THOROUGH = Search((1, 2, 3, 4, 6), 1)


def columns_of(bits):
    """(N, n) bits by candidate, (n, ceil(N / 64)) uint64."""
    return oracle.pack(np.ascontiguousarray(bits.T))


def rows_from(bits):
    """(N, n) bits as `ones_of` takes them."""
    columns = columns_of(bits)
    width = -(-len(columns) // (64 * ROW_WORDS)) * ROW_WORDS
    rows = np.full((64 * columns.shape[1] + 1, width), 3, np.uint64)
    rows[-1] = 0
    run_loop(rows_of_columns, -(-columns.shape[1] // 16), 1, (columns, 0, rows))
    return rows


def inside(bits, literals):
    """Points inside all literals, (N,) bool."""
    on = np.ones(len(bits), bool)
    for literal in literals:
        on &= bits[:, literal >> 1] ^ bool(literal & 1)
    return on


def decided(bits, found):
    """What a list says of each point."""
    codes = np.full(len(bits), -1)
    for neuron in found.neurons:
        codes[inside(bits, neuron.literals) & (codes < 0)] = neuron.code
    return np.where(codes < 0, found.default, codes)


def random_case(seed, n_points, n, n_classes):
    """Bits, and classes that some of them say something of, of different points."""
    rng = np.random.default_rng(seed)
    bits = np.unique(rng.uniform(size=(n_points, n)) < 0.5, axis=0)
    bits = bits[rng.permutation(len(bits))]
    codes = (bits[:, 0] + 2 * bits[:, 1]) % n_classes
    noisy = rng.uniform(size=len(bits)) < 0.2
    return bits, np.where(noisy, rng.integers(n_classes, size=len(bits)), codes).astype(np.int64)


# The oracle ------------------------------------------------------------------------------------


def log2(number):
    """log2 as the tables have it: from whole numbers alone."""
    if number < 2:
        return 0.0
    whole = number.bit_length() - 1
    mantissa, result = number << (31 - whole), whole
    for place in range(1, 25):
        mantissa = mantissa * mantissa >> 31
        if mantissa >> 32:
            mantissa, result = mantissa >> 1, result + 2.0**-place
    return result


def power(number, quarters):
    """number^(quarters / 4) by roots and products."""
    result = 1.0
    for _ in range(quarters // 4):
        result *= number
    for _ in range(quarters % 4):
        result *= math.sqrt(math.sqrt(number))
    return result


def grown_slowly(bits, own, others, quarters):
    """The literals of one conjunction, thinned."""
    literals = []
    p, q = own.copy(), others.copy()
    while q.any():
        n_p, n_q = int(p.sum()), int(q.sum())
        best, chosen = -math.inf, None
        for literal in range(2 * bits.shape[1]):
            on = bits[:, literal >> 1] ^ bool(literal & 1)
            p1, q1 = int((p & on).sum()), int((q & on).sum())
            if p1 > 0 and q1 < n_q:
                gain = log2(p1) - log2(p1 + q1) - (log2(n_p) - log2(n_p + n_q))
                gain *= power(p1, quarters)
                if gain > best:
                    best, chosen = gain, literal
        literals.append(chosen)
        on = bits[:, chosen >> 1] ^ bool(chosen & 1)
        p, q = p & on, q & on
    while len(literals) > 1:
        off = np.array([~(bits[:, a >> 1] ^ bool(a & 1)) for a in literals])
        alone = off & (off.sum(axis=0) == 1)
        freed = [-1 if (row & others).any() else int((row & own).sum()) for row in alone]
        worst = int(np.argmax(freed))
        if freed[worst] < 0:
            break
        del literals[worst]
    return literals


def list_grown_slowly(bits, codes, n_classes, search):
    """A list as the greedy choice among one conjunction a class gives it, grown lazily."""
    n = bits.shape[1]
    is_open = np.ones(len(bits), bool)
    at_hand, neurons, step = {}, [], 0

    def grow(code):
        for quarters in search.quarters:
            own = is_open & (codes == code)
            literals = grown_slowly(bits, own, is_open & (codes != code), quarters)
            k, coverage = len(literals), int((own & inside(bits, literals)).sum())
            length = log2(math.comb(2 * n, k)) if k < 4 else None
            length = (length or big_log2(math.comb(2 * n, k))) + 2 * log2(k + 1) + log2(n_classes)
            score = log2(round(length * 65536)) - search.gamma * log2(coverage)
            if code not in at_hand or score < at_hand[code][0]:
                at_hand[code] = (score, literals, coverage, step)
            at_hand[code] = (*at_hand[code][:3], step)

    def best():
        return min(at_hand, key=lambda c: (at_hand[c][0], c))

    while len(np.unique(codes[is_open])) > 1:
        live = np.unique(codes[is_open]).tolist()
        waiting = sorted((c for c in live if c in at_hand), key=lambda c: (at_hand[c][3], c))
        for code in [c for c in live if c not in at_hand] + waiting[: search.renewed]:
            grow(code)
        while at_hand[best()][3] != step:
            grow(best())
        enough = at_hand[best()][0] + search.slack
        while at_hand and len(np.unique(codes[is_open])) > 1:
            code = best()
            if at_hand[code][0] > enough or at_hand[code][3] != step:
                break
            _, literals, coverage, _ = at_hand.pop(code)
            is_open &= ~((codes == code) & inside(bits, literals))
            neurons.append(Neuron(np.sort(literals).astype(np.int32), code, coverage))
        step += 1
    return new_list(neurons, int(codes[is_open][0]))


def big_log2(number):
    shift = max(0, number.bit_length() - 31)
    return shift + log2(number >> shift)


# Tables ----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=20))
def test_logarithms_are_those_of_whole_numbers(numbers):
    found = tables.log2_of(np.array(numbers))
    assert found.tolist() == [log2(number) for number in numbers]
    assert np.abs(found - np.log2(np.maximum(numbers, 1))).max() <= 2.0**-23


def test_powers_are_roots_and_products():
    found = tables.powers_of(300, (0, 1, 2, 3, 4, 6))
    expected = np.arange(301.0) ** (np.array([[0, 1, 2, 3, 4, 6]]).T / 4)
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize(("n", "n_classes"), [(1, 2), (5, 3), (700, 10)])
def test_lengths_of_conjunctions_are_those_of_their_code(n, n_classes):
    found = tables.conjunction_bits(n, n_classes)
    assert len(found) == min(2 * n, 1024) + 1
    for k in (0, 1, 2, min(2 * n, 30)):
        expected = math.log2(math.comb(2 * n, k)) + 2 * math.log2(k + 1) + math.log2(n_classes)
        assert abs(found[k] - expected) < 1e-5


# Kernels ---------------------------------------------------------------------------------------


@fast
@given(st.integers(1, 200), st.integers(1, 1100), st.integers(0, 150), seeds)
def test_ones_of_rows_equal_the_oracle(n_points, n, n_which, seed):
    rng = np.random.default_rng(seed)
    bits = rng.uniform(size=(n_points, n)) < 0.7
    rows = rows_from(bits)
    which = rng.integers(n_points, size=n_which).astype(np.int32)
    counts = np.full(64 * rows.shape[1], -1, np.int32)
    ones_of(rows, with_room(which), n_which, np.empty((32, ROW_WORDS), np.uint64), counts)
    assert (counts[:n] == bits[which].sum(axis=0)).all()
    assert (counts[n:] == 0).all()


@fast
@given(st.integers(1, 300), st.integers(1, 130), seeds)
def test_picked_points_and_rows_are_the_same_bits(n_points, n, seed):
    rng = np.random.default_rng(seed)
    bits = rng.uniform(size=(n_points, n)) < 0.5
    rows = rows_from(bits)
    assert (oracle.pack(bits) == rows[:n_points, : -(-n // 64)]).all()
    assert (rows[n_points:] == 0).all()
    points = np.flatnonzero(rng.uniform(size=n_points) < rng.uniform())
    assert (picked(columns_of(bits), points, 1) == columns_of(bits[points])).all()


@fast
@given(st.integers(2, 200), st.integers(1, 8), seeds)
def test_thinned_conjunctions_equal_the_oracle(n_points, n_literals, seed):
    rng = np.random.default_rng(seed)
    bits = rng.uniform(size=(n_points, 10)) < 0.5
    literals = rng.choice(20, n_literals, replace=False).astype(np.int32)
    own = rng.uniform(size=n_points) < 0.5
    others = ~own & ~inside(bits, literals)
    left = literals.copy()
    words = oracle.pack(np.stack([own, others]))
    k = thin_conjunction(columns_of(bits), words[0], words[1], left, n_literals)
    expected = literals.tolist()
    while len(expected) > 1:
        off = np.array([~(bits[:, a >> 1] ^ bool(a & 1)) for a in expected])
        alone = off & (off.sum(axis=0) == 1)
        freed = [-1 if (row & others).any() else int((row & own).sum()) for row in alone]
        if max(freed) < 0:
            break
        del expected[int(np.argmax(freed))]
    assert left[:k].tolist() == expected
    assert not (inside(bits, left[:k]) & others).any()


def improved_slowly(bits, own, others, literals, lengths, gamma, sides):
    """One literal in the place of one or two, the best such change first."""
    logs = [log2(number) for number in range(len(bits) + 1)]
    literals = list(literals)
    while True:
        best = lengths[len(literals)] - gamma * logs[int((own & inside(bits, literals)).sum())]
        change = None
        for i in range(len(literals)):
            for j in range(i, len(literals)):
                left = [a for at, a in enumerate(literals) if at not in (i, j)]
                p, q = own & inside(bits, left), others & inside(bits, left)
                most, chosen = 0, None
                for literal in range(2 * bits.shape[1]):
                    on = inside(bits, [literal])
                    usable = literal % 2 == 1 or sides[literal >> 1] == 2
                    if usable and not (q & on).any() and (p & on).sum() > most:
                        most, chosen = int((p & on).sum()), literal
                if chosen is not None and lengths[len(left) + 1] - gamma * logs[most] < best:
                    best, change = lengths[len(left) + 1] - gamma * logs[most], (i, j, chosen)
        if change is None:
            return literals
        i, j, literals[i] = change
        if j > i:
            del literals[j]


@settings(max_examples=30, deadline=None)
@example(24819, 20, 1, 10)  # a literal comes to stand there twice
@given(seeds, st.integers(2, 100), st.sampled_from([1, 100]), st.sampled_from([10, 70]))
def test_improved_conjunctions_equal_the_oracle(seed, n_points, n_words, n):
    rng = np.random.default_rng(seed)
    bits = rng.uniform(size=(n_points, n)) < 0.5
    literals = rng.choice(2 * n, min(5, n), replace=False).astype(np.int32)
    is_inside = inside(bits, literals)
    own = is_inside | (rng.uniform(size=n_points) < 0.5)
    lengths = np.full(MOST_LITERALS + 1, np.inf)
    lengths[: min(2 * n, MOST_LITERALS) + 1] = np.log2(1 + tables.conjunction_bits(n, 2))
    sides = rng.integers(1, 3, size=n).astype(np.uint8)
    logs = tables.log2_of(np.arange(n_points + 1))
    given_tables = Tables(logs, logs[None], sides, n, n_points, lengths, 0.8, 512)
    data = open_points(bits, (~own).astype(np.int32), n_words)
    room = Room(
        np.empty((32, ROW_WORDS), np.uint64), np.empty((2, 64 * data.rows.shape[1]), np.int32),
        np.empty(n_points + 16, np.int32), np.empty(64 * data.rows.shape[1], np.int32),
    )  # fmt: skip
    lists = np.empty((2, n_points + 16), np.int32)
    words = np.zeros(data.alive.shape, np.uint64)
    packed = oracle.pack(own[None])[0]
    words[: len(packed)] = packed
    left = literals.copy()
    k, coverage, _ = improve_conjunction(
        data, given_tables, left, len(left), words, (lists[0], lists[1]), room
    )
    expected = improved_slowly(bits, own, ~own, literals, lengths, 0.8, sides)
    assert left[:k].tolist() == expected
    assert coverage == int((own & inside(bits, expected)).sum())
    assert not (~own & inside(bits, expected)).any()


def open_points(bits, codes, n_words):
    """Points as kernels take them, all open, with words beyond them that are empty."""
    rows, columns = rows_from(bits), columns_of(bits)
    columns = np.pad(columns, ((0, 0), (0, n_words - 1)))
    alive = np.pad(oracle.pack(np.ones((1, len(bits)), bool))[0], (0, n_words - 1))
    none = np.zeros(0, np.int64)
    return Open(
        rows,
        columns,
        codes,
        alive,
        none,
        np.zeros((0, len(alive)), np.uint64),
        none.astype(np.int32),
        none,
        np.zeros((1, 0), np.int32),
    )


@fast
@given(st.integers(1, 60), st.integers(1, 4), seeds)
def test_unseparated_pairs_are_those_of_equal_rows(n_points, n, seed):
    rng = np.random.default_rng(seed)
    bits = rng.uniform(size=(n_points, n)) < 0.5
    codes = rng.integers(3, size=n_points).astype(np.int32)
    pairs = pairs_of(oracle.pack(bits), codes)
    mixed = {tuple(row) for row, code in zip(bits, codes, strict=True)
             if (codes[(bits == row).all(axis=1)] != code).any()}  # fmt: skip
    assert {tuple(bits[pair]) for pair in pairs[:, 0]} == mixed
    assert len(pairs) == len(mixed)
    assert (bits[pairs[:, 0]] == bits[pairs[:, 1]]).all()
    assert (codes[pairs[:, 0]] != codes[pairs[:, 1]]).all()


# Lists -----------------------------------------------------------------------------------------


@settings(max_examples=6, deadline=None)
@given(seeds, st.integers(2, 40), st.integers(2, 4), st.sampled_from([QUICK, SOME]))
def test_lists_equal_those_that_the_oracle_grows(seed, n_points, n_classes, search):
    bits, codes = random_case(seed, n_points, 8, n_classes)
    found = grow_list(GivenColumns(columns_of(bits), len(bits)), codes, n_classes, search)
    expected = list_grown_slowly(bits, codes, n_classes, search)
    assert found.literals.tolist() == expected.literals.tolist()
    for name in ("starts", "classes", "coverage"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    assert found.default == expected.default


@settings(max_examples=12, deadline=None)
@given(
    seeds,
    st.integers(2, 2500),
    st.integers(2, 80),
    st.sampled_from([1, 20, 4096]),
    st.sampled_from([0.0, 1.0]),
)
def test_lists_and_their_runs_are_right_at_all_points(seed, n_points, n_classes, counted, slack):
    bits, codes = random_case(seed, n_points, 30, n_classes)
    candidates = GivenColumns(columns_of(bits), len(bits))
    found = grow_list(candidates, codes, n_classes, Search(counted=counted, slack=slack))
    ordered = in_runs(found, candidates, codes, 2)
    for some in (found, ordered):
        assert (decided(bits, some) == codes).all()
        claimed = np.zeros(len(bits), bool)
        for neuron in some.neurons:
            on = inside(bits, neuron.literals)
            assert int((on & ~claimed).sum()) == neuron.coverage
            claimed |= on
    assert ordered.n_runs <= len(ordered.classes) <= len(found.classes)


def test_lists_do_not_depend_on_threads():
    bits, codes = random_case(7, 3000, 40, 3)
    candidates = GivenColumns(columns_of(bits), len(bits))
    one, three = (grow_list(candidates, codes, 3, THOROUGH, threads) for threads in (1, 3))
    for a, b in zip(one, three, strict=True):
        assert np.array_equal(a, b)


def test_a_single_class_needs_no_neuron():
    bits = np.random.default_rng(0).uniform(size=(70, 5)) < 0.5
    found = grow_list(GivenColumns(columns_of(bits), 70), np.full(70, 2), 4)
    assert len(found.classes) == len(found.neurons) == found.n_runs == 0
    assert found.default == 2
    assert found.estimated_bits(5, 4) == 0.0


def test_points_that_no_candidate_separates_are_named():
    bits = np.array([[0, 1], [1, 1], [1, 1], [0, 1]], bool)
    with pytest.raises(InseparableError) as refused:
        grow_list(GivenColumns(columns_of(bits), 4), np.array([0, 1, 0, 0]), 2)
    assert refused.value.pairs.tolist() == [[1, 2]]


# Samples, and rows between points -------------------------------------------------------------


def moons(n_points, noise, seed):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, n_points)
    codes = rng.integers(2, size=n_points)
    X = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    X[codes == 1] = [1.0, 0.5] - X[codes == 1]
    return (X + noise * rng.standard_normal(X.shape)).astype(np.float32), codes


def row_candidates(X, n, key=3, threads=1):
    points = Points(np.ascontiguousarray(X))
    hyperplanes = keyed_candidates(key, n, 2, points, width=1.0, bits=0)
    return RowCandidates(hyperplanes, points, np.random.default_rng(key), threads)


def bits_at(candidates, X):
    words = candidates.columns(np.arange(len(candidates.sides)))
    return oracle.unpack(words, len(X)).T.astype(bool)


@pytest.mark.parametrize("sample_bytes", [1, 1 << 20])
def test_classes_kept_as_lists_of_points_are_as_those_kept_as_words(sample_bytes, monkeypatch):
    X, codes = moons(9000, 0.3, 1)
    found = []
    for most in (64, 1):
        monkeypatch.setattr(open_sample, "_COUNTED_CLASSES", most)
        found.append(grow_list(row_candidates(X, 256), codes, 2, SOME, sample_bytes=sample_bytes))
    for a, b in zip(*found, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(("n_points", "noise"), [(9000, 0.05), (6000, 0.3)])
def test_lists_from_samples_are_right_at_all_points(n_points, noise):
    X, codes = moons(n_points, noise, 0)
    found = []
    for threads in (1, 2):
        candidates = row_candidates(X, 256, threads=threads)
        found.append(grow_list(candidates, codes, 2, QUICK, threads, sample_bytes=1))
        bits = bits_at(candidates, X)
        assert (decided(bits, found[-1]) == codes).all()
        assert int(found[-1].coverage.sum()) < n_points
    for a, b in zip(*found, strict=True):
        assert np.array_equal(a, b)


def test_rows_between_points_are_added_where_no_other_separates():
    X, codes = moons(800, 0.4, 1)
    candidates = row_candidates(X, 16)
    found = grow_list(candidates, codes, 2)
    assert len(candidates.hyperplanes) == len(candidates.sides) > 16
    assert (decided(bits_at(candidates, X), found) == codes).all()


def test_neighbouring_floats_are_separated():
    low = np.float32([[1.0, 2.0], [1.0, 3.0], [5.0, 2.0]])
    X = np.concatenate([low, np.nextafter(low, np.float32(9))]).astype(np.float64)
    X[3:] = np.nextafter(X[:3], 9)
    codes = np.array([0, 1, 0, 1, 0, 1])
    candidates = row_candidates(X, 8)
    found = grow_list(candidates, codes, 2)
    assert (decided(bits_at(candidates, X), found) == codes).all()


# Effort ----------------------------------------------------------------------------------------


def test_the_smallest_list_is_the_same_on_all_threads():
    X, codes = moons(900, 0.5, 4)
    one, two = (
        smallest_list(lambda n, t=t: row_candidates(X, n, threads=t), codes, 2, None, t)
        for t in (1, 2)
    )
    assert one.trials == two.trials
    assert len(one.trials) > 1
    for a, b in zip(one.found, two.found, strict=True):
        assert np.array_equal(a, b)
    assert (decided(bits_at(one.candidates, X), one.found) == codes).all()
    n_bits = one.found.estimated_bits(one.candidates.n_keyed, 2)
    assert n_bits <= min(trial.n_bits for trial in one.trials)


def test_without_time_the_first_list_stays():
    X, codes = moons(300, 0.2, 5)
    small = smallest_list(lambda n: row_candidates(X, n), codes, 2, 0.0)
    assert [(trial.n, trial.level) for trial in small.trials] == [(4096, 1)]
    assert (decided(bits_at(small.candidates, X), small.found) == codes).all()


@pytest.mark.parametrize("effort", [None, 0.0])
def test_long_fits_are_probed_by_parts_of_the_points(effort, monkeypatch):
    monkeypatch.setattr(effort_module, "POINT_SECONDS", 2e-5)
    monkeypatch.setattr(effort_module, "BASE_SECONDS", 0.0)
    X, codes = moons(17_000, 0.05, 8)
    X[:3000] = X[0]
    X[:3000][codes[:3000] == 1] = np.nextafter(X[0], np.float32(9))  # which few rows part
    small = smallest_list(lambda n: row_candidates(X, n), codes, 2, effort)
    assert small.trials[0].level == (0 if effort == 0.0 else 1)
    assert (decided(bits_at(small.candidates, X), small.found) == codes).all()


def test_what_a_step_raises_ends_the_search():
    X, codes = moons(300, 0.2, 6)
    seen = []

    def look(progress):
        seen.append(progress)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smallest_list(lambda n: row_candidates(X, n), codes, 2, on_step=look)
    assert [progress.n_open for progress in seen] == sorted((p.n_open for p in seen), reverse=True)
    assert seen[0].n_bits < seen[1].n_bits < seen[2].n_bits
    assert seen[0].work < seen[1].work < seen[2].work
