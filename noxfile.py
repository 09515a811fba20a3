# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2026.10"]
# ///
"""
Every check of the project: ``nox`` runs what a change needs, ``nox -t full`` the rest.
"""

from __future__ import annotations

import argparse
import ast
import atexit
import contextlib
import functools
import glob
import hashlib
import json
import os
import platform
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree as ET
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import nox
from packaging.requirements import Requirement
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent
PACKAGE = ROOT / "apimodels_async"
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")

RUNNING = ".".join(platform.python_version_tuple()[:2])
PYTHONS = nox.project.python_versions(PROJECT)
OTHERS = [version for version in PYTHONS if version != RUNNING]

EXTRAS = ".[cli,cloud,distributed,fastapi,otel,mcp,redis]"
TYPED = f"{EXTRAS.removesuffix(']')},testing]"
PYTEST = ("python", "-P", "-m", "pytest")


def paths(names: str, form: str = "tests/{}") -> tuple[str, ...]:
    """Return what pytest is told of *names* in ``tests``."""
    return tuple(map(form.format, names.split()))


WITHOUT_LONG = paths(
    "batch emulator soak testing test_readme.py images/test_cancellation.py "
    "images/test_faults.py integrations/redis integrations/streaq stores/redis",
    "--ignore=tests/{}",
)
SHORT = (*WITHOUT_LONG, "--ignore=tests/cli")
OWN_LOGIC = paths("sim cli/batch cli/demo", "--ignore=tests/{}")
WITHOUT_PROGRAMS = paths("soak test_readme.py", "--ignore=tests/{}")
"""Programs of their own, which nobody counts the lines of."""
PORTABLE = paths(
    "portable sync _io/files _io/http _io/test_config.py _io/test_relays.py "
    "_io/test_transports.py _io/test_transports_ends.py session/test_saving_files.py "
    "session/test_uploads.py stores/sqlite/test_journal.py "
    "stores/sqlite/test_pictures.py stores/sqlite/test_reader.py "
    "stores/sqlite/test_store_files.py stores/sqlite/test_store_opening.py "
    "webhooks/test_expected_sessions.py cli/batch/test_command.py "
    "cli/batch/test_folder.py cli/batch/test_ls.py cli/test_context.py "
    "cli/test_files.py cli/terminal/test_asking.py"
)
"""What touches files, locks, sockets, signals and terminals."""
SEARCHED = paths("_api _core _io/test_config.py _notebook/test_html.py test_text.py")
"""Where hypothesis looks for more at night: what is pure."""

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_external_run = True
# CI=true would turn a Python that is not installed into a failure.
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"

# pyenv's shims answer only for the versions chosen by `pyenv global`; the folders
# behind them have all. Appended, so that nothing found before changes.
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
os.environ["PATH"] = os.pathsep.join(
    [
        os.environ.get("PATH", os.defpath),
        # Path.glob raises where the folder is another user's.
        *glob.glob(f"{glob.escape(str(PYENV))}/versions/3.*/bin"),  # noqa: PTH207
    ]
)

# nohup and background jobs of a plain sh pass an ignored Ctrl-C on to all children;
# the tests send it to programs of ours.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LATER = "nox -s NAME (half an hour)"
HOW: dict[str, list[str]] = {"nox": [], "nox -t full": [], LATER: []}
"""How to run -> the names of the sessions that it runs."""
ENDED: dict[str, str] = {}
"""Session name -> passed or failed, in the order they began."""
SKIPPED: Counter[str] = Counter()
"""Reason -> how many tests were skipped for it, over all sessions."""
COUNTED: Counter[str] = Counter()
"""Session name -> how many tests passed."""
TOLD: list[str] = []
"""What the rehearsal of a release did, in how long, and what it left out, and why."""


def require_writable() -> None:
    """Stop with advice where neither the checkout nor ``--envdir`` can be written."""
    told = any(word.startswith("--envdir") for word in sys.argv[1:])
    if told or os.environ.get("NOX_ENVDIR") or os.access(ROOT, os.W_OK):
        return
    sys.exit(
        f"{ROOT} cannot be written, and nox keeps its environments there.\n"
        f"Name another place:  nox --envdir ~/nox-envs\n"
        f"or copy the checkout:  cp -r '{ROOT}' ~/copy && cd ~/copy && nox"
    )


require_writable()


