"""What ``--out`` and ``--folder`` of a batch mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from attrs import frozen
from cyclopts import Parameter

from apimodels_async import InvalidRequestError
from apimodels_async.cli.batch.folder import Folder
from apimodels_async.cli.batch.rows import STDIN
from apimodels_async.cli.destinations import read_out
from apimodels_async.cli.options import DELIVERY, Out


def bucket_address(out: str) -> str | None:
    """
    Return where in object storage *out* is, in one spelling; None: it is a path.

    Raises:
        ConfigurationError: The extra for it is missing.
        InvalidRequestError: It cannot be used.
    """
    known = read_out(out)
    return None if isinstance(known, Path) else known.as_folder().address


@Parameter(name="*", group=DELIVERY)
@frozen(kw_only=True)
class BatchOut:
    """Where a batch puts what it makes, and what it needs to go on."""

    out: Out = None
    """Folder for pictures, index.html, journal.sqlite and batch.json. Or an address in
    object storage, s3://bucket/prefix (gs, az, file), for pictures and index.html."""

    folder: Annotated[Path | None, Parameter(show_default=False)] = None
    """With --out in object storage: folder of this machine for journal.sqlite and
    batch.json, as "apimodels ls" and "resume" take it; else FILE.batch beside FILE."""


def choose_folder(
    file: Path, options: BatchOut, shard: str | None
) -> tuple[Folder, str | None]:
    """
    Return the folder of a batch, and where in object storage its pictures go, if there.

    Args:
        file: Of the prompts.

    Raises:
        ConfigurationError: The extra for object storage is missing.
        InvalidRequestError: They do not fit together.
    """
    out, folder = options.out, options.folder
    if out is None:
        msg = "--out is missing: the folder for the pictures, or s3://bucket/prefix"
        raise InvalidRequestError(msg, parameter="out")
    address = bucket_address(out)
    if address is None:
        if folder is not None:
            msg = "--folder goes with --out in object storage: a folder holds all"
            raise InvalidRequestError(msg, parameter="folder")
        return Folder.at(Path(out)), None
    if folder is None and str(file) == STDIN:
        msg = (
            "prompts from stdin have no place: name a folder for the journal: --folder"
        )
        raise InvalidRequestError(msg, parameter="folder")
    return Folder.at(folder) if folder else Folder.beside(file, shard), address
