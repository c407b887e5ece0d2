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
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import wait
from itertools import pairwise

import numpy as np
import pytest
import relays
from test_distributed import agree, coins, fit_here
from test_regions import noisy

import fastmem

pytest.importorskip("distributed")
pandas = pytest.importorskip("pandas")
import dask
import dask.array as da
import dask.dataframe as dd
from distributed import Client, LocalCluster
from distributed.core import Status
from distributed.metrics import time as clock

import fastmem.dask
from fastmem.dask import shards
from fastmem.distributed import groups
from fastmem.distributed.transport import LostShardError

CASES = {
    "random": dict(selection="random"),
    "merge": dict(width=300),
}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sends signals to processes")


def settings():
    return dask.config.set({
        "distributed.scheduler.allowed-failures": 30,
        "distributed.comm.timeouts.connect": "30s",
        "distributed.deploy.lost-worker-timeout": "300s",  # as a nanny may be slow
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
    """Let so many workers answer, and no other begin or end."""
    start = time.monotonic()
    while not cluster.sync(settled, cluster, n_workers) or len(pids(client)) != n_workers:
        assert time.monotonic() - start < 300
        time.sleep(0.1)


async def settled(cluster, n_workers):
    """Ask for so many workers, and none of nannies that have given up theirs; whether all is so."""
    for name, nanny in [*cluster.workers.items()]:
        if nanny.status in (Status.closed, Status.failed):
            cluster.worker_spec.pop(name, None)
    cluster.scale(n_workers)
    known = {worker.name for worker in cluster.scheduler.workers.values()}
    is_so = known == cluster.workers.keys() == cluster.worker_spec.keys()
    return is_so and len(known) == n_workers


def pids(client):
    """Processes, by address; one that was killed may be listed still."""
    return client.run(os.getpid, on_error="ignore")


@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_one_to_three_processes(cluster, client, data, n_workers):
    have(cluster, client, n_workers)
    for name in CASES:
        fit(data, name)


@pytest.fixture
def three(cluster, client):
    have(cluster, client, 3)
    return client


def before(monkeypatch, command, act, nth=1):
    """Act before a command goes to the shards for the nth time; with a shard's worker."""
    call, seen, acted = shards.DaskShards.call, [], []

    def acting(self, seqs, messages, restore):
        if command in [name for name, *_ in messages[0]]:
            seen.append(command)
            if len(seen) == nth:
                acted.append(self._host_of[0])
                act(self._host_of[0])
        return call(self, seqs, messages, restore)

    monkeypatch.setattr(shards.DaskShards, "call", acting)
    return acted


@pytest.mark.parametrize(
    ("name", "command", "nth"),
    [
        ("random", "be_at", 1), ("random", "place", 1), ("random", "fill", 1),
        ("random", "fill", 2), ("random", "cover", 2), ("merge", "nearest", 1),
    ],
)  # fmt: skip
def test_a_worker_is_killed(three, data, monkeypatch, name, command, nth):
    """Before there is anything, while points are placed, as hyperplanes join, in the selection."""
    if command == "fill" and nth == 2:  # the others are taken to be full: its nanny begins another
        monkeypatch.setattr(shards, "_HALF_FULL", 0.0)
    running = pids(three)
    kill = lambda host: os.kill(running[host], signal.SIGKILL)  # noqa: E731
    acted = before(monkeypatch, command, kill, nth)
    fit(data, name)
    assert acted


def test_a_killed_worker_that_is_listed_still_is_not_chosen(three, data, monkeypatch):
    """The scheduler takes note of a death when it can, and shards are lost to no worker twice."""
    running, workers, listed = pids(three), shards.DaskShards._workers, []
    seen = set()

    def workers_then(self):
        seen.add(self)
        until, known = listed[0] if listed else (0, {})
        return dict(known) if time.monotonic() < until else workers(self)

    def kill(host):
        known = three.scheduler_info(n_workers=-1)["workers"]
        listed.append((time.monotonic() + 2, known))
        os.kill(running[host], signal.SIGKILL)

    monkeypatch.setattr(shards.DaskShards, "_workers", workers_then)
    acted = before(monkeypatch, "cover", kill, 2)
    fit(data, "random")
    assert acted and [transport.n_lost for transport in seen] == [1]


def test_workers_are_killed_again_and_again(three, data, monkeypatch):
    """Some while they recover, and some two at once."""
    call, killed = shards.DaskShards.call, []

    def killing(self, seqs, messages, restore):
        if self.n_rounds % 15 == 5 and len(killed) < 4:
            running = pids(three)
            for host in [host for host in set(self._host_of.values()) if host in running][:2]:
                os.kill(running[host], signal.SIGKILL)
                killed.append(host)
        return call(self, seqs, messages, restore)

    monkeypatch.setattr(shards.DaskShards, "call", killing)
    fit(data, "random")
    assert len(killed) >= 4


def test_a_worker_is_killed_while_parts_are_made(three, data):
    running = pids(three)
    frame = dd.read_parquet(data[0])
    pause = lambda part: (time.sleep(0.2), part)[1]  # noqa: E731
    slow = frame.drop(columns="y").map_partitions(pause, meta=frame.drop(columns="y")._meta)
    timer = threading.Timer(0.5, os.kill, (next(iter(running.values())), signal.SIGKILL))
    timer.start()
    agree(fastmem.dask.interpolate(slow, frame["y"], seed=1, **CASES["merge"]), data[2]["merge"])
    timer.join()


def stopping(cluster, client, monkeypatch):
    """What stops a worker, and lets Dask look until it is gone; and the threads that look."""
    running, threads = pids(client), []

    async def look(host):
        for worker in cluster.scheduler.workers.values():
            if worker.address != host:  # which may be slow, and no more
                worker.last_seen = clock()
        await cluster.scheduler.check_worker_ttl()

    def look_until_it_is_gone(host):
        while host in cluster.scheduler.workers:
            time.sleep(1)
            cluster.sync(look, host)

    def stop(host):
        os.kill(running[host], signal.SIGSTOP)
        monkeypatch.setattr(cluster.scheduler, "worker_ttl", 1.0)
        threads.append(threading.Thread(target=look_until_it_is_gone, args=(host,)))
        threads[0].start()

    return stop, threads


def test_a_worker_is_stopped(cluster, three, data, monkeypatch):
    """Until Dask takes it from the cluster, as it has not been heard of."""
    stop, threads = stopping(cluster, three, monkeypatch)
    acted = before(monkeypatch, "cover", stop, 2)
    fit(data, "random")
    threads[0].join()
    assert acted


@pytest.fixture
def stop_for_good(cluster, client):
    """What stops one of two workers, which nobody kills.

    Its connections stay as they are, and nothing ever comes.
    """
    have(cluster, client, 1)
    (nannied,) = client.scheduler_info(n_workers=-1)["workers"]
    program = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
    options = ["--no-nanny", "--no-dashboard", "--nthreads", "1"]
    alone = subprocess.Popen([*program, *options], stderr=subprocess.DEVNULL)
    try:
        client.wait_for_workers(2, timeout=300)
        (name,) = set(client.scheduler_info(n_workers=-1)["workers"]) - {nannied}

        def stop():
            os.kill(alone.pid, signal.SIGSTOP)
            remove = cluster.scheduler.remove_worker  # as Dask does where there is no nanny
            timer = threading.Timer(
                1.0, cluster.sync, (remove,), dict(address=name, stimulus_id="test")
            )
            timer.start()

        yield stop
    finally:
        alone.kill()
        alone.wait()


def test_a_worker_is_stopped_that_nobody_kills(stop_for_good, data, monkeypatch):
    acted = before(monkeypatch, "cover", lambda host: stop_for_good(), 2)
    fit(data, "random")
    assert acted


# Through the head of a group -------------------------------------------------------------------


@pytest.fixture
def group(three, monkeypatch):
    """Three shards in a group; and what was seen: the transport, at rounds through its head."""
    return relays.watch(monkeypatch, shards.DaskShards)


@pytest.mark.parametrize("name", CASES)
def test_in_a_group(group, data, name):
    fit(data, name)
    assert len(group) > 10 and not group[0].n_lost


@pytest.mark.parametrize("which", [0, 1], ids=["head", "member"])
@pytest.mark.parametrize("nth", [3, 12])
def test_of_a_group_one_is_killed(three, group, data, monkeypatch, which, nth):
    """It alone is lost, whoever has answered to the head."""
    running = pids(three)
    kill = lambda self: os.kill(running[self._host_of[which]], signal.SIGKILL)  # noqa: E731
    relays.when_relayed(monkeypatch, shards.DaskShards, nth, kill)
    fit(data, "random")
    assert len(group) > nth and group[0].n_lost == 1


@pytest.mark.parametrize("which", [0, 1], ids=["head", "member"])
def test_of_a_group_one_is_stopped(cluster, three, group, data, monkeypatch, which):
    stop, threads = stopping(cluster, three, monkeypatch)
    relays.when_relayed(monkeypatch, shards.DaskShards, 12, lambda self: stop(self._host_of[which]))
    fit(data, "random")
    threads[0].join()
    assert group[0].n_lost == 1


@pytest.mark.parametrize("which", [0, 1], ids=["head", "member"])
def test_of_a_group_one_is_stopped_for_some_moments(three, group, data, monkeypatch, which):
    running = pids(three)

    def stop(self):
        pid = running[self._host_of[which]]
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(1.0, os.kill, (pid, signal.SIGCONT)).start()

    relays.when_relayed(monkeypatch, shards.DaskShards, 12, stop)
    fit(data, "merge")
    assert len(group) > 12 and not group[0].n_lost


def test_an_interrupt_while_a_member_is_stopped(three, group, data, monkeypatch):
    running, stopped = pids(three), []

    def stop(self):
        stopped.append(running[self._host_of[1]])
        os.kill(stopped[0], signal.SIGSTOP)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    relays.when_relayed(monkeypatch, shards.DaskShards, 12, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(data, "random")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def test_workers_that_do_not_reach_each_other_are_no_group(three, group, data, monkeypatch):
    monkeypatch.setattr(groups, "_MOST_FAILURES", 1)  # each takes some seconds
    join, reached = shards.DaskShards._join, []

    def join_others(self, some):
        hosts, self._host_of = self._host_of, {0: self._host_of[0], 1: "tcp://127.0.0.1:1"}
        self._host_of[2] = hosts[2]
        future = join(self, some)
        reached.append(future.result())
        self._host_of = hosts
        return future

    monkeypatch.setattr(shards.DaskShards, "_join", join_others)
    fit(data, "random")
    assert not group and reached == [False]


def test_through_the_scheduler_there_is_no_group(three, group, data, monkeypatch):
    monkeypatch.setattr(three, "direct_to_workers", False)
    fit(data, "random")
    assert not group


# From worker to worker ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flipped():
    return noisy(5, 2500, 3, 3)


def fit_among_neighbours(flipped):
    X, y = flipped
    parts = da.from_array(X, chunks=(250, -1)), da.from_array(y, chunks=250)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        found = fastmem.dask.interpolate(*parts, seed=1, width=90)
    agree(found, fit_here(X, y, width=90))


def test_blocks_go_from_worker_to_worker(three, flipped, monkeypatch):
    seen, names = relays.watch_fetches(monkeypatch, shards.DaskShards)
    fit_among_neighbours(flipped)
    assert seen[0].fetched > 10_000 and "grow" in names and "blocks" not in names


@pytest.mark.parametrize("which", ["the one that asks", "one that tells"])
def test_a_worker_is_killed_while_blocks_are_fetched(three, flipped, monkeypatch, which):
    running = pids(three)

    def kill(self, shard, others):
        one = shard if which == "the one that asks" else others[0]
        os.kill(running[self._host_of[one]], signal.SIGKILL)

    seen, _ = relays.watch_fetches(monkeypatch, shards.DaskShards, kill)
    fit_among_neighbours(flipped)
    assert seen[0].n_lost


def test_a_worker_is_stopped_while_blocks_are_fetched(cluster, three, flipped, monkeypatch):
    stop, threads = stopping(cluster, three, monkeypatch)
    stop_one = lambda self, shard, others: stop(self._host_of[others[0]])  # noqa: E731
    seen, names = relays.watch_fetches(monkeypatch, shards.DaskShards, stop_one)
    fit_among_neighbours(flipped)
    threads[0].join()
    assert seen[0].n_lost and "blocks" in names


def test_a_worker_that_nobody_kills_is_stopped_while_blocks_are_fetched(
    stop_for_good, flipped, monkeypatch
):
    """Whom the other has reached before, so that it does not look whether it does."""

    def stop(self, shard, others):
        both = (shard, [others[0]]), (others[0], [shard])
        fetch = lambda: [self._fetch(one, 0, some, [b"no question"]) for one, some in both]  # noqa: E731
        assert [future.result() for future in fetch()] == [[0], [0]]
        stop_for_good()
        assert not wait(fetch(), 60).not_done

    seen, _ = relays.watch_fetches(monkeypatch, shards.DaskShards, stop)
    fit_among_neighbours(flipped)
    assert seen[0].n_lost


def test_a_worker_is_stopped_for_some_moments_while_blocks_are_fetched(three, flipped, monkeypatch):
    running = pids(three)

    def stop(self, shard, others):
        pid = running[self._host_of[others[0]]]
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(1.0, os.kill, (pid, signal.SIGCONT)).start()

    seen, _ = relays.watch_fetches(monkeypatch, shards.DaskShards, stop)
    fit_among_neighbours(flipped)
    assert seen


def test_an_interrupt_while_blocks_are_fetched(three, flipped, monkeypatch):
    running, stopped = pids(three), []

    def stop(self, shard, others):
        stopped.append(running[self._host_of[others[0]]])
        os.kill(stopped[0], signal.SIGSTOP)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    relays.watch_fetches(monkeypatch, shards.DaskShards, stop)
    with pytest.raises(KeyboardInterrupt):
        fit_among_neighbours(flipped)
    os.kill(stopped[0], signal.SIGCONT)


@pytest.mark.parametrize("why", ["they do not reach each other", "through the scheduler"])
def test_blocks_pass_the_driver(three, flipped, monkeypatch, why):
    if why == "through the scheduler":
        monkeypatch.setattr(three, "direct_to_workers", False)
    seen, names = relays.watch_fetches(monkeypatch, shards.DaskShards)
    if why == "they do not reach each other":
        ask = shards.DaskShards._ask

        def far(self, some, function, *rest):
            if function == "fetch":
                number, plan, *questions = rest
                plan = [(key, "tcp://127.0.0.1:1", place) for key, _, place in pickle.loads(plan)]
                rest = number, pickle.dumps(plan), *questions
            return ask(self, some, function, *rest)

        monkeypatch.setattr(shards.DaskShards, "_ask", far)
    fit_among_neighbours(flipped)
    assert seen and not seen[0].fetched and not seen[0].n_lost and "blocks" in names


# -------------------------------------------------------------------------------------------------


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


def test_a_worker_is_taken_from_the_cluster(cluster, three, data, monkeypatch):
    def remove(host):
        cluster.sync(cluster.scheduler.remove_worker, address=host, stimulus_id="test")

    acted = before(monkeypatch, "cover", remove)
    fit(data, "random")
    assert acted


def test_a_worker_joins_late_and_takes_over(cluster, client, data, monkeypatch):
    """All others go before the next round: it is the only one, and begins with nothing."""
    have(cluster, client, 1)
    (old,) = client.scheduler_info(n_workers=-1)["workers"]

    def change(host):
        cluster.scale(2)
        client.wait_for_workers(2, timeout=300)
        # it would not retire, as it has an actor
        cluster.sync(cluster.scheduler.remove_worker, address=old, stimulus_id="test")

    acted = before(monkeypatch, "fill", change)
    later = before(monkeypatch, "cover", lambda host: None)
    fit(data, "random")
    assert acted == [old] and later != [old]


def pause(dask_worker):
    dask_worker.memory_manager.memory_pause_fraction = False
    dask_worker.status = Status.paused


def resume(dask_worker):
    dask_worker.status = Status.running


def test_a_paused_worker_takes_no_shard(three, data, monkeypatch):
    """It keeps what it has; a lost shard goes to another."""
    running = pids(three)
    paused = []

    def act(host):
        other = next(address for address in running if address != host)
        paused.append(other)
        three.run(pause, workers=[other])
        os.kill(running[host], signal.SIGKILL)

    before(monkeypatch, "cover", act)
    try:
        fit(data, "merge")
        assert paused
    finally:
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


def test_workers_that_are_all_paused_end_a_fit(cluster, client, data, monkeypatch):
    have(cluster, client, 1)
    monkeypatch.setattr(shards, "_FOR_ANY", 1.0)
    client.run(pause)
    words = "memory, as 1 of 1 are paused with theirs full, and"
    try:
        with pytest.raises(LostShardError, match=words):
            fit(data, "random")
    finally:
        client.run(resume)


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
    names = [str(name) for name in labels.optimize().__dask_graph__()]
    assert len([name for name in names if "Network" in name]) == 1


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
