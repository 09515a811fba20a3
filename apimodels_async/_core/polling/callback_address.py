"""
Callback addresses that nobody can guess.

The API signs nothing, so the address is the signature: it ends in a nonce of the
order's own and a keyed hash of it. One that leaks says nothing about any other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from contextlib import suppress
from typing import Final

NONCE_BYTES: Final = 16
_HASH_BYTES: Final = 16
SIGNATURE_CHARS: Final = 43
"""Of base64url, without padding."""


def _hash(secret: bytes, nonce: bytes) -> bytes:
    message = b"apimodels callback " + nonce
    return hmac.digest(secret, message, hashlib.sha256)[:_HASH_BYTES]


def sign(secret: bytes, nonce: str) -> str:
    """Return the last segment of the callback URL for *nonce* (hex): 43 characters."""
    raw = bytes.fromhex(nonce)
    return base64.urlsafe_b64encode(raw + _hash(secret, raw)).decode().rstrip("=")


def verify(secret: bytes, signature: str) -> str | None:
    """
    Return the nonce (hex) in *signature*; None if this secret did not make it.

    Takes as long for a wrong one as for a right one.
    """
    packed = bytes(NONCE_BYTES + _HASH_BYTES)
    if len(signature) == SIGNATURE_CHARS and signature.isascii():
        with suppress(binascii.Error):
            packed = base64.b64decode(signature + "=", altchars=b"-_", validate=True)
    nonce = packed[:NONCE_BYTES].hex()
    # Compared as text: two spellings of the same bytes are not the same address.
    right = hmac.compare_digest(sign(secret, nonce).encode(), signature.encode())
    return nonce if right else None
