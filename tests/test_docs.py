"""Every block of code in the README and on the site's pages runs, and prints what the page shows.

A page's blocks run in order, in one directory of their own:

- ``python``: all blocks of a page share one namespace;
- ``sh``: a line is a command. ``fastmem`` runs in this process, ``cc`` and what it made in others;
  of pip, pytest, Python, mkdocs and dask it is checked that what they are asked for exists;
- ``c title="FILE"``: is written to that file;
- ``yaml``, ``dockerfile``: of the commands it is checked that they exist;
- ``text``: the exact output of the block before it. ``...`` stands for any text within a line, a
  line of nothing else for any lines.

A block or command without a rule fails. What needs a program that is not installed makes the test
of its page end as skipped, after all else on the page has run.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import doctest
import functools
import importlib
import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
import typer  # noqa: E402
from sklearn.datasets import load_digits, load_iris  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from fastmem.commands import app  # noqa: E402

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "fastmem" / "docs"
SITE = [*sorted((DOCS / "pages").rglob("*.md")), ROOT / "fastmem" / "experiments" / "README.md"]
BENCH = ROOT / "bench"
PAGES = [README, *SITE, BENCH / "README.md", BENCH / "report" / "report.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FENCE = re.compile(r"^(?P<in> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=in)``` *$", re.M | re.S)

OPTIONAL = ("torch",)
"""What pages import that no extra for tests brings."""
SLOW_TO_FOLLOW = ("ray",)
"""What has no wheels for the newest Python at times, so that the extra for tests leaves it out."""
SCHEDULER = "tcp://127.0.0.1:8786"
"""Whose cluster a page's own commands begin: here one of this process takes its place."""
SMALLER = {
    "demo": ["--samples", "20000"],
    "reproduce": ["--grid", "n=20", "--grid", "lambda=0.5", "--trials", "2", "--workers", "1"],
}
"""Added to commands that take long, where they do not say it themselves."""
NAMES = {
    "bench.bars": ("BARS", lambda options: options.names),
    "bench.report": ("STUDIES", lambda options: options.names),
    "bench.check": ("ENTRIES", lambda options: options.only or []),
}
"""Names that a module's parser takes as they come: where the known ones are."""


@dataclass(frozen=True)
class Block:
    """A block of code: where it stands, its language, what follows that, and its text."""

    line: int
    language: str
    info: str
    body: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        language, _, info = match["info"].strip().partition(" ")
        indent = len(match["in"])
        body = "".join(line[indent:] or "\n" for line in match["body"].splitlines(True))
        found.append(Block(text.count("\n", 0, match.start()) + 1, language, info, body))
    assert text.count("```") == 2 * len(found), f"{page} has a fence that is not closed"
    return found