@functools.cache
def find_python(version: str) -> str | None:
    """Return the first Python of this version on PATH that starts."""
    for folder in os.environ["PATH"].split(os.pathsep):
        python = shutil.which(f"python{version}", path=folder)
        if python is None:
            continue
        # One of pyenv's shims is there for a version that is not chosen, and fails.
        done = subprocess.run([python, "-c", ""], check=False, capture_output=True)  # noqa: S603
        if done.returncode == 0:
            return python
    return None


def group(*names: str) -> tuple[str, ...]:
    """Return the requirements of the dependency groups *names*."""
    return nox.project.dependency_groups(PROJECT, *names)


def step(
    how: str = "nox -t full", **options: Any
) -> Callable[[Callable[[nox.Session], None]], Any]:
    """Return a decorator for a session whose end the summary tells."""
    options |= {"default": how == "nox", "tags": ["full"] if "full" in how else []}

    def decorate(function: Callable[[nox.Session], None]) -> Any:
        HOW[how].append(function.__name__)

        @functools.wraps(function)
        def run(session: nox.Session) -> None:
            ENDED[session.name] = "failed"
            function(session)
            ENDED[session.name] = "passed"

        return nox.session(**options)(run)

    return decorate


def skip(session: nox.Session, why: str) -> NoReturn:
    """End a session that cannot run here; the summary says why."""
    ENDED[session.name] = why
    session.skip(why)


def require(session: nox.Session, program: str) -> None:
    """Skip a session where *program* is not found."""
    if shutil.which(program) is None:
        where = f"on Debian: apt-get install {program}"
        skip(session, f"no {program} on PATH; {where}")


def floors() -> list[str]:
    """Return every runtime dependency, extras included, pinned to its floor."""
    project = PROJECT["project"]
    lines = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        lines += extra
    pins = []
    for requirement in map(Requirement, lines):
        if requirement.name == project["name"]:
            continue  # an extra that includes another one
        (floor,) = requirement.specifier
        if floor.operator != ">=":
            msg = f"{requirement} has no floor: write it as name>=version"
            raise ValueError(msg)
        pins.append(f"{requirement.name}=={floor.version}")
    return pins


def run_tests(
    session: nox.Session,
    *words: str,
    command: tuple[str, ...] = PYTEST,
    at_once: int = 4,
    env: dict[str, str | None] | None = None,
) -> None:
    """
    Run pytest once, with the arguments of the command line if there are any.

    Most tests wait for sockets, so four at once fit two cores. Byte code is kept, also
    for those who told Python otherwise: every worker and program would compile it all.
    """
    # Not in create_tmp(): it moves TMPDIR to where paths are too long for sockets.
    cache, told = session.cache_dir, session.cache_dir / f"{session.name}.xml"
    told.unlink(missing_ok=True)
    try:
        session.run(
            *(*command, *words, f"--junitxml={told}"),
            *("-o", f"cache_dir={cache / 'pytest'}"),
            *(session.posargs or ("-n", str(at_once), "--dist", "worksteal")),
            env={"PYTHONDONTWRITEBYTECODE": None, **(env or {})},
        )
    finally:
        count(session.name, told)


def count(name: str, told: Path) -> None:
    """Add what pytest wrote to the figures of the summary."""
    if not told.exists():  # it broke before it could say anything
        return
    for case in ET.parse(told).iter("testcase"):  # noqa: S314  pytest's own
        skipped = case.find("skipped")
        if skipped is not None:
            SKIPPED[skipped.get("message", "")] += 1
        elif case.find("failure") is None and case.find("error") is None:
            COUNTED[name] += 1


@step("nox")
def lint(session: nox.Session) -> None:
    """Check style and layout with ruff."""
    session.install(*group("lint"))
    env = {"RUFF_CACHE_DIR": str(session.cache_dir / "ruff")}
    session.run("ruff", "check", ".", env=env)
    session.run("ruff", "format", "--check", ".", env=env)


@step("nox")
def typing(session: nox.Session) -> None:
    """Check types with mypy and basedpyright; pyproject.toml names the paths."""
    session.install(TYPED, *group("typing"))
    session.run("mypy", "--cache-dir", str(session.cache_dir / "mypy"))
    # Left to itself it takes the packages of a .venv beside pyproject.toml.
    session.run("basedpyright", "--pythonpath", f"{session.bin}/python")
    # Elsewhere, and without our settings: what users have is looked at, not the folder.
    empty = session.cache_dir / "elsewhere"
    empty.mkdir(exist_ok=True)
    (empty / "pyrightconfig.json").write_text("{}")
    with session.chdir(empty):
        session.run("basedpyright", "--verifytypes", PACKAGE.name, "--ignoreexternal")


