"""`python -m bench.check`: verdicts for made-up times, exit codes, the baseline file, --slow."""

from __future__ import annotations

import json
import sys

import numba
import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastmem
from bench import measuring
from bench.check import baseline, check, slowed
from bench.check.baseline import BaselineError, Machine
from bench.check.calibrations import CALIBRATIONS
from bench.check.check import FASTER, NEW, SAME, SLOWER, verdict
from bench.check.entries import ENTRIES, Entry
from bench.measuring import Pairs
from fastmem.datasets import two_moons

FIRST, SECOND = ENTRIES[:2]


class FakeBench:
    """Measurements that were made up: for each entry its ratios, one after the other."""

    def __init__(self, ratios):
        self.ratios = {name: list(values) for name, values in ratios.items()}
        self.pauses = 0

    def __call__(self, runs, smoke):
        return self

    def measure(self, entries, passes):
        return [Pairs([self.ratios[entry.name].pop(0)], [1.0]) for entry in entries]

    def pause(self):
        self.pauses += 1


def machine(**ratios):
    return Machine(
        {"numpy": "1"}, {e.name: (e.calibration, ratios.get(e.name, 1.0)) for e in ENTRIES}
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the program on made-up ratios; those of entries that are not named are 1."""
    path = tmp_path / "baseline.json"

    def run(ratios, *arguments, known=None):
        if known is not None:
            baseline.write(path, {check.machine_class(): known})
        fake = FakeBench({e.name: [1.0] * 9 for e in ENTRIES} | ratios)
        monkeypatch.setattr(check, "Bench", fake)
        monkeypatch.setattr(check, "all_threads", lambda: 2)
        return check.main([*arguments, "--baseline", str(path)])

    run.path = path
    return run


# --- comparison ---


@pytest.mark.parametrize(
    ("ratios", "known", "expected"),
    [
        ([1.0], 1.0, SAME),
        ([1.25], 1.0, SAME),
        ([1.26], 1.0, SLOWER),
        ([0.81], 1.0, SAME),
        ([0.79], 1.0, FASTER),
        ([30.0], 20.0, SLOWER),
        ([9.0, 1.2, 1.2], 1.0, SAME),
        ([1.5, 1.2, 1.5], 1.0, SLOWER),
        ([9.0], None, NEW),
    ],
)
def test_the_median_of_the_measurements_is_compared(ratios, known, expected):
    assert verdict(ratios, known, 1.25) == expected


def test_a_ratio_is_a_mean_over_pairs_of_neighbours():
    """A machine that slows down for both changes nothing, nor does a call that was disturbed."""
    entry, calibration = np.full(20, 2.0), np.ones(20)
    entry[5:9], calibration[5:9] = 4, 2
    entry[10], calibration[14] = 400, 400
    assert Pairs(list(entry), list(calibration)).ratio == pytest.approx(2)
    assert Pairs([1.0, 4.0], [1.0, 1.0]).ratio == pytest.approx(2)


def test_noise_that_passes_is_measured_again_and_is_no_regression():
    fake = FakeBench({FIRST.name: [9.0, 1.1, 1.1, 9.0], SECOND.name: [1.0]})
    first, second = check.compare(fake, [FIRST, SECOND], machine())
    assert (first.verdict, first.ratios) == (SAME, pytest.approx([9.0, 1.1, 1.1]))
    assert (second.verdict, second.ratios) == (SAME, pytest.approx([1.0]))
    assert fake.pauses == 2


def test_a_kernel_that_stays_slower_is_a_regression_after_all_repeats():
    fake = FakeBench({FIRST.name: [1.5, 1.2, 1.5, 1.5, 1.2], SECOND.name: [0.5]})
    first, second = check.compare(fake, [FIRST, SECOND], machine())
    assert first.verdict == SLOWER
    assert len(first.ratios) == 1 + check.REPEATS
    assert (second.verdict, len(second.ratios)) == (FASTER, 1)


def test_another_calibration_makes_an_entry_new():
    known = Machine({}, {FIRST.name: ("another", 1.0)})
    (row,) = check.compare(FakeBench({FIRST.name: [9.0]}), [FIRST], known)
    assert (row.verdict, row.baseline) == (NEW, None)


# --- calls in turns ---


def test_calls_are_timed_in_turns_after_a_first_run_each(monkeypatch):
    monkeypatch.setattr(measuring, "PAUSE", 0)
    order = []
    calls = [lambda name=name: order.append(name) or name for name in "abc"]
    timings = measuring.in_turns(calls, 3)
    assert order == list("abc") * 4
    assert [len(timing.seconds) for timing in timings] == [3, 3, 3]
    assert [timing.result for timing in timings] == list("abc")


def test_a_slow_call_runs_once_and_a_budget_leaves_few_runs(monkeypatch):
    monkeypatch.setattr(measuring, "PAUSE", 0)
    seconds = {"quick": 0.0, "long": 2.0, "slow": 9.0}
    monkeypatch.setattr(measuring, "timed", lambda call: (seconds[call()], None))
    calls = [lambda name=name: name for name in seconds]
    timings = measuring.in_turns(calls, 7, slow=5.0, budget=8.0)
    assert [timing.seconds for timing in timings] == [[0.0] * 7, [2.0] * 4, [9.0]]
    (timing,) = measuring.in_turns(calls[1:2], 7, budget=0.5)
    assert len(timing.seconds) == measuring.FEWEST_RUNS


# --- exit codes ---


def test_exit_0_where_nothing_is_slower(run, capsys):
    assert run({}, known=machine()) == 0
    assert "Nothing is slower" in capsys.readouterr().out


def test_exit_1_where_an_entry_is_slower_and_the_table_says_which(run, capsys, tmp_path):
    written = tmp_path / "rows.json"
    assert run({"counts": [1.5] * 9}, "--json", str(written), known=machine()) == 1
    out = capsys.readouterr().out
    assert "Slower than the baseline: counts." in out
    rows = {row["entry"]: row for row in json.loads(written.read_text())["rows"]}
    assert rows["counts"]["verdict"] == SLOWER
    assert rows["counts"]["ratios"] == pytest.approx([1.5] * (1 + check.REPEATS))
    assert {row["verdict"] for name, row in rows.items() if name != "counts"} == {SAME}


def test_exit_1_also_where_another_entry_is_new(run):
    known = machine()
    del known.ratios["margins"]
    assert run({"counts": [1.5] * 9}, known=known) == 1
    assert run({}, known=known) == 0


def test_exit_3_on_a_machine_that_the_baseline_does_not_know(run, capsys):
    baseline.write(run.path, {"another machine": machine(counts=0.1)})
    assert run({}) == 3
    assert "--update" in capsys.readouterr().out
    run.path.unlink()
    assert run({}) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "nothing"],
        ["--runs", "0"],
        ["--slow", "counts=1.5"],
        ["--slow", "minima=half"],
        ["--slow", "minima=0.5"],
        ["--slow", "minima=nan"],
        ["--update", "--smoke"],
    ],
)
def test_exit_2_for_arguments_that_cannot_be_used(run, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run({}, *arguments, known=machine())
    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_smoke_never_fails_on_speed(run, capsys):
    assert run({"counts": [99.0] * 9}, "--smoke", known=machine()) == 0


def test_smoke_times_a_real_entry(tmp_path, capsys):
    path = tmp_path / "none.json"
    assert check.main(["--smoke", "--only", "counts", "--baseline", str(path)]) == 0
    assert "| counts |" in capsys.readouterr().out
    assert not path.exists()


# --- the baseline file ---


def test_update_writes_medians_and_the_next_run_compares_with_them(run):
    assert run({"counts": [2.0, 9.0, 3.0]}, "--update") == 0
    known = baseline.read(run.path)[check.machine_class()]
    assert known.ratio("counts", "popcount") == 3.0
    assert known.made == check.versions()
    assert run({"counts": [3.3]}) == 0
    assert run({"counts": [9.0] * 9}) == 1


def test_update_of_one_entry_keeps_the_others_and_other_machines(run):
    here, other = check.machine_class(), "another machine"
    baseline.write(run.path, {here: machine(), other: machine(counts=7.0)})
    assert run({"counts": [5.0] * 9}, "--update", "--only", "counts") == 0
    machines = baseline.read(run.path)
    assert machines[here].ratio("counts", "popcount") == 5.0
    assert machines[here].ratio("margins", "popcount") == 1.0
    assert machines[other].ratio("counts", "popcount") == 7.0


ROW = {"calibration": "sgemm", "ratio": 1.0}


def content(ratios):
    return json.dumps({"format": 1, "machines": {"m": {"made": {}, "ratios": ratios}}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "\x00",
        "[" * 100_000,
        '{"format": 2, "machines": {}}',
        '{"format": 1}',
        '{"format": 1, "machines": {"m": 3}}',
        '{"format": 1, "machines": {"m": {"made": {}}}}',
        content([]),
        content({"counts": 1.0}),
        content({"counts": ROW | {"ratio": "fast"}}),
        content({"counts": ROW | {"ratio": 0.0}}),
        content({"counts": ROW | {"ratio": float("nan")}}),
        content({"counts": ROW | {"ratio": float("inf")}}),
        content({"counts": ROW | {"ratio": True}}),
        content({"counts": ROW | {"calibration": None}}),
    ],
)
def test_a_damaged_baseline_is_refused_in_one_sentence(run, capsys, text):
    run.path.write_text(text)
    for arguments in ([], ["--smoke"], ["--update"]):
        assert run({}, *arguments) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1
        assert str(run.path) in printed.err and "--update" in printed.err
    assert run.path.read_text() == text


def test_a_baseline_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "baseline.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BaselineError, match="cannot be read"):
        baseline.read(path)
    with pytest.raises(BaselineError, match="cannot be read"):
        baseline.read(tmp_path)


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "baseline.json"
    machines = {"one": machine(counts=0.125), "two": Machine()}
    baseline.write(path, machines)
    assert baseline.read(path) == machines
    assert [p.name for p in tmp_path.iterdir()] == ["baseline.json"]


def test_the_projects_baseline_can_be_used():
    names = {entry.name for entry in ENTRIES}
    machines = baseline.read(baseline.PATH)
    assert machines
    for known in machines.values():
        assert names & set(known.ratios)


def test_entries_have_names_of_their_own_and_known_calibrations():
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    assert {entry.calibration for entry in ENTRIES} <= set(CALIBRATIONS)
    assert all(isinstance(entry, Entry) and entry.tolerance > 1 for entry in ENTRIES)


# --- --slow ---

needs_kernels = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="no kernels to slow down")


class CountingKernel:
    """Looks like a kernel, and counts the tiles that it is given."""

    def __init__(self):
        self.tiles = 0
        self.whole = 0

    def py_func(self, tiles, first_tile, last_tile, written):
        """Only its parameters' names matter."""

    def __call__(self, tiles, first_tile, last_tile, written):
        self.tiles += last_tile - first_tile
        written += 1
        return written.copy()


@pytest.mark.parametrize("factor", [1.0, 1.5, 1.1, 2.0, 3.7])
@pytest.mark.parametrize("n_tiles", [1, 7, 100])
def test_a_slowed_kernel_does_so_much_more_of_its_work_and_writes_the_same(factor, n_tiles):
    kernel = CountingKernel()
    slow = slowed.SlowedKernel(kernel, factor)
    written = np.zeros(1)
    for call in range(1, 41):
        assert slow(None, 3, 3 + n_tiles, written) == call
        assert abs(kernel.tiles - factor * n_tiles * call) <= 0.51
    assert slow.calls == 40


@needs_kernels
@pytest.mark.parametrize("name", ["pattern_words", "minima", "cover", "margins", "grow_cell"])
def test_a_slowed_kernel_is_called_everywhere_and_changes_no_result(name):
    # merged cells know what they cover from their growth
    settings = {"selection": "random"} if name == "cover" else {}

    def masks_and_labels():
        network = fastmem.interpolate(
            X, y, width=130, max_bias=1.0, seed=1, n_threads=2, **settings
        )
        return network.second.masks, network.second.thresholds, network.predict(X)

    X, y = two_moons(1000)
    expected = masks_and_labels()
    kernel = slowed.kernels()[name]
    with slowed.slowed(name, 2.5) as slow:
        found = masks_and_labels()
    assert slow.calls > 0
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    calls = slow.calls
    masks_and_labels()
    assert slow.calls == calls
    assert not [
        module
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("fastmem.")
        and any(isinstance(value, slowed.SlowedKernel) for value in list(vars(module).values()))
    ]
    assert slowed.kernels()[name] is kernel


@needs_kernels
def test_slow_reaches_what_is_measured(run, tmp_path, capsys, monkeypatch):
    """And one that no chosen entry calls is an error, not a pass."""
    arguments = ["--smoke", "--baseline", str(tmp_path / "none.json"), "--only", "counts"]
    assert check.main([*arguments, "--slow", "minima=1.5"]) == 0
    assert check.main([*arguments, "--slow", "margins=1.5"]) == 2
    assert "margins" in capsys.readouterr().err
