"""
What aiohttp raises, as plain ``Failure`` values: its exceptions carry request
headers in their repr, and so the key.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from apimodels_async._ports import Failure, Phase, Sent
from apimodels_async._text import describe, printable

if TYPE_CHECKING:
    from apimodels_async._io.http.network import Proxy
    from apimodels_async._secret import Secret

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
_UNREACHED: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
"""No connection was made."""
_CUT: Final = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, TimeoutError)
"""With a proxy on the way, these may be its doing."""
_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAMES: Final = frozenset({62, 64})
"""Codes of OpenSSL (X509_V_ERR_...)."""
_PASSING: Final = frozenset({408, 425, 429, *range(500, 600)} - {501, 505, 511})
"""Answers of a proxy after which another try can help."""
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
    proxy: Proxy | None = None,
    closed: bool,
) -> Failure:
    """
    Return the failure that *error* is.

    Args:
        status: Of the answer, if its head had arrived.
        arrived: Of its body, masked.
        address: Where the request was to go, for people.
        proxy: On the way there.
        closed: Whether the connection pool is.
    """
    words = reason_of(error, proxy)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        words += f" at {address}"
    return Failure(
        sent=sent.at is not None,
        phase=_phase(error, sent, status),
        # Masked before it is cut: half a key would not be found.
        reason=printable(key.mask(words.encode()).decode()),
        timed_out=isinstance(error, TimeoutError),
        status=status,
        body=arrived,
        retryable=is_passing(error) and not closed,
        closed=closed,
    )


def was_cancelled() -> bool:
    """Return whether somebody cancelled this task."""
    # aiohttp cancels what queues for a connection when its connector closes.
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def send_once(
    request: aiohttp.ClientRequest,
    handler: aiohttp.ClientHandlerType,
    proxy: Proxy | None,
) -> aiohttp.ClientResponse:
    """Pass *request* on to aiohttp, which is not to repeat it."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        broken = BrokenError(reason_of(error, proxy))
    # It would, at once and silently: an API that drops connections would get twice the
    # polls (measured). It does not retry this class.
    raise broken


def _phase(error: Exception, sent: Sent, status: int | None) -> Phase:
    if isinstance(error, _CERTIFICATE):
        return Phase.TLS
    if status is not None:
        return Phase.BODY
    connecting = isinstance(error, _UNREACHED)
    return Phase.ANSWER if sent.at is not None or not connecting else Phase.CONNECT


def is_passing(error: Exception) -> bool:
    """Return whether *error* is the network's, and another try can help."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return error.status in _PASSING
    return isinstance(error, _OUTSIDE) and not isinstance(error, _FINAL)


def reason_of(error: Exception, proxy: Proxy | None = None) -> str:
    """
    Return words for *error*: no text the server chose, but what a user's hook says,
    and so perhaps the key.

    Args:
        proxy: On the way, if there was one.
    """
    known = _tls_words(error) or _proxy_words(error, proxy)
    if known is not None:
        return known
    words = _plain_words(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        host = f"[{error.host}]" if ":" in error.host else printable(error.host, 253)
        words += f" at {host}:{error.port}"
    if proxy is not None and isinstance(error, _CUT):
        words += f", through the proxy {proxy.name}"
    return words


def _tls_words(error: Exception) -> str | None:
    """Return what a certificate, or another part of TLS, failed for."""
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return f"the certificate of {error.host} is not the one expected"
    fault = _tls_fault(error)
    if fault is None:
        return None
    host = error.host if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(fault, ssl.SSLCertVerificationError):
        code, says = fault.verify_code, fault.verify_message
        if code in _OTHER_NAMES:
            why = f"is for other names ({says})"
        elif code == _EXPIRED:
            why = "has expired"
        elif code == _NOT_YET:
            why = "is not valid yet, by this machine's clock"
        else:
            why = f"is not trusted ({says}); {_what_to_trust()}"
        return f"the certificate of {host or 'the host'} {why}"
    reason = str(getattr(fault, "reason", None) or "no reason given")
    reason = reason.replace("_", " ").lower()
    return f"TLS{f' with {host}' if host else ''} failed ({reason})"


def _what_to_trust() -> str:
    # OpenSSL says nothing of a file that is not there.
    given = os.environ.get("SSL_CERT_FILE")
    if given and not Path(given).is_file():
        return "SSL_CERT_FILE names no file"
    return "a private CA: pass ssl= or set SSL_CERT_FILE"


def _tls_fault(error: Exception) -> ssl.SSLError | None:
    # OpenSSL's numbers are no errno: its 1 would read "Operation not permitted".
    for each in (
        getattr(error, "certificate_error", None),
        getattr(error, "os_error", None),
        error.__cause__,
        error,
    ):
        if isinstance(each, ssl.SSLError):
            return each
    return None


def _proxy_words(error: Exception, proxy: Proxy | None) -> str | None:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        name = proxy.name if proxy is not None else "on the way"
        words = f"the proxy {name} answered {error.status} to CONNECT"
        if error.status in {401, 407}:  # tinyproxy says 401 where 407 is meant
            words += ": it wants (other) credentials, as http://user:password@host:port"
        return words
    if proxy is not None and isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"the proxy {proxy.name} cannot be reached ({_of_system(error)})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        shown = printable(error.host, 253)
        # Behind a proxy only the proxy's own name is looked up here.
        whose = f"the proxy's name {shown}" if proxy is not None else shown
        return f"{whose} does not resolve"
    return None


def _of_system(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _plain_words(error: Exception) -> str:
    name = type(error).__name__
    match error:
        case TooLargeError() | BrokenError():
            return str(error)
        case aiohttp.ClientResponseError() | HttpProcessingError():
            what = "the answer is not HTTP"
        case OSError() if error.errno:
            what = os.strerror(error.errno)
        case aiohttp.ClientConnectorError():
            what = type(error.os_error).__name__
        case aiohttp.ClientConnectionError(__cause__=Exception() as hooks) if (
            type(error) is aiohttp.ClientConnectionError  # sending the body failed
        ):
            what = describe(hooks)
        case aiohttp.ClientError() | OSError():
            return name
        case _:
            return describe(error)
    return f"{name}: {what}"
