"""fastmem on Dask, in one process: what may be passed, and what comes back."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import threading
import time
import warnings

import numpy as np
import pytest
from scipy import sparse
from test_distributed import agree, blobs, bytes_of, coins, contradicting, fit_here, rare, wide

import fastmem
from fastmem.sklearn import ContradictionWarning, InterpolatingClassifier

pytest.importorskip("distributed")
pandas = pytest.importorskip("pandas")
import dask
import dask.array as da
import dask.dataframe as dd
from distributed import Client, LocalCluster
from sklearn.base import clone

import fastmem.dask
from fastmem.dask import DaskInterpolatingClassifier as DaskClassifier
from fastmem.dask import clients, collections, shards
from fastmem.distributed.transport import LostShardError

InvalidInputError = fastmem.InvalidInputError


@pytest.fixture(scope="module")
def cluster():
    options = dict(processes=False, n_workers=2, threads_per_worker=2, dashboard_address=":0")
    options["memory_limit"] = 0  # this process may have much of other tests
    with LocalCluster(**options, silence_logs=50) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        yield client
        assert left_on(cluster) == []


def left_on(cluster):
    """What fits have left in the cluster, after some time at the most."""
    for _ in range(3000):
        left = [str(key) for key in cluster.scheduler.tasks if "fastmem" in str(key)]
        if not left:
            break
        time.sleep(0.02)
    return left


def array(X, *chunks):
    rows = chunks if len(chunks) > 1 else (chunks or (70,))[0]
    return da.from_array(X, chunks=(rows, -1)[: X.ndim])


def framed(X, y, n=3):
    frame = pandas.DataFrame(X, columns=[f"größe {k}" for k in range(X.shape[1])])
    return (
        frame,
        pandas.Series(y),
        *(dd.from_pandas(c, n, sort=False) for c in (frame, pandas.Series(y))),
    )


def on_dask(X, y, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        return fastmem.dask.interpolate(X, y, seed=1, **parameters)


# Fits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [(300,), (100, 1, 0, 199), (40,) * 7 + (20,)])
@pytest.mark.parametrize("parameters", [{"width": 120}, {"selection": "random", "margin": 0.2}])
def test_the_file_of_one_machine(client, chunks, parameters):
    X, y = blobs()
    agree(on_dask(array(X, *chunks), array(y, *chunks), **parameters), fit_here(X, y, **parameters))


@pytest.mark.parametrize("direct", [True, False, None])
def test_directly_to_workers_or_through_the_scheduler(cluster, direct):
    X, y = coins()
    with Client(cluster, direct_to_workers=direct, set_as_default=False) as client:
        agree(on_dask(array(X), array(y), client=client), fit_here(X, y))


class Worker:
    """What a client knows of one that answers late, or not."""

    def __init__(self, answers):
        self.identity = answers

    def rpc(self, host):
        return self


def test_a_slow_worker_is_reached(monkeypatch):
    """Also where this process stands still longer than it would wait."""
    monkeypatch.setattr(shards, "_PULSE", 0.01)

    async def late():
        time.sleep(2 * shards._PULSE * shards._CONNECTING_LOOKS)
        await asyncio.sleep(shards._PULSE)

    async def never():
        await asyncio.sleep(1000)

    async def refuses():
        raise ConnectionRefusedError

    reaches = lambda answers: asyncio.run(shards._reaches(Worker(answers), "x"))  # noqa: E731
    assert reaches(late) and not reaches(never) and not reaches(refuses)


def test_where_workers_cannot_be_reached_the_scheduler_hands_on(client, monkeypatch):
    asked = []

    async def reaches(client, host):
        asked.append(host)
        return False

    monkeypatch.setattr(shards, "_reaches", reaches)
    monkeypatch.setattr(client, "rpc", None)
    X, y = coins()
    agree(on_dask(array(X), array(y)), fit_here(X, y))
    assert asked


def test_fits_leave_the_configuration_of_dask_alone(cluster):
    """Shards are begun side by side, each in a thread."""
    X, y = blobs()
    before = dask.config.get("scheduler", None)
    with Client(cluster, set_as_default=False) as client:
        for _ in range(5):
            on_dask(array(X, 70), array(y, 70), client=client, width=60)
            assert dask.config.get("scheduler", None) == before


def test_parts_of_unknown_lengths(client):
    X, y = blobs()
    keep = X[:, 0] > -1
    some = array(X)[:, 0] > -1
    agree(on_dask(array(X)[some], array(y)[some], width=90), fit_here(X[keep], y[keep], width=90))


def test_data_frames_and_series(client):
    X, y = wide()
    frame, labels, ours, theirs = framed(X, y)
    agree(on_dask(ours, theirs), fit_here(frame, labels))
    expected = fit_here(frame, y)
    agree(on_dask(ours, theirs.astype("category")), expected)
    lengths = tuple(ours.map_partitions(len).compute())
    agree(on_dask(ours, array(y, *lengths)), expected)
    agree(on_dask(array(X, *lengths), theirs), fit_here(X, y))


def test_small_files_that_dask_reads_together(client, tmp_path):
    """Of one column alone it would take fewer parts than of the others."""
    X, y = blobs(n=400, d=9)
    frame = pandas.DataFrame(X, columns=[f"x{k}" for k in range(9)]).assign(y=y)
    for k in range(8):
        frame[50 * k : 50 * k + 50].to_parquet(tmp_path / f"{k}.parquet")
    read = dd.read_parquet(tmp_path)
    assert len(read["y"].to_delayed()) < 8
    expected = fit_here(frame.drop(columns="y"), y, width=90)
    agree(on_dask(read.drop(columns="y"), read["y"], width=90), expected)
    few = read[["x0", "x1"]].repartition(npartitions=1).repartition(npartitions=8)
    agree(on_dask(few, read["y"], width=90), fit_here(frame[["x0", "x1"]], y, width=90))


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array])
def test_sparse_blocks(client, make):
    X, y = rare()
    blocks = array(np.arange(150), 50)[:, None].map_blocks(
        lambda rows: make(X[rows.ravel()]), chunks=((50,) * 3, (X.shape[1],)), dtype=X.dtype,
        meta=make((0, X.shape[1])),
    )  # fmt: skip
    parameters = dict(width=90, selection="random")
    agree(on_dask(blocks, array(y, 50), **parameters), fit_here(X, y, **parameters))


def test_two_fits_at_once_from_threads_and_from_clients(cluster):
    X, y = coins()
    expected = {width: fit_here(X, y, width=width, complete=True) for width in (9, 20)}
    found = {}

    def run(width, client):
        found[width, client] = on_dask(
            array(X, 50), array(y, 50), width=width, complete=True, client=client
        )

    options = dict(set_as_default=False)
    with Client(cluster, **options) as one, Client(cluster, **options) as other:
        threads = [
            threading.Thread(target=run, args=(width, client))
            for width in (9, 20)
            for client in (one, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(1000)
    assert len(found) == 4
    for (width, _), net in found.items():
        agree(net, expected[width])


def test_inside_a_task(client):
    """Also of as many tasks as there are threads, which all wait for parts."""
    X, y = coins()
    tasks = [
        client.submit(on_dask, array(X, 50), array(y, 50), width=width, complete=True, pure=False)
        for width in (9, 20, 9, 20)
    ]
    for width, net in zip((9, 20, 9, 20), client.gather(tasks), strict=True):
        agree(net, fit_here(X, y, width=width, complete=True))


def test_persisted_data_is_made_again_and_scattered_data_warned_of(client):
    X, y = coins()
    expected = fit_here(X, y)
    agree(on_dask(array(X).persist(), array(y).persist()), expected)
    (piece,) = client.scatter([X])
    scattered = da.from_delayed(dask.delayed(piece), X.shape, X.dtype)
    with pytest.warns(UserWarning, match="X or y holds 1 pieces that were scattered") as seen:
        net = fastmem.dask.interpolate(scattered, array(y, len(y)), seed=1)
    assert seen[0].filename == __file__
    agree(net, expected)


def test_warnings_point_to_the_line_that_called(client):
    X, y = coins()
    with pytest.warns(fastmem.UnseparatedWarning) as seen:
        fastmem.dask.interpolate(array(X), array(y), seed=1, width=9)
        DaskClassifier(width=9, decision="cells").fit(array(X), array(y))
    assert len(seen) == 2
    assert {one.filename for one in seen} == {__file__}


def test_an_interrupt_leaves_nothing_behind(cluster, client, monkeypatch):
    X, y = coins()
    call = shards.DaskShards.call

    def interrupted(self, seqs, messages, restore):
        if self.n_rounds == 5:
            raise KeyboardInterrupt
        return call(self, seqs, messages, restore)

    monkeypatch.setattr(shards.DaskShards, "call", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        on_dask(array(X), array(y))
    assert left_on(cluster) == [], caught  # which holds on to all that was there


def test_a_shard_that_cannot_be_reached_is_named(client, monkeypatch):
    async def execute(self, host, key, *arguments):
        if host == self._host_of[0]:
            raise KeyError(key)  # as a worker says of an actor that it does not have
        return await real(self, host, key, *arguments)

    real = shards.DaskShards._execute
    monkeypatch.setattr(shards.DaskShards, "_execute", execute)
    monkeypatch.setattr(shards, "_FOR_ANOTHER", 0.0)
    monkeypatch.setattr(shards, "_HALF_FULL", 0.0)
    X, y = coins()
    words = r"shard 0, last on worker inproc://.*, which holds the parts \[0.*\], was lost 5 times"
    with pytest.raises(LostShardError, match=words):
        on_dask(array(X), array(y))


def test_a_client_that_is_closed_meanwhile_ends_the_fit(cluster, monkeypatch):
    X, y = coins()
    call = shards.DaskShards.call
    client = Client(cluster, set_as_default=False)

    def closing(self, seqs, messages, restore):
        if self.n_rounds == 5:
            client.close()
        return call(self, seqs, messages, restore)

    monkeypatch.setattr(shards.DaskShards, "call", closing)
    with pytest.raises(LostShardError, match="client was closed"):
        on_dask(array(X), array(y), client=client)


# Refusals ------------------------------------------------------------------------------------

X, Y = blobs(60)
AX, AY = array(X, 20), array(Y, 20)
FX, FY = framed(X, Y)[2:]
UNKNOWN = AX[AX[:, 0] > -99]
WRONG = {
    "numpy": (X, AY, "X is of type ndarray; pass a Dask array or data frame, such as dask.array.f"),
    "pandas": (pandas.DataFrame(X), AY, "X is of type DataFrame; pass a Dask array"),
    "delayed": (dask.delayed(X), AY, "X is of type DelayedLeaf; pass"),
    "labels": (AX, Y, r"y is of type ndarray.*from_array\(y, chunks=X.chunks\[0\]\)"),
    "name": (FX, "y", r"y is a name; .* interpolate\(X.drop\(columns='y'\), X\['y'\]"),
    "frame": (FX, FX, "y is of type DataFrame"),
    "columns": (AX.rechunk({1: 3}), AY, r"X has 2 chunks of columns; .* X.rechunk\({1: -1}\)"),
    "dimensions": (AX[:, 0], AY, "X has 1 dimensions; pass one row per point"),
    "more labels": (AX, AY[:, None], "y has 2 dimensions; pass one label per row"),
    "parts": (AX, array(Y, 30), r"X has 3 parts and y has 2; .* y.rechunk\({0: X.chunks\[0\]}\)"),
    "rows": (AX, array(Y, 20, 15, 25), r"part 1 has 20 rows in X and 15 in y; .*rechunk"),
    "unknown": (UNKNOWN, array(Y, 20, 15, 25), r"part 1 has 20 rows in X and 15 in y; .*rechunk"),
    "frames": (FX, FY.repartition(npartitions=2), "X has 3 parts and y has 2; .*columns of one fr"),
    "lengths": (FX, dd.from_pandas(pandas.Series(Y[:57]), 3), "part 0 has 20 rows in X and 19 in"),
    "empty": (AX[:0], AY[:0], "X has no rows; pass parts with points"),
    "not finite": (AX / (AX[41] != AX), AY, "X"),
    "one class": (AX, AY * 0, "holds one class only"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value)")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_collections_are_refused(client, name):
    X, y, words = WRONG[name]
    with pytest.raises(InvalidInputError, match=words):
        fastmem.dask.interpolate(X, y, seed=0)


def test_of_several_parts_the_first_is_refused_however_late(client):
    def shorter(block, block_id):
        time.sleep(0 if block_id[0] else 3 * shards._PULSE)
        return block[1:]

    slow = AX.map_blocks(shorter, dtype=AX.dtype, meta=np.empty((0, 0)))
    with pytest.raises(InvalidInputError, match="part 0 has 19 rows in X and 20 in y"):
        fastmem.dask.interpolate(slow, AY, seed=0)


def test_clients_that_cannot_be_used_are_refused(cluster):
    with pytest.raises(InvalidInputError, match="there is no Dask client; begin one"):
        fastmem.dask.interpolate(AX, AY)
    with pytest.raises(InvalidInputError, match="client is of type str; pass a Dask client"):
        fastmem.dask.interpolate(AX, AY, client="tcp://127.0.0.1:1")
    client = Client(cluster, set_as_default=False)
    client.close()
    with pytest.raises(InvalidInputError, match="client is closed; pass one that is connected"):
        fastmem.dask.interpolate(AX, AY, client=client)


def test_an_asynchronous_client_is_refused(client):
    class Asynchronous(Client):
        asynchronous = True

        def __init__(self):
            pass

        __del__ = __init__

    with pytest.raises(InvalidInputError, match="client is asynchronous; pass one that is not"):
        fastmem.dask.interpolate(AX, AY, client=Asynchronous())


def test_settings_are_looked_at_before_the_work(client, monkeypatch):
    monkeypatch.setattr(collections, "Recipes", None)
    with pytest.raises(TypeError, match="widht"):
        fastmem.dask.interpolate(AX, AY, widht=3)


@pytest.mark.parametrize("name", ["fastmem", "numba", "numpy", "Python"])
def test_other_versions_on_workers_are_refused(client, monkeypatch, name):
    mine = collections.versions()
    monkeypatch.setattr(collections, "versions", lambda: {**mine, name: "0.0"})
    words = rf"worker inproc://.* has {name} {mine[name]} and the driver {name} 0.0; install"
    with pytest.raises(InvalidInputError, match=words):
        fastmem.dask.interpolate(AX, AY)


def test_a_worker_that_lacks_a_module_is_named(client):
    with pytest.raises(ModuleNotFoundError, match=r"worker inproc://.* has no module fastmem.no;"):
        client.submit(clients.on_worker("fastmem.no", "f")).result()


def test_an_error_in_the_users_graph_is_raised_as_it_is(client):
    def fail(block):
        raise FileNotFoundError("gone.parquet")

    with pytest.raises(FileNotFoundError, match=r"gone.parquet"):
        fastmem.dask.interpolate(AX.map_blocks(fail, dtype=float, meta=X[:0]), AY)


# Predictions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [coins()[1], np.array(["no", "yes", "perhaps"])[coins()[1]]])
def test_lazy_predictions_are_those_of_one_machine(client, labels):
    X, _ = coins()
    net = fit_here(X, labels, covered="all")
    frame, _, ours, _ = framed(X, labels)
    net_of_frames = fit_here(frame, labels, covered="all")
    found = fastmem.dask.predict(net, array(X))
    assert found.chunks == array(labels).chunks and found.dtype == net.classes_.dtype
    assert np.array_equal(found.compute(), net.predict(X))
    scores = fastmem.dask.decision_function(net, array(X))
    assert scores.shape == (160, 3) and np.array_equal(scores.compute(), net.decision_function(X))
    ours = ours[ours["größe 0"] > -9].set_index(ours["größe 1"] > 0, sorted=False)
    index = ours.index.compute()
    for name in ("predict", "decision_function"):
        lazy = getattr(fastmem.dask, name)(net_of_frames, ours)
        computed = lazy.compute()
        assert computed.index.equals(index)
        expected = getattr(net_of_frames, name)(ours.compute())
        assert np.array_equal(np.asarray(computed), expected)
        assert type(computed) is type(lazy._meta) and lazy._meta.shape[1:] == computed.shape[1:]


def test_patterns_probabilities_and_margins_of_two_classes(client):
    X, y = blobs(200, n_classes=2)
    net = fit_here(X, y, decision="vote")
    frame, _, ours, _ = framed(X, y)
    probabilities = fastmem.dask.predict_proba(net, array(X, 100, 0, 100))
    assert np.array_equal(probabilities.compute(), net.predict_proba(X))
    margins = fastmem.dask.decision_function(net, array(X))
    assert np.array_equal(margins.compute(), net.decision_function(X))
    expected = fastmem.sign_patterns(X, net.first)
    assert np.array_equal(fastmem.dask.sign_patterns(array(X), net.first).compute(), expected)
    of_frame = fastmem.dask.sign_patterns(ours, net.first).compute()
    assert of_frame.index.equals(frame.index) and np.array_equal(of_frame, expected)
    pair = net.first.weights, net.first.biases
    assert np.array_equal(fastmem.dask.sign_patterns(array(X), pair).compute(), expected)


def test_predictions_need_no_cluster_and_a_network():
    X, y = coins()
    net = fit_here(X, y)
    assert np.array_equal(
        fastmem.dask.predict(net, array(X)).compute(scheduler="sync"), net.predict(X)
    )
    for name in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(InvalidInputError, match="network is of type str; pass what interpolat"):
            getattr(fastmem.dask, name)("net.npz", array(X))
    with pytest.raises(InvalidInputError, match="X is of type ndarray; pass a Dask array"):
        fastmem.dask.predict(net, X)
    with pytest.raises(InvalidInputError, match="12"):
        fastmem.dask.predict(net, array(X[:, :5])).compute(scheduler="sync")


# The classifier ------------------------------------------------------------------------------


def both(X, y, **parameters):
    local = InterpolatingClassifier(decision="cells", random_state=3, **parameters)
    return local, DaskClassifier(decision="cells", random_state=3, **parameters)


@pytest.mark.parametrize("kind", ["int", "str", "bool"])
def test_the_classifier_is_the_local_one(client, kind):
    X, y = coins()
    y = {"int": y.astype(np.int16), "str": np.array(["a", "bc", "ü"])[y], "bool": y > 0}[kind]
    local, ours = both(X, y)
    assert ours.fit(array(X), array(y)) is ours
    local.fit(X, y)
    assert bytes_of(ours.network_) == bytes_of(local.network_)
    assert np.array_equal(ours.classes_, local.classes_) and ours.n_features_in_ == 12
    assert ours.classes_.dtype == local.classes_.dtype
    predicted = ours.predict(array(X))
    assert predicted.dtype == local.predict(X).dtype
    assert np.array_equal(predicted.compute(), local.predict(X))
    margins = ours.decision_function(array(X)).compute()
    assert np.array_equal(margins, local.decision_function(X))
    assert ours.score(array(X), array(y)) == 1.0
    assert not hasattr(ours, "predict_proba")


def test_the_classifier_takes_frames(client):
    X, y = coins()
    frame, labels, ours, theirs = framed(X, np.array(["a", "bc", "ü"])[y])
    frame["whole"] = np.arange(len(y))
    ours["whole"] = dd.from_pandas(frame["whole"], 3, sort=False)
    local, classifier = both(frame, labels)
    classifier.fit(ours, theirs)
    local.fit(frame, labels)
    assert bytes_of(classifier.network_) == bytes_of(local.network_)
    assert classifier.feature_names_in_.tolist() == list(frame.columns)
    assert np.array_equal(classifier.classes_, local.classes_)
    predicted = classifier.predict(ours).compute()
    assert predicted.index.equals(frame.index)
    assert np.array_equal(np.asarray(predicted), local.predict(frame))
    assert classifier.score(ours, theirs) == 1.0
    weights = dd.from_pandas(pandas.Series(np.arange(160.0)), 3, sort=False)
    wrong = theirs.where(theirs != "a", "ü")
    share = np.average(local.predict(frame) == wrong.compute(), weights=np.arange(160.0))
    assert classifier.score(ours, wrong, weights) == pytest.approx(share)
    with pytest.raises(InvalidInputError, match="abstain masks labels of arrays only"):
        classifier.predict(ours, abstain=0.5)


def test_the_classifier_takes_numbers_of_any_kind_as_the_local_one(client):
    X, y = coins()
    X = X.astype(object)
    local, ours = both(X, y)
    ours.fit(array(X), array(y))
    assert bytes_of(ours.network_) == bytes_of(local.fit(X, y).network_)


def test_the_classifier_settles_contradictions_and_says_so(client):
    X, y = contradicting()
    local, ours = both(X, y)
    with pytest.warns(ContradictionWarning) as theirs:
        local.fit(X, y)
    with pytest.warns(ContradictionWarning) as mine:
        ours.fit(array(X), array(y))
    assert str(mine[0].message) == str(theirs[0].message)
    assert mine[0].filename == theirs[0].filename == __file__
    assert np.array_equal(ours.relabelled_, local.relabelled_)
    assert bytes_of(ours.network_) == bytes_of(local.network_)


def test_sparse_parts_in_the_classifier(client):
    X, y = rare()
    rows = array(np.arange(150), 50)[:, None]
    blocks = rows.map_blocks(
        lambda rows: sparse.csr_matrix(X[rows.ravel()]), chunks=((50,) * 3, (X.shape[1],)),
        dtype=X.dtype, meta=sparse.csr_matrix((0, X.shape[1])),
    )  # fmt: skip
    local, ours = both(X, y, width=90)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        ours.fit(blocks, array(y, 50))
        local.fit(X, y)
    assert bytes_of(ours.network_) == bytes_of(local.network_)
    assert np.array_equal(ours.predict(blocks).compute(), local.predict(X))


def test_the_classifier_becomes_local_and_travels(client):
    X, y = coins()
    ours = DaskClassifier(client=client, decision="cells", random_state=3, verbose=0)
    ours.fit(array(X), array(y))
    assert ours.client_ is client
    local = ours.to_local()
    assert type(local) is InterpolatingClassifier and local.random_state == 3
    assert np.array_equal(local.predict(X), y) and local.network_ is ours.network_
    again = pickle.loads(pickle.dumps(ours))
    assert again.client is None and again.client_ is client  # the current one
    assert np.array_equal(again.predict(array(X)).compute(), y)
    fresh = clone(ours)
    assert fresh.client is client and fresh.decision == "cells" and not hasattr(fresh, "network_")
    assert pickle.loads(pickle.dumps(fresh.set_params(width=7))).width == 7


def test_the_classifier_has_the_parameters_of_the_local_one():
    theirs = InterpolatingClassifier().get_params()
    assert DaskClassifier().get_params() == {**theirs, "client": None}
    names = [*inspect.signature(DaskClassifier).parameters]
    assert names == ["client", *inspect.signature(InterpolatingClassifier).parameters]
    with pytest.raises(TypeError, match="widht"):
        DaskClassifier(widht=3)
    assert DaskClassifier()._decision() == "vote"
    with pytest.raises(InvalidInputError, match="there is no Dask client"):
        _ = DaskClassifier().client_


def test_the_classifier_refuses_what_is_no_collection(client):
    X, y = coins()
    for wrong in ((X, array(y)), (array(X), y)):
        with pytest.raises(InvalidInputError, match="is of type ndarray; pass a Dask array"):
            DaskClassifier(decision="cells").fit(*wrong)


# What the engine has learnt since: the vote, and raw tables -------------------------------------


def test_the_classifier_votes_by_default_as_the_local_one(client):
    X, y = blobs(300)
    X = X.astype(np.float32)
    local = InterpolatingClassifier(random_state=3).fit(X, y)
    ours = DaskClassifier(random_state=3).fit(array(X), array(y))
    assert bytes_of(ours.network_) == bytes_of(local.network_)
    probabilities = ours.predict_proba(array(X)).compute()
    assert np.array_equal(probabilities, local.predict_proba(X))
    sure = float(np.median(probabilities.max(axis=1)))
    masked = ours.predict(array(X), abstain=sure).compute()
    expected = local.predict(X, abstain=sure)
    assert expected.mask.any() and np.array_equal(masked.mask, expected.mask)
    assert np.ma.allequal(masked, expected)


@pytest.mark.parametrize("parameters", [{"width": 256}, {"decision": "vote"}])
def test_raw_tables(client, parameters):
    X, y = blobs(300)
    rng = np.random.default_rng(0)
    days = pandas.to_timedelta(rng.integers(0, 1000, 300), "D")
    table = pandas.DataFrame({
        "n": X[:, 0], "f": X[:, 1], "k": rng.integers(0, 50, 300),
        "cat": rng.choice(["x", "y", None], 300), "day": pandas.Timestamp("2020-01-01") + days,
        "kind": pandas.Categorical(rng.choice(["u", "v"], 300)),
    })  # fmt: skip
    parameters = {**parameters, "encode": True, "contradictions": "majority"}
    expected = fit_here(table, y, **parameters)
    ours = dd.from_pandas(table, 4, sort=False)
    net = on_dask(ours, dd.from_pandas(pandas.Series(y), 4, sort=False), **parameters)
    assert bytes_of(net) == bytes_of(expected)
    assert np.array_equal(fastmem.dask.predict(net, ours).compute(), expected.predict(table))