@step()
def platforms(session: nox.Session) -> None:
    """Check types as on Windows and on macOS."""
    session.install(TYPED, *group("typing"))
    for name in ("win32", "darwin"):
        cache = session.cache_dir / f"mypy-{name}"
        where = ("--platform", name, "--cache-dir", str(cache))
        session.run("mypy", *where, "apimodels_async", "tests/typing")


@step("nox")
def tests(session: nox.Session) -> None:
    """Run the tests on the Python that runs nox; arguments go to pytest."""
    session.install(EXTRAS, *group("test", "cloud"))
    run_tests(session)


COVERED = next(filter(find_python, reversed(OTHERS)), RUNNING)
"""
Where coverage is measured: on the newest other Python there is, which this spares a
second run.
"""
FLOORED = next(
    (each for each in OTHERS if each != COVERED and find_python(each)), RUNNING
)
"""Where the lowest versions are tried: on another one, for the same reason."""
REST = [each for each in OTHERS if each not in {COVERED, FLOORED}]


@step(python=REST)
def others(session: nox.Session) -> None:
    """Run the tests on every other Python that is found; arguments go to pytest."""
    session.install(EXTRAS, *group("test"))
    # A Python between the oldest and the newest seldom has faults of its own.
    short = () if session.python in {PYTHONS[0], PYTHONS[-1]} else SHORT
    run_tests(session, *short)


@step(python=COVERED)
def coverage(session: nox.Session) -> None:
    """Run the tests on another Python, and fail if lines or branches were not run."""
    session.install(EXTRAS, *group("test", "cloud", "coverage"))
    data = session.cache_dir / "coverage" / "data"
    shutil.rmtree(data.parent, ignore_errors=True)
    data.parent.mkdir()
    env: dict[str, str | None] = {"COVERAGE_FILE": str(data)}
    # -P: the package comes from site-packages, as users have it, not from here.
    command = ("python", "-P", "-m", "coverage", "run", "-m", "pytest")
    run_tests(session, *WITHOUT_PROGRAMS, command=command, env=env)
    if not session.posargs:
        session.run("coverage", "combine", "--quiet", env=env)
        session.run("coverage", "report", env=env)


@step(python=FLOORED)
def lowest(session: nox.Session) -> None:
    """
    Run the tests with every runtime dependency at its floor.

    Without the long ones: they try our own logic, not what a release offers.
    """
    session.install(EXTRAS, *group("test"), *floors())
    run_tests(session, *WITHOUT_LONG, *OWN_LOGIC)


@step()
def prerelease(session: nox.Session) -> None:
    """Run the tests of both transports with aiohttp's newest pre-release."""
    session.install("--pre", "--upgrade", "aiohttp")
    code = "import aiohttp; print(aiohttp.__version__)"
    found = str(session.run("python", "-c", code, silent=True)).strip()
    if not Version(found).is_prerelease:
        skip(session, f"aiohttp has none that is newer than {found}")
    session.install(".[emulator]", *group("test"))
    run_tests(session, *glob.glob("tests/_io/test_transports*.py"))  # noqa: PTH207


@step()
def portable(session: nox.Session) -> None:
    """
    Run tests of what touches the system with all that only POSIX has hidden.

    Not a replacement for Windows: tests/portable/hidden.py says what it can show.
    """
    session.install(EXTRAS, *group("test"))
    env: dict[str, str | None] = {
        "PYTHONPATH": str(ROOT / "tests"),
        "PYTEST_PLUGINS": "portable.hidden",
    }
    run_tests(session, *PORTABLE, env=env)


@step()
def examples(session: nox.Session) -> None:
    """Run the programs in examples/ as their readers would; arguments go to pytest."""
    session.install(".[cli,distributed,metadata]", *group("examples"))
    # Most of them wait for programs to start: six at once fit two cores.
    run_tests(session, "examples", "--ignore=examples/gallery", at_once=6)


