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

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).parent))

from docstrings import bad_docstrings
from pages import bad_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]


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
