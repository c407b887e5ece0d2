"""What earlier code pickled is loaded, is of the public class, and does what it did."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from importlib import import_module

import kept
import pytest

FILES = kept.read(kept.PICKLES)
NAMES = (kept.PICKLES / "names.txt").read_text(encoding="utf-8").split()


@pytest.fixture(autouse=True)
def other_versions_may_warn():
    """scikit-learn warns of estimators that another version of it pickled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def need(name):
    if name.startswith("fastmem.sklearn:"):
        pytest.importorskip("sklearn")


@pytest.mark.parametrize("file", FILES)
def test_a_pickle_is_loaded_and_holds_what_it_held(file):
    content, entry = (kept.PICKLES / file).read_bytes(), FILES[file]
    assert hashlib.sha256(content).hexdigest() == entry["sha256"], "the file itself was changed"
    for name in kept.names_in(content):
        need(name)
    thing = pickle.loads(content)
    if entry["type"].startswith("fastmem."):
        assert type(thing) is kept.public(entry["type"])
    assert not kept.changes(entry, thing)
    again = pickle.loads(pickle.dumps(thing))
    assert type(again) is type(thing)
    assert not kept.changes(entry, again)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("fastmem")])
def test_every_name_is_where_pickles_look_for_it(name):
    need(name)
    module, _, attribute = name.partition(":")
    assert getattr(import_module(module), attribute).__name__ == attribute


def test_public_functions_and_classes_are_the_pickled_ones():
    pytest.importorskip("sklearn")
    for path, thing in pickle.loads((kept.PICKLES / "functions.pickle").read_bytes()).items():
        assert thing is kept.public(path), path


def test_all_files_and_names_are_listed():
    files = {path.name for path in kept.PICKLES.glob("*.pickle")}
    assert files == set(FILES)
    found = {name for file in files for name in kept.names_in((kept.PICKLES / file).read_bytes())}
    assert sorted(found) == NAMES
