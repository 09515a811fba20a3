"""What the API answers becomes values: four shapes of success, and what fits none."""

# ruff: noqa: PT017  what a property allows is a value or an error, not one of them

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._api.convert import WireFile
from apimodels_async._api.refusals import salvage_task_id
from apimodels_async._api.responses import (
    read_balance,
    read_created,
    read_file,
    read_models,
    read_task,
)
from apimodels_async._ports import Reply
from apimodels_async.errors import (
    ApiModelsError,
    APIStatusError,
    GenerationFailedError,
    InsufficientCreditsError,
    NotFoundError,
    UnexpectedResponseError,
)
from apimodels_async.model_info import ModelInfo
from apimodels_async.models import (
    Balance,
    ImageResult,
    TaskSnapshot,
    TaskState,
)

URL = "https://r2.apimodels.app/images/xxx.jpeg"
TASK = {"taskId": "clx1", "state": "pending"}
DONE = {
    "taskId": "clx1",
    "state": "completed",
    "resultUrls": [URL],
    "createTime": 1705123450000,
    "completeTime": 1705123465000,
}
FAILED = {"taskId": "clx1", "state": "failed", "failMsg": "Content policy violation"}
SYNC = {"url": URL, "model": "sparkpix-image", "credits": 0.01, "duration": 0.84}
CREATED_AT = datetime(2024, 1, 13, 5, 24, 10, tzinfo=UTC)
COMPLETED_AT = datetime(2024, 1, 13, 5, 24, 25, tzinfo=UTC)
EXPIRES_AT = datetime(2024, 1, 20, 5, 24, 25, tzinfo=UTC)
DATE = "Sat, 13 Jan 2024 05:24:25 GMT"

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text()
    | st.sampled_from([URL, "clx1", "completed", "failed", "pending", "x" * 100]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def known(*names):
    """Return a strategy for objects with some of *names* and odd values."""
    return st.dictionaries(st.sampled_from(names), VALUES)


DATA = (
    known("taskId", "state", "resultUrls", "createTime", "completeTime", "failMsg")
    | known("url", "model", "credits", "duration", "taskId")
    | st.builds(
        lambda base, more: {**base, **more},
        st.sampled_from([TASK, DONE, FAILED, SYNC]),
        known("resultUrls", "completeTime", "createTime", "failCode", "credits", "url"),
    )
    | st.lists(known("url", "b64_json"), max_size=3)
    | VALUES
)
BODIES = st.binary() | st.builds(
    lambda code, data, more: json.dumps({"code": code, "data": data, **more}).encode(),
    st.just(200) | VALUES,
    DATA,
    known("created", "msg", "error"),
)


def answer(data=None, *, status=200, headers=None, **body):
    """Return a reply whose envelope holds *data*, plus or minus other fields."""
    envelope = {"code": 200, "msg": "success", "data": data, **body}
    raw = {name: value for name, value in envelope.items() if value is not ...}
    return Reply(status, headers or {}, json.dumps(raw).encode())


def openai(*items, **body):
    """Return a reply in the shape of OpenAI's API, which has no envelope."""
    return Reply(200, {}, json.dumps({"data": [*items], **body}).encode())


# --- the four shapes of a created generation ------------------------------------


def test_a_created_task_is_pending():
    """A create call answers a task to be polled."""
    expected = TaskSnapshot("clx1", TaskState.PENDING)
    assert expected == read_created(answer(TASK), "gpt-image-2")


def test_a_created_task_may_be_completed_already():
    """A create call that answers a completed task has its result at once."""
    expected = TaskSnapshot(
        "clx1",
        TaskState.COMPLETED,
        ImageResult(
            urls=(URL,),
            task_id="clx1",
            model="gpt-image-2-lite",
            credits=Decimal("0.01"),
            duration_s=15.0,
            created_at=CREATED_AT,
            completed_at=COMPLETED_AT,
            expires_at=EXPIRES_AT,
            raw={**DONE, "credits": 0.01},
        ),
    )
    reply = answer({**DONE, "credits": 0.01})

    assert expected == read_created(reply, "gpt-image-2-lite")


def test_sparkpix_answers_one_url():
    """A synchronous answer is a result without a task, dated by the answer itself."""
    reply = answer(SYNC, headers={"date": DATE})

    expected = ImageResult(
        urls=(URL,),
        model="sparkpix-image",
        credits=Decimal("0.01"),
        duration_s=0.84,
        completed_at=COMPLETED_AT,
        expires_at=EXPIRES_AT,
        raw=SYNC,
    )
    assert expected == read_created(reply, None)


def test_an_openai_answer_has_several_images():
    """An OpenAI-shaped answer gives all its images in order, bytes as a data: URL."""
    items = [{"url": URL}, {"b64_json": "iVBORw0K"}, {"url": None, "b64_json": None}]
    reply = openai(*items, created=1705123465)

    expected = ImageResult(
        urls=(URL, "data:image/png;base64,iVBORw0K"),
        model="gpt-image-2-all",
        completed_at=COMPLETED_AT,
        expires_at=EXPIRES_AT,
        raw={"data": items, "created": 1705123465},
    )
    assert expected == read_created(reply, "gpt-image-2-all")


def test_an_address_is_preferred_to_bytes():
    """An OpenAI-shaped image with both a URL and bytes gives the URL."""
    reply = openai({"url": URL, "b64_json": "iVBORw0K"})
    assert read_created(reply, None).urls == (URL,)


def test_a_created_task_may_have_failed_already():
    """A create call that answers a failed task has its error at once."""
    snapshot = read_created(answer(FAILED), None)

    assert TaskState.FAILED is snapshot.state
    assert snapshot.error.fail_message == "Content policy violation"


@pytest.mark.parametrize("urls", [None, [], ...])
def test_a_task_created_as_completed_without_urls_is_polled(urls):
    """A task that is completed at once but shows no URL yet counts as processing."""
    data = {"taskId": "clx1", "state": "completed", "resultUrls": urls}
    data = {name: value for name, value in data.items() if value is not ...}

    expected = TaskSnapshot("clx1", TaskState.PROCESSING)
    assert expected == read_created(answer(data), None)


def test_a_task_with_a_url_field_is_a_task():
    """An answer with both a task id and a url is read as a task."""
    expected = TaskSnapshot("clx1", TaskState.PENDING)
    assert expected == read_created(answer({**TASK, "url": URL}), None)


def test_what_fits_no_shape_is_unexpected():
    """An answer that fits none of the four shapes names the place of the misfit."""
    cases = [
        (answer(None), "expected an object, got NoneType @ $.data"),
        (answer(...), "expected an object, got NoneType @ $.data"),
        (answer("clx1"), "expected an object, got str @ $.data"),
        (Reply(200, {}, b"[]"), "expected an object, got NoneType @ $.data"),
        (answer({}), "a field is missing"),
        (answer({"url": ""}), "no result URL"),
        (answer({"url": 5}), "not a result URL: 5"),
        (answer({"url": "/images/a.png"}), "not a result URL: /images/a.png"),
        (answer({"url": "ftp://a/b"}), "not a result URL: ftp://a/b"),
        (answer({"url": "javascript:x"}), "not a result URL: javascript:x"),
        (answer({"url": "data:text/html,x"}), "not a result URL: data:text/html,x"),
        (answer({"url": "https://a/\x1b"}), "not a result URL: https://a/\\x1b"),
        (answer({**TASK, "taskId": ""}), "not a task id: "),
        (answer({**TASK, "taskId": "../balance"}), "not a task id: ../balance"),
        (answer({**TASK, "taskId": "a&b=c"}), "not a task id: a&b=c"),
        (answer({**TASK, "taskId": "x" * 129}), f"not a task id: {'x' * 79}…"),
        (
            answer({"taskId": "a b", "state": "completed"}),
            "not a task id: a b",
        ),
        (answer({**TASK, "state": ""}), "not a state: "),
        (answer({**TASK, "state": "x" * 65}), f"not a state: {'x' * 65}"),
        (openai(), "no result URL"),
        (openai({}), "no result URL"),
        (openai({"url": "x"}), "not a result URL: x"),
        (openai(5), "not a result URL: 5"),
    ]

    def check(reply, reason):
        with pytest.raises(UnexpectedResponseError) as caught:
            read_created(reply, "m")

        expected = f"the API's answer does not fit: {reason}"
        assert expected == str(caught.value)[: len(expected)]
        assert caught.value.status == 200

    check_all(cases, check)


def test_a_refusal_is_raised_whatever_the_shape():
    """A create call refused by status or by code raises the refusal."""
    with pytest.raises(InsufficientCreditsError):
        read_created(answer(SYNC, status=402), None)
    with pytest.raises(InsufficientCreditsError):
        read_created(answer(SYNC, code=402), None)


# --- polls ----------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "processing"])
def test_a_running_task_has_only_its_state(state):
    """A poll of a running task gives its state."""
    reply = answer({**TASK, "state": state})
    assert TaskSnapshot("clx1", TaskState(state)) == read_task(reply, "clx1", None)


def test_an_unknown_state_is_kept_and_unfinished():
    """A state word we do not know is kept as it came and does not end the task."""

    def check(word):
        data = {**TASK, "state": word, "resultUrls": [], "failMsg": ""}
        snapshot = read_task(answer(data), "clx1", None)

        assert (word, None, None) == (snapshot.state, snapshot.result, snapshot.error)
        assert not snapshot.state.finished

    check_all(
        ["moderating", "queued", "COMPLETED", "success", "canceled", "x" * 64], check
    )


def test_a_state_word_is_shown_printable():
    """Control characters in a state word are escaped before anyone prints it."""
    snapshot = read_task(answer({**TASK, "state": "\x1b[2J"}), "clx1", None)
    assert snapshot.state == "\\x1b[2J"


@pytest.mark.parametrize(
    ("asked", "wire", "expected"),
    [("ours", "theirs", "ours"), (None, "theirs", "theirs"), (None, None, None)],
)
def test_a_result_names_the_model_as_asked_for(asked, wire, expected):
    """The model is the one asked for, else the one the API names."""
    snapshot = read_task(answer({**DONE, "model": wire}), "clx1", asked)
    assert expected == snapshot.result.model


def test_a_failed_task_carries_the_reason():
    """A failed task has message and code of the API, and was not charged."""
    reply = answer({**FAILED, "failCode": "CONTENT_MODERATION"})
    error = read_task(reply, "clx1", None).error

    assert GenerationFailedError is type(error)
    assert str(error) == (
        "the generation failed: Content policy violation [CONTENT_MODERATION]"
    )
    assert (
        error.fail_message,
        error.fail_code,
        error.task_id,
        error.status,
        error.charged,
    ) == ("Content policy violation", "CONTENT_MODERATION", "clx1", 200, False)


def test_a_reason_is_fit_to_be_shown():
    """A reason that is missing, long or full of control characters can be printed."""
    cases = [
        (None, "no reason given"),
        ("", "no reason given"),
        (7, "7"),
        ({"why": ["nsfw"]}, '{"why": ["nsfw"]}'),
        ("\x1b[31mred\nline", "\\x1b[31mred\\nline"),
        ("x" * 1_000_000, "x" * 1999 + "…"),
    ]

    def check(message, shown):
        error = read_task(answer({**FAILED, "failMsg": message}), "clx1", None).error

        assert shown == error.fail_message
        assert None is error.fail_code

    check_all(cases, check)


@pytest.mark.parametrize("urls", [None, [], ...])
def test_a_completed_task_without_urls_is_an_error_that_was_charged(urls):
    """A completed task without a URL raises: it was paid for and has nothing yet."""
    data = {name: value for name, value in DONE.items() if name != "resultUrls"}
    if urls is not ...:
        data["resultUrls"] = urls

    with pytest.raises(UnexpectedResponseError) as caught:
        read_task(answer(data), "clx1", None)

    assert str(caught.value) == "task clx1 is completed but has no result URLs"
    assert (
        caught.value.task_id,
        caught.value.status,
        caught.value.charged,
    ) == ("clx1", 200, True)


def test_a_completed_task_with_a_url_of_no_use_was_charged():
    """A completed task with no URL one can fetch ends at once, charged, with its id."""

    def check(url):
        data = {**DONE, "resultUrls": [url]}
        error = read_task(answer(data), "clx1", None).error

        assert str(error) == (
            f"task clx1 is completed but has no result URLs that can be used: {url}"
        )
        assert (error.task_id, error.charged, error.raw) == ("clx1", True, data)

    check_all(["", "/images/a.png", "ftp://a/b", "https:///a", "x y"], check)


def test_an_answer_about_another_task_is_refused():
    """A poll answered with somebody else's task is refused, naming the one asked."""

    def check(other):
        with pytest.raises(UnexpectedResponseError) as caught:
            read_task(answer({**DONE, "taskId": other}), "clx1", None)

        assert str(caught.value).startswith("asked for task clx1, got an answer for ")
        assert str(caught.value).isprintable()
        assert (caught.value.task_id, caught.value.status) == ("clx1", 200)

    check_all(["clx2", "clx", "clx11", "CLX1", "x\n" * 100], check)


def test_a_poll_that_cannot_be_read_is_unexpected():
    """A poll answered with anything but a task raises UnexpectedResponseError."""

    def check(body):
        with pytest.raises(UnexpectedResponseError):
            read_task(Reply(200, {}, body), "clx1", None)

    check_all([b"", b"null", b"[1]", b"<html>", b'{"code": 200}'], check)


def test_a_poll_of_an_unknown_task_is_not_found():
    """A poll answered with 404 raises NotFoundError."""
    with pytest.raises(NotFoundError):
        read_task(answer(status=404, code=404), "clx1", None)


# --- lenient fields -------------------------------------------------------------


def test_credits_of_any_kind_cost_no_picture():
    """Credits are a number or its text, else None; the picture is there in any case."""
    cases = [
        (0.025, Decimal("0.025")),
        (1, Decimal(1)),
        ("0.0130", Decimal("0.0130")),
        (True, None),
        (None, None),
        ("free", None),
        ("NaN", None),
        ([], None),
        ("1e999999999", None),
    ]

    def check(value, expected):
        result = read_task(answer({**DONE, "credits": value}), "clx1", None).result

        assert expected == result.credits
        assert result.url == URL

    check_all(cases, check)


def test_credits_that_are_no_json_refuse_the_answer():
    """A bare NaN makes the whole answer unreadable: it is not JSON."""
    body = json.dumps({"code": 200, "data": {**DONE, "credits": float("nan")}})
    with pytest.raises(UnexpectedResponseError):
        read_task(Reply(200, {}, body.encode()), "clx1", None)


def test_dates_in_any_format_cost_no_picture():
    """Dates are read from epoch milliseconds, else None; the picture is there."""
    cases = [
        (None, None, (None, None, None, None)),
        (1705123450000, None, (CREATED_AT, None, None, None)),
        (None, 1705123465000, (None, COMPLETED_AT, EXPIRES_AT, None)),
        ("2024-01-13T05:24:10Z", 1705123465000, (None, COMPLETED_AT, EXPIRES_AT, None)),
        (True, [1], (None, None, None, None)),
        (10**400, -(10**400), (None, None, None, None)),
        (1705123450000000000, 1e300, (None, None, None, None)),
        (
            0,
            0,
            (
                datetime(1970, 1, 1, tzinfo=UTC),
                datetime(1970, 1, 1, tzinfo=UTC),
                datetime(1970, 1, 8, tzinfo=UTC),
                0.0,
            ),
        ),
        (
            None,
            253402300799000,
            (None, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), None, None),
        ),
    ]

    def check(created, completed, expected):
        data = {**DONE, "createTime": created, "completeTime": completed}
        result = read_task(answer(data), "clx1", None).result

        assert expected == (
            result.created_at,
            result.completed_at,
            result.expires_at,
            result.duration_s,
        )
        assert result.urls == (URL,)

    check_all(cases, check)


