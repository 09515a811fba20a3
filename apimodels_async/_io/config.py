"""
Key and base URL: from the argument, the environment, or the credentials file.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from apimodels_async._ports import Secret
from apimodels_async.errors import ConfigurationError

BASE_URL: Final = "https://apimodels.app/api/v1"
"""Source: API page. The variables are those of the vendor's own tools."""
KEY_VARIABLE: Final = "APIMODELS_API_KEY"
BASE_URL_VARIABLE: Final = "APIMODELS_BASE_URL"
CREDENTIALS: Final = "~/.apimodels/credentials"


def resolve_key(api_key: str | None) -> Secret:
    """
    Return the key: *api_key*, ``APIMODELS_API_KEY`` or the credentials file.

    Raises:
        ConfigurationError: None of them has one, it cannot be a key, or others can
            read the file. The message never holds the key.
    """
    key = api_key or os.environ.get(KEY_VARIABLE) or _stored_key()
    if not key:
        msg = (
            f"no API key: pass api_key=, set {KEY_VARIABLE}, or write it to "
            f"{CREDENTIALS} (mode 600)"
        )
        raise ConfigurationError(msg)
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        msg = "the API key has a blank, a control or a non-ASCII character in it"
        raise ConfigurationError(msg)
    return Secret(key)


def _stored_key() -> str | None:
    """
    Return the key in the credentials file: alone on a line, or as ``name=key``.
    """
    path = Path(CREDENTIALS).expanduser()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = error.strerror
    else:
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
            # The open file is asked, not the path: nobody can swap it in between.
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                reason = f"others can read it; run: chmod 600 {path}"
            else:
                return _first_value(file.read(4096))
    msg = f"{path} is not used: {reason}"
    raise ConfigurationError(msg)


def _first_value(text: str) -> str | None:
    for line in text.splitlines():
        value = line.strip()
        if value and not value.startswith("#"):
            return value.rpartition("=")[2].strip().strip("\"'")
    return None


def resolve_base_url(base_url: str | None) -> str:
    """
    Return the base URL without a trailing slash.

    Raises:
        ConfigurationError: Not https (plain http is for loopback alone), or with a
            user, a query or a fragment.
    """
    url = base_url or os.environ.get(BASE_URL_VARIABLE) or BASE_URL
    problem = _base_url_problem(url)
    if problem:
        msg = f"base_url is not usable: {problem}"
        raise ConfigurationError(msg)
    return url.rstrip("/")


def _base_url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if "@" in parts.netloc or "\\" in url:
        return "it must hold no user, password or backslash"  # and is not repeated
    if not host or not url.isascii() or not url.isprintable() or " " in url:
        return "it must be an absolute URL of plain characters"
    if parts.query or parts.fragment:
        return "it must have no query and no fragment"
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
        return None
    return f"{parts.scheme}://{host} would send the key in the clear; use https"


def is_loopback(host: str) -> bool:
    """
    Return whether *host* names this machine by itself, without asking a resolver.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
