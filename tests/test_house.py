"""The rules of CONTRIBUTING.md that a program can check."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.cases import check_all

import apimodels_async
from apimodels_async import errors

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "apimodels_async").rglob("*.py"))
LINES_MAX = 450
MODULES_MAX = 15  # in one folder
APART = {"portable", "support", "sim", "soak", "samples", "typing"}
"""Folders of the tests that stand for none of the package's."""
OF_SEVERAL = {
    ".": {"conftest", "docs", "exports", "house", "layers", "readme", "virtual_time"},
    "_io": {"transports"},
}
"""What the tests of a folder are about, other than a module of it."""

# What `import apimodels_async` must not pull in: aiohttp alone costs 150 ms.
HEAVY = {
    *("aiohttp", "anyio", "cattrs", "obstore", "PIL", "redis"),
    *("cyclopts", "jinja2", "rich", "sqlite3"),
}


def relative(path: Path) -> str:
    """Return a path as it is written in the project."""
    return path.relative_to(ROOT).as_posix()


def test_a_module_can_be_read_in_one_sitting():
    """A module has at most 450 lines."""
    lengths = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
    }

    assert {path: n for path, n in lengths.items() if n > LINES_MAX} == {}


def test_a_folder_can_be_taken_in_at_a_glance():
    """A folder has at most 15 modules."""
    folders = Counter(path.parent for path in FILES if path.name != "__init__.py")

    assert {relative(at): n for at, n in folders.items() if n > MODULES_MAX} == {}


def test_all_of_the_package_is_ours():
    """No file of the package has a notice of somebody's copyright or licence in it."""
    notice = re.compile(rb"(?i)copyright|\(c\) *\d{4}|spdx-|@licen[cs]e|licensed under")
    package = ROOT / "apimodels_async"
    files = [path for path in package.rglob("*") if path.is_file()]

    marked = [
        relative(path)
        for path in files
        if path.suffix != ".pyc" and notice.search(path.read_bytes())
    ]

    assert len(files) > len(FILES)  # pages, scripts and descriptions among them
    assert marked == []


# --- where tests lie --------------------------------------------------------------


def strays(tests: Path, package: Path) -> list[str]:
    """Return a sentence for each file in *tests* that lies where no module does."""
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        place = path.parent.relative_to(tests)
        if place.parts[:1] and place.parts[0] in APART:
            continue
        if (package / f"{place}.py").is_file():
            continue  # a module with a folder of tests
        shown = path.relative_to(tests).as_posix()
        if not (package / place).is_dir():
            found.append(f"{shown}: the package has no {place.as_posix()}/")
            continue
        modules = {each.stem.lstrip("_") for each in (package / place).glob("*.py")}
        about = path.stem.removeprefix("test_")
        known = modules | OF_SEVERAL.get(place.as_posix(), set())
        if not any(about == name or about.startswith(f"{name}_") for name in known):
            found.append(f"{shown}: begins with the name of no module there")
    return found


def test_tests_lie_where_the_modules_lie():
    """The folders of tests are those of the package, and their files its modules."""
    assert strays(ROOT / "tests", ROOT / "apimodels_async") == []


def test_a_test_that_strayed_is_seen(tmp_path):
    """A folder that the package has not, and a file about no module, are both named."""
    files = (
        *("pkg/_io/clock.py", "pkg/_text.py", "pkg/session.py"),
        *("tests/_io/test_clock_drift.py", "tests/_io/test_clocks.py"),
        *("tests/test_text.py", "tests/session/test_any.py", "tests/sim/test_any.py"),
        *("tests/unit/test_text.py", "tests/session/deep/test_any.py"),
    )
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert strays(tmp_path / "tests", tmp_path / "pkg") == [
        "_io/test_clocks.py: begins with the name of no module there",
        "session/deep/test_any.py: the package has no session/deep/",
        "unit/test_text.py: the package has no unit/",
    ]


# --- words -----------------------------------------------------------------------


