"""
One thing in an answer that cannot be used costs nobody the rest of it.
"""

from __future__ import annotations

import base64
import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.cases import check_all
from yarl import URL

from apimodels_async._api.addresses import picture_address, usable_address
from apimodels_async._api.responses import read_created, read_task
from apimodels_async._ports import Reply
from apimodels_async.errors import GenerationFailedError, UnexpectedResponseError
from apimodels_async.models import TaskState

GOOD = "https://r2.apimodels.app/images/good.png"
PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(range(251, 256)) * 3
PACKED = base64.b64encode(PIXEL).decode()
BAD = (
    *(None, {"url": GOOD}, 5, [GOOD], "", "/a.png", "ftp://a/b", "javascript:x"),
    *("https://r2.apimodels.app/my fox.png", "https://r2.apimodels.app/füchse.png"),
    *("http://[::1]x/", "http://[::1/", "https://a:99999/", "https://a:b/", "https://"),
    *("https://a\\b/", "https://a..b/", "https://%41/", f"https://a/{'x' * 9000}"),
    *("data:image/png;base64,", "data:image/png,x", "data:text/html;base64,eA=="),
    "data:image/png;base64,§",
)


def told(**data):
    """Return the answer about a task."""
    whole = {"taskId": "clx1", **data}
    return Reply(200, {}, json.dumps({"code": 200, "data": whole}).encode())


def read(**data):
    """Return what a poll makes of it."""
    return read_task(told(**data), "clx1", None)


def test_what_cannot_be_used_is_left_out():
    """The good addresses are handed over in their order; raw has all there was."""

    def check(bad):
        given = [GOOD, bad, f"{GOOD}?2"]
        result = read(state="completed", resultUrls=given).result
        assert result.urls == (GOOD, f"{GOOD}?2")
        assert result.raw["resultUrls"] == given

    check_all(BAD, check)


def test_without_anything_to_use_a_task_ends_at_once():
    """A completed task without one usable address was charged, and shows what came."""

    def check(bad):
        snapshot = read(state="completed", resultUrls=[bad])
        error = snapshot.error
        assert isinstance(error, UnexpectedResponseError)
        assert (error.charged, error.task_id, snapshot.result) == (True, "clx1", None)
        assert error.raw["resultUrls"] == [bad]

    check_all(BAD, check)


def test_an_order_answered_with_nothing_to_use_has_its_task():
    """Such an answer to the order itself names the task all the same."""
    snapshot = read_created(told(state="completed", resultUrls=[None]), "m")
    assert (snapshot.task_id, snapshot.error.charged) == ("clx1", True)


def test_one_address_may_come_alone():
    """A text where the list should be is a list of one."""
    assert read(state="completed", resultUrls=GOOD).result.urls == (GOOD,)


def test_a_picture_in_the_answer_survives_its_neighbours():
    """An OpenAI-shaped answer gives what is usable of it."""
    items = [None, {"url": 5, "b64_json": PACKED}, {"url": "x y"}, 7, {"url": GOOD}]
    reply = Reply(200, {}, json.dumps({"data": items}).encode())
    result = read_created(reply, None)
    assert result.urls == (f"data:image/png;base64,{PACKED}", GOOD)
    assert result.raw == {"data": items}


def test_a_picture_of_no_use_was_charged():
    """A synchronous answer whose only picture is unusable says so, and shows it."""
    for data in ({"url": "http://[::1]x/"}, [{"b64_json": "§"}]):
        reply = Reply(200, {}, json.dumps({"code": 200, "data": data}).encode())
        with pytest.raises(UnexpectedResponseError) as caught:
            read_created(reply, None)
        assert caught.value.charged is True
        assert caught.value.raw in (data, {"code": 200, "data": data})


LOOSE = base64.b64encode(b"\xfb\xff\xfe" * 4 + b"x").decode()
SPELLINGS = {
    "as it is": LOOSE,
    "in lines": "\r\n".join(LOOSE[i : i + 5] for i in range(0, len(LOOSE), 5)) + "\n",
    "unpadded": LOOSE.rstrip("="),
    "for URLs": LOOSE.replace("+", "-").replace("/", "_"),
    "a data URL": f"data:image/png;base64,{LOOSE}",
    "a quoted one": "DATA:image/png;base64," + LOOSE.replace("+", "%2B"),
}