@step()
def browser(session: nox.Session) -> None:
    """Run what needs Chromium: the gallery, the emulator's page, and a batch's."""
    require(session, "chromium")
    session.install(".[cli,metadata]", *group("browser"))
    # One after the other: a process can have the driver's event loop but once.
    run_tests(session, "examples/gallery", at_once=2)
    for page in paths("emulator/api/test_control_page cli/gallery/test_page"):
        run_tests(session, f"{page}_in_browser.py", at_once=0)


@step()
def contract(session: nox.Session) -> None:
    """Hold the emulator against its OpenAPI document; arguments go to contract.py."""
    session.install(".[emulator]", *group("contract"))
    arguments = session.posargs or ("--examples", "10")
    session.run("python", "tests/soak/contract.py", *arguments)


@step()
def load(session: nox.Session) -> None:
    """Put 200 clients on a web application; arguments go to load.py."""
    session.install(".[cli]", *group("web"))
    arguments = session.posargs or ("--seconds", "30")
    session.run("python", "examples/web/load.py", *arguments)


@step()
def instructions(session: nox.Session) -> None:
    """Count what a poll and a call take, and fail if it is a tenth more than it was."""
    require(session, "valgrind")
    session.install(".")
    # Byte code is kept: under valgrind, compiling it would take most of the time.
    env = {"PYTHONDONTWRITEBYTECODE": None}
    session.run("python", "benchmarks/instructions.py", "--gate", env=env)


