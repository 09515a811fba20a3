"""
Answer thousands of requests with what no API should say, and see that nothing breaks.

    python tests/soak/answers.py [--cases 20000] [--seed 1]

Recorded answers are spoilt in their values, their bytes and their HTTP: one case each.
Exits 1 if anything but a typed error came of one, if a bad answer touched another task,
if an order was sent again though it was answered, if a word about money was wrong, or
if the key was shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

if __name__ == "__main__":  # the server and the sessions are those of the tests
    sys.path[0] = str(Path(__file__).parent.parent)

from soak.campaign import error_texts, listening
from soak.spoiling import spoilt
from support.raw import RawServer, envelope, message
from support.sessions import KEY

from apimodels_async import (
    ApiModelsError,
    GenerationFailedError,
    PollPolicy,
    RetryPolicy,
    Session,
    Timeouts,
)
from apimodels_async.webhooks import Callback, Receiver

AT_ONCE = 50
PER_SESSION = 1000
SURFACES = ("poll", "create", "generate", "edit", "balance", "models", "upload")
SURFACES = (*SURFACES, "callback", "untouched")
SAMPLES = {"poll": "poll", "create": "create", "generate": "sync", "edit": "edit"}
SAMPLES |= {"balance": "balance", "models": "models", "upload": "files"}
SAMPLES |= {"callback": "callback"}
REFUSALS = {400, 401, 402, 403, 404, 405, 409, 410, 411, 413, 414, 415, 422, 429, 431}
REFUSALS |= {501}
STATUSES_OF_A_RECEIVER = {200, 400, 404, 413, 503}
WHERE = "https://r2.apimodels.app/images/"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(64)


class Open:
    """A limit that holds nobody back: what is tried here is not the pace of orders."""

    async def acquire(self):
        """Give leave."""
        return self

    def taken(self):
        """Note nothing."""

    def throttled(self, _retry_after):
        """Note nothing."""

    def release(self):
        """Note nothing."""


@dataclass
class Case:
    """One request or task, and all that was answered to it."""

    number: int
    surface: str
    dice: random.Random
    left: int = 1
    """How many of its answers are still to be spoilt."""
    said: list[bytes] = field(default_factory=list, repr=False)
    to_posts: list[bytes] = field(default_factory=list, repr=False)
    """What was said to its POSTs."""
    end: str = ""
    broken: list[str] = field(default_factory=list)

    @property
    def task_id(self):
        """Of its task, if it has one."""
        return f"clx{self.number}"

    def url(self, name="good"):
        """Return an address that no other case has."""
        return f"https://files.example/case-{self.number}-{name}.png"


class Vendor:
    """Answers each request with a spoilt sample, or with what its case deserves."""

    def __init__(self, cases, samples):
        self.cases = {str(case.number): case for case in cases}
        self.samples = samples

    def case_of(self, request):
        """Return the case that a request is of, or None."""
        text = request.target + " " + request.body.decode("latin-1")
        found = re.search(r"(?:case-|task_id=clx)(\d+)\b", text)
        if found or "task_id=" in text:
            return self.cases.get(found[1]) if found else None
        surface = "models" if "models" in request.target else "balance"
        if request.method != "GET":
            surface = "upload"
        # Of a kind that has one request at a time.
        waiting = (case for case in self.cases.values() if not case.end)
        return next(case for case in waiting if case.surface == surface)

    async def answer(self, request, peer):
        """Say it, and close where its length was a lie."""
        case = self.case_of(request)
        if case is None:  # of a task whose id was spoilt: it exists, and it ended
            task_id = request.target.partition("task_id=")[2]
            data = {"taskId": unquote(task_id), "state": "completed"}
            data["resultUrls"] = [f"https://files.example/of-{task_id}.png"]
            await peer.say(message(envelope(data)))
            return
        whole, close = self.choose(case, request.method)
        case.said.append(whole)
        if request.method == "POST":
            case.to_posts.append(whole)
        await peer.say(whole)
        if close:
            peer.close()

    def choose(self, case, method):
        """Return the bytes of an answer, and whether the connection ends with it."""
        polled = method == "GET" and case.surface in {"poll", "create", "untouched"}
        spoils = case.left > 0 and (case.surface != "poll" or polled)
        if case.surface == "untouched":
            spoils = False
        if spoils:
            case.left -= 1
            sample = case.dice.choice(self.samples[SAMPLES[case.surface]])
            sample = sample.replace(
                "https://r2.apimodels.app/images/", case.url("bad-")
            )
            for name in ("clxxx...", "clm4kq2x70001l508h1v3c9ab"):
                sample = sample.replace(name, case.task_id)
            return spoilt(case.dice, sample, key=KEY)
        data = {"taskId": case.task_id, "state": "pending"}
        if polled:
            data |= {"state": "completed", "resultUrls": [case.url()]}
        elif case.surface in {"generate", "edit"}:
            data = {"url": case.url(), "credits": 0.01}
        return message(envelope(data)), False


@dataclass
class Report:
    """What a campaign came to."""

    cases: int = 0
    ends: Counter = field(default_factory=Counter)
    """(surface, result or name of the error) -> how often."""
    answers: int = 0
    broken: list[str] = field(default_factory=list)


async def run(seed, count):
    """Try *count* cases, some hundred in a session, and return the report."""
    folder = Path(__file__).parent.parent / "samples"
    samples = {
        one.name: [path.read_text("utf-8") for path in sorted(one.glob("*.json"))]
        for one in folder.iterdir()
    }
    report = Report()
    for first in range(0, count, PER_SESSION):
        numbers = range(first, min(first + PER_SESSION, count))
        cases = [
            Case(number, SURFACES[number % len(SURFACES)], random.Random(seed + number))
            for number in numbers
        ]
        for case in cases:
            case.left = case.dice.choice((1, 1, 2, 3)) if case.surface == "poll" else 1
        report.broken += await _one_session(cases, samples)
        report.cases += len(cases)
        report.answers += sum(len(case.said) for case in cases)
        report.ends.update((case.surface, case.end) for case in cases)
        report.broken += [
            f"seed {seed}, case {case.number} ({case.surface}): {line}\n    {case.said}"
            for case in cases
            for line in case.broken
        ]
    return report


async def _one_session(cases, samples):
    broken = []
    with listening() as logged:
        async with (
            RawServer(Vendor(cases, samples).answer) as server,
            Session(
                KEY,
                base_url=server.base_url,
                polling=PollPolicy.unchecked(interval=0.05, deadline=30),
                retry=RetryPolicy(attempts=2, base=0.01, cap=0.02),
                timeouts=Timeouts(connect=20, read=20, generate=20),
                limit=Open(),
            ) as session,
        ):
            gate = asyncio.Semaphore(AT_ONCE)
            # One of a kind at a time where a request does not say whose it is.
            own = {name: asyncio.Lock() for name in ("balance", "models", "upload")}
            await asyncio.gather(
                *(_try(session, case, own.get(case.surface, gate)) for case in cases)
            )
            if session.stats().pending:
                broken.append(f"still pending: {session.stats().pending}")
    for text in logged:
        if KEY in text:
            broken.append(f"the key was logged: {text[:200]}")
        if "Traceback" in text or "never retrieved" in text:
            broken.append(f"an error was logged: {text[:2000]}")
    return broken


async def _try(session, case, gate):
    async with gate:
        try:
            case.end = await ACTS[case.surface](session, case)
        except ApiModelsError as error:
            case.end = type(error).__name__
            _judge(case, error)
            echoed = any(KEY.encode() in whole for whole in case.said)
            for text in error_texts(error, local=echoed):
                if KEY in text:
                    case.broken.append(f"the key is shown: {text[-300:]}")
        except Exception as error:  # noqa: BLE001  what this campaign looks for
            case.end = type(error).__name__
            case.broken.append(f"a raw error: {error!r}")
    orders = case.surface in {"create", "generate", "edit"}
    if orders and not all(_codes(whole) & {429} for whole in case.to_posts[:-1]):
        case.broken.append("sent again after an answer")


def _judge(case, error):
    """Look at what is said about money."""
    if case.surface == "untouched":
        case.broken.append(f"touched by others' answers: {error!r}")
    if case.surface == "poll" and error.charged is False:
        failed = isinstance(error, GenerationFailedError)
        if not failed or not any(b"failed" in whole for whole in case.said):
            case.broken.append(f"said to be free: {error!r}")
    if case.surface in {"create", "generate", "edit"} and error.charged is False:
        failed = isinstance(error, GenerationFailedError)
        if not failed and not (_codes(case.to_posts[-1]) & REFUSALS):
            case.broken.append(f"said to be free: {error!r}")


def _codes(whole):
    """Return the status of an answer and the code in its body."""
    head, _, body = whole.partition(b"\r\n\r\n")
    found = set()
    try:
        found.add(int(head.split(b" ", 2)[1]))
        read = json.loads(body)
        found.add(int(read["code"]))
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
        pass
    return found


def _own(case, urls):
    """Return "result" after looking whether all addresses are of the case."""
    said = b"".join(case.said).decode("latin-1")
    for url in urls:
        made = url.startswith("data:") or f"case-{case.number}-" in url
        named = unquote(url.partition("/of-")[2].removesuffix(".png"))
        if not made and url not in said and not (named and named in said):
            case.broken.append(f"of another one: {url[:100]}")
    return "result"


async def _ordered(session, case):
    handle = await session.images.submit(f"case-{case.number} end", model="gpt-image-2")
    return _own(case, (await handle).urls)


async def _generated(session, case):
    result = await session.images.generate(f"case-{case.number} end")
    return _own(case, result.urls)


async def _edited(session, case):
    result = await session.images.edit(
        f"case-{case.number} end", images=["https://example.com/a.png"]
    )
    return _own(case, result.urls)


async def _balance(session, _case):
    await session.balance()
    return "result"


async def _models(session, _case):
    await session.models()
    return "result"


async def _uploaded(session, _case):
    await session.upload(PICTURE)
    return "result"


async def _called(_session, case):
    """Deliver a spoilt callback to an address of ours and to a made-up one."""
    callback = Callback("https://example.com/hooks", secret="s" * 32)
    receiver = Receiver(callback)
    samples = (Path(__file__).parent.parent / "samples" / "callback").glob("*.json")
    sample = case.dice.choice([path.read_text("utf-8") for path in sorted(samples)])
    whole, _ = spoilt(case.dice, sample, key=KEY)
    case.said.append(whole)
    body = whole.partition(b"\r\n\r\n")[2]
    for path in ("/hooks/x", "/hooks/" + "A" * 43, f"/{sample[:40]}"):
        status = await receiver.deliver(path, body)
        if status not in STATUSES_OF_A_RECEIVER:
            case.broken.append(f"answered with {status}")
    return "result"


ACTS = {
    "poll": _ordered,
    "create": _ordered,
    "untouched": _ordered,
    "generate": _generated,
    "edit": _edited,
    "balance": _balance,
    "models": _models,
    "upload": _uploaded,
    "callback": _called,
}


def main():
    """Read the command line, run, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--seed", type=int, default=1, help="the first one's (1)")
    given = parser.parse_args()
    began = time.monotonic()
    report = asyncio.run(run(given.seed, given.cases))
    seconds = time.monotonic() - began
    print(f"{report.cases} cases, {report.answers} answers in {seconds:.0f} s")
    for surface in SURFACES:
        ends = Counter(
            {end: n for (name, end), n in report.ends.items() if name == surface}
        )
        print(f"  {surface:10}", ", ".join(f"{e} {n}" for e, n in ends.most_common()))
    for line in report.broken[:20]:
        print(line)
    print(f"broken: {len(report.broken)}")
    return bool(report.broken)


if __name__ == "__main__":
    sys.exit(main())
