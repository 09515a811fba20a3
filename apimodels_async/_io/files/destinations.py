"""
Where a user wants pictures to go: a folder or a file, or object storage.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from apimodels_async._api.checks import check_path, refuse
from apimodels_async._core.files.object_urls import ObjectURL, read_object_url
from apimodels_async.errors import ConfigurationError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    Destination: TypeAlias = str | os.PathLike[str] | ObjectStore
    """A path, an address in object storage, or a store of obstore's."""
    Known: TypeAlias = Path | ObjectURL | ObjectStore
    """What a destination was read as."""


def means_folder(given: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a directory, whether there is one yet or not."""
    ends = (os.sep, os.altsep or os.sep)
    return os.fspath(given).endswith(ends) or Path(given).name in {"", ".."}


def read_destination(given: Destination, parameter: str) -> Known:
    """
    Return what *given* means; nothing is opened.

    Raises:
        ConfigurationError: It is object storage, and obstore is not installed.
        InvalidRequestError: It is nothing that pictures can go to.
    """
    url = read_object_url(given, parameter)
    if url is not None:
        if importlib.util.find_spec("obstore") is None:
            msg = (
                f"{url.scheme}:// needs obstore: pip install 'apimodels-async[cloud]'; "
                "nothing was sent"
            )
            raise ConfigurationError(msg)
        return url
    if isinstance(given, (str, os.PathLike)):
        check_path(parameter, given)
        return Path(given)
    if type(given).__module__.partition(".")[0] != "obstore":  # it is not loaded here
        refuse(parameter, given, "a path or an address, as str, or pathlib.Path")
    return given
