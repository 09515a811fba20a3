"""The built pages: dead links and anchors, what is not resolved, what is fetched."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

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
