"""
The folder of a batch: what was asked for, and where everything is.

``batch.json`` and a copy of the prompts say all that ``apimodels resume`` needs; a
later edit of the file they came from changes nothing here.

Rules of this file:
1. A folder may be somebody else's work. It says what to order, at most; where the key
   goes, which files and buckets are read and written, and the limits that were typed
   are not its to say. All names in it are ours, and nothing is used through a link.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
import stat
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from attrs import field, frozen, validators
from cattrs.errors import BaseValidationError
from cattrs.preconf.json import JsonConverter, make_converter

from apimodels_async import ConfigurationError, InvalidRequestError
from apimodels_async._core.files.object_urls import ObjectURL, read_object_url
from apimodels_async._text import printable
from apimodels_async.cli.batch.preflight import Shard
from apimodels_async.cli.batch.rows import READERS, PromptFile, first_change
from apimodels_async.cli.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

VERSION: Final = 1
MAX_PENDING: Final = 50
PLAN: Final = "batch.json"
PLAN_BYTES_MAX: Final = 1 << 20
PROMPTS: Final = frozenset(f"prompts{suffix}" for suffix in READERS)
JOURNAL: Final = "journal.sqlite"
PICTURES: Final = "pictures"
USED: Final = (
    *(PLAN, PICTURES, *sorted(PROMPTS)),
    *(JOURNAL + beside for beside in ("", "-wal", "-shm", "-journal", ".lock")),
)
"""What is read from and written to in place; the page is replaced as a whole."""
SHOWN_CHARS: Final = 200
_NAME: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


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


@frozen
class Folder:
    """The folder, by its absolute path; its methods block."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> Self:
        """
        Return the folder at *path*, which need not exist.

        Raises:
            InvalidRequestError: It was an address in object storage.
        """
        with contextlib.suppress(InvalidRequestError):
            read_object_url(path, "folder")
            return cls(path.absolute())
        msg = (
            "the journal is in a folder of this machine, --folder or FILE.batch: give "
            "its path, not the address of the pictures"
        )
        raise InvalidRequestError(msg, parameter="folder")

    @classmethod
    def beside(cls, file: Path, shard: str | None) -> Self:
        """Return the folder for the prompts in *file*, or one shard of them."""
        part = "" if shard is None else f".{shard.replace('/', '-of-')}"
        return cls.at(file.with_name(f"{file.name}{part}.batch"))

    @property
    def journal(self) -> Path:
        """What was sent and what became of it."""
        return self.path / JOURNAL

    @property
    def pictures(self) -> Path:
        """Where the pictures are."""
        return self.path / PICTURES

    @property
    def index(self) -> Path:
        """The gallery."""
        return self.path / "index.html"

    def plan(self) -> Plan | None:
        """
        Return what the folder was started with; None if nothing was started there.

        Raises:
            ConfigurationError: ``batch.json`` cannot be read, or is of a later release;
                or something there is a link.
        """
        self._refuse_links()
        path = self.path / PLAN
        try:
            with path.open("rb") as file:
                found = json.loads(file.read(PLAN_BYTES_MAX))
            if found["version"] != VERSION:
                version = printable(str(found["version"]), SHOWN_CHARS)
                reason = f"version {version}; this release reads {VERSION}"
            else:
                return _converter().structure(found, Plan)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            reason = error.strerror or str(error)
        except _UNREADABLE:
            reason = "it is damaged"
        msg = f"{path} cannot be read: {reason}"
        raise ConfigurationError(msg)

    def _refuse_links(self) -> None:
        for path in map(self.path.joinpath, USED):
            try:
                mode = path.lstat().st_mode
            except OSError:  # not there, or whoever uses it will tell
                continue
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                msg = (
                    f"{path} is a link, a pipe or a device: put the file or directory "
                    "itself there; nothing in the folder of a batch leads elsewhere"
                )
                raise ConfigurationError(msg)

    def check_address(self, base_url: str) -> None:
        """
        Refuse to go on at another address than the batch was ordered at. Its tasks are
        known there alone, and the key goes only where the user says.

        Raises:
            ConfigurationError: What was started there names another one.
        """
        before = self.plan()
        there = before and before.base_url
        if not there or there.rstrip("/") == base_url:
            return
        there = printable(there, SHOWN_CHARS)
        msg = (
            f"{self.path} says it was ordered at {there}, and the address in force is "
            f"{base_url}: nothing was sent. If you know and trust {there}, say so with "
            "--base-url or APIMODELS_BASE_URL; else start another folder"
        )
        raise ConfigurationError(msg)

    def check_out(self, plan: Plan, out: str | None) -> None:
        """
        Refuse to fill a place in object storage that the folder alone names.

        Args:
            plan: What is there.

            out: Where pictures are to go, as an option says; None: it says nothing.

        Raises:
            ConfigurationError: It is another one.
        """
        if plan.out == out:
            return
        if plan.out is None:
            msg = f"the pictures of {self.path} are in it: leave out --out"
        else:
            there = printable(plan.out, SHOWN_CHARS)
            msg = (
                f"{self.path} says that its pictures go to {there}: nothing was sent. "
                f"If they should, say so: --out {shlex.quote(there)}; else start "
                "another folder"
            )
        raise ConfigurationError(msg)

    def started(self) -> Plan:
        """
        Return what the folder was started with.

        Raises:
            ConfigurationError: Nothing was, or it cannot be read.
        """
        plan = self.plan()
        if plan is None:
            what = "has no batch.json" if self.path.is_dir() else "is not there"
            msg = (
                f"{self.path} is not the folder of a batch: it {what}; "
                "run: apimodels batch FILE --out DIR"
            )
            raise ConfigurationError(msg)
        return plan

    def prompt_file(self, plan: Plan) -> PromptFile:
        """
        Return the copy of the prompts.

        Raises:
            ConfigurationError: It is gone.
        """
        path = self.path / plan.prompts
        try:
            return PromptFile(plan.file, path.suffix, path.read_bytes())
        except OSError as error:
            msg = f"the copy of the prompts, {path}, cannot be read: {error.strerror}"
        raise ConfigurationError(msg)

    def check(self, plan: Plan, prompt_file: PromptFile) -> str:
        """
        Return in words how the arguments continue what is there; "": nothing is there.

        Rows may be added at the end. Anything else is another batch: the numbers of
        the pictures are those of the rows.

        Raises:
            InvalidRequestError: It is another batch.
        """
        before = self.plan()
        if before is None:
            return ""
        if (before.speed is None) != (plan.speed is None):
            kind = "real API" if before.speed is None else "emulator"
            self._refuse(f"for the {kind}", "--emulator cannot be changed")
        if (before.queued_as is None) != (plan.queued_as is None):
            how = "without workers" if before.queued_as is None else "with workers"
            self._refuse(how, "who orders cannot be changed (--broker; --broker none)")
        if before.part != plan.part:
            what = f"for shard {before.shard}" if before.shard else "without --shard"
            self._refuse(what, "each shard needs a folder of its own")
        if before.out != plan.out:
            where = printable(before.out or str(self.path), SHOWN_CHARS)
            started = f"with --out {where}"
            self._refuse(started, "each place for pictures needs a folder of its own")
        old = self.prompt_file(before).rows(before.model)
        change = first_change(old, prompt_file.rows(plan.model))
        if change is not None:
            self._refuse(
                "with other prompts", f"{change}; only adding rows is possible"
            )
        added = plan.rows - before.rows
        return "as before" if not added else f"with {added} added at the end"

    def _refuse(self, started: str, reason: str) -> NoReturn:
        msg = (
            f"{self.path} was started {started}: {reason}. Start another (--out, or "
            "--folder), or go on with what was started: apimodels resume DIR"
        )
        raise InvalidRequestError(msg, parameter="out")

    def write(self, plan: Plan, prompt_file: PromptFile) -> None:
        """
        Keep *plan* and the prompts, each whole or not at all.

        Raises:
            ConfigurationError: The folder cannot be written.
        """

        def write() -> None:
            made = self.path if plan.out else self.pictures
            made.mkdir(parents=True, exist_ok=True)
            replace_file(self.path / plan.prompts, [prompt_file.data])
            text = json.dumps(_converter().unstructure(plan), indent=1)
            replace_file(self.path / PLAN, [text.encode()])

        _guarded(self.path, write)


def resume_command(folder: Path, out: str | None) -> str:
    """
    Return what goes on with the batch in *folder*.

    Args:
        out: Where its pictures go, in object storage: a folder does not decide that.
    """
    place = "" if out is None else f" --out {shlex.quote(out)}"
    return f"apimodels resume {shlex.quote(str(folder))}{place}"


_UNREADABLE: Final = (
    *(ValueError, LookupError, TypeError),
    *(ArithmeticError, RecursionError, BaseValidationError),
)


def _guarded(path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        msg = (
            f"{error.filename or path} cannot be written: {error.strerror}; another "
            "folder is named with --out, or --folder"
        )
    else:
        return
    raise ConfigurationError(msg)


def _converter() -> JsonConverter:
    converter = make_converter()
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda value, _: Decimal(value))
    return converter
