"""
Puts the pages of the site together, in the folder that zensical.toml names.

``python docs/make/stage.py`` replaces that folder: the pages of ``docs/``, those of the
top folder that belong to the site, and in place of ``<!-- made: WORD -->`` what
``made.py`` says. The file is never edited: its page in ``docs/`` is.
"""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent))

from links import dead_links, for_site
from made import MADE

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
OUTSIDE: Final = {
    "benchmarks/RESULTS.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
"""Pages that have their place elsewhere in the checkout -> their place on the site."""
MARK: Final = re.compile(r"^<!-- made: (\w+)[^>]*-->$", re.MULTILINE)


def places() -> dict[str, str]:
    """Return path in the checkout -> path on the site, of all pages and pictures."""
    own = {
        path.relative_to(ROOT).as_posix(): path.relative_to(DOCS).as_posix()
        for path in sorted(DOCS.rglob("*"))
        if path.suffix in {".md", ".css", ".svg", ".png", ".webp", ".jpg"}
    }
    plots = {
        path.relative_to(ROOT).as_posix(): f"plots/{path.name}"
        for path in sorted((ROOT / "benchmarks" / "plots").glob("*.svg"))
    }
    return {**own, **plots, **OUTSIDE}


def stage(target: Path) -> list[str]:
    """Fill *target*, emptied first; return a sentence for each link that is dead."""
    shutil.rmtree(target, ignore_errors=True)
    dead, known = [], places()
    pages = [source for source in known if source.endswith(".md")]
    said = "".join((ROOT / each).read_text(encoding="utf-8") for each in pages)
    for source, place in known.items():
        path = target / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            if path.name in said or path.suffix == ".css":
                shutil.copyfile(ROOT / source, path)
            continue
        dead += dead_links(ROOT, ROOT / source)
        text = (ROOT / source).read_text(encoding="utf-8")
        text = MARK.sub(lambda found: MADE[found[1]](), text)
        path.write_text(for_site(text, source, place, known), encoding="utf-8")
    return dead + dead_links(ROOT, ROOT / "README.md")


if __name__ == "__main__":
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    found = stage(ROOT / config["project"]["docs_dir"])
    sys.exit("\n".join(found) or None)