def test_base64_is_read_however_it_is_written():
    """Line breaks, missing padding and the other alphabet make no difference."""
    expected = f"data:image/png;base64,{LOOSE}"

    def check(packed):
        assert picture_address(packed) == expected

    check_all(SPELLINGS.values(), check)


HOSTS = st.text("ab.:[]@%-_1/\\?# é", max_size=12)


@given(st.builds("https://{}/{}".format, HOSTS, HOSTS) | st.text())
@example("http://[::1]x/")
@example("https://a:0/")
@example("https://[v1.a]/")
@example("https://[::1%25eth0]/")
def test_what_is_handed_over_can_be_asked_for(url):
    """No address of a result makes the URL library raise, or read another host."""
    found = usable_address(url)
    if found is None or found.startswith("data:"):
        return
    assert found == url
    parsed = URL(found)
    assert parsed.host
    assert parsed.scheme in {"http", "https"}


WORDS = ("succeeded", "COMPLETED", "done", "Failed")


@pytest.mark.parametrize("word", WORDS)
def test_addresses_end_a_task_whatever_the_word(word):
    """A word that is not known, with an address one can use, is completed."""
    snapshot = read(state=word, resultUrls=[GOOD], failMsg="not at all")
    assert snapshot.state is TaskState.COMPLETED
    assert snapshot.result.urls == (GOOD,)
    assert snapshot.result.raw["state"] == word


@pytest.mark.parametrize("more", [{"failMsg": "gave up"}, {"failCode": "gave up"}])
def test_a_reason_ends_a_task_of_unknown_cost(more):
    """A word that is not known, with a reason, ends the wait: charged is open."""
    snapshot = read(state="aborted", resultUrls=[], **more)
    assert snapshot.state == "aborted"
    assert not isinstance(snapshot.error, GenerationFailedError)
    assert (snapshot.error.charged, snapshot.error.task_id) == (None, "clx1")
    assert "'aborted'" in str(snapshot.error)
    assert "gave up" in str(snapshot.error)


@pytest.mark.parametrize("word", ["pending", "processing"])
def test_a_task_that_runs_is_not_ended_by_a_reason(word):
    """What the documentation calls running runs, whatever else is said."""
    for read_it in (read, lambda **data: read_created(told(**data), None)):
        snapshot = read_it(state=word, failMsg="slow", resultUrls=[GOOD])
        assert (snapshot.state, snapshot.result, snapshot.error) == (word, None, None)


ALL_EMPTY = {"code": None, "msg": ["", {"en": "null"}, 0]}
NO_REASONS = (0, "0", 0.0, "0.0", " ", "null", "None", False, ALL_EMPTY, [[], {}], "{}")


def test_a_field_that_was_only_filled_in_is_no_reason():
    """Zeros, blanks, words for nothing and what holds only those end no wait."""

    def check(nothing):
        snapshot = read(state="queued", failMsg=nothing, failCode=nothing)
        assert (snapshot.state, snapshot.error) == ("queued", None)
        failed = read(state="failed", failMsg=nothing, failCode=nothing).error
        assert (failed.fail_message, failed.fail_code) == ("no reason given", None)
        assert read(state="queued", failMsg=[nothing, "nsfw"]).error is not None

    check_all([(each,) for each in NO_REASONS], check)


def test_a_task_that_runs_runs_in_any_letters():
    """A reason does not end a task whose word is a running one in other letters."""
    for word in ("PROCESSING", "Pending", " processing "):
        snapshot = read(state=word, failMsg="slow", failCode=7)
        assert (snapshot.state, snapshot.error) == (word, None)


PICTURES = (
    *({"url": GOOD}, {"resultUrls": [None, GOOD]}, {"resultUrls": GOOD}),
    {"resultUrls": [], "url": GOOD},
)
NO_WORDS = ({}, {"state": None}, {"state": 3}, {"state": ""}, {"state": "x" * 65})


def test_a_picture_without_a_usable_task_is_a_result():
    """A paid answer with a picture is a result, whatever stands for its task."""

    def check(named):
        for pictures in PICTURES:
            for word in (*NO_WORDS, {"state": "completed"}, {"state": "pending"}):
                data = {**named, **word, **pictures, "credits": 0.01}
                reply = Reply(200, {}, json.dumps({"data": data}).encode())
                result = read_created(reply, "m")
                assert (result.urls, result.task_id) == ((GOOD,), None)
                assert (result.credits, result.raw) == (Decimal("0.01"), data)

    names = ({}, *({"taskId": bad} for bad in (None, "", "a/b", 1.5, True, [])))
    check_all([(each,) for each in names], check)


