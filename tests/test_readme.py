"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_ten_lines_of_python_run(tmp_path, monkeypatch, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("(2048, ") and printed[1] == "1.0"
    assert printed[2].startswith("[0 1 2 3 4]")


def test_ci_runs_the_readmes_test_command_word_for_word():
    commands = re.findall(r"```sh\n(python3 -m venv .*?)\n```", README.read_text(encoding="utf-8"))
    assert len(commands) == 2
    assert commands[1] in (README.parent / ".ci" / "run").read_text(encoding="utf-8").splitlines()
