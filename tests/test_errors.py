"""What fastmem raises and warns of comes whole out of other processes, where pools copy it."""

from __future__ import annotations

import copy
import importlib
import multiprocessing
import pickle
import pkgutil
import warnings

import numpy as np
import pytest

import fastmem
import fastmem.errors

NAMES = sorted(
    name for name, one in vars(fastmem.errors).items()
    if isinstance(one, type) and issubclass(one, Exception)
)  # fmt: skip


def all_kinds():
    """Every exception and warning that some module of the package defines."""
    for module in pkgutil.walk_packages(fastmem.__path__, "fastmem."):
        if not module.name.startswith(("fastmem.docs", "fastmem.commands", "fastmem.cli")):
            try:
                found = vars(importlib.import_module(module.name))
            except ModuleNotFoundError:
                continue  # of an extra
            for one in found.values():
                is_kind = isinstance(one, type) and issubclass(one, Exception)
                if is_kind and one.__module__ == module.name:
                    yield one


def made(kind):
    if kind is fastmem.ContradictionError:
        return kind("rows 0 and 2 are equal", [(0, 2)], 5)
    return kind("one sentence")


@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_all_exceptions_can_be_copied(again):
    kinds = set(all_kinds())
    assert {kind.__name__ for kind in kinds} >= {*NAMES, "ExportWarning"}
    for kind in kinds:
        error = made(kind)
        error.note = "added by hand"
        same = again(error)
        assert type(same) is kind
        assert str(same) == str(error) and vars(same) == vars(error)


def test_errors_and_warnings_come_back_from_a_pool(tmp_path):
    X, y = np.array([[0.0], [1.0], [0.0]]), [0, 1, 1]
    (tmp_path / "broken.npz").write_bytes(b"no model")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with pytest.raises(fastmem.ContradictionError, match=r"rows 0 \(0\) and 2 \(1\)") as raised:
            pool.apply(fastmem.interpolate, (X, y))
        assert (raised.value.count, raised.value.pairs) == (2, [(0, 2)])
        with pytest.raises(fastmem.InvalidInputError, match="y has 2 labels"):
            pool.apply(fastmem.interpolate, (X, y[:2]))
        with pytest.raises(fastmem.ModelFileError):
            pool.apply(fastmem.load, (tmp_path / "broken.npz",))
        with warnings.catch_warnings(record=True) as here:
            warnings.simplefilter("always")
            fastmem.interpolate(X, y, width=2, seed=0)
        assert pool.apply(str, (here[0].message,)) == str(here[0].message)
