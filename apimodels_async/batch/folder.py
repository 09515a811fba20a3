"""
Where a batch saves its pictures: a folder, or what in a bucket begins alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from attrs import define

from apimodels_async._core.files.names import item_stem, name_in
from apimodels_async._saving import Target
from apimodels_async.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apimodels_async._saving import ObjectPlace, Provenance, Saver
    from apimodels_async.models import AnyRequest, ImageResult


@define(frozen=True)
class BatchFolder:
    """The folder, or what in a bucket begins alike, that a batch saves pictures to."""

    _saver: Saver
    _place: Path | ObjectPlace
    _provenance: Provenance

    async def check(self) -> None:
        """
        Find out whether pictures can be kept there; leaves nothing behind.

        Raises:
            ConfigurationError: They cannot.
        """
        await self._saver.check(self._place)

    async def find(self, files: Iterable[str]) -> tuple[Path | str, ...]:
        """
        Return where *files* are, of which only the last part of the name counts.

        Empty: one of them is not there, or the bucket does not say.
        """
        found = list[Path | str]()
        for name in map(name_in, files):
            if isinstance(self._place, Path):
                path = self._place / name
                if not await _is_file(path):
                    return ()
                found.append(path)
            else:
                bucket, key = self._place.bucket, self._place.key + name
                try:
                    if await bucket.find(key) is None:
                        return ()
                except DownloadError:  # saving it again will tell
                    return ()
                found.append(bucket.url(key))
        return tuple(found)

    async def save(
        self,
        result: ImageResult,
        index: int,
        request: AnyRequest,
        idempotency_key: str | None,  # noqa: ARG002  for those who save elsewhere
    ) -> tuple[list[Path | str], DownloadError | None]:
        """
        Save the pictures of item *index*, named after its place and prompt.

        Returns:
            As ``Saver.save_all``.
        """
        stem = item_stem(index, result.task_id, request.prompt)
        return await self._saver.save_all(
            result,
            Target(place=self._place, folder=True, provenance=self._provenance),
            stem=stem,
            request=request,
        )


async def _is_file(path: Path) -> bool:
    place = anyio.Path(path)
    return not await place.is_symlink() and await place.is_file()
