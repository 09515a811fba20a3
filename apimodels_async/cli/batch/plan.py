"""
What a batch was asked to do: ``batch.json`` in its folder.

With the copy of the prompts beside it that is all that ``apimodels resume`` needs. It
may be somebody else's work: names in it are ours, and numbers are within limits.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import field, frozen, validators
from cattrs.errors import BaseValidationError
from cattrs.preconf.json import JsonConverter, make_converter

from apimodels_async import ConfigurationError
from apimodels_async._core.files.object_urls import ObjectURL, read_object_url
from apimodels_async._text import printable
from apimodels_async.cli.batch.preflight import Shard
from apimodels_async.cli.batch.rows import READERS

if TYPE_CHECKING:
    from pathlib import Path

    from attrs import Attribute

VERSION: Final = 1
MAX_PENDING: Final = 50
BYTES_MAX: Final = 1 << 20
PROMPTS: Final = frozenset(f"prompts{suffix}" for suffix in READERS)
SHOWN_CHARS: Final = 200
_NAME: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_UNREADABLE: Final = (
    *(ValueError, LookupError, TypeError),
    *(ArithmeticError, RecursionError, BaseValidationError),
)


def _check_positive(_: Plan, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not 0 < value < math.inf:
        msg = f"{attribute.name} is not above 0"
        raise ValueError(msg)


def _check_address(_: Plan, attribute: Attribute[Any], value: Any) -> None:
    url = read_object_url(value, attribute.name)
    if value is not None and (
        url is None or url.scheme == "memory" or url.as_folder().address != value
    ):
        msg = f"{attribute.name} is no place for the pictures of a batch"
        raise ValueError(msg)


def _check_name(_: Plan, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not _NAME.fullmatch(str(value)):
        msg = f"{attribute.name} is no name that was given here"
        raise ValueError(msg)


@frozen(kw_only=True)
class Plan:
    """What a batch was asked to do; ``batch.json``."""

    file: str
    """Where the prompts came from, as it was typed."""
    prompts: str = field(validator=validators.in_(PROMPTS))
    """Their copy in the folder."""
    rows: int
    """In the file, all shards together."""
    ordered: int
    """Rows of this batch."""
    model: str | None = None
    """For rows that name none."""
    shard: str | None = None
    speed: float | None = field(default=None, validator=_check_positive)
    """Of the embedded emulator; None: the API."""
    base_url: str | None = None
    """Where it was ordered, to compare; None: not told."""
    poll_interval: float | None = None
    """Seconds."""
    max_pending: int = field(default=MAX_PENDING, validator=_check_positive)
    max_cost: Decimal | None = field(default=None, validator=_check_positive)
    """US dollars."""
    queued_as: str | None = field(default=None, validator=_check_name)
    """Name of the batch in the queue of the workers that order it; None: no workers."""
    out: str | None = field(default=None, validator=_check_address)
    """Where in object storage its pictures are; None: in the folder."""
    version: int = VERSION

    @property
    def destination(self) -> ObjectURL | None:
        """The same, read."""
        return read_object_url(self.out, "out")

    @property
    def part(self) -> Shard:
        """The rows it orders."""
        return Shard.read(self.shard)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """
        Return the plan in the file *path*; None if it is not there.

        Raises:
            ConfigurationError: It cannot be read, or is of a later release.
        """
        try:
            with path.open("rb") as file:
                found = json.loads(file.read(BYTES_MAX))
            if found["version"] == VERSION:
                return _converter().structure(found, cls)
            version = printable(str(found["version"]), SHOWN_CHARS)
            reason = f"version {version}; this release reads {VERSION}"
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            reason = error.strerror or str(error)
        except _UNREADABLE:
            reason = "it is damaged"
        msg = f"{path} cannot be read: {reason}"
        raise ConfigurationError(msg)

    def content(self) -> bytes:
        """Return what is written to the file."""
        return json.dumps(_converter().unstructure(self), indent=1).encode()


def _converter() -> JsonConverter:
    converter = make_converter()
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda value, _: Decimal(value))
    return converter
