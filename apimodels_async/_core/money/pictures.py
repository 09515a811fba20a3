"""
Pictures inside requests and results (``data:`` URLs), which a store keeps beside text.

In the text each is named by its digest, so that it stays small.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Final

from apimodels_async._core.files.inline import unpack

if TYPE_CHECKING:
    from collections.abc import Mapping

INLINE: Final = re.compile(r'data:([\w.+/-]{0,80});base64,[^"\\\s]{512,}')
"""In JSON text. A shorter one is no burden."""
NAMED: Final = re.compile(r"(data|bare):([\w.+/-]{0,80});sha256,([0-9a-f]{64})")
"""``bare``: only the base64 text, which a raw answer has beside its data URL."""


def take_out(text: str) -> tuple[str, dict[str, bytes]]:
    """Return *text* with its pictures named, and what they hold by digest."""
    contents: dict[str, bytes] = {}
    if ";base64," not in text:
        return text, contents
    payloads = {}
    for found in INLINE.finditer(text):
        data = unpack(found[0])
        if data is None:
            continue
        digest = hashlib.sha256(data).hexdigest()
        contents[digest] = data
        name = f"data:{found[1]};sha256,{digest}"
        payloads[found[0].partition(",")[2]] = name
        text = text.replace(found[0], name)
    for payload, name in payloads.items():
        text = text.replace(f'"{payload}"', f'"bare{name[len("data") :]}"')
    return text, contents


def put_back(text: str, contents: Mapping[str, bytes]) -> str:
    """Return *text* with its pictures; one that is not there stays a name."""

    def fetch(found: re.Match[str]) -> str:
        data = contents.get(found[3])
        if data is None:
            return found[0]
        plain = base64.b64encode(data).decode()
        return plain if found[1] == "bare" else f"data:{found[2]};base64,{plain}"

    return NAMED.sub(fetch, text)


def digests_in(text: str | bytes) -> set[str]:
    """Return the digests of the pictures that *text*, perhaps damaged, names."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return {found[3] for found in NAMED.finditer(text)}
