"""Fits on a Ray cluster: byte for byte the files of one machine, whatever is lost.

What users of other libraries suffered from, and the test that it does not happen here:

* a lost worker hangs the fit: `test_killed_while_it_works`,
  `test_a_stopped_process_counts_as_lost`,
  `test_an_actor_that_is_lost_again_and_again_is_named`, `test_a_block_that_is_lost_for_good`;
* workers or parts without data, or without a class: `test_files_of_one_machine`, `test_few_rows`;
* two fits at once wait for each other: `test_two_fits_at_once`;
* more workers than the cluster has: `test_room_that_is_not_there`;
* versions that differ, or none: `test_other_versions_are_refused`,
  `test_workers_without_fastmem_are_refused`;
* rows in the order in which tasks end: `test_rows_are_in_the_order_of_files`;
* what is left behind: `test_an_interrupt_leaves_nothing_behind`.
"""

from __future__ import annotations

import importlib
import os
import pickle
import re
import signal
import sys
import threading
import time
import types
import warnings
from itertools import pairwise

import numpy as np
import pytest
import relays
from hypothesis import given, settings
from hypothesis import strategies as st
from test_distributed import blobs, bytes_of, coins, fit_here
from test_regions import noisy

import fastmem
from fastmem.distributed.answers import packed
from fastmem.distributed.fitting import interpolate_on
from fastmem.distributed.numbering import Placing
from fastmem.distributed.parts import Part, joined
from fastmem.distributed.transport import ATTEMPTS, LocalShards, LostShardError

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="Ray is not installed, or has no wheel for this Python")
pytest.importorskip("ray.data")

from fastmem import ray as on_ray
from fastmem.ray import blocks as ray_blocks
from fastmem.ray import predicting, reserving
from fastmem.ray import shards as ray_shards

# of Ray's own defaults
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")

NAMES = ["a", "b", "c", "d", "e", "größe"]


PATIENT = {
    "memory_monitor_refresh_ms": 0,  # others may fill this machine, or take its processors
    "agent_register_timeout_ms": 300_000,
    "health_check_failure_threshold": 50,
    "raylet_start_wait_time_s": 300,
    "worker_register_timeout_seconds": 600,
}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with warnings.catch_warnings():
        # of Ray's own start: a socket, and what a later release will do
        warnings.filterwarnings("ignore", category=ResourceWarning)
        warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
        ray.init(
            "local", num_cpus=3, include_dashboard=False, log_to_driver=False,
            logging_level="ERROR", object_store_memory=100 << 20, _system_config=PATIENT,
        )  # fmt: skip
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    yield
    ray.shutdown()


def frame_of(make, n):
    X, y = make(n, 6)
    frame = pandas.DataFrame(X, columns=NAMES)
    frame.insert(2, "y", y)
    return frame


CASES = {
    "merge": (blobs, dict(width=120)),
    "random": (blobs, dict(width=120, selection="random")),
    "auto, merge": (coins, {}),
    "auto, random": (coins, dict(selection="random")),
    "margin": (blobs, dict(width=200, margin=0.3)),
    "vote": (blobs, dict(decision="vote")),
}


def here(frame, **parameters):
    return bytes_of(fit_here(frame.drop(columns="y"), frame["y"], **parameters))


