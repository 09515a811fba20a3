"""Many cases in one test: all are tried, and those that failed are told together."""

from __future__ import annotations

import asyncio


def check_all(cases, check):
    """Call *check* with each of *cases*, a tuple as its arguments."""
    failed = []
    for case in cases:
        try:
            check(*case) if isinstance(case, tuple) else check(case)
        except Exception as error:  # noqa: BLE001  raised below, with the others
            failed.append(named(error, case))
    tell(failed)


async def check_all_at_once(cases, check):
    """Await *check* for each of *cases* at the same time."""

    async def one(case):
        try:
            await (check(*case) if isinstance(case, tuple) else check(case))
        except Exception as error:  # noqa: BLE001  raised below, with the others
            return named(error, case)

    ended = await asyncio.gather(*map(one, cases))
    tell([error for error in ended if error is not None])


def named(error, case):
    """Return *error* with a note of its case."""
    error.add_note(f"case: {case!r}")
    return error


def tell(failed):
    """Raise what failed, if anything did."""
    if failed:
        message = "\n".join(f"{e.__notes__[-1]}: {e!r}" for e in failed)
        raise ExceptionGroup(message, failed)
