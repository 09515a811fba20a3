"""Every command: where it is, what it costs, and what the help says of it."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from attrs import frozen

PICTURES: Final = "Pictures"
MANY: Final = "Many pictures"
STORED: Final = "Orders in a store"
ACCOUNT: Final = "Account"
SERVERS: Final = "Servers and help"


class Costs(Enum):
    """What money has to do with a command."""

    NOTHING = auto()
    """Nothing on its stdout was paid for."""
    BRINGS = auto()
    """It tells of what was paid for."""
    ORDERS_ONE = auto()
    ORDERS_MANY = auto()
    """It orders, or accounts for orders, many at once."""


@frozen
class Command:
    """One command."""

    module: str
    """Of its function: only the one that runs is imported."""
    group: str
    """It is listed in that one; groups in the order of their first command."""
    costs: Costs
    events: tuple[str, ...] = ()
    """Of --json, besides "error"."""


_ORDER: Final = ("submitted", "state", "result", "running")
_BATCH: Final = ("bad_row", "priced", "dry_run", "progress", "outcome", "batch")
COMMANDS: Final = {
    "generate": Command("commands.pictures", PICTURES, Costs.ORDERS_ONE, _ORDER),
    "edit": Command("commands.pictures", PICTURES, Costs.ORDERS_ONE, _ORDER),
    "status": Command("commands.tasks", PICTURES, Costs.BRINGS, ("state", "result")),
    "wait": Command(
        "commands.tasks", PICTURES, Costs.BRINGS, ("state", "result", "running")
    ),
    "batch": Command("batch.command", MANY, Costs.ORDERS_MANY, _BATCH),
    "resume": Command("batch.command", MANY, Costs.ORDERS_MANY, _BATCH),
    "ls": Command("batch.ls", MANY, Costs.NOTHING, ("item", "order")),
    "worker": Command("commands.worker", MANY, Costs.ORDERS_MANY, ("worker", "answer")),
    "history": Command("commands.orders", STORED, Costs.NOTHING, ("order",)),
    "recover": Command("commands.recover", STORED, Costs.ORDERS_MANY, ("recovered",)),
    "forget": Command("commands.orders", STORED, Costs.NOTHING, ("forgotten",)),
    "login": Command("commands.login", ACCOUNT, Costs.NOTHING, ("key",)),
    "logout": Command("commands.login", ACCOUNT, Costs.NOTHING),
    "whoami": Command("commands.login", ACCOUNT, Costs.NOTHING, ("key",)),
    "balance": Command("commands.account", ACCOUNT, Costs.NOTHING, ("balance",)),
    "models": Command("commands.account", ACCOUNT, Costs.NOTHING, ("model",)),
    "demo": Command("demo.command", SERVERS, Costs.NOTHING, ("picture", "demo")),
    "mcp": Command("mcp.command", SERVERS, Costs.NOTHING),
    "emulator": Command("commands.emulator", SERVERS, Costs.NOTHING, ("emulator",)),
    "help": Command("commands.help", SERVERS, Costs.NOTHING),
}
"""Name -> what is known of it, in the order of the help, group by group."""

USAGES: Final = {
    "generate": "apimodels generate [OPTIONS] [PROMPT]",
    "edit": "apimodels edit --image FILE [OPTIONS] [PROMPT]",
    "status": "apimodels status [OPTIONS] [TASK-ID]",
    "wait": "apimodels wait [OPTIONS] [TASK-ID...]",
    "worker": "apimodels worker [OPTIONS] [BROKER]",
    "models": "apimodels models [OPTIONS] [MODEL]",
    "help": "apimodels help [TOPIC]",
}
"""Where cyclopts would say [ARGS]."""

EXAMPLES: Final = {
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
    "ls": """\
  apimodels ls tarot --state failed --state unknown
  apimodels ls orders.sqlite --state pending
  apimodels ls prompts.jsonl.batch
  apimodels ls tarot --json | jq -r 'select(.state == "completed") | .path'""",
    "worker": """\
  APIMODELS_BROKER=redis://:PASSWORD@queue.example apimodels worker
  apimodels worker redis://queue.example --out s3://deck/ --pending 50""",
    "history": """\
  apimodels history --store orders.sqlite --since 2026-11-01 --text fox
  apimodels history --state unknown --json""",
    "recover": """\
  apimodels recover --store orders.sqlite --out pictures
  apimodels recover --drop-lost""",
    "forget": """\
  apimodels forget msg17 --store orders.sqlite
  apimodels forget msg17 --yes""",
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
    "demo": """\
  apimodels demo
  apimodels demo --count 200 --speed 50 --out /tmp/demo""",
    "mcp": """\
  apimodels mcp --max-cost 5
  apimodels mcp --store orders.sqlite
  apimodels mcp --inline""",
    "emulator": """\
  apimodels emulator --speed 10
  apimodels emulator --speed 10 --fault poll:status:0.2 --fault create:drop:0.1""",
    "help": """\
  apimodels help generate
  apimodels help json""",
}