def there(dataset, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        return on_ray.interpolate(
            dataset, **{"label_column": "y", "seed": 1, "num_cpus": 1, **parameters}
        )


def cut(frame, cuts=(120, 130, 131)):
    """A dataset of blocks in memory: Arrow tables, as of files."""
    bounds = [0, *cuts, len(frame)]
    pieces = [frame[start:stop] for start, stop in pairwise(bounds)]
    return ray.data.from_arrow(
        [pyarrow.Table.from_pandas(piece, preserve_index=False) for piece in pieces]
    )


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """Files of many rows, few, and those of one class."""
    directory = tmp_path_factory.mktemp("parquet")
    frame = frame_of(blobs, 300)
    frame = frame.iloc[np.argsort(frame["y"].to_numpy() == 0, kind="stable")]
    frame = frame.reset_index(drop=True)
    for i, (start, stop) in enumerate([(0, 100), (100, 101), (101, 180), (180, 260), (260, 300)]):
        frame[start:stop].to_parquet(directory / f"{i}.parquet")
    return directory, frame


@pytest.fixture(scope="module")
def read(parquet):
    """What Ray has read of them, in whatever order."""
    dataset = ray.data.read_parquet(str(parquet[0]), override_num_blocks=5).materialize()
    with warnings.catch_warnings():  # of how Ray joins frames of several blocks
        warnings.simplefilter("ignore")
        frame = dataset.to_pandas()
    return dataset, here(frame, **CASES["merge"][1])


@pytest.mark.parametrize("num_actors", [1, 2, 3])
def test_files_of_one_machine(read, num_actors):
    dataset, expected = read
    network = there(dataset, num_actors=num_actors, **CASES["merge"][1])
    assert bytes_of(network) == expected
    assert network.feature_names == tuple(NAMES)


@pytest.fixture(scope="module")
def started():
    """Shards of both kinds of points on two actors, for several fits."""
    all_shards = {}
    for make in (blobs, coins):
        frame = frame_of(make, 300)
        blocks = ray_blocks.blocks_of(cut(frame))
        columns = ray_blocks.feature_columns(blocks.columns, "y"), "y"
        all_shards[make] = frame, ray_shards.RayShards(blocks, columns, 2, 1)
        all_shards[make][1]._give_up_room()
    yield all_shards
    for _, shards in all_shards.values():
        shards.close()


@pytest.fixture
def hooked(started, monkeypatch):
    """Fit on the shards, calling ``hook(shards, shard, words)`` whenever words were sent."""

    def fit(name, hook=lambda *_: None):
        make, parameters = CASES[name]
        frame, shards = started[make]
        for shard in [*shards._actors]:
            begin_again(shards, shard)
        before = shards.n_lost
        send = ray_shards.RayShards._send

        def and_hook(self, shard, seq, message):
            future = send(self, shard, seq, message)
            hook(self, shard, message)
            return future

        monkeypatch.setattr(ray_shards.RayShards, "_send", and_hook)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
            network = interpolate_on(shards, seed=1, n_threads=1, **parameters)
        assert bytes_of(network) == here(frame, **parameters)
        return shards.n_lost - before

    return fit


def begin_again(shards, shard):
    """Set a shard back, which else another fit would take for a stale one, and make anew."""
    answer = shards._actors[shard].answer.remote
    _, stale = pickle.loads(ray.get(answer(-1, packed(0, []))))
    number = int(re.search(r"at (\d+), not", str(stale))[1])
    ray.get(answer(number, packed(0, [("be_at", 0)])))


@pytest.mark.parametrize("name", CASES)
def test_settings(hooked, name):
    assert not hooked(name)


def pid_of(shards, shard):
    return ray.get(shards._actors[shard].live.remote())


def send_signals(phases, kind, hits):
    """A hook that sends a signal to a shard's process when it was sent a command."""
    left = list(phases)

    def hook(shards, shard, message):
        for phase in left:
            command, which = phase
            if shard == which and command.encode() in message:
                left.remove(phase)
                hits.append(pid_of(shards, shard))
                os.kill(hits[-1], kind)
                if kind == signal.SIGSTOP:
                    look_often(shards, shard)
                return

    return hook


def look_often(shards, shard):
    """Let a shard count as lost sooner; others may be slow, and no more."""
    watch = shards._watches[shard]
    look = watch.look

    def looks(has_started):
        watch._looks += ray_shards._LIVING_LOOKS // 4
        return look(has_started)

    watch.look = looks


def is_there(pid):
    for _ in range(600):
        if not os.path.exists(f"/proc/{pid}"):
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("merge", [("be_at", 0), ("facts", 1), ("sums", 0), ("fill", 1), ("cover", 0)]),
        ("auto, random", [("place", 0), ("open_class", 1), ("least", 0)]),
    ],
)
def test_killed_while_it_works(hooked, name, phases):
    """In every phase: before anything, while it is placed, measured, filled, asked."""
    hits = []
    n_lost = hooked(name, send_signals(phases, signal.SIGKILL, hits))
    assert len(hits) == len(phases) == n_lost


def test_a_stopped_process_counts_as_lost(hooked):
    hits = []
    assert hooked("random", send_signals([("cover", 1)], signal.SIGSTOP, hits)) == 1
    assert not is_there(hits[0])


