"""What a release says of itself in several places is the same everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

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


ROOT = PACKAGE.parent
ASKED = re.compile(
    r"\b(?:pip[x3]?|uvx?|poetry|conda|mamba)\s+(?:pip\s+)?(?:install|add|download|run|upgrade)\s+"
    r"((?:(?!&&|[;|`]|\n\n).)*)",
    re.DOTALL,
)
STRANGER = re.compile(
    r"""(?<![\w./-])fastmem(?:\[[a-z{][\w,{}]*\](?!\[)|(?=[=<>~]=|["'\s]*$))"""  # a requirement
)
LOOKED_UP = re.compile(r"""\b(?:version|files|distribution|metadata)\(\s*["']fastmem["']""")


def strangers(text):
    """What of a text asks for the distribution fastmem, which is another project's."""
    found = [asked[1] for asked in ASKED.finditer(text) if STRANGER.search(asked[1])]
    found += [match[0] for match in re.finditer(r"(?<![\w./-])fastmem\[[a-z{][\w,{}]*\]", text)]
    return found + LOOKED_UP.findall(text)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('pip install "fastmem[cli]"', True),
        ("python -m pip install -U fastmem", True),
        ("pip install fastmem==0.1.0", True),
        ("uv pip install\nfastmem", True),
        ('study = ["fastmem[plot,sklearn]"]', True),
        ('pip install "fastmem[{extra}]"', True),
        ("version('fastmem')", True),
        ('pip install "fastmem-nets[cli]"', False),
        ("pip install fastmem-nets==0.1.0", False),
        ('pip install ".[cli,plot]" && .venv/bin/fastmem demo', False),
    ],
)
def test_the_search_for_the_strangers_name_finds_it(text, wrong):
    assert bool(strangers(text)) == wrong


def test_no_text_asks_for_the_distribution_of_a_stranger():
    assert PROJECT["name"] == "fastmem-nets"
    texts = [ROOT / name for name in ("README.md", "pyproject.toml", ".ci/run")]
    for room in ("fastmem", "bench", "tests"):
        for suffix in ("py", "md", "yml", "cff", "html"):
            texts += (ROOT / room).rglob(f"*.{suffix}")
    assert len(texts) > 200
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in texts
        if path.name not in ("test_release.py", "test_docs.py")  # whose examples are wrong
        if (wrong := strangers(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_an_installation_says_its_version_by_its_own_name():
    text = (PACKAGE / "version.py").read_text(encoding="utf-8")
    assert f'version("{PROJECT["name"]}")' in text
