"""
Prompts from a file: .txt, .csv or .jsonl, one row at a time, each with its line number.

Rules of this file:
1. Nothing here keeps rows: a hundred thousand of them are read twice instead, once to
   be checked and once to be ordered.
2. What is wrong with a row is a value, so that all bad rows can be reported at once;
   what is wrong with the whole file is raised.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from itertools import chain, zip_longest
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

from attrs import evolve, field, frozen

from apimodels_async import InvalidRequestError, check_request
from apimodels_async._api.spelling import did_you_mean, nearest
from apimodels_async.cli.options import read_value
from apimodels_async.cli.words import JSON_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

STDIN: Final = "-"
TEXT_COLUMNS: Final = frozenset({"prompt", "model"})
"""Cells that are text also where they could be read as JSON: the prompt 1984."""
DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
HEADER_CHARS: Final = 10_000
"""Of a first line that is looked at; csv takes no cell above 128 KiB."""
_SEP: Final = re.compile(r"sep=([,;\t])", re.IGNORECASE)
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


@frozen
class Row:
    """One row: what to order, or why that cannot be said."""

    line: int
    """In the file, from 1; of a quoted CSV row its last one."""
    item: dict[str, Any] = field(factory=dict[str, Any])
    """The API's parameters, ``prompt`` and ``model`` among them."""
    problem: str | None = None
    header: int | None = None
    """Line of the header that names its parameters; None: it names them itself."""


@frozen
class PromptFile:
    """The bytes of one file, and how to read them."""

    name: str
    """For people."""
    suffix: str
    data: bytes = field(repr=False)

    def rows(self, model: str | None) -> Iterator[Row]:
        """
        Return its rows; those without a model get *model*.

        Raises:
            InvalidRequestError: It is not UTF-8, or its header cannot be used.
        """
        lines = io.StringIO(self._text(), newline="")
        for row in READERS[self.suffix](lines, self.name):
            if model is None or row.problem or row.item.get("model") is not None:
                yield row
            else:
                yield evolve(row, item={**row.item, "model": model})

    def _text(self) -> str:
        if self.data.startswith(_UTF16):
            _refuse(self.name, "it is UTF-16: save it as UTF-8")
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            byte = self.data[error.start]
            reason = f"line {line} is not UTF-8 (byte {byte:#04x}): save it as UTF-8"
        return _refuse(self.name, reason)


def load_prompts(path: Path, stdin: BinaryIO | None = None) -> PromptFile:
    """
    Return the prompts at *path*; ``-`` is *stdin*, one a line. Blocking.

    Args:
        stdin: Else that of the process.

    Raises:
        InvalidRequestError: It cannot be read, or its suffix says nothing.
    """
    if str(path) == STDIN:
        return PromptFile("stdin", ".txt", (stdin or sys.stdin.buffer).read())
    suffix = path.suffix.lower()
    if suffix not in READERS:
        kinds = ".txt (a prompt a line), .csv (with a header) or .jsonl"
        _refuse(str(path), f"the name must end in {kinds}")
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        return PromptFile(str(path), suffix, data)
    return _refuse(str(path), reason)


def first_change(old: Iterable[Row], new: Iterable[Row]) -> str | None:
    """Return where *new* is not *old* with rows added at the end; None: it is."""
    for at, (before, after) in enumerate(zip_longest(old, new), 1):
        if before is None:
            return None
        if after is None:
            return f"row {at} and what followed it is gone"
        if not _are_same(before.item, after.item):
            return f"row {at} (line {after.line}) is another one"
    return None


def _are_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether both order the same; a default may be written out."""
    if one == other:
        return True
    try:
        return check_request(one).request == check_request(other).request
    except InvalidRequestError:
        return False


def _txt(lines: IO[str], _: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        prompt = line.strip()
        if prompt and not prompt.startswith("#"):
            yield Row(number, {"prompt": prompt})


def _csv(lines: IO[str], name: str) -> Iterator[Row]:
    delimiter, rows = _delimiter(lines)
    reader = csv.reader(rows, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    header_line = 1
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header, header_line = _header(cells, name), reader.line_num
            else:
                row = _csv_row(reader.line_num, header, cells, delimiter)
                yield evolve(row, header=header_line)
    except csv.Error as error:
        # What follows cannot be trusted: an open quote swallows the rest of the file.
        yield Row(reader.line_num, problem=f"cannot be read as CSV: {error}")


def _delimiter(lines: Iterator[str]) -> tuple[str, Iterator[str]]:
    """
    Return what separates the cells, by the header, and all of *lines*.

    Spreadsheets write semicolons where the comma is in numbers, and may say so in a
    line of their own, "sep=;".
    """
    seen = list[str]()
    for line in lines:
        told = _SEP.fullmatch(line.strip())
        if told:  # a blank line in its place keeps the numbers of the others
            return told[1], chain(seen, ["\n"], lines)
        seen.append(line)
        if line.strip():
            break
    header = [line[:HEADER_CHARS] for line in seen[-1:]]
    for delimiter in DELIMITERS:
        cells = next(csv.reader(header, delimiter=delimiter), [])
        if not TEXT_COLUMNS.isdisjoint(cell.strip() for cell in cells):
            return delimiter, chain(seen, lines)
    return ",", chain(seen, lines)


def _header(cells: list[str], name: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    shown = ", ".join(header)
    if "prompt" not in header and "model" not in header:
        near = [title for title in header if nearest(title, TEXT_COLUMNS)]
        meant = [each for title in near for each in nearest(title, TEXT_COLUMNS)]
        question = f"; {did_you_mean(meant)}" if meant else ""
        _refuse(name, f"its first row must name the columns, not: {shown}{question}")
    for title in header:
        if not title or header.count(title) > 1:
            what = f"column {title!r} twice" if title else "a column without a name"
            _refuse(name, f"its header has {what}: {shown}")
    return header


def _csv_row(line: int, header: list[str], cells: list[str], delimiter: str) -> Row:
    if len(cells) > len(header):
        counts = f"{len(cells)} cells under {len(header)} columns"
        return Row(
            line, problem=f"{counts}: quote text that has {DELIMITERS[delimiter]}"
        )
    given = {
        name: cell if name in TEXT_COLUMNS else read_value(cell)
        for name, cell in zip(header, cells, strict=False)
        if cell.strip()
    }
    return Row(line, given)


def _jsonl(lines: IO[str], _: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _json_row(number, line)


def _json_row(line: int, text: str) -> Row:
    try:
        found = json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        return Row(line, problem=f"is not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return Row(line, problem=f"cannot be read: {error}")
    if isinstance(found, str):
        return Row(line, {"prompt": found})
    if not isinstance(found, dict):
        kind = JSON_NAMES.get(type(found).__name__, "this")
        return Row(line, problem=f"needs an object or a string, not {kind}")
    return Row(line, found)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            msg = f"{name!r} is given twice"
            raise ValueError(msg)
        found[name] = value
    return found


def _refuse(name: str, reason: str) -> NoReturn:
    msg = f"{name}: {reason}"
    raise InvalidRequestError(msg, parameter="file")


READERS: Final[dict[str, Callable[[IO[str], str], Iterator[Row]]]] = {
    ".txt": _txt,
    ".csv": _csv,
    ".jsonl": _jsonl,
}
