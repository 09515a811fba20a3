"""``apimodels``: the entry point, which must work where the extra is not installed."""

from __future__ import annotations

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
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # while this program is being loaded
        return INTERRUPTED


def _run(argv: Sequence[str]) -> int:
    for name in EXTRA:
        if find_spec(name) is None:
            print(
                f"apimodels: error: {name} is not installed | "
                'tip: run: pip install "apimodels-async[cli]"',
                file=sys.stderr,
            )
            return USAGE

    # Here, and not above: they take a moment, in which Ctrl-C may come.
    import asyncio
    import logging

    from apimodels_async.cli.app import execute
    from apimodels_async.cli.log import showing_log

    # The commands say themselves, in words for a terminal, what the library logs.
    logging.getLogger("apimodels_async").addHandler(logging.NullHandler())
    try:
        with showing_log("redis"):  # that it is waited for
            return asyncio.run(execute(argv))
    except asyncio.CancelledError:
        # Outside the commands, which handle the signal themselves.
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
