"""Audits, shapes, separators, explanations: what is no network, Ctrl-C in other libraries."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from interrupting import interrupt

import fastmem
from fastmem import InvalidInputError, plots
from fastmem.datasets import two_moons
from fastmem.leaks.page import page
from fastmem.machine import programs
from fastmem.machine.programs import solved
from fastmem.separation.solver import OutOfTime, Solver
from fastmem.shapes import least_neurons, pattern_dimension

posix = pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")


@pytest.fixture(scope="module")
def moons():
    X, y = two_moons(200)
    return X, y, fastmem.interpolate(X, y, seed=0, compact=True, covered="all")


# Linear programs ------------------------------------------------------------------------------


def program(seed, m, n):
    generator = np.random.default_rng(seed)
    aim = generator.standard_normal(n)
    return aim, generator.standard_normal((m, n)), np.ones(m), [(-1.0, 1.0)] * n


@pytest.mark.parametrize("at_once", [0, 1 << 30])
def test_multipliers_prove_that_the_value_is_the_least(at_once, monkeypatch):
    monkeypatch.setattr(programs, "_AT_ONCE", at_once)
    aim, rows, limits, bounds = program(0, 30, 12)
    found = solved(aim, rows, limits, bounds)
    assert found.is_optimal and (rows @ found.x <= limits + 1e-9).all()
    assert (found.multipliers > -1e-12).all()
    # <aim, x> is never below what the multipliers and the bounds leave
    rest = aim + found.multipliers @ rows
    least = -found.multipliers @ limits - np.abs(rest).sum()
    assert found.value == pytest.approx(aim @ found.x) == pytest.approx(least)


def test_a_program_without_a_solution_has_zeros_for_multipliers():
    rows = np.array([[1.0], [-1.0]])
    found = solved(np.ones(1), rows, np.array([-1.0, -1.0]), [(None, None)])
    assert found.x is None and not found.is_optimal and found.multipliers.tolist() == [0.0, 0.0]


def test_an_error_of_the_thread_is_raised(monkeypatch):
    monkeypatch.setattr(programs, "_AT_ONCE", 0)
    with pytest.raises(ValueError, match="b_ub"):
        solved(np.ones(2), np.ones((3, 2)), np.ones(4), [(0.0, 1.0)] * 2)


def test_a_large_program_is_left_where_time_is_over(monkeypatch):
    waits = threading.Event()

    def endless(*arguments):
        waits.wait(300)

    monkeypatch.setattr(programs, "_AT_ONCE", 0)
    monkeypatch.setattr(programs, "_solved", endless)
    try:
        assert solved(*program(0, 5, 3), is_over=lambda: True) is None
        generator = np.random.default_rng(0)
        rows = np.c_[generator.standard_normal((40, 3)), np.ones(40)]
        solver = Solver(rows, 1, deadline=lambda: True)
        with pytest.raises(OutOfTime):
            solver._by_program(generator.choice([-1.0, 1.0], 40))
    finally:
        waits.set()


# Ctrl-C ---------------------------------------------------------------------------------------

PROGRAM = """
import hashlib
import numpy as np
from fastmem.machine import programs
# as HiGHS: minutes that look for no signal and leave the interpreter to others
programs._solved = lambda *program: hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)
call = lambda: programs.solved(np.ones(200), np.ones((200, 200)), np.ones(200), [(0, 1)] * 200)
"""
VOIDS = """
import numpy as np
from scipy.spatial.distance import pdist, squareform
from fastmem.shapes.rips import rips_bars
distances = squareform(pdist(np.random.default_rng(0).standard_normal((600, 6))))
call = lambda: rips_bars(distances, 2)
"""
RUN = """
print("ready", flush=True)
try:
    call()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@posix
@pytest.mark.parametrize("code", [PROGRAM, VOIDS], ids=["linear program", "voids"])
def test_other_libraries_do_not_keep_ctrl_c(code):
    if code == VOIDS:
        pytest.importorskip("ripser")
    child = subprocess.Popen(
        [sys.executable, "-c", code + RUN], stdout=subprocess.PIPE, text=True,
        # a shell that starts the tests in the background has SIGINT ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "ready\n"
        said, _ = interrupt(child, after=2.5, most=5.0)  # either takes half a minute and more
        assert (child.returncode, said) == (0, "interrupted\n")
    finally:
        child.kill()
        child.wait()


# Bars in a process of their own ---------------------------------------------------------------


@pytest.fixture
def square():
    pytest.importorskip("ripser")
    corners = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [3, 3]])
    return np.linalg.norm(corners[:, None] - corners, axis=2)


def test_bars_do_not_depend_on_the_process_that_they_come_from(square, monkeypatch):
    from fastmem.shapes import rips

    here = rips.rips_bars(square, 1)
    monkeypatch.setattr(rips, "_AT_HAND", 0)
    there = rips.rips_bars(square, 1, 1.2)
    assert there[1].tolist() == [[1.0, np.inf]]  # the diagonals are longer
    assert here[1].tolist() == [[1.0, np.float32(np.sqrt(2))]]
    np.testing.assert_array_equal(rips.rips_bars(square, 1)[0], here[0])


