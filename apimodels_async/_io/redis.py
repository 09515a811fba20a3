"""
Redis servers: their addresses, how a client connects, and which of their errors pass.
"""

from __future__ import annotations

from typing import Any, Final

import redis.asyncio as redis
from attrs import define, field
from redis import exceptions
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from apimodels_async._secret import Secret
from apimodels_async._text import printable
from apimodels_async.errors import ConfigurationError

SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
}
"""Of an address -> as redis-py has it."""
ANSWER_S: Final = 5.0
REFUSED: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError)
"""Of the kind below by their class, and yet for good."""
PASSING: Final = (
    *(exceptions.ConnectionError, exceptions.TimeoutError, OSError),
    *(exceptions.ReadOnlyError, exceptions.BusyLoadingError, exceptions.TryAgainError),
    *(exceptions.MasterDownError, exceptions.NoScriptError),
)
"""What one that starts, fails over or is cut off answers with, or that it does not."""


def is_passing(answer: object) -> bool:
    """Return whether *answer* is an error that a later try may mend."""
    found = _behind(answer)
    return isinstance(found, PASSING) and not isinstance(found, REFUSED)


def is_refused(answer: object) -> bool:
    """Return whether *answer* is that we may not: what was named has to be mended."""
    return isinstance(_behind(answer), REFUSED)


def _behind(answer: object) -> object:
    # What is refused while connecting is given as a connection that failed.
    cause = getattr(answer, "__cause__", None)
    return cause if isinstance(cause, exceptions.RedisError) else answer


def in_words(error: Exception) -> str:
    """Return what the server, or the way to it, said."""
    return printable(str(error) or type(error).__name__, 200)


@define(eq=False)
class Server:
    """
    Where a Redis server is, and how it is named.

    Raises:
        ConfigurationError: That is no address of one, or no name.
    """

    _url: Secret
    """It may hold a password."""
    name: str
    """Before all keys and channels; its part in braces keeps them in one place."""
    db: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        named: object = self.name
        if not isinstance(named, str):
            msg = f"a name on a Redis server is text, not {type(named).__name__}"
            raise ConfigurationError(msg)
        options = self._options()
        # Outside of any except block: what parsing says may hold a part of a password.
        if options is None:
            others = ", ".join(f"{each}://" for each in SCHEMES if each != "redis")
            msg = (
                "that is no address of a Redis server; write "
                f"redis://[user:password@]host:port/number, or {others}"
            )
            raise ConfigurationError(msg)
        self.db = int(options.get("db") or 0)

    @property
    def url(self) -> str:
        """The address as redis-py has it; it may hold a password."""
        scheme, mark, rest = self._parts()
        return f"{SCHEMES.get(scheme, scheme)}{mark}{rest}"

    @property
    def address(self) -> str:
        """The address as it was given, without user and password."""
        scheme, _, rest = self._parts()
        return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"

    def _parts(self) -> tuple[str, str, str]:
        scheme, mark, rest = self._url.reveal().strip().partition("://")
        return scheme.lower(), mark, rest

    def _options(self) -> dict[str, Any] | None:
        given: object = self._url
        # redis-py takes redis:/:password@host for a database of this machine.
        if not isinstance(given, Secret) or self._parts()[1] == "":
            return None
        try:
            return dict(parse_url(self.url))
        except ValueError:
            return None

    def connect(self, answer_s: float = ANSWER_S) -> redis.Redis:
        """
        Return a client; it connects with its first call, and tries nothing twice.

        Args:
            answer_s: Seconds to wait for an answer at most.
        """
        return redis.Redis.from_url(
            self.url,
            socket_timeout=answer_s,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            client_name="apimodels-async",
            protocol=2,  # each of these would take a round trip more to connect
            driver_info=None,
        )