def prose_of(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


# Files that stand for the reader's own -------------------------------------------------------


def _iris() -> tuple[Any, Any]:
    X, y = load_iris(return_X_y=True)
    X, first = np.unique(X, axis=0, return_index=True)
    return X, np.array(["setosa", "versicolor", "virginica"])[y[first]]


def _flowers(path: Path, labelled: bool = True) -> None:
    X, y = _iris()
    header = "a,b,c,d" + ",species" * labelled
    rows = [",".join(map(str, x)) + f",{label}" * labelled for x, label in zip(X, y, strict=True)]
    path.write_text("\n".join([header, *rows]) + "\n")


def _pixels(path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    X, y = load_digits(return_X_y=True)
    columns = {f"pixel {i}": X[:500, i] for i in range(64)}
    parquet.write_table(pa.table(columns | {"digit": y[:500]}), path)


YOURS: dict[str, Callable[[Path], object]] = {
    "measurements.csv": _flowers,
    "my-data.csv": _flowers,
    "data.csv": _flowers,
    "new.csv": lambda path: _flowers(path, labelled=False),
    "pixels.parquet": _pixels,
    "published.csv": lambda path: shutil.copy(ROOT / "bench" / "published" / "moons.csv", path),
}
"""Made where a command wants them and the page's text names them."""


# Running a page ------------------------------------------------------------------------------


@dataclass
class Run:
    """A page that is being run, in the current directory."""

    page: Path
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    output: str | None = None
    missing: list[str] = field(default_factory=list)
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def run(self) -> None:
        for block in blocks_of(self.page):
            if SCHEDULER in block.body and block.language in ("python", "sh"):
                block = replace(block, body=block.body.replace(SCHEDULER, self.scheduler()))
            rule = getattr(self, f"run_{block.language}", None)
            assert rule is not None, (
                f"{self.at(block)}: no rule for the language {block.language!r}"
            )
            try:
                rule(block)
            except Exception as error:
                error.add_note(f"in the block at {self.at(block)}")
                raise

    def scheduler(self) -> str:
        """The address of a cluster in this process, which stands for the reader's own."""
        if "cluster" not in self.__dict__:
            distributed = pytest.importorskip("distributed")
            self.cluster = self.stack.enter_context(
                distributed.LocalCluster(
                    n_workers=2, processes=False, threads_per_worker=1, protocol="tcp://",
                    dashboard_address=":0", memory_limit=0,
                )
            )  # fmt: skip
        address: str = self.cluster.scheduler_address
        return address

    def at(self, block: Block) -> str:
        return f"{name_of(self.page)}:{block.line} ({block.language})"

    def run_python(self, block: Block) -> None:
        tree = ast.parse(block.body)
        imported = {name for node in ast.walk(tree) for name in _imported(node)}
        for name in OPTIONAL:
            if name in imported and importlib.util.find_spec(name) is None:
                self.missing.append(name)
                self.output = None
                return
        source = Path(f"block_{block.line}.py").absolute()  # Numba and tracebacks look at it
        source.write_text(block.body, encoding="utf-8")
        code = compile(block.body, str(source), "exec", dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, self.namespace)
        self.output = printed.getvalue()

    def run_text(self, block: Block) -> None:
        blocks = blocks_of(self.page)
        before = blocks[blocks.index(block) - 1]
        assert blocks.index(block) and before.language in ("python", "sh"), "output of what?"
        if self.output is None:
            assert self.missing, "no block before this one has run"
            return
        lines = [line.rstrip() for line in self.output.splitlines()]
        got = "\n".join(lines).strip("\n") + "\n"
        assert matches(block.body, got), f"{self.at(block)} shows\n{block.body}\nbut is\n{got}"

    def run_yaml(self, block: Block) -> None:
        """A compose file, whose commands exist and have these options."""
        yaml = pytest.importorskip("yaml")
        for service in yaml.safe_load(block.body)["services"].values():
            (words,) = _commands(service["command"])
            self.check_command(words)
        self.output = None

    def run_dockerfile(self, block: Block) -> None:
        for line in block.body.splitlines():
            instruction, _, rest = line.partition(" ")
            assert instruction in ("FROM", "WORKDIR", "COPY", "RUN"), f"no rule for {instruction}"
            for words in _commands(rest) if instruction == "RUN" else ():
                self.check_command(words)
        self.output = None

    def check_command(self, words: list[str]) -> None:
        """Whether a command can be asked for this, without doing it."""
        if words[0] != "fastmem":
            getattr(self, f"sh_{words[0]}")(words[1:])
            return
        command = typer.main.get_command(app).commands[words[1]]
        command.make_context(words[1], words[2:])

    def run_c(self, block: Block) -> None:
        (title,) = re.findall(r'title="([\w.]+)"', block.info)
        Path(title).write_text(block.body, encoding="utf-8")
        self.output = None

    def run_sh(self, block: Block) -> None:
        outputs = []
        for line in block.body.replace("\\\n", " ").splitlines():
            for words in _commands(line):
                program = words[0].removeprefix(".venv/bin/")
                if program == ".ci/run":
                    assert (ROOT / program).is_file()
                    outputs.append("")
                    continue
                rule = getattr(self, f"sh_{program.removeprefix('./')}", None)
                assert rule is not None, f"{self.at(block)}: no rule for the command {words[0]!r}"
                outputs.append(rule(words[1:]))
        self.output = None if None in outputs else "".join(outputs)

    # Commands: the words after the name; what they print, or None where they did not run

    def sh_fastmem(self, words: list[str]) -> str:
        for word in words:
            if word in YOURS and not Path(word).exists() and not _is_written(word, words):
                assert f"`{word}`" in prose_of(self.page), f"the page does not say what {word} is"
                YOURS[word](Path(word))
        if "--list" not in words:
            more = SMALLER.get(words[0], [])
            words = words if set(more) & set(words) else words + more
        found = CliRunner().invoke(app, words, catch_exceptions=False)
        assert found.exit_code == 0, f"fastmem {shlex.join(words)}:\n{found.output}"
        return found.stdout

    def sh_pip(self, words: list[str]) -> str:
        assert words[0] == "install"
        for word in words[1:]:
            if word in ("-e", "-q"):
                continue
            target, _, extras = word.partition("[")
            assert target in (".", PROJECT["name"]), f"pip is asked for {target}"
            for extra in filter(None, extras.rstrip("]").split(",")):
                assert extra in PROJECT["optional-dependencies"], f"there is no extra {extra!r}"
        return ""

    def sh_python(self, words: list[str]) -> str:
        if words[0] != "-m":
            assert (ROOT / words[0]).is_file(), f"there is no {words[0]}"
            return ""
        if words[1:] == ["venv", ".venv"]:
            return ""
        assert words[1].startswith(("bench.", "fastmem.")), f"no rule for python -m {words[1]}"
        module = importlib.import_module(words[1])
        if hasattr(module, "__path__"):
            module = importlib.import_module(f"{words[1]}.__main__")
        options = parsed(module.main, words[2:])
        if words[1] in NAMES:
            place, asked = NAMES[words[1]]
            entries = getattr(sys.modules[module.main.__module__], place)
            known = [getattr(entry, "name", entry) for entry in entries]
            assert not set(asked(options)) - set(known), f"{asked(options)} of {known}"
        return ""

    sh_python3 = sh_python

    def sh_dask(self, words: list[str]) -> str:
        module = pytest.importorskip(f"distributed.cli.dask_{words[0]}")
        module.main.make_context(words[0], words[1:])
        return ""

    def sh_pytest(self, words: list[str]) -> str:
        options = argparse.ArgumentParser()
        for option in ("-q", "--smoke"):
            options.add_argument(option, action="store_true")
        options.add_argument("-n", type=int)
        options.add_argument("paths", nargs="*")
        for path in options.parse_args(words).paths:
            assert (ROOT / path).exists(), f"there is no {path}"
        return ""

    def sh_mkdocs(self, words: list[str]) -> str:
        assert words[0] in ("build", "serve")
        options = argparse.ArgumentParser()
        options.add_argument("--strict", action="store_true")
        options.add_argument("-f", required=True)
        options.add_argument("-d")
        file = options.parse_args(words[1:]).f
        assert (ROOT / file).is_file(), f"there is no {file}"
        return ""

    def sh_cc(self, words: list[str]) -> str | None:
        if shutil.which("cc") is None:
            self.missing.append("a C compiler")
            return None
        warned = subprocess.run(["cc", "-Wall", *words], capture_output=True, text=True)
        assert (warned.returncode, warned.stderr) == (0, ""), warned.stderr
        return warned.stdout

    def sh_main(self, words: list[str]) -> str | None:
        if "a C compiler" in self.missing:
            return None
        assert words[0] == "<"
        given = Path(words[1]).read_text()
        return subprocess.run(
            ["./main"], input=given, capture_output=True, text=True, check=True, timeout=1000
        ).stdout


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module.partition(".")[0]


def _commands(line: str) -> Iterator[list[str]]:
    """The commands of a line of a shell, each as its words."""
    words: list[str] = []
    for word in shlex.split(line):
        if word == "&&":
            yield words
            words = []
        else:
            words.append(word)
    if words:
        yield words


def _is_written(word: str, words: list[str]) -> bool:
    return words[words.index(word) - 1] in ("--out", "--points", "--json")


class _Parsed(Exception):  # noqa: N818
    """Ends a program once it has read its arguments."""


def parsed(main: Callable[[list[str]], object], arguments: list[str]) -> argparse.Namespace:
    """What a program's parser makes of arguments; nothing else of the program runs."""
    original = argparse.ArgumentParser.parse_args
    found: list[argparse.Namespace] = []

    def parse_only(self: argparse.ArgumentParser, *given: Any) -> Any:
        found.append(original(self, *given))
        raise _Parsed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_Parsed):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        main(arguments)
    return found[0]


def matches(shown: str, got: str) -> bool:
    """Whether an output is what a page shows."""
    parts = []
    for line in shown.strip("\n").splitlines():
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(" *" * (line[0] != " ") if line else "")
            text = "[^\n]*".join(map(re.escape, line.rstrip().split("...")))
            # columns of a table are as wide as what else is in them
            parts.append(re.sub(r"(?:\\ ){3,}", " {3,}", text) + "\n")
    return re.fullmatch("".join(parts), got) is not None


# Tests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [p for p in PAGES if blocks_of(p)], ids=name_of)
def test_the_code_of_a_page_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    run = Run(page)
    with run.stack:
        run.run()
    if run.missing:
        pytest.skip(f"all has run but what needs {', '.join(run.missing)}")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("```python\nprint(1)\n```\n```text\n2\n```\n", "shows"),
        ("```python\nprint('ab')\n```\n```text\na...c\n```\n", "shows"),
        ("```text\n1\n```\n", "output of what"),
        ("```python\nprint('a   b')\n```\n```text\na   c\n```\n", "shows"),
        ("```python\n1 / 0\n```\n", "division"),
        ("```ruby\nputs 1\n```\n", "no rule for the language"),
        ("```\nfastmem demo\n```\n", "no rule for the language"),
        ("```sh\nrm -r .\n```\n", "no rule for the command"),
        ("```sh\n# fastmem demo\n```\n", "no rule for the command"),
        ("```sh\nfastmem warmup --quickly\n```\n", "--quickly"),
        ("```sh\nfastmem info net.npz\n```\n", "does not exist"),
        ("```sh\nfastmem predict net.npz new.csv\n```\n", "does not say what new.csv is"),
        ('```sh\npip install "fastmem-nets[fast]"\n```\n', "no extra 'fast'"),
        ("```sh\npip install fastermem\n```\n", "asked for fastermem"),
        ('```sh\npip install "fastmem[cli]"\n```\n', "asked for fastmem"),
        ("```sh\npytest tests/test_nothing.py\n```\n", "there is no"),
        ("```sh\npython -m bench.check --only nothing\n```\n", "nothing"),
        ("```sh\nmkdocs build -f mkdocs.yml\n```\n", "there is no mkdocs.yml"),
        ("```python\n1\n", "not closed"),
    ],
)
def test_what_is_wrong_on_a_page_is_found(text, word, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    with pytest.raises(Exception, match=re.escape(word)):
        Run(page).run()


@pytest.mark.parametrize("command", ["bench.check --onlyy counts", "bench.report --runs many"])
def test_options_that_a_program_does_not_know_are_found(command, capsys):
    with pytest.raises(SystemExit):
        Run(README).sh_python(["-m", *command.split()])


def test_ci_runs_the_readmes_test_command_word_for_word():
    text = README.read_text(encoding="utf-8")
    commands = re.findall(r"```sh\n(python3 -m venv .*?)\n```", text)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_extra_has_a_line_on_the_page_about_installing():
    text = (DOCS / "pages" / "install.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.M)) == set(PROJECT["optional-dependencies"])
    named = {
        extra for page in PAGES for extra in re.findall(r"fastmem-nets\[(\w+)\]", page.read_text())
    }
    assert named <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^()\s]+)\)", prose_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        full = page.parent / path if path else page
        assert full.exists(), f"{name_of(page)} links to {target}"
        assert not anchor or anchor in anchors_of(full), f"{name_of(page)} links to {target}"


