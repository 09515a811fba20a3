"""
Where pictures go: paths, and keys in buckets, each bucket opened once for a session.

Rules of this file:
1. An address in object storage never becomes a path, which would fold its slashes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from apimodels_async._api.checks import refuse
from apimodels_async._core.files.keeping import FILE_BYTES_MAX
from apimodels_async._core.files.object_urls import ObjectURL
from apimodels_async._io.files.destinations import means_folder, read_destination
from apimodels_async._io.files.metadata import check_pillow

if TYPE_CHECKING:
    from apimodels_async._io.files.buckets import Bucket
    from apimodels_async._io.files.destinations import Destination, Known


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


@define(frozen=True)
class ObjectPlace:
    """A key in a bucket; empty, or with a final slash: what begins so."""

    bucket: Bucket
    key: str


@define(frozen=True, kw_only=True)
class Target:
    """Where pictures go, and what may be in the way."""

    place: Path | ObjectPlace
    folder: bool = False
    """It is a directory, whether there is one yet or not."""
    overwrite: bool = False
    """Take the place of what is there."""
    max_bytes: int = FILE_BYTES_MAX
    """Of one picture."""
    provenance: Provenance = field(factory=Provenance)


@define(eq=False, repr=False)
class Places:
    """The places that the pictures of one session go to."""

    _seconds: float
    """For one upload."""
    _buckets: dict[str, Bucket] = field(init=False, factory=dict[str, "Bucket"])
    """Those in use, by what stands before their keys: each has its connections."""

    def place(self, known: Known, *, folder: bool = False) -> Path | ObjectPlace:
        """
        Return where that is, opened once for the session; *folder*: what is below it.

        Raises:
            ConfigurationError: The environment says too little to open it.
        """
        if isinstance(known, Path):
            return known
        from apimodels_async._io.files.buckets import lent_bucket, open_bucket

        if not isinstance(known, ObjectURL):
            return ObjectPlace(lent_bucket(known), "")
        url = known.as_folder() if folder else known
        if url.root not in self._buckets:
            self._buckets[url.root] = open_bucket(url, self._seconds)
        return ObjectPlace(self._buckets[url.root], url.key)

    def target(
        self,
        given: Destination,
        overwrite: bool,  # noqa: FBT001  as its callers have it
        max_bytes: int,
        sidecar: bool,  # noqa: FBT001
        embed: bool,  # noqa: FBT001
    ) -> Target:
        """
        Return where a picture is to go; a final separator makes a directory.

        Raises:
            ConfigurationError: As ``read_destination``, or ``place``.
            InvalidRequestError: It is no path, or *max_bytes* no such number.
        """
        check_bytes(max_bytes)
        known = read_destination(given, "target")
        folder = True
        if isinstance(known, ObjectURL):
            folder = known.folder
        elif isinstance(given, (str, os.PathLike)):
            folder = means_folder(given)
        return Target(
            place=self.place(known),
            folder=folder,
            overwrite=overwrite,
            max_bytes=max_bytes,
            provenance=Provenance(sidecar=sidecar, embed=embed),
        )

    def clear(self) -> None:
        """Let go of all buckets, and their connections with them."""
        self._buckets.clear()