@pytest.mark.parametrize("has_started", [True, False])
def test_a_process_that_has_still_to_start_has_more_time(monkeypatch, has_started):
    most = ray_shards._LIVING_LOOKS if has_started else ray_shards._STARTING_LOOKS
    monkeypatch.setattr(ray, "wait", lambda signs, timeout: ([], signs))
    watch = ray_shards._Watch(types.SimpleNamespace(live=types.SimpleNamespace(remote=object)))
    assert [watch.look(has_started) for _ in range(most + 1)] == [True] * most + [False]


@pytest.fixture
def group(monkeypatch):
    """Three shards in a group; and what was seen: the transport, at rounds through its head."""
    return relays.watch(monkeypatch, ray_shards.RayShards)


@pytest.mark.parametrize("least", [0, 100_000])
def test_in_a_group(read, group, monkeypatch, least):
    """Messages in calls and, from so many bytes on, in the object store."""
    monkeypatch.setattr(ray_shards, "_PUT_BYTES", least)
    dataset, expected = read
    assert bytes_of(there(dataset, num_actors=3, **CASES["merge"][1])) == expected
    assert len(group) > 10 and not group[0].n_lost


@pytest.mark.parametrize("which", [0, 1], ids=["head", "member"])
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_of_a_group_one_is_lost(read, group, monkeypatch, which, kind):
    """It alone, whoever has answered to the head."""

    def lose(shards):
        os.kill(pid_of(shards, which), kind)
        if kind == signal.SIGSTOP:
            look_often(shards, which)

    relays.when_relayed(monkeypatch, ray_shards.RayShards, 9, lose)
    dataset, expected = read
    assert bytes_of(there(dataset, num_actors=3, **CASES["merge"][1])) == expected
    assert len(group) > 9 and group[0].n_lost == 1


def test_an_interrupt_while_a_member_is_stopped(read, group, monkeypatch):
    pids = []

    def stop(shards):
        pids.extend(pid_of(shards, shard) for shard in range(3))
        os.kill(pids[1], signal.SIGSTOP)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    relays.when_relayed(monkeypatch, ray_shards.RayShards, 9, stop)
    with pytest.raises(KeyboardInterrupt):
        there(read[0], num_actors=3, **CASES["merge"][1])
    assert len(pids) == 3 and not any(map(is_there, pids)) and free_cpus() == 3


@pytest.fixture(scope="module")
def flipped():
    X, y = noisy(5, 2500, 3, 3)
    return pandas.DataFrame(X, columns=NAMES[:3]).assign(y=y)


def fit_among_neighbours(frame):
    found = there(cut(frame, (250, 900, 1500)), num_actors=3, width=90)
    assert bytes_of(found) == here(frame, width=90)


def test_blocks_go_from_actor_to_actor(flipped, monkeypatch):
    seen, names = relays.watch_fetches(monkeypatch, ray_shards.RayShards)
    fit_among_neighbours(flipped)
    assert seen[0].fetched > 10_000 and "grow" in names and "blocks" not in names


@pytest.mark.parametrize("which", ["the one that asks", "one that tells"])
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_an_actor_is_lost_while_blocks_are_fetched(flipped, monkeypatch, which, kind):
    if kind == signal.SIGSTOP:  # so many that one which only waits for a processor is not lost
        monkeypatch.setattr(ray_shards, "_LIVING_LOOKS", 20)

    def hit(shards, shard, others):
        os.kill(pid_of(shards, shard if which == "the one that asks" else others[0]), kind)

    seen, _ = relays.watch_fetches(monkeypatch, ray_shards.RayShards, hit)
    fit_among_neighbours(flipped)
    assert seen[0].n_lost


def test_an_actor_that_is_lost_again_and_again_is_named(monkeypatch):
    watch = ray_shards._Watch

    def and_kill(actor):
        ray.kill(actor)
        return watch(actor)

    monkeypatch.setattr(ray_shards, "_Watch", and_kill)
    words = rf"shard 0, an actor that began on the node .*the parts \[0.* {ATTEMPTS} times in one"
    with pytest.raises(LostShardError, match=words):
        there(cut(frame_of(blobs, 60), [20]), num_actors=1)
    assert free_cpus() == 3


