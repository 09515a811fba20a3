"""
Rehearse a release: build it, and use it as those who get it do.

    python .ci/release.py FOLDER PART... [--python NAME]...

Builds sdist and wheel in FOLDER, twice, alike, with what the checkout has. Parts:

    wheel    it works where nothing else is, and so does its command line
    extras   each alone, on each --python
    sdist    some of its own tests
    debian   a newcomer's first commands, on fresh roots; needs root's rights
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGE = ROOT / "apimodels_async"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PROGRAMS = "Scripts" if os.name == "nt" else "bin"

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
EXTRAS = "cli,cloud,distributed,fastapi,otel,mcp,redis"
QUICK = [f"tests/{each}" for each in ("_api", "_core", "emulator", "session", "images")]
"""What the sdist tries of its own tests: the whole of some of them, not of all."""
DEBIAN = {"stable": ("python3",), "sid": ("python3", "python3.15")}
"""Suite -> the Pythons in it that are tried."""
TOLD: list[str] = []
"""What was done, in how long, and what was left out, and why."""


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Tell how long *what* took."""
    print(f"--- {what}", flush=True)
    began = time.monotonic()
    yield
    TOLD.append(f"{what}: {time.monotonic() - began:.0f} s")


def run(
    *command: str | Path, at: Path = ROOT, env: dict[str, str] | None = None
) -> str:
    """Run *command*, and return what it printed; what fails ends the rehearsal."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=at,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        words = shlex.join(map(str, command))
        sys.exit(f"{done.stdout}\n{words}: failed ({done.returncode})")
    return done.stdout


def build(source: Path, dist: Path) -> tuple[Path, Path]:
    """Build *source* into the empty folder *dist*; return sdist, and wheel of it."""
    shutil.rmtree(dist, ignore_errors=True)
    os.environ.pop("SOURCE_DATE_EPOCH", None)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, source)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    return sdist, wheel


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack *sdist* into the empty folder *folder*; return where the project is."""
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (project,) = folder.iterdir()
    return project


def build_twice(tmp: Path) -> tuple[Path, Path]:
    """
    Return sdist and wheel, checked for what an index, and who builds them anew, see.

    The second build is of the first one's sdist: later, elsewhere, and under another
    umask. The digests must be the same.
    """
    both = build(ROOT, tmp / "dist")
    project = unpack(both[0], tmp / "again")
    for path in project.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    for one, other in zip(both, build(project, tmp / "second"), strict=True):
        digests = {hashlib.sha256(it.read_bytes()).hexdigest() for it in (one, other)}
        if len(digests) != 1:
            sys.exit(f"two builds of {one.name} differ: see {tmp}")
    run(sys.executable, "-m", "twine", "check", "--strict", *both)
    version = both[1].name.split("-")[1]
    if f"\n## {version} (" not in (ROOT / "CHANGELOG.md").read_text("utf-8"):
        sys.exit(f"the changelog has no {version}")
    return both


def compare(wheel: Path) -> None:
    """End unless *wheel* holds what the checkout has, and one licence: our own."""
    here = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    there = {name for name in names if name.startswith(f"{PACKAGE.name}/")}
    if here != there:
        sys.exit(f"checkout and wheel differ: {sorted(here ^ there)}")
    for data in ("py.typed", "openapi.json"):
        if not any(name.endswith(f"/{data}") for name in there):
            sys.exit(f"the wheel has no {data}")
    licences = [name for name in names if "/licenses/" in name]
    if [Path(name).name for name in licences] != ["LICENSE"]:
        sys.exit(f"nothing is vendored, and yet there are {licences}")


def use_alone(wheel: Path, python: str, extras: Iterable[str], tmp: Path) -> None:
    """Install each of *extras* of *wheel* alone, and run something of it."""
    home = tmp / "alone"
    for extra in extras:
        run(python, "-m", "venv", "--clear", "--without-pip", home)
        wanted = f"{wheel}[{extra}]" if extra else wheel
        run(sys.executable, "-m", "pip", "--python", home, "install", "-q", wanted)
        proof = ALONE[extra]
        command: tuple[str, ...] = ("python", "-W", "error", "-c", proof)
        if proof.endswith("--help"):
            command = ("apimodels", *proof.split())
        run(home / PROGRAMS / command[0], *command[1:], at=tmp)  # not in the checkout


