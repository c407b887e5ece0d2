"""fastmem fit --cluster: the file of one machine, and a sentence for what cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("distributed")
pandas = pytest.importorskip("pandas")
from distributed import LocalCluster
from interrupting import interrupt
from typer.testing import CliRunner

from fastmem.commands import app
from fastmem.machine import clusters
from fastmem.tables import pieces

N = 240


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1)  # each group of rows is a piece


def no_workers(n=0):
    return LocalCluster(
        n_workers=n, processes=False, threads_per_worker=1, protocol="tcp://",
        dashboard_address=":0", silence_logs=50,
        memory_limit=0,  # this process may have much of other tests
    )  # fmt: skip


@pytest.fixture(scope="module")
def scheduler():
    with no_workers(2) as cluster:
        yield cluster.scheduler_address


def numbers(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 3)).astype(np.float32)
    labels = (X[:, 0] > 0).astype(np.int16) + 2 * (X[:, 1] > 0.5)
    return pandas.DataFrame(X, columns=["a", "b", "c"]).assign(constant=1, y=labels)


def raw():
    rng = np.random.default_rng(1)
    frame = numbers().drop(columns="y")
    frame.loc[3:7, "a"] = np.nan
    frame["word"] = np.array(["x", "ö", None], object)[rng.integers(0, 3, N)]
    frame["kind"] = pandas.Categorical(np.array(["low", "mid", "top"])[rng.integers(0, 3, N)])
    frame["day"] = pandas.Timestamp("2020-01-01") + pandas.to_timedelta(range(N), "D")
    frame["text"] = [f"{k}.5" for k in range(N)]
    frame["id"] = [f"id{k}" for k in range(N)]
    frame["y"] = np.array(["no", "yes", "maybe"], object)[rng.integers(0, 3, N)]
    frame.loc[[0, 100, *range(200, 240)], "y"] = None
    return frame


def contradicting():
    frame = numbers().round(0)
    frame["y"] = frame["y"].map(str)
    return frame


def write(frame, directory="data", cuts=(60, 61, 200)):
    """Files of the rows, names of which sort otherwise than in which they were made."""
    ends = [0, *cuts, len(frame)]
    for k in reversed(range(len(ends) - 1)):
        path = Path(directory) / f"{k:02}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame[ends[k] : ends[k + 1]].to_parquet(path, row_group_size=40, index=False)
    return directory


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.stderr
    return result


def refused(*arguments):
    result = run("fit", *arguments, code=2)
    assert result.stderr.count("\n") == 1 and not list(Path().glob("*.npz"))
    return result.stderr


def both(scheduler, data, *options):
    """What a fit says on one machine and on the cluster, whose files are the same."""
    said = []
    for name, more in (("one", ()), ("many", ("--cluster", scheduler))):
        files = ("--out", f"{name}.npz", "--wrong", f"{name}.csv")
        result = run("fit", data, "--label", "y", "--seed", 1, *options, *files, *more, "--json")
        said.append((json.loads(result.stdout), result.stderr))
    assert Path("one.npz").read_bytes() == Path("many.npz").read_bytes()
    assert Path("one.csv").read_bytes() == Path("many.csv").read_bytes()
    for facts, _ in said:
        for name in ("seconds", "peak_bytes", "estimated_bytes", "model_file"):
            del facts[name]
    assert said[0] == said[1]
    return said[1][0]


# The file of one machine -------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    ["--width", 70], ["--decision", "vote"],
    ["--selection", "random", *(f"--covered={k}" for k in range(3))],
])  # fmt: skip
def test_numbers_as_they_stand_in_files(scheduler, options):
    facts = both(scheduler, write(numbers()), *options)
    assert "columns" not in facts


@pytest.mark.parametrize("options", [
    [], ["--drop", "id", "--as", "kind=ordinal", "--covered=no", "--covered=yes"],
    ["--keep", "text"],
])  # fmt: skip
def test_a_raw_table(scheduler, options):
    facts = both(scheduler, write(raw()), *options)
    assert facts["rows_without_label"] == 42 and facts["columns"]


def test_numbers_that_are_texts_or_lack_a_label(scheduler):
    frame = numbers().drop(columns="constant").astype({"a": str})
    facts = both(scheduler, write(frame), "--width", 70)
    assert "columns" not in facts
    frame = numbers().astype({"y": "Int16"})
    frame.loc[[5, 239], "y"] = None
    assert both(scheduler, write(frame), "--width", 70)["rows_without_label"] == 2


def test_contradictions_and_rows_that_are_not_separated(scheduler):
    facts = both(scheduler, write(contradicting()))
    assert facts["rows_that_contradict"] == facts["rows_labelled_otherwise"] > 0
    facts = both(scheduler, write(numbers()), "--width", 3)
    assert facts["rows_not_separated"] > 0 and facts["rows_labelled_otherwise"] > 0


def test_one_file_a_pattern_and_directories_that_name_columns(scheduler):
    write(numbers(), "data", ())
    both(scheduler, "data/00.parquet", "--width", 70)
    write(numbers(2), "data/part")
    both(scheduler, "data/part/0[1-3].parquet", "--width", 70)
    for year in (2023, 2024):
        write(numbers(year), f"years/year={year}/kind={'x' if year == 2023 else 'y'}")
    facts = both(scheduler, "years")
    assert {"year", "kind"} <= {entry["column"] for entry in facts["columns"]}


def test_what_is_printed(scheduler):
    result = run("fit", write(raw()), "--label", "y", "--cluster", scheduler, "--wrong", "w.csv")
    for words in ("Columns of data", "category of 2 levels", "training accuracy", "data.npz"):
        assert words in result.stdout
    assert "42 rows without a label are left out" in result.stderr


def written_otherwise():
    """Files of a table as pandas writes them, whose types differ from file to file."""
    frame = raw()
    frame["count"] = np.arange(N) % 7
    nothing = frame[:0].astype(object)  # whose columns pandas writes as nulls
    some = [frame[start : start + 40].copy() for start in range(0, N, 40)]
    some[0]["word"] = np.nan  # of floats
    some[1]["word"] = None
    some[1] = some[1].astype({"count": np.int8, "kind": str, "b": np.float64})
    some[2].loc[83, "count"] = np.nan
    some[3]["day"] = some[3]["day"].astype("datetime64[ms]")
    some[4]["kind"] = some[4]["kind"].cat.add_categories([f"more {k}" for k in range(200)])
    some[4]["text"] = None
    return [nothing, *some[:3], nothing, *some[3:]]


def write_all(frames, directory="data"):
    Path(directory).mkdir()
    for k, frame in enumerate(frames):
        frame.to_parquet(Path(directory) / f"{k}.parquet", row_group_size=15, index=False)
    return directory


def test_types_may_differ_from_file_to_file(scheduler):
    frames = written_otherwise()
    both(scheduler, write_all(frames))
    network = Path("one.npz").read_bytes()
    whole = pandas.concat([frame for frame in frames if len(frame)])
    whole = whole.astype({"kind": str})
    whole["word"] = whole["word"].where(whole["word"].notna(), None)
    run("fit", write_all([whole], "whole"), "--label", "y", "--seed", 1, "--out", "whole.npz")
    assert Path("whole.npz").read_bytes() == network


def test_numbers_and_labels_of_other_types_in_other_files(scheduler):
    frame = numbers()
    some = [frame[start : start + 60] for start in range(0, N, 60)]
    some[1] = some[1].astype({"a": np.float64, "y": np.int64, "constant": np.int8})
    some[2] = some[2].astype({"y": np.float64, "constant": np.float32})
    both(scheduler, write_all([frame[:0].astype(str), *some]))
    whole = frame.astype({"a": np.float64, "y": np.float64})
    run("fit", write_all([whole], "whole"), "--label", "y", "--seed", 1, "--out", "whole.npz")
    assert Path("whole.npz").read_bytes() == Path("one.npz").read_bytes()


def test_a_column_may_have_no_values_at_all(scheduler):
    frame = numbers()
    files = [frame[:90].assign(a=np.nan), frame[90:].assign(a=pandas.NaT)]
    said = both(scheduler, write_all(files))
    assert {"column": "a", "became": "left out: no values", "features": 0} in said["columns"]


@pytest.mark.parametrize("second", ["abc", "cba", "abcd", "", None])
def test_categories_may_be_ordered_in_other_ways_in_other_files(scheduler, second):
    """Then there is no order; a file without rows has none that counts."""
    frame = numbers()
    words = np.array(["b", "c", "a"])[np.arange(N) % 3]
    some = []
    for start, levels in ((0, "cab"), (0, "abc"), (80, second), (160, "abc")):
        part = frame[start : start + 80 * len(some[:1])]
        word = pandas.Series(words[start : start + len(part)], part.index, dtype=object)
        if not levels:
            word[:] = None
        if levels is not None:
            word = word.astype(pandas.CategoricalDtype(list(levels), ordered=True))
        some.append(part.assign(word=word))
    said = both(scheduler, write_all(some))
    made = next(str(one) for one in said["columns"] if "word" in str(one))
    is_alike = second == "abc"
    assert ("place among 3" if is_alike else "category of 3 levels") in made


DIFFERENT = {
    "texts": (
        dict(a="word"),
        "column 'a' is of type float in {0} and of type large_string in {1}, which no column has "
        "together; make it of one type in all of them",
    ),
    "bools": (dict(constant=True), "column 'constant' is of type int64 in {0} and of type bool in"),
    "too large": (
        dict(a=2**53 + np.arange(9)),
        "{1}, column 'a' is of type int64, and of all parts together of type double (Integer "
        "value 9007199254740993 not in range",
    ),
    "labels": (dict(y="no"), "column 'y' is of type int64 in {0} and of type large_string in {1}"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_types_that_do_not_go_together_are_refused_by_column_and_file(scheduler, name):
    changed, words = DIFFERENT[name]
    frame = numbers()
    write_all([frame[:0], frame[:40], frame[40:49].assign(**changed)])
    words = words.format("data/1.parquet", "data/2.parquet")
    for more in ((), ("--cluster", scheduler)):
        said = refused("data", "--label", "y", "--out", "net.npz", *more)
        assert words.replace("large_", "") in said.replace("large_", "")


@pytest.mark.parametrize("when", ["read_on", "network_of"])
def test_a_worker_that_goes_meanwhile(monkeypatch, when):
    """Its pieces are read again by another, and encoded as they were."""
    from fastmem.dask import tables

    original = getattr(tables, when)
    read = []
    lost = []
    with no_workers(3) as cluster:

        def loses(*arguments, **more):
            some = [worker for worker in cluster.workers.values() if worker.state.actors]
            cluster.sync(some[0].close)
            lost.append(some[0].address)
            return original(*arguments, **more)

        def part_of_piece(*arguments):
            read.append(arguments[0])
            return make(*arguments)

        make = tables.part_of_piece
        monkeypatch.setattr(tables, when, loses)
        monkeypatch.setattr(tables, "part_of_piece", part_of_piece)
        both(cluster.scheduler_address, write(raw()))
    assert len(lost) == 1 and len(read) > len(set(read))


# What is refused ---------------------------------------------------------------------------------


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr(clusters, "TO_CONNECT", 0.5)
    data = write(numbers())
    for address in ("tcp://127.0.0.1:9", "nonsense", "local:0"):
        sentence = refused(data, "--label", "y", "--cluster", address)
        assert f"no scheduler of Dask answers at '{address}'" in sentence


def test_no_workers(monkeypatch):
    monkeypatch.setattr(clusters, "FOR_WORKERS", 0.3)
    with no_workers() as cluster:
        address = cluster.scheduler_address
        sentence = refused(write(numbers()), "--label", "y", "--cluster", address)
    assert "has no workers" in sentence and f"dask worker {address}" in sentence


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    sentence = refused(write(numbers()), "--label", "y", "--cluster", "tcp://127.0.0.1:9")
    assert 'pip install "fastmem-nets[dask]"' in sentence


@pytest.mark.parametrize("options, words", [
    (["--compact"], "--compact is for points on one machine"),
    (["--objective", "bytes"], "--objective bytes is for"),
    (["--activation", "relu"], "--activation relu is for"),
    (["--width", "smallest"], "--width smallest is for"),
    (["--memory-limit", "4GB"], "--memory-limit is for"),
    (["--delimiter", ";"], "--delimiter is for files of text"),
    (["--missing", "?"], "--missing is for files of text"),
    (["--no-header"], "--header is for files of text"),
])  # fmt: skip
def test_what_is_for_one_machine(options, words):
    assert words in refused(write(numbers()), "--label", "y", "--cluster", "tcp://x:1", *options)


def test_what_is_no_table_of_parquet(scheduler):
    cluster = "--cluster", scheduler
    Path("a.csv").write_text("a,y\n1,0\n2,1\n")
    assert "holds no parquet" in refused("a.csv", "--label", "y", *cluster)
    np.savez("arrays.npy", X=np.zeros((2, 2)))
    Path("arrays.npy.npz").rename("arrays.zip")
    assert "standard input" in refused("-", "--label", "y", *cluster)
    assert "does not exist" in refused("nowhere.parquet", "--label", "y", *cluster)
    assert "needs a label column" in refused(write(numbers()), *cluster)
    assert "no column 'z'" in refused("data", "--label", "z", *cluster)
    assert "no labels are" in refused(write(raw(), "raw"), "--label", "day", *cluster)
    numbers()[:0].to_parquet("empty.parquet")
    assert "no rows of data" in refused("empty.parquet", "--label", "y", *cluster)


def test_what_workers_refuse(scheduler):
    cluster = "--cluster", scheduler
    write(raw())
    sentence = refused("data", "--label", "y", "--unlabelled", "refuse", *cluster)
    assert "column 'y' of data has no label at data row 0 " in sentence
    assert "no column 'zzz'" in refused("data", "--label", "y", "--drop", "zzz", *cluster)
    frame = raw().assign(y=pandas.Series([None] * N, dtype="string"))
    sentence = refused(write(frame, "unlabelled"), "--label", "y", *cluster)
    assert "unlabelled has no row with a label" in sentence
    frame = numbers()
    frame.loc[130, "y"] = 7
    frame = frame.astype({"y": float})
    frame.loc[230, "y"] = 0.5
    sentence = refused(write(frame, "fractions"), "--label", "y", *cluster)
    assert "0.5, not a whole number" in sentence and "03.parquet" in sentence
    sentence = refused(
        write(contradicting(), "twice"), "--label", "y", "--contradictions", "raise", *cluster
    )
    assert "contradict" in sentence or "different labels" in sentence


def test_files_that_workers_do_not_see(scheduler, monkeypatch):
    data = write(numbers())
    read = pieces.read_piece

    def unseen(piece, **more):
        return read(piece._replace(path=Path("/elsewhere/00.parquet")), **more)

    monkeypatch.setattr("fastmem.dask.tables.read_piece", unseen)
    sentence = refused(data, "--label", "y", "--cluster", scheduler)
    assert "/elsewhere/00.parquet is not there on every machine" in sentence


# Processes ---------------------------------------------------------------------------------------


def test_processes_of_this_machine_and_an_interrupt():
    """Ctrl-C reaches all processes of a terminal: one sentence, no file, no process left."""
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.normal(size=(60_000, 8)), columns=list("abcdefgh"))
    write(frame.assign(y=rng.integers(0, 4, len(frame))), "hard", (30_000,))
    write(numbers())
    command = "from fastmem.cli import main; main()"
    options = ["--label", "y", "--seed", "1", "--cluster", "local:2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def begin(*arguments):
        return subprocess.Popen(
            [sys.executable, "-c", command, "fit", *arguments, *options], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip

    fitting = begin("data", "--out", "many.npz", "--width", "70")
    _, said = fitting.communicate(timeout=1000)
    assert fitting.returncode == 0, said
    run("fit", "data", "--label", "y", "--seed", 1, "--width", 70, "--out", "one.npz")
    assert Path("one.npz").read_bytes() == Path("many.npz").read_bytes()
    fitting = begin("hard", "--out", "hard.npz")
    send = lambda: os.killpg(fitting.pid, signal.SIGINT)  # noqa: E731
    _, said = interrupt(fitting, after=10.0, most=20.0, send=send)
    assert fitting.returncode == 130 and said == "Interrupted: no file was written.\n"
    with pytest.raises(ProcessLookupError):
        for _ in range(600):  # the last ones end by themselves
            os.killpg(fitting.pid, 0)
            time.sleep(0.1)
    assert not Path("hard.npz").exists()
