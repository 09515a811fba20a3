"""
What ``--out`` means: a file or folder of this machine, or a place in object storage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from apimodels_async import InvalidRequestError
from apimodels_async._core.files.object_urls import ObjectURL
from apimodels_async._io.files.destinations import read_destination

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


async def check_out(out: str | None) -> None:
    """
    Find out whether a bucket can be written to, before anything is paid for.

    A folder is made, and tried, when it is needed.

    Raises:
        ConfigurationError: It cannot.
    """
    known = None if out is None else read_out(out)
    if isinstance(known, ObjectURL):
        from apimodels_async._io.files.buckets import open_bucket

        await open_bucket(known, ANSWER_S).check(known.prefix, ANSWER_S)
