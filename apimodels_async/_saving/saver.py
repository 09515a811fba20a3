"""
Saves pictures of results, and what is written beside or into them; uploads files.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from apimodels_async._api import calls, requests
from apimodels_async._api.checks import check_result
from apimodels_async._core.files.keeping import Keeping
from apimodels_async._core.files.names import file_stem
from apimodels_async._core.files.provenance import describe, sidecar
from apimodels_async._io.files.disk import LocalDisk
from apimodels_async._io.files.inputs import load_file
from apimodels_async._io.files.metadata import imprint
from apimodels_async._io.files.turns import StoppedError, Turns
from apimodels_async._saving.places import Places, check_bytes
from apimodels_async._saving.trial import FOLDER
from apimodels_async.errors import (
    ApiModelsError,
    DownloadError,
    InvalidRequestError,
    TransportError,
    UnexpectedResponseError,
)
from apimodels_async.models import AnyRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from apimodels_async._io.files.downloads import Files
    from apimodels_async._io.files.inputs import Source
    from apimodels_async._io.sender import Sender
    from apimodels_async._ports import File, Sink
    from apimodels_async._saving.places import ObjectPlace, Target
    from apimodels_async.models import ImageResult

FILE_THREADS: Final = 4


@define(eq=False, repr=False)
class Saver:
    """The files of one session, in and out. Must be made in a running loop."""

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
    places: Places = field(init=False)
    _downloads: Turns = field(init=False)
    _uploads: Turns = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.places = Places(self._seconds)
        self._downloads = Turns(self._most, self._seconds)
        self._uploads = Turns(self._most, self._seconds)

    async def save(
        self,
        result: ImageResult,
        target: Target,
        *,
        index: int = 0,
        number: int | None = None,
        stem: str | None = None,
        taken: Iterable[Path | str] = (),
        request: AnyRequest | None = None,
    ) -> Path | str:
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
            model = None if request is None else requests.model_of(request)
            facts = describe(result, request, model, index)
        stem = stem or file_stem(result.task_id, result.urls[index], prompt)
        if number is None and index:
            stem = f"{stem}-{index + 1}"
        beside = sidecar(facts) if facts and provenance.sidecar else None
        change = partial(imprint, facts) if facts and provenance.embed else None
        keeping = Keeping(
            stem=stem,
            sidecar=beside,
            imprint=change,
            folder=target.folder,
            number=number or 1,
            overwrite=target.overwrite,
            max_bytes=target.max_bytes,
            taken=frozenset(taken),
        )
        open_sink = self._sink_opener(target.place, keeping)
        return await self._download(result, index, open_sink)

    async def check(self, place: Path | ObjectPlace) -> None:
        """
        Find out whether pictures can be kept in a folder, or below a key.

        Raises:
            ConfigurationError: They cannot.
        """
        await self._sink_opener(place, FOLDER)().check()

    async def fetch(self, result: ImageResult, index: int, max_bytes: int) -> bytearray:
        """
        Return picture *index* of *result*, which is kept nowhere.

        Raises:
            DownloadError: It cannot be had, or has more bytes.
        """
        from apimodels_async._io.files.memory import MemorySink

        sink = MemorySink(self._threads, Keeping(stem="", max_bytes=max_bytes))
        await self._download(result, index, lambda: sink)
        return sink.data

    async def _download(
        self, result: ImageResult, index: int, open_sink: Callable[[], Sink]
    ) -> Path | str:
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

    def _sink_opener(
        self, place: Path | ObjectPlace, keeping: Keeping
    ) -> Callable[[], Sink]:
        if isinstance(place, Path):
            return partial(self._open_sink, place, keeping, self._threads, self._disk)
        from apimodels_async._io.files.objects import ObjectSink

        return partial(ObjectSink, self._threads, keeping, place.bucket, place.key)

    async def save_all(
        self,
        result: ImageResult,
        target: Target,
        *,
        stem: str | None = None,
        request: AnyRequest | None = None,
    ) -> tuple[list[Path | str], DownloadError | None]:
        """
        Save every picture of *result*: "fox.png", "fox-2.png", ...

        One that cannot be had stops no other.

        Returns:
            Where they are, in their order, and why others are not, if any is not.
        """
        prompt = None if request is None else _checked(request).prompt
        count, paths = len(check_result(result).urls), list[Path | str]()
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
        self.places.clear()
        await self.files.aclose()


async def result_now(sender: Sender, task_id: str) -> ImageResult | None:
    """
    Return the result of a task as the API tells it now; None: not to be had.

    Its addresses may be newer.
    """
    try:
        snapshot = await sender.send(calls.poll(task_id))
    except ApiModelsError:  # the file's own trouble is what the user is told
        return None
    return snapshot.result


def _checked(request: object) -> AnyRequest:
    if isinstance(request, AnyRequest):
        return request
    msg = "request= takes SparkPixImage, SparkPixEdit or ImageRequest"
    raise InvalidRequestError(msg, parameter="request")
