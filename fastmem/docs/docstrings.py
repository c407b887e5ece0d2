"""Docstrings as the site's Markdown: roles become links, and angle brackets stay what they are."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|meth|attr|mod|exc):`~?([\w.]+)`")
HEADER = re.compile(
    r"^(?P<names>\w+(?:, \w+)*) : (?P<type>.*?)(?P<end>, default .*|, optional)?$", re.M
)
SEVERAL = re.compile(r"^(?P<names>\w+(?:, \w+)+)\n(?P<text>(?:    .*\n?|\n(?=    ))+)", re.M)
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
        text = HEADER.sub(_readable, text)
        # one entry each, or all of them would be shown with the type of the first
        text = SEVERAL.sub(
            lambda found: "".join(
                f"{name}\n{found['text'].rstrip()}\n" for name in found["names"].split(", ")
            ),
            text,
        )
        obj.docstring.value = ROLE.sub(link, text)


def _readable(found: re.Match[str]) -> str:
    """A parameter's line whose choices, in braces or after commas, are joined by "or".

    Otherwise they would be read as Python, and shown as its tuples.
    """
    kind = found["type"]
    if kind.startswith("{"):
        kind = kind.replace("{", "").replace("}", "").replace(", ", " or ")
    elif " or " in kind and not re.search(r"[(\[]|shape|dict", kind):
        kind = re.sub(", (or )?", " or ", kind)
    return f"{found['names']} : {kind}{found['end'] or ''}"
