# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2026.10"]
# ///
"""
Every check of the project: ``nox`` runs what a change needs, ``nox -t full`` the rest.
"""

from __future__ import annotations

import atexit
import functools
import glob
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import nox
from packaging.requirements import Requirement
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable

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


def rehearse(session: nox.Session, *parts: str) -> None:
    """Rehearse *parts* of a release, with every Python that is found."""
    session.install("build", "pip", "twine", *PROJECT["build-system"]["requires"])
    folder = session.cache_dir.resolve() / session.name
    pythons = [f"--python={each}" for each in map(find_python, PYTHONS) if each]
    session.run("python", ".ci/release.py", str(folder), *parts, *pythons)


@step()
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel twice, compare with the checkout, and use it elsewhere."""
    rehearse(session, "wheel")


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


@step(LATER)
def release(session: nox.Session) -> None:
    """
    Rehearse a release: build it, and use it as those who get it do.

    Arguments name the parts: ``nox -s release -- extras sdist debian`` are all. The
    second command of the README is not run from a wheel: it is `nox -s tests` here.
    """
    rehearse(session, *(session.posargs or ("extras", "sdist", "debian")))


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


@step(LATER)
def mutation(session: nox.Session) -> None:
    """
    Break a part of the package in every small way, and list what no test of it notices.

    ``nox -s mutation -- PART NAME...``; ``-- --help`` says which, and of samples.
    """
    extras = PROJECT["project"]["optional-dependencies"]
    needs = (*PROJECT["project"]["dependencies"], *extras["emulator"], *extras["redis"])
    session.install(*needs, *group("test", "mutation"))  # and not the package
    folder = str(session.cache_dir.resolve() / "mutation")
    session.run("python", "tests/soak/mutation.py", folder, *session.posargs)


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