def test_a_duration_is_in_seconds_whatever_its_unit():
    """A synchronous duration above ten is milliseconds: the page names no unit."""
    cases = [
        (0.84, 0.84),
        (1, 1.0),
        (10, 10.0),
        (10.1, 0.0101),
        (840, 0.84),
        (840.5, 0.8405),
        ("0.85", 0.85),
        (-1, None),
        (None, None),
        (False, None),
    ]

    def check(value, expected):
        result = read_created(answer({**SYNC, "duration": value}), None)
        assert expected == result.duration_s

    check_all(cases, check)


@pytest.mark.parametrize(
    ("date", "completed", "expires"),
    [
        (None, None, None),
        ("yesterday", None, None),
        ("Sat, 13 Jan 2024 06:24:25 +0100", COMPLETED_AT, EXPIRES_AT),
        (
            "Fri, 31 Dec 9999 23:59:59 GMT",
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
            None,
        ),
    ],
)
def test_a_synchronous_result_is_dated_by_its_answer(date, completed, expires):
    """The Date header dates a synchronous result; a wrong one costs no picture."""
    reply = answer(SYNC, headers={"date": date} if date else {})
    result = read_created(reply, None)

    assert (completed, expires) == (result.completed_at, result.expires_at)
    assert UTC is (result.completed_at or COMPLETED_AT).tzinfo


