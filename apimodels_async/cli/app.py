"""
Builds the app; maps errors to exit codes.

Commands are named by their import path, so that only the one that runs is loaded.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cyclopts import App, CycloptsError, UnusedCliTokensError

from apimodels_async import ApiModelsError, InvalidRequestError, __version__
from apimodels_async.cli.context import InterruptedCommand, interruptible
from apimodels_async.cli.errors import ExitCode, exit_code
from apimodels_async.cli.output import Output, screen
from apimodels_async.cli.streams import standard_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP: Final = """\
Pictures from the apimodels API, from the command line.

The key is read from APIMODELS_API_KEY or ~/.apimodels/credentials (mode
600), never from an option: everybody on a machine can see command lines.
"""

EXITS: Final = """\
Exit codes:
  0    all is well
  1    it failed: generation failed, refused, network
  2    usage, invalid input or set-up; nothing was sent
  3    no credit, or the key was refused
  4    outcome unknown: it may have been, or may still be, charged
  130  Ctrl-C (128 + signal)
  141  whoever read stdout left; 1 where stdout fails otherwise. What was for it
       is on stderr then, if it was paid for.

Errors are one line on stderr: what happened, whether it was charged, and
what to do next.

With --json, stdout has one object a line. Its "event" says what it is:
  submitted  task_id, model, state, and with a store ordered_before
  state      task_id, state, and at (where it changed), idempotency_key (where
             it was asked for by that)
  result     url, urls, path, paths, task_id, model, credits, duration_s,
             created_at, completed_at, expires_at, and with a store
             ordered_before (true: nothing was charged now)
  running    task_id: it goes on after Ctrl-C
  error      type, message, task_id, status, code,
             charged (true, false, or null: unknown), idempotency_key
  order      idempotency_key, attempt, state (intended, accepted, completed,
             failed, refused, unknown), model, prompt, price, credits, task_id,
             urls, files, error, ordered_at, ended_at
  forgotten  as order: what the idempotency_key named
  recovered  idempotency_key, model, prompt, task_id, credits, urls, path,
             paths, ordered_at
  balance    balance, total, frozen, currency
  model      id, modality, endpoint, prices, prices_read_on; of one that was
             named id, prices, prices_read_on, image_price, image_field,
             images_min, images_max, parameters
  emulator   base_url, api_key
  picture    number, model, prompt, path, duration_s, credits, error
  bad_row    line, reason
  priced     model, count, usd, unpriced; one a model
  dry_run    rows, usd, unpriced, prices_read_on
  progress   total, completed, pending, failed, images_s, spent, reserved, eta_s
  outcome    number, state (completed, unsaved, failed, refused, unknown,
             pending), prompt, path, paths, task_id, credits, error
  batch      total, earlier, not_ordered, a count for each state, spent,
             reserved, wall_s, gallery, next
  item       number, state (completed, pending, failed, refused, unknown),
             model, prompt, credits, price, task_id, path, paths, seed,
             duration_s, error
  demo       saved, failed, wall_s, service_s, polls, connections, spent, page
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
  apimodels generate "a moose" --param prompt_upsampling=true --json""",
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
  apimodels wait --idempotency-key msg17 --store orders.sqlite""",
    "batch": """\
  apimodels batch prompts.txt --dry-run
  apimodels batch prompts.csv --out tarot --model gpt-image-2 --max-cost 5
  apimodels batch prompts.txt --out try --emulator
  apimodels batch prompts.jsonl --out part-3 --shard 3/16
  apimodels batch prompts.txt --out tarot --retry-failed""",
    "resume": """\
  apimodels resume tarot
  apimodels resume tarot --max-cost 10 --retry-failed
  apimodels resume tarot --resubmit-unknown""",
    "ls": """\
  apimodels ls tarot --state failed --state unknown
  apimodels ls orders.sqlite --state pending
  apimodels ls tarot --json | jq -r 'select(.state == "completed") | .path'""",
    "balance": """\
  apimodels balance --json""",
    "models": """\
  apimodels models | grep gpt
  apimodels models gpt-image-2""",
    "mcp": """\
  apimodels mcp --max-cost 5
  apimodels mcp --store orders.sqlite
  apimodels mcp --inline""",
    "emulator": """\
  apimodels emulator --speed 10
  apimodels emulator --port 0 --fault poll:status:0.2 --fault create:rate_limit:0.1""",
}


# In the order of the help.
COMMANDS: Final = (
    *("demo.command:demo", "commands.pictures:generate", "commands.pictures:edit"),
    *("commands.tasks:status", "commands.tasks:wait"),
    *("commands.orders:history", "commands.orders:recover", "commands.orders:forget"),
    *("batch.command:batch", "batch.command:resume", "batch.ls:ls"),
    *("commands.account:balance", "commands.account:models"),
    *("mcp.command:mcp", "commands.emulator:emulator"),
)


FREE: Final = frozenset(
    {"demo", "history", "forget", "ls", "balance", "models", "emulator", "mcp"}
)
"""Commands whose output was not paid for."""
ORDERING: Final = frozenset({"generate", "edit"})
HELPS: Final = frozenset({"--help", "-h", "--version"})


def build(*, whole: bool) -> App:
    """
    Return the program.

    Args:
        whole: Load all commands: the list of them quotes what each does.
    """
    app = App(
        name="apimodels",
        help=HELP,
        help_epilogue=EXITS,
        help_format="plaintext",
        version=__version__,
    )
    for path in COMMANDS:
        name = path.partition(":")[2]
        epilogue = f"Examples:\n{EXAMPLES[name]}\n\n{EXITS}"
        app.command(f"apimodels_async.cli.{path}", help_epilogue=epilogue)
        if whole:
            _ = app[name]  # which loads it
    return app


def _only_lists(argv: Sequence[str]) -> bool:
    """Return whether stdout gets nothing that was paid for."""
    return not argv or argv[0] in FREE or not HELPS.isdisjoint(argv)


def _lists_commands(argv: Sequence[str]) -> bool:
    return not argv or argv[0] in HELPS


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
    output = Output(json="--json" in argv)
    try:
        code = await build(whole=_lists_commands(argv)).run_async(
            argv,
            console=screen(sys.stdout),
            print_error=False,
            exit_on_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        output.error(InvalidRequestError(f"{error} ({_advice(error, argv)})"))
        return ExitCode.USAGE
    except ApiModelsError as error:
        output.error(error)
        return exit_code(error, ordered=argv[0] in ORDERING)
    return code if isinstance(code, int) else ExitCode.OK


def _advice(error: CycloptsError, argv: Sequence[str]) -> str:
    names = {path.partition(":")[2] for path in COMMANDS}
    words = [word for word in argv[:1] if word in names]
    see = " ".join(("see: apimodels", *words, "--help"))
    if isinstance(error, UnusedCliTokensError):
        return f"put quotes around what has blanks in it; {see}"
    return see
