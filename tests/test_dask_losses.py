"""Dask's worker processes, one to three: the file of one machine, whatever becomes of them.

What users of other libraries on Dask suffered from, and the test of it:

- a lost worker, or one whose tasks are pinned to it, and a fit that hangs or fails: all tests here
- a worker or a part without data, or without a class: test_one_to_three_processes here,
  test_the_file_of_one_machine in test_dask
- X and y in other parts: test_wrong_collections_are_refused in test_dask; parts that are joined
  while they are read: test_small_files_that_dask_reads_together there
- two fits at once that wait for each other: test_two_fits_at_once_from_threads_and_from_clients,
  test_inside_a_task in test_dask
- a worker that is full, paused, or killed for its memory: test_a_paused_worker_takes_no_shard and
  the kills here
- ports: none is opened; clients that reach only the scheduler: test_where_workers_cannot_be_reached
  in test_dask
- other versions on workers, or no fastmem: in test_dask and test_a_worker_without_fastmem here
- data that is lost with its worker: test_persisted_data_is_made_again_and_scattered_data_warned_of
  in test_dask, test_predictions_outlive_a_worker here
- slow predictions, which send the model with every part: it is one task of the graph, in
  test_predictions_outlive_a_worker
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from test_distributed import agree, coins, fit_here

import fastmem

pytest.importorskip("distributed")
pandas = pytest.importorskip("pandas")
import dask
import dask.array as da
import dask.dataframe as dd
from distributed import Client, LocalCluster

import fastmem.dask
from fastmem.dask import shards
from fastmem.distributed.transport import LostShardError

CASES = {
    "random": dict(selection="random"),
    "merge": dict(width=300),
}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sends signals to processes")


def settings():
    return dask.config.set({
        "distributed.scheduler.worker-ttl": "4s",
        "distributed.scheduler.allowed-failures": 30,
        "distributed.comm.timeouts.connect": "5s",
    })  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    options = dict(n_workers=1, threads_per_worker=1, dashboard_address=":0", memory_limit="2GB")
    with settings(), LocalCluster(**options, silence_logs=50) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster):
    with Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files of rows; two of them have none, one is of one class."""
    directory = tmp_path_factory.mktemp("parquet")
    X, y = coins(700, 12, 3)
    order = np.concatenate([np.flatnonzero(y[:200] == 1), np.flatnonzero(y[:200] != 1)])
    X[:200], y[:200] = X[order], y[order]
    frame = pandas.DataFrame(X, columns=[f"x{k}" for k in range(12)]).assign(y=y)
    cuts = [0, 0, 60, 200, 201, 300, 400, 550, 550, 700]
    for k, (start, stop) in enumerate(pairwise(cuts)):
        frame[start:stop].to_parquet(directory / f"{k}.parquet")
    expected = {
        name: fit_here(frame.drop(columns="y"), frame["y"], **parameters)
        for name, parameters in CASES.items()
    }
    return str(directory), frame, expected


def fit(data, name):
    frame = dd.read_parquet(data[0])
    X, y = frame.drop(columns="y"), frame["y"]
    agree(fastmem.dask.interpolate(X, y, seed=1, **CASES[name]), data[2][name])


def have(cluster, client, n_workers):
    """Let there be so many workers."""
    cluster.scale(n_workers)
    deadline = time.monotonic() + 60
    while len(client.scheduler_info(n_workers=-1)["workers"]) != n_workers:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def pids(client):
    return client.run(os.getpid)


@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_one_to_three_processes(cluster, client, data, n_workers):
    have(cluster, client, n_workers)
    for name in CASES:
        fit(data, name)


@pytest.fixture
def three(cluster, client):
    have(cluster, client, 3)
    return client


def before(monkeypatch, command, act, times=1):
    """Act once, before a command goes to the shards; with the address of a shard's worker."""
    call, acted = shards.DaskShards.call, []

    def acting(self, seqs, messages, restore):
        names = [name for name, *_ in messages[0]]
        if command in names and len(acted) < times:
            acted.append(self._host_of[0])
            act(self._host_of[0])
        return call(self, seqs, messages, restore)

    monkeypatch.setattr(shards.DaskShards, "call", acting)
    return acted


COMMANDS = {
    "random": ["be_at", "facts", "place", "sums", "fill", "open_class", "cover", "rows"],
    "merge": ["fill", "peek", "nearest", "cover"],
}


@pytest.mark.parametrize(("name", "command"), [(n, c) for n in CASES for c in COMMANDS[n]])
def test_a_worker_is_killed(three, data, monkeypatch, name, command):
    running = pids(three)
    acted = before(monkeypatch, command, lambda host: os.kill(running[host], signal.SIGKILL))
    fit(data, name)
    assert acted


def test_workers_are_killed_again_and_again(three, data, monkeypatch):
    """Some while they recover, and some two at once."""
    stop = threading.Event()

    def killing():
        rng = np.random.default_rng(0)
        while not stop.wait(1.0):
            known = three.scheduler_info(n_workers=-1)["workers"]
            if len(known) > 1:
                some = rng.permutation(list(known))[:2]
                for address in some[: rng.integers(1, 3)]:
                    with_pid = three.run(os.getpid, workers=[str(address)], on_error="ignore")
                    for pid in with_pid.values():
                        os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr(fastmem.distributed.transport, "ATTEMPTS", 100)
    thread = threading.Thread(target=killing)
    thread.start()
    try:
        fit(data, "random")
    finally:
        stop.set()
        thread.join()