def test_an_openai_date_in_any_format_costs_no_picture():
    """An OpenAI-shaped answer with an odd date gives its picture without a date."""

    def check(created):
        result = read_created(openai({"url": URL}, created=created), None)

        assert (result.completed_at, result.expires_at, result.url) == (None, None, URL)

    check_all(["yesterday", None, 1.5, 10**30, [], True, False], check)


def test_the_raw_mapping_is_the_apis_own():
    """What the API sent beyond our fields is kept, unchanged, in raw."""
    data = {**DONE, "resultJson": '{"layers": []}', "new": {"a": [1, None]}}
    assert data == read_task(answer(data), "clx1", None).result.raw


# --- the other answers ------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"balance": 99.965, "total": 100.0, "frozen": 0.035, "currency": "USD"},
            Balance(
                balance=Decimal("99.965"),
                total=Decimal("100.0"),
                frozen=Decimal("0.035"),
            ),
        ),
        ({"balance": "5"}, Balance(balance=Decimal(5))),
        (
            {"balance": -1, "total": "?", "currency": "EUR"},
            Balance(balance=Decimal(-1), currency="EUR"),
        ),
    ],
)
def test_a_balance_is_exact(data, expected):
    """The balance is read as exact decimals; what else there is, leniently."""
    assert expected == read_balance(answer(data))


