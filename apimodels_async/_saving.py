"""
Saves pictures of results: where they go, and what is written beside or into them.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from apimodels_async._api import calls, requests
from apimodels_async._api.checks import check_result, refuse
from apimodels_async._core.files.names import file_stem, item_stem
from apimodels_async._core.files.provenance import describe, sidecar
from apimodels_async._io.files.disk import LocalDisk
from apimodels_async._io.files.inputs import load_file
from apimodels_async._io.files.metadata import check_pillow, imprint
from apimodels_async._io.files.storage import FILE_BYTES_MAX, Keeping
from apimodels_async._io.files.turns import StoppedError, Turns
from apimodels_async.errors import (
    ApiModelsError,
    DownloadError,
    InvalidRequestError,
    TransportError,
    UnexpectedResponseError,
)
from apimodels_async.models import ImageRequest, SparkPixEdit, SparkPixImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from apimodels_async._io.files.downloads import Files
    from apimodels_async._io.files.inputs import Source
    from apimodels_async._io.sender import Sender
    from apimodels_async._ports import File, Sink
    from apimodels_async.models import AnyRequest, ImageResult

FILE_THREADS: Final = 4


@define(frozen=True, kw_only=True)
class Provenance:
    """Where to write down what a picture was made of."""

    sidecar: bool = False
    """Beside it, as JSON."""
    embed: bool = False
    """Into it; needs Pillow."""

    def check(self) -> None:
        """Raise ``ConfigurationError`` if Pillow is needed and not installed."""
        if self.embed:
            check_pillow()


def check_bytes(max_bytes: object) -> None:
    """A limit in bytes is a whole number of at least 1."""
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
        refuse("max_bytes", max_bytes, "a whole number of bytes, 1 or more")


@define(frozen=True, kw_only=True)
class Target:
    """Where pictures go, and what may be in the way."""

    path: Path
    folder: bool = False
    """It is a directory, whether there is one yet or not."""
    overwrite: bool = False
    """Take the place of what is there."""
    max_bytes: int = FILE_BYTES_MAX
    """Of one picture."""
    provenance: Provenance = field(factory=Provenance)

    @classmethod
    def read(
        cls,
        target: str | os.PathLike[str],
        overwrite: bool,  # noqa: FBT001  as its callers have it
        max_bytes: int,
        sidecar: bool,  # noqa: FBT001
        embed: bool,  # noqa: FBT001
    ) -> Target:
        """
        Return what a caller's *target* says; a final separator makes a directory.

        Raises:
            InvalidRequestError: It is no path, or *max_bytes* no such number.
        """
        check_bytes(max_bytes)
        try:
            text = os.fspath(target)
            path = Path(text)
        except TypeError:
            refuse("target", target, "a path, as str or pathlib.Path")
        folder = text.endswith((os.sep, os.altsep or os.sep)) or path.name in {"", ".."}
        return cls(
            path=path,
            folder=folder,
            overwrite=overwrite,
            max_bytes=max_bytes,
            provenance=Provenance(sidecar=sidecar, embed=embed),
        )


@define(eq=False, repr=False)
class Saver:
    """The files of one session, to and from disk. Must be made in a running loop."""

    files: Files
    _open_sink: Callable[..., Sink]
    """Of the session's adapters."""
    _most: int
    """Files under way at once, in each direction."""
    _seconds: float
    """For each file in all."""
    _threads: anyio.CapacityLimiter = field(
        init=False, factory=lambda: anyio.CapacityLimiter(FILE_THREADS)
    )
    _disk: LocalDisk = field(init=False, factory=LocalDisk)
    _downloads: Turns = field(init=False)
    _uploads: Turns = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._downloads = Turns(self._most, self._seconds)
        self._uploads = Turns(self._most, self._seconds)

    @staticmethod
    def target(
        path: str | os.PathLike[str],
        overwrite: bool,  # noqa: FBT001
        max_bytes: int,
        sidecar: bool,  # noqa: FBT001
        embed: bool,  # noqa: FBT001
    ) -> Target:
        """Return where a picture is to go; raises as :meth:`Target.read`."""
        return Target.read(path, overwrite, max_bytes, sidecar, embed)

    async def save(
        self,
        result: ImageResult,
        target: Target,
        *,
        index: int = 0,
        number: int | None = None,
        stem: str | None = None,
        taken: Iterable[Path] = (),
        request: AnyRequest | None = None,
    ) -> Path:
        """
        Save picture *index* of *result* as *target*, or in it if it is a directory.

        Args:
            number: Where the file name begins to count: "fox-2.png" for 2; else at 1,
                and in a directory with *index*.

            stem: File name in a directory; else made from prompt, task or address.

            taken: Where the other pictures of this result are; a name of its own is
                found for this one, be it equal.

            request: What the picture was asked for with, for its provenance.

        Raises:
            ConfigurationError: Pillow is needed and not installed.
            InvalidRequestError: *request* is no request value.
            DownloadError: Nothing was written.
        """
        facts: Mapping[str, Any] | None = None
        prompt = None if request is None else _checked(request).prompt
        provenance = target.provenance
        if provenance.sidecar or provenance.embed:
            provenance.check()
            facts = _describe(result, request, index)
        stem = stem or file_stem(result.task_id, result.urls[index], prompt)
        if number is None and index:
            stem = f"{stem}-{index + 1}"
        open_sink = partial(
            self._open_sink,
            target.path,
            stem,
            self._threads,
            self._disk,
            sidecar(facts) if facts is not None and provenance.sidecar else None,
            partial(imprint, facts) if facts is not None and provenance.embed else None,
            Keeping(
                folder=target.folder,
                number=number or 1,
                overwrite=target.overwrite,
                max_bytes=target.max_bytes,
                taken=frozenset(taken),
            ),
        )
        msg = (
            f"no whole file within {self._seconds:g} s: give it more with "
            "Timeouts(download=...)"
        )
        try:
            async with self._downloads.take() as turn:
                return await self.files.download(result, index, open_sink, turn)
        except TimeoutError:
            pass
        except StoppedError:
            msg = (
                "the session was closed before the file was whole; downloading it "
                "again is free"
            )
        raise DownloadError(msg, task_id=result.task_id)

    async def save_all(
        self,
        result: ImageResult,
        target: Target,
        *,
        stem: str | None = None,
        request: AnyRequest | None = None,
    ) -> tuple[list[Path], DownloadError | None]:
        """
        Save every picture of *result*: "fox.png", "fox-2.png", ...

        One that cannot be had stops no other.

        Returns:
            Where they are, in their order, and why others are not, if any is not.
        """
        prompt = None if request is None else _checked(request).prompt
        count, paths = len(check_result(result).urls), list[Path]()
        trouble: DownloadError | None = None
        for index in range(count):
            try:
                path = await self.save(
                    result,
                    target,
                    index=index,
                    number=index + 1,
                    stem=stem or file_stem(result.task_id, result.url, prompt),
                    taken=paths,
                    request=request,
                )
            except DownloadError as error:
                if count > 1:
                    error.add_note(f"picture {index + 1} of {count}")
                trouble = trouble or error
            else:
                paths.append(path)
        if trouble is not None:
            trouble.saved = tuple(paths)
        return paths, trouble

    async def load(
        self,
        source: Source,
        name: str | None,
        content_type: str | None,
        max_bytes: int,
    ) -> File:
        """
        Return a file to upload.

        Raises:
            InvalidRequestError: It cannot be read, is too large, or of no known type.
        """
        check_bytes(max_bytes)
        return await load_file(source, name, content_type, self._threads, max_bytes)

    async def upload(self, sender: Sender, file: File) -> str:
        """
        Host *file* and return its public URL.

        Raises:
            APIStatusError: The API refused.
            TransportError: It did not arrive.
            UnexpectedResponseError: The API gave no address to send it to.
        """
        call = calls.upload(file)
        answer = await sender.send(call)
        if call.request.file is None:  # it asked for an address: now the file itself
            if answer.upload_url is None:
                msg = "the API gave no address to upload to"
                raise UnexpectedResponseError(msg)
            await self._put(answer.upload_url, file)
        return answer.public_url

    async def _put(self, url: str, file: File) -> None:
        msg = (
            f"the upload failed: no end within {self._seconds:g} s: give it more with "
            "Timeouts(download=...)"
        )
        try:
            async with self._uploads.take():
                return await self.files.put(url, file)
        except TimeoutError:
            pass
        except StoppedError:
            msg = "the upload failed: the session was closed"
        raise TransportError(msg)

    def stop(self) -> None:
        """End all files under way, and begin none any more."""
        self._downloads.stop()
        self._uploads.stop()

    async def aclose(self) -> None:
        """Close the connections to file hosts."""
        self.stop()
        await self.files.aclose()