def test_a_picture_without_a_word_is_completed():
    """A task shown with its picture is completed, in orders and polls, without word."""

    def check(word):
        for pictures in PICTURES:
            reply = told(**word, **pictures)
            created, polled = read_created(reply, "m"), read_task(reply, "clx1", "m")
            assert created == polled
            assert created.state is TaskState.COMPLETED
            assert (created.result.urls, created.result.task_id) == ((GOOD,), "clx1")
            assert created.result.raw == {"taskId": "clx1", **word, **pictures}

    check_all([(each,) for each in (*NO_WORDS, {"state": "completed"})], check)


def test_a_picture_beside_a_failure_is_none():
    """A failed task stays failed, and an answer of another one is not taken."""
    assert read(state="failed", url=GOOD, resultUrls=[GOOD]).error.charged is False
    for named in ("clx2", None):
        with pytest.raises(UnexpectedResponseError):
            read_task(told(taskId=named, url=GOOD), "clx1", None)
    with pytest.raises(UnexpectedResponseError):
        read_created(told(taskId=None, state="failed", url=GOOD), None)


def test_an_answer_that_cannot_be_read_is_shown():
    """What the API sent is on the error, also where no field of it can be used."""
    envelope = {"code": 200, "data": [1]}
    cases = (
        ({"code": 200, "data": {"taskId": None}}, {"taskId": None}),
        (envelope, envelope),
        ({"code": 200, "data": None}, {"code": 200, "data": None}),
        ({"data": {"taskId": "a/b", "state": "x"}}, {"taskId": "a/b", "state": "x"}),
        ({"data": {"taskId": "clx1", "state": ""}}, {"taskId": "clx1", "state": ""}),
    )

    def check(body, shown):
        with pytest.raises(UnexpectedResponseError) as caught:
            read_created(Reply(200, {}, json.dumps(body).encode()), None)
        assert caught.value.raw == shown

    check_all(cases, check)


REASONS = {
    "object": ({"why": ["nsfw"]}, '{"why": ["nsfw"]}'),
    "list": (["a", 1], '["a", 1]'),
    "number": (1026, "1026"),
    "true": (True, "true"),
}


def test_a_reason_is_shown_whatever_it_is_made_of():
    """Objects, lists and numbers are told as the JSON they are."""

    def check(reason, shown):
        error = read(state="failed", failMsg=reason, failCode=reason).error
        assert (error.fail_message, error.fail_code) == (shown, shown)

    check_all(REASONS.values(), check)


COSTS = {
    "0.05": Decimal("0.05"),
    0: Decimal(0),
    -0.025: None,
    "-1": None,
    "NaN": None,
    "Infinity": None,
    1e6: None,
    "1e17": None,
    "0.05 USD": None,
    True: None,
}


def test_an_amount_that_is_no_cost_is_not_told():
    """Negative, absurd or no number: None, so no budget is refilled; raw shows it."""

    def check(amount, expected):
        result = read(state="completed", resultUrls=[GOOD], credits=amount).result
        assert result.credits == expected
        assert result.raw["credits"] == amount
        data = {"url": GOOD, "credits": amount}
        reply = Reply(200, {}, json.dumps({"code": 200, "data": data}).encode())
        assert read_created(reply, None).credits == expected

    check_all(COSTS.items(), check)


def test_numbers_may_be_quoted():
    """Times in quotes are times, and one that runs backwards lasts no time."""
    times = {"createTime": "1705123450000", "completeTime": "1705123465000"}
    assert read(state="completed", resultUrls=[GOOD], **times).result.duration_s == 15
    back = {"createTime": times["completeTime"], "completeTime": times["createTime"]}
    result = read(state="completed", resultUrls=[GOOD], **back).result
    assert (result.duration_s, result.url) == (None, GOOD)


def test_an_id_may_be_a_number():
    """An id of digits is the same task with and without quotes."""
    data = {"taskId": 17, "state": "completed", "resultUrls": [GOOD]}
    reply = Reply(200, {}, json.dumps({"code": 200, "data": data}).encode())
    assert read_task(reply, "17", None).result.task_id == "17"
