# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2026.10"]
# ///
"""
Every check of the project. ``nox`` runs them all, ``nox -l`` lists them.
"""

from __future__ import annotations

import os
import platform
import zipfile
from pathlib import Path
from typing import Any

import nox
from nox.command import CommandFailed
from packaging.requirements import Requirement

ROOT = Path(__file__).parent
PACKAGE = ROOT / "apimodels_async"
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")

# The running Python is always tested, also when it is newer than the classifiers.
RUNNING = ".".join(platform.python_version_tuple()[:2])
PYTHONS = nox.project.python_versions(PROJECT)
if RUNNING not in PYTHONS:
    PYTHONS.append(RUNNING)

LONG = ("chaos", "emulator", "batch", "testing", "test_readme.py")
WITHOUT_LONG = tuple(f"--ignore=tests/{each}" for each in LONG)
SHORT = (*WITHOUT_LONG, "--ignore=tests/cli")

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_external_run = True
# CI=true would turn a Python that is not installed into a failure.
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "typing", "tests", "lowest", "examples", "wheel"]

# pyenv's shims answer only for the versions chosen by `pyenv global`; the folders
# behind them have all. Appended, so that nothing found before changes.
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
os.environ["PATH"] = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), *map(str, PYENV.glob("versions/3.*/bin"))]
)


def group(*names: str) -> tuple[str, ...]:
    """
    Return the requirements of the dependency groups *names*.
    """
    return nox.project.dependency_groups(PROJECT, *names)


def floors() -> list[str]:
    """
    Return every runtime dependency, extras included, pinned to its floor.
    """
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
    session: nox.Session, *command: str, at_once: int = 4, **options: Any
) -> None:
    """
    Run pytest; what fails beside the others is run again by itself, and must pass.

    Most tests wait for sockets, so four at once fit two cores. Real sockets and small
    time-outs on a busy machine: alone is what counts. Arguments given go to pytest.
    """
    cache = ROOT / ".pytest_cache"
    failed = cache / "v" / "cache" / "lastfailed"
    command = (*command, "-o", f"cache_dir={cache}")
    failed.unlink(missing_ok=True)
    arguments = session.posargs or ("-n", str(at_once), "--dist", "worksteal")
    try:
        session.run(*command, *arguments, **options)
    except CommandFailed:
        if not failed.exists():  # it broke before it could say what failed
            raise
        session.warn("failed beside others, run again alone")
        again = ("--last-failed", "--last-failed-no-failures", "none")
        session.run(*command, *session.posargs, *again, **options)


@nox.session
def lint(session: nox.Session) -> None:
    """
    Check style and layout with ruff.
    """
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """
    Check types with mypy and basedpyright; both read their paths in pyproject.toml.
    """
    session.install(".[cli,otel,mcp]", *group("dev"))
    session.run("mypy")
    # Left to itself it takes the packages of a .venv beside pyproject.toml.
    session.run("basedpyright", "--pythonpath", f"{session.bin}/python")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """
    Run the tests against the installed package; arguments go to pytest.
    """
    session.install(".[cli,otel,mcp]", *group("test"))
    data = ROOT / f".coverage.{session.python}"
    for stale in ROOT.glob(f"{data.name}.*"):
        stale.unlink()
    # -P: the package comes from site-packages, as users have it, not from here.
    command = ("python", "-P", "-m", "coverage", "run", "-m", "pytest")
    # A Python between the oldest and the newest seldom has faults of its own.
    short = () if session.python in (PYTHONS[0], PYTHONS[-1]) else SHORT
    run_tests(session, *command, *short, env={"COVERAGE_FILE": str(data)})
    if not session.posargs:
        session.notify("coverage")


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """
    Add up what the tests ran on every Python; every line and branch must be there.
    """
    session.install(*(line for line in group("test") if line.startswith("coverage")))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lowest(session: nox.Session) -> None:
    """
    Run the tests with every runtime dependency at its floor.

    Without the long ones: they try our own logic, not what a release offers.
    """
    session.install(".[cli,otel,mcp]", *group("test"), *floors())
    run_tests(session, "python", "-P", "-m", "pytest", *WITHOUT_LONG)


@nox.session
def examples(session: nox.Session) -> None:
    """
    Run the programs in examples/ as their readers would; arguments go to pytest.
    """
    session.install(".[cli,metadata]", *group("examples"))
    pytest = ("python", "-P", "-m", "pytest")
    if session.posargs:
        session.run(*pytest, *session.posargs)
        return
    # The browser's driver runs an event loop of its own in the thread of the tests.
    # Most of them wait for programs to start: six at once fit two cores.
    run_tests(session, *pytest, "examples/gallery", at_once=6)
    run_tests(session, *pytest, "examples", "--ignore", "examples/gallery", at_once=6)
    session.run("python", "examples/web/load.py", "--seconds", "60")


@nox.session
def wheel(session: nox.Session) -> None:
    """
    Build sdist and wheel, look into the wheel, and use it from an empty environment.
    """
    session.install("build")
    tmp = ROOT / session.create_tmp()
    for stale in (tmp / "dist").glob("*"):
        stale.unlink()
    session.run("python", "-m", "build", "--outdir", str(tmp / "dist"), silent=True)
    (built,) = (tmp / "dist").glob("*.whl")

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


@nox.session(default=False)
def nightly(session: nox.Session) -> None:
    """
    Run what takes too long for every change: load, faults and kills, for half an hour.
    """
    session.install(".[cli]", *group("examples"))
    session.run("python", "examples/web/load.py", "--seconds", "600")
    session.run("python", "benchmarks/chaos.py")
    session.run("python", "benchmarks/chaos.py", "--posts", "8000", "--callbacks")
    session.run("python", "benchmarks/crash.py", "--runs", "100", "--callbacks")
    session.run("python", "benchmarks/callbacks.py")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """
    Write benchmarks/RESULTS.md, then run the other scripts in benchmarks/.

    Arguments go to the report: ``nox -s bench -- --short`` takes fewer turns;
    ``--quick`` shows in minutes whether all of it works, and writes to out/quick/.
    """
    session.install(".[cli]", *group("bench"))
    folder = ROOT / "benchmarks"
    session.run("python", str(folder / "report.py"), *session.posargs)
    reported = (folder / "report.py").read_text(encoding="utf-8")
    for script in sorted(folder.glob("[!_]*.py")):
        # 1 is a goal missed: the others are worth knowing all the same.
        if script.name != "report.py" and f'"{script.name}"' not in reported:
            session.run("python", str(script), success_codes=[0, 1])


if __name__ == "__main__":
    nox.main()
