"""Tab in a shell: commands, options and model ids."""

from __future__ import annotations

import asyncio
import shutil
import subprocess

import pytest

from apimodels_async import known_models

COMPLETE = r"""
source "$1"; shift
name=$(complete -p apimodels | sed 's/.*-F \([^ ]*\).*/\1/')
COMP_WORDS=(apimodels "$@"); COMP_CWORD=$#; COMP_LINE="apimodels $*"
COMP_POINT=${#COMP_LINE}
"$name" apimodels "${@: -1}" "${@: -2:1}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give the user a home of his own, and bash."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    for name in ("ZSH_VERSION", "BASH_VERSION", "FISH_VERSION"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


async def test_model_ids_are_offered(run):
    """What is known is offered, by the program itself."""
    done = await run("__complete", "generate", "--model", "gpt")
    offered = [line.partition("\t")[0] for line in done.out.splitlines()]

    assert done.code == 0
    assert {*known_models()} <= {*offered}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
async def test_bash_completes_commands_and_options(home, program):
    """The installed script is loaded by new shells, and offers what there is."""
    process = program("--install-completion", "--shell", "bash")
    _, err = await asyncio.to_thread(process.communicate, timeout=60)
    script = home / ".local/share/bash-completion/completions/apimodels"

    def completed(*words):
        command = ["bash", "-c", COMPLETE, "bash", str(script), *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.split()

    assert (process.returncode, err) == (0, "")
    assert str(script) in (home / ".bashrc").read_text()
    assert await asyncio.to_thread(completed, "gen") == ["generate"]
    assert "--aspect-ratio" in await asyncio.to_thread(completed, "generate", "--asp")
