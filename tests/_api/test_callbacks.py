"""What is read from a callback's body, and what is not."""

from __future__ import annotations

import json

import hypothesis.strategies as st
from hypothesis import given
from support.cases import check_all

from apimodels_async._api.callbacks import read_delivery

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_the_task_is_named():
    """The id in data.taskId is what is taken from a callback."""
    body = {
        "code": 200,
        "msg": "success",
        "data": {"taskId": "clx1", "state": "failed"},
    }
    assert read_delivery(json.dumps(body).encode()) == "clx1"


def test_anything_else_names_none():
    """What is not JSON, has no id, or one that cannot be one, is told by None."""
    cases = [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"data": []}',
        b'{"data": {"taskId": 7}}',
        b'{"data": {"taskId": ""}}',
        b'{"data": {"taskId": "a b"}}',
        b'{"data": {"taskId": "a\\nSet-Cookie: x"}}',
        b'{"data": {"taskId": "' + b"a" * 129 + b'"}}',
        b'{"data": {"taskId": "clx1"}',
    ]

    def check(body):
        assert read_delivery(body) is None

    check_all(cases, check)


@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_is_an_error(body):
    """Whatever arrives, nothing is raised."""
    read_delivery(body)