def test_processors_are_given_up_where_loading_takes_long(monkeypatch):
    """Else Ray could have none to make blocks again, and the fit would wait for them."""
    monkeypatch.setattr(ray_shards, "_LOADING_LOOKS", 0)
    seen = []

    class Slow:
        def look(self, has_started):
            seen.append(ray.available_resources().get("CPU"))
            return True

    shards = object.__new__(ray_shards.RayShards)
    shards._there, shards._watches, shards._loading_looks = {0}, {0: Slow(), 1: Slow()}, 0
    shards._room = room = reserving.reserve(1, 1)
    shards._look_after([0])
    assert shards._room is room
    shards._look_after([0, 1])
    assert shards._room is None and free_cpus() == 3 and len(seen) == 3


def test_a_block_that_is_lost_for_good(monkeypatch):
    blocks = ray_blocks.blocks_of(cut(frame_of(blobs, 60), [20]))
    # as if it had been on a node that is no more, and could not be made again
    error = ray.exceptions.ObjectLostError(blocks.refs[1].hex(), ray_owner(), "")
    keeper = ray_shards._Keeper()
    monkeypatch.setattr(ray, "get", lambda ref: (_ for _ in ()).throw(error))
    refusal = keeper.load(
        ray_shards.versions(), [(1, blocks.refs[1], 0, 40)], (NAMES, "y"), 1, None
    )
    assert isinstance(refusal, LostShardError)
    assert "a block of the dataset is lost, and Ray cannot make it again" in str(refusal)


def ray_owner():
    from ray.core.generated.common_pb2 import Address

    return Address()


def free_cpus():
    """Processors that nobody has; Ray tells of them a little late."""
    for _ in range(600):
        if ray.available_resources().get("CPU") == 3:
            break
        time.sleep(0.1)
    return ray.available_resources().get("CPU")


def test_two_fits_at_once():
    """Each wants two of three processors: one after the other, not each half of them."""
    frame = frame_of(blobs, 300)
    found = {}

    def run(name):
        parameters = CASES[name][1]
        network = there(cut(frame), num_actors=2, **parameters)
        found[name] = bytes_of(network)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("merge", "random")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(1000)
    assert found == {name: here(frame, **CASES[name][1]) for name in ("merge", "random")}
    assert free_cpus() == 3


def test_room_that_is_not_there(monkeypatch):
    dataset = cut(frame_of(blobs, 60), [20])
    monkeypatch.setattr(reserving, "_SMALL_SECONDS", 0)
    words = "no room for 5 actors of 2 processors each: the cluster has 3; pass fewer num_actors"
    with pytest.raises(fastmem.InvalidInputError, match=words):
        there(dataset, num_actors=5, num_cpus=2)
    taken = reserving.reserve(2, None)
    assert taken.num_cpus == 1 and len(taken.nodes) == 2
    monkeypatch.setattr(reserving, "_BUSY_SECONDS", 0)
    words = "no room for 1 actors of 3 processors each: the cluster has 3, but too few become free"
    with pytest.raises(fastmem.InvalidInputError, match=words):
        there(dataset, num_cpus=None)
    taken.give_up()
    assert free_cpus() == 3


def test_an_interrupt_leaves_nothing_behind(monkeypatch):
    send, pids = ray_shards.RayShards._send, []

    def interrupted(self, shard, seq, message):
        if b"fill" in message:
            pids.extend(pid_of(self, shard) for shard in (0, 1))
            os.kill(os.getpid(), signal.SIGINT)
        return send(self, shard, seq, message)

    monkeypatch.setattr(ray_shards.RayShards, "_send", interrupted)
    with pytest.raises(KeyboardInterrupt) as kept:  # whose frames hold all that there was
        there(cut(frame_of(blobs, 60), [20]), num_actors=2, width=100)
    assert kept.traceback and len(pids) == 2 and not any(map(is_there, pids))
    assert free_cpus() == 3


def test_a_warning_points_to_the_line_that_called():
    with pytest.warns(fastmem.UnseparatedWarning) as seen:
        on_ray.interpolate(cut(frame_of(coins, 160)), label_column="y", seed=1, num_cpus=1, width=9)
    assert [one.filename for one in seen if one.category is fastmem.UnseparatedWarning] == [
        __file__
    ]


