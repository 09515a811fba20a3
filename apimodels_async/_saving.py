"""
Saves pictures of results: where they go, and what is written beside or into them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from apimodels_async._api import calls, requests
from apimodels_async._core.files.names import file_stem, item_stem
from apimodels_async._core.files.provenance import describe, sidecar
from apimodels_async._io.files.inputs import load_file
from apimodels_async._io.files.metadata import check_pillow, imprint
from apimodels_async._io.files.storage import Folders
from apimodels_async.errors import ApiModelsError, InvalidRequestError
from apimodels_async.models import ImageRequest, SparkPixEdit, SparkPixImage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from apimodels_async._io.files.downloads import Files
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


@define(eq=False)
class Saver:
    """The files of one session, to and from disk. Must be made in a running loop."""

    files: Files
    _open_sink: Callable[..., Sink]
    """Of the session's adapters."""
    _threads: anyio.CapacityLimiter = field(
        init=False, factory=lambda: anyio.CapacityLimiter(FILE_THREADS)
    )
    _folders: Folders = field(init=False, factory=Folders)

    async def save(
        self,
        result: ImageResult,
        target: Path,
        *,
        index: int = 0,
        stem: str | None = None,
        request: AnyRequest | None = None,
        provenance: Provenance,
    ) -> Path:
        """
        Save picture *index* of *result* as *target*, or in it if it is a directory.

        Args:
            stem: File name in a directory; else made from the task or the address.

            request: What the picture was asked for with, for the *provenance*.

        Raises:
            ConfigurationError: Pillow is needed and not installed.
            InvalidRequestError: *request* is no request value.
            DownloadError: Nothing was written.
        """
        facts: Mapping[str, Any] | None = None
        if provenance.sidecar or provenance.embed:
            provenance.check()
            facts = _describe(result, request, index)
        open_sink = partial(
            self._open_sink,
            target,
            stem or file_stem(result.task_id, result.urls[index]),
            self._threads,
            self._folders,
            sidecar(facts) if facts is not None and provenance.sidecar else None,
            partial(imprint, facts) if facts is not None and provenance.embed else None,
        )
        return await self.files.download(result, index, open_sink)

    async def load(
        self,
        source: str | os.PathLike[str] | bytes,
        name: str | None,
        content_type: str | None,
    ) -> File:
        """
        Return a file to upload.

        Raises:
            InvalidRequestError: It cannot be read, is too large, or of no known type.
        """
        return await load_file(source, name, content_type, self._threads)

    async def aclose(self) -> None:
        """Close the connections to file hosts."""
        await self.files.aclose()


@define(frozen=True)
class BatchFolder:
    """The folder that a batch saves its pictures to."""

    _saver: Saver
    _path: Path
    _provenance: Provenance

    async def save(self, result: ImageResult, index: int, request: AnyRequest) -> Path:
        """Save the picture of item *index*, named after its place and prompt."""
        stem = item_stem(index, result.task_id, request.prompt)
        return await self._saver.save(
            result,
            self._path / stem,
            stem=stem,
            request=request,
            provenance=self._provenance,
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


def _describe(result: ImageResult, request: object, index: int) -> Mapping[str, Any]:
    if request is None:
        return describe(result, None, None, index)
    if not isinstance(request, (SparkPixImage, SparkPixEdit, ImageRequest)):
        msg = "request= takes SparkPixImage, SparkPixEdit or ImageRequest"
        raise InvalidRequestError(msg, parameter="request")
    return describe(result, request, requests.model_of(request), index)
