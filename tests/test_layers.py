"""
Imports point down. The picture is in docs/how-it-works.md; this is its enforcement.

Every import counts: those inside functions, and those under ``TYPE_CHECKING`` (a type
from above is knowledge of what is above).
"""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path
from typing import NamedTuple

from support.cases import check_all

ROOT = Path(__file__).parent.parent
PACKAGE = "apimodels_async"

# Module or subpackage -> layer. A module imports lower layers; within a layer, what
# SAME_LAYER says. A module that is not here fails: give it a place first.
LAYERS = {
    "_version": 0,
    "errors": 0,
    "policies": 0,
    "_notebook.html": 0,
    "models": 0,
    "model_info": 0,
    "_ports": 0,
    "_secret": 0,
    "_text": 0,
    "_api": 1,
    "_core": 1,
    "_io": 2,
    "_io.http": 2,  # what both transports and the way to files share
    "handle": 3,
    "images": 3,
    "_runtime": 3,
    "session": 3,
    "batch": 3,  # below images
    "_adapters": 3,  # what a session was told, and what a simulation replaces
    "_lost_orders": 3,
    "stores": 3,  # below handle: an order is written down before it is sent
    "_ordering": 3,
    "_saving": 3,
    "_notebook": 3,  # what a session shows there
    "webhooks": 3,  # below session, which takes a Callback and knows no receiver
    "sync": 4,
    "integrations": 4,
    "": 5,  # __init__.py
    "testing": 5,
    "cli": 6,
    "emulator": 6,
}

# Who may import whom inside one layer, and the one arrow that points up.
SAME_LAYER = {
    ("errors", "_text"),
    ("policies", "errors"),
    ("policies", "_text"),
    ("models", "errors"),
    ("models", "_notebook.html"),
    ("models", "_text"),
    ("model_info", "_text"),
    ("_notebook.html", "_text"),
    ("models", "policies"),
    ("_ports", "errors"),
    ("_ports", "_text"),
    ("_ports", "policies"),
    ("_ports", "models"),
    ("_api", "_api"),
    ("_core", "_core"),
    ("_io", "_io.http"),
    ("_io.http", "_io.http"),
    ("handle", "stores"),
    ("handle", "webhooks"),
    ("stores", "stores"),
    ("webhooks", "stores"),
    ("_lost_orders", "handle"),
    ("_lost_orders", "stores"),
    ("_lost_orders", "webhooks"),
    ("_ordering", "_lost_orders"),
    ("_ordering", "stores"),
    ("_adapters", "stores"),
    ("_adapters", "webhooks"),
    ("_runtime", "_adapters"),
    ("_runtime", "_lost_orders"),
    ("_runtime", "stores"),
    ("session", "_adapters"),
    ("session", "stores"),
    ("batch", "batch"),
    ("batch", "_ordering"),
    ("_ordering", "handle"),
    ("_ordering", "webhooks"),
    ("_runtime", "_ordering"),
    ("_runtime", "handle"),
    ("_runtime", "_saving"),
    ("_runtime", "webhooks"),
    ("batch", "_runtime"),
    ("batch", "_saving"),
    ("_saving", "_saving"),
    ("batch", "stores"),
    ("batch", "handle"),
    ("_notebook", "_runtime"),
    ("_notebook", "_saving"),
    ("session", "_notebook"),
    ("images", "_runtime"),
    ("images", "_saving"),
    ("images", "batch"),
    ("images", "handle"),
    ("images", "stores"),
    ("session", "_runtime"),
    ("session", "_saving"),
    ("session", "handle"),
    ("session", "images"),
    ("session", "webhooks"),
    ("webhooks", "webhooks"),
    ("integrations", "integrations"),
    ("sync", "sync"),
    ("testing", "testing"),
    ("cli", "cli"),
    ("cli", "emulator"),
    ("emulator", "emulator"),
}
UP = {("testing", "emulator")}
# Modules of one folder that belong together where their place says nothing of it.
TOGETHER = {
    ("_io.files.objects", "_io.files.buckets"),
    ("_io.files.objects", "_io.files.sinks"),
    ("_io.files.storage", "_io.files.sinks"),
}
# What programs share with the library although users have no use for it.
PROGRAMS_SHARE = {
    *("_core.money.budget", "_core.money.records", "_text"),
    "_core.money.orders",  # the hint that programs have other words for
    *("_api.catalogue", "_api.parameters", "_api.spelling"),
    *("_core.files.media", "_core.files.names"),  # types, and what journals hold
    "_io.config",  # where the key is, for login and whoami
    # What --out means, before anything is paid for, and the page of a batch there.
    *("_core.files.object_urls", "_io.files.buckets", "_io.files.destinations"),
    "_saving.trial",
}

