"""Bounding tiles: the same patterns, counts and networks as without them."""

from __future__ import annotations

import warnings

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmem
from fastmem.datasets import clusters, unit_moons
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import check_points
from fastmem.kernels import bits as bit_kernels
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import TILE
from fastmem.patterns import bounded_tiles, sign_patterns, spatial_order
from fastmem.patterns.bounded_tiles import bounds_pay
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import rows_of, unpacked, valid_bits
from fastmem.second_layer import bounded_points, near_cells
from fastmem.second_layer.bounded_points import BoundedPoints, all_points, class_points
from fastmem.widths import first_layer

fast = settings(max_examples=60, deadline=None)


@pytest.fixture(autouse=True)
def as_if_there_were_many_points():
    """A spatial order of few points, which else have one leaf, and threads for little work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spatial_order, "_LEAF_POINTS", 8)
        for name in ("_SERIAL_WORDS", "_SERIAL_BOUNDS", "_SERIAL_SCANS"):
            patch.setattr(bounded_points, name, 0)
        yield


@njit(nogil=True)
def _both(words, chosen, extracted, deposited):
    for i in range(words.shape[0]):
        extracted[i] = bit_kernels.extract_bits(words[i], chosen[i])
        deposited[i] = bit_kernels.deposit_bits(words[i], chosen[i])


def test_bits_are_picked_as_by_hand():
    rng = np.random.default_rng(0)
    words, chosen = rng.integers(0, 2**64, (2, 500), dtype=np.uint64)
    chosen[:4] = 0, 2**64 - 1, 1, 1 << 63
    extracted, deposited = np.empty((2, 500), np.uint64)
    _both(words, chosen, extracted, deposited)
    for word, some, out, back in zip(words, chosen, extracted, deposited, strict=True):
        ones = np.flatnonzero(oracle.unpack(some.reshape(1, 1), 64)[0])
        bits = oracle.unpack(word.reshape(1, 1), 64)[0]
        assert out == sum(1 << i for i, bit in enumerate(bits[ones]) if bit)
        assert back == sum(1 << int(at) for i, at in enumerate(ones) if bits[i])
        assert out == bit_kernels._extract_bits(word, some)
        assert back == bit_kernels._deposit_bits(word, some)


# First layers -----------------------------------------------------------------------------------


def bounded_patterns(X, codes, hyperplanes, n_threads=1):
    """Patterns of points as bounding tiles."""
    points = check_points(X)
    leaves = spatial_order.leaves_of(points, n_threads)
    patterns = Patterns(
        codes.astype(np.uint16), int(codes.max()) + 1, leaves=leaves, with_bounds=True
    )
    patterns.fill(points, hyperplanes, n_threads)
    return patterns


def bits_in_order(patterns, n):
    """Bits of all points, class by class in the spatial order, and their rows."""
    bits, rows = [], []
    for code in range(patterns.n_classes):
        size = patterns.class_size(code)
        tiles = class_points(patterns, code).gathered(np.arange(size)).tiles
        bits.append(unpacked(rows_of(tiles, size), n))
        rows.append(patterns.rows(code, patterns.numbers_in_order(code)))
    return np.concatenate(bits), np.concatenate(rows)


def points_and_planes(rng, kind, n_samples, d, n, dtype):
    """Points of some kind, and hyperplanes many of which pass through them."""
    X = rng.standard_normal((n_samples, d))
    if kind == "grid":
        X = rng.integers(-2, 3, (n_samples, d)).astype(float)
    if kind == "dense":
        X = 5 + 1e-6 * X
    if kind == "repeated":  # tiles of one point, with hyperplanes through it but for rounding
        X = X[rng.integers(0, min(5, n_samples), n_samples)]
    if kind == "huge":
        X = X / np.abs(X).max() * float(np.finfo(dtype).max)
    if kind == "tiny":
        X = X * float(np.finfo(dtype).smallest_subnormal) * 50
    if kind == "outlier":
        X[0] = 1e30
    X = X.astype(dtype)
    weights = rng.standard_normal((n, d)).astype(np.float32)
    if kind == "grid":
        weights = rng.integers(-2, 3, (n, d)).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        through = -(weights.astype(float) * X[rng.integers(0, n_samples, n)]).sum(axis=1)
    biases = np.where(np.isfinite(through), through, 0.0)
    radius = float(np.abs(X.astype(float)).max() / 2)
    return X, Hyperplanes(weights, biases, X.astype(float)[len(X) // 2], radius)


@pytest.mark.parametrize("kind", ["normal", "grid", "dense", "repeated", "huge", "tiny", "outlier"])
@pytest.mark.parametrize("d", [1, 2, 3, 17])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_patterns_are_exact(kind, d, dtype):
    rng = np.random.default_rng([d, len(kind)])
    for n_samples, n in ((1, 1), (TILE, 64), (1500, 65), (700, 333)):
        X, planes = points_and_planes(rng, kind, n_samples, d, n, dtype)
        codes = rng.integers(0, 3, n_samples)
        patterns = bounded_patterns(X, codes, planes, n_threads=2)
        bits, rows = bits_in_order(patterns, n)
        np.testing.assert_array_equal(np.sort(rows), np.arange(n_samples))
        np.testing.assert_array_equal(bits, unpacked(sign_patterns(X, planes), n)[rows])


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_summaries_are_and_and_or_of_each_tile(scale):
    rng = np.random.default_rng(3)
    n = 200
    X = scale * rng.standard_normal((2000, 2)).astype(np.float32)
    planes = Hyperplanes(
        rng.standard_normal((n, 2)).astype(np.float32), rng.uniform(-1, 1, n), np.zeros(2), 1.0
    )
    patterns = bounded_patterns(X, np.arange(2000) % 2, planes)
    bits, _ = bits_in_order(patterns, n)
    bounded = patterns.bounded.bounded
    start = 0
    for tile, size in enumerate(patterns.sizes):
        of_tile = bits[start : start + size]
        start += size
        group, column = divmod(tile, TILE)
        every, some = of_tile.all(axis=0), of_tile.any(axis=0)
        np.testing.assert_array_equal(bounded.all_of[group, :, column], oracle.pack(every[None])[0])
        np.testing.assert_array_equal(bounded.any_of[group, :, column], oracle.pack(some[None])[0])
        np.testing.assert_array_equal(bounded.varies[tile], oracle.pack((some & ~every)[None])[0])
    varying = sum(int(np.bitwise_count(v).sum()) for v in bounded.varies)
    assert varying < (0.8 if scale == 1 else 0.1) * n * len(patterns.sizes)
    used = int(patterns.bounded._used[0])
    assert used <= sum(-(-int(np.bitwise_count(v).sum()) // 64) for v in bounded.varies) * TILE


# Counts -----------------------------------------------------------------------------------------


def random_patterns(rng, n_samples, n):
    """Patterns of points of three classes in the plane; their bits and classes in order."""
    X = rng.standard_normal((n_samples, 2)).astype(np.float32)
    X[rng.integers(0, n_samples, n_samples // 4)] = X[0]
    codes = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
    codes[: min(3, n_samples)] = [0, 1, 2][: min(3, n_samples)]
    planes = Hyperplanes(
        rng.standard_normal((n, 2)).astype(np.float32), rng.uniform(-1, 1, n), np.zeros(2), 2.0
    )
    patterns = bounded_patterns(X, codes, planes)
    bits, rows = bits_in_order(patterns, n)
    return patterns, bits, codes[rows]


def positions_of(patterns):
    """The position of each point in the spatial order."""
    sizes = np.diff(patterns.starts)
    within = np.arange(len(patterns.order)) - np.repeat(patterns.starts[:-1], sizes)
    return np.repeat(patterns.first_tile[:-1], sizes) * TILE + within


@fast
@given(
    st.integers(3, 3000), st.integers(1, 6), st.sampled_from([3, 64, 65, 150]),
    st.sampled_from([0.03, 0.5, 0.95]), st.integers(1, 5), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_minima_equal_the_oracle(n_samples, n_masks, n, density, n_ranges, seed):
    rng = np.random.default_rng(seed)
    patterns, bits, codes = random_patterns(rng, n_samples, n)
    masks = rng.random((n_masks, n)) < density
    owners = rng.integers(0, 3, n_masks)
    skip = np.stack([patterns.first_tile[owners], patterns.first_tile[owners + 1]], axis=1)
    counts = oracle.counts(masks, bits).astype(np.int64)
    counts[codes == owners[:, None]] = 2**62
    points = all_points(patterns)
    assert isinstance(points, BoundedPoints)
    positions, words = positions_of(patterns), oracle.pack(masks)
    least, nearest = points.least_over(words, skip, 2, firsts=True)
    np.testing.assert_array_equal(least, counts.min(axis=1))
    numbers = np.concatenate([patterns.numbers_in_order(c) for c in range(3)])
    by_number = np.lexsort((numbers, codes))
    for b in range(n_masks):
        found = np.flatnonzero(positions == nearest[b])
        assert len(found) == 1 and counts[b, found[0]] == least[b]
        if least[b] == 0:
            assert found[0] == by_number[counts[b, by_number].argmin()]
    levels = least + rng.integers(-1, 5, n_masks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_points, "_RANGES", n_ranges)
        least, nearest = points.least_over(words, skip, 2, by_range=True, levels=levels)
    np.testing.assert_array_equal(least.min(axis=0), counts.min(axis=1))
    for b in range(n_masks):
        told = nearest[:, b][nearest[:, b] >= 0]
        assert len(np.unique(told)) == len(told)
        found = np.searchsorted(positions, told)
        np.testing.assert_array_equal(positions[found], told)
        np.testing.assert_array_equal(counts[b, found], least[nearest[:, b] >= 0, b])


@fast
@given(
    st.integers(3, 3000), st.integers(1, 9), st.sampled_from([3, 64, 65, 150]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_cover_equals_the_oracle(n_samples, n_masks, n, seed):
    rng = np.random.default_rng(seed)
    patterns, bits, codes = random_patterns(rng, n_samples, n)
    code = int(rng.integers(0, 3))
    bits = bits[codes == code]
    masks = rng.random((n_masks, n)) < rng.choice([0.1, 0.5])
    levels = rng.integers(0, n // 2 + 2, n_masks)
    points = class_points(patterns, code)
    uncovered = np.zeros((points.n_tiles, TILE), bool)
    uncovered.reshape(-1)[: len(bits)] = expected = rng.random(len(bits)) < 0.8
    gained = points.take_covered(oracle.pack(masks), levels, uncovered, 2)
    counts = oracle.counts(masks, bits).astype(np.int64)
    for b in range(n_masks):
        hit = expected & (counts[b] < levels[b])
        assert gained[b] == np.count_nonzero(hit)
        expected = expected & ~hit
    np.testing.assert_array_equal(uncovered.reshape(-1)[: len(bits)], expected)
    assert not uncovered.reshape(-1)[len(bits) :].any()


def test_masks_and_copies_are_those_of_the_points():
    rng = np.random.default_rng(5)
    patterns, bits, codes = random_patterns(rng, 1500, 130)
    of_class = bits[codes == 1]
    places = rng.integers(0, len(of_class), 300)
    points = class_points(patterns, 1)
    words = points.masks_of(places, valid_bits(130))
    np.testing.assert_array_equal(words, oracle.pack(~of_class[places]))
    copies = points.gathered(places)
    np.testing.assert_array_equal(rows_of(copies.tiles, len(places)), oracle.pack(of_class[places]))
    assert copies.sizes.sum() == len(places)


# Networks ---------------------------------------------------------------------------------------


def network_or_error(mode, X, y, parameters):
    """What defines a network, and the counts of a fit; or how it was refused."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        patch.setattr(bounded_tiles, "MODE", mode)
        for many in ("MANY", "MANY_BOUNDED"):  # cells among neighbours are others
            patch.setattr(near_cells, many, np.inf)
        try:
            net = fastmem.interpolate(X, y, **parameters)
        except (fastmem.ContradictionError, fastmem.InvalidInputError) as error:
            return str(error)
    report = net.report
    arrays = (
        net.first.weights, net.first.biases, net.second.masks, net.second.thresholds,
        net.second.owners, report.unseparated,
    )  # fmt: skip
    facts = [(step.width, step.kind, step.open_points) for step in report.growth]
    facts += [(trial.width, trial.neurons) for trial in report.trials]
    return [a.tobytes() for a in arrays], facts


