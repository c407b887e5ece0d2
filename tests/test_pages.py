"""The frame of HTML pages and its parts."""

from __future__ import annotations

import re

import pytest

import fastmem
from fastmem import pages

HOSTILE = "<script>alert('x')</script>"


def drawn():
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(2, 2), dpi=50)
    figure.subplots().plot([0, 1])
    return figure


def whole_page():
    return pages.page(
        HOSTILE,
        [
            pages.card([(HOSTILE, HOSTILE, HOSTILE)]),
            pages.heading(HOSTILE),
            pages.note(HOSTILE, pages.code(HOSTILE)),
            pages.table([HOSTILE], [[HOSTILE], [1]]),
            pages.gallery([pages.figure(HOSTILE, drawn(), HOSTILE, is_whole=True)]),
            pages.details(HOSTILE, [pages.listed({HOSTILE: HOSTILE})]),
        ],
    )


def test_all_that_is_plain_text_is_escaped_and_the_page_needs_nothing_else():
    text = whole_page()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 16  # the titles of page and figure twice
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(addresses) == 1 and addresses[0].startswith("data:image/png;base64,")
    assert "url(" not in text and "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text


def test_a_page_has_both_schemes_and_every_tag_is_closed():
    text = whole_page()
    assert "prefers-color-scheme: dark" in text
    for tag in ("div", "dl", "table", "figure", "figcaption", "details", "ul", "p", "body"):
        opened = len(re.findall(rf"<{tag}[ >]", text))
        assert opened == text.count(f"</{tag}>") > 0, tag


def test_plain_text_is_no_part_and_empty_parts_are_left_out():
    with pytest.raises(TypeError, match="no markup"):
        pages.page("a", ["b"])
    assert pages.page("a", [pages.note(""), pages.listed({})]) == pages.page("a", [])


def test_a_page_is_saved_whole_or_not_at_all(tmp_path):
    path = tmp_path / "page.html"
    pages.save("caf\u00e9", path)
    assert path.read_text(encoding="utf-8") == "caf\u00e9"
    with pytest.raises(fastmem.InvalidInputError, match="cannot be written"):
        pages.save("b", tmp_path / "none" / "page.html")
    with pytest.raises(UnicodeEncodeError):
        pages.save("\ud800", path)
    assert path.read_text(encoding="utf-8") == "caf\u00e9"
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
