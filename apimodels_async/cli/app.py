"""Builds the app; maps errors to exit codes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cyclopts import App, CycloptsError, Group
from cyclopts.help import format_usage

from apimodels_async import (
    ApiModelsError,
    ConfigurationError,
    InvalidRequestError,
    __version__,
)
from apimodels_async.cli.context import InterruptedCommand, interruptible
from apimodels_async.cli.errors import ExitCode, exit_code, next_step
from apimodels_async.cli.help.commands import COMMANDS, USAGES, Costs
from apimodels_async.cli.help.formatter import PlainHelp
from apimodels_async.cli.help.mistakes import explain
from apimodels_async.cli.help.topics import MORE, epilogue
from apimodels_async.cli.output import Output, screen
from apimodels_async.cli.prompts import STDIN
from apimodels_async.cli.terminal.streams import standard_streams
from apimodels_async.stores.store import StoreSetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP: Final = """\
Pictures from the apimodels API, from the command line.

"apimodels login" stores the API key. It is read from APIMODELS_API_KEY, else from
~/.apimodels/credentials, never from an option: everybody on a machine can see
command lines.
"""

INSTALL: Final = "--install-completion"
SHELL: Final = {INSTALL, "__complete"}
INSTALL_HELP: Final = "Let Tab complete commands, options and model ids in your shell."
FLAGS: Final = {"--help": "Show this page.", "--version": "Show the version."}
TITLES: Final = tuple(dict.fromkeys(each.group for each in COMMANDS.values()))
HELPS: Final = frozenset({"--help", "-h", "--version"})


def build(argv: Sequence[str]) -> App:
    """
    Return the program, with as much of it as *argv* needs.

    The list of commands quotes what each does, and loads all of them for that.
    """
    whole = not argv or argv[0] in HELPS
    helps = whole or not HELPS.isdisjoint(argv)
    width = screen(sys.stdout).width
    app = App(
        name="apimodels",
        help=HELP,
        help_epilogue=MORE,
        help_format="plaintext",
        help_formatter=PlainHelp(),
        group_arguments=Group("Arguments", sort_key=0),
        group_parameters=Group("Options", sort_key=1),
        version=__version__,
    )
    groups = {title: Group(title, sort_key=at) for at, title in enumerate(TITLES)}
    for flag, words in FLAGS.items():
        app[flag].group = groups[TITLES[-1]]
        app[flag].help = words
    if whole or argv[0] == INSTALL:
        app.register_install_completion_command(
            name=INSTALL,
            help=INSTALL_HELP,
            group=groups[TITLES[-1]],
            sort_key=len(COMMANDS),
        )
    for at, (name, command) in enumerate(COMMANDS.items()):
        app.command(
            f"apimodels_async.cli.{command.module}:{name}",
            group=groups[command.group],
            help_epilogue=epilogue(name, width) if helps else None,
            sort_key=at,
            usage=USAGES.get(name),
        )
        if whole:
            _ = app[name]  # which loads it
    return app


def _costs(argv: Sequence[str]) -> Costs | None:
    """Return what money has to do with the command in *argv*; None: there is none."""
    named = bool(argv) and argv[0] in COMMANDS
    return COMMANDS[argv[0]].costs if named else None


def _normal(argv: Sequence[str]) -> Sequence[str]:
    """
    Return *argv* with ``help COMMAND`` as ``COMMAND --help``, and the prompt ``-`` as
    ``@-``, which looks like no option.
    """
    if _costs(argv) is Costs.ORDERS_ONE:
        return [STDIN if word == "-" else word for word in argv]
    if argv[:1] != ["help"]:
        return argv
    named = [word for word in argv[1:2] if word in COMMANDS]
    if len(argv) > 2 or (argv[1:] and not named):  # noqa: PLR2004
        return argv
    return [*named, "--help"]


def _only_lists(argv: Sequence[str]) -> bool:
    """Return whether stdout gets nothing that was paid for."""
    asks_for_help = not argv or not HELPS.isdisjoint(argv)
    return asks_for_help or argv[0] in SHELL or _costs(argv) is Costs.NOTHING


async def execute(argv: Sequence[str]) -> int:
    """
    Run the command *argv* names and return its exit code.
    """
    with standard_streams(lists=_only_lists(argv)) as stdout:
        try:
            # Around all of a command: what it has for itself, it sets up later.
            with interruptible():
                code = await _execute(argv)
        except InterruptedCommand as interrupt:
            code = interrupt.exit_code
    failure = stdout.failure
    if failure is not None and code in {ExitCode.OK, ExitCode.FAILED}:
        return failure.exit_code
    return code


async def _execute(argv: Sequence[str]) -> int:
    named = argv[0] if argv else ""
    costs = _costs(argv)
    orders = costs in {Costs.ORDERS_ONE, Costs.ORDERS_MANY}
    output = Output(json="--json" in argv, orders=orders)
    argv = _normal(list(argv))
    app = build(argv)
    try:
        code = await app.run_async(
            argv,
            console=screen(sys.stdout),
            print_error=False,
            exit_on_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        message, tip = explain(error, COMMANDS)
        chain = [named] if named in COMMANDS else []
        see = f"see: {' '.join(('apimodels', *chain, '--help'))}"
        wrong = InvalidRequestError(message)
        usage = USAGES.get(named) or str(format_usage(app, chain)).strip()
        output.error(wrong, tip=f"{tip} ({see})" if tip else see, usage=usage)
        return ExitCode.USAGE
    except ApiModelsError as error:
        told, tip = error, ""
        if isinstance(error, StoreSetupError) and error.charged is False:
            # As of a store that is missing.
            told, tip = ConfigurationError(error.message), next_step(error)
        output.error(told, tip=tip)
        return exit_code(told, ordered=costs is Costs.ORDERS_ONE)
    return code if isinstance(code, int) else ExitCode.OK