def build(session: nox.Session, source: Path, dist: Path) -> tuple[Path, Path]:
    """Build *source* into the empty folder *dist*; return sdist, and wheel of it."""
    shutil.rmtree(dist, ignore_errors=True)
    command = ("python", "-m", "build", "--no-isolation", "--outdir", str(dist))
    session.run(*command, str(source), silent=True, env={"SOURCE_DATE_EPOCH": None})
    (sdist,), (built,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    return sdist, built


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack *sdist* into the empty folder *folder*; return where the project is."""
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (project,) = folder.iterdir()
    return project


def distributions(session: nox.Session, tmp: Path) -> tuple[Path, Path]:
    """
    Return sdist and wheel, checked for what an index, and who builds them anew, see.

    The second build is of the first one's sdist: later, elsewhere, and under another
    umask. The digests must be the same.
    """
    session.install("build", "pip", "twine", *PROJECT["build-system"]["requires"])
    both = build(session, ROOT, tmp / "dist")
    project = unpack(both[0], tmp / "again")
    for path in project.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    for one, other in zip(both, build(session, project, tmp / "second"), strict=True):
        digests = {hashlib.sha256(it.read_bytes()).hexdigest() for it in (one, other)}
        if len(digests) != 1:
            session.error(f"two builds of {one.name} differ: see {tmp}")
    session.run("twine", "check", "--strict", *map(str, both))

    with zipfile.ZipFile(both[1]) as archive:
        licences = [name for name in archive.namelist() if "/licenses/" in name]
    if [Path(name).name for name in licences] != ["LICENSE"]:
        session.error(f"nothing is vendored, and yet there are {licences}")
    version = both[1].name.split("-")[1]
    if f"\n## {version} (" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        session.error(f"the changelog has no {version}")
    return both


@step()
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel twice, compare with the checkout, and use it elsewhere."""
    tmp = Path(session.create_tmp()).resolve()  # programs of it start elsewhere
    _, built = distributions(session, tmp)

    here = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(built) as archive:
        there = {
            name for name in archive.namelist() if name.startswith(f"{PACKAGE.name}/")
        }
    if here != there:
        session.error(f"checkout and wheel differ: {sorted(here ^ there)}")
    for data in ("py.typed", "openapi.json"):
        if not any(name.endswith(f"/{data}") for name in there):
            session.error(f"the wheel has no {data}")

    session.run("python", "-m", "venv", "--clear", str(tmp / "empty"))
    python = str(tmp / "empty" / "bin" / "python")
    pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check")
    with session.chdir(tmp):  # away from the checkout
        session.run(*pip, str(built), external=True)
        session.run(python, "-c", f"import {PACKAGE.name}", external=True)
        session.run(*pip, f"{built}[cli]", external=True)
        program = str(tmp / "empty" / "bin" / "apimodels")
        session.run(program, "--help", silent=True, external=True)


@step()
def docs(session: nox.Session) -> None:
    """
    Build the documentation into out/site/; ``nox -s docs -- serve`` shows it.

    A warning of any of its parts is a failure, and so is what docs/make/check.py finds.
    """
    session.install(".[cli]", *group("docs"))
    session.run("python", "docs/make/stage.py")
    if session.posargs:
        session.run("zensical", *session.posargs)
        return
    said = str(session.run("zensical", "build", "--clean", "--strict", silent=True))
    session.log(said.strip())
    if re.search(r"(?im)^griffe:|warning|error", said):
        session.error("a warning is an error here")
    session.run("python", "docs/make/check.py")


ALONE = {
    "": "import apimodels_async.sync as a; a.Session(api_key='k').close()",
    "emulator": "import apimodels_async.emulator as a; a.Emulator()",
    "metadata": "import apimodels_async, PIL.Image",
    "notebook": "import apimodels_async, PIL.Image",
    "otel": "import apimodels_async.integrations.otel",
    "cloud": "import apimodels_async, obstore.store as a; a.MemoryStore()",
    "fastapi": "import apimodels_async.integrations.fastapi",
    "cli": "--help",
    "redis": "from apimodels_async import stores as a; a.RedisStore('redis://localhost')",
    "distributed": "import apimodels_async.integrations.streaq",
    "mcp": "mcp --help",
    "testing": "import apimodels_async.testing.plugin, apimodels_async.emulator",
}
"""Extra -> what runs where it alone is installed: code, or words for the program."""
QUICK = paths("_api _core emulator session images")
"""What the sdist tries of its own tests: the whole of some of them, not of all."""
DEBIAN = {"stable": ("python3",), "sid": ("python3", "python3.15")}
"""Suite -> the Pythons in it that are tried."""


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Tell how long *what* took."""
    began = time.monotonic()
    yield
    TOLD.append(f"{what}: {time.monotonic() - began:.0f} s")


def pip_settings() -> dict[str, str]:
    """Return what pip was told on this machine, as its variables."""
    command = (sys.executable, "-m", "pip", "config", "list")
    said = subprocess.run(command, check=False, capture_output=True, text=True).stdout  # noqa: S603
    told = {}
    for line in said.splitlines():
        name, _, value = line.partition("=")
        variable = "PIP_" + name.rpartition(".")[2].upper().replace("-", "_")
        told[variable] = str(ast.literal_eval(value))
    return told


def use_alone(session: nox.Session, version: str, built: Path, tmp: Path) -> None:
    """Install each extra of the wheel alone, and run something of it."""
    home = tmp / "alone"
    for extra, proof in ALONE.items():
        make = (find_python(version) or "", "-m", "venv", "--clear", "--without-pip")
        session.run(*make, str(home), external=True)
        pip = ("python", "-m", "pip", "--python", str(home), "install", "-q")
        session.run(*pip, f"{built}[{extra}]" if extra else str(built))
        command = [str(home / "bin" / "python"), "-W", "error", "-c", proof]
        if proof.endswith("--help"):
            command = [str(home / "bin" / "apimodels"), *proof.split()]
        with session.chdir(tmp):  # away from the checkout
            session.run(*command, silent=True, external=True)


def use_on_debian(session: nox.Session, suite: str, folder: Path) -> None:
    """Do what a newcomer does, on a root of its own, with each Python of *suite*."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = re.search(r"^\$ (python3 .*apimodels demo)\b", readme, re.MULTILINE)
    if command is None:
        session.error("README.md has no `python3 ... apimodels demo`")
    shutil.copy(ROOT / ".ci" / "newcomer", folder)
    packages = ",".join(f"{python}-venv" for python in DEBIAN[suite])
    steps = "; ".join(
        f"./newcomer {python} {shlex.quote(command[1].replace('python3', python))}"
        for python in DEBIAN[suite]
    )
    run = (str(ROOT / ".ci" / "debian"), suite, packages, str(folder))
    said = session.run(
        *(*run, "sh", "-ec", steps), silent=True, external=True, env=pip_settings()
    )
    TOLD.extend(line[2:] for line in str(said).splitlines() if line.startswith("* "))


@step(LATER)
def release(session: nox.Session) -> None:
    """
    Rehearse a release: build it, and use it as those who get it do.

    Arguments name the parts: ``nox -s release -- extras sdist debian`` are all. The
    second command of the README is not run from a wheel: it is `nox -s tests` here.
    """
    parts = session.posargs or ("extras", "sdist", "debian")
    if set(ALONE) - {""} != set(PROJECT["project"]["optional-dependencies"]):
        session.error("ALONE in noxfile.py and the extras of pyproject.toml differ")
    tmp = session.cache_dir.resolve() / "release"  # not create_tmp(): see run_tests
    tmp.mkdir(exist_ok=True)
    with timed("built twice, alike, and checked for the index"):
        sdist, built = distributions(session, tmp)

    for version in PYTHONS if "extras" in parts else ():
        if not find_python(version):
            TOLD.append(f"left out: each extra on Python {version}, which is not here")
            continue
        with timed(f"each of {len(ALONE) - 1} extras alone on Python {version}"):
            use_alone(session, version, built, tmp)

    project = unpack(sdist, tmp / "unpacked")
    if "sdist" in parts:
        with timed(f"the sdist's own {', '.join(QUICK)}"):
            extras = EXTRAS.removeprefix(".")
            session.install(f"{project}{extras}", *group("test"))
            with session.chdir(project):
                env = {"PYTHONDONTWRITEBYTECODE": None}
                session.run(*PYTEST, "-q", "-n", "4", *QUICK, env=env)

    lacking = [name for name in ("debootstrap", "unshare") if not shutil.which(name)]
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        lacking.append("root's rights")
    if lacking or "debian" not in parts:
        why = ", ".join(lacking) or "not asked for"
        TOLD.append(f"left out: Debian {' and '.join(DEBIAN)} ({why})")
        return
    folder = tmp / "handed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copytree(project, folder / "sdist")
    shutil.copy(built, folder)
    for suite in DEBIAN:
        use_on_debian(session, suite, folder)


NIGHTLY = """\
chaos.py
chaos.py --posts 8000 --callbacks
answers.py
crash.py --runs 100 --callbacks
keys.py
keys.py --keys 8 --orders 800
workers.py
redis_cuts.py --cut 20 --kills
callbacks.py
accounting.py
contract.py --examples 200"""
"""Few keys a file, the second time: it is opened, and made, by many at once."""


@step(LATER)
def nightly(session: nox.Session) -> None:
    """Load, break and kill for half an hour."""
    session.install(EXTRAS, *group("test", "cloud", "web", "contract"))
    pytest = (*PYTEST, "--timeout=3600", "-n", "2")
    session.run(*pytest, "tests/soak", env={"SOAK": "1"})
    session.run(*pytest, *SEARCHED, "--hypothesis-profile=search")
    session.run("python", "examples/web/load.py", "--seconds", "600")
    for campaign in NIGHTLY.splitlines():
        script, *words = campaign.split()
        if script != "redis_cuts.py" or shutil.which("redis-server"):
            session.run("python", f"tests/soak/{script}", *words)


WITH_STORES = (
    *("stores/test_sent_*.py", "stores/test_recall*.py", "session/test_stores.py"),
    *("images/test_ordered_again.py", "batch/test_batch_stored.py"),
)
MUTATED = {
    "core": ("_core/**/*.py", ("_core",)),
    "ordering": ("_ordering.py", ("test_ordering*.py", "images/*.py", *WITH_STORES)),
    "stores": ("stores/*.py", ("stores/test_store_*.py", *WITH_STORES)),
    "sqlite": ("stores/sqlite/*.py", ("stores/sqlite", "stores/test_store_*.py")),
    "redis": ("stores/redis/*.py", ("stores/redis", "stores/test_store_*.py")),
}
"""What can be mutated -> the modules, and the tests that are to notice."""
MAKE_MUTANTS = """
import mutmut.__main__ as mutmut
mutmut.makedirs("mutants", exist_ok=True)
mutmut.copy_src_dir()
mutmut.copy_also_copy_files()
mutmut.create_mutants(2)
"""


@step(LATER)
def mutation(session: nox.Session) -> None:
    """
    Break a part of the package in every small way, and list what no test of it notices.

    ``nox -s mutation -- PART NAME...``: a part of ``MUTATED``, or the core, whose 3,000
    take the better part of an hour; and names to try, with ``*``. With ``--sample 40``
    so many of each module, at random; the same ones for the same ``--seed``.
    """
    parser = argparse.ArgumentParser(prog="nox -s mutation --")
    parser.add_argument("part", nargs="?", choices=MUTATED, default="core")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=17)
    asked = parser.parse_args(session.posargs)
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    # Without the package: what is mutated is a copy of the folder here.
    session.install(
        *(*project["dependencies"], *extras["emulator"], *extras["redis"]),
        *group("test", "mutation"),
    )
    copy = session.cache_dir.resolve() / "mutation" / asked.part
    copy_for_mutation(copy, *MUTATED[asked.part])
    environment = {"PYTHONPATH": str(copy / "mutants")}  # for programs that tests start
    with session.chdir(copy):
        session.run("python", "-c", MAKE_MUTANTS, silent=True)
        names = asked.names
        if asked.sample:
            chance = random.Random(asked.seed)  # noqa: S311
            for found in mutants_in(copy).values():
                names += chance.sample(sorted(found), min(asked.sample, len(found)))
        ran = ("mutmut", "run", "--max-children", "2", *names)
        session.run(*ran, env=environment)
    for module, found in mutants_in(copy).items():
        tried = [end for end in found.values() if end is not None]
        unnoticed = {name: end for name, end in found.items() if end in {0, 5, 33}}
        if tried:
            noticed = len(tried) - len(unnoticed)
            session.log(f"{module}: {noticed} of {len(tried)} noticed")
        for name, end in unnoticed.items():
            session.log(f"    {name}{' (no test runs it)' if end else ''}")