def test_other_versions_are_refused(monkeypatch):
    here = ray_shards.versions()
    monkeypatch.setattr(ray_shards, "versions", lambda: {**here, "numba": "0.1"})
    words = r"the node \S+ has numba \S+ and the driver numba 0.1; install the same versions"
    with pytest.raises(fastmem.InvalidInputError, match=words):
        there(cut(frame_of(blobs, 60), [20]), num_actors=1)


def test_workers_without_fastmem_are_refused(monkeypatch):
    """As if it was: an actor of a module that only this process has."""
    module = types.ModuleType("only_here")
    module.Keeper = type("Keeper", (), {"__module__": "only_here", "load": lambda self, *_: None})
    module.Keeper.live = ray.method(concurrency_group="life")(lambda self: None)
    monkeypatch.setitem(sys.modules, "only_here", module)
    actor = ray_shards._remote(concurrency_groups={"life": 1})(module.Keeper)
    monkeypatch.setattr(ray_shards, "_Actor", actor)
    words = (
        r"cannot be imported by workers of Ray \(No module named 'only_here'\); install it on all"
    )
    with pytest.raises(fastmem.InvalidInputError, match=words):
        there(cut(frame_of(blobs, 60), [20]), num_actors=1)


def test_memory_of_a_node_is_shared_by_its_actors(monkeypatch):
    nodes = [
        {"NodeID": "x", "Resources": {"memory": 900.0}}, {"NodeID": "y", "Resources": {}},
    ]  # fmt: skip
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    shards = object.__new__(ray_shards.RayShards)
    shards._nodes = ["x", "y", "x", "z"]
    assert [shards._memory_limit(shard) for shard in range(4)] == [450, None, 450, None]


def test_rows_are_in_the_order_of_files(parquet):
    """The first task ends last, and networks depend on the order of rows."""
    directory, frame = parquet

    def slow(batch):
        time.sleep(0.8 * bool((batch["a"] == frame["a"][0]).any()))
        return batch

    dataset = ray.data.read_parquet(str(directory), override_num_blocks=5).map_batches(slow)
    before = dataset.context.execution_options.preserve_order
    blocks = ray_blocks.blocks_of(dataset)
    found = pyarrow.concat_tables(ray.get(blocks.refs))
    assert found["a"].to_pylist() == frame["a"].tolist()
    assert dataset.context.execution_options.preserve_order is before


# Kinds of columns ------------------------------------------------------------------------------


def fitted_in_process(dataset, n_shards=2, **parameters):
    """A fit on what actors would hold, which takes no process."""
    blocks = ray_blocks.blocks_of(dataset)
    columns = ray_blocks.feature_columns(blocks.columns, "y"), "y"
    shards = []
    for pieces in reserving.shared_out(blocks.sizes, [[]] * len(blocks.refs), "n" * n_shards):
        some = [(number, blocks.refs[p.block], p.start, p.stop) for number, p in pieces]
        keeper = ray_shards._Keeper()
        refusal = keeper.load(ray_shards.versions(), some, columns, 1, None)
        if refusal is not None:
            raise refusal
        shards.append(keeper._shard._parts)
    return interpolate_on(LocalShards(shards), seed=1, n_threads=1, **parameters)


def tensors(X, y):
    def make(batch):
        return {"v": X[batch["id"]], "w": X[batch["id"], 0], "y": y[batch["id"]]}

    return ray.data.range(len(X), override_num_blocks=2).map_batches(make)


def test_columns_of_lists_and_tensors():
    X, y = blobs(200)
    lists = pyarrow.FixedSizeListArray.from_arrays(X.ravel(), 6)
    table = pyarrow.table({"v": lists, "w": X[:, 0], "y": y})
    expected = bytes_of(fit_here(table.drop_columns(["y"]), y))
    network = fitted_in_process(tensors(X, y))
    assert network.feature_names[:2] == ("v[0]", "v[1]") and network.feature_names[-1] == "w"
    assert bytes_of(network) == expected
    assert bytes_of(fitted_in_process(ray.data.from_arrow([table[:90], table[90:]]))) == expected
    rows = [{"v": row.tolist(), "w": row[0], "y": int(k)} for row, k in zip(X, y, strict=True)]
    assert bytes_of(fitted_in_process(ray.data.from_items(rows))) == expected
    predicted = on_ray.predict(network, tensors(X, y)).take_batch(200)
    assert (network.predict(table.drop_columns(["y"])) == y).all()
    assert (predicted["predicted"] == predicted["y"]).all() and predicted["v"].shape == (200, 6)


