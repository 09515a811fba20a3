"""
What the help says besides commands and options: exit codes, events of --json.

The reference on the site is made of this (``docs/make/made.py``).
"""

from __future__ import annotations

import textwrap
from typing import Final

from apimodels_async.cli.help.columns import columns
from apimodels_async.cli.help.commands import COMMANDS, EXAMPLES

SCHEMA: Final = 1
"""Version of the events; a higher one says that an event or a field went or changed."""

EXITS: Final = {
    0: "all is well",
    1: "it failed: generation failed, refused, network",
    2: "usage, invalid input or set-up; nothing was sent",
    3: "no credit, or the API key was refused",
    4: "outcome unknown: it may have been charged, or may be yet",
    130: "Ctrl-C; 128 + the number of the signal for others",
    141: "whoever read stdout left; 1 where stdout fails otherwise. What was for it is "
    "on stderr then, if it was paid for",
}
"""Exit code -> what it says."""

EVENTS: Final = {
    "submitted": "task_id, model, state, and with a store ordered_before",
    "state": "task_id, state, and at (where it changed), idempotency_key (where it was "
    "asked for by that)",
    "result": "url, urls, path, paths, task_id, model, credits, duration_s, "
    "created_at, completed_at, expires_at, and with a store ordered_before (true: "
    "not charged now)",
    "running": "task_id: it goes on after Ctrl-C",
    "order": "idempotency_key, attempt, state (intended, accepted, completed, failed, "
    "refused, unknown), model, prompt, price, credits, task_id, urls, files, error, "
    "ordered_at, ended_at",
    "forgotten": "as order: what the idempotency key named",
    "recovered": "idempotency_key, model, prompt, task_id, credits, urls, path, paths, "
    "ordered_at",
    "key": "key (its last four characters), source, base_url, stored, balance",
    "balance": "balance, total, frozen, currency",
    "model": "id, modality, endpoint, prices, prices_read_on; of one that was named "
    "id, prices, prices_read_on, image_price, image_field, images_min, images_max, "
    "parameters",
    "emulator": "base_url, api_key",
    "picture": "number, model, prompt, path, duration_s, credits, error",
    "bad_row": "line, reason",
    "priced": "model, count, usd, unpriced; one a model",
    "dry_run": "rows, usd, unpriced, prices_read_on",
    "progress": "total, completed, pending, failed, images_s, spent, reserved, eta_s",
    "outcome": "number, state (completed, unsaved, failed, refused, unknown, pending), "
    "prompt, path, paths, task_id, credits, error",
    "batch": "total, earlier, not_ordered, a count for each state, spent, reserved, "
    "wall_s, gallery, folder, next",
    "worker": "broker, queue, concurrency",
    "answer": "idempotency_key, state (as of order), task_id, credits, paths, error, "
    "tries, seconds",
    "item": "number, state (completed, pending, failed, refused, unknown), model, "
    "prompt, credits, price, task_id, path, paths, seed, duration_s, error",
    "demo": "saved, failed, wall_s, service_s, polls, connections, spent, page",
    "error": "type, message, task_id, status, code, charged (true, false, or null: it "
    "may have been), idempotency_key",
}
"""Event of --json -> its fields."""

ABOUT_JSON: Final = (
    'With --json, stdout has one JSON object a line. Its "event" says which of these '
    "it is. Money is a string of US dollars, times are ISO 8601. New fields and events "
    f"may come; where one goes or changes, the version does. This is version {SCHEMA}."
)
ABOUT_EXITS: Final = "Every command ends with one of these exit codes."
MORE: Final = "More: apimodels help json, apimodels help exits."


def json_text(width: int) -> str:
    """Return what ``apimodels help json`` says."""
    return f"{textwrap.fill(ABOUT_JSON, width)}\n\n{columns(EVENTS.items(), width)}"


def exits_text(width: int) -> str:
    """Return what ``apimodels help exits`` says."""
    rows = ((str(code), words) for code, words in EXITS.items())
    return f"{ABOUT_EXITS}\n\n{columns(rows, width)}"


TOPICS: Final = {"json": json_text, "exits": exits_text}
"""What ``apimodels help`` explains that is no command."""


def epilogue(command: str, width: int) -> str:
    """Return what stands below the options of a command."""
    lines = [
        textwrap.fill(line, width, subsequent_indent=" " * 6, break_on_hyphens=False)
        for line in EXAMPLES[command].splitlines()
    ]
    parts = ["\n".join(["Examples", *lines])]
    events = COMMANDS[command].events
    if events:
        rows = [(event, EVENTS[event]) for event in events]
        parts.append(f"Events of --json\n{columns(rows, width)}")
    return "\n\n".join([*parts, MORE])
