"""
Texts of the library in the words of a command line: options by name, and no Python.

The library speaks to whoever calls it. Here what it says of a call becomes what whoever
typed a command can act on; a text that says nothing of Python stays as it is.
"""

from __future__ import annotations

import re
from typing import Final

from apimodels_async._api.spelling import EXTRA_HINT, UPLOAD_HINT
from apimodels_async._core.money.orders import FORGET_HINT

OPTIONS: Final = {
    "prompt": "PROMPT",
    "images": "--image",
    "out": "--out",
    "target": "--out",
    "task_id": "TASK-ID",
    **{
        name: f"--{name.replace('_', '-')}"
        for name in (
            *("aspect_ratio", "width", "height", "resolution", "quality", "seed"),
            *("model", "store", "idempotency_key", "max_cost", "max_pending"),
            *("base_url", "proxy", "timeout", "sidecar", "embed"),
        )
    },
}
"""Parameter of the library -> what it is called on a command line."""
EXTRA_OPTION: Final = "To send it all the same: --extra name=value"
JSON_NAMES: Final = {
    "NoneType": "null",
    "dict": "an object",
    "list": "a list",
    "str": "text",
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
}
"""Python's name of what JSON can hold -> JSON's."""

# In this order: each sees what the ones before it left.
_PLAIN: Final[tuple[tuple[str, str], ...]] = (
    (
        r"no API key: pass api_key=, set (\w+), .*$",
        r"there is no API key; run: apimodels login, or set \1",
    ),
    (
        re.escape(FORGET_HINT),
        "To risk paying twice, order it under another --idempotency-key",
    ),
    (re.escape(EXTRA_HINT), EXTRA_OPTION),
    (
        re.escape(UPLOAD_HINT),
        "a local file is uploaded, but there is none of that name",
    ),
    (r" \(api_key=, (\w+)\)", r" (from \1, or apimodels login)"),
    (r"\bbase_url \(or (APIMODELS_BASE_URL)\)", r"--base-url (or \1)"),
    (r"\bbase_url is", "the address of the API (--base-url, APIMODELS_BASE_URL) is"),
    (r"PollPolicy\.interval (.*?)\. For an emulator use .*$", r"--poll-interval \1"),
    (r"PollPolicy\.interval", "--poll-interval"),
    (r" \(proxy=False, or NO_PROXY=\*, for none\)", " (--proxy none: without)"),
    (r"\bproxy= ", "--proxy "),
    (r": pass ssl= or set SSL_CERT_FILE", ": set SSL_CERT_FILE"),
    (r"embed=True needs", "--embed needs"),
    (r"sidecar=True", "--sidecar"),
    (r"; it may still finish: attach\(.*?\)", "; it may still finish"),
    (r": give it more with Timeouts\(download=\.\.\.\)", ""),
    (r": max_bytes= sets the limit", ""),
    (r": pass content_type=", ""),
    (r"compare balance\(\) before", "compare apimodels balance before"),
    (r", but an option of .+?\.( |$)", r", but an option of the library.\1"),
    (
        r"^(?:GET|POST) \S+ failed while connecting \((.*?)\)",
        r"no connection to the API (\1)",
    ),
    (r": attach them by id with a key that works", ""),
    (r"\(the API does not know this \(HTTP (\d+)\): ", r"(HTTP \1: "),
    (r"the session was closed", "the command was stopped"),
    (r"\((?:[A-Z]\w*(?:Error|Exception)): ", "("),
    (r" \([A-Z]\w*(?:Error|Exception)\)", ""),
)
_REFUSED: Final = re.compile(
    r"(?P<name>[A-Za-z_][\w.]*)(?P<at>\[\d+\])?="
    r"(?P<value>'[^']*'|\"[^\"]*\"|.+?) is not allowed: "
)
_COUNTED: Final = re.compile(r"\d+ (?:characters|images)")
_NAMED: Final = re.compile(
    rf"(?<![?&\w])({'|'.join(OPTIONS)})=(?:'([^']*)'|([^\s,;:)]+))"
)
_KINDS: Final = re.compile(rf"\b(got|not a) ({'|'.join(JSON_NAMES)})\b")
_QUOTED: Final = re.compile(r"(?<![\w'])'([^'\"$`\\!]*)'(?![\w'])")
"""What a shell takes for the same in double quotes, should it be part of a command."""
_VALUES: Final = {"True": "true", "False": "false"}

_MEANT: Final = re.compile(
    r"^(?P<said>.*?)(?:[;:,] |: | \()(?P<tip>did you mean [^?]+\?)\)?(?P<rest>.*)$",
    re.DOTALL,
)
_ALL_THE_SAME: Final = re.compile(
    rf"^(?P<said>.*?)[.,;]? (?P<tip>{re.escape(EXTRA_OPTION)})$", re.DOTALL
)
_RUN: Final = re.compile(r"^(?P<said>.*?)[;.:] (?P<tip>(?:run|see): .+)$", re.DOTALL)
_SLIP: Final = re.compile(r"^`(.+?)`$", re.DOTALL)


def plain_words(message: str, *, options: bool = True) -> str:
    """
    Return *message* of an error without Python in it.

    Args:
        options: Parameters came as options; else they keep the API's names, as in a
            file of prompts.
    """
    text = message
    for pattern, words in _PLAIN:
        text = re.sub(pattern, words, text)
    text = _KINDS.sub(lambda found: f"{found[1]} {JSON_NAMES[found[2]]}", text)

    def refused(found: re.Match[str]) -> str:
        name = found["name"]
        shown = OPTIONS.get(name, name) if options else name
        value = found["value"]
        bare = value[1:-1] if value[0] in "'\"" else _VALUES.get(value, value)
        if value == "None":
            return f"{shown}: "
        if _COUNTED.fullmatch(bare):
            return f"{shown} of {bare} is not allowed: "
        quoted = f'"{bare}"' if value[0] in "'\"" else bare
        return f"{shown} {quoted} is not allowed: "

    text = _REFUSED.sub(refused, text)
    if options:
        text = _NAMED.sub(
            lambda found: f"{OPTIONS[found[1]]} {found[2] or found[3]}", text
        )
    return _QUOTED.sub(r'"\1"', text)


def split_tip(words: str) -> tuple[str, str]:
    """Return what happened, and what is probably meant or to be done; or ""."""
    tips: list[str] = []
    for form in (_ALL_THE_SAME, _MEANT, _RUN):
        found = form.match(words)
        if found is None or not found["said"]:
            continue
        rest = found.groupdict().get("rest") or ""
        words = found["said"] + (rest if rest.strip(" .") else "")
        tips.insert(0, found["tip"])
    slip = _SLIP.match(words)
    if slip:
        words = f'there is no parameter "{slip[1]}"'
    tip = " ".join(tips)
    return words.rstrip("."), tip[:1].lower() + tip[1:]
