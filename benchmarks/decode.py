"""
What reading an answer takes, beside json.loads alone.

    python benchmarks/decode.py [--quick] [--json FILE]

No network: bytes of a poll's answer in, typed values out. Variants take turns; the
ratio is to json.loads of the same bytes in the same turn.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from _results import compared, keep, span

from apimodels_async._api.responses import read_task
from apimodels_async._ports import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = "--quick" in sys.argv
TURNS = 3 if QUICK else 9
LOOPS = 5_000 if QUICK else 20_000
TASK_ID = "clx1705123450000abc"
PENDING = {"taskId": TASK_ID, "state": "processing", "createTime": 1705123450000}
COMPLETED = {
    "taskId": TASK_ID,
    "state": "completed",
    "resultUrls": ["https://files.example/2024/01/13/a-picture.png"],
    "createTime": 1705123450000,
    "completeTime": 1705123462345,
}


def body(data: dict[str, Any]) -> bytes:
    """Return an answer as the API sends it."""
    return json.dumps({"code": 200, "msg": "success", "data": data}).encode()


def each(call: Callable[[], object]) -> float:
    """Return the microseconds of CPU of one call."""
    started = time.process_time()
    for _ in range(LOOPS):
        call()
    return (time.process_time() - started) / LOOPS * 1e6


def main() -> None:
    """Measure, print, keep."""
    rows: list[dict[str, Any]] = []
    for name, data in {"pending": PENDING, "completed": COMPLETED}.items():
        answer = body(data)
        reply = Reply(200, {"content-type": "application/json"}, answer)
        plain: list[float] = []
        whole: list[float] = []
        for _ in range(TURNS):
            plain.append(each(lambda answer=answer: json.loads(answer)))  # type: ignore[misc]
            whole.append(each(lambda reply=reply: read_task(reply, TASK_ID, None)))  # type: ignore[misc]
        row = {"answer": name, "bytes": len(answer), **compared(whole, plain)}
        row |= {"json_us": median(plain), "us": median(whole)}
        rows.append(row)
        print(
            f"decode {name:10} {len(answer)} bytes: json.loads {row['json_us']:5.2f} us"
            f", ours {row['us']:5.2f} us  {span(row)}"
        )
    keep("decode", rows)


if __name__ == "__main__":
    main()
