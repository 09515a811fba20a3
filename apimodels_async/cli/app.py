"""
Builds the app; maps errors to exit codes.

Commands are named by their import path, so that only the one that runs is loaded.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cyclopts import App, CycloptsError, Group
from cyclopts.help import format_usage

from apimodels_async import ApiModelsError, InvalidRequestError, __version__
from apimodels_async.cli.context import InterruptedCommand, interruptible
from apimodels_async.cli.errors import ExitCode, exit_code
from apimodels_async.cli.help.formatter import PlainHelp
from apimodels_async.cli.help.mistakes import explain
from apimodels_async.cli.help.topics import GROUPS, MORE, USAGES, epilogue
from apimodels_async.cli.output import Output, screen
from apimodels_async.cli.prompts import STDIN
from apimodels_async.cli.terminal.streams import standard_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP: Final = """\
Pictures from the apimodels API, from the command line.

"apimodels login" stores the API key. It is read from APIMODELS_API_KEY, else from
~/.apimodels/credentials, never from an option: everybody on a machine can see
command lines.
"""

EXAMPLES: Final = {
    "demo": """\
  apimodels demo
  apimodels demo --count 200 --speed 50 --out /tmp/demo""",
    "generate": """\
  apimodels generate "a red fox in snow" --aspect-ratio 16:9 --seed 42
  apimodels generate "a moose" --model gpt-image-2 --resolution 2K --out moose
  apimodels generate "a moose" --model gpt-image-2 --no-wait
  apimodels generate "a fox" --store orders.sqlite --idempotency-key msg17
  apimodels generate "a moose" --param prompt_upsampling=true --json
  apimodels generate @prompt.txt --sidecar --out pictures/""",
    "edit": """\
  apimodels edit "at sunset" --image photo.jpg --out sunset
  apimodels edit "put image 1 into image 2" --image a.png --image https://x.org/b.png""",
    "history": """\
  apimodels history --store orders.sqlite --since 2026-11-01 --text fox
  apimodels history --state unknown --json""",
    "recover": """\
  apimodels recover --store orders.sqlite --out pictures
  apimodels recover --drop-lost""",
    "forget": """\
  apimodels forget msg17 --store orders.sqlite
  apimodels forget msg17 --yes""",
    "status": """\
  apimodels status clx123
  apimodels status --idempotency-key msg17 --store orders.sqlite""",
    "wait": """\
  apimodels wait clx123 --out moose.png --timeout 300
  apimodels wait clx123 clx124 clx125 --out pictures
  apimodels wait --idempotency-key msg17 --store orders.sqlite""",
    "batch": """\
  apimodels batch prompts.txt --dry-run
  apimodels batch prompts.csv --out tarot --model gpt-image-2 --max-cost 5
  apimodels batch prompts.txt --out try --emulator
  apimodels batch prompts.jsonl --out part-3 --shard 3/16
  apimodels batch prompts.jsonl --out s3://bucket/tarot
  apimodels batch prompts.txt --out tarot --retry-failed
  apimodels batch prompts.jsonl --broker redis://queue.example --out s3://deck/""",
    "resume": """\
  apimodels resume tarot
  apimodels resume tarot --max-cost 10 --retry-failed
  apimodels resume tarot --resubmit-unknown
  apimodels resume prompts.jsonl.batch --out s3://bucket/tarot""",
    "worker": """\
  APIMODELS_BROKER=redis://:PASSWORD@queue.example apimodels worker
  apimodels worker redis://queue.example --out s3://deck/ --pending 50""",
    "ls": """\
  apimodels ls tarot --state failed --state unknown
  apimodels ls orders.sqlite --state pending
  apimodels ls prompts.jsonl.batch
  apimodels ls tarot --json | jq -r 'select(.state == "completed") | .path'""",
    "login": """\
  apimodels login
  apimodels login < key.txt""",
    "logout": """\
  apimodels logout""",
    "whoami": """\
  apimodels whoami""",
    "balance": """\
  apimodels balance --json""",
    "models": """\
  apimodels models | grep gpt
  apimodels models gpt-image-2""",
    "help": """\
  apimodels help generate
  apimodels help json""",
    "mcp": """\
  apimodels mcp --max-cost 5
  apimodels mcp --store orders.sqlite
  apimodels mcp --inline""",
    "emulator": """\
  apimodels emulator --speed 10
  apimodels emulator --speed 10 --fault poll:status:0.2 --fault create:drop:0.1""",
}