def assert_same_networks(X, y, parameters, note):
    expected = network_or_error("never", X, y, parameters | {"n_threads": 1})
    for n_threads in (1, 2):
        found = network_or_error("always", X, y, parameters | {"n_threads": n_threads})
        assert found == expected, note


def a_problem(seed):
    """Points of several tiles, labels by slabs along the first axis, and settings."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.choice([2, 60, 193, 400, 1500, 3000])), int(rng.choice([1, 2, 3, 5, 17]))
    X = rng.standard_normal((n, d))
    scales = {
        "normal": X,
        "grid": rng.integers(0, 4, (n, d)).astype(float),
        "any scale": X * 10.0 ** rng.uniform(-300, 300),
        "repeated": np.repeat(X, 3, axis=0)[rng.permutation(3 * n)[:n]],
        "one large column": X * np.where(np.arange(d) == d - 1, 1e8, 1.0),
        "far away": 1e-3 * X + 100,
        "rounded": np.round(X, 1),
    }
    X = scales[str(rng.choice(list(scales)))]
    n_classes = int(rng.choice([2, 2, 3, 5]))
    largest = max(np.abs(X[:, 0]).max(), 1e-320)
    y = np.floor((X[:, 0] / largest + 1) / 2 * n_classes).astype(int)
    parameters = {"seed": int(rng.integers(100)), "selection": str(rng.choice(["random", "merge"]))}
    if rng.random() < 0.75:
        parameters["width"] = int(rng.choice([1, 7, 64, 130, 500]))
        wrong = rng.random(n) < rng.choice([0.0, 0.05])
        y[wrong] = rng.integers(0, n_classes, np.count_nonzero(wrong))
        if rng.random() < 0.2:
            parameters["contradictions"], parameters["complete"] = "majority", True
    for name, value in (("margin", 0.4), ("max_bias", 1.0), ("covered", "all"), ("scale", "std")):
        if rng.random() < 0.2:
            parameters[name] = value
    if len(np.unique(y)) < 2:
        y[0] += 1
    narrow = rng.random() < 0.5 and np.abs(X).max() < 1e38 and np.abs(X).min() > 1e-37
    X = X.astype(np.float32) if narrow else X
    return np.asfortranarray(X) if rng.random() < 0.25 else X, y, parameters


@pytest.mark.parametrize("block", range(6))
def test_networks_of_random_problems_are_the_same(block, monkeypatch):
    for seed in range(12 * block, 12 * (block + 1)):
        monkeypatch.setattr(bounded_points, "_TASK_WORDS", [1, 1 << 21][seed % 2])
        monkeypatch.setattr(bounded_points, "_RANGES", [1, 4, 1024][seed % 3])
        X, y, parameters = a_problem(seed)
        assert_same_networks(X, y, parameters, (seed, parameters))


def test_a_spatial_order_alone_changes_no_network(monkeypatch):
    def without_bounds(*given, with_bounds, **named):
        return Patterns(*given, **named)

    monkeypatch.setattr(first_layer, "Patterns", without_bounds)
    for seed in range(1000, 1040):
        X, y, parameters = a_problem(seed)
        if "width" in parameters and "complete" not in parameters:
            assert_same_networks(X, y, parameters, (seed, parameters))


@pytest.mark.parametrize("selection", ["random", "merge"])
@pytest.mark.parametrize("width", [30, 200, "auto"])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_networks_of_many_points_are_the_same(selection, width, margin):
    """Some classes are larger than a pool, and contradictions leave points without a neuron."""
    rng = np.random.default_rng(0)
    X, y = unit_moons(24_000, seed=1)
    noise = 0 if width == "auto" else 40
    y[rng.integers(0, len(y), noise)] ^= 1
    X[:noise] = X[noise : 2 * noise]
    parameters = {"width": width, "selection": selection, "margin": margin, "seed": 3}
    if margin:
        X, y = X[::6], y[::6]
    assert_same_networks(X, y, parameters, None)


def test_networks_of_clusters_of_three_classes_are_the_same():
    X, y = clusters(1500, 4, 5, seed=2)
    y = y + (X[:, 0] > np.median(X[:, 0]))
    for selection in ("random", "merge"):
        for parameters in ({"width": 300}, {"width": 40, "complete": True}, {"covered": "all"}):
            assert_same_networks(X, y, parameters | {"selection": selection, "seed": 1}, parameters)


# Whether it pays --------------------------------------------------------------------------------


def test_it_pays_in_the_plane_and_not_among_noise_in_many_dimensions(monkeypatch):
    monkeypatch.setattr(bounded_tiles, "_FEWEST_POINTS", 1000)
    rng = np.random.default_rng(0)

    def pays(X, y, n):
        d = X.shape[1]
        planes = Hyperplanes(
            rng.standard_normal((n, d)).astype(np.float32), rng.uniform(-1, 1, n), np.zeros(d), 1.0
        )
        return bounds_pay(check_points(X), y.astype(np.uint16), planes)

    X, y = unit_moons(20_000, seed=0)
    noise = rng.standard_normal((20_000, 40)).astype(np.float32) / 10
    assert pays(X, y, 512) is True
    assert pays(X, y, 64) is False
    assert pays(X[:900], y[:900], 512) is False
    assert pays(noise, y, 512) is False
    assert pays(np.ones_like(X), y, 512) is True
    columns = np.asfortranarray(X.astype(float))
    assert check_points(columns).array is None
    assert pays(columns, y, 1024) is True
    assert pays(columns, y, 256) is False  # the patterns take little more room than a copy


def test_less_may_vary_for_real_sums(monkeypatch):
    monkeypatch.setattr(bounded_tiles, "_FEWEST_POINTS", 1000)
    rng = np.random.default_rng(0)
    for d, for_counts, for_sums in ((2, True, True), (4, True, False)):
        X = rng.standard_normal((60_000, d)).astype(np.float32) / 4.5
        planes = Hyperplanes(
            rng.standard_normal((512, d)).astype(np.float32), rng.uniform(-1, 1, 512),
            np.zeros(d), 1.0,
        )  # fmt: skip
        asked = check_points(X), (X[:, 0] > 0).astype(np.uint16), planes
        assert bounds_pay(*asked) is for_counts
        assert bounds_pay(*asked, for_sums=True) is for_sums


def test_patterns_that_can_be_elsewhere_are_not_bounded(monkeypatch):
    X, y = unit_moons(3000, seed=0)
    monkeypatch.setattr(bounded_tiles, "MODE", "always")

    def told(*_):
        raise AssertionError("bounded")

    monkeypatch.setattr(bounded_tiles.BoundedTiles, "fill", told)
    for parameters in (
        {"memory_limit": "300 MB"}, {"compact": True}, {"width": "smallest"},
        {"activation": "relu"}, {"projection": "structured"},
    ):  # fmt: skip
        fastmem.interpolate(X[:400], y[:400], seed=0, **parameters)
    with pytest.raises(AssertionError, match="bounded"):
        fastmem.interpolate(X, y, seed=0)