@pytest.mark.parametrize("dtype", ["str", "category", "int8", "bool", "float64"])
def test_kinds_of_labels_and_frames_of_pandas(dtype):
    frame = frame_of(blobs, 120)
    if dtype in ("str", "category"):
        frame["y"] = np.array(["b", "c", "Zürich", ""])[frame["y"]]
    frame["y"] = (frame["y"] > 1) if dtype == "bool" else frame["y"].astype(dtype)
    expected = here(frame)
    for dataset in (cut(frame, [50]), ray.data.from_pandas([frame[:50], frame[50:]])):
        network = fitted_in_process(dataset)
        assert bytes_of(network) == expected


@settings(max_examples=8)
@given(st.lists(st.integers(1, 119), max_size=9, unique=True), st.integers(1, 4))
def test_any_blocks_on_any_shards(cuts, n_shards):
    frame = frame_of(blobs, 120)
    found = fitted_in_process(cut(frame, sorted(cuts)), n_shards, width=80)
    assert bytes_of(found) == here(frame, width=80)


def test_tables_are_not_copied():
    frame = frame_of(blobs, 60)
    table = pyarrow.Table.from_pandas(frame[NAMES], preserve_index=False)
    y = frame["y"].to_numpy()
    parts = [Part(0, table[:20], y[:20]), Part(1, table[20:], y[20:])]
    counts = np.array([np.bincount(y[:20], minlength=4), np.bincount(y[20:], minlength=4)])
    points, _ = joined(parts, Placing(np.arange(4), 6, "float64", counts))
    for batch in points.batches:
        for name, column in zip(NAMES, batch, strict=True):
            assert np.shares_memory(column, table[name].chunk(0).to_numpy())
    assert np.array_equal(points.block(5, 50), frame[NAMES].to_numpy()[5:50])


def test_raw_tables_are_encoded():
    frame = frame_of(blobs, 120)
    frame["a"] = np.array(["red", "Zürich", ""])[np.arange(120) % 3]
    frame["b"] = frame["b"].where(frame["b"] > 0)
    for dataset in (cut(frame, [50]), ray.data.from_pandas([frame[:50], frame[50:]])):
        assert bytes_of(fitted_in_process(dataset, encode=True)) == here(frame, encode=True)


def test_one_column():
    frame = frame_of(blobs, 40)[["a", "y"]].drop_duplicates("a")
    assert bytes_of(fitted_in_process(cut(frame, [20]))) == here(frame)
    frames = ray.data.from_pandas([frame[:20], frame[20:]])
    assert bytes_of(fitted_in_process(frames)) == here(frame)


def test_few_rows():
    """Fewer than actors, so that some have nothing."""
    frame = frame_of(blobs, 300)[:4]
    frame["y"] = [0, 1, 0, 1]
    assert bytes_of(fitted_in_process(cut(frame, [1, 1, 3]), 6)) == here(frame)


def tables(**changes):
    """Two blocks, of which the second is changed."""
    frame = frame_of(blobs, 60)
    second = frame[30:].copy()
    for name, value in changes.items():
        second[name] = value
    return ray.data.from_arrow(
        [pyarrow.Table.from_pandas(one, preserve_index=False) for one in (frame[:30], second)]
    )