@define(frozen=True)
class BatchFolder:
    """The folder that a batch saves its pictures to."""

    _saver: Saver
    _path: Path
    _provenance: Provenance

    def paths_of(self, files: Iterable[str]) -> tuple[Path, ...]:
        """Return where *files* are, of which only the last part of the name counts."""
        return tuple(self._path / Path(file).name for file in files)

    async def save(
        self, result: ImageResult, index: int, request: AnyRequest
    ) -> tuple[list[Path], DownloadError | None]:
        """
        Save the pictures of item *index*, named after its place and prompt.

        Returns:
            As :meth:`Saver.save_all`.
        """
        stem = item_stem(index, result.task_id, request.prompt)
        return await self._saver.save_all(
            result,
            Target(path=self._path, folder=True, provenance=self._provenance),
            stem=stem,
            request=request,
        )


@define(frozen=True)
class Refresher:
    """Asks the API for a task's result again: its addresses may be newer."""

    _sender: Sender

    async def result_of(self, task_id: str) -> ImageResult | None:
        """Return the result of a task as the API tells it now; None: not to be had."""
        try:
            snapshot = await self._sender.send(calls.poll(task_id))
        except ApiModelsError:  # the file's own trouble is what the user is told
            return None
        return snapshot.result


def _describe(
    result: ImageResult, request: AnyRequest | None, index: int
) -> Mapping[str, Any]:
    model = None if request is None else requests.model_of(request)
    return describe(result, request, model, index)


def _checked(request: object) -> AnyRequest:
    if isinstance(request, (SparkPixImage, SparkPixEdit, ImageRequest)):
        return request
    msg = "request= takes SparkPixImage, SparkPixEdit or ImageRequest"
    raise InvalidRequestError(msg, parameter="request")
