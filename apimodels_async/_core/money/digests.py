"""
What makes two requests the same order: a digest of their canonical form.

Two wrongs are possible. Told apart although they are the same, an order is bought
twice; taken for the same although they differ, it is handed another one's picture. So
of an address only that is left out which is known to sign it.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGEST_FORM: Final = "1"
"""Of the canonical form: another form's digests cannot be compared with these."""


CALLBACK_FIELDS: Final = frozenset({"callback_url", "callBackUrl"})
"""What task models and SparkPix have the callback address in (API page)."""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_SIGNS: Final = _words(
    # Amazon S3 (V2) and CloudFront, Google (V2), Alibaba OSS, Tencent COS
    "awsaccesskeyid googleaccessid ossaccesskeyid key-pair-id policy signature expires",
    "security-token x-cos-security-token sign",
    # Supabase, Firebase, Bunny, Akamai, Cloudflare and most others
    "token __token__ access_token auth auth_key hdnts hdnea sig exp expire expiry",
    "verify",
)
_SIGNS_BEGIN: Final = ("x-amz-", "x-goog-", "q-")
"""Amazon S3 (V4), Google (V4), Tencent COS."""
_SIGN_ALONGSIDE: Final = {
    # Azure
    "sig": _words(
        "sv ss srt sp st se spr sr sip sdd si ses",
        "scid saoid suoid skoid sktid skt ske sks skv",
    ),
    # Discord
    "hm": _words("hm ex is"),
    # Qiniu, Bunny
    "token": _words("e token_path token_ver"),
    # Alibaba OSS (V4), whose x-oss-process makes the picture
    "x-oss-signature": _words(
        "x-oss-signature x-oss-signature-version x-oss-credential x-oss-date",
        "x-oss-expires x-oss-security-token x-oss-additional-headers",
    ),
}
"""A name that signs -> names that sign beside it, and mean something elsewhere."""


def digest_of(
    path: str, body: Mapping[str, Any], contents: Mapping[str, str] | None = None
) -> str:
    """
    Return the digest of a request in canonical form.

    The same request has the same digest whatever the order of its parameters, the
    spelling of its numbers (1 and 1.0) and its Unicode form. The callback address does
    not count, nor do the signatures of any other address.

    Args:
        contents: Address of an upload -> digest of what it holds, which counts instead.
    """
    kept = {k: each for k, each in body.items() if k not in CALLBACK_FIELDS}
    prompt = kept.pop("prompt", None)  # it may begin like an address, and is none
    words = unicodedata.normalize("NFC", prompt) if isinstance(prompt, str) else prompt
    canonical = [path, words, _canonical(kept, contents or {})]
    text = json.dumps(canonical, separators=(",", ":"))
    return f"{DIGEST_FORM}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def comparable(one: str, other: str) -> bool:
    """Return whether two digests are of one canonical form."""
    return one.partition(":")[0] == other.partition(":")[0]


def addresses_in(body: Mapping[str, Any]) -> set[str]:
    """Return the addresses that a request names, its callback's and prompt's not."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, dict | list):
            for each in value.values() if isinstance(value, dict) else value:
                look(each)
        elif isinstance(value, str) and _is_address(value):
            found.add(value)

    others = CALLBACK_FIELDS | {"prompt"}
    look([each for name, each in body.items() if name not in others])
    return found


def unsigned(address: str) -> str:
    """Return *address* without its fragment and what is known to sign it."""
    bare, _, query = address.partition("#")[0].partition("?")
    fields = [
        (unquote_plus(field.partition("=")[0]).lower(), field)
        for field in query.split("&")
        if field
    ]
    names = {name for name, _ in fields}
    signs = _SIGNS.union(
        *(_SIGN_ALONGSIDE[name] for name in names & _SIGN_ALONGSIDE.keys())
    )
    kept = [
        field
        for name, field in fields
        if name not in signs and not name.startswith(_SIGNS_BEGIN)
    ]
    return "?".join([bare, "&".join(kept)] if kept else [bare])


def _is_address(text: str) -> bool:
    return text[:8].lower().startswith(("http://", "https://")) and " " not in text


def _canonical(value: Any, contents: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        # Two names can have one Unicode form: a mapping would lose one of them.
        pairs = [
            [unicodedata.normalize("NFC", name), _canonical(each, contents)]
            for name, each in value.items()
        ]
        return {"fields": sorted(pairs, key=json.dumps)}
    if isinstance(value, list):
        return [_canonical(each, contents) for each in value]
    if isinstance(value, str):
        if value in contents:
            return {"content": contents[value]}
        return unicodedata.normalize(
            "NFC", unsigned(value) if _is_address(value) else value
        )
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value
