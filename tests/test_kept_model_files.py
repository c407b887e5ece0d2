"""Real model files of every format version, some by the first commits that could write them."""

from __future__ import annotations

import hashlib

import kept
import numpy as np
import pytest

import fastmem

OLDER = kept.MODEL_FILES / "older"
FILES = {
    path: entry
    for folder in (kept.MODEL_FILES, OLDER)
    for path, entry in ((folder / name, entry) for name, entry in kept.read(folder).items())
}
IDS = [str(path.relative_to(kept.MODEL_FILES)) for path in FILES]


def test_there_is_one_of_every_version():
    versions = set()
    for path in FILES:
        with np.load(path, allow_pickle=False) as archive:
            versions.add(int(archive["format_version"]))
            assert path.stem.split("-")[1] == str(archive["format_version"])
    assert versions == set(range(1, 25))
    assert set(FILES) == set(kept.MODEL_FILES.rglob("*.npz"))


@pytest.mark.parametrize(("path", "entry"), FILES.items(), ids=IDS)
def test_a_model_file_is_loaded_and_predicts_what_it_did(path, entry, tmp_path):
    content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"], "the file itself was changed"
    network = fastmem.load(path)
    assert type(network) is fastmem.Network and network.report is None
    assert not kept.changes(entry, network)
    # what is saved again is the same, whatever zlib makes of it
    network.save(tmp_path / "again.npz")
    assert kept.members(tmp_path / "again.npz") == kept.members(path)
