"""
Checks what Zensical does not: docstrings, built pages, and that nothing is fetched.

``python docs/make/check.py`` reads the package and the built site, prints a sentence
for each thing that is wrong, and fails if there is one.

- Every public name has a docstring, and so has each of its public members.
- A docstring describes no argument that is not there, and types each once.
- Every public name has its place in the reference.
- No link of a page is dead, anchors included, and no reference was left unresolved.
- No page loads anything from another host, and every page is in the navigation.
"""

from __future__ import annotations

import logging
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import griffe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "apimodels_async"
DOORS: Final = (
    *("", "batch", "emulator", "stores", "sync", "testing", "webhooks"),
    *("integrations.aiohttp_web", "integrations.fastapi", "integrations.otel"),
    *("integrations.redis", "integrations.streaq", "integrations.web"),
)
"""Modules whose ``__all__`` is public."""
LOADING: Final = {
    *(("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "srcset")),
    *(("link", "href"), ("video", "src"), ("audio", "src"), ("object", "data")),
}
"""Tags whose address a browser asks for by itself, and the attribute that has it."""


# --- docstrings -------------------------------------------------------------------


def public_names(package: griffe.Module) -> Iterator[str]:
    """Yield the dotted path of every public name, by the door that users take."""
    for door in DOORS:
        module = package[door] if door else package
        path = f"{PACKAGE}.{door}".rstrip(".")
        yield from (f"{path}.{name}" for name in module.exports or ())


class Heard(logging.Handler):
    """Keeps what Griffe says while it reads docstrings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self.lines.append(record.getMessage())


def bad_docstrings() -> tuple[list[str], list[str]]:
    """Return the public names, and a sentence for each docstring that will not do."""
    heard = Heard()
    for name in ("griffe", "_griffe"):
        logging.getLogger(name).addHandler(heard)
    signatures = griffe.load_extensions(str(ROOT / "docs" / "make" / "fields.py"))
    package = griffe.load(PACKAGE, search_paths=[ROOT], extensions=signatures)
    names, bad = sorted(public_names(package)), []
    for path in names:
        value = package[path.removeprefix(f"{PACKAGE}.")]
        waiting = [(path, value)]
        if value.is_class:
            waiting += [
                (f"{path}.{name}", member)
                for name, member in value.all_members.items()
                if not name.startswith("_")
            ]
        for shown, member in waiting:
            if member.docstring is not None and member.docstring.value.strip():
                member.docstring.parse("google")
            elif member is value or not is_documented_above(value, member.name):
                bad.append(f"{shown} has no docstring")
    return names, bad + heard.lines


def is_documented_above(cls: griffe.Class, name: str) -> bool:
    """Return whether a base of *cls* says what the member *name* is."""
    above = (base.members.get(name) for base in cls.mro())
    return any(each is not None and each.docstring is not None for each in above)


# --- the built site ---------------------------------------------------------------


class Page(HTMLParser):
    """The links, anchors and loaded addresses of one built page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.broken: list[str] = []
        self._code = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one tag."""
        given = {name: value or "" for name, value in attrs}
        self._code += tag in {"code", "pre", "script"}
        self.ids.update(given[name] for name in ("id", "name") if given.get(name))
        if tag == "autoref":
            self.broken.append(given.get("identifier", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in {"canonical", "next", "prev"}:
            return
        self.loads += [each for name, each in given.items() if (tag, name) in LOADING]

    def handle_endtag(self, tag: str) -> None:
        """Note the end of one tag."""
        self._code -= tag in {"code", "pre", "script"}

    def handle_data(self, data: str) -> None:
        """Look for a reference that nobody resolved."""
        if not self._code and "][" in data:
            self.broken.append(data.strip())


def is_elsewhere(address: str) -> bool:
    """Return whether *address* is on another host."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in {"http", "https"}


def bad_pages(site: Path, names: Iterable[str], nav: Iterable[str]) -> list[str]:
    """Return a sentence for everything that is wrong with the built *site*."""
    pages = {
        path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
    }
    bad = []
    for place, page in pages.items():
        if place == "404.html":
            continue
        bad += [f"{place}: not resolved: {each}" for each in page.broken]
        bad += [f"{place}: loads {each}" for each in page.loads if is_elsewhere(each)]
        for link in [*page.links, *page.loads]:
            if is_elsewhere(link) or link.startswith(("mailto:", "data:")):
                continue
            path, _, anchor = link.partition("#")
            target = (site / place).parent / unquote(path) if path else site / place
            target = target.resolve()
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                bad.append(f"{place}: dead link: {link}")
            elif anchor and target.suffix == ".html":
                there = pages[target.relative_to(site.resolve()).as_posix()]
                if unquote(anchor) not in there.ids and anchor != "__top":
                    bad.append(f"{place}: dead anchor: {link}")
    shown = set[str]().union(*(page.ids for page in pages.values()))
    bad += [
        f"{name} has no place in the reference" for name in names if name not in shown
    ]
    listed = {each.removesuffix(".md") for each in nav}
    there = {each.removesuffix(".html") for each in pages} - {"404"}
    bad += [f"{each} is not in the navigation" for each in sorted(there - listed)]
    return bad


def leaves(nav: Any) -> Iterator[str]:
    """Yield the pages of a navigation, in order."""
    if isinstance(nav, str):
        yield nav
    for each in nav if isinstance(nav, list) else ():
        yield from leaves(each)
    for each in nav.values() if isinstance(nav, dict) else ():
        yield from leaves(each)


def main() -> int:
    """Check all and say what was found."""
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    project = config["project"]
    names, bad = bad_docstrings()
    pages = list(leaves(project["nav"]))
    bad += bad_pages(ROOT / project["site_dir"], names, pages)
    for line in bad:
        print(line)
    print(f"{len(pages)} pages, {len(names)} public names, {len(bad)} problems")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
