"""
What aiohttp raises, as plain :class:`Failure` values: its exceptions carry request
headers in their repr, and so the key.
"""

from __future__ import annotations

import os
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from apimodels_async._ports import Failure, Phase, Secret, Sent
from apimodels_async._text import describe, printable

OUTRUN: Final = "the claim on the order ran out before it could be sent"


class BrokenError(aiohttp.ClientError):
    """A connection that broke under a request, in words."""


class TooLargeError(ValueError):
    """An answer beyond its limit, in words."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the answer is larger than {limit} bytes")


_CERTIFICATE: Final = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
)
_UNREACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""No connection was made."""
_FINAL: Final = (*_CERTIFICATE, aiohttp.InvalidURL)
_OUTSIDE: Final = (aiohttp.ClientError, HttpProcessingError, OSError)
"""The network's. Any other is a closed session's, or a bug: it comes again."""


def failure_of(
    error: Exception,
    sent: Sent,
    status: int | None,
    arrived: bytes,
    *,
    key: Secret,
    address: str,
    closed: bool,
) -> Failure:
    """
    Return the failure that *error* is.

    Args:
        status: Of the answer, if its head had arrived.
        arrived: Of its body, masked.
        address: Where the request was to go, for people.
        closed: Whether the connection pool is.
    """
    words = reason_of(error)
    if isinstance(error, _UNREACHED):
        words += f" at {address}"
    return Failure(
        sent=sent.at is not None,
        phase=_phase(error, sent, status),
        # Masked before it is cut: half a key would not be found.
        reason=printable(key.mask(words.encode()).decode()),
        timed_out=isinstance(error, TimeoutError),
        status=status,
        body=arrived,
        retryable=isinstance(error, _OUTSIDE)
        and not (closed or isinstance(error, _FINAL)),
        closed=closed,
    )


def _phase(error: Exception, sent: Sent, status: int | None) -> Phase:
    if isinstance(error, _CERTIFICATE):
        return Phase.TLS
    if status is not None:
        return Phase.BODY
    connecting = isinstance(error, _UNREACHED)
    return Phase.ANSWER if sent.at is not None or not connecting else Phase.CONNECT


def reason_of(error: Exception) -> str:
    """
    Return words for *error*: no text the server chose, but what a user's hook says,
    and so perhaps the key.
    """
    name = type(error).__name__
    match error:
        case TooLargeError() | BrokenError():
            return str(error)
        case aiohttp.ClientConnectorDNSError():
            what = "the host name does not resolve"
        case aiohttp.ClientConnectorCertificateError():
            what = "the server's certificate is not trusted"
        case aiohttp.ClientResponseError() | HttpProcessingError():
            what = "the answer is not HTTP"
        case OSError() if error.errno:
            what = os.strerror(error.errno)
        case aiohttp.ClientConnectionError(__cause__=Exception() as hooks) if (
            type(error) is aiohttp.ClientConnectionError  # sending the body failed
        ):
            what = describe(hooks)
        case aiohttp.ClientError() | OSError():
            return name
        case _:
            return describe(error)
    return f"{name}: {what}"
