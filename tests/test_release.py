"""What a release says of itself in several places is the same everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import fastmem

PACKAGE = Path(fastmem.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_changelog_begins_with_this_version():
    text = (PACKAGE / "docs" / "pages" / "changelog.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+) \((\d{4}-\d{2}-\d{2})\)$", text, re.MULTILINE)
    citation = (PACKAGE / "CITATION.cff").read_text(encoding="utf-8")
    assert newest is not None
    assert newest[1] == PROJECT["version"]
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\ndate-released: {newest[2]}\n" in citation


def test_every_supported_python_is_a_classifier():
    minors = [
        int(found[1])
        for name in PROJECT["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", name))
    ]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert PROJECT["requires-python"] == f">=3.{minors[0]}"