def undocumented(name: str, value: object) -> list[str]:
    """Return the dotted names of *value* and its public members without docstring."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return []  # a constant: its string stands under the assignment
    own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    missing = [] if (own or "").strip() else [name]
    for member_name, member in vars(value).items() if inspect.isclass(value) else ():
        if member_name.startswith("_"):
            continue
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if inspect.isroutine(function) and not inspect.getdoc(function):
            missing.append(f"{name}.{member_name}")
    return missing


def test_every_public_name_is_documented():
    """Every exported class and function, and each public method, has a docstring."""
    missing = [
        line
        for name in apimodels_async.__all__
        for line in undocumented(name, getattr(apimodels_async, name))
    ]

    assert missing == []


def test_a_missing_docstring_is_seen():
    """A class and a method without docstring are both named."""

    class Bare:
        def method(self): ...

        @property
        def shown(self): ...

        def _private(self): ...

    assert undocumented("Bare", Bare) == ["Bare", "Bare.method", "Bare.shown"]


# --- the tree of errors ----------------------------------------------------------

Tree = dict[str, tuple[str | None, frozenset[str]]]  # name -> parent, foreign bases

BRANCH = re.compile(r"^(?P<bars>[│ ]*)[├└]── (?P<rest>.*)$")
ERROR = re.compile(
    r"\b(?P<name>[A-Z]\w*Error)\b(?: \((?P<bases>[A-Z]\w*(?:, [A-Z]\w*)*)\))?"
)


def read_drawing(text: str) -> Tree:
    """
    Return the tree drawn in *text*: one class on a line, children one step further.

    Classes after the first on a line, or on a line of bars only, are children too.
    """
    found: Tree = {}
    path: list[str] = []  # the names from the root to the last branch
    for line in text.splitlines():
        branch = BRANCH.match(line)
        if branch:
            depth = len(branch["bars"]) // 4 + 1
            del path[depth:]
        elif not path:
            if not re.fullmatch(r"\w+Error", line.strip()):
                continue
            depth = 0
        elif line.startswith("│") or (line.startswith("    ") and "Error" in line):
            depth = None
        else:
            break  # the drawing has ended
        for word in ERROR.finditer(branch["rest"] if branch else line):
            bases = frozenset((word["bases"] or "").split(", ")) - {""}
            found[word["name"]] = (path[-1] if path else None, bases)
            if depth is not None:
                path.append(word["name"])
                depth = None
    return found


def read_classes(root: type[Exception]) -> Tree:
    """Return the tree of the classes below *root*, builtin bases set apart."""
    found: Tree = {}
    waiting: list[tuple[type[Exception], str | None]] = [(root, None)]
    while waiting:
        cls, parent = waiting.pop()
        foreign = (base for base in cls.__bases__ if not issubclass(base, root))
        found[cls.__name__] = (
            parent,
            frozenset(base.__name__ for base in foreign) - {"Exception"},
        )
        waiting += [
            (child, cls.__name__)
            for child in cls.__subclasses__()
            if child.__module__ == errors.__name__  # others never reach a user
        ]
    return found


def test_the_drawn_tree_is_the_real_one():
    """The tree at the top of errors.py shows every error at its place."""
    real = read_classes(errors.ApiModelsError)

    assert real == read_drawing(errors.__doc__)


@pytest.mark.parametrize(
    "drawing",
    [
        """
        Words about an AnyError come first.

        RootError
        ├── AError (ValueError)        said in words
        │   ├── BError 400
        │   └── CError (TimeoutError)  more (words)
        └── DError
            └── EError

        Words about another ZError come last.
        """,
        """
        RootError
        ├── AError (ValueError)        said in words   BError 400,
        │                              CError (TimeoutError)
        └── DError                     EError (7 days), and more
        """,
    ],
    ids=["deep", "flat"],
)
def test_a_drawing_is_read_as_drawn(drawing):
    """A tree with one error on a line and one with several on a line mean the same."""
    assert read_drawing(inspect.cleandoc(drawing)) == {
        "RootError": (None, frozenset()),
        "AError": ("RootError", frozenset({"ValueError"})),
        "BError": ("AError", frozenset()),
        "CError": ("AError", frozenset({"TimeoutError"})),
        "DError": ("RootError", frozenset()),
        "EError": ("DError", frozenset()),
    }


# --- weight ----------------------------------------------------------------------


def test_the_package_imports_light():
    """Importing the package loads neither the HTTP library nor any other heavy one."""
    home = str(Path(apimodels_async.__file__).parents[1])  # the same one as here
    code = (
        f"import sys; sys.path.insert(0, {home!r}); before = set(sys.modules)\n"
        "import apimodels_async; print(*set(sys.modules) - before)"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()

    assert "apimodels_async" in loaded
    assert HEAVY & set(loaded) == set()


# --- habits we do not have -------------------------------------------------------


def bad_habits(source: str, *, in_io: bool = False) -> list[str]:
    """Return a sentence with its line for everything in *source* we do not write."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
                if name in {"wait_for", "ensure_future", "raise_for_status"}:
                    found.append((node.lineno, f"calls {name}()"))
                if name == "json" and in_io and isinstance(node.func, ast.Attribute):
                    found.append((node.lineno, "reads a body without bound: .json()"))
            case ast.keyword(
                arg="allow_redirects" | "trust_env" as name,
                value=ast.Constant(value=True),
            ):
                found.append((node.value.lineno, f"sets {name}=True"))
            case ast.ExceptHandler(type=caught):
                kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
                names = {ast.unparse(kind) if kind else "" for kind in kinds}
                raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                if names & {"", "Exception", "BaseException"} and not raises:
                    found.append((node.lineno, "catches everything and goes on"))
    return [f"line {line}: {what}" for line, what in sorted(found)]