# Inside the emulator; its other folders (service, faults, pictures) are the lowest.
EMULATOR_LAYERS = {
    "emulator.world": 1,
    "emulator.api": 2,
    "emulator.server": 3,
    "emulator": 4,
}

# The clients with the key, and the one that never has it.
CLIENTS = {"_io.client", "_io.wire", "_io.http", "_io.files.downloads"}

PURE = {0, 1}  # layers that only describe and decide
THIRD_PARTY = {0: {"attrs"}, 1: {"attrs", "cattrs"}}
STANDARD_IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "sched", "selectors", "threading"),
    *("http", "socket", "socketserver", "ssl", "subprocess", "urllib.request"),
    *("random", "secrets", "time", "uuid"),
    *("fileinput", "io", "os", "pathlib", "shutil", "sqlite3", "tempfile"),
    *("importlib", "signal", "sys"),
}
# Who may name a type from above or outside in a signature, under TYPE_CHECKING only.
TYPES_ONLY = {
    ("session", "aiohttp"),  # Session(http=...) lends an aiohttp.ClientSession
    ("_adapters", "aiohttp"),
    ("_ports", "pathlib.Path"),  # a Protocol says where a file went
    # Editors complete ids and ratios in request values; the catalogue has them.
    ("models", "apimodels_async._api.literals.EditRatio"),
    ("models", "apimodels_async._api.literals.ImageRatio"),
    ("models", "apimodels_async._api.literals.KnownModelId"),
}
# Types of fields, which cattrs and other readers of annotations need at run time.
FIELD_TYPES = {("models", "pathlib.Path")}  # Outcome.path
# Names without effects from modules that have some.
HARMLESS = {
    "importlib.resources",  # catalogue.json lies beside its module
    "os.PathLike",
    "os.fspath",
    "pathlib.PurePath",
    "pathlib.PurePosixPath",
}
IMPURE_CALLS = {"open", "print", "input", "breakpoint"}
CLOCK_CALLS = {"now", "utcnow", "today"}


class Module(NamedTuple):
    """One module of the package: its dotted name below the package, and its tree."""

    name: str
    tree: ast.Module
    is_package: bool = False

    @property
    def place(self) -> str:
        """The key in LAYERS."""
        return place_of(self.name)


def place_of(name: str) -> str:
    """Return the key in LAYERS of a module: its folder's there, or its first part."""
    folder = ".".join(name.split(".")[:2])
    return folder if folder in LAYERS else name.partition(".")[0]


def parse(name: str, source: str, *, is_package: bool = False) -> Module:
    """Return the module *name* (without the package's own) with this source."""
    return Module(name, ast.parse(source), is_package)