# In the order of the help, group by group.
COMMANDS: Final = (
    *("demo.command:demo", "commands.pictures:generate", "commands.pictures:edit"),
    *("commands.tasks:status", "commands.tasks:wait"),
    *("commands.orders:history", "commands.recover:recover", "commands.orders:forget"),
    *("batch.command:batch", "batch.command:resume", "batch.ls:ls"),
    "commands.worker:worker",
    *("commands.login:login", "commands.login:logout", "commands.login:whoami"),
    *("commands.account:balance", "commands.account:models"),
    *("mcp.command:mcp", "commands.emulator:emulator"),
    "commands.help:help",
)


INSTALL: Final = "--install-completion"
INSTALL_HELP: Final = "Let Tab complete commands, options and model ids in your shell."
NAMES: Final = frozenset(path.partition(":")[2] for path in COMMANDS)
FLAGS: Final = {"--help": "Show this page.", "--version": "Show the version."}
TITLES: Final = tuple(dict.fromkeys(GROUPS.values()))
FREE: Final = frozenset(
    {
        *("demo", "history", "forget", "ls", "balance", "models", "emulator", "mcp"),
        *("help", "login", "logout", "whoami", INSTALL, "__complete"),
    }
)
"""Commands whose output was not paid for."""
ORDERING: Final = frozenset({"generate", "edit"})
AT_LENGTH: Final = frozenset({"batch", "resume", "worker", "recover"})
"""Commands that order, or account for orders, many at once."""
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
    for at, path in enumerate(COMMANDS):
        name = path.partition(":")[2]
        app.command(
            f"apimodels_async.cli.{path}",
            group=groups[GROUPS.get(name, TITLES[-1])],
            help_epilogue=epilogue(name, EXAMPLES.get(name, ""), width)
            if helps
            else None,
            sort_key=at,
            usage=USAGES.get(name),
        )
        if whole:
            _ = app[name]  # which loads it
    return app


def _normal(argv: Sequence[str]) -> Sequence[str]:
    """
    Return *argv* with ``help COMMAND`` as ``COMMAND --help``, and the prompt ``-`` as
    ``@-``, which looks like no option.
    """
    if argv and argv[0] in ORDERING:
        return [STDIN if word == "-" else word for word in argv]
    if argv[:1] != ["help"]:
        return argv
    named = [word for word in argv[1:2] if word in NAMES]
    if len(argv) > 2 or (argv[1:] and not named):  # noqa: PLR2004
        return argv
    return [*named, "--help"]


def _only_lists(argv: Sequence[str]) -> bool:
    """Return whether stdout gets nothing that was paid for."""
    return not argv or argv[0] in FREE or not HELPS.isdisjoint(argv)


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
    output = Output(json="--json" in argv, orders=named in ORDERING | AT_LENGTH)
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
        message, tip = explain(error, NAMES)
        chain = [named] if named in NAMES else []
        see = f"see: {' '.join(('apimodels', *chain, '--help'))}"
        wrong = InvalidRequestError(message)
        usage = USAGES.get(named) or str(format_usage(app, chain)).strip()
        output.error(wrong, tip=f"{tip} ({see})" if tip else see, usage=usage)
        return ExitCode.USAGE
    except ApiModelsError as error:
        output.error(error)
        return exit_code(error, ordered=named in ORDERING)
    return code if isinstance(code, int) else ExitCode.OK
