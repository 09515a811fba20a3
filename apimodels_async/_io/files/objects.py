"""
Pictures in object storage: whole under their final key, or not there at all.

Rules of this file:
1. What is not checked to its end is not uploaded. Until then a picture is in memory, a
   large one in a file that has no name and ends with the process.
2. An upload is one request, conditional on a free key: there are no parts that could be
   left over, and nothing takes the place of an object unasked. A large one is read from
   its file as it goes (measured: 300 MB take no memory of ours).
3. No text of obstore's leaves here: ``bucket_trouble`` says why.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import tempfile
import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar, cast
from urllib.parse import quote
from urllib.request import url2pathname

import anyio
import anyio.to_thread
import obstore
from attrs import define, field
from obstore import exceptions
from obstore import store as stores

from apimodels_async._core.files.bucket_trouble import status_of, words_of
from apimodels_async._core.files.embed import HEAD_BYTES_MAX
from apimodels_async._core.files.ends import is_cut
from apimodels_async._core.files.keeping import (
    BUFFER_BYTES,
    COMPARED_BYTES,
    CUT,
    SIDECAR,
    Keeping,
    picture_suffix,
)
from apimodels_async._core.files.media import HEAD_BYTES, type_of
from apimodels_async._ports import CutError
from apimodels_async.errors import ConfigurationError, DownloadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from obstore.store import ClientConfig, ObjectStore, RetryConfig

    from apimodels_async._core.files.embed import Splice
    from apimodels_async._core.files.object_urls import ObjectURL

    Content = bytes | bytearray | mmap.mmap

T = TypeVar("T")

logger = logging.getLogger("apimodels_async.files")

CHECK_S: Final = 20.0
"""How long a bucket may take to say that it can be written to."""
RETRIED_S: Final = 60.0
"""How long a request is repeated that a bucket could not answer."""
CLEAN_UP_S: Final = 5.0
PROBE: Final = ".apimodels-async"
NOT_IMPLEMENTED: Final = 501
_SCHEMES: Final = {"S3Store": "s3", "GCSStore": "gs", "AzureStore": "az"}
_TROUBLE: Final = (exceptions.BaseError, OSError, ValueError, NotImplementedError)
"""What obstore raises."""


@define(eq=False)
class Bucket:
    """One place in object storage."""

    _store: ObjectStore
    _root: str
    """What stands before its keys in an address."""
    _conditional: bool = field(init=False, default=True)
    """It refuses to put an object where there is one."""

    def url(self, key: str) -> str:
        """Return the address of an object."""
        return f"{self._root}/{quote(key) if self._root.startswith('file:') else key}"

    async def check(self, prefix: str, seconds: float = CHECK_S) -> None:
        """
        Find out whether objects can be written below *prefix*, by writing an empty one.

        Raises:
            ConfigurationError: They cannot.
        """
        key, reason = f"{prefix}{PROBE}", f"no answer within {seconds:g} s"
        try:
            async with asyncio.timeout(seconds):
                done = await _tried(self._put(key, b"", "overwrite"))
                if not isinstance(done, Exception):
                    await self.delete(key)
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
        # Who may not list a bucket is refused to hear that nothing is there (S3).
        if isinstance(found, (FileNotFoundError, exceptions.PermissionDeniedError)):
            return None
        return self._checked(found, key)["size"]

    async def create(self, key: str, content: Content) -> bool:
        """
        Store an object under a key that is free; False: it is not.

        Raises:
            DownloadError: The bucket does not take it.
        """
        if self._conditional:
            done = await _tried(self._put(key, content, "create"))
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
        """Store an object, whatever has its key; raises as :meth:`create`."""
        self._checked(await _tried(self._put(key, content, "overwrite")), key)

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

    async def _put(self, key: str, content: Content, mode: Any) -> None:
        kind = type_of(key) or ("application/json" if key.endswith(SIDECAR) else "")
        # A file system has no place for it, and says so.
        keeps = kind and not isinstance(self._store, stores.LocalStore)
        if isinstance(self._store, stores.MemoryStore):
            content = bytes(content)  # it would hold on to our file
        await obstore.put_async(
            self._store,
            key,
            content,
            attributes={"Content-Type": kind} if keeps else None,
            mode=mode,
            use_multipart=False,
        )

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
    client: ClientConfig = {"timeout": timedelta(seconds=seconds), "allow_http": True}
    retry: RetryConfig = {"retry_timeout": timedelta(seconds=RETRIED_S)}
    common: Any = {"client_options": client, "retry_config": retry}
    store: ObjectStore
    try:
        if url.scheme == "s3":
            store = stores.S3Store(url.bucket, **common)
        elif url.scheme == "gs":
            store = stores.GCSStore(url.bucket, **common)
        elif url.scheme == "az":
            store = stores.AzureStore(url.bucket, **common)
        elif url.scheme == "file":
            store = stores.LocalStore(Path(url2pathname(url.bucket)), mkdir=True)
        else:
            store = stores.MemoryStore()
        return Bucket(store, url.root)
    except _TROUBLE as error:
        account = "; AZURE_STORAGE_ACCOUNT_NAME is needed" * (url.scheme == "az")
        msg = f"{url.root} cannot be opened: {_words(error)}{account}"
    raise ConfigurationError(msg)


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


@define(eq=False)
class ObjectSink:
    """Gathers the bytes of one picture, checks them, and uploads them as one object."""

    _bucket: Bucket
    _key: str
    """Empty, or with a final slash: *stem* follows."""
    _stem: str
    _threads: anyio.CapacityLimiter
    _sidecar: bytes | None = None
    """What to put into an object beside it, named ``fox.png.json``."""
    _imprint: Callable[[bytes], Splice | None] | None = None
    """Called in a thread with the head of the file; says what to write into it."""
    _keeping: Keeping = field(factory=Keeping)
    _buffer: bytearray = field(init=False, factory=bytearray)
    _file: BinaryIO | None = field(init=False, default=None)
    """Where the bytes before those are, once they are many."""
    _head: bytes = field(init=False, default=b"")
    _size: int = field(init=False, default=0)
    _shown: list[str] = field(init=False, factory=list[str])
    """Keys of sidecars whose picture is not there yet."""
    _lock: threading.Lock = field(init=False, factory=threading.Lock)
    _used: bool = field(init=False, default=False)
    """Whether a thread was ever asked for anything."""
    _over: bool = field(init=False, default=False)

    @property
    def size(self) -> int:
        """Bytes taken in so far."""
        return self._size

    async def add(self, chunk: bytes) -> None:
        """
        Take in the next bytes.

        Raises:
            DownloadError: Too large, or there is no room to keep it meanwhile.
        """
        self._size += len(chunk)
        self._keeping.check_size(self._size)
        self._buffer += chunk
        if len(self._buffer) >= BUFFER_BYTES:
            await self._in_thread(self._flush)

    async def restart(self) -> None:
        """Forget all bytes so far."""
        self._size = 0
        self._head = b""
        self._buffer = bytearray()
        if self._file is not None:
            await self._in_thread(partial(_empty, self._file))

    async def finish(self) -> str:
        """
        Upload the picture under its final key, and return its address.

        A target without a suffix gets the one of the content. A sidecar is there before
        the picture is.

        Raises:
            CutError: It is not whole; more may be added after :meth:`restart`.
            DownloadError: Not a picture, or the bucket does not take it.
        """
        suffix = picture_suffix(self._head or bytes(self._buffer[:HEAD_BYTES]))
        content = cast("Content | None", await self._in_thread(self._check))
        if content is None:
            raise CutError(CUT)
        folder, slash, name = self._key.rpartition("/")
        names = self._keeping.names(
            name or self._stem, suffix, sidecar=self._sidecar is not None
        )
        for each in names:
            key = f"{folder}{slash}{each}"
            url = self._bucket.url(key)
            if url not in self._keeping.taken and await self._give(key, content):
                self._shown.clear()
                return url
        msg = f"cannot store {self._bucket.url(self._key)}: all numbers are taken"
        raise DownloadError(msg)

    async def discard(self) -> None:
        """Leave nothing behind, unless :meth:`finish` is through."""
        if self._used:  # a thread may be about to open a file
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._close, limiter=self._threads)
        with anyio.move_on_after(CLEAN_UP_S, shield=True):
            await self._take_back()

    async def _in_thread(self, work: Callable[[], object]) -> object:
        self._used = True
        try:
            return await anyio.to_thread.run_sync(
                self._guard, work, limiter=self._threads
            )
        except OSError as error:
            reason = error.strerror
        msg = f"cannot keep the picture in {tempfile.gettempdir()} meanwhile: {reason}"
        raise DownloadError(msg)

    def _guard(self, work: Callable[[], object]) -> object:
        # task.cancel() does not wait for a thread (anyio shields from its own scopes
        # alone): discard() may come while the thread still writes, or before it does.
        with self._lock:
            return None if self._over else work()

    def _flush(self) -> None:
        self._begin()
        if self._file is None:
            # No context: it is closed by discard().
            self._file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115
        self._file.write(self._buffer)
        self._buffer = bytearray()

    def _begin(self) -> None:
        if self._head:
            return
        self._head = bytes(self._buffer[:HEAD_BYTES])
        if self._imprint is None:
            return
        splice = self._imprint(bytes(self._buffer[:HEAD_BYTES_MAX]))
        if splice is not None:
            self._buffer[splice.start : splice.stop] = splice.data

    def _check(self) -> Content | None:
        if self._file is None:
            self._begin()
            content: Content = self._buffer
        else:
            self._flush()
            self._file.flush()
            content = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        cut = is_cut(lambda at, most: bytes(content[at : at + most]), len(content))
        return None if cut else content

    async def _give(self, key: str, content: Content) -> bool:
        """Upload under *key*; False: that is another object's."""
        bucket = self._bucket
        if self._keeping.overwrite:
            if self._sidecar is not None:
                await bucket.replace(key + SIDECAR, self._sidecar)
            await bucket.replace(key, content)
            return True
        # To send all of it is a dear way to hear that the key is taken.
        if await bucket.find(key) is None:
            if not await self._give_sidecar(key):
                return False
            if await bucket.create(key, content):
                return True
            await self._take_back()  # somebody was faster
        if not await bucket.equals(key, content):
            return False
        await self._give_sidecar(key)
        return True

    async def _give_sidecar(self, key: str) -> bool:
        """Put the sidecar beside *key*; False: something else is there."""
        if self._sidecar is None:
            return True
        beside = key + SIDECAR
        if not await self._bucket.create(beside, self._sidecar):
            return await self._bucket.equals(beside, self._sidecar)
        self._shown.append(beside)
        return True

    async def _take_back(self) -> None:
        for key in self._shown:
            await self._bucket.delete(key)
        self._shown.clear()

    def _close(self) -> None:
        with self._lock:
            self._over = True
            if self._file is not None:
                self._file.close()
                self._file = None


def _empty(file: BinaryIO) -> None:
    file.truncate(file.seek(0))


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