@pytest.mark.parametrize("data", [None, {}, {"balance": None}, {"balance": "a lot"}])
def test_a_balance_that_cannot_be_read_is_unexpected(data):
    """An answer without a readable balance raises UnexpectedResponseError."""
    with pytest.raises(UnexpectedResponseError):
        read_balance(answer(data))


def test_models_come_in_the_apis_order():
    """The listed models keep their order, and their own mapping in raw."""
    rows = [{"id": "b", "modality": "image", "x": 1}, {"id": "a\x1b", "endpoint": "/e"}]

    expected = (
        ModelInfo(id="b", modality="image", raw=rows[0]),
        ModelInfo(id="a\\x1b", endpoint="/e", raw=rows[1]),
    )
    assert expected == read_models(answer(rows, code=..., msg=...))
    assert read_models(answer([])) == ()


def test_models_that_cannot_be_read_are_unexpected():
    """A list of models that is none raises UnexpectedResponseError."""

    def check(data):
        with pytest.raises(UnexpectedResponseError):
            read_models(answer(data))

    check_all([None, {"id": "a"}, [{"id": 1}], [None], "a"], check)


def test_a_hosted_file_has_its_url():
    """Both modes of the files endpoint give the public URL, one an address to PUT."""
    assert WireFile(URL) == read_file(answer({"publicUrl": URL}))
    assert WireFile(URL, "https://put") == read_file(
        answer({"publicUrl": URL, "uploadUrl": "https://put"})
    )


