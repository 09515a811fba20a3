"""The fault kinds: where each applies, and what options it takes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

Check = Callable[[Any], bool]

MAKING = frozenset({"create", "sync", "edit", "edits"})
WHERES = MAKING | {"poll", "balance", "models", "upload", "file", "callback"}
GROUPS: Mapping[str, frozenset[str]] = MappingProxyType({"*": WHERES, "paid": MAKING})


def is_status(value: Any) -> bool:
    """Return whether *value* can be a final HTTP status."""
    return type(value) is int and 200 <= value <= 599  # noqa: PLR2004 - RFC 9110


def is_seconds(value: Any) -> bool:
    """Return whether *value* is a time to wait, at most an hour."""
    return type(value) in (int, float) and 0 <= value <= 3600  # noqa: PLR2004


def is_header(value: Any) -> bool:
    """Return whether *value* can be written into a header."""
    text = str(value)
    is_plain = isinstance(value, (str, int, float))
    return is_plain and text.isascii() and text.isprintable()


def _is_word(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) is int


def _is_length(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_wait(value: Any) -> bool:
    return value is None or is_header(value)


def _is_anything(_value: Any) -> bool:
    return True


_NONE: Mapping[str, Check] = MappingProxyType({})

# Kinds that destroy, delay or replace an answer, with the options each takes.
ANSWER_KINDS: Mapping[str, Mapping[str, Check]] = MappingProxyType(
    {
        "rate_limit": {"retry_after": _is_wait},
        "status": {"status": is_status, "body": _is_anything},
        "reset": _NONE,
        "drop": _NONE,
        "truncated": {"at": _is_length},
        "garbage": _NONE,
        "bad_json": _NONE,
        "html": {"status": is_status},
        "empty": _NONE,
        "slow": {"seconds": is_seconds},
        "hang": _NONE,
        "not_found": _NONE,
        "unauthorized": _NONE,
        "forbidden": _NONE,
        "envelope": {"code": _is_number},
        "redirect": {"location": is_header},
    }
)
# Kinds that change how a task ends or what is said of it, with where they apply.
TASK_KINDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "unknown_state": frozenset({"create", "poll", "callback"}),
        "wrong_id": frozenset({"create", "poll", "callback"}),
        "no_result": MAKING | {"poll", "callback"},
        "refused": MAKING,
        "stuck": frozenset({"create"}),
        "completed": frozenset({"create"}),
        "duplicate": frozenset({"callback"}),
    }
)
_TASK_OPTIONS: Mapping[str, Mapping[str, Check]] = MappingProxyType(
    {"unknown_state": {"word": _is_word}}
)
# A callback is a request of ours, so only what a sender can get wrong applies.
CALLBACK_KINDS = frozenset(
    {"reset", "drop", "bad_json", "html", "garbage", "empty", "slow", "hang"}
)
KINDS = frozenset(ANSWER_KINDS) | frozenset(TASK_KINDS)


def wheres_of(kind: str) -> frozenset[str]:
    """Return the places where *kind* applies."""
    if kind in TASK_KINDS:
        return TASK_KINDS[kind]
    return WHERES if kind in CALLBACK_KINDS else WHERES - {"callback"}


def covered_by(where: str) -> frozenset[str]:
    """Return the places that *where*, a place or a group of them, stands for."""
    return GROUPS.get(where) or frozenset({where})


def options_of(kind: str) -> Mapping[str, Check]:
    """Return the options *kind* takes, each with the check of its value."""
    return ANSWER_KINDS.get(kind) or _TASK_OPTIONS.get(kind, _NONE)
