"""
What the processes of one account share over a Redis server, on any number of machines.

    async with RedisLimit(url, pending=50) as limit, Session(limit=limit): ...
    Callback("https://app.example.com/hooks", relay=RedisRelay(url))

Needs the extra ``[redis]``, and Redis 7.0 or newer, or Valkey.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apimodels_async.integrations.redis.limit import RedisLimit
    from apimodels_async.integrations.redis.relay import RedisRelay

# Lazy: a receiver of callbacks has no limit, and most that have one no callbacks.
_HOMES = {"RedisLimit": "limit", "RedisRelay": "relay"}

__all__ = ["RedisLimit", "RedisRelay"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