def copy_for_mutation(copy: Path, modules: str, tests: tuple[str, ...]) -> None:
    """Copy to *copy* what mutmut needs, and tell it what to mutate and to run."""
    left_out = shutil.ignore_patterns("__pycache__")
    for name in (PACKAGE.name, "tests"):
        shutil.copytree(ROOT / name, copy / name, dirs_exist_ok=True, ignore=left_out)
    settings = {
        "only_mutate": PACKAGE.glob(modules),
        "pytest_add_cli_args_test_selection": (
            path for each in tests for path in (ROOT / "tests").glob(each)
        ),
    }
    told = "[tool.mutmut]\n"
    for key, paths in settings.items():
        relative = sorted(path.relative_to(ROOT).as_posix() for path in paths)
        told += f"{key} = {json.dumps(relative)}\n"
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    text = text.replace("[tool.mutmut]\n", told)
    (copy / "pyproject.toml").write_text(text, "utf-8")


def mutants_in(copy: Path) -> dict[str, dict[str, int | None]]:
    """Return module -> mutant -> how tests ended: 0 unnoticed, 33 none ran it."""
    found = {}
    for path in sorted((copy / "mutants").rglob("*.meta")):
        ends = json.loads(path.read_text("utf-8"))["exit_code_by_key"]
        if ends:
            module = path.relative_to(copy / "mutants").with_suffix("").as_posix()
            found[module] = ends
    return found


