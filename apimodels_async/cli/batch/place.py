"""
Where the pictures of a batch are, and the page over them: its folder, or a bucket.

Rules of this file:
1. The page lies beside the pictures and links to them by their names alone, so that it
   can be opened wherever all of them are: from disk, from a web server, after a copy.
2. In a bucket it replaces no page but one of ours: there may be a web site.
3. Pages come there one after the other: whoever is cancelled leaves its upload behind,
   and the next one waits for that. Otherwise the old page could be the last to arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import anyio.to_thread
from attrs import define, field

from apimodels_async import ApiModelsError, ConfigurationError, DownloadError
from apimodels_async._core.files.names import name_in
from apimodels_async.cli.gallery.page import (
    HEAD_BYTES,
    MARK,
    check_page,
    render_gallery,
    write_gallery,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from apimodels_async._core.files.object_urls import ObjectURL
    from apimodels_async._io.files.buckets import Bucket
    from apimodels_async.cli.batch.folder import Folder
    from apimodels_async.cli.batch.plan import Plan
    from apimodels_async.cli.gallery.card import Card
    from apimodels_async.models import SavedAt

PAGE_S: Final = 20.0
"""How long a bucket may take for the page."""


@define(eq=False)
class FolderPlace:
    """The folder that has the journal, too."""

    _folder: Folder
    _asked: int = field(init=False, default=0)
    """Pages so far."""
    _turn: threading.Lock = field(init=False, factory=threading.Lock)

    @property
    def page(self) -> Path:
        """Above the pictures, which have a directory of their own in it."""
        return self._folder.index

    async def check_new(self) -> None:
        """
        Find out whether a batch can begin there; nothing was ordered yet.

        Raises:
            ConfigurationError: Somebody else's page is there.
        """
        await anyio.to_thread.run_sync(check_page, self.page)

    async def write_page(self, cards: Sequence[Card], facts: Mapping[str, str]) -> None:
        """
        Write the page over *cards*; whoever looks at it sees the old one or the new.

        Raises:
            ConfigurationError: It cannot be written.
        """
        self._asked += 1
        await anyio.to_thread.run_sync(self._write, self._asked, cards, facts)

    def _write(
        self, number: int, cards: Sequence[Card], facts: Mapping[str, str]
    ) -> None:
        # Who is cancelled leaves its thread behind, which may come after the next one.
        with self._turn:
            if number == self._asked:
                write_gallery(self.page, self._folder.path.name, cards, facts)


@define(eq=False)
class BucketPlace:
    """A bucket, or what in it begins alike."""

    _url: ObjectURL
    """Of a folder."""
    _name: str
    """Of the page: each shard has its own."""
    _seconds: float = PAGE_S
    """For one page."""
    _putting: asyncio.Task[ApiModelsError | None] | None = field(
        init=False, default=None
    )
    """The page that is on its way, or was the last one."""
    _bucket: Bucket | None = field(init=False, default=None)
    _is_ours: bool = field(init=False, default=False)
    """The page that is there is ours."""

    @property
    def page(self) -> str:
        """Beside the pictures."""
        return self._url.address_of(self._name)

    async def check_new(self) -> None:
        """
        Find out whether a batch can begin there; nothing was ordered yet.

        Without its journal, on another machine say, all of it would be paid for again.

        Raises:
            ConfigurationError: It cannot be written to, or a batch has its page there.
        """
        bucket = self._open()
        await bucket.check(self._url.key, self._seconds)
        msg = f"{self.page} cannot be read: nothing was ordered"
        with contextlib.suppress(DownloadError, TimeoutError):
            async with asyncio.timeout(self._seconds):
                head = await bucket.read_head(self._page_key, HEAD_BYTES)
            if head is None or MARK not in head:
                return
            msg = (
                f"{self.page} is the page of another batch, or of this one, whose "
                "journal is elsewhere: nothing was ordered. Name its folder "
                "(--folder), or give --out a prefix of its own"
            )
        raise ConfigurationError(msg)

    async def write_page(self, cards: Sequence[Card], facts: Mapping[str, str]) -> None:
        """
        Write the page over *cards*; whoever looks at it sees the old one or the new.

        Raises:
            ConfigurationError, DownloadError: It cannot be written in time.
        """

        def render() -> bytes:
            names = (self._url.key or self._url.bucket).strip("/")
            return b"".join(render_gallery(names.split("/")[-1], cards, facts, _link))

        content = await anyio.to_thread.run_sync(render)
        while self._putting is not None and not self._putting.done():
            await asyncio.wait([self._putting])  # which ends in time
        putting = asyncio.get_running_loop().create_task(self._put_page(content))
        self._putting = putting
        await asyncio.wait([putting])
        if (error := putting.result()) is not None:
            raise error

    async def _put_page(self, content: bytes) -> ApiModelsError | None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._put(content)
        except TimeoutError:
            return DownloadError(f"{self.page}: no answer within {self._seconds:g} s")
        except (ConfigurationError, DownloadError) as error:
            return error
        return None

    def _open(self) -> Bucket:
        from apimodels_async._io.files.buckets import open_bucket

        self._bucket = self._bucket or open_bucket(self._url, self._seconds)
        return self._bucket

    @property
    def _page_key(self) -> str:
        return self._url.key + self._name

    async def _put(self, content: bytes) -> None:
        if self._is_ours or not await self._put_first(content):
            await self._open().replace(self._page_key, content)

    async def _put_first(self, content: bytes) -> bool:
        """Put the page where none is; False: one of ours is there."""
        bucket, key = self._open(), self._page_key
        before = await bucket.read_head(key, HEAD_BYTES)
        made = before is None and await bucket.create(key, content)
        self._is_ours = made or (before is not None and MARK in before)
        if not self._is_ours:
            msg = f"{self.page} is another page: it stays, and the batch has none"
            raise DownloadError(msg)
        return made


Place = FolderPlace | BucketPlace


def place_of(folder: Folder, plan: Plan) -> Place:
    """Return where the pictures of the batch in *folder* go by its *plan*."""
    if plan.destination is None:
        return FolderPlace(folder)
    part = "" if plan.shard is None else f"-{plan.shard.replace('/', '-of-')}"
    return BucketPlace(plan.destination, f"index{part}.html")


def _link(file: SavedAt) -> str:
    return quote(name_in(str(file)), errors="replace")
