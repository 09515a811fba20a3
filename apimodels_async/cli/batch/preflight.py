"""
Checks before anything is sent: bad rows, counts and prices, and a question before
anything is paid for twice.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Self

from attrs import define, field, frozen

from apimodels_async import InvalidRequestError, check_request
from apimodels_async._api.catalogue import near_models, sends_as_it_is
from apimodels_async._api.spelling import did_you_mean, reworded
from apimodels_async._text import counted
from apimodels_async.cli.commands.account import price_dates
from apimodels_async.cli.terminal.asking import confirm
from apimodels_async.cli.words import plain_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TextIO

    from apimodels_async.cli.batch.rows import Row
    from apimodels_async.cli.output import Output

HOSTED: Final = "a row needs the address of a picture, not its file"
_SHARD: Final = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})", re.ASCII)


@frozen
class Shard:
    """Every *of*-th row, from row *first* on; rows are numbered from 1."""

    first: int = 1
    of: int = 1

    @classmethod
    def read(cls, text: str | None) -> Self:
        """
        Return the shard that "3/16" names; None is the whole file.

        Raises:
            InvalidRequestError: It names none.
        """
        if text is None:
            return cls()
        found = _SHARD.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]):
            msg = f"--shard needs one of 1/16, 2/16, ... 16/16, not {text!r}"
            raise InvalidRequestError(msg, parameter="shard")
        return cls(int(found[1]), int(found[2]))

    def has(self, number: int) -> bool:
        """Return whether row *number* belongs to it."""
        return (number - self.first) % self.of == 0


@define
class ModelTotal:
    """How often a model is asked for, and what that should cost."""

    count: int = 0
    usd: Decimal = Decimal(0)
    unpriced: int = 0
    """Rows for which nothing is published."""


@define
class Preflight:
    """
    What was found in a file of prompts. Amounts in US dollars, by the published hints.
    """

    rows: int = 0
    """In the whole file."""
    ordered: int = 0
    """In this shard of it."""
    models: dict[str, ModelTotal] = field(factory=dict[str, ModelTotal])
    """In the order in which they first appear; of this shard."""
    problems: list[tuple[int, str]] = field(factory=list[tuple[int, str]])
    """Line and reason of every bad row and every bad column, in any shard."""
    bad: int = 0
    """Rows that cannot be ordered, in any shard."""

    @property
    def usd(self) -> Decimal:
        """Sum of what has a price."""
        return sum((each.usd for each in self.models.values()), Decimal(0))

    @property
    def unpriced(self) -> int:
        """Rows without a price."""
        return sum(each.unpriced for each in self.models.values())


def check_rows(rows: Iterable[Row], shard: Shard, *, limited: bool) -> Preflight:
    """
    Check and price every row as the library would; nothing is sent. Blocking: some 40
    microseconds a row.

    Args:
        limited: With a budget a row without a price is a bad row.
    """
    found, told = Preflight(), set[tuple[int, str]]()
    for number, row in enumerate(rows, 1):
        found.rows = number
        mine = shard.has(number)
        found.ordered += mine
        line, reason = row.line, row.problem
        reason = reason or _check(row, found, limited=limited, mine=mine)
        if reason is None:
            continue
        found.bad += 1
        if row.header is not None and reason.startswith("`"):
            # Every row below it has it: said once, where it can be mended.
            line, reason = row.header, f"column {reason}"
        if (line, reason) not in told:
            told.add((line, reason))
            found.problems.append((line, reason))
    return found


def _check(row: Row, found: Preflight, *, limited: bool, mine: bool) -> str | None:
    try:
        checked = check_request(row.item)
    except InvalidRequestError as error:
        if error.parameter == "prompt" and "prompt" not in row.item:
            return "has no prompt"
        extra = 'To send it all the same, put it into "extra": {...}'
        words = reworded(str(error), extra=extra, upload=HOSTED)
        return plain_words(words, options=False)
    if limited and checked.price is None:
        near = near_models(checked.model)
        question = f"; {did_you_mean(near)}" if near else ""
        known = f"no price is known for {checked.model}"
        return f"--max-cost cannot be kept: {known}{question}"
    if mine:
        entry = found.models.setdefault(checked.model, ModelTotal())
        entry.count += 1
        entry.usd += checked.price or 0
        entry.unpriced += checked.price is None
    return None


def print_problems(found: Preflight, name: str, output: Output) -> None:
    """
    Print each bad row, and each model that is probably misspelt.

    Raises:
        InvalidRequestError: There are any, or there are no rows at all.
    """
    for line, reason in found.problems:
        output.note(f"{name}:{line}: {reason}", "")
        output.record("bad_row", line=line, reason=reason)
    if found.problems:
        rows = counted(found.rows, "row")
        msg = f"{found.bad} of {rows} cannot be ordered; nothing was sent"
        raise InvalidRequestError(msg, parameter="file")
    if not found.rows:
        msg = f"{name} has no rows; nothing was sent"
        raise InvalidRequestError(msg, parameter="file")
    if not found.ordered:
        msg = f"{name} has {counted(found.rows, 'row')}, none of them in this shard"
        raise InvalidRequestError(msg, parameter="shard")
    for warning in filter(None, map(sends_as_it_is, found.models)):
        output.warning(warning)


def print_prices(found: Preflight, output: Output) -> None:
    """Print what the file asks for, by model, and what that should cost."""
    width = max(map(len, found.models))
    for model, priced in found.models.items():
        cost = f"${priced.usd}" if priced.unpriced < priced.count else "no price known"
        output.line(f"{model:<{width}} {priced.count:>7}  {cost}")
        output.record(
            "priced",
            model=model,
            count=priced.count,
            usd=priced.usd,
            unpriced=priced.unpriced,
        )
    dates = price_dates()
    output.facts(
        rows=found.ordered
        if found.ordered == found.rows
        else f"{found.ordered} of the {found.rows} in the file",
        sum=f"at most ${found.usd}"
        + (
            f", and {counted(found.unpriced, 'row')} without a price"
            if found.unpriced
            else ""
        ),
        prices=f"hints from the vendor's pages, read on {', '.join(dates)}; what a row "
        "leaves open counts at its dearest, and the API decides what it charges",
    )
    output.record(
        "dry_run",
        rows=found.ordered,
        usd=found.usd,
        unpriced=found.unpriced,
        prices_read_on=dates[0],
    )
    output.note("Nothing was sent.")


async def confirm_reorder(
    before: Mapping[int, str],
    output: Output,
    *,
    yes: bool,
    stdin: TextIO | None = None,
) -> None:
    """
    Ask whether rows of unknown outcome are to be ordered again; there must be a yes.

    Args:
        before: Number -> the journal's word for how far an order got.

        yes: It was given already.

        stdin: Where the answer comes from; else the process's own.

    Raises:
        InvalidRequestError: Nobody can be asked.
        ConfigurationError: The answer was no.
    """
    count = sum(state in {"unknown", "intended"} for state in before.values())
    if yes or not count:
        return
    await confirm(
        f"{count} orders of unknown outcome are ordered again; what was charged "
        "already is then paid for twice. Go on?",
        output,
        needed=f"{count} orders may be paid for twice: say so with --yes",
        otherwise="nothing was ordered",
        stdin=stdin,
    )
