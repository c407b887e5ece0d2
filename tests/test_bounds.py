"""Trees of bounds against counting every point."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastmem.kernels.bounds import (
    below,
    inside,
    least_count,
    lowest_below,
    near_points,
    new_room,
)
from fastmem.kernels.compiling import njit
from fastmem.kernels.layout import TILE, WORD_BITS
from fastmem.kernels.siblings import FAN, columns_below
from fastmem.patterns.bound_tree import bound_tree, in_groups, marked_below
from fastmem.patterns.words import valid_bits

NO_POINTS = np.empty(0, np.bool_), np.empty(0, np.int32)


@njit(nogil=True)
def _compiled(blocks, offset, stride, mask, limit, counts):
    return columns_below(blocks, offset, stride, mask, limit, counts)


class Case:
    """Random patterns of a few classes, neighbours next to each other; and a mask."""

    def __init__(self, seed: int, sizes: list[int], n_words: int, spread: float) -> None:
        random = np.random.default_rng(seed)
        self.sizes = np.array(sizes, np.int64)
        n_tiles = -(-self.sizes // TILE)
        self.first = TILE * (np.cumsum(n_tiles) - n_tiles)
        tiles = np.zeros((max(1, n_tiles.sum()), n_words, TILE), np.uint64)
        self.columns = np.zeros((len(tiles) * TILE, n_words), np.uint64)
        self.is_point = np.zeros(len(self.columns), np.bool_)
        self.codes = np.full(len(self.columns), -1)
        for code, (start, size) in enumerate(zip(self.first, self.sizes, strict=True)):
            place = np.linspace(0, 1, size)[:, None] + spread * random.normal(size=(size, 1))
            bits = place < random.random(n_words * WORD_BITS)
            octets = np.packbits(bits, axis=1, bitorder="little")
            self.columns[start : start + size] = octets.view("<u8")
            self.is_point[start : start + size] = True
            self.codes[start : start + size] = code
        tiles[:] = self.columns.reshape(len(tiles), TILE, n_words).transpose(0, 2, 1)
        self.tiles = tiles
        points = tiles
        if seed % 2:  # positions stay where they are
            groups = tiles.reshape(len(tiles), n_words, TILE // FAN, FAN).transpose(0, 2, 1, 3)
            points = groups.reshape(-1, n_words, FAN).copy()
        self.tree = bound_tree(points, self.first, self.sizes, 1)
        valid = valid_bits(n_words * WORD_BITS)
        start = random.choice(np.flatnonzero(self.is_point))
        self.skip = int(self.codes[start])
        self.mask = (
            valid
            & ~self.columns[start]
            & random.choice([valid, random.integers(0, 2**63, n_words, np.uint64)])
        )
        self.counts = np.bitwise_count(self.columns & self.mask).sum(axis=1).astype(int)
        self.others = self.is_point & (self.codes != self.skip)
        self.open = self.is_point & (random.random(len(self.columns)) < 0.4)
        self.n_open = marked_below(self.tree, self.open)
        self.room = new_room(self.tree)
        self.random = random


cases = st.builds(
    Case,
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(
        st.sampled_from([0, 1, 2, FAN, FAN + 1, 100, TILE, TILE + 1, 300, 5000]),
        min_size=1, max_size=4,
    ).filter(any),
    n_words=st.integers(1, 5),
    spread=st.sampled_from([0.0, 0.01, 1.0]),
)  # fmt: skip


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(0, 300))
def test_columns_are_counted_at_once(seed, n_words, limit):
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 2**63, (2, n_words, 48), np.uint64)
    mask = random.integers(0, 2**63, n_words, np.uint64)
    counts = np.empty(FAN, np.int64)
    offset = 48 * n_words + 16
    bits = _compiled(blocks, offset, 48, mask, limit, counts)
    right = np.bitwise_count(blocks[1, :, 16:32] & mask[:, None]).sum(axis=0)
    assert bits == sum(1 << i for i in range(FAN) if right[i] < limit)
    if bits:
        assert (counts == right).all()


@given(cases)
def test_nodes_bound_what_is_below(case):
    tree = case.tree
    sizes = marked_below(tree, case.is_point)
    for code in range(len(case.sizes)):
        for level in range(1, tree.tops[code] + 1):
            for node in range(tree.n_nodes[level, code]):
                first = case.first[code] + node * FAN**level
                last = min(first + FAN**level, case.first[code] + case.sizes[code])
                at, column = divmod(tree.first[level, code] + node, FAN)
                points = case.columns[first:last]
                assert (tree.ands[at, :, column] == np.bitwise_and.reduce(points)).all()
                assert (tree.ors[at, :, column] == np.bitwise_or.reduce(points)).all()
                assert sizes[at * FAN + column] == len(points)
        assert tree.n_nodes[tree.tops[code], code] <= FAN


@given(cases, st.integers(0, 8), st.integers(1, 40))
def test_below_finds_points_of_other_classes(case, level, most):
    found = np.full(most, -1, np.int64)
    count = below(case.tree, case.skip, case.mask, level, found, case.room)
    right = np.flatnonzero(case.others & (case.counts < level))
    assert count == min(most, len(right))
    assert len(set(found[:count])) == count
    assert set(found[:count]) <= set(right)


@given(cases, st.sampled_from([1, 3, 1 << 40]))
def test_least_count_is_the_least(case, limit):
    least, position = least_count(case.tree, case.skip, case.mask, limit, case.room)
    right = case.counts[case.others].min(initial=limit)
    assert least == right
    if right < limit:
        assert case.others[position]
        assert case.counts[position] == right
    else:
        assert position == -1


@given(cases)
def test_the_lowest_number_of_the_first_class_is_the_witness(case):
    numbers = case.random.permutation(len(case.columns)).astype(np.int32)
    found = lowest_below(case.tree, case.skip, case.mask, numbers, case.room)
    zeros = np.flatnonzero(case.others & (case.counts == 0))
    if not len(zeros):
        assert found == -1
        return
    first = zeros[case.codes[zeros] == case.codes[zeros].min()]
    assert found == first[numbers[first].argmin()]


@given(cases, st.integers(0, 8), st.integers(0, 50))
def test_inside_finds_open_points_of_a_class(case, level, most):
    for code in range(len(case.sizes)):
        if case.sizes[code]:
            found = np.full(most, -1, np.int64)
            count = inside(
                case.tree, code, case.mask, level, case.open, case.n_open, found, case.room
            )
            right = np.flatnonzero(case.open & (case.codes == code) & (case.counts < level))
            assert count == len(right)
            assert set(found[: min(count, most)]) <= set(right)
            assert len(set(found[: min(count, most)])) == min(count, most)


@given(cases, st.integers(0, 2), st.integers(1, 300), st.booleans())
def test_near_points_are_allowed_and_different(case, least, want, only_open):
    marks = (case.open, case.n_open) if only_open else NO_POINTS
    codes = (0, len(case.sizes))
    before = case.room.tally.copy()
    count = near_points(case.tree, codes, case.skip, case.mask, least, want, *marks, case.room)
    found = case.room.found[:count]
    allowed = case.others & (case.counts >= least) & (case.open | (not only_open))
    assert count <= want
    assert len(set(found)) == count
    assert allowed[found].all()
    assert (case.room.tally == before).all()
    if allowed.sum() <= want and len(case.columns) <= 1000:  # too few to overlook one
        assert count == allowed.sum()


def test_near_points_are_near():
    case = Case(3, [9000, 9000], 4, 0.0)
    count = near_points(case.tree, (0, 2), case.skip, case.mask, 0, 128, *NO_POINTS, case.room)
    counts = np.sort(case.counts[case.others])
    assert count == 128
    assert case.counts[case.room.found[:count]].mean() <= 1.1 * counts[:128].mean() + 1


@given(cases)
def test_open_points_are_counted_below_each_node(case):
    tree = case.tree
    right = np.zeros(len(tree.ands) * FAN, np.int32)
    for position in np.flatnonzero(case.open):
        code = case.codes[position]
        local = position - case.first[code]
        for level in range(1, tree.tops[code] + 1):
            local //= FAN
            right[tree.first[level, code] + local] += 1
    assert (case.n_open == right).all()


@given(cases)
def test_groups_are_copies(case):
    chosen = [
        start + np.flatnonzero(case.random.random(size) < 0.5)
        for start, size in zip(case.first, case.sizes, strict=True)
    ]
    groups, first = in_groups(case.tree.points, chosen, 2)
    flat = groups.transpose(0, 2, 1).reshape(-1, groups.shape[1])
    for some, start in zip(chosen, first, strict=True):
        assert start % FAN == 0
        assert (flat[start : start + len(some)] == case.columns[some]).all()