@step(LATER)
def bench(session: nox.Session) -> None:
    """
    Write benchmarks/RESULTS.md, then run the other scripts in benchmarks/.

    Arguments go to the report: ``nox -s bench -- --short`` takes fewer turns;
    ``--quick`` shows in minutes whether all of it works, and writes to out/quick/.
    """
    session.install(".[cli,distributed]", *group("bench"))
    folder = ROOT / "benchmarks"
    session.run("python", str(folder / "report.py"), *session.posargs)
    reported = (folder / "report.py").read_text(encoding="utf-8")
    for script in sorted(folder.glob("[!_]*.py")):
        # 1 is a goal missed: the others are worth knowing all the same.
        if script.name != "report.py" and f'"{script.name}"' not in reported:
            session.run("python", str(script), success_codes=[0, 1])


def summarise() -> None:
    """Print how each session ended, what was left out and why, and how to run it."""
    if not ENDED:  # `nox -l`, or nothing began
        return
    lines = ["", "Summary"]
    for name, end in ENDED.items():
        passed = f"{COUNTED[name]} tests" if name in COUNTED else ""
        lines.append(f"  {name:14} {end:8} {passed}".rstrip())
    for reason, times in SKIPPED.most_common():
        lines.append(f"  skipped        {times} x {reason.removeprefix('Skipped: ')}")
    lines += [f"  release        {each}" for each in TOLD]
    began = {name.partition("-")[0] for name in ENDED}
    absent = [version for version in OTHERS if not find_python(version)]
    if absent:
        lines.append(f"  not found      Python {', '.join(absent)}")
    for how, names in HOW.items():
        left = [name for name in names if name not in began]
        if left and (left != ["others"] or set(REST).difference(absent)):
            lines.append(f"  not run        {', '.join(left)}: {how}")
    sys.stderr.write("\n".join([*lines, ""]))


atexit.register(summarise)


if __name__ == "__main__":
    nox.main()
