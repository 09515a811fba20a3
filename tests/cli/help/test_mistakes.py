"""Mistakes in a command line, on a terminal and in a pipe."""

from __future__ import annotations

from cli.conftest import plain

MISTAKES = [
    (["genrate", "x"], 'there is no command "genrate"', "did you mean generate?"),
    (["paint"], 'there is no command "paint"', "see: apimodels --help"),
    (["generate"], "PROMPT is missing", "see: apimodels generate --help"),
    (["generate", "a", "--sede", "1"], "no option --sede", "did you mean --seed?"),
    (["generate", "a", "--steps=3"], "no option --steps", "--param steps=VALUE"),
    (["generate", "a", "--api-key", "sk_1"], "no option --api-key", "apimodels login"),
    (["balance", "--api_key=sk_1"], "no option --api_key", "apimodels login"),
    (["generate", "a", "fox"], '"fox" is one word too many', "put quotes around"),
    (["generate", "a", "--seed", "x"], '--seed needs a whole number, not "x"', "see"),
    (["generate", "a", "--seed"], "--seed needs a value", "see"),
    (["generate", "a", "-m", "x", "-m", "y"], "-m is given twice", "see"),
    (["batch"], "FILE is missing", "see"),
    (["edit", "a"], "--image is missing", "see"),
    (["history", "--state", "complete"], "one of intended", "did you mean completed?"),
    (["history", "--since", "x"], "--since needs a day, or a moment", "see"),
    (["emulator", "--speed", "-1"], '--speed "-1": must be > 0', "see"),
    (["mcp", "--max-cost", "5$"], "--max-cost: '5$' is no amount", "see"),
]


async def test_each_mistake_has_its_words(run):
    """In a pipe it is one line: what is wrong, and what to do; never a class name."""
    wrong = []
    for argv, said, tip in MISTAKES:
        done = await run(*argv)
        line = done.err.startswith("apimodels: error: ") and done.err.count("\n") == 1
        python = [word for word in ("Error:", "charged", "None") if word in done.err]
        if done.code != 2 or not line or python or done.out:
            wrong.append((argv, done))
        elif said not in done.err or tip not in done.err.partition(" | tip: ")[2]:
            wrong.append((argv, done.err))

    assert wrong == []


async def test_on_a_terminal_it_has_its_own_lines(run_on_terminal):
    """What is wrong, what is meant, and how the command is called."""
    done = await run_on_terminal("generate", "a", "--sede", "1")
    lines = [line.strip() for line in plain(done.err).splitlines()]

    assert lines == [
        "error: there is no option --sede",
        "tip: did you mean --seed? (see: apimodels generate --help)",
        "",
        "usage: apimodels generate [OPTIONS] [PROMPT]",
    ]


async def test_on_a_terminal_a_charge_is_a_note(run_on_terminal, emulator):
    """What may have cost something has a line of its own; a free question has none."""
    emulator.fault("sync", "status", status=500)
    emulator.fault("balance", "status", status=400)
    paid = await run_on_terminal("generate", "a fox", "--no-save")
    free = await run_on_terminal("balance")

    assert "\nnote: may have been charged\n" in plain(paid.err)
    assert "error: the API refused the request" in plain(free.err)
    assert "charged" not in free.err
