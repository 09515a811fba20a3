"""
One port that speaks the protocols of the API and of its peers, in a process of its own.

It keeps nothing about a task: the id carries when it was made and how long it takes,
the prompt says ``d=<seconds>``. So every client sees the same service times, and the
server costs next to nothing. ``GET /file`` sends a file of 1 MB, ``GET /stats`` counts,
``GET /reset`` begins anew. With KEEP_ALIVE_S in the environment it closes connections
that were idle for so long.

    python stub.py [CHAIN.pem KEY.pem]
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

SECONDS = re.compile(rb"d=([0-9.]+)")
TASK = re.compile(r"clx(\d{13})x(\d{7})x\d+")
QUEUED_MS = 500
KEEP_ALIVE_S = float(os.environ.get("KEEP_ALIVE_S", "0"))
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
SIZE = 1 << 20
FILE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % SIZE
)
FILE += b"\x89PNG\r\n\x1a\n" + os.urandom(SIZE - 8)
Answers = Callable[[str, str, bytes], tuple[Any, float]]
counts: Counter[str] = Counter()
numbers = itertools.count()


def now_ms() -> int:
    """Return the wall clock in milliseconds."""
    return int(time.time() * 1000)


def new_task(body: bytes) -> str:
    """Return an id that says when it was made and how long it takes."""
    found = SECONDS.search(body)
    takes = int(float(found[1]) * 1000) if found else 0
    return f"clx{now_ms():013d}x{takes:07d}x{next(numbers)}"


def look(text: str) -> tuple[str, int, int, int]:
    """Return the task named in *text*: id, made at, ends at, and the time now."""
    found = TASK.search(text)
    if found is None:
        return "", 0, 0, now_ms()
    made, takes = int(found[1]), int(found[2])
    return found[0], made, made + takes, now_ms()


def picture(ends: int) -> str:
    """Return a URL that says when its task ended, for the client to compute its lag."""
    return f"http://127.0.0.1/img/{ends}.png"


def iso(ms: int) -> str:
    """Return a time as the peers write it."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def word(made: int, ends: int, now: int, words: tuple[str, str, str]) -> str:
    """Return which of queued, running and done a task is."""
    if now >= ends:
        return words[2]
    return words[0] if now - made < QUEUED_MS else words[1]


def ours(method: str, path: str, body: bytes) -> tuple[Any, float]:
    """Answer as the API does."""
    if "generations-sync" in path:
        _, _, ends, now = look(new_task(body))
        data = {"url": picture(ends), "model": "m", "credits": 4, "duration": 1.0}
        return {"code": 200, "msg": "success", "data": data}, (ends - now) / 1000
    if method == "POST":
        data = {"taskId": new_task(body), "state": "pending"}
        return {"code": 200, "msg": "success", "data": data}, 0
    task, made, ends, now = look(path)
    state = word(made, ends, now, ("pending", "processing", "completed"))
    done = now >= ends
    data = {
        "taskId": task,
        "state": state,
        "resultUrls": [picture(ends)] if done else [],
        "createTime": made,
        "completeTime": ends if done else None,
    }
    return {"code": 200, "msg": "success", "data": data}, 0


def fal(base: str, method: str, path: str, body: bytes) -> tuple[Any, float]:
    """Answer as fal's queue does."""
    task, made, ends, now = look(new_task(body) if method == "POST" else path)
    if method == "GET" and "/status" not in path:
        image = {"url": picture(ends), "width": 1024, "height": 1024}
        return {"images": [image], "seed": 1, "prompt": "p"}, 0
    words = ("IN_QUEUE", "IN_PROGRESS", "COMPLETED")
    where = f"{base}/fal/o/a/requests/{task}"
    answer = {
        "status": "IN_QUEUE" if method == "POST" else word(made, ends, now, words),
        "request_id": task,
        "response_url": where,
        "status_url": where + "/status",
        "cancel_url": where + "/cancel",
        "queue_position": 0,
        "logs": None,
        "metrics": {},
    }
    return answer, 0