@pytest.mark.parametrize(
    ("name", "value"), [("frozen", True), ("executable", ""), ("executable", "/usr/bin/uwsgi")]
)
def test_a_program_that_python_is_built_into_is_not_started(square, monkeypatch, name, value):
    from fastmem.shapes import rips

    monkeypatch.setattr(sys, name, value, raising=False)
    monkeypatch.setattr(rips, "_AT_HAND", 0)
    monkeypatch.setattr(rips, "_CHILD", "raise SystemExit(3)")
    assert len(rips.rips_bars(square, 2)) == 3


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", MemoryError, "exit code -9"),
        ("raise MemoryError", MemoryError, "MemoryError"),
        ("raise ImportError('none')", RuntimeError, "ImportError: none"),
    ],
)
@posix
def test_what_ends_that_process_is_said(square, monkeypatch, code, kind, words):
    from fastmem.shapes import rips

    monkeypatch.setattr(rips, "_CHILD", code)
    monkeypatch.setattr(rips, "_AT_HAND", 0)
    with pytest.raises(kind, match=f"5 landmarks.*{words}.*lower max_dimension"):
        rips.rips_bars(square, 2)


# What is no network, and no report --------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "net.npz", fastmem.Network], ids=str)
def test_what_is_no_network_is_refused(value, moons):
    X, y, _ = moons
    calls = [
        lambda: fastmem.audit(value, X, y),
        lambda: fastmem.audit(value),
        lambda: fastmem.topology(value, X, y),
        lambda: pattern_dimension(value, X),
        lambda: plots.network_graph(value),
        lambda: plots.decision_regions(value, X, y),
        lambda: plots.nerve_graph(value, X, y, None),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError, match=r"network is .*; pass a fastmem\.Network"):
            call()


def test_what_is_no_report_is_refused(moons):
    X, y, network = moons
    for call, words in (
        (lambda: plots.persistence_bars(network), "report .* TopologyReport that fastmem.topology"),
        (lambda: plots.nerve_graph(network, X, y, None), "report is None .* TopologyReport"),
        (lambda: plots.explained_image("why"), "explanation .* that network.explain returns"),
        (lambda: page(None), "report .* that fastmem.audit returns"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            call()


def test_a_report_of_another_network_is_not_drawn(moons):
    pytest.importorskip("ripser")
    X, y, network = moons
    report = fastmem.topology(network, X, y)
    one, two = report.classes
    assert one.region.neurons and two.region.neurons
    for entry in (
        replace(one, label=7),
        replace(one, region=replace(one.region, neurons=(99,))),
        replace(one, region=two.region),
    ):
        with pytest.raises(InvalidInputError, match="report is of another network"):
            plots.nerve_graph(network, X, y, replace(report, classes=(entry, two)))
    plots.nerve_graph(network, X, y, report)


@pytest.mark.parametrize("shape", [4, "x", (1, 3), (-1, -2), (), None])
def test_shapes_of_no_image_are_refused(shape, moons):
    X, y, network = moons
    with pytest.raises(InvalidInputError, match="shape"):
        plots.explained_image(network.explain(X[0], X, y), shape=shape)


@pytest.mark.parametrize("name", ["width", "encode", "foo"])
def test_parameters_that_the_measure_has_not_are_named(name, moons):
    from fastmem.separation import separation_width

    with pytest.raises(TypeError, match=f"no parameter '{name}'; pass some of max_bias"):
        separation_width(*moons[:2], **{name: 3})


def test_unseen_points_are_named_where_they_are_refused(moons):
    X, y, network = moons
    wrong = X.copy()
    wrong[3, 1] = np.nan
    with pytest.raises(InvalidInputError, match=r"unseen\[0\]\[3, 1\] is nan"):
        fastmem.audit(network, X, y, unseen=(wrong, y))
    with pytest.raises(InvalidInputError, match=r"unseen is array.* and no pair"):
        fastmem.audit(network, X, y, unseen=X)


@pytest.mark.parametrize("betti", [3, 2.5, None, "11", b"11", [], [None], ["a"], [np.inf], [[1]]])
def test_what_are_no_betti_numbers_is_refused(betti):
    with pytest.raises(InvalidInputError, match="betti is "):
        least_neurons(betti)


def test_betti_numbers_may_be_of_any_whole_type():
    assert least_neurons(np.array([1, 9])) == least_neurons((1.0, np.int8(9))) == 6


# Extremes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-1055, -1030, -1000, 900])
def test_points_next_to_the_ends_of_float64_are_separated(exponent, tmp_path):
    generator = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)
    X = np.ldexp(generator.standard_normal((60, 3)) + 4 * y[:, None], exponent)
    found = fastmem.separate(X, y, seed=0, max_bias=0, max_width=64, scale="none")
    assert found.report.is_separated and np.abs(found.weights).max() > 0
    assert (found.predict(X) == y).all()
    found.save(tmp_path / "found.fms")
    assert (fastmem.Separator.load(tmp_path / "found.fms").predict(X) == y).all()


def test_weights_of_the_least_int64_are_refused(moons):
    X, y, _ = moons
    found = fastmem.separate(X, y, seed=0, width=16)
    weights = np.full_like(found.weights, np.iinfo(np.int64).min)
    with pytest.raises(InvalidInputError, match="more than 53 bits"):
        fastmem.Separator(found.classes_, found.first, "relu", weights, found.intercepts)


def test_of_wide_votes_fewer_columns_are_searched():
    from fastmem.network.explanations.directions import directions

    generator = np.random.default_rng(0)
    X, y = generator.standard_normal((40, 3_000)), np.arange(40) % 2
    edges = X.min(axis=0), X.max(axis=0)
    cells = fastmem.interpolate(X, y, seed=0)
    vote = fastmem.interpolate(X, y, seed=0, decision="vote")
    n_cells, n_votes = (len(directions(net, X[0], *edges).features) for net in (cells, vote))
    assert n_cells == 1024 and n_votes == (1 << 26) // (64 * 3_000)