def read_package() -> dict[str, Module]:
    """Return every module of the package by its name."""
    base = ROOT / PACKAGE
    modules = {}
    for path in sorted(base.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        source = path.read_text(encoding="utf-8")
        modules[name] = parse(name, source, is_package=is_package)
    return modules


def type_blocks(tree: ast.Module) -> set[ast.AST]:
    """Return the nodes that stand under ``if TYPE_CHECKING:``."""
    return {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }


def imports(module: Module) -> set[str]:
    """
    Return the absolute dotted names that *module* imports, anywhere in its text.

    ``from x import y`` counts as ``x.y``, whether y is a module or a name in it.
    What TYPES_ONLY grants is left out where it is under ``TYPE_CHECKING``.
    """
    here = [PACKAGE, *module.name.split(".")] if module.name else [PACKAGE]
    package = here if module.is_package else here[:-1]
    for_types = type_blocks(module.tree)
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
        else:
            continue
        if node in for_types:
            names = {name for name in names if (module.name, name) not in TYPES_ONLY}
        found |= names
    return found


def inner_imports(module: Module, known: dict[str, Module]) -> set[str]:
    """Return the names of the package's own modules that *module* imports."""
    found = set()
    for name in imports(module):
        first, _, rest = name.partition(".")
        if first != PACKAGE:
            continue
        # The last part may be a name inside a module; "" is the package itself.
        parent = rest.rpartition(".")[0]
        found.add(rest if rest in known else parent)
    return found


def is_within(name: str, names: set[str]) -> bool:
    """Return whether the dotted *name* is one of *names* or lies below one."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in names for end in range(1, len(parts) + 1))


def wrong_arrows(module: Module, known: dict[str, Module]) -> list[str]:
    """Return a sentence for every import of *module* that does not point down."""
    if module.place not in LAYERS:
        return [f"{module.name} has no layer: give it one in {Path(__file__).name}"]
    found = []
    for target in sorted(inner_imports(module, known)):
        goal = place_of(target)
        if goal not in LAYERS:
            found.append(f"{module.name} imports {target}, which has no layer")
            continue
        edge = (module.place, goal)
        # The emulator is a second reading of the API: it knows nothing of the first.
        down = LAYERS[module.place] > LAYERS[goal] and module.place != "emulator"
        together = (module.name, target) in TOGETHER
        if not (down or together or edge in SAME_LAYER or edge in UP):
            found.append(
                f"{module.name or '__init__'} (layer {LAYERS[module.place]}) may not "
                f"import {target or '__init__'} (layer {LAYERS[goal]})"
            )
        private = any(part.startswith("_") for part in target.split("."))
        if module.place == "cli" and private and target not in PROGRAMS_SHARE:
            found.append(f"{module.name} uses {target}: programs use the public door")
    return found


def emulator_arrows(module: Module, known: dict[str, Module]) -> list[str]:
    """Return a sentence for every import in the emulator that points up."""
    here = EMULATOR_LAYERS.get(".".join(module.name.split(".")[:2]), 0)
    return [
        f"{module.name} may not import {target}: it is above"
        for target in sorted(inner_imports(module, known))
        if EMULATOR_LAYERS.get(".".join(target.split(".")[:2]), 0) > here
    ]


def impurities(module: Module) -> list[str]:
    """Return a sentence for everything in a pure *module* that touches the world."""
    layer = LAYERS.get(module.place)
    if layer not in PURE:
        return []
    found = []
    for name in sorted(imports(module) - HARMLESS):
        if (module.name, name) in FIELD_TYPES:
            continue
        first = name.partition(".")[0]
        if is_within(name, STANDARD_IMPURE) and not is_within(name, HARMLESS):
            found.append(f"{module.name} is pure and imports {name}")
        elif first in {"aiohttp", "anyio", "PIL", "cyclopts", "rich"} or (
            first in {"attr", "attrs", "cattr", "cattrs"}
            and first not in THIRD_PARTY[layer]
        ):
            found.append(f"{module.name} is in layer {layer} and imports {name}")
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in IMPURE_CALLS:
                found.append(f"{module.name}:{node.lineno} is pure and calls {name}()")
            case ast.Attribute(attr=name, value=ast.Name(id="datetime" | "date")) if (
                name in CLOCK_CALLS
            ):
                found.append(f"{module.name}:{node.lineno} is pure and reads a clock")
    return found


def stray_clients(module: Module) -> list[str]:
    """Return a sentence for every import of aiohttp's client outside its one file."""
    if is_within(module.name, CLIENTS) or module.place == "emulator":
        return []  # the emulator stands outside and delivers webhooks with its own
    return [
        f"{module.name} imports {name}: aiohttp's client belongs to _io/client.py,"
        " _io/wire.py and, without the key, to _io/files/downloads.py"
        for name in sorted(imports(module))
        if is_within(name, {"aiohttp"}) and not is_within(name, {"aiohttp.web"})
    ]


def back_doors(module: Module) -> list[str]:
    """Return a sentence for every import that is made of a string."""
    doors = {"integrations.redis", "integrations.streaq", "stores", "testing", "batch"}
    if module.name in {"", "_io.lazy", *doors}:
        return []
    return [
        f"{module.name}:{node.lineno} imports by name"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2]
        in {"import_module", "__import__", "lazy_names"}
    ]


def problems(module: Module, known: dict[str, Module]) -> list[str]:
    """Return everything that is wrong with the imports of *module*."""
    return [
        *wrong_arrows(module, known),
        *(emulator_arrows(module, known) if module.place == "emulator" else ()),
        *impurities(module),
        *stray_clients(module),
        *back_doors(module),
    ]


MODULES = read_package()


def test_imports_point_down():
    """A module imports what its layer allows and nothing else."""
    found = [
        f"{name or '__init__'}: {problem}"
        for name, module in MODULES.items()
        for problem in problems(module, MODULES)
    ]

    assert found == []


