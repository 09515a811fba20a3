"""
How the API says no: by HTTP status, or by ``code`` in the body of an HTTP 200.
"""

from __future__ import annotations

import email.utils
import math
import re
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from apimodels_async._api.checks import BASE_URL
from apimodels_async._api.convert import reason_text
from apimodels_async._api.decode import UnreadableError, decode_json, snippet
from apimodels_async._text import printable
from apimodels_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    from datetime import datetime

    from apimodels_async._ports import Reply
    from apimodels_async.errors import ApiModelsError

OK: Final = 200
_NAMED: Final = re.compile(
    rb'\\?"task_?id\\?"\s*:\s*(?:\\?"([A-Za-z0-9._-]{1,128})\\?"|(\d{1,128})[\s,}\]])',
    re.IGNORECASE,
)
_VERSIONED: Final = re.compile(r"/v\d+$")
_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress"})
_TYPES: Final[dict[int, tuple[type[APIStatusError], str]]] = {
    400: (BadRequestError, "the API refused the request"),
    401: (
        AuthenticationError,
        "the API does not accept the key (api_key=, APIMODELS_API_KEY)",
    ),
    402: (InsufficientCreditsError, "not enough credits on the account"),
    403: (PermissionDeniedError, "the key may not do this"),
    404: (NotFoundError, "the API does not know this"),
    408: (APIStatusError, "the API gave up waiting for the request"),
    429: (RateLimitError, "too many requests"),
    425: (APIStatusError, "the API wants the request later"),
}


def read_body(reply: Reply) -> Any:
    """
    Return the JSON of a reply that the API meant as a success.

    HTTP status and body ``code`` are both looked at: an HTTP 200 can carry a 402.

    Raises:
        APIStatusError: One of its subclasses, by status or code.
        UnexpectedResponseError: A redirect, an encoded or an unreadable body.
    """
    if not OK <= reply.status < 300:  # noqa: PLR2004
        raise refusal(reply)
    encoding = reply.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":  # we ask for identity: nothing may unpack into memory
        # Its word only if it is one: a header can repeat the key, too.
        known = {word.strip() for word in encoding.split(",")} <= _CODINGS
        word = encoding if known else "in some way"
        msg = f"the answer is encoded ({word}), which was not asked"
        raise UnexpectedResponseError(msg, status=reply.status)
    reason, body = "", None
    try:
        body = decode_json(reply.body)
    except UnreadableError as error:
        reason = str(error)
    if reason:
        msg = f"the API's answer is {reason}"
        raise UnexpectedResponseError(msg, status=reply.status)
    if isinstance(body, dict):
        _check_code(reply, body)
    return body


def _check_code(reply: Reply, body: dict[str, Any]) -> None:
    code = _code(body.get("code", OK if "data" in body else None))
    if code is None:
        msg = f"the answer carries neither data nor a known code: {snippet(reply.body)}"
        raise UnexpectedResponseError(msg, status=reply.status)
    if code != OK:
        raise _build(code, reply, body)


def _code(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:9])
    return None


def refusal(reply: Reply) -> APIStatusError | UnexpectedResponseError:
    """Return the error that a reply outside 200-299 stands for."""
    if reply.status < 400:  # noqa: PLR2004
        msg = f"the API answered {reply.status}, a redirect; none is followed"
        return UnexpectedResponseError(msg, status=reply.status)
    try:
        body = decode_json(reply.body)
    except UnreadableError:
        body = None
    fields = body if isinstance(body, dict) else {}
    return _build(reply.status, reply, fields)


def name_the_base(error: ApiModelsError, body: bytes, base_url: str, path: str) -> None:
    """
    Add to *error* what answered, if that is hardly the API: *path* below *base_url*.

    It is a page, or a 404 without the API's envelope or its version path.
    """
    lacks = not _VERSIONED.search(base_url)
    missing = isinstance(error, NotFoundError) and (lacks or error.code is None)
    page = isinstance(error, UnexpectedResponseError) and body.lstrip()[:1] == b"<"
    if not missing and not page:
        return
    hint = "is base_url (or APIMODELS_BASE_URL) right?"
    if lacks:
        hint = (
            "base_url (or APIMODELS_BASE_URL) should end in a version path, as "
            f"{BASE_URL} does"
        )
    error.args = (f"{error.message}. It was {base_url}/{path} that answered: {hint}",)


def _build(status: int, reply: Reply, body: dict[str, Any]) -> APIStatusError:
    kind: type[APIStatusError]
    said = _message(body) or (snippet(reply.body) if reply.body else "")
    wait = retry_after(reply.headers)
    if status >= 500:  # noqa: PLR2004
        kind, head = ServerError, "the API failed"
    else:
        kind, head = _TYPES.get(status, _TYPES[400])
    if wait is not None:
        head += f", wait {wait:g} s"
    return kind(
        _sentence(head, reply.status, status, said),
        retry_after=wait,
        task_id=salvage_task_id(reply.body),
        status=reply.status,
        code=_code(body.get("code")),
    )


def salvage_task_id(body: bytes) -> str | None:
    """Return the task id in an answer that is no success, if it shows one."""
    found = _NAMED.search(body)
    return (found[1] or found[2]).decode() if found else None


def _sentence(head: str, status: int, effective: int, said: str) -> str:
    where = f"HTTP {status}" if status == effective else f"HTTP {status}, {effective}"
    return f"{head} ({where})" + (f": {said}" if said else "")


def _message(body: dict[str, Any]) -> str:
    """Return what the API said, in the order its own tools look for it."""
    data, error = body.get("data"), body.get("error")
    candidates = (
        data.get("failMsg") if isinstance(data, dict) else None,
        body.get("msg"),
        error.get("message") if isinstance(error, dict) else error,
        body.get("message"),
        error,
    )
    for said in candidates:
        text = reason_text(said)
        if text and text != "success":
            return printable(text)
    return ""


def retry_after(headers: Any) -> float | None:
    """
    Return the seconds a Retry-After header asks for, or None if it says nothing usable.

    A date is read against the reply's own Date header, so that a wrong clock on
    this machine does not matter.
    """
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        until, now = http_date(value), http_date(headers.get("date", ""))
        seconds = (until - now).total_seconds() if until and now else math.nan
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def http_date(value: str) -> datetime | None:
    """Return the date of an HTTP header in UTC, or None."""
    try:
        found = email.utils.parsedate_to_datetime(value)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
