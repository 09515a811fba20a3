"""``apimodels``: the entry point, which must work where the extra is not installed."""

from __future__ import annotations

import asyncio
import logging
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

EXTRA: Final = ("cyclopts", "jinja2", "PIL", "rich")
USAGE: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command and return its exit code.

    Args:
        argv: Without the program's name; else those of the process.
    """
    for name in EXTRA:
        if find_spec(name) is None:
            print(
                f"apimodels: error: {name} is not installed | "
                'tip: run: pip install "apimodels-async[cli]"',
                file=sys.stderr,
            )
            return USAGE

    from apimodels_async.cli.app import execute
    from apimodels_async.cli.log import showing_log

    # The commands say themselves, in words for a terminal, what the library logs.
    logging.getLogger("apimodels_async").addHandler(logging.NullHandler())
    try:
        with showing_log("redis"):  # that it is waited for
            return asyncio.run(execute(sys.argv[1:] if argv is None else argv))
    except (KeyboardInterrupt, asyncio.CancelledError):
        # Outside the commands, which handle the signal themselves.
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
