"""
Key and base URL: from the argument, the environment, or the credentials file.
"""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from attrs import evolve

from apimodels_async._api.checks import BASE_URL, has_plain_brackets
from apimodels_async._core.credentials import key_in
from apimodels_async._secret import Secret, hidden
from apimodels_async._text import is_loopback
from apimodels_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async.policies import PollPolicy

# The variables are those of the vendor's own tools.
KEY_VARIABLE: Final = "APIMODELS_API_KEY"
BASE_URL_VARIABLE: Final = "APIMODELS_BASE_URL"
INTERVAL_VARIABLE: Final = "APIMODELS_POLL_INTERVAL"
CALLBACK_VARIABLE: Final = "APIMODELS_CALLBACK_SECRET"
SECRET_CHARS_MIN: Final = 32
CREDENTIALS: Final = "~/.apimodels/credentials"
_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
)
_user: Final[Callable[[], int | None]] = getattr(os, "geteuid", lambda: None)


def resolve_key(api_key: str | Secret | None) -> Secret:
    """
    Return the key: *api_key*, ``APIMODELS_API_KEY`` or the credentials file.

    Raises:
        ConfigurationError: None of them has one, it cannot be a key, or the file is
            somebody else's or one that others can read. Neither the message nor a frame
            below holds the key.
    """
    # Locals are shown by whatever shows tracebacks, so no frame that raises has text.
    given, api_key = Secret.of(api_key), None
    if given is not None and not given.reveal():
        # Not the environment's instead: that may be another account's.
        msg = (
            "api_key= is empty, or no text: pass a key; or None (leave it out) for "
            f"that of {KEY_VARIABLE} or {CREDENTIALS}"
        )
        raise ConfigurationError(msg)
    key, where = locate_key(given)
    if key is None:
        msg = (
            f"no API key: pass api_key=, set {KEY_VARIABLE}, run `apimodels login` "
            f"(extra [cli]), or write it to {CREDENTIALS} (mode 600)"
        )
        raise ConfigurationError(msg)
    if "://" in key.reveal():
        msg = (
            f"the API key ({where}) is an address: a key is text such as sk_...; an "
            f"address goes into base_url (or {BASE_URL_VARIABLE})"
        )
        raise ConfigurationError(msg)
    if not _fits_header(key):
        msg = f"the API key ({where}) must be printable ASCII text without blanks"
        raise ConfigurationError(msg)
    return key


def locate_key(given: Secret | None = None) -> tuple[Secret | None, str]:
    """
    Return the key, and where it is from, in words; None: there is none.

    Raises:
        ConfigurationError: The credentials file cannot be used.
    """
    if given is not None:
        return given, "the argument"
    key = Secret.of(os.environ.get(KEY_VARIABLE) or None)
    if key is not None:
        return key, KEY_VARIABLE
    return _stored_key(), str(Path(CREDENTIALS).expanduser())


def _fits_header(key: Secret) -> bool:
    text = key.reveal()
    return text.isascii() and text.isprintable() and " " not in text and bool(text)


def _stored_key() -> Secret | None:
    """Return the key in the credentials file."""
    path, key = Path(CREDENTIALS).expanduser(), None
    try:
        # Not waiting: a pipe in its place would keep us here for ever.
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = error.strerror
    else:
        try:
            # The open file is asked, not the path: nobody can swap it in between.
            reason = credentials_problem(os.fstat(descriptor), _user(), path)
            if reason is None:
                key, reason = _read_key(descriptor)
            if reason is None:
                return key
        finally:
            os.close(descriptor)
    msg = f"{path} is not used: {reason}"
    raise ConfigurationError(msg)


def credentials_problem(
    found: os.stat_result, user: int | None, path: Path
) -> str | None:
    """
    Return why the key at *path* is not to be used by *user*; None: it is.

    Args:
        user: None where files have neither owner nor mode, as on Windows, which keeps
            others out of a home by itself.
    """
    if not stat.S_ISREG(found.st_mode):
        return "it is not a file"
    if user is None:
        return "it is a link" if path.is_symlink() else None
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"others can read it; run: chmod 600 {path}"
    # With a key of somebody else's, prompts and pictures would be on their account.
    return None if found.st_uid in {0, user} else "it is somebody else's"


def _read_key(descriptor: int) -> tuple[Secret | None, str | None]:
    # Editors on Windows begin a file with a byte order mark.
    key, reason = key_in(os.read(descriptor, 4096).decode("utf-8-sig", "replace"))
    return Secret.of(key or None), reason


def callback_secret(secret: str | Secret | None) -> Secret:
    """
    Return the secret behind callback addresses: given, in the environment, or random.

    Raises:
        ConfigurationError: It is too short. The message does not hold it.
    """
    given, secret = Secret.of(secret), None
    found = given or Secret.of(os.environ.get(CALLBACK_VARIABLE) or None)
    if found is None:
        return Secret(os.urandom(32).hex())  # as *secrets* does, with no import
    if len(found.reveal()) < SECRET_CHARS_MIN:
        msg = f"the callback secret must have at least {SECRET_CHARS_MIN} characters"
        raise ConfigurationError(msg)
    return found


