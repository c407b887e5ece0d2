"""Warnings point to the user's line, from whatever depth."""

from __future__ import annotations

import inspect

import pytest

import fastmem
from fastmem.distributed.fitting import interpolate_on
from fastmem.distributed.transport import LocalShards
from fastmem.machine.warned import warn_user
from fastmem.separation import separate
from fastmem.tables import Encoding
from tests.test_distributed import coins, contradicting, shards_of

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")
from fastmem.sklearn import ContradictionWarning, InterpolatingClassifier  # noqa: E402

X, Y = coins()
TABLE = {"a": ["x", "y", "z"] * 20, "b": list(range(60))}
LABELS = [0, 1, 1] * 20
UNKNOWN = {"a": ["new"], "b": [3]}


def of_tables():
    return fastmem.interpolate(TABLE, LABELS, encode=True, seed=0)


def of_texts():
    encoding = Encoding.fit(TABLE)
    table = {**TABLE, "a": ["new", *TABLE["a"][1:]]}
    return encoding, table


def local():
    fastmem.interpolate(X, Y, width=9, seed=1)


def voted():
    fastmem.interpolate(X, Y, max_width=2, decision="vote", seed=1)


def on_shards():
    interpolate_on(LocalShards(shards_of(X, Y, [50], [0, 1], 2)), width=9, seed=1)


def by_sklearn():
    InterpolatingClassifier(width=9, decision="cells", random_state=0).fit(X, Y)


def settled():
    InterpolatingClassifier(random_state=0).fit(*contradicting())


def separated():
    separate(X, Y, width=2, seed=0)


def predicted():
    of_tables().predict(UNKNOWN)


def explained():
    of_tables().explain(UNKNOWN, TABLE, LABELS)


def transformed():
    encoding, table = of_texts()
    encoding.transform(table)


def fitted_to_an_encoding():
    encoding, table = of_texts()
    fastmem.interpolate(table, LABELS, encode=encoding, seed=0)


CALLS = [
    local, voted, on_shards, by_sklearn, settled, separated, predicted, explained, transformed,
    fitted_to_an_encoding,
]  # fmt: skip
KINDS = fastmem.UnseparatedWarning, ContradictionWarning, fastmem.errors.UnknownValueWarning


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_warning_points_to_the_line_that_called(call):
    with pytest.warns(KINDS) as seen:
        call()
    lines, first = inspect.getsourcelines(call)
    for one in seen:
        if one.category in KINDS:
            assert one.filename == __file__
            assert first < one.lineno < first + len(lines)


def test_without_a_caller_outside_there_is_a_warning_all_the_same():
    """As where the package is the whole program."""
    code = compile('warn("there", UserWarning)', "ours.py", "exec")
    with pytest.warns(UserWarning, match="there") as seen:
        exec(code, {"__name__": "fastmem.sometimes", "warn": warn_user})
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match="there") as seen:
        exec(code, {"__name__": "fastmem_of_others", "warn": warn_user})
    assert seen[0].filename == "ours.py"


def test_code_of_any_name_is_the_users():
    code = compile("warn_user('here', UserWarning)", "by hand", "exec")
    for name in ("fastmemory", "", 1):
        with pytest.warns(UserWarning) as caught:
            exec(code, {"warn_user": warn_user, "__name__": name})
        assert caught[0].filename == "by hand"
    exec(code, {"warn_user": warn_user, "__name__": None})  # where Python itself warns of nothing
