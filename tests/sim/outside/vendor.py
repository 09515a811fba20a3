"""
The vendor as we believe him to be: what he takes on, makes, charges and tells.

A second reading of the documentation, like the emulator, but a model and no server: an
order comes in as a function call, and a task's state is a function of the time. A task
is charged when it completes, a picture that is the answer itself at once; the word
``failed`` is free, and so is what never ends.
"""

from __future__ import annotations

from collections import deque

from sim.adapters import Reply

PRICES = {
    "gpt-image-2": 0.05,
    "flux-2-klein-4b": 0.006,
    "brand-new-model": 0.02,
    "sparkpix-image": 0.01,
    "sparkpix-image-edit": 0.013,
}
TWIST = b"twisted"
"""In the body of what is another request under the same key."""
EPOCH_MS = 1_767_225_600_000
"""2026-01-01."""
BUSY_PER_S = 20
"""Orders in a second after which he says 429."""
CALLS_AT = (0.1, 1.0, 3.0, 7.0, 60.0, 180.0, 600.0)
"""Seconds after the end at which he calls back, until he is heard."""


class Purchase:
    """One order that the vendor has taken on."""

    __slots__ = (
        *(
            "answered_at",
            "ask",
            "asker",
            "asked_at",
            "body",
            "callback",
            "chance",
            "charged",
            "fate",
        ),
        *("made", "must_be_free", "order", "polls", "price", "process", "reply"),
        *("starts", "stops", "task_id", "told", "twist", "url", "word_told"),
    )

    def __init__(self, order, serial, now, process, fate):
        self.order, self.fate = order, fate
        self.process = process
        self.ask = self.asked_at = 0
        sync = order.model.startswith("sparkpix")
        self.task_id = None if sync else f"t{serial}.{order.number}"
        self.url = f"https://files.example/{serial}.{order.number}.png"
        self.price = PRICES[order.model]
        instant = fate == "instant"
        self.made = now
        self.starts = now if instant else now + order.queue_s
        self.stops = now if instant or sync else self.starts + order.work_s
        self.charged = False
        self.callback = self.body = None
        self.polls = 0
        self.answered_at = None
        """When the answer to the order reached us, or was lost for good."""
        self.told = False
        """Whether its end was told in answer to a poll."""
        self.word_told = self.reply = None
        self.must_be_free = False
        self.asker, self.twist = None, False

    @property
    def key(self):
        """What names it to us: the task, or else the picture."""
        return self.task_id or self.url

    @property
    def costs(self):
        """Whether it is charged, now or in the end."""
        if self.task_id is None:
            return True
        return self.fate not in {"failed", "stuck", "withdrawn"}

    @property
    def has_failed(self):
        """Whether we were told that it has failed."""
        return self.fate == "failed" and self.told

    def word(self, at):
        """Return the state at a time."""
        fate = self.fate
        if at < self.starts:
            return "pending"
        if at < self.stops or fate == "stuck":
            strange = fate == "strange" and at > (self.starts + self.stops) / 2
            return "upscaling" if strange else "processing"
        return {"failed": "failed", "withdrawn": "withdrawn"}.get(fate, "completed")


class Vendor:
    """One account's side of the story."""

    def __init__(self, world, audit, call_back):
        self._world = world
        self._audit = audit
        self._call_back = call_back
        self.tasks = {}
        self._serial = 0
        self._recent = deque()

    def busy(self):
        """Return whether he takes on nothing more in this second."""
        recent, now = self._recent, self._world.now
        while recent and recent[0] < now - 1:
            recent.popleft()
        return len(recent) >= BUSY_PER_S

    def take_on(self, order, process, body, callback, ask=None):
        """Return what he makes of an order that has reached him."""
        now = self._world.now
        self._recent.append(now)
        self._serial += 1
        purchase = Purchase(order, self._serial, now, process, self._fate(order))
        purchase.asker = ask
        purchase.twist = TWIST in body
        purchase.body, purchase.callback = body, callback
        if purchase.task_id is not None:
            self.tasks[purchase.task_id] = purchase
        self._audit.bought(purchase)
        self._world.at(purchase.stops, self._end, purchase)
        return purchase

    def _fate(self, order):
        """Return what he makes of it: a picture that failed may come out next time."""
        if (
            order.keyed
            and order.fate == "failed"
            and self._audit.cases[order.number].bought
        ):
            return "completed"
        return order.fate

    def _end(self, purchase):
        if purchase.costs:
            purchase.charged = True
            self._audit.charged(purchase)
        ends = purchase.word(self._world.now) in {"completed", "failed", "withdrawn"}
        if purchase.callback is not None and purchase.task_id and ends:
            self._world.at(self._world.now + CALLS_AT[0], self._call, purchase, 1)

    def _call(self, purchase, nth):
        if not self._call_back(purchase, nth) and nth < len(CALLS_AT):
            pause = CALLS_AT[nth] - CALLS_AT[nth - 1]
            self._world.at(self._world.now + pause, self._call, purchase, nth + 1)

    def answer(self, purchase, at):
        """Return the answer that tells of *purchase* as it was at a time."""
        if purchase.task_id is None:
            return _envelope(
                f'{{"url":"{purchase.url}","credits":{purchase.price},"duration":1.1}}'
            )
        word = purchase.word(at)
        if word != purchase.word_told:  # most polls: the same as last time
            purchase.word_told = word
            purchase.reply = _envelope(_task(purchase, word))
        return purchase.reply


def _task(purchase, word):
    head = f'{{"taskId":"{purchase.task_id}","state":"{word}"'
    if word in {"failed", "withdrawn"}:
        return head + ',"failMsg":"no such moose","failCode":"E1"}'
    if word != "completed":
        return head + "}"
    urls = f'"{purchase.url}"'
    if purchase.fate == "null_url":
        urls += ",null"
    times = [int(EPOCH_MS + at * 1000) for at in (purchase.made, purchase.stops)]
    return (
        f'{head},"resultUrls":[{urls}],"credits":{purchase.price},'
        f'"createTime":{times[0]},"completeTime":{times[1]}}}'
    )


def _envelope(data):
    body = f'{{"code":200,"msg":"success","data":{data}}}'
    return Reply(200, {}, body.encode())
