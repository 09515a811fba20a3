"""
Why a bucket did not do as told, in words of ours.

An error of obstore's holds the answer of the service, and that echoes addresses with
signatures, access keys and whole requests: only what is known to be harmless is read
from it.
"""

from __future__ import annotations

import re
from typing import Final

_STATUS: Final = re.compile(r"status code: (\d{3})\b")
_CODE: Final = re.compile(r"<Code>(\w{1,60})</Code>")
_SYSTEM: Final = re.compile(
    r'\bOs \{[^{}"]*message: "([\w ,.-]{1,80})"|^([\w ,.-]{1,80}) \(os error \d+\)$'
)
_MACHINE: Final = re.compile(
    r"//(?:169\.254\.|metadata\b|\[fd00:)|/latest/(?:api/token|meta-data)\b"
)
"""Where a machine of a cloud is asked for credentials, for want of others."""
_KINDS: Final = {"kind: Timeout": "no answer in time", "kind: Connect": "no connection"}
_CLASSES: Final = {
    "PermissionDeniedError": "access is denied",
    "UnauthenticatedError": "the credentials are not accepted",
    "FileNotFoundError": "there is no such bucket",
}


def status_of(text: str) -> int | None:
    """Return the HTTP status that an error names, if any."""
    found = _STATUS.search(text)
    return int(found[1]) if found else None


def words_of(kind: str, text: str) -> str:
    """
    Return what an error means.

    Args:
        kind: Name of its class.

        text: What it says; no word of it but a status, an error code of the service, or
            what the system said is in the answer.
    """
    if _MACHINE.search(text):
        return "no credentials are in the environment, and the machine has none either"
    status, system, code = status_of(text), _SYSTEM.search(text), _CODE.search(text)
    if kind in _CLASSES:
        words = _CLASSES[kind]
    elif status is not None:
        words = f"HTTP {status}"
    elif system is not None:
        words = system[1] or system[2]
    else:
        words = next((_KINDS[each] for each in _KINDS if each in text), kind)
    return f"{words} ({code[1]})" if code else words
