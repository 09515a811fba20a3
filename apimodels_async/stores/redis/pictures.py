"""
Inline pictures of orders, each kept once, under its digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from apimodels_async._core.money.pictures import digests_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apimodels_async.stores.redis.calls import Calls

PICTURE_S: Final = 86_400
"""For which a picture waits to be named; then no order did."""


async def keep_pictures(
    calls: Calls, pictures: Mapping[tuple[str, str], bytes]
) -> None:
    """
    Keep *pictures*, media type and digest -> bytes, until an attempt names them.

    Raises:
        JournalError: The store cannot be used.
    """
    for (_, digest), data in pictures.items():
        key = f"picture:{digest}"
        await calls.ask("SET", key, data, "NX", "EX", PICTURE_S)
        await calls.ask("EXPIRE", key, PICTURE_S, "GT")  # it was there


async def pictures_in(calls: Calls, text: bytes) -> dict[str, bytes]:
    """
    Return the pictures that *text* names, as far as they are there, by digest.

    Raises:
        JournalError: The store cannot be used.
    """
    found: dict[str, bytes] = {}
    for digest in digests_in(text):
        data = await calls.ask("GET", f"picture:{digest}")
        if data is not None:
            found[digest] = data
    return found