def resolve_base_url(base_url: object) -> str:
    """
    Return the base URL without a trailing slash; None: the environment's, or ours.

    Raises:
        ConfigurationError: Empty, not https (plain http is for loopback alone), or with
            a user, a query or a fragment.
    """
    given, base_url = hidden(base_url), None  # a frame that raises shows locals
    if given is None:
        given = Secret(os.environ.get(BASE_URL_VARIABLE) or BASE_URL)
    elif isinstance(given, Secret) and not given.reveal().strip():
        msg = (
            "base_url is empty: pass an address, or leave it out for that of "
            f"{BASE_URL_VARIABLE} or the vendor's"
        )
        raise ConfigurationError(msg)
    url = given if isinstance(given, Secret) else Secret("")
    problem = _base_url_problem(url.reveal())
    if problem:
        msg = f"base_url is not usable: {problem}"
        raise ConfigurationError(msg)
    return url.reveal().rstrip("/")


def _base_url_problem(url: str) -> str | None:
    if "@" in url or "\\" in url:  # first: urlsplit's own errors repeat the password
        return "it must hold no user, password or backslash"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "its host or port cannot be read"
    plain = url.isascii() and url.isprintable() and " " not in url
    # urlsplit reads [::1]x as ::1
    if not host or not plain or not has_plain_brackets(parts.netloc):
        return f"it must be an absolute URL of plain characters, as {BASE_URL} is"
    if "?" in url or "#" in url:
        return "it must have no query and no fragment"
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
        return None
    return f"{parts.scheme}://{host} would send the key in the clear; use https"


def resolve_polling(polling: PollPolicy, base_url: str) -> PollPolicy:
    """
    Return *polling*; for an API on this machine, at the interval in the environment.

    So a program under test need not know that it talks to an emulator. The variable
    says nothing about any other API, which is asked every 2-3 seconds, nor where the
    program chose an interval of its own by ``PollPolicy.unchecked``.

    Raises:
        ConfigurationError: ``APIMODELS_POLL_INTERVAL`` is no positive number.
    """
    text = os.environ.get(INTERVAL_VARIABLE)
    local = is_local(base_url)
    if not text or not local or not polling.checked:
        return polling
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        msg = f"{INTERVAL_VARIABLE} must be a positive number of seconds, not {text!r}"
        raise ConfigurationError(msg)
    return evolve(polling, interval=seconds, checked=False)


def is_local(base_url: str) -> bool:
    """Return whether the API at *base_url* is on this machine."""
    return is_loopback(urlsplit(base_url).hostname or "")


def check_http(http: Any, *, fresh: bool) -> None:
    """
    Refuse what is no ``aiohttp.ClientSession``, or a closed one; None is none.

    Args:
        fresh: Whether paid requests are to have connections of their own.

    Raises:
        ConfigurationError: It cannot carry requests, or not in that way.
    """
    if http is None:
        return
    if not hasattr(http, "connector") or not hasattr(http, "closed"):
        msg = f"http= takes an aiohttp.ClientSession, not {type(http).__name__}"
        raise ConfigurationError(msg)
    if http.closed:
        msg = "the aiohttp.ClientSession given as http= is closed"
        raise ConfigurationError(msg)
    if fresh:
        msg = (
            "fresh_connections= cannot be had from http=, whose connector carries "
            "everything: give that one force_close=True"
        )
        raise ConfigurationError(msg)


def share_pool(http: Any, connections: int, downloads: int) -> tuple[int, int]:
    """
    Return how many connections the API's requests may have, and files each way.

    A lent pool has to be enough for all of them: no kind of them starves another.
    """
    connector = getattr(http, "connector", None)
    limit = getattr(connector, "limit", 0)
    if not limit:
        return connections, downloads
    downloads = min(downloads, max(1, limit // 6))
    most = min(limit, getattr(connector, "limit_per_host", 0) or limit)
    return min(connections, max(1, min(most, limit - 2 * downloads))), downloads


def check_counts(**given: object) -> None:
    """Refuse a number that is no whole one of at least 1: name -> value."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            msg = f"{name} must be a whole number of at least 1, not {value!r}"
            raise ConfigurationError(msg)


def check_options(**given: tuple[object, type | str]) -> None:
    """
    Refuse options of a wrong kind: name -> value, and its type or a method it has.

    Raises:
        ConfigurationError: Names the option. None passes: it means the default.
    """
    for name, (value, wanted) in given.items():
        if value is not None:
            check_kind(name, value, wanted)


def check_kind(name: str, value: object, wanted: type | str) -> None:
    """Refuse an argument that is not of a type, or has no such method."""
    if isinstance(wanted, str):
        fits, kind = hasattr(value, wanted), f"an object with {wanted}()"
    else:
        fits, kind = isinstance(value, wanted), wanted.__name__
    if not fits:
        msg = f"{name}= takes {kind}, not {type(value).__name__}"
        raise ConfigurationError(msg)