def test_a_worker_is_killed_while_parts_are_made(three, data):
    running = pids(three)
    frame = dd.read_parquet(data[0])
    pause = lambda part: (time.sleep(0.2), part)[1]  # noqa: E731
    slow = frame.drop(columns="y").map_partitions(pause, meta=frame.drop(columns="y")._meta)
    timer = threading.Timer(0.5, os.kill, (next(iter(running.values())), signal.SIGKILL))
    timer.start()
    agree(fastmem.dask.interpolate(slow, frame["y"], seed=1, **CASES["merge"]), data[2]["merge"])
    timer.join()


@pytest.mark.parametrize("command", ["fill", "cover"])
def test_a_worker_is_stopped(three, data, monkeypatch, command):
    """Until Dask takes it from the cluster, and its nanny kills it."""
    running = pids(three)
    acted = before(monkeypatch, command, lambda host: os.kill(running[host], signal.SIGSTOP))
    fit(data, "random")
    assert acted


@pytest.mark.parametrize("through", ["directly", "the scheduler"])
def test_a_worker_is_stopped_for_some_moments(three, data, monkeypatch, through):
    running = pids(three)

    def stop(host):
        os.kill(running[host], signal.SIGSTOP)
        threading.Timer(1.0, os.kill, (running[host], signal.SIGCONT)).start()

    acted = before(monkeypatch, "cover", stop)
    monkeypatch.setattr(three, "direct_to_workers", through == "directly")
    fit(data, "merge")
    assert acted


def test_a_worker_is_taken_from_the_cluster(three, data, monkeypatch):
    acted = before(monkeypatch, "cover", lambda host: three.retire_workers([host]))
    fit(data, "random")
    assert acted and acted[0] not in three.scheduler_info(n_workers=-1)["workers"]


def test_a_worker_joins_late_and_takes_over(cluster, client, data, monkeypatch):
    """All others go before the next round: it is the only one, and begins with nothing."""
    have(cluster, client, 1)
    (old,) = client.scheduler_info(n_workers=-1)["workers"]

    def change(host):
        cluster.scale(2)
        client.wait_for_workers(2, timeout=60)
        client.retire_workers([old], close_workers=True, remove=True)

    acted = before(monkeypatch, "fill", change)
    fit(data, "random")
    assert acted == [old]


def test_a_paused_worker_takes_no_shard(three, data, monkeypatch):
    """It keeps what it has; a lost shard goes to another."""
    running = pids(three)
    paused = []

    def pause(dask_worker):
        from distributed.core import Status

        dask_worker.memory_manager.memory_pause_fraction = False
        dask_worker.status = Status.paused

    def resume(dask_worker):
        from distributed.core import Status

        dask_worker.status = Status.running

    def act(host):
        other = next(address for address in running if address != host)
        paused.append(other)
        three.run(pause, workers=[other])
        os.kill(running[host], signal.SIGKILL)

    before(monkeypatch, "cover", act)
    monkeypatch.setattr(shards, "_FOR_ANOTHER", 0.0)
    fit(data, "merge")
    assert paused
    three.run(resume, workers=paused)


def test_no_worker_at_all_ends_a_fit(cluster, client, data, monkeypatch):
    have(cluster, client, 1)
    monkeypatch.setattr(shards, "_FOR_ANY", 1.0)
    before(monkeypatch, "cover", lambda host: have(cluster, client, 0))
    words = "shard 0, last on worker tcp://.* was lost, and for 1 s there has been no worker that"
    with pytest.raises(LostShardError, match=words):
        fit(data, "random")
    frame = dd.read_parquet(data[0])
    with pytest.raises(LostShardError, match="the parts were to be"):
        fastmem.dask.interpolate(frame.drop(columns="y"), frame["y"])


def test_predictions_outlive_a_worker(three, data):
    directory, frame, expected = data
    points = dd.read_parquet(directory).drop(columns="y")
    labels = fastmem.dask.predict(expected["merge"], points)
    held = labels.persist()
    dask.compute(held.count())
    os.kill(next(iter(pids(three).values())), signal.SIGKILL)
    found = held.compute()
    assert found.index.equals(frame.index) and np.array_equal(found, expected["merge"].predict(
        frame.drop(columns="y")
    ))  # fmt: skip
    names = [name for name in dict(labels.optimize().dask) if str(name).startswith("Network-")]
    assert len(names) == 1


def test_a_worker_without_fastmem(tmp_path):
    """It is named, and lives."""
    blocking = "import sys\nsys.modules['fastmem'] = None\n"
    (tmp_path / "blocking.py").write_text(blocking)
    options = dict(n_workers=1, threads_per_worker=1, dashboard_address=":0", memory_limit="1GB")
    X, y = coins()
    with (
        LocalCluster(**options, silence_logs=50, preload=str(tmp_path / "blocking.py")) as cluster,
        Client(cluster) as client,
    ):
        X, y = da.from_array(X, chunks=(80, -1)), da.from_array(y, chunks=80)
        (address,) = client.scheduler_info(n_workers=-1)["workers"]
        with pytest.raises(ModuleNotFoundError, match=f"worker {address} has no module fastmem"):
            fastmem.dask.interpolate(X, y)
        assert [*client.scheduler_info(n_workers=-1)["workers"]] == [address]