RUNS_USERS_CODE = {
    "client.py": 1,
    "wire.py": 1,
    "downloads.py": 2,
    "sender.py": 1,
    "writer.py": 2,
    "reader.py": 1,
}
"""
Where a hook, resolver or limit of the user's may raise anything, or a thread whose end
nobody would hear of -> how often.
"""


def test_a_module_has_no_bad_habits():
    """No module swallows all errors, follows redirects or reads without bound."""
    found = []
    for path in FILES:
        source = path.read_text(encoding="utf-8")
        habits = bad_habits(source, in_io="_io" in path.parts)
        catches = [habit for habit in habits if "catches everything" in habit]
        for known in catches[: RUNS_USERS_CODE.get(path.name, 0)]:
            habits.remove(known)
        found += [f"{relative(path)}: {habit}" for habit in habits]

    assert found == []


def test_a_planted_habit_is_caught():
    """Each habit on the list is found where it stands."""
    cases = [
        ("await asyncio.wait_for(x, 1)", "line 1: calls wait_for()"),
        ("ensure_future(x)", "line 1: calls ensure_future()"),
        ("reply.raise_for_status()", "line 1: calls raise_for_status()"),
        ("x = await reply.json()", "line 1: reads a body without bound: .json()"),
        ("get(url, allow_redirects=True)", "line 1: sets allow_redirects=True"),
        ("Client(trust_env=True)", "line 1: sets trust_env=True"),
        ("try: f()\nexcept: pass", "line 2: catches everything and goes on"),
        ("try: f()\nexcept Exception: g()", "line 2: catches everything and goes on"),
        (
            "try: f()\nexcept (ValueError, BaseException) as e: g(e)",
            "line 2: catches everything and goes on",
        ),
    ]

    def check(source, complaint):
        assert bad_habits(source, in_io=True) == [complaint]

    check_all(cases, check)


@pytest.mark.parametrize(
    "source",
    [
        "get(url, allow_redirects=False, trust_env=False)",
        "try: f()\nexcept Exception as error:\n    raise Broken from error",
        "try: f()\nexcept OSError: pass",
        "json.loads(body)",
    ],
)
def test_a_good_habit_passes(source):
    """What only looks like a bad habit is left alone."""
    assert bad_habits(source, in_io=True) == []