def test_no_module_imports_itself_on_a_detour():
    """The imports of the package form no cycle."""
    graph = {
        name: inner_imports(module, MODULES) - {name, ""}
        for name, module in MODULES.items()
    }

    graphlib.TopologicalSorter(graph).prepare()


PLANTED = [
    ("models", "from apimodels_async.session import Session", "layer 3"),
    ("models", "from .session import Session", "layer 3"),
    ("models", "from . import session", "layer 3"),
    ("models", "import apimodels_async.session", "layer 3"),
    ("errors", "from apimodels_async import models", "may not import models"),
    ("handle", "def f():\n    from .images import Images", "may not import images"),
    ("handle", "if TYPE_CHECKING:\n    from .session import Session", "import session"),
    ("handle", "from apimodels_async import Session", "may not import __init__"),
    ("_api.decode", "from apimodels_async._core import retry", "import _core.retry"),
    ("_core.retry", "from .._api.decode import decode", "import _api.decode"),
    ("_io.tracker", "from .client import Transport", "import _io.client"),
    ("_io.files.sinks", "from .objects import ObjectSink", "import _io.files.objects"),
    ("emulator.app", "from ..errors import NotFoundError", "import errors"),
    ("emulator.app", "import apimodels_async", "import __init__"),
    ("emulator.service.store", "from ..api import gate", "it is above"),
    ("cli.main", "from apimodels_async._api import decode", "public door"),
    ("novelty", "", "no layer"),
    ("_core.retry", "import asyncio", "pure and imports asyncio"),
    ("_core.retry", "from time import monotonic", "pure and imports time.monotonic"),
    ("_core.retry", "def f():\n    import random", "pure and imports random"),
    ("_api.decode", "import urllib.request", "pure and imports urllib.request"),
    ("_api.decode", "from pathlib import Path", "pure and imports pathlib.Path"),
    ("_api.decode", "import anyio", "imports anyio"),
    ("models", "import cattrs", "imports cattrs"),
    ("_core.retry", "x = datetime.now(UTC)", "reads a clock"),
    ("_api.decode", "x = open('x')", "calls open()"),
    ("session", "import aiohttp", "_io/client.py"),
    ("images", "if TYPE_CHECKING:\n    import aiohttp", "_io/client.py"),
    ("_io.files.storage", "from aiohttp import ClientSession", "_io/client.py"),
    ("session", "m = importlib.import_module('x')", "imports by name"),
    ("session", "get, _ = lazy_names('x', {})", "imports by name"),
]


def test_a_planted_import_is_caught():
    """An import that the house forbids is found wherever it is hidden."""

    def check(name, source, complaint):
        there = (
            *("", "errors", "models", "handle", "images", "session"),
            *("_api.decode", "_core.retry", "_io.client", "emulator.app"),
            *("emulator.api.gate", "_io.files.objects"),
        )
        known = dict.fromkeys(there, parse("", ""))

        (found,) = problems(parse(name, source), known)

        assert complaint in found

    check_all(PLANTED, check)


def test_an_import_that_is_allowed_passes():
    """An import that points down, or that the house names as allowed, passes."""
    cases = [
        ("models", "from .errors import ApiModelsError\nfrom datetime import datetime"),
        ("_api.decode", "from . import convert\nfrom urllib.parse import urlsplit"),
        ("_api.decode", "from os import PathLike\nfrom importlib import resources"),
        ("_io.client", "import aiohttp\nfrom .._ports import Reply"),
        ("session", "from ._io.client import Http\nfrom .images import Images"),
        ("session", "if TYPE_CHECKING:\n    import aiohttp"),
        ("webhooks", "from aiohttp import web\nimport aiohttp.web"),
        ("testing", "from .emulator import Emulator"),
        ("cli.main", "from apimodels_async import Session\nfrom . import demo"),
        ("emulator.app", "import aiohttp\nfrom .store import Store"),
        ("", "import importlib\nm = importlib.import_module('x')"),
    ]

    def check(name, source):
        module = parse(name, source, is_package=not name)
        there = (
            *("", "errors", "_ports", "images", "_api.convert", "_io.client"),
            *("emulator", "emulator.store", "cli.demo"),
        )
        known = dict.fromkeys(there, module)

        assert problems(module, known) == []

    check_all(cases, check)
