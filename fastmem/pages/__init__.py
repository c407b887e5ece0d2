"""Reports as HTML pages that need no other file: one frame, and the parts that go into it."""

from fastmem.pages.frame import page, save
from fastmem.pages.parts import (
    Markup,
    card,
    code,
    details,
    explained,
    figure,
    gallery,
    heading,
    listed,
    note,
    table,
)

__all__ = [
    "Markup",
    "card",
    "code",
    "details",
    "explained",
    "figure",
    "gallery",
    "heading",
    "listed",
    "note",
    "page",
    "save",
    "table",
]
