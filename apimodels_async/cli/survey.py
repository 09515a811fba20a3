"""
What a sheet asks for, known before anything is sent: its bad rows, counts and prices.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Self

from attrs import define, field, frozen

from apimodels_async import InvalidRequestError, check_request, known_models

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apimodels_async.cli.output import Output
    from apimodels_async.cli.sheet import Row

_SHARD: Final = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})", re.ASCII)


@frozen
class Shard:
    """
    Every *of*-th row, from row *first* on; rows are numbered from 1.
    """

    first: int = 1
    of: int = 1

    @classmethod
    def read(cls, text: str | None) -> Self:
        """
        Return the shard that "3/16" names; None is the whole sheet.

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
        """
        Return whether row *number* belongs to it.
        """
        return (number - self.first) % self.of == 0


@define
class Priced:
    """
    How often a model is asked for, and what that should cost.
    """

    count: int = 0
    usd: Decimal = Decimal(0)
    unpriced: int = 0
    """Rows for which nothing is published."""


@define
class Survey:
    """
    What was found in a sheet. Amounts in US dollars, by the published hints.
    """

    rows: int = 0
    """In the whole sheet."""
    ordered: int = 0
    """In this shard of it."""
    models: dict[str, Priced] = field(factory=dict[str, Priced])
    """In the order in which they first appear; of this shard."""
    problems: list[tuple[int, str]] = field(factory=list[tuple[int, str]])
    """Line and reason of every bad row, in any shard."""

    @property
    def usd(self) -> Decimal:
        """
        Sum of what has a price.
        """
        return sum((each.usd for each in self.models.values()), Decimal(0))

    @property
    def unpriced(self) -> int:
        """
        Rows without a price.
        """
        return sum(each.unpriced for each in self.models.values())


def survey(rows: Iterable[Row], shard: Shard, *, limited: bool) -> Survey:
    """
    Check and price every row as the library would; nothing is sent. Blocking: some 20
    microseconds a row.

    Args:
        limited: With a budget a row without a price is a bad row.
    """
    found = Survey()
    for number, row in enumerate(rows, 1):
        found.rows = number
        mine = shard.has(number)
        reason = row.problem or _check(row, found, limited=limited, mine=mine)
        found.ordered += mine
        if reason:
            found.problems.append((row.line, reason))
    return found


def _check(row: Row, found: Survey, *, limited: bool, mine: bool) -> str | None:
    try:
        checked = check_request(row.item)
    except InvalidRequestError as error:
        if error.parameter == "prompt" and "prompt" not in row.item:
            return "has no prompt"
        return str(error)
    if limited and checked.price is None:
        return f"--max-cost cannot be kept: no price is known for {checked.model}"
    if mine:
        entry = found.models.setdefault(checked.model, Priced())
        entry.count += 1
        entry.usd += checked.price or 0
        entry.unpriced += checked.price is None
    return None


def tell_problems(found: Survey, name: str, output: Output) -> None:
    """
    Say each bad row.

    Raises:
        InvalidRequestError: There are any, or there are no rows at all.
    """
    for line, reason in found.problems:
        output.note(f"{name}:{line}: {reason}", "")
        output.record("bad_row", line=line, reason=reason)
    if found.problems:
        count = len(found.problems)
        rows = "row" if found.rows == 1 else "rows"
        msg = f"{count} of {found.rows} {rows} cannot be ordered; nothing was sent"
        raise InvalidRequestError(msg, parameter="file")
    if not found.rows:
        msg = f"{name} has no rows; nothing was sent"
        raise InvalidRequestError(msg, parameter="file")
    if not found.ordered:
        msg = f"{name} has {found.rows} rows, none of them in this shard"
        raise InvalidRequestError(msg, parameter="shard")


def tell_prices(found: Survey, output: Output) -> None:
    """
    Say what the sheet asks for, by model, and what that should cost.
    """
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
    dates = sorted({str(known.read_on) for known in known_models().values()})
    output.facts(
        rows=found.ordered
        if found.ordered == found.rows
        else f"{found.ordered} of the {found.rows} in the file",
        sum=f"${found.usd}"
        + (f", and {found.unpriced} rows without a price" if found.unpriced else ""),
        prices=f"hints from the vendor's pages, read on {', '.join(dates)}; the API "
        "decides what it charges",
    )
    output.record(
        "dry_run",
        rows=found.ordered,
        usd=found.usd,
        unpriced=found.unpriced,
        prices_read_on=dates[0],
    )
    output.note("Nothing was sent.")
