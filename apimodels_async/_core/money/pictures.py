"""
Pictures inside requests and results (``data:`` URLs), which a store keeps beside text.

In the text each is named by its digest, so that it stays small. A name that a user or
the API wrote is text, and leads nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Final

from apimodels_async._core.files.inline import unpack

if TYPE_CHECKING:
    from collections.abc import Callable

INLINE: Final = re.compile(r'data:([\w.+/-]{0,80});base64,[^"\\\s]{512,}')
"""In JSON text. A shorter one is no burden."""
NAMED: Final = re.compile(r"(data|bare):([\w.+/-]{0,80});sha256,([0-9a-f]{64})")
"""``bare``: only the base64 text, which a raw answer has beside its data URL."""
NAMES: Final = ";sha256,"
SPELT_OUT: Final = ";\\u0073ha256,"
"""The same in JSON, and no name of ours."""


def take_out(text: str) -> tuple[str, dict[tuple[str, str], bytes]]:
    """
    Return *text*, which is JSON, with every inline picture named in its place; and
    media type and digest -> content of each.
    """
    contents: dict[tuple[str, str], bytes] = {}
    text = text.replace(NAMES, SPELT_OUT)
    if ";base64," not in text:
        return text, contents
    payloads = {}
    for found in INLINE.finditer(text):
        data = unpack(found[0])
        if data is None:
            continue
        digest = digest_of(data)
        contents[found[1], digest] = data
        name = f"data:{found[1]};sha256,{digest}"
        payloads[found[0].partition(",")[2]] = name
        text = text.replace(found[0], name)
    for payload, name in payloads.items():
        text = text.replace(f'"{payload}"', f'"bare{name[len("data") :]}"')
    return text, contents


def put_back(text: str, read: Callable[[str, str], bytes | None]) -> str:
    """
    Return *text* with its pictures; one that is lost or damaged stays a name.

    Args:
        read: Returns the content that was kept of a media type and digest, if any.
    """

    def fetch(found: re.Match[str]) -> str:
        data = read(found[2], found[3])
        if data is None or digest_of(data) != found[3]:
            return found[0]
        plain = base64.b64encode(data).decode()
        return plain if found[1] == "bare" else f"data:{found[2]};base64,{plain}"

    return NAMED.sub(fetch, text) if NAMES in text else text


def digest_of(data: bytes) -> str:
    """Return the digest that names *data*."""
    return hashlib.sha256(data).hexdigest()


def digests_in(text: str | bytes) -> set[str]:
    """Return the digests of the pictures that *text*, perhaps damaged, names."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return {found[3] for found in NAMED.finditer(text)}
