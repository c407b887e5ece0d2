"""Counts, minima, coverage, margins and both selections against the dense oracle."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastmem.kernels import cells
from fastmem.kernels import cover as kernels
from fastmem.kernels.layout import TILE
from fastmem.machine.loops import run_loop
from fastmem.patterns.by_class import Patterns
from fastmem.patterns.words import padded, valid_bits
from fastmem.second_layer import class_cover, counting, merged_cells
from fastmem.second_layer import selection as second_layer_selection
from fastmem.second_layer.class_cover import ClassCover
from fastmem.second_layer.selection import choose_neurons, cover_layer, failed_rows

fast = settings(max_examples=60, deadline=None)
sizes = st.sampled_from([0, 1, 2, 63, 64, 65, 192, 193, 400])
widths = st.sampled_from([1, 2, 12, 63, 64, 65, 128, 150])
densities = st.sampled_from([0.1, 0.5, 0.9])


def tiles_of(bits):
    """(N, n) bits as tiles, and the points in each tile; the rest of a tile is ones."""
    n_samples, n = bits.shape
    n_tiles = max(1, -(-n_samples // TILE))
    words = np.full((n_tiles * TILE, -(-n // 64)), 2**64 - 1, np.uint64)
    words[:n_samples] = oracle.pack(bits)
    tiles = words.reshape(n_tiles, TILE, -1).transpose(0, 2, 1).copy()
    filled = np.clip(n_samples - TILE * np.arange(n_tiles), 0, TILE)
    return tiles, filled.astype(np.int64)


def patterns_of(bits, codes):
    """A Patterns object that holds given bits."""
    patterns = Patterns(codes, int(codes.max()) + 1, -(-bits.shape[1] // 64))
    for code in range(patterns.n_classes):
        tiles, _ = tiles_of(bits[codes == code])
        patterns.tiles[patterns.first_tile[code] : patterns.first_tile[code + 1]] = tiles
    return patterns


def random_bits(rng, n_samples, n, density):
    return rng.uniform(size=(n_samples, n)) < density


@fast
@given(sizes, st.integers(1, 6), widths, densities, st.integers(0, 2**32 - 1))
@example(193, 5, 64, 0.9, 0)
def test_minima_equal_the_oracle(n_samples, n_masks, n, density, seed):
    rng = np.random.default_rng(seed)
    bits, masks = random_bits(rng, n_samples, n, density), random_bits(rng, n_masks, n, 0.5)
    tiles, filled = tiles_of(bits)
    stack = padded(oracle.pack(masks))
    skip = np.zeros((len(stack), 2), np.int64)
    skip[-1] = 0, len(tiles)
    by_range = np.full((-(-len(tiles) // 2), len(stack)), 2**62)
    where = np.full(by_range.shape, -1)
    tasks = kernels.TileTasks(tiles, filled, stack, 2 * rng.integers(1, 3))
    n_tasks = -(-len(tiles) // tasks.size)
    run_loop(kernels.minima, n_tasks, 2, (tuple(tasks), skip, 2, by_range, where))
    for r in range(len(by_range)):
        here = slice(2 * r * TILE, 2 * (r + 1) * TILE)
        inside = where[r, : n_masks if n_masks < len(stack) else n_masks - 1]
        assert ((inside == -1) | ((here.start <= inside) & (inside < here.stop))).all()
    rows, columns = by_range.argmin(axis=0), np.arange(len(stack))
    least, nearest = by_range[rows, columns], where[rows, columns]
    seen = slice(0, n_masks if n_masks < len(stack) else n_masks - 1)
    if n_samples:
        counts = oracle.counts(masks, bits)[seen]
        np.testing.assert_array_equal(least[:n_masks][seen], counts.min(axis=1, initial=2**62))
        np.testing.assert_array_equal(nearest[:n_masks][seen], counts.argmin(axis=1))
    assert least[-1] == 2**62 and nearest[-1] == -1


@fast
@given(sizes, st.integers(1, 6), widths, densities, st.integers(0, 2**32 - 1))
def test_coverage_equals_the_oracle(n_samples, n_masks, n, density, seed):
    rng = np.random.default_rng(seed)
    bits, masks = random_bits(rng, n_samples, n, density), random_bits(rng, n_masks, n, 0.5)
    thresholds = rng.integers(1, n // 4 + 2, n_masks)
    tiles, filled = tiles_of(bits)
    before = rng.uniform(size=n_samples) < 0.8
    uncovered = np.zeros((len(tiles), TILE), np.bool_)
    uncovered.reshape(-1)[:n_samples] = before
    tasks = kernels.TileTasks(tiles, filled, padded(oracle.pack(masks)), 1)
    gained = np.zeros((len(tiles), len(tasks.masks)), np.int64)
    run_loop(kernels.cover, len(tiles), 2, (tuple(tasks), padded(thresholds), uncovered, gained))
    gained = gained.sum(axis=0)
    on = oracle.coverage(masks, thresholds, bits)
    np.testing.assert_array_equal(uncovered.reshape(-1)[:n_samples], before & ~on.any(axis=0))
    first = np.where(on.any(axis=0), on.argmax(axis=0), -1)[before]
    np.testing.assert_array_equal(gained[:n_masks], [(first == b).sum() for b in range(n_masks)])


@fast
@given(sizes, st.integers(0, 6), widths, densities, st.booleans(), st.integers(0, 2**32 - 1))
def test_margins_equal_the_oracle(n_samples, n_masks, n, density, stop, seed):
    rng = np.random.default_rng(seed)
    bits, masks = random_bits(rng, n_samples, n, density), random_bits(rng, n_masks, n, 0.5)
    thresholds = rng.integers(1, n + 2, n_masks)
    blocks = np.zeros(n_masks, np.int64) if stop else np.sort(rng.integers(0, 3, n_masks))
    tiles, filled = tiles_of(bits)
    rows = np.full(len(padded(blocks)), -1)
    rows[:n_masks] = blocks
    best = np.full((3, len(tiles) * TILE), -(2**62))
    kernels.margins(tiles, filled, padded(oracle.pack(masks)), padded(thresholds), rows, stop, best)
    margins = thresholds[:, None] - oracle.counts(masks, bits)
    for k in range(3):
        expected = margins[blocks == k].max(axis=0, initial=-(2**62))
        found = best[k, :n_samples]
        if stop:
            expected, found = expected > 0, found > 0
        np.testing.assert_array_equal(found, expected)


def orders_of(patterns, seed):
    """The orders that covers with generators ``seed + code`` walk along."""
    return {
        code: np.random.default_rng(seed + code).permutation(patterns.class_size(code)).tolist()
        for code in range(patterns.n_classes)
    }


def ignore(done, total, neurons):
    pass


def blocks_of(patterns, n, seed, n_threads=1, margin=0.0):
    return [
        ClassCover(patterns, n, code, np.random.default_rng(seed + code), n_threads, margin=margin)
        for code in range(patterns.n_classes)
    ]


def select(
    bits, codes, selection, seed, n_threads=1, leave_one_out=False, margin=0.0, progress=ignore
):
    patterns = patterns_of(bits, codes)
    chosen = blocks_of(patterns, bits.shape[1], seed, n_threads, margin)
    kept, _ = choose_neurons(chosen, selection, n_threads, leave_one_out, progress)
    return patterns, kept


@settings(max_examples=80, deadline=None)
@given(
    st.integers(2, 150),
    st.sampled_from([3, 8, 20, 64, 70, 130]),
    st.integers(2, 4),
    densities,
    st.sampled_from(["random", "merge"]),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    st.integers(0, 2**32 - 1),
)
@example(150, 130, 2, 0.5, "merge", 0.0, 0)
@example(150, 130, 2, 0.5, "merge", 0.3, 0)
@example(150, 64, 2, 0.1, "merge", 0.9, 150)  # two cells at once
def test_selection_equals_the_oracle_for_the_same_orders(
    n_samples, n, n_classes, density, selection, margin, seed
):
    rng = np.random.default_rng(seed)
    n_samples = max(n_samples, n_classes)
    codes = rng.permutation(np.arange(n_samples) % n_classes)
    # classes lie around centres, so that cells cover more than one point
    centres = random_bits(rng, n_classes, n, density)
    bits = centres[codes] ^ random_bits(rng, n_samples, n, 0.15)
    patterns, kept = select(bits, codes, selection, seed, margin=margin)
    choose = oracle.cover_random if selection == "random" else oracle.cover_merge
    choose = partial(choose, margin=margin)
    if selection == "merge" and margin:

        def at_once(n_open, gained):
            latest = gained[-16:]
            return min(8, max(1, n_open * len(latest) // (32 * sum(latest)))) if latest else 1

        choose = partial(choose, at_once=at_once)
    covers, failed = oracle.memorise(bits, codes, orders_of(patterns, seed), choose)
    for cover in kept:
        masks, thresholds = covers[cover.code]
        found = np.array(cover.masks, np.uint64).reshape(len(masks), -(-n // 64))
        np.testing.assert_array_equal(found, oracle.pack(masks))
        assert cover.thresholds == thresholds.tolist()
    np.testing.assert_array_equal(failed_rows(kept), failed)


@pytest.mark.parametrize("margin", [0.05, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_cells_side_by_side_equal_the_oracle_too(margin, seed, monkeypatch):
    monkeypatch.setattr(merged_cells, "_SHARE", 2)
    monkeypatch.setattr(merged_cells, "_POOL", 2 * TILE)
    rng = np.random.default_rng(seed)
    n_samples = 1300 if seed % 2 else 300
    codes = rng.integers(0, 2, n_samples)
    centres = random_bits(rng, 12, 70, 0.5)
    bits = centres[codes + 2 * rng.integers(0, 6, n_samples)]
    bits ^= random_bits(rng, n_samples, 70, 0.2)
    bits[codes == 0] |= bits[codes == 1][0]  # of which some then cannot be covered
    bits[:20] = bits[20:40]
    layers = []

    def at_once(n_open, gained):
        latest = gained[-16:]
        return min(8, max(1, n_open * len(latest) // (2 * sum(latest)))) if latest else 1

    for n_threads in (1, 2):
        patterns, kept = select(bits, codes, "merge", seed, n_threads, margin=margin)
        layers.append(cover_layer(kept))
    np.testing.assert_array_equal(layers[0].masks, layers[1].masks)
    found, same = 0, 0
    for cover in kept:
        order = orders_of(patterns, seed)[cover.code]
        covered, others = bits[codes == cover.code], bits[codes != cover.code]
        settings = {"margin": margin, "pool": 2 * TILE}
        masks, thresholds, failed = oracle.cover_merge(
            covered, others, order, **settings, at_once=at_once
        )
        np.testing.assert_array_equal(np.array(cover.masks), oracle.pack(masks))
        assert cover.thresholds == thresholds.tolist()
        assert sorted(cover.failed) == failed.tolist()
        found += len(failed)
        one_by_one, _, _ = oracle.cover_merge(covered, others, order, **settings)
        same += np.array_equal(masks, one_by_one)
    assert found and same < 2


@pytest.mark.parametrize("noise", [0.1, 0.25, 0.4])
@pytest.mark.parametrize("misses", [0, 1, 2, 5, 1000])
def test_fewer_or_more_misses_equal_the_oracle_too(misses, noise, monkeypatch):
    monkeypatch.setattr(merged_cells, "MISSES", misses)
    rng = np.random.default_rng(misses)
    codes = rng.integers(0, 3, 240)
    # classes of several clusters each, some of them near those of other classes
    centres = random_bits(rng, 9, 100, 0.5)
    centres[6:] = centres[:3] ^ random_bits(rng, 3, 100, 0.1)
    bits = centres[codes + 3 * rng.integers(0, 3, 240)] ^ random_bits(rng, 240, 100, noise)
    bits &= ~random_bits(rng, 240, 100, 0.1)
    patterns, kept = select(bits, codes, "merge", 0)
    for cover in kept:
        masks, thresholds, failed = oracle.cover_merge(
            bits[codes == cover.code],
            bits[codes != cover.code],
            orders_of(patterns, 0)[cover.code],
            misses=misses,
        )
        np.testing.assert_array_equal(np.array(cover.masks), oracle.pack(masks))
        assert cover.thresholds == thresholds.tolist()
        assert sorted(cover.failed) == failed.tolist()


@pytest.mark.parametrize(("selection", "margin"), [("random", 0.0), ("merge", 0.0), ("merge", 0.4)])
def test_compaction_changes_no_selection(selection, margin, monkeypatch):
    rng = np.random.default_rng(3)
    codes = np.repeat([0, 1], 1500)
    bits = random_bits(rng, 3000, 40, 0.5)
    layers = []
    for most in (0, 1 << 30):
        monkeypatch.setattr(class_cover, "_COMPACT_BYTES", most)
        layers.append(cover_layer(select(bits, codes, selection, 1, margin=margin)[1]))
    assert len(layers[0]) > 50
    for name in ("masks", "thresholds", "owners"):
        np.testing.assert_array_equal(getattr(layers[0], name), getattr(layers[1], name))


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_near_points_change_no_selection(margin, monkeypatch):
    rng = np.random.default_rng(4)
    codes = np.repeat([0, 1], 500)
    centres = random_bits(rng, 2, 90, 0.5)
    bits = centres[codes] ^ random_bits(rng, 1000, 90, 0.2)
    layers = []
    for near, n_ranges in ((1536, 256), (TILE, 1), (1, 1), (3, 256)):
        monkeypatch.setattr(merged_cells, "_NEAR", near)
        monkeypatch.setattr(merged_cells, "_NEAR_MARGIN", (near, near))
        monkeypatch.setattr(counting, "_RANGES", n_ranges)
        layers.append(cover_layer(select(bits, codes, "merge", 1, margin=margin)[1]))
    for other in layers[1:]:
        np.testing.assert_array_equal(layers[0].masks, other.masks)


@pytest.mark.parametrize("seed", range(5))
def test_what_a_grown_cell_covers_equals_the_counts(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 50, (3, TILE)).astype(np.int32)
    uncovered, aside = rng.random((2, 3, TILE)) < 0.5
    level = int(rng.integers(0, 60))
    left = uncovered & (counts >= level)
    marked = counts + np.where(aside, 2**29, 0).astype(np.int32)
    n_open = np.count_nonzero(uncovered)
    assert cells.cover_grown(marked, level, uncovered) == n_open - np.count_nonzero(left)
    np.testing.assert_array_equal(uncovered, left)


@pytest.mark.parametrize("margin", [0.05, 0.4, 1.0])
def test_first_masks_counted_ahead_change_no_selection(margin, monkeypatch):
    rng = np.random.default_rng(6)
    codes = rng.integers(0, 2, 1800)  # enough for what is covered to be left out on the way
    centres = random_bits(rng, 12, 90, 0.5)
    bits = centres[codes + 2 * rng.integers(0, 6, 1800)] ^ random_bits(rng, 1800, 90, 0.15)
    layers, evaluations = [], []
    for most in (1, 3, 16, 500):
        monkeypatch.setattr(merged_cells, "_MOST_AHEAD", most)
        kept = select(bits, codes, "merge", 1, margin=margin)[1]
        layers.append(cover_layer(kept))
        evaluations.append(sum(cover.evaluations for cover in kept))
    for other in layers[1:]:
        np.testing.assert_array_equal(layers[0].masks, other.masks)
        np.testing.assert_array_equal(layers[0].thresholds, other.thresholds)
    # as long as nearly all of them are needed: few more are counted
    assert evaluations[0] <= evaluations[2] < 1.3 * evaluations[0]


@pytest.mark.parametrize("seed", range(3))
def test_cells_grow_among_the_first_points_of_a_large_class(seed, monkeypatch):
    monkeypatch.setattr(merged_cells, "_POOL", TILE + 7)
    rng = np.random.default_rng(seed)
    codes = np.repeat([0, 1], 700)
    centres = random_bits(rng, 2, 60, 0.5)
    bits = centres[codes] ^ random_bits(rng, 1400, 60, 0.15)
    patterns, kept = select(bits, codes, "merge", seed)
    for cover in kept:
        order = orders_of(patterns, seed)[cover.code]
        covered, others = bits[codes == cover.code], bits[codes != cover.code]
        masks, thresholds, _ = oracle.cover_merge(covered, others, order, pool=TILE + 7)
        np.testing.assert_array_equal(np.array(cover.masks), oracle.pack(masks))
        assert cover.thresholds == thresholds.tolist()
        whole, _, _ = oracle.cover_merge(covered, others, order)
        assert len(whole) != len(masks) or not np.array_equal(whole, masks)


@pytest.mark.parametrize("selection", ["random", "merge"])
def test_interruptions_change_no_selection(selection, monkeypatch):
    rng = np.random.default_rng(5)
    codes = np.repeat([0, 1], 500)
    centres = random_bits(rng, 2, 90, 0.5)
    bits = centres[codes] ^ random_bits(rng, 1000, 90, 0.2)
    layers = []
    for most in (1 << 40, 5_000):
        monkeypatch.setattr(counting, "TASK_WORDS", most)
        monkeypatch.setattr(merged_cells, "TASK_WORDS", most)
        layers.append(cover_layer(select(bits, codes, selection, 1, n_threads=2)[1]))
    assert len(layers[0]) > 10
    np.testing.assert_array_equal(layers[0].masks, layers[1].masks)


def many_classes(seed):
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(900) % 9)
    centres = random_bits(rng, 9, 100, 0.5)
    return centres[codes] ^ random_bits(rng, 900, 100, 0.25), codes


@pytest.fixture
def always_apart(monkeypatch):
    """Classes advance side by side however small they are."""
    words = {name: (0, most) for name, (_, most) in second_layer_selection._APART_WORDS.items()}
    monkeypatch.setattr(second_layer_selection, "_APART_WORDS", words)


@pytest.mark.usefixtures("always_apart")
@pytest.mark.parametrize("selection", ["random", "merge"])
@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_classes_side_by_side_give_what_they_give_in_turns(selection, leave_one_out, seed):
    bits, codes = many_classes(seed)
    layers, failed = [], []
    for n_threads in (1, 2, 3, 4, 5):
        kept = select(bits, codes, selection, seed, n_threads, leave_one_out, margin=0.1 * seed)[1]
        layers.append(cover_layer(kept))
        failed.append(failed_rows(kept))
        assert all(cover.n_threads == n_threads for cover in kept)
    for layer, rows in zip(layers[1:], failed[1:], strict=True):
        np.testing.assert_array_equal(layer.masks, layers[0].masks)
        np.testing.assert_array_equal(layer.thresholds, layers[0].thresholds)
        np.testing.assert_array_equal(layer.owners, layers[0].owners)
        np.testing.assert_array_equal(rows, failed[0])


@pytest.mark.usefixtures("always_apart")
@pytest.mark.parametrize("selection", ["random", "merge"])
def test_an_exception_ends_classes_side_by_side(selection, monkeypatch):
    """The other thread's first step lasts until its end is waited for; it takes no second one.

    Left to themselves, the other thread may be done with all classes before the first step of the
    one that tells, and raises.
    """
    waited_for = threading.Event()
    start, join = threading.Thread.start, threading.Thread.join
    candidates, started = ClassCover.next_candidates, []

    def noted_start(thread):
        if threading.current_thread() is threading.main_thread():  # other libraries have theirs
            started.append(thread)
        start(thread)

    def told_join(thread, timeout=None):
        if thread in started:
            waited_for.set()
        join(thread, timeout)

    def slow_candidates(cover, count):
        if threading.current_thread() is not threading.main_thread():
            waited_for.wait(300)  # the first step may be compiled
        return candidates(cover, count)

    monkeypatch.setattr(threading.Thread, "start", noted_start)
    monkeypatch.setattr(threading.Thread, "join", told_join)
    monkeypatch.setattr(ClassCover, "next_candidates", slow_candidates)
    bits, codes = many_classes(0)
    chosen = blocks_of(patterns_of(bits, codes), bits.shape[1], 0, n_threads=2)
    calls = []

    def stop(done, total, neurons):
        calls.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose_neurons(chosen, selection, 2, False, stop)
    assert len(calls) == 1
    assert sum(cover.done for cover in chosen) < 5
    assert started and not any(thread.is_alive() for thread in started)


@pytest.mark.parametrize("selection", ["random", "merge"])
@pytest.mark.parametrize("seed", range(5))
def test_auto_leaves_out_the_widest_of_equally_good_blocks(selection, seed):
    rng = np.random.default_rng(seed)
    codes = np.repeat([0, 1, 2], [300, 200, 250])
    centres = random_bits(rng, 3, 120, 0.5)
    noise = np.array([0.1, 0.3, 0.2])[rng.permutation(3)][codes, None]
    bits = centres[codes] ^ (rng.uniform(size=(750, 120)) < noise)
    full = {b.code: b for b in select(bits, codes, selection, seed)[1]}
    assert not any(b.failed for b in full.values())
    kept = [b.code for b in select(bits, codes, selection, seed, leave_one_out=True)[1]]
    (left,) = set(full) - set(kept)
    assert full[left].width == max(b.width for b in full.values())


def test_auto_waits_for_a_slow_block_that_is_not_the_widest():
    """A wide cover can be done first: its candidates are accepted by the batch."""
    rng = np.random.default_rng(0)
    isolated = random_bits(rng, 60, 200, 0.5)
    centres = random_bits(rng, 30, 200, 0.5)
    clusters = np.repeat(centres, 40, axis=0) ^ random_bits(rng, 1200, 200, 0.01)
    bits, codes = np.concatenate([isolated, clusters]), np.repeat([0, 1], [60, 1200])
    (slow,) = select(bits, codes, "random", 0, leave_one_out=True)[1]
    assert slow.code == 1 and slow.done and 20 < slow.width < 40


def test_auto_leaves_out_the_class_that_fails():
    bits = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0]], bool)
    codes = np.array([0, 0, 1, 1])
    _, kept = select(bits, codes, "random", 0, leave_one_out=True)
    assert [b.code for b in kept] == [1] and not kept[0].failed


def test_least_counts_skip_each_masks_own_class():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 200)
    bits = random_bits(rng, 600, 65, 0.5)
    patterns = patterns_of(bits, codes)
    covers = [ClassCover(patterns, 65, c, np.random.default_rng(c), 2) for c in range(3)]
    owners = [covers[c] for c in (0, 0, 1, 2, 2)]
    masks = random_bits(rng, 5, 65, 0.5)
    least, _ = covers[0].least_counts(owners, oracle.pack(masks))
    for cover, mask, found in zip(owners, masks, least, strict=True):
        assert found == oracle.minima(mask[None], bits[codes != cover.code])[0]


@pytest.mark.parametrize("n", [1, 63, 64, 65, 128])
def test_valid_bits(n):
    np.testing.assert_array_equal(valid_bits(n), oracle.pack(np.ones((1, n), bool))[0])
