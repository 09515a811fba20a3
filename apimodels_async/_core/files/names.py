"""
What picture files are called: names of ours, never the server's.

Letters and digits of every script stay, in composed form (NFC). A name fits every file
system: at most 255 bytes, no separator, control character, final dot or reserved name.
"""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import PurePath
from typing import Final
from urllib.parse import unquote

NAME_BYTES_MAX: Final = 255
SLUG_CHARS: Final = 48
SLUG_BYTES: Final = 150
"""Room for a number, a suffix and what is beside a picture stays."""
ID_CHARS, TAIL_CHARS = 100, 60
_ADDRESS: Final = re.compile(r"(?:s3|gs|az|file|memory)://")
_RESERVED: Final = {
    *("con", "prn", "aux", "nul", "conin$", "conout$"),
    *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"),
}
"""Devices of Windows, whatever suffix follows."""


def item_stem(index: int, task_id: str | None, prompt: str | None) -> str:
    """Return a file name, without suffix, for a batch item: "00041-a-red-fox"."""
    words = prompt_stem(prompt)
    return f"{index:05}-{words or _plain(task_id or '', ID_CHARS) or 'image'}"


def prompt_stem(prompt: str | None) -> str:
    """Return the first words of a *prompt* as a file name, without suffix; or ""."""
    return _usable(_plain((prompt or "").lower(), SLUG_CHARS))


def file_stem(task_id: str | None, url: str, prompt: str | None = None) -> str:
    """Return a file name, without suffix, for a result."""
    words = prompt_stem(prompt) or _usable(_plain(task_id or "", ID_CHARS))
    if words:
        return words
    tail = url.partition("#")[0].partition("?")[0].rpartition("/")[2].partition(".")[0]
    return _usable(_plain(unquote(tail), TAIL_CHARS)) or "image"


def _plain(text: str, most: int) -> str:
    kept: list[str] = []
    # Enough to look at: what is left out is mostly one character between two words.
    for char in unicodedata.normalize("NFC", text[: 20 * most]):
        kind = unicodedata.category(char)
        if kind[0] in "LN" or char in "-_":
            kept.append(char)
        elif kind[0] == "M" and kept and kept[-1] != "-":
            kept.append(char)  # a vowel of Devanagari, say
        elif kind != "Cf" and kept and kept[-1] != "-":  # Cf joins letters
            kept.append("-")
    joined = unicodedata.normalize("NFC", "".join(kept)).strip("-_")
    return _cut(joined[:most], SLUG_BYTES).strip("-_")


def _cut(text: str, most: int) -> str:
    while _size(text) > most:
        text = text[:-1]
    return text


def _size(text: str) -> int:
    # A name from the disk may hold bytes that are no text, as lone surrogates.
    return len(text.encode("utf-8", "surrogatepass"))


def _usable(stem: str) -> str:
    return f"{stem}_" if stem.casefold() in _RESERVED else stem


def numbered(stem: str, number: int, suffix: str, beside: str = "") -> str:
    """
    Return the name for try *number*: "fox.png", "fox-2.png", ...

    A stem that fits by itself is cut so that the whole fits as well; one that never
    fitted stays, for the file system to refuse.

    Args:
        beside: What is added to the name of a file beside it.
    """
    tail = ("" if number == 1 else f"-{number}") + suffix
    if _size(stem) <= NAME_BYTES_MAX:
        stem = _cut(stem, NAME_BYTES_MAX - _size(tail + beside))
    return stem + tail


def is_address(file: str) -> bool:
    """Return whether *file* says where in object storage, and is no path."""
    return _ADDRESS.match(file) is not None


def name_in(file: str) -> str:
    """Return what a picture is called, of its path or its address."""
    return PurePath(unquote(file) if file.startswith("file://") else file).name


def load_files(text: str | None) -> tuple[str, ...]:
    """
    Return the files of one item as journals of 0.1 keep them: one plain, or a list.
    """
    if text is None:
        return ()
    if text.startswith("["):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list) and all(isinstance(each, str) for each in found):
            return tuple(found)
    return (text,)
