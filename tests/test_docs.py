"""
The documentation holds together: links, drawings, figures, and a place for every name.

``nox -s docs`` checks the built site as well; this needs nothing but the checkout.
"""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path

from links import anchors, dead_links, for_site
from pages import DOORS, bad_pages
from support.cases import check_all
from test_layers import LAYERS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "apimodels_async"
PROSE = 38
"""Column of the first drawing where its words begin."""
HOUSE = (DOCS / "how-it-works.md").read_text(encoding="utf-8")


def pages_of(nav):
    """Yield the pages that a navigation names, in order."""
    for each in nav:
        for target in each.values():
            yield from [target] if isinstance(target, str) else pages_of(target)


# --- links ------------------------------------------------------------------------


def test_no_document_has_a_dead_link():
    """Files and headings that documents link to are there."""
    documents = [
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    ]

    assert [line for each in documents for line in dead_links(ROOT, each)] == []


def test_a_dead_link_is_seen(tmp_path):
    """A file that is not there, and a heading that is not, are both named."""
    (tmp_path / "b.md").write_text("# One `two`\n\n## One two\n", encoding="utf-8")
    page = tmp_path / "a.md"
    page.write_text(
        "[x](c.md) [x](b.md#one-two_1) [x](b.md#no) [x](https://x.org/d.md)\n"
        "```\n[x](e.md)\n```\n",
        encoding="utf-8",
    )

    assert dead_links(tmp_path, page) == [
        "a.md: c.md: no such file",
        "a.md: b.md#no: no such heading",
    ]
    assert anchors("# A, b\n# A b\n") == {"a-b", "a-b_1"}


def test_links_lead_to_pages_of_the_site():
    """A link of a checkout leads to the page; what has none is named in words."""
    places = {"docs/g/a.md": "g/a.md", "docs/b.md": "b.md", "R.md": "r.md"}
    cases = [
        ("[b](../b.md#x)", "docs/g/a.md", "[b](../b.md#x)"),
        ("[r](../../R.md)", "docs/g/a.md", "[r](../r.md)"),
        ("[b](docs/b.md)", "R.md", "[b](b.md)"),
        ("[web](../examples/web.py)", "docs/b.md", "web (`examples/web.py`)"),
        ("[w](https://w.org) [x](#x)", "docs/b.md", "[w](https://w.org) [x](#x)"),
    ]

    def check(text, source, expected):
        assert for_site(text, source, places[source], places) == expected

    check_all(cases, check)


def test_a_broken_site_is_seen(tmp_path):
    """Dead links, anchors, open references, foreign scripts, lost names: all named."""
    (tmp_path / "a.html").write_text(
        '<h1 id="here">A</h1> <a href="b.html#no">b</a> <a href="c.html">c</a>'
        '<a href="#here">ok</a> <a href="https://x.org/">out</a> [x][y.z]'
        '<script src="https://cdn.example/x.js"></script>',
        encoding="utf-8",
    )
    (tmp_path / "b.html").write_text("<p id='pkg.Known'></p>", encoding="utf-8")

    assert bad_pages(tmp_path, ["pkg.Known", "pkg.Lost"], ["a.md"]) == [
        "a.html: not resolved: [x][y.z]",
        "a.html: loads https://cdn.example/x.js",
        "a.html: dead anchor: b.html#no",
        "a.html: dead link: c.html",
        "pkg.Lost has no place in the reference",
        "b is not in the navigation",
    ]


# --- the reference ----------------------------------------------------------------


def test_every_public_name_has_its_place():
    """The reference describes each public name, and nothing that is not there."""
    described = set()
    for page in (DOCS / "reference").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        described.update(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    public = set()
    for door in DOORS:
        module = import_module(f"apimodels_async.{door}".rstrip("."))
        public.update(f"{module.__name__}.{name}" for name in module.__all__)

    assert described - {"apimodels_async.models.Outcome"} == public


def test_the_navigation_has_every_page():
    """Each page is in the navigation once, in zensical.toml."""
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    own = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}

    assert sorted(pages_of(config["project"]["nav"])) == sorted(
        own | {"benchmarks.md", "contributing.md", "changelog.md", "security.md"}
    )


def test_docstrings_have_no_roles():
    """Docstrings are plain text: no Sphinx roles, which only Sphinx would resolve."""
    role = re.compile(r":(?:\w+:)?(?:class|meth|func|attr|exc|mod|data|obj|ref):`")
    found = [
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*.py")
        if role.search(path.read_text(encoding="utf-8"))
    ]

    assert found == []


# --- drawings ---------------------------------------------------------------------


def drawing(number: int) -> str:
    """Return one of the drawings of the page "How it works"."""
    return re.findall(r"^```text\n(.*?)^```$", HOUSE, re.MULTILINE | re.DOTALL)[number]


def drawn_layers(text: str) -> dict[str, int]:
    """Return module -> layer, as a drawing of the layers has them."""
    found: dict[str, int] = {}
    layer = 0
    for line in text.splitlines():
        head = re.match(r"L(\d)", line)
        layer = int(head[1]) if head else layer
        for word in re.findall(r"[\w/]+", line[4:PROSE]):
            name = word.rstrip("/").replace("/", ".")
            found["" if name == "__init__" else name] = layer
    return found


def test_the_drawn_layers_are_those_of_the_code():
    """The drawing of the layers has every module at the layer that is enforced."""
    assert drawn_layers(drawing(0)) == LAYERS


def test_the_life_of_an_order_names_files_that_are_there():
    """Each file in the second drawing is in the package."""
    files = set(re.findall(r"[\w/]+\.py", drawing(1)))

    assert len(files) > 10
    assert [each for each in files if not (PACKAGE / each).is_file()] == []


# --- figures ----------------------------------------------------------------------


def test_the_figures_of_the_readme_are_measured():
    """What the README says was measured is in benchmarks/RESULTS.md."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    section = readme.split("## Figures")[1].split("\n## ")[0]
    cells = [line.split(" | ")[1] for line in section.splitlines() if " | " in line]
    numbers = [each for cell in cells for each in re.findall(r"\d[\d.]*", cell)]

    assert len(numbers) > 20
    assert [each for each in numbers if each not in results] == []
