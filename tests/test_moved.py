"""Old paths: pickles find their classes by them, and nothing else stands there."""

from __future__ import annotations

import pickle
import sys
from importlib import import_module
from pathlib import Path

import pytest

import fastmem
from fastmem.moved import MOVED

NAMES = [(path, name) for path, names in MOVED.items() for name in names]


@pytest.mark.parametrize(("path", "name"), NAMES)
def test_a_pickle_finds_what_has_moved(path, name):
    found = pickle.loads(f"c{path}\n{name}\n.".encode())
    assert found is getattr(import_module(MOVED[path][name]), name)
    assert found.__name__ == name and found.__module__ == MOVED[path][name]


@pytest.mark.parametrize("path", MOVED)
def test_an_old_path_is_no_file_and_knows_no_other_name(path):
    place = Path(fastmem.__file__).parents[1].joinpath(*path.split("."))
    assert not place.exists() and not place.with_suffix(".py").exists()
    with pytest.raises(AttributeError, match=rf"module '{path}' has no attribute 'numpy'"):
        _ = sys.modules[path].numpy
    with pytest.raises(ImportError):
        import_module(f"{path}.numpy")