WRONG = {
    "frame": (lambda: frame_of(blobs, 9), {}, "dataset is .*; pass a ray.data.Dataset, or fit on"),
    "column": (tables, dict(label_column="z"), "label_column is 'z'.*no column of the dataset"),
    "no features": (
        lambda: tables().select_columns("y"), {}, "has no column but 'y', the labels; pass feat"
    ),
    "no rows": (lambda: ray.data.from_items([]), {}, "dataset has no rows; pass one with points"),
    "not finite": (lambda: tables(a=np.inf), {}, "in part 1, X at row 0, column 'a', is inf"),
    "text": (lambda: cut(frame_of(blobs, 60).astype({"a": str}), [9]), {}, "in part 0, column 'a'"),
    "one class": (lambda: cut(frame_of(blobs, 60).assign(y=3), [9]), {}, "holds one class only, 3"),
    "fractions": (lambda: tables(y=0.5), {}, "in part 1, y.* 0.5, not a"),
    "no label": (
        lambda: tables(y=pandas.array([None] * 30, "Int64")), {},
        "in part 1, y has no value at row 0, and 30",
    ),
    "kinds": (lambda: tables(y="x"), {}, "part 1 has labels of .* make all of them strings or"),
    "compact": (tables, dict(compact=True), "compact=True is for points on one machine"),
    "actors": (tables, dict(num_actors=0), "num_actors is 0"),
    "processors": (tables, dict(num_cpus=1.5), "num_cpus is 1.5"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_refused(name, monkeypatch):
    make, parameters, words = WRONG[name]
    monkeypatch.setattr(ray_shards.RayShards, "_begin", begun_here)
    monkeypatch.setattr(ray_shards.RayShards, "_send", sent_here)
    with pytest.raises(fastmem.InvalidInputError, match=words):
        there(make(), **{"num_actors": 1, **parameters})


def begun_here(self, shard):
    """What an actor does, in this process."""
    keeper = self._actors_here = ray_shards._Keeper()
    refusal = keeper.load(
        ray_shards.versions(), self._pieces_of(shard), self._columns, 1, self._memory_limit(shard)
    )
    return ray_shards._then(done(refusal), ray_shards._raised)


def sent_here(self, shard, seq, message):
    return done(self._actors_here.answer(seq, message))


def done(value):
    from concurrent.futures import Future

    future = Future()
    future.set_result(value)
    return future


def test_lists_that_differ_in_length_and_tensors_of_two_axes_are_refused():
    X, y = blobs(60)
    dataset = ray.data.from_items([{"v": [1.0] * (1 + i), "y": i} for i in range(3)])
    with pytest.raises(fastmem.InvalidInputError, match="part 1 has 2 features and part 0 has 1"):
        fitted_in_process(dataset)
    squares = tensors(X.reshape(60, 3, 2), y).drop_columns("w")
    with pytest.raises(fastmem.InvalidInputError, match=r"holds tensors of shape \(3, 2\)"):
        fitted_in_process(squares)


def test_without_ray_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "fastmem-nets\[ray\]"'):
        importlib.reload(on_ray)


def test_unknown_parameters_are_refused_before_the_work():
    with pytest.raises(TypeError, match="unexpected keyword argument 'widht'"):
        on_ray.interpolate(None, label_column="y", widht=9)


def test_contradictions_are_named():
    frame = pandas.concat([frame_of(blobs, 60), frame_of(blobs, 60)[:1].assign(y=7)])
    with pytest.raises(fastmem.ContradictionError, match=re.escape("rows 0 (2) and 60 (7)")):
        fitted_in_process(cut(frame, [20]))


# Which blocks go where -------------------------------------------------------------------------


def blocks_of_shards(*arguments):
    return [sorted({piece.block for _, piece in some}) for some in reserving.shared_out(*arguments)]


def test_blocks_stay_where_they_are_if_that_is_even():
    assert blocks_of_shards([5] * 4, [["x"], ["y"], ["x"], ["y"]], ["y", "x"]) == [[1, 3], [0, 2]]
    assert blocks_of_shards([5] * 4, [["x"]] * 4, ["y", "x"])[1][0] == 0
    assert blocks_of_shards([1] * 9, [[]] * 9, "xyz") == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=9),
    st.lists(st.sampled_from("xyz"), min_size=1, max_size=5),
    st.data(),
)
def test_every_row_has_one_shard_and_none_has_many_more(sizes, nodes, data):
    places = [sorted(data.draw(st.sets(st.sampled_from("xyzu")))) for _ in sizes]
    shards = reserving.shared_out(sizes, places, nodes)
    pieces = sorted(numbered for some in shards for numbered in some)
    assert [number for number, _ in pieces] == list(range(len(pieces)))
    rows = [(p.block, row) for _, p in pieces for row in range(p.start, p.stop)]
    assert rows == [(block, row) for block, size in enumerate(sizes) for row in range(size)]
    loads = [sum(p.stop - p.start for _, p in some) for some in shards]
    most = -(-sum(sizes) // len(nodes))
    assert max(loads) < most + -(-sum(sizes) // (4 * len(nodes)))


# Predictions -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    frame = frame_of(blobs, 200)
    return frame, fit_here(frame.drop(columns="y"), frame["y"])


def test_predictions_stand_beside_the_columns(parquet, fitted):
    directory, frame = parquet
    dataset = on_ray.predict(fitted[1], ray.data.read_parquet(str(directory)), output_column="k")
    found = dataset.to_pandas()
    assert list(found.columns) == [*frame.columns, "k"] and len(found) == len(frame)
    features = found[NAMES]
    assert (found["k"].to_numpy() == fitted[1].predict(features)).all()
    assert sorted(found["a"]) == sorted(frame["a"])


def test_frames_of_pandas_and_networks_without_names(fitted):
    frame, _ = fitted
    labels = np.array(["b", "c", "Zürich", ""])[frame["y"]]
    X = frame[NAMES].to_numpy()
    network = fit_here(X, labels)
    found = on_ray.predict(network, ray.data.from_pandas([frame[NAMES]]), batch_size=70)
    assert found.to_pandas()["predicted"].tolist() == labels.tolist()


def test_raw_tables():
    frame = frame_of(blobs, 60).astype({"a": str})
    network = fit_here(frame[NAMES], frame["y"], encode=True)
    for batch in (frame, pyarrow.Table.from_pandas(frame, preserve_index=False)):
        known = network, "predict"
        found = predicting._with_column(batch, known, predicting._asked, "k", 1)
        assert list(found["k"].to_numpy()) == frame["y"].tolist()


def test_scores_and_probabilities_stand_beside_the_columns():
    X, y = blobs(200)
    frame = pandas.DataFrame(X, columns=NAMES)
    voting = fit_here(frame, y, decision="vote")
    found = on_ray.predict_proba(voting, ray.data.from_pandas(frame)).take_batch(200)
    assert np.array_equal(found["probabilities"], voting.predict_proba(frame))
    for labels in (y, y % 2):
        network = fit_here(frame, labels)
        found = on_ray.decision_function(network, ray.data.from_pandas(frame)).take_batch(200)
        assert np.array_equal(found["scores"], network.decision_function(frame))


def test_patterns_stand_beside_the_columns(fitted):
    frame, network = fitted
    expected = fastmem.sign_patterns(frame[NAMES], network.first)
    for dataset in (cut(frame, [50]), ray.data.from_pandas([frame[:50], frame[50:]])):
        found = on_ray.sign_patterns(dataset, network.first, columns=NAMES).take_batch(200)
        order = np.lexsort(frame[NAMES].to_numpy().T)
        mine = np.lexsort(np.stack([found[name] for name in NAMES]))
        assert found["pattern"].dtype == np.uint64
        assert np.array_equal(found["pattern"][mine], expected[order])


def test_wrong_predictions_are_refused(fitted):
    frame, network = fitted
    dataset = cut(frame, [50])
    for words, call in {
        "dataset is .*; pass a ray.data.Dataset": lambda: on_ray.predict(network, frame),
        "network is .*; pass a fastmem.Network": lambda: on_ray.predict(None, dataset),
        "network is None.*; pass a fastmem": lambda: on_ray.predict_proba(None, dataset),
        "network is 3.*; pass a fastmem": lambda: on_ray.decision_function(3, dataset),
        "hyperplanes is .*; pass fastmem.Hype": lambda: on_ray.sign_patterns(dataset, network),
        "output_column is 3": lambda: on_ray.predict(network, dataset, output_column=3),
        "num_cpus is 0": lambda: on_ray.predict(network, dataset, num_cpus=0),
    }.items():
        with pytest.raises(fastmem.InvalidInputError, match=words):
            call()
    for words, call in {
        "the dataset has a column 'y'": lambda: on_ray.predict(network, dataset, output_column="y"),
        "the dataset has no column 'a'": lambda: on_ray.predict(network, dataset.drop_columns("a")),
    }.items():
        with pytest.raises(Exception, match=words):
            call().materialize()
