"""
Break a part of the package in every small way, and list what no test of it notices.

    python tests/soak/mutation.py FOLDER [PART] [NAME ...] [--sample N] [--seed 17]

Names are of mutants, with `*`. All 3,000 of the core take the better part of an hour;
with --sample N so many of each module, at random, the same ones for the same seed. What
is mutated is a copy in FOLDER: the package must not be installed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "apimodels_async"
WITH_STORES = (
    *("stores/test_sent_*.py", "stores/test_recall*.py", "session/test_stores.py"),
    *("images/test_ordered_again.py", "batch/test_batch_stored.py"),
)
STORES = (
    *("stores/test_store_*.py", "stores/sqlite/test_reader.py"),
    "webhooks/test_expected_[ls]*.py",
)
MUTATED = {
    "core": ("_core/**/*.py", ("_core",)),
    "ordering": ("_ordering.py", ("test_ordering*.py", "images/*.py", *WITH_STORES)),
    # Not __init__, which is run before there are mutants.
    "stores": ("stores/*[!_].py", (*STORES, *WITH_STORES)),
    "sqlite": ("stores/sqlite/*.py", ("stores/sqlite", "stores/test_store_*.py")),
    "redis": ("stores/redis/*.py", ("stores/redis", "stores/test_store_*.py")),
}
"""What can be mutated -> the modules, and the tests that are to notice."""
UNNOTICED = {0: "", 5: " (no test runs it)", 33: " (no test runs it)"}
"""How the tests of a mutant end that nothing notices."""
MAKE_MUTANTS = """
import mutmut.__main__ as mutmut
mutmut.makedirs("mutants", exist_ok=True)
mutmut.copy_src_dir()
mutmut.copy_also_copy_files()
mutmut.setup_source_paths()
mutmut.create_mutants(2)
mutmut.collect_or_load_stats(mutmut.get_mutant_runner(2))
"""
"""
Makes them, and finds which test runs what, in a process of its own: pytest's second
run in one process fails for some of the tests here (mutmut 3.8, 2026-11-29).
"""


def copy_to(folder: Path, modules: str, tests: tuple[str, ...]) -> None:
    """Copy to *folder* what mutmut needs, and tell it what to mutate and to run."""
    left_out = shutil.ignore_patterns("__pycache__")
    for name in (PACKAGE.name, "tests"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True, ignore=left_out)
    settings = {
        "only_mutate": PACKAGE.glob(modules),
        "pytest_add_cli_args_test_selection": {
            path for each in tests for path in (ROOT / "tests").glob(each)
        },
    }
    told = "[tool.mutmut]\n"
    for key, paths in settings.items():
        relative = sorted(path.relative_to(ROOT).as_posix() for path in paths)
        told += f"{key} = {json.dumps(relative)}\n"
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (folder / "pyproject.toml").write_text(
        text.replace("[tool.mutmut]\n", told), "utf-8"
    )


def mutants_in(folder: Path) -> dict[str, dict[str, int | None]]:
    """Return module -> mutant -> how its tests ended; None if it was not tried."""
    found = {}
    for path in sorted((folder / "mutants").rglob("*.meta")):
        if ends := json.loads(path.read_text("utf-8"))["exit_code_by_key"]:
            module = path.relative_to(folder / "mutants").with_suffix("").as_posix()
            found[module] = ends
    return found


def main() -> None:
    """Try the mutants that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", nargs="?", choices=MUTATED, default="core")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=17)
    asked = parser.parse_args()
    folder = asked.folder.resolve() / asked.part
    copy_to(folder, *MUTATED[asked.part])
    # Before Python looks there: a folder that was not there is not looked at again.
    (folder / "mutants").mkdir(exist_ok=True)
    # For programs that tests start, too.
    env = {**os.environ, "PYTHONPATH": str(folder / "mutants")}
    make = [sys.executable, "-c", MAKE_MUTANTS]
    subprocess.run(make, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
    names = asked.names
    if asked.sample:
        chance = random.Random(asked.seed)
        for found in mutants_in(folder).values():
            names += chance.sample(sorted(found), min(asked.sample, len(found)))
    tried = [sys.executable, "-m", "mutmut", "run", "--max-children", "2", *names]
    ended = subprocess.run(tried, cwd=folder, env=env, check=False).returncode
    for module, found in mutants_in(folder).items():
        tried = [end for end in found.values() if end is not None]
        missed = {name: end for name, end in found.items() if end in UNNOTICED}
        if tried:
            print(f"{module}: {len(tried) - len(missed)} of {len(tried)} noticed")
        for name, end in missed.items():
            print(f"    {name}{UNNOTICED[end]}")
    sys.exit(ended)


if __name__ == "__main__":
    main()