@pytest.mark.parametrize("read", [read_balance, read_models, read_file])
def test_a_body_that_is_no_object_is_unexpected(read):
    """Lists, words and null in place of an envelope raise UnexpectedResponseError."""
    for body in (b"[]", b"null", b'"x"', b"5"):
        with pytest.raises(UnexpectedResponseError):
            read(Reply(200, {}, body))


def test_a_task_id_is_salvaged_from_a_broken_answer():
    """A whole task id in an answer that cannot be read is found again."""
    cases = [
        (b'{"code": 200, "data": {"taskId": "clx1", "sta', "clx1"),
        (b'{"taskId"\n:\t"a-B_9"}{"taskId": "later"}', "a-B_9"),
        (b'\xff\xfe{"taskId":"clx1"}', "clx1"),
        (b'{"taskId": "clx', None),
        (b'{"taskId": ""}', None),
        (b'{"taskId": "a b"}', None),
        (b'{"taskId": 5}', "5"),
        (b'{"taskId": 5', None),
        (b'{"msg": "{\\"task_id\\": \\"clx1\\"}"}', "clx1"),
        (b'{"taskId": null}', None),
        (b'{"taskId": "' + b"x" * 129 + b'"}', None),
        (b"", None),
    ]

    def check(body, expected):
        assert expected == salvage_task_id(body)

    check_all(cases, check)


