"""
How many connections polling opens once it is warm, and what a server that hangs up on
idle ones costs; plain and TLS.

    python benchmarks/connections.py [--quick] [--json FILE]

200 tasks are polled every 2.5 s for 20 s, against servers that keep idle connections
for 2, 5 and 75 s. Exits 1 if a connection is opened after warm-up where they are kept
for 5 s or more, or if any poll fails.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _results import keep
from _server import counts, server, task

QUICK = "--quick" in sys.argv
TASKS = 200
WARM_S, WATCH_S = 6.0, 6.0 if QUICK else 20.0
KEPT_S = (2.0, 5.0, 75.0)


async def measure(base: str, plain: str) -> dict[str, Any]:
    """Poll for a while; count what happened after the first two rounds."""
    from apimodels_async import Session  # after SSL_CERT_FILE is set

    async with Session("no-key", base_url=base + "/api/v1") as session:
        for number in range(TASKS):
            session.images.attach(task(number))
        await asyncio.sleep(WARM_S)
        before, polls = counts(plain), session.stats().polls
        cpu = time.process_time()
        await asyncio.sleep(WATCH_S)
        cpu = time.process_time() - cpu
        after, stats = counts(plain), session.stats()
        return {
            "opened": after["connections"] - before["connections"] - 1,  # our question
            "open": stats.connections,
            "polls": stats.polls - polls,
            "failed": stats.poll_errors,
            "cpu_us_a_poll": cpu / (stats.polls - polls) * 1e6,
        }


def certificate(folder: str) -> tuple[str, str]:
    """Make a certificate for 127.0.0.1 that this process trusts."""
    import trustme

    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    chain, key, root = (str(Path(folder, n)) for n in ("chain", "key", "root"))
    for pem in leaf.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    leaf.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(root)
    os.environ["SSL_CERT_FILE"] = root
    return chain, key


def main() -> int:
    """Measure each kind of server; print, judge."""
    logging.disable(logging.WARNING)  # sessions here close with tasks pending
    rows: list[dict[str, Any]] = []
    good = True
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        files = certificate(folder)
        for kept in KEPT_S:
            with server(*files, keep_alive=kept) as (plain, tls):
                for base in (plain, tls):
                    found = asyncio.run(measure(base, plain))
                    scheme = base.partition(":")[0]
                    rows.append({"kept_s": kept, "scheme": scheme, **found})
                    wrong = found["failed"] or (kept >= 5 and found["opened"])
                    good = good and not wrong
                    print(
                        "MISSED" if wrong else "ok    ",
                        f"{scheme:5} idle kept {kept:4.0f} s: {found['opened']:4} "
                        f"opened for {found['polls']} polls, {found['open']} open, "
                        f"{found['failed']} failed, "
                        f"{found['cpu_us_a_poll']:.0f} us CPU a poll",
                        flush=True,
                    )
    keep("connections", rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
