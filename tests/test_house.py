"""The order of the rooms: who imports whom, how long files are, and what their texts name.

The contracts stand in pyproject.toml and are what ``lint-imports`` checks. Here each of them is
broken on purpose, in a copy of the package, and must be reported by its name.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastmem"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = {contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
SOURCES = sorted(
    path for room in ("fastmem", "tests", "bench") for path in (ROOT / room).rglob("*.py")
)

MOST_LINES = 500
LONG = {
    "fastmem/datasets.py": "one data set after another, each a function alone",
}
"""Files of more lines, and why."""

BROKEN = [
    ("floors", "machine/threads.py", "from fastmem.inputs import check_threads"),
    ("floors", "network/margins.py", "def late():\n    from fastmem.widths import growth"),
    ("floors", "tables/columns.py", "from fastmem import datasets"),
    ("floors", "attic.py", "import math"),
    ("circles", "inputs/refusals.py", "from fastmem.inputs.values import all_usable"),
    ("circles", "inputs/refusals.py", "def late():\n    from fastmem.inputs import values"),
    ("circles", "plots/curves.py", "from fastmem.experiments import pictures"),
    ("kernels", "kernels/rows.py", "from fastmem.errors import InvalidInputError"),
    ("kernels", "kernels/rows.py", "import scipy.sparse"),
    ("whole", "experiments/study.py", "import fastmem"),
    ("whole", "plots/canvas.py", "def late():\n    from fastmem import sign_patterns"),
    ("documented", "experiments/complexity.py", "from fastmem.experiments import coverage"),
    ("documented", "widths/compact.py", "from fastmem.compact import Trial"),
    ("extras", "network/coverage.py", "import matplotlib.pyplot as plt"),
    ("extras", "second_layer/selection.py", "def late():\n    from sklearn import cluster"),
    ("extras", "export/layers.py", "import torch"),
    ("extras", "tables/reading.py", "import pandas"),
]
"""A contract, a file of the package and lines at its end that break the contract."""


@pytest.fixture
def copied(tmp_path):
    """A directory with the package's modules and the contracts."""
    pytest.importorskip("importlinter")
    no_modules = shutil.ignore_patterns("docs", "__pycache__", "*.md", "*.cff")
    shutil.copytree(PACKAGE, tmp_path / "fastmem", ignore=no_modules)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def linted(directory: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """What lint-imports says of a directory, on the contracts of these names or on all."""
    chosen = [word for name in names for word in ("--contract", name)]
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo", *chosen],
        cwd=directory, capture_output=True, text=True, timeout=1000, env={"COLUMNS": "200"},
    )  # fmt: skip


def add(directory: Path, file: str, lines: str) -> None:
    """Add lines at the end of a file of the package, which may be a new one."""
    with open(directory / "fastmem" / file, "a", encoding="utf-8") as module:
        module.write(f"\n{lines}\n")


def test_all_contracts_are_kept(copied):
    done = linted(copied)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in done.stdout


@pytest.mark.parametrize(("name", "file", "lines"), BROKEN)
def test_an_import_that_breaks_a_contract_is_reported(name, file, lines, copied):
    add(copied, file, lines)
    done = linted(copied, name)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{CONTRACTS[name]['name']} BROKEN" in done.stdout
    room, *_, module = Path("", file).with_suffix("").parts * 2  # a circle is of one or the other
    assert re.search(rf"\.({room}|{module})\b", done.stdout)


def test_every_contract_is_broken_once():
    assert {name for name, _, _ in BROKEN} == set(CONTRACTS)


def test_what_only_annotations_need_may_come_from_anywhere(copied):
    lines = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fastmem.cli import main"
    add(copied, "kernels/rows.py", lines)
    done = linted(copied)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_imports_itself_in_the_end():
    """Neither at the top of files nor in functions, the folders' own __init__ among them."""
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("fastmem", exclude_type_checking_imports=True, cache_dir=None)
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    while leaves := {name for name, more in imported.items() if not more & imported.keys()}:
        imported = {name: more for name, more in imported.items() if name not in leaves}
    assert not imported, f"among these is a circle: {', '.join(sorted(imported))}"


def third_party(path: Path) -> set[str]:
    """Packages that a file imports anywhere, but for fastmem and the standard library."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path} has a relative import"
            names.add(node.module.partition(".")[0])
    return names - {"fastmem"} - set(sys.stdlib_module_names)


def test_the_contracts_know_all_packages_that_are_imported():
    compiled = {"llvmlite", "numba", "numpy"}
    modules = {path for path in PACKAGE.rglob("*.py") if PACKAGE / "docs" not in path.parents}
    everywhere = {name for path in modules for name in third_party(path)}
    kernels = {name for path in (PACKAGE / "kernels").glob("*.py") for name in third_party(path)}
    assert kernels == compiled
    extras = set(CONTRACTS["extras"]["forbidden_modules"])
    assert everywhere - compiled - {"scipy"} <= extras
    assert extras | {"scipy", "fastmem.*"} == set(CONTRACTS["kernels"]["forbidden_modules"])


def test_the_page_about_contributing_draws_the_floors_of_the_contract():
    text = (PACKAGE / "docs" / "pages" / "contributing.md").read_text(encoding="utf-8")
    table = text.split("## Where things are")[1].split("\n## ")[0]
    drawn = [re.findall(r"`([\w.]+?)(?:/|\.py)`", row.split("|")[1]) for row in
             re.findall(r"^\|.*\|$", table, re.MULTILINE)]  # fmt: skip
    floors = [set(re.findall(r"\w+", floor)) for floor in CONTRACTS["floors"]["layers"]]
    assert [set(floor) for floor in drawn if floor] == floors


# Files ---------------------------------------------------------------------------------------


def test_no_file_is_long_without_a_reason():
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        assert n_lines <= MOST_LINES or name in LONG, f"{name} has {n_lines} lines"


def test_every_folder_says_what_it_is():
    folders = {path.parent for path in PACKAGE.rglob("*.py")} - {
        PACKAGE / "docs",  # no package: what makes the site
        PACKAGE / "docs" / "figures",
    }
    for folder in folders:
        tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{folder.name}/__init__.py has no docstring"


def test_texts_name_no_design_that_is_no_file_of_the_project():
    word = re.compile(r"\bDESIGN\b|\b[Tt]he design\b")
    for path in SOURCES:
        if path != Path(__file__):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                assert not word.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