def anchors_of(page: Path) -> set[str]:
    """Names of a page's headings, in links."""
    if page.name == "cli.md":  # whose headings are made of the commands
        return {command.name or command.callback.__name__ for command in app.registered_commands}
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("fastmem_docs_hooks", DOCS / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestHooks:
    """What the site's hooks find, which only a strict build would show."""

    @pytest.mark.parametrize(
        "fetching",
        [
            '<script src="https://host/a.js"></script>',
            '<img alt="" src="//host/a.png">',
            '<link rel="stylesheet" href="http://host/a.css">',
            '<link href="https://fonts.host" rel="preconnect">',
            '<p style="background: url(https://host/a.png)">',
            "<style>@import 'https://host/a.css';</style>",
        ],
    )
    def test_what_a_page_would_fetch_is_found(self, hooks, fetching):
        own = '<a href="https://host/">x</a><img src="a.png"><script src="../a.js"></script>'
        assert hooks.foreign(own) == []
        assert len(hooks.foreign(own + fetching + own)) == 1

    def test_all_public_names_have_docstrings(self, hooks):
        names = dict(hooks.public_names())
        assert {"fastmem.interpolate", "fastmem.experiments.hardness.hardness"} <= set(names)
        assert not [m for name, thing in names.items() for m in hooks.undocumented(name, thing)]

        class Bare:
            """Has a docstring."""

            def method(self):
                pass

            @functools.cached_property
            def size(self):
                pass

        assert list(hooks.undocumented("Bare", Bare)) == ["Bare.method", "Bare.size"]

    def test_links_to_the_repository_become_links_of_the_site(self, hooks):
        text = "[a](bench/report/report.md#peers) ![b](bench/demo.png) [c](bench) `[d](bench)`"
        assert hooks.rewritten(text, ROOT, "howto/large.md") == (
            "[a](../bench/report/index.md#peers) ![b](../bench/demo.png) `bench` `[d](bench)`"
        )

    def test_the_reference_has_every_command_and_option(self, hooks):
        text = "\n".join(hooks.commands())
        for command in app.registered_commands:
            name = command.name or command.callback.__name__
            assert f"## fastmem {name} " in text
            found = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
            part = text.split(f"## fastmem {name} ")[1].split("\n## ")[0]
            options = set(re.findall(r"--[a-z][a-z-]*", found.stdout)) - {"--help"}
            assert options == set(re.findall(r"--[a-z][a-z-]*", part))


def test_the_examples_in_docstrings_run():
    tried = 0
    for path in sorted((ROOT / "fastmem").rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8") and path.parent.name != "docs":
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            try:
                imported = importlib.import_module(module)
            except ModuleNotFoundError as missing:
                assert missing.name in SLOW_TO_FOLLOW, module
                continue
            found = doctest.testmod(imported)
            assert found.failed == 0
            tried += found.attempted
    assert tried > 0
