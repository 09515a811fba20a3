"""What an error of a bucket's becomes: words, and no secret."""

from __future__ import annotations

from support.cases import check_all

from apimodels_async._core.files.bucket_trouble import status_of, words_of

S3_DENIED = """The operation lacked the necessary privileges to complete for path k: \
Error performing PUT https://b.s3.amazonaws.com/k?X-Amz-Signature=canary in 3ms - \
Server returned non-2xx status code: 403 Forbidden: <?xml version="1.0"?>\
<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>AKIAcanary</AWSAccessKeyId>"""
REFUSED = """Error performing PUT http://127.0.0.1:1/b/k?sig=canary in 300ms, after 2 \
retries - HTTP error: error sending request

    source: hyper_util::client::legacy::Error(Connect, ConnectError(
        "tcp connect error", 127.0.0.1:1,
        Os { code: 111, kind: ConnectionRefused, message: "Connection refused", },
    )), kind: Connect,"""
CASES = [
    (
        "PermissionDeniedError",
        S3_DENIED,
        "access is denied (InvalidAccessKeyId)",
    ),
    ("UnauthenticatedError", "sig=canary", "the credentials are not accepted"),
    ("FileNotFoundError", "canary", "there is no such bucket"),
    ("GenericError", "x status code: 503 canary", "HTTP 503"),
    (
        "GenericError",
        "status code: 503: <Code>SlowDown</Code> canary",
        "HTTP 503 (SlowDown)",
    ),
    ("GenericError", REFUSED, "Connection refused"),
    ("GenericError", "canary { kind: Timeout }", "no answer in time"),
    ("GenericError", "canary { kind: Connect }", "no connection"),
    ("OSError", "Not a directory (os error 20)", "Not a directory"),
    ("OSError", "canary: Not a directory (os error 20)", "OSError"),
    (
        "GenericError",
        "PUT http://169.254.169.254/latest/api/token: status code: 404 canary",
        "no credentials are in the environment, and the machine has none either",
    ),
    ("GenericError", "canary", "GenericError"),
]


def test_an_error_is_put_into_words():
    """What is wrong is said, and nothing else of what the service echoes."""

    def check(kind, text, expected):
        assert words_of(kind, text) == expected
        assert "canary" not in expected

    check_all(CASES, check)


def test_a_status_is_found():
    """The status is a number, where there is one."""
    assert [status_of("status code: 501 No"), status_of("none")] == [501, None]
