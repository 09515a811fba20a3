"""
The folder of a batch: where everything is, and what may go on there.

Besides the plan it has a copy of the prompts: a later edit of the file they came from
changes nothing here.

Rules of this file:
1. A folder may be somebody else's work. It says what to order, at most; where the key
   goes, which files and buckets are read and written, and the limits that were typed
   are not its to say. All names in it are ours, and nothing is used through a link.
2. Nothing is written before it is locked, which lasts for the run: two that begin at
   once would order the rows of one by the plan of the other.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Self

from attrs import frozen

from apimodels_async import ConfigurationError, InvalidRequestError
from apimodels_async._core.files.object_urls import read_object_url
from apimodels_async._text import printable
from apimodels_async.cli.batch.plan import PROMPTS, SHOWN_CHARS, Plan
from apimodels_async.cli.batch.rows import PromptFile, first_change
from apimodels_async.cli.files import replace_file
from apimodels_async.stores.sqlite.journal import holder_of, lock_beside

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAN: Final = "batch.json"
JOURNAL: Final = "journal.sqlite"
PICTURES: Final = "pictures"
USED: Final = (
    *(PLAN, f"{PLAN}.lock", PICTURES, *sorted(PROMPTS)),
    *(JOURNAL + beside for beside in ("", "-wal", "-shm", "-journal", ".lock")),
)
"""What is read from and written to in place; the page is replaced as a whole."""


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
        return Plan.read(self.path / PLAN)

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

    def check(self, before: Plan, plan: Plan, prompt_file: PromptFile) -> str:
        """
        Return in words how *plan* and the prompts continue *before*, which is there.

        Rows may be added at the end. Anything else is another batch: the numbers of
        the pictures are those of the rows.

        Raises:
            InvalidRequestError: It is another batch.
        """
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

    def check_copy(self, plan: Plan, prompt_file: PromptFile) -> None:
        """
        Refuse a folder where nothing was started, and other prompts have our name.

        Raises:
            ConfigurationError: The copy of the prompts would take their place.
        """
        copy = self.path / plan.prompts
        try:
            ours = not copy.exists() or copy.read_bytes() == prompt_file.data
        except OSError:
            ours = False
        if not ours:
            msg = (
                f"{copy} is there, and not the copy of {plan.file}: name a folder of "
                "its own (--out, or --folder)"
            )
            raise ConfigurationError(msg)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Tell what cannot be written there, as a ``ConfigurationError``."""
        try:
            yield
        except OSError as error:
            msg = (
                f"{error.filename or self.path} cannot be written: {error.strerror}; "
                "another folder is named with --out, or --folder"
            )
            raise ConfigurationError(msg) from error

    def check_free(self) -> None:
        """
        Refuse a folder in which another process is at work.

        Raises:
            ConfigurationError: One is.
        """
        pid = holder_of(self.path / PLAN) or holder_of(self.journal)
        if pid is not None:
            self._refuse_second(pid)

    def _refuse_second(self, pid: int | None) -> NoReturn:
        who = "another process" if pid is None else f"another process (pid {pid})"
        msg = (
            f"{who} is at work in {self.path}: let it end, or see how far it is: "
            "apimodels ls DIR"
        )
        raise ConfigurationError(msg)

    def lock(self, before: Plan | None) -> int:
        """
        Make the folder, and keep all others from beginning there.

        Args:
            before: The plan that was there when it was looked at.

        Returns:
            The lock's descriptor, which is to be closed when the run has ended.

        Raises:
            ConfigurationError: Another process is at work there, or was since; or the
                folder cannot be written.
        """
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = lock_beside(self.path / PLAN)
        if lock is None:
            self._refuse_second(holder_of(self.path / PLAN))
        try:
            self._check_untouched(before)
        except BaseException:
            os.close(lock)
            raise
        return lock

    def _check_untouched(self, before: Plan | None) -> None:
        if self.plan() != before:
            msg = (
                f"another process was at work in {self.path} meanwhile: nothing was "
                "ordered here; run it again"
            )
            raise ConfigurationError(msg)

    def write(self, plan: Plan, prompt_file: PromptFile) -> None:
        """
        Keep *plan* and the prompts, each whole or not at all, once it is locked.

        Raises:
            ConfigurationError: The folder cannot be written.
        """
        with self._writing():
            made = self.path if plan.out else self.pictures
            made.mkdir(parents=True, exist_ok=True)
            replace_file(self.path / plan.prompts, [prompt_file.data])
            replace_file(self.path / PLAN, [plan.content()])


def resume_command(folder: Path, out: str | None) -> str:
    """
    Return what goes on with the batch in *folder*.

    Args:
        out: Where its pictures go, in object storage: a folder does not decide that.
    """
    place = "" if out is None else f" --out {shlex.quote(out)}"
    return f"apimodels resume {shlex.quote(str(folder))}{place}"