def test_itself(project: Path, tmp: Path) -> None:
    """Run some of the tests of an unpacked sdist, in an environment of its own."""
    home = tmp / "itself"
    run(sys.executable, "-m", "venv", "--clear", "--without-pip", home)
    pip = (sys.executable, "-m", "pip", "--python", home, "install", "-q")
    run(*pip, f"{project}[{EXTRAS}]", "--group", f"{project / 'pyproject.toml'}:test")
    pytest = (home / PROGRAMS / "python", "-P", "-m", "pytest", "-q", "-n", "4")
    run(*pytest, *QUICK, at=project)


def pip_settings() -> dict[str, str]:
    """Return what pip was told on this machine, as its variables."""
    told = {}
    for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        variable = "PIP_" + name.rpartition(".")[2].upper().replace("-", "_")
        told[variable] = str(ast.literal_eval(value))
    return told


def use_on_debian(suite: str, folder: Path) -> None:
    """Do what a newcomer does, on a root of its own, with each Python of *suite*."""
    readme = (ROOT / "README.md").read_text("utf-8")
    command = re.search(r"^\$ (python3 .*apimodels demo)\b", readme, re.MULTILINE)
    if command is None:
        sys.exit("README.md has no `python3 ... apimodels demo`")
    steps = "; ".join(
        f"./newcomer {python} {shlex.quote(command[1].replace('python3', python))}"
        for python in DEBIAN[suite]
    )
    packages = ",".join(f"{python}-venv" for python in DEBIAN[suite])
    root = (HERE / "debian", suite, packages, folder)
    said = run(*root, "sh", "-ec", steps, env=pip_settings())
    TOLD.extend(line[2:] for line in said.splitlines() if line.startswith("* "))


def lacking() -> list[str]:
    """Return what a Debian root needs, and this machine has not."""
    found = [name for name in ("debootstrap", "unshare") if not shutil.which(name)]
    return found if getattr(os, "geteuid", int)() == 0 else [*found, "root's rights"]


def main() -> None:
    """Rehearse what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    choices = ["wheel", "extras", "sdist", "debian"]
    parser.add_argument("parts", nargs="+", choices=choices, metavar="part")
    parser.add_argument("--python", action="append", default=[])
    asked = parser.parse_args()
    if set(ALONE) - {""} != set(PROJECT["optional-dependencies"]):
        sys.exit("ALONE in .ci/release.py and the extras of pyproject.toml differ")
    tmp = asked.folder.resolve()
    tmp.mkdir(parents=True, exist_ok=True)
    with timed("built twice, alike, and checked for the index"):
        sdist, wheel = build_twice(tmp)
    compare(wheel)
    if "wheel" in asked.parts:
        with timed("the wheel alone, and its command line"):
            use_alone(wheel, sys.executable, ("", "cli"), tmp)
    for python in asked.python if "extras" in asked.parts else ():
        with timed(f"each of {len(ALONE) - 1} extras alone on {Path(python).name}"):
            use_alone(wheel, python, ALONE, tmp)
    project = unpack(sdist, tmp / "unpacked")
    if "sdist" in asked.parts:
        with timed(f"the sdist's own {', '.join(QUICK)}"):
            test_itself(project, tmp)
    if "debian" in asked.parts:
        if missing := lacking():
            TOLD.append(f"left out: {', '.join(DEBIAN)}: no {', '.join(missing)}")
        else:
            folder = tmp / "handed"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(project, folder / "sdist")
            shutil.copy(wheel, folder)
            shutil.copy(HERE / "newcomer", folder)
            for suite in DEBIAN:
                with timed(f"Debian {suite}"):
                    use_on_debian(suite, folder)


if __name__ == "__main__":
    try:
        main()
    finally:
        print("\n".join(["", "Rehearsed", *(f"  {each}" for each in TOLD)]), flush=True)
