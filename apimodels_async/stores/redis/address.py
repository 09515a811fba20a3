"""
Where a store on Redis is: its address as users write it, as redis-py has it, and as it
may be shown.
"""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from typing import Final

from apimodels_async.errors import ConfigurationError

SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
}
"""Of an address -> as redis-py has it."""


def as_redis_has_it(url: str) -> str:
    """Return *url* with a scheme that redis-py knows; one it knows not as it is."""
    scheme, mark, rest = url.partition("://")
    return f"{SCHEMES.get(scheme, scheme)}{mark}{rest}"


def read_address(url: str, what: str = "store") -> tuple[str, str]:
    """
    Return *url* as redis-py has it, and without what is secret in it.

    Args:
        what: It is the address of that, for the message.

    Raises:
        ConfigurationError: It is none, or redis-py is not installed.
    """
    if importlib.util.find_spec("redis") is None:
        msg = (
            "a store on Redis needs redis-py, which is not installed; "
            "run: pip install 'apimodels-async[redis]'"
        )
        raise ConfigurationError(msg)
    from apimodels_async.stores.redis.connection import check_address

    scheme, _, rest = url.partition("://")
    # Not said as redis-py has it: its words may have a part of a password in them.
    with suppress(ValueError):
        if scheme in SCHEMES:
            known = as_redis_has_it(url)
            check_address(known)
            place = rest.partition("?")[0].rpartition("@")[2]
            return known, f"{scheme}://{place}"
    msg = (
        f"{what}: that is no address of a Redis server; write "
        "redis://[user:password@]host:port/number"
    )
    raise ConfigurationError(msg) from None
