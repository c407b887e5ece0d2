"""What the site takes from elsewhere: texts and pictures of the repository, and the commands.

Nothing is written twice. Two pages are files beside the code, parts of others are sections of the
README, and the commands are read from the program. Links in all of them are relative to where the
text lies, so that they also work where the repository is read, and are rewritten for the site. At
the end the site is searched for what must not happen: a public name without documentation, or a
page that fetches anything from another host. All of it is a warning, which ends a strict build.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = Path(__file__).resolve().parent / "pages"
MIRRORED = {
    "fastmem/experiments/README.md": "experiments/index.md",
    "bench/report/report.md": "bench/report/index.md",
}
"""Pages that lie elsewhere, and where they are on the site."""
INTERNAL = (
    "cli", "commands", "decision_list", "distributed", "encoding", "hyperplanes", "inputs",
    "kernels", "machine", "network", "pages", "patterns", "problem", "readout", "second_layer",
    "tables", "vote", "widths",
)  # fmt: skip
"""Rooms of fastmem whose ``__all__`` is for fastmem itself."""

LINK = re.compile(r"(?P<text>!?\[[^\[\]]*\])\((?P<target>[^()\s]+)\)")
SECTION = re.compile(r"<!-- section of (?P<path>\S+): (?P<title>.+?) -->")
DESCRIPTORS = (property, cached_property, classmethod, staticmethod)
NO_DESCRIPTION = re.compile(r"\u2013\s*<div class=\"doc-md-description\">\s*</div>")
COMMANDS = "<!-- all commands -->"
FOREIGN = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
FOREIGN_STYLE = re.compile(r"""(?:url\(\s*|@import\s*)['"]?\s*(?:https?:)?//""", re.IGNORECASE)

log = logging.getLogger("mkdocs.hooks.fastmem")


def on_config(config: Any) -> None:
    """Document the fastmem that the pages lie beside, whatever is installed."""
    if str(REPOSITORY) not in sys.path:
        sys.path.insert(0, str(REPOSITORY))


# Files and links -----------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie elsewhere, and the files of the repository that any page links to."""
    from mkdocs.structure.files import File

    sources = {path: path.read_text(encoding="utf-8") for path in sorted(PAGES.rglob("*.md"))}
    for name, uri in MIRRORED.items():
        sources[REPOSITORY / name] = (REPOSITORY / name).read_text(encoding="utf-8")
        files.append(File.generated(config, uri, abs_src_path=str(REPOSITORY / name)))
    wanted = set()
    for path, text in sources.items():
        wanted |= {target for target, _ in linked_files(text, path.parent)}
        for found in SECTION.finditer(text):
            source = REPOSITORY / found["path"]
            wanted |= {target for target, _ in linked_files(section_of(found), source.parent)}
    for target in sorted(wanted):
        files.append(File.generated(config, site_uri(target), abs_src_path=str(target)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in sections and commands, and rewrite links to the files of the repository."""
    source = Path(page.file.abs_src_path)

    def section(found: re.Match[str]) -> str:
        text = section_of(found)
        if not text:
            log.warning("%s has no section %r, which %s wants", found[1], found[2], source.name)
        return rewritten(text, (REPOSITORY / found["path"]).parent, page.file.src_uri)

    markdown = rewritten(markdown, source.parent, page.file.src_uri)
    markdown = SECTION.sub(section, markdown)
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, "\n".join(commands()))
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Take away the dash after a name of which nothing more is said."""
    return NO_DESCRIPTION.sub("", html)


def links(text: str) -> Iterator[re.Match[str]]:
    """Links and pictures of a Markdown text, but for those in blocks of code."""
    code = [m.span() for m in re.finditer(r"^( *)```.*?^\1``` *$|`[^`\n]+`", text, re.M | re.S)]
    for found in LINK.finditer(text):
        # a link's text may be code, but a link is never inside of it
        if not any(start < found.start() and found.end() < end for start, end in code):
            yield found


def linked_files(text: str, base: Path) -> Iterator[tuple[Path, str]]:
    """Files of the repository outside of the pages that a text links to, and the link."""
    for found in links(text):
        target = resolved(found["target"], base)
        if target is not None and target.is_file() and target not in mirrored_files():
            yield target, found["target"]


def mirrored_files() -> set[Path]:
    """Files that are pages of the site though they lie elsewhere."""
    return {REPOSITORY / name for name in MIRRORED}


def resolved(target: str, base: Path) -> Path | None:
    """What a relative link leads to, if it is in the repository and not among the pages."""
    path = target.partition("#")[0]
    if not path or ":" in path or path.startswith("/"):
        return None
    full = Path(os.path.normpath(base / path))
    inside = full.is_relative_to(REPOSITORY) and not full.is_relative_to(PAGES)
    return full if inside else None


def site_uri(path: Path) -> str:
    """Where a file of the repository is on the site."""
    name = path.relative_to(REPOSITORY).as_posix()
    return MIRRORED.get(name, name.removeprefix("fastmem/"))


def rewritten(text: str, base: Path, page_uri: str) -> str:
    """A text whose links to files of the repository are those of the site's page ``page_uri``."""
    here = os.path.dirname(page_uri) or "."
    parts, end = [], 0
    for found in links(text):
        target = resolved(found["target"], base)
        link = found[0]
        if target is not None and target.is_dir():
            link = f"`{target.relative_to(REPOSITORY).as_posix()}`"  # a site shows no directories
        elif target is not None and target.is_file():
            anchor = found["target"].partition("#")[1:]
            link = f"{found['text']}({os.path.relpath(site_uri(target), here)}{''.join(anchor)})"
        parts += [text[end : found.start()], link]
        end = found.end()
    return "".join([*parts, text[end:]])


def section_of(found: re.Match[str]) -> str:
    """The text below a heading of second level, without comments, or "" if there is none."""
    text = (REPOSITORY / found["path"]).read_text(encoding="utf-8")
    for part in re.split(r"^## ", text, flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        if title.strip() == found["title"]:
            return re.sub(r"<!--.*?-->\n*", "", body, flags=re.S).strip() + "\n"
    return ""


# The command line ----------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """The reference of all commands, as Markdown, from the program itself."""
    import typer

    from fastmem.commands import app

    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        types = get_type_hints(command.callback, include_extras=True)
        kinds = {key: _metavar(hint) for key, hint in types.items()}
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        needed = [f"{p.opts[0]} {kinds[p.name]}" for p in options if p.required]
        names = [p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments]
        more = ["[OPTIONS]"] if len(options) > len(needed) else []
        usage = " ".join(["fastmem", name, *names, *needed, *more])
        yield f"## fastmem {name} {{ #{name} }}\n"
        yield f"{inspect.cleandoc(command.help or '')}\n"
        yield f"`{usage}`\n"
        if not command.help:
            log.warning("the command %s has no help", name)
        if command.params:
            yield "| | What it is | Default |"
            yield "| --- | --- | --- |"
        for p in [*arguments, *options]:
            if not p.help:
                log.warning("the command %s says nothing about its %s", name, p.name)
            flags = [p.name.upper()] if p in arguments else [*p.opts, *p.secondary_opts]
            value = "" if p in arguments or p.is_flag else f" {kinds[p.name]}"
            shown = ", ".join(f"`{flag}{value}`" for flag in flags)
            yield f"| {shown} | {_cell(p.help or '')} | {_cell(_default(p))} |"
        yield ""


def _metavar(hint: Any) -> str:
    names = {int: "NUMBER", float: "NUMBER", Path: "FILE"}
    found = [kind for kind in _leaves(hint) if kind in names]
    return names[found[0]] if found else "TEXT"


def _leaves(hint: Any) -> Iterator[Any]:
    parts = get_args(hint)
    if not parts:
        yield hint
    for part in parts:
        yield from _leaves(part)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.default is None or not parameter.show_default:
        return ""
    if parameter.is_flag if parameter.param_type_name == "option" else False:
        on = parameter.default and bool(parameter.secondary_opts)
        off = parameter.secondary_opts and not parameter.default
        return parameter.opts[0] if on else parameter.secondary_opts[0] if off else ""
    if isinstance(parameter.default, int) and not isinstance(parameter.default, bool):
        return f"{parameter.default:,}"
    return str(parameter.default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


# What must not happen ------------------------------------------------------------------------


def on_post_build(config: Any) -> None:
    """Warn of public names that no page documents, and of pages that fetch from other hosts."""
    site = Path(config.site_dir)
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    anchors = {name for text in pages.values() for name in re.findall(r'\bid="([\w.]+)"', text)}
    for name, thing in public_names():
        if name not in anchors:
            log.warning("%s is public, but on no page of the reference", name)
        for missing in undocumented(name, thing):
            log.warning("%s is public, but has no docstring", missing)
    for path, text in pages.items():
        for url in foreign(text):
            log.warning("%s fetches %s", path.relative_to(site), url)
    for path in site.rglob("*.css"):
        if FOREIGN_STYLE.search(path.read_text(encoding="utf-8")):
            log.warning("%s fetches something from another host", path.relative_to(site))


def public_modules() -> Iterator[ModuleType]:
    """Modules of fastmem with ``__all__``, but for those that fastmem alone uses."""
    import fastmem

    yield fastmem
    for found in pkgutil.walk_packages(fastmem.__path__, "fastmem."):
        if found.name.startswith("fastmem.docs") or "__main__" in found.name:
            continue
        source = Path(found.module_finder.path) / found.name.rpartition(".")[2]  # type: ignore
        file = source / "__init__.py" if found.ispkg else source.with_suffix(".py")
        internal = found.name.split(".")[1] in INTERNAL
        # read before it is imported: a worker, say, is no module to import
        if not internal and "__all__" in file.read_text(encoding="utf-8"):
            yield importlib.import_module(found.name)


def public_names() -> Iterator[tuple[str, Any]]:
    """All public names and what they are."""
    for module in public_modules():
        for name in module.__all__:
            yield f"{module.__name__}.{name}", getattr(module, name)


def undocumented(name: str, thing: Any) -> Iterator[str]:
    """Public functions, classes, methods and properties without a docstring."""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return  # that it is on a page says that it has one
    if not thing.__doc__:
        yield name
    for key, value in vars(thing).items() if inspect.isclass(thing) else ():
        is_code = inspect.isfunction(value) or isinstance(value, DESCRIPTORS)
        if is_code and not key.startswith("_") and not value.__doc__:
            yield f"{name}.{key}"


class _Fetched(HTMLParser):
    """What a page makes the browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses of scripts, styles, pictures, fonts and frames."""
        given = {name: value or "" for name, value in attrs}
        self.in_style = tag == "style"
        names = ("src", "srcset", "data", "poster") if tag != "a" else ()
        self.urls += [given[name] for name in names if name in given]
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "alternate"):
            self.urls.append(given.get("href", ""))
        if FOREIGN_STYLE.search(given.get("style", "")):
            self.urls.append("//" + given["style"])

    def handle_data(self, data: str) -> None:
        """Look at a style sheet inside of the page."""
        if self.in_style and FOREIGN_STYLE.search(data):
            self.urls.append("//" + data)
        self.in_style = False


def foreign(page: str) -> list[str]:
    """Addresses on other hosts that a page fetches."""
    parser = _Fetched()
    parser.feed(page)
    return [url for url in parser.urls if FOREIGN.match(url)]