def replicate(base: str, method: str, path: str, body: bytes) -> tuple[Any, float]:
    """Answer as replicate's predictions do."""
    task, made, ends, now = look(new_task(body) if method == "POST" else path)
    done = method == "GET" and now >= ends
    state = word(made, ends, now, ("starting", "processing", "succeeded"))
    where = f"{base}/replicate/v1/predictions/{task}"
    answer = {
        "id": task,
        "model": "o/a",
        "version": "v1",
        "input": {"prompt": "p"},
        "logs": "",
        "output": [picture(ends)] if done else None,
        "error": None,
        "status": state if done or method == "GET" else "starting",
        "created_at": iso(made),
        "started_at": None,
        "completed_at": iso(ends) if done else None,
        "metrics": {},
        "urls": {"get": where, "cancel": where + "/cancel"},
    }
    return answer, 0


def runway(method: str, path: str, body: bytes) -> tuple[Any, float]:
    """Answer as runway's tasks do."""
    if method == "POST":
        return {"id": new_task(body)}, 0
    task, made, ends, now = look(path)
    state = word(made, ends, now, ("PENDING", "RUNNING", "SUCCEEDED"))
    answer: dict[str, Any] = {"id": task, "createdAt": iso(made), "status": state}
    if state == "SUCCEEDED":
        answer["output"] = [picture(ends)]
    elif state == "RUNNING":
        answer["progress"] = 0.5
    return answer, 0


def openai(_method: str, _path: str, body: bytes) -> tuple[Any, float]:
    """Answer as openai's images do: when the picture is there."""
    _, made, ends, now = look(new_task(body))
    image = {"url": picture(ends), "b64_json": None, "revised_prompt": None}
    return {"created": made // 1000, "data": [image]}, (ends - now) / 1000


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self, base: str) -> None:
        self._got = b""
        self._routes: dict[str, Answers] = {
            "fal": partial(fal, base),
            "replicate": partial(replicate, base),
            "runway": runway,
            "openai": openai,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        counts["connections"] += 1
        counts["open"] += 1
        counts["peak"] = max(counts["peak"], counts["open"])
        self._end: asyncio.TimerHandle | None = None
        self._rest()

    def _rest(self) -> None:
        """Close in a while, if nothing comes."""
        if self._end is not None:
            self._end.cancel()
        if KEEP_ALIVE_S:
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(KEEP_ALIVE_S, self._transport.close)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Count it out."""
        counts["open"] -= 1

    def data_received(self, data: bytes) -> None:
        """Answer every whole request in what has arrived."""
        self._got += data
        self._rest()
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            head, length = self._got[:end], 0
            if not head.startswith(b"GET"):
                lowered = head.lower()
                at = lowered.find(b"content-length:")
                if at >= 0:
                    length = int(lowered[at + 15 :].split(b"\r\n", 1)[0])
            if len(self._got) < end + 4 + length:
                return
            body = self._got[end + 4 : end + 4 + length]
            self._got = self._got[end + 4 + length :]
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self._answer(method, path, body)

    def _answer(self, method: str, path: str, body: bytes) -> None:
        service = path.split("/", 2)[1]
        if service == "stats":
            self._send(dict(counts))
            return
        if service == "file":
            self._transport.write(FILE)
            return
        if service == "reset":
            still = counts["open"]
            counts.clear()
            counts["open"] = counts["peak"] = still
            self._send({})
            return
        counts["requests"] += 1
        answer, delay = self._routes.get(service, ours)(method, path, body)
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: Any) -> None:
        if not self._transport.is_closing():
            body = json.dumps(answer).encode()
            self._transport.write(HEAD % len(body) + body)


async def serve() -> None:
    """Serve until killed; the ports, plain and TLS, are the first line of stdout."""
    loop = asyncio.get_running_loop()
    ports = []
    for tls in (None, context())[: 2 if len(sys.argv) > 1 else 1]:
        scheme = "https" if tls else "http"
        bases: list[str] = []
        server = await loop.create_server(
            lambda bases=bases: Stub(bases[0]),
            "127.0.0.1",
            0,
            ssl=tls,
            backlog=4096,
        )
        ports.append(server.sockets[0].getsockname()[1])
        bases.append(f"{scheme}://127.0.0.1:{ports[-1]}")
    print(*ports, flush=True)
    await asyncio.Event().wait()


def context() -> ssl.SSLContext | None:
    """Return the TLS of the certificate given as arguments: chain and key."""
    if len(sys.argv) < 3:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    return context


if __name__ == "__main__":
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {1})
    asyncio.run(serve())
