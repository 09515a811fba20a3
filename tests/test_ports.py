"""HTTP-shaped values, and a key that cannot be shown."""

from __future__ import annotations

import pytest

from apimodels_async._ports import Failure, File, Kind, Phase, Reply, Request, Sent


@pytest.mark.parametrize(
    "value",
    [
        Request(method="POST", path="files", body=b"PRIVATE"),
        Request(
            method="POST", path="files", file=File("a.png", "image/png", b"PRIVATE")
        ),
        Reply(200, {}, b"PRIVATE"),
        Failure(sent=True, phase=Phase.BODY, reason="cut", body=b"PRIVATE"),
    ],
    ids=["body", "file", "reply", "failure"],
)
def test_a_body_is_not_printed(value):
    """Prompts, files and answers stay out of reprs, and so out of logs."""
    assert "PRIVATE" not in repr(value)


def test_a_request_is_free_unless_it_says_so():
    """The default is a free request with a small answer and nothing sent yet."""
    request = Request(method="GET", path="balance")

    assert (
        request.kind,
        request.body,
        request.reply_bytes_max,
    ) == (Kind.FREE, None, 1 << 20)
    assert None is Sent().at
