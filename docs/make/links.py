"""
Links of Markdown documents: where they lead, and how a page on the site spells them.

A document is read in two places: in a checkout, where a link leads to a file, and on
the site, where that file is a page, a picture, or nothing. Written is the first one.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FENCE: Final = re.compile(r"^[ ]*```.*?^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
HEADING: Final = re.compile(r"^#{1,6} (.+?)[ ]*$", re.MULTILINE)
API: Final = "apimodels_async"
"""What the anchors of the reference begin with; only the built page has them."""


def spans(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the parts of *text*, each with whether it is a block of code."""
    end = 0
    for fence in FENCE.finditer(text):
        yield False, text[end : fence.start()]
        yield True, fence[0]
        end = fence.end()
    yield False, text[end:]


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of *text*, as the site makes them."""
    found = set[str]()
    for code, part in spans(text):
        for heading in () if code else HEADING.findall(part):
            words = LINK.sub(r"\2", heading).replace("`", "").lower()
            slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", words).strip())
            number, name = 1, slug
            while name in found:
                name, number = f"{slug}_{number}", number + 1
            found.add(name)
    return found


def local_links(text: str) -> Iterator[tuple[str, str]]:
    """Yield file and anchor of each link of *text* that leads to no other host."""
    for code, part in spans(text):
        for _, _, target in () if code else LINK.findall(part):
            if "://" not in target and not target.startswith("mailto:"):
                path, _, anchor = target.partition("#")
                yield path, anchor


def dead_links(root: Path, document: Path) -> list[str]:
    """
    Return a sentence for each link of *document* that leads nowhere in a checkout.
    """
    dead = []
    for path, anchor in local_links(document.read_text(encoding="utf-8")):
        target = (document.parent / path).resolve() if path else document
        shown = f"{document.relative_to(root).as_posix()}: {path}#{anchor}".rstrip("#")
        if not target.exists():
            dead.append(f"{shown}: no such file")
        elif anchor and target.suffix == ".md" and not anchor.startswith(f"{API}."):
            there = anchors(target.read_text(encoding="utf-8"))
            if anchor not in there:
                dead.append(f"{shown}: no such heading")
    return dead


def for_site(text: str, source: str, staged: str, places: Mapping[str, str]) -> str:
    """
    Return *text* with its links as they are on the site.

    What has no place there becomes its name in words: it is in the checkout.

    Args:
        text: A Markdown document.

        source: Its path in the checkout, with slashes.

        staged: Its path on the site.

        places: Path in the checkout -> path on the site, of every page and picture.
    """

    def rewrite(link: re.Match[str]) -> str:
        bang, words, target = link.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return link[0]
        path, mark, anchor = target.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        place = places.get(file)
        if place is None:
            shown = words if file in words else f"{words} (`{file}`)"
            return f"`{file}`" if words.strip("`") == file else shown
        where = posixpath.relpath(place, posixpath.dirname(staged) or ".")
        return f"{bang}[{words}]({where}{mark}{anchor})"

    return "".join(
        part if code else LINK.sub(rewrite, part) for code, part in spans(text)
    )
