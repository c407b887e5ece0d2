"""Docstrings as the site's Markdown: roles become links, and angle brackets stay what they are."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|meth|attr|mod|exc):`~?([\w.]+)`")
CHOICES = re.compile(r"^(\w[\w, ]* : )\{(.*?)\}", re.MULTILINE)
TYPE_OR_TEXT = re.compile(r'^(\w[\w, ]* : \w+), (?=")', re.MULTILINE)
CODE_OR_BRACKET = re.compile(r"``.*?``|`[^`]*`|<(?=[A-Za-z/])", re.DOTALL)


class Docstrings(griffe.Extension):
    """Rewrites every docstring that is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring; names in roles are looked up where it stands."""
        if obj.docstring is None:
            return

        def link(found: re.Match[str]) -> str:
            first, dot, rest = found[1].partition(".")
            path = found[1] if first == "fastmem" else obj.resolve(first) + dot + rest
            return f"[`{found[1]}`][{path}]"

        def plain(found: re.Match[str]) -> str:
            return "&lt;" if found[0] == "<" else found[0]

        text = CODE_OR_BRACKET.sub(plain, obj.docstring.value)
        # numpydoc's choices, which would otherwise be shown as Python's tuples
        text = CHOICES.sub(lambda found: found[1] + found[2].replace(", ", " or "), text)
        text = TYPE_OR_TEXT.sub(r"\1 or ", text)
        obj.docstring.value = ROLE.sub(link, text)