# --- fuzz -------------------------------------------------------------------------


@given(BODIES, st.integers(100, 599) | st.just(200), st.just(DATE) | st.text())
@example(json.dumps({"code": 200, "data": DONE}).encode(), 200, DATE)
@example(b'{"data": [{"b64_json": "\\ud800"}]}', 200, "")
@example(b'{"data": [{"url": "https://[::1/"}], "created": 1e400}', 200, "")
def test_any_answer_to_a_create_is_read_or_an_error(body, status, date):
    """Whatever arrives, read_created returns a value or raises one of our errors."""
    reply = Reply(status, {"date": date}, body)
    try:
        created = read_created(reply, None)
    except (APIStatusError, UnexpectedResponseError) as error:
        assert status == error.status
    else:
        assert isinstance(created, ImageResult) or created.task_id


@given(BODIES, st.integers(100, 599) | st.just(200))
def test_any_answer_to_a_poll_is_read_or_an_error(body, status):
    """Whatever arrives, read_task speaks of the task asked for or raises our error."""
    try:
        snapshot = read_task(Reply(status, {}, body), "clx1", None)
    except (APIStatusError, UnexpectedResponseError) as error:
        assert status == error.status
    else:
        assert snapshot.task_id == "clx1"
        assert snapshot.state.finished == (
            snapshot.result is not None or snapshot.error is not None
        )


@given(st.sampled_from([read_balance, read_models, read_file]), BODIES)
def test_any_other_answer_is_read_or_an_error(read, body):
    """Whatever arrives, the other readers return a value or raise one of our errors."""
    try:
        read(Reply(200, {}, body))
    except ApiModelsError as error:
        assert error.status == 200
