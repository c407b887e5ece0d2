"""Which cells meet, proved either way, and the Betti numbers of their nerves."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import fastmem
from fastmem import CoverLayer, Hyperplanes, InvalidInputError, Network
from fastmem.datasets import two_moons
from fastmem.patterns.words import packed, unpacked
from fastmem.shapes import least_neurons, regions
from fastmem.shapes.cells import Cells
from fastmem.shapes.nerve import betti_numbers, nerve, spanning_pairs

BOX = 4.0


def layers(weights, biases, masks):
    """The layers of a network whose neurons, all of class 0, have these masks (m, n) bool."""
    first = Hyperplanes(np.asarray(weights, np.float32), np.asarray(biases, np.float64))
    m = len(masks)
    second = CoverLayer(packed(np.asarray(masks)), np.ones(m, np.int32), np.zeros(m, np.int32))
    return first, second


def cells_of(weights, biases, masks, box=BOX, most=10_000):
    first, second = layers(weights, biases, masks)
    d = first.n_features
    return Cells(first, second, np.zeros(d), 1.0, box, np.zeros((len(masks), 0), bool), most)


@st.composite
def cells_in_the_plane(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    n, m = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    weights = generator.standard_normal((n, 2)).astype(np.float32)
    masks = generator.random((m, n)) < draw(st.sampled_from([0.2, 0.5, 0.9]))
    masks[np.arange(m), generator.integers(0, n, m)] = True
    return weights, generator.uniform(-1, 1, n), masks


@given(cells_in_the_plane())
@settings(max_examples=20, deadline=None)
def test_cells_meet_where_clipping_in_fractions_says_so(found):
    weights, biases, masks = found
    cells = cells_of(*found)
    for size in (1, 2, 3):
        for some in combinations(range(len(masks)), size):
            chosen = np.flatnonzero(masks[list(some)].any(axis=0))
            half_planes = [
                (*map(Fraction, weights[k].tolist()), Fraction(float(biases[k]))) for k in chosen
            ]
            assert cells.meet(some) == oracle.have_common_point(half_planes, Fraction(BOX))
    assert cells.n_undecided == 0


@given(cells_in_the_plane())
@settings(max_examples=20, deadline=None)
def test_few_pairs_connect_the_components_of_all(found):
    masks = found[2]
    cells = cells_of(*found)
    vertices = [i for i in range(len(masks)) if cells.meet((i,))]
    few = cells_of(*found)
    levels = nerve(cells, vertices, 3, 2)
    assert betti_numbers(levels)[0] == betti_numbers([levels[0], spanning_pairs(few, vertices)])[0]
    assert few.n_programs <= math.comb(len(vertices), 2)


@given(cells_in_the_plane(), st.integers(-2, 2), st.integers(-2, 2))
@settings(max_examples=20, deadline=None)
def test_no_point_of_a_cell_is_beyond_a_bound(found, a, b):
    weights, biases, masks = found
    cells = cells_of(*found)
    first = Hyperplanes(weights, biases)
    X = np.random.default_rng(0).uniform(-BOX, BOX, (300, 2))
    X = np.concatenate([X, [[x, y] for x in (-BOX, BOX) for y in (-BOX, BOX)]])
    off = ~unpacked(fastmem.sign_patterns(X, first), len(first))
    for i, mask in enumerate(masks):
        bound = cells.upper_bound(i, np.array([a, b]))
        inside = off[:, mask].all(axis=1)
        assert (X[inside] @ [a, b] <= bound).all()
        assert bound <= BOX * (abs(a) + abs(b)) * (1 + 1e-9) + 1e-9 or not inside.any()


def test_bounds_are_taken_where_pairs_ask_for_many_programs(monkeypatch):
    """Of many small cells far apart: as many components as without bounds, in fewer programs."""
    from fastmem.shapes import nerve as module

    def intervals(m):
        places = np.arange(m) / 2 - 3.5
        reach = np.where(np.arange(m) % 4, 0.1, 0.45)
        biases = np.stack([-places, places], axis=1) - reach[:, None]
        masks = np.repeat(np.eye(m, dtype=bool), 2, axis=1)
        return cells_of(np.tile([[1], [-1]], (m, 1)), biases.ravel(), masks)

    few, many = intervals(14), intervals(14)
    pairs = spanning_pairs(few, range(14))
    monkeypatch.setattr(module, "_directions", lambda dimension: [])
    assert spanning_pairs(many, range(14)) == pairs
    assert len(pairs) == 7
    assert few.n_programs < many.n_programs


@st.composite
def rectangles(draw):
    """Rectangles with sides from whole numbers to halves, which never touch without meeting."""
    side = st.integers(0, 7).flatmap(
        lambda low: st.integers(low, min(7, low + 4)).map(lambda high: (low, high + 0.5))
    )
    return draw(st.lists(st.tuples(side, side), min_size=1, max_size=12))


@given(rectangles())
@settings(max_examples=12, deadline=None)
def test_the_region_has_the_components_and_holes_of_a_grid(found):
    grid = np.zeros((18, 18), bool)
    weights, biases, masks = [], [], np.zeros((len(found), 4 * len(found)), bool)
    for i, sides in enumerate(found):
        grid[tuple(slice(2 * int(low) + 1, 2 * int(high) + 2) for low, high in sides)] = True
        for k, (low, high) in enumerate(sides):
            weights += [-np.eye(2)[k], np.eye(2)[k]]
            biases += [low, -high]
        masks[i, 4 * i : 4 * i + 4] = True
    first, second = layers(weights, biases, masks)
    network = Network(np.array([0, 1]), first, second, (0,))
    corners = np.array([[x, y] for x in (0.0, 8.0) for y in (0.0, 8.0)])
    entry = fastmem.topology(network, corners, [0, 0, 0, 1]).classes[0]
    n_parts, n_gaps = ndimage.label(grid)[1], ndimage.label(~grid)[1]
    assert entry.region.betti == (n_parts, n_gaps - 1)
    assert entry.region.n_undecided == 0
    assert len(found) >= least_neurons(entry.region.betti)


def test_three_slabs_around_a_triangle_have_a_hole():
    angles = 2 * np.pi * np.arange(3) / 3
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    weights = np.concatenate([-normals, normals])
    cells = cells_of(weights, [0.5] * 3 + [-0.75] * 3, np.tile(np.eye(3, dtype=bool), 2))
    levels = nerve(cells, range(3), 3, 2)
    assert [len(level) for level in levels] == [3, 3, 0]
    assert betti_numbers(levels) == (1, 1)


def test_cells_that_meet_outside_of_the_box_do_not_meet():
    # x <= y / 10 and x >= 1: from y = 10 on
    weights, biases = [[1, -0.1], [-1, 0]], [0, 1]
    assert not cells_of(weights, biases, np.eye(2, dtype=bool), box=8).meet((0, 1))
    assert cells_of(weights, biases, np.eye(2, dtype=bool), box=12).meet((0, 1))


def test_cells_that_only_touch_are_not_decided():
    cells = cells_of([[1, 0], [-1, 0]], [0, 0], np.eye(2, dtype=bool))
    assert not cells.meet((0, 1))
    assert cells.n_undecided == 1


def test_a_hyperplane_without_weights_is_a_cell_of_all_or_nothing():
    cells = cells_of([[0, 0], [0, 0], [1, 0]], [1, -1, 0], np.eye(3, dtype=bool))
    assert [cells.meet((i,)) for i in range(3)] == [False, True, True]


@pytest.mark.parametrize("wrong", ["point", "multipliers", "status", "signs"])
def test_no_answer_of_the_solver_is_believed(monkeypatch, wrong):
    import scipy.optimize

    solve = scipy.optimize.linprog

    def lie(c, *, A_ub, **settings):
        found = solve(c, A_ub=A_ub, **settings)
        if wrong == "point":
            found.x[:] = 3.0  # a positive depth, at a point of no cell
        elif wrong == "multipliers":
            found.ineqlin.marginals[:] = -np.arange(1.0, len(A_ub) + 1)
        elif wrong == "signs":
            found.ineqlin.marginals *= -1
        else:
            found.status = 4
        return found

    monkeypatch.setattr(scipy.optimize, "linprog", lie)
    # x <= -1 and x >= 1
    cells = cells_of([[1, 0], [-1, 0]], [1, 1], np.eye(2, dtype=bool))
    assert cells.decide((0, 1)) is None
    cells.meet((0, 1))
    assert cells.n_undecided == 1


def test_programs_end_at_the_limit():
    generator = np.random.default_rng(0)
    weights, masks = generator.standard_normal((12, 2)), np.eye(12, dtype=bool)
    cells = cells_of(weights, generator.uniform(0, 1, 12), masks, most=3)
    nerve(cells, range(12), 3, 2)
    assert cells.n_programs == 3
    assert cells.n_undecided == 1


# Complexes -----------------------------------------------------------------------------------


@st.composite
def complexes(draw):
    """All simplices of at most four vertices of a random complex on up to seven."""
    m = draw(st.integers(1, 7))
    tops = draw(st.lists(st.sets(st.integers(0, m - 1), min_size=1, max_size=4), max_size=12))
    faces = {(i,) for i in range(m)}
    for top in tops:
        for size in range(1, len(top) + 1):
            faces |= set(combinations(sorted(top), size))
    return [sorted(face for face in faces if len(face) == size) for size in range(1, 6)]


@given(complexes())
@settings(max_examples=60, deadline=None)
def test_betti_numbers_are_those_of_dense_elimination_and_bound_the_vertices(levels):
    found = betti_numbers(levels)
    assert list(found) == oracle.betti(levels)
    assert len(levels[0]) >= least_neurons(found)
    # Euler and Poincare
    signs = (-1) ** np.arange(4)
    assert signs @ [len(level) for level in levels[:4]] == signs @ np.array(found)


TORUS = [
    tuple(sorted(((i + a) % 7, (i + b) % 7, i))) for i in range(7) for a, b in [(1, 3), (2, 3)]
]
PLANE = [
    (0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 5), (0, 1, 5), (1, 2, 4), (2, 3, 5), (1, 3, 4),
    (2, 4, 5), (1, 3, 5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("triangles", "expected"),
    [(list(combinations(range(4), 3)), (1, 0, 1)), (TORUS, (1, 2, 1)), (PLANE, (1, 1, 1))],
    ids=["sphere", "torus", "projective plane"],
)
def test_closed_surfaces(triangles, expected):
    pairs = sorted({pair for triangle in triangles for pair in combinations(triangle, 2)})
    vertices = sorted({(i,) for pair in pairs for i in pair})
    assert betti_numbers([vertices, pairs, sorted(triangles), []]) == expected


@pytest.mark.parametrize("m", range(2, 8))
@pytest.mark.parametrize("k", [1, 2])
def test_the_bound_is_attained_by_skeletons(m, k):
    levels = [list(combinations(range(m), size)) for size in range(1, k + 2)]
    found = betti_numbers([*levels, []])
    assert found[k] == math.comb(m - 1, k + 1)
    if found[k]:
        assert least_neurons(found) == m


def test_the_bound_of_known_shapes():
    assert [least_neurons(b) for b in ([1], [1, 1], [1, 9], [9, 0], [2, 1], [1, 0, 1])] == [
        1, 3, 6, 9, 4, 4,
    ]  # fmt: skip
    for wrong in ([], [0], [1, -1], [1.5], [True]):
        with pytest.raises(InvalidInputError, match="betti"):
            least_neurons(wrong)


def test_only_the_largest_sets_of_neurons_are_kept(monkeypatch):
    monkeypatch.setattr(regions, "_MOST_SEEN", 2)
    X, y = two_moons(400, 0.1)
    network = fastmem.interpolate(X, y, seed=0, compact=True, covered="all")
    few = fastmem.topology(network, X, y, landmarks=10)
    monkeypatch.undo()
    many = fastmem.topology(network, X, y, landmarks=10)
    for one, other in zip(few.classes, many.classes, strict=True):
        assert one.region.betti == other.region.betti
        assert one.region.simplices == other.region.simplices
        assert one.region.n_programs >= other.region.n_programs
