"""Spoils an answer in its values, its bytes or its HTTP, by a seeded generator."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from email.utils import format_datetime

from support.raw import message

ODD = (
    *(None, True, False, 0, -1, 1e308, -1e308, 10**400, float("nan"), float("inf")),
    *("", " ", "0", "-1", "NaN", "null", "completed", "failed", "pending", "\ud800"),
    *("queued", "COMPLETED", "Failed ", "cancelled", "../x", "other-1", "clx999999"),
    *("http://[::1]x/", "https://", "data:image/png;base64,AAA=", "javascript:x"),
    *("\x1b[2J\x00", "x" * 5000, "\u202etxt", [], {}, [[]], [None], {"url": None}),
    *([{"url": 5}], {"message": {"error": ["deep"]}}, [{}] * 200),
)
LENGTH = "Content-Length"
STATUSES = (
    *(200, 201, 202, 204, 206, 301, 302, 307, 400, 401, 402, 403, 404, 405, 408, 409),
    *(410, 413, 415, 422, 425, 431, 451, 500, 501, 502, 503, 504, 520, 524, 599),
)
HEADERS = (
    {"Content_Type": "text/html"},
    {"Content_Type": "\xff"},
    {"Content_Encoding": "gzip"},
    {"Content_Encoding": "identity"},
    {"Retry_After": "-1"},
    {"Retry_After": "soon"},
    {"Retry_After": "nan"},
    {"Date": "yesterday"},
    {"Date": format_datetime(datetime(1, 1, 1, tzinfo=UTC))},
    {"Set_Cookie": "a=b"},
    {"Location": "http://127.0.0.1:9/"},
)


def spoilt(dice, sample, *, key):
    """
    Return a whole HTTP answer made of *sample*, and whether to close after it.

    The *key* is what an API repeats that should not.
    """
    read = json.loads(sample)
    status = 200
    for _ in range(dice.choice((1, 1, 2, 4))):
        read = _in_its_values(dice, read, key)
    # What JSON has no word for is written as Python does, and so read by few.
    body = json.dumps(read).encode("utf-8", "surrogatepass")
    if dice.random() < 0.25:
        body = _in_its_bytes(dice, body)
    if dice.random() < 0.25:
        status = dice.choice(STATUSES)
    headers = dice.choice(HEADERS) if dice.random() < 0.2 else {}
    return _in_its_http(dice, body, status, headers)


def _in_its_values(dice, read, key):
    read = copy.deepcopy(read)
    places = list(_places(read))
    if not places:
        return dice.choice(ODD)
    holder, name = dice.choice(places)
    way = dice.randrange(8)
    if way < 3:
        holder[name] = dice.choice((*ODD, key, f"no: {key}"))
    elif way == 3:
        del holder[name]
    elif way == 4:
        holder[name] = [holder[name]] * dice.choice((1, 2, 50))
    elif way == 5:
        holder[name] = {"data": holder[name]}
    elif way == 6:
        other, there = dice.choice(places)
        if there in (range(len(other)) if isinstance(other, list) else other):
            holder[name] = copy.deepcopy(other[there])
    elif isinstance(holder, dict):
        value = holder.pop(name)
        holder[dice.choice((name.upper(), f"{name} ", name[:-1], "data"))] = value
    return read if dice.random() < 0.97 else [read]


def _places(node):
    items = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for name, value in items:
        yield node, name
        yield from _places(value)


def _in_its_bytes(dice, body):
    at = dice.randrange(len(body) + 1)
    way = dice.randrange(6)
    if way == 0:
        return body[:at]
    if way == 1:
        return body[:at] + dice.randbytes(dice.randrange(1, 9)) + body[at:]
    if way == 2:
        return bytes([*body[:at], dice.randrange(256), *body[at + 1 :]])
    if way == 3:
        return b"\xef\xbb\xbf" + body
    if way == 4:
        return b"[" * 50_000
    return body.decode("utf-8", "replace").encode("utf-16")


def _in_its_http(dice, body, status, headers):
    way = dice.randrange(20)
    if way == 0:  # shorter than it said
        return message(body, status, **{**headers, LENGTH: str(len(body) + 7)}), True
    if way == 1:  # longer than it said
        shorter = str(max(len(body) - 7, 0))
        return message(body, status, **{**headers, LENGTH: shorter}), True
    if way == 2:  # until the end of the connection
        return message(body, status, **{**headers, LENGTH: None}), True
    if way == 3:  # cut somewhere
        whole = message(body, status, **headers)
        return whole[: dice.randrange(len(whole))], True
    if status == 204:
        return message(b"", status, **{**headers, LENGTH: None}), False
    return message(body, status, **headers), False
