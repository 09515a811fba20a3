"""
What the processes of one account share over a Redis server, on any number of machines.

    async with RedisLimit(url, pending=50) as limit, Session(limit=limit): ...
    Callback("https://app.example.com/hooks", relay=RedisRelay(url))

Needs the extra ``[redis]``, and Redis 7.0 or newer, or Valkey.
"""

from typing import TYPE_CHECKING

from apimodels_async._io.lazy import lazy_names

if TYPE_CHECKING:
    from apimodels_async.integrations.redis.limit import RedisLimit
    from apimodels_async.integrations.redis.relay import RedisRelay
else:
    # Lazy: a receiver of callbacks has no limit, and most that have one no callbacks.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "integrations.redis.limit": ("RedisLimit",),
            "integrations.redis.relay": ("RedisRelay",),
        },
        extra="redis",
    )

__all__ = ["RedisLimit", "RedisRelay"]
