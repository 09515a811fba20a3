"""
Saves the pictures of jobs: where each wants them, and named as a batch names them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from apimodels_async._core.files.names import item_stem
from apimodels_async._core.files.object_urls import BUCKETS, ObjectURL, read_object_url
from apimodels_async._io.files.destinations import read_destination
from apimodels_async._saving import Target
from apimodels_async.errors import (
    ConfigurationError,
    DownloadError,
    InvalidRequestError,
    JournalError,
)
from apimodels_async.stores.store import ask

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from apimodels_async._io.files.destinations import Known
    from apimodels_async.integrations.streaq.jobs import Job
    from apimodels_async.models import AnyRequest, ImageResult
    from apimodels_async.session import Session
    from apimodels_async.stores.store import OrderStore

logger: logging.Logger = logging.getLogger("apimodels_async.worker")


def _read(save_to: str | os.PathLike[str] | None) -> Known | None:
    return None if save_to is None else read_destination(save_to, "save_to")


@define(eq=False, repr=False)
class JobSaver:
    """Saves the pictures of one worker's jobs."""

    _default: Known | None = field(converter=_read)
    """Where pictures go that a job says nothing of; None: nowhere."""
    store: OrderStore | None
    """The session's, to keep in it where pictures were saved."""

    @property
    def folder(self) -> Path | None:
        """The folder of this machine that pictures go to, if it is one."""
        return self._default if isinstance(self._default, Path) else None

    def place_of(self, save_to: Any) -> Known | None:
        """
        Return where a job wants its pictures; None: nowhere.

        Raises:
            InvalidRequestError: Elsewhere than in a bucket: the files of this machine
                are not for whoever may write to the broker.
        """
        if save_to is None:
            return self._default
        if save_to is False:
            return None
        found = read_object_url(save_to, "save_to")
        if isinstance(found, ObjectURL) and found.scheme in BUCKETS:
            return _read(save_to)
        msg = "a job may have its pictures put into object storage (s3, gs, az) alone"
        raise InvalidRequestError(msg, parameter="save_to")

    async def save(
        self,
        session: Session,
        result: ImageResult,
        asked: AnyRequest,
        job: Job,
        place: Known | None,
    ) -> tuple[Sequence[Path | str], DownloadError | None]:
        """
        Save the pictures of *job* in *place*, and have the store know where they are.

        Returns:
            As ``Saver.save_all``.
        """
        if place is None:
            return (), None
        stem = None
        if job.number is not None:
            stem = item_stem(job.number, result.task_id, asked.prompt)
        saver = session._runtime.open().saver  # noqa: SLF001  ours; tells of each file
        try:
            target = Target(place=saver.places.place(place, folder=True), folder=True)
            paths, trouble = await saver.save_all(
                result, target, stem=stem, request=asked
            )
        except ConfigurationError as error:  # the picture is paid for, all the same
            return (), DownloadError(error.message)
        if paths and self.store is not None:
            files = [str(each) for each in paths]
            try:
                record = await session.find(job.key)
                if record is not None:
                    await ask(self.store.saved, record.attempt, files)
            except JournalError as error:  # they are there, and the answer says so
                logger.warning("%s: its files are not in the store: %s", job.key, error)
        return paths, trouble
