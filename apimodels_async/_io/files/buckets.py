"""
One place in object storage, and what may go wrong there.

Rules of this file:
1. An upload is one request, conditional on a free key: there are no parts that could be
   left over, and nothing takes the place of an object unasked. A large one is read from
   its file as it goes (measured: 300 MB take no memory of ours).
2. No text of obstore's leaves here: ``bucket_trouble`` says why.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.request import url2pathname

import obstore
from attrs import define, field
from obstore import exceptions
from obstore import store as stores

from apimodels_async._core.files.bucket_trouble import status_of, words_of
from apimodels_async._core.files.keeping import COMPARED_BYTES, SIDECAR
from apimodels_async._core.files.media import type_of
from apimodels_async._core.files.object_urls import object_address
from apimodels_async.errors import ConfigurationError, DownloadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from obstore import Attributes
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

    from apimodels_async._core.files.object_urls import ObjectURL

Content: TypeAlias = bytes | bytearray | mmap.mmap
T = TypeVar("T")

logger: logging.Logger = logging.getLogger("apimodels_async.files")

CHECK_S: Final = 20.0
"""How long a bucket may take to say that it can be written to."""
RETRIES: Final = 10
CHECK_RETRIES: Final = 2
RETRIED_S: Final = 60.0
"""How long a request is repeated that a bucket could not answer."""
PROBE: Final = ".apimodels-async"
NOT_IMPLEMENTED: Final = 501
PAGE: Final = ".html"
_SCHEMES: Final = {"S3Store": "s3", "GCSStore": "gs", "AzureStore": "az"}
_TROUBLE: Final = (exceptions.BaseError, OSError, ValueError, NotImplementedError)
"""What obstore raises."""
_UNSEEN: Final = (FileNotFoundError, exceptions.PermissionDeniedError)
"""Who may not list a bucket is refused to hear that nothing is there (S3)."""


@define(eq=False)
class Bucket:
    """One place in object storage."""

    _store: ObjectStore
    _root: str
    """What stands before its keys in an address."""
    _hasty: Callable[[], ObjectStore] | None = None
    """
    Makes a way there that gives up soon: without credentials a machine is asked for
    some, again and again.
    """
    _conditional: bool = field(init=False, default=True)
    """It refuses to put an object where there is one."""

    def url(self, key: str) -> str:
        """Return the address of an object."""
        return object_address(self._root, key)

    async def check(self, prefix: str, seconds: float = CHECK_S) -> None:
        """
        Find out whether objects can be written below *prefix*, by writing an empty one.

        Raises:
            ConfigurationError: They cannot.
        """
        key, reason = f"{prefix}{PROBE}", f"no answer within {seconds:g} s"
        store = self._store if self._hasty is None else self._hasty()
        try:
            async with asyncio.timeout(seconds):
                done = await _tried(_put(store, key, b"", "overwrite"))
                if not isinstance(done, Exception):
                    await _tried(obstore.delete_async(store, key))
                    return
                reason = _words(done)
        except TimeoutError:
            pass
        msg = f"{self.url(prefix)} cannot be written to: {reason}; nothing was ordered"
        raise ConfigurationError(msg)

    async def find(self, key: str) -> int | None:
        """
        Return the size of an object in bytes; None: nothing is there that we may see.

        Raises:
            DownloadError: The bucket does not say.
        """
        found = await _tried(obstore.head_async(self._store, key))
        return None if isinstance(found, _UNSEEN) else self._checked(found, key)["size"]

    async def read_head(self, key: str, most: int) -> bytes | None:
        """
        Return how an object begins, in at most *most* bytes; None: as ``find``.

        Raises:
            DownloadError: The bucket does not say.
        """
        size = await self.find(key)
        if not size:  # of nothing, no part can be asked for
            return None if size is None else b""
        found = await _tried(self._read(key, most))
        return None if isinstance(found, _UNSEEN) else self._checked(found, key)

    async def _read(self, key: str, most: int) -> bytes:
        options: Any = {"range": (0, most)}
        found = await obstore.get_async(self._store, key, options=options)
        return bytes(await found.bytes_async())

    async def create(self, key: str, content: Content) -> bool:
        """
        Store an object under a key that is free; False: it is not.

        Raises:
            DownloadError: The bucket does not take it.
        """
        if self._conditional:
            done = await _tried(_put(self._store, key, content, "create"))
            if isinstance(done, exceptions.AlreadyExistsError):
                return False
            if not _is_unsupported(done):
                self._checked(done, key)
                return True
            self._conditional = False
            logger.warning(
                "%s cannot refuse to replace an object: of two that are written under "
                "one name in the same moment, the later one stays",
                self._root,
            )
        found = await _tried(obstore.head_async(self._store, key))
        if not isinstance(found, FileNotFoundError):
            self._checked(found, key)
            return False
        await self.replace(key, content)
        return True

    async def replace(self, key: str, content: Content) -> None:
        """Store an object, whatever has its key; raises as ``create``."""
        self._checked(await _tried(_put(self._store, key, content, "overwrite")), key)

    async def equals(self, key: str, content: Content) -> bool:
        """
        Return whether an object has the same content; False: it may not be read.

        Raises:
            DownloadError: The bucket does not say.
        """
        size = await self.find(key)
        if size != len(content):
            return False
        return self._checked(await _tried(self._compare(key, content)), key)

    async def _compare(self, key: str, content: Content) -> bool:
        found, at = await obstore.get_async(self._store, key), 0
        async for piece in found.stream(min_chunk_size=COMPARED_BYTES):
            if content[at : at + len(piece)] != bytes(piece):
                return False
            at += len(piece)
        return at == len(content)

    async def delete(self, key: str) -> None:
        """Remove an object as far as that can be done."""
        await _tried(obstore.delete_async(self._store, key))

    def _checked(self, done: T | Exception, key: str) -> T:
        if not isinstance(done, Exception):
            return done
        msg = f"cannot store {self.url(key)}: {_words(done)}; trying again is free"
        raise DownloadError(msg)


def open_bucket(url: ObjectURL, seconds: float) -> Bucket:
    """
    Return the place that an address names; its keys come from the environment.

    Args:
        seconds: For one upload.

    Raises:
        ConfigurationError: The environment says too little.
    """
    try:
        hasty = partial(_open_store, url, seconds, CHECK_RETRIES)
        return Bucket(_open_store(url, seconds), url.root, hasty)
    except _TROUBLE as error:
        account = "; AZURE_STORAGE_ACCOUNT_NAME is needed" * (url.scheme == "az")
        msg = f"{url.root} cannot be opened: {_words(error)}{account}"
    raise ConfigurationError(msg)


def _open_store(url: ObjectURL, seconds: float, retries: int = RETRIES) -> ObjectStore:
    client: ClientConfig = {"timeout": timedelta(seconds=seconds), "allow_http": True}
    retry: RetryConfig = {
        "max_retries": retries,
        "retry_timeout": timedelta(seconds=RETRIED_S),
    }
    common: Any = {"client_options": client, "retry_config": retry}
    if url.scheme == "s3":
        return stores.S3Store(url.bucket, **common)
    if url.scheme == "gs":
        return stores.GCSStore(url.bucket, **common)
    if url.scheme == "az":
        return stores.AzureStore(url.bucket, **common)
    if url.scheme == "file":
        return stores.LocalStore(Path(url2pathname(url.bucket)), mkdir=True)
    return stores.MemoryStore()


def lent_bucket(store: ObjectStore) -> Bucket:
    """
    Return the place that a store of the user's own is.

    Raises:
        ConfigurationError: It is of another kind.
    """
    if isinstance(store, stores.LocalStore):
        root = Path(store.prefix).as_uri().rstrip("/") if store.prefix else "file://"
    elif isinstance(store, (stores.S3Store, stores.GCSStore, stores.AzureStore)):
        config: Mapping[str, Any] = {**store.config}
        parts = config.get("bucket") or config["container_name"], store.prefix
        root = f"{_SCHEMES[type(store).__name__]}://{'/'.join(filter(None, parts))}"
    elif isinstance(store, stores.MemoryStore):
        root = "memory://"
    else:
        msg = f"pictures cannot go to a {type(store).__name__}"
        raise ConfigurationError(msg)
    return Bucket(store, root)


async def _put(store: ObjectStore, key: str, content: Content, mode: Any) -> None:
    if isinstance(store, stores.MemoryStore):
        content = bytes(content)  # it would hold on to our file
    # A file system has no place for attributes, and says so.
    plain = isinstance(store, stores.LocalStore)
    await obstore.put_async(
        store,
        key,
        content,
        attributes=None if plain else _attributes(key),
        mode=mode,
        use_multipart=False,
    )


def _attributes(key: str) -> Attributes:
    """Return what a web server is to say of an object."""
    if key.endswith(PAGE):  # replaced while it is looked at
        return {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-cache"}
    kind = type_of(key) or ("application/json" if key.endswith(SIDECAR) else "")
    return {"Content-Type": kind} if kind else {}


async def _tried(work: Awaitable[T]) -> T | Exception:
    """Return what came of *work*: a value, or the error as one."""
    try:
        return await work
    except _TROUBLE as error:
        return error


def _is_unsupported(done: object) -> bool:
    kinds = (exceptions.NotSupportedError, NotImplementedError)
    return isinstance(done, kinds) or status_of(str(done)) == NOT_IMPLEMENTED


def _words(error: Exception) -> str:
    return words_of(type(error).__name__, str(error))
