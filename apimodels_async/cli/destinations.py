"""
What ``--out`` means: a file or folder of this machine, or a place in object storage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from apimodels_async import InvalidRequestError
from apimodels_async._core.files.object_urls import ObjectURL
from apimodels_async._io.files.destinations import means_folder, read_destination

ANSWER_S: Final = 20.0
"""How long a bucket may take to say that it can be written to."""


def read_out(out: str) -> Path | ObjectURL:
    """
    Return what *out* means; nothing is opened.

    Raises:
        ConfigurationError: It is object storage, and the extra for it is missing.
        InvalidRequestError: It cannot be used.
    """
    known = read_destination(out, "out")
    if isinstance(known, ObjectURL) and known.scheme == "memory":
        msg = "--out: what is in memory:// would be gone with this command"
        raise InvalidRequestError(msg, parameter="out")
    return known if isinstance(known, ObjectURL) else Path(out)


async def check_out(out: str | None, *, folder: bool = False) -> None:
    """
    Find out whether *out* can be written to, before anything is paid for.

    Args:
        out: None: nothing is written.

        folder: A path is that of a directory, whatever its end.

    Raises:
        ConfigurationError: It cannot.
    """
    if out is not None:
        from apimodels_async._saving.trial import check_place

        folder = folder or means_folder(out)
        await check_place(read_out(out), ANSWER_S, folder=folder)
