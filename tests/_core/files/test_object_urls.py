"""Addresses of object storage: read exactly, and refused without an echo."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from support.cases import check_all

from apimodels_async import InvalidRequestError
from apimodels_async._core.files.object_urls import ObjectURL, read_object_url

READ = [
    ("s3://b", ObjectURL("s3", "b", "")),
    ("s3://b/", ObjectURL("s3", "b", "")),
    ("S3://Bucket.x/p/", ObjectURL("s3", "Bucket.x", "p/")),
    ("gs://b/p/fox", ObjectURL("gs", "b", "p/fox")),
    ("az://c/東京/fox 2.png", ObjectURL("az", "c", "東京/fox 2.png")),
    ("memory://", ObjectURL("memory", "", "")),
    ("memory:///a/b/", ObjectURL("memory", "", "a/b/")),
    ("file:///data/out/", ObjectURL("file", "/data/out", "")),
    ("file:///data/my%20out/fox", ObjectURL("file", "/data/my out", "fox")),
    ("file://localhost/fox", ObjectURL("file", "/", "fox")),
    ("out/fox", None),
    ("C://out", None),
    ("s3:", None),
    ("", None),
    (3, None),
    (None, None),
    (b"s3://b/x", None),
    (PurePosixPath("out"), None),
]
REFUSED = [
    *("s3://", "s3:///x", "s3://-b/x", "s3://b/a//b", "s3://b/../x", "s3://b/./x"),
    *("s3://id:canary@b/x", "az://c/x?sig=canary", "gs://b/x#y", "s3://b/a\n"),
    *("http://h/x", "ftp://canary@h/x", "s4://b/x", "https://b.s3.amazonaws.com/x"),
    *("file://host/x", "file://", "memory:///a//b", "s3://b/\ud800"),
    *(PurePosixPath("s3://b/x"), PurePosixPath("file:///x")),
]


def test_an_address_is_read_as_written():
    """Scheme, bucket and key are told apart; what is a path is left alone."""

    def check(given, expected):
        assert read_object_url(given, "target") == expected

    check_all(READ, check)


def test_an_address_that_cannot_be_used_is_refused():
    """The error names the parameter, and nothing of what may be a secret."""

    def check(given):
        with pytest.raises(InvalidRequestError) as caught:
            read_object_url(given, "download_to")
        assert caught.value.parameter == "download_to"
        assert "canary" not in str(caught.value)

    check_all([(given,) for given in REFUSED], check)


def test_a_folder_is_what_begins_alike():
    """A bucket, or a key with a final slash, is a folder; any other can be made one."""
    fox = ObjectURL("s3", "b", "p/fox")
    file = ObjectURL("file", "/data", "fox")

    assert [fox.folder, ObjectURL("s3", "b", "").folder] == [False, True]
    assert fox.as_folder() == ObjectURL("s3", "b", "p/fox/")
    assert fox.as_folder().as_folder() == fox.as_folder()
    assert file.as_folder() == ObjectURL("file", "/data/fox", "")
    assert [fox.root, file.root] == ["s3://b", "file:///data"]
    assert ObjectURL("memory", "", "x").root == "memory://"
    assert ObjectURL("file", "/my out", "x").root == "file:///my%20out"
