"""
What must hold after any run, whatever was done to the network. Pure.

After Jepsen: each intent ended as *returned*, *refused* (definitely not taken) or
*unknown*; the emulator's ledger knows what was really charged.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Intent:
    """One order of one picture, with a prompt of its own, and how it ended."""

    number: int
    how: str
    prompt: str
    task_id: str | None = None
    url: str | None = None
    error: BaseException | None = None
    ended: int = 0
    """How often it was told its end; 1 is right."""

    @property
    def fate(self) -> str:
        """returned, unknown, refused or lost."""
        if self.url is not None:
            return "returned"
        charged = getattr(self.error, "charged", "lost")
        return {None: "unknown", False: "refused"}.get(charged, "lost")


@dataclass
class Books:
    """
    What the service knows: one row a piece of work, and the POSTs and polls it saw.
    """

    works: list = field(default_factory=list)
    """Rows of prompt, id, URLs, charged, polls."""
    posts: Counter = field(default_factory=Counter)
    """Whole POSTs received, by prompt."""

    @classmethod
    def of(cls, emulator):
        """Read an emulator's books."""
        works = (*emulator.tasks.values(), *emulator.generations.values())
        posts = Counter(
            record.prompt
            for record in emulator.requests
            if record.method == "POST" and record.prompt is not None
        )
        return cls(list(works), posts)


def check(history, books, *, polls_max=None, posts_max=1):
    """
    Return the violated invariants, in words; none is the empty list.

    Args:
        polls_max: Polls allowed for any one task.

        posts_max: POSTs allowed for one intent (more only where 429 was answered).
    """
    charged = Counter(work.prompt for work in books.works if work.charged)
    taken = Counter(work.prompt for work in books.works)
    by_id = {work.id: work for work in books.works}
    by_url = {url: work for work in books.works for url in work.urls}
    found = []
    for intent in history:
        fate, prompt = intent.fate, intent.prompt
        if charged[prompt] > 1 or taken[prompt] > 1:
            found.append(f"I1 {prompt} bought {taken[prompt]} times")
        if charged[prompt] and fate not in {"returned", "unknown"}:
            law = "I3" if fate == "refused" else "I2"
            found.append(f"{law} {prompt} was charged and is {fate}: {intent.error!r}")
        if intent.ended != 1:
            found.append(f"I5 {prompt} ended {intent.ended} times")
        if books.posts[prompt] > posts_max:
            found.append(f"I6 {prompt} was sent {books.posts[prompt]} times")
        found += _ownership(intent, by_id, by_url)
    if polls_max is not None:
        found += [
            f"I6 {work.id} was polled {work.polls} times, {polls_max} are allowed"
            for work in books.works
            if work.polls > polls_max
        ]
    return found


def found_again(history, books):
    """
    Return the charged orders of unknown fate: none may be left where callbacks arrive.
    """
    charged = {work.prompt for work in books.works if work.charged}
    return [
        f"I9 {intent.prompt} was charged and not found again: {intent.error!r}"
        for intent in history
        if intent.fate == "unknown" and intent.prompt in charged
    ]


def _ownership(intent, by_id, by_url):
    claimed = intent.task_id or getattr(intent.error, "task_id", None)
    if claimed is not None:
        work = by_id.get(claimed)
        if work is None or work.prompt != intent.prompt:
            owner = work.prompt if work else "nobody"
            yield f"I4 {intent.prompt} claims task {claimed} of {owner}"
    if intent.url is not None:
        work = by_url.get(intent.url)
        if work is None or work.prompt != intent.prompt:
            owner = work.prompt if work else "nobody"
            yield f"I5 {intent.prompt} got the picture of {owner}"


def leaks(texts, *canaries):
    """Return the texts that show a canary (I8)."""
    return [text for text in texts if any(canary in text for canary in canaries)]
