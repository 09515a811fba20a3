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
    ("memory://X/b", ObjectURL("memory", "", "X/b")),
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
REFUSED = {
    "s3:// is followed by the name of a bucket alone: s3://bucket/prefix; keys and "
    "endpoints come from the environment": [
        *("s3://", "s3:///x", "s3://-b/x", "s3://id:canary@b/x"),
    ],
    "what follows the bucket has no empty part, '.', '..', '?', '#' or control "
    "character": [
        *("s3://b/a//b", "s3://b/../x", "s3://b/./x", "az://c/x?sig=canary"),
        *("gs://b/x#y", "s3://b/a\n", "memory:///a//b", "s3://b/\ud800"),
        "file:///a/..",
    ],
    "pictures go to a path, or to s3://, gs://, az://, file:// or memory://; for "
    "others give a store of obstore's own": [
        *("http://h/x", "ftp://canary@h/x", "s4://b/x", "https://b.s3.amazonaws.com/x"),
    ],
    "file:// is followed by an absolute path: file:///data/out": [
        *("file://host/x", "file://"),
    ],
    "give an address as text: a path folds its slashes": [
        *(PurePosixPath("s3://b/x"), PurePosixPath("file:///x")),
    ],
}
"""What to do about it -> addresses that are refused so."""


def test_an_address_is_read_as_written():
    """Scheme, bucket and key are told apart; what is a path is left alone."""

    def check(given, expected):
        assert read_object_url(given, "target") == expected

    check_all(READ, check)


def test_an_address_that_cannot_be_used_is_refused():
    """The error names the parameter, what to do, and nothing that may be secret."""

    def check(given, words):
        with pytest.raises(InvalidRequestError) as caught:
            read_object_url(given, "download_to")
        assert caught.value.parameter == "download_to"
        assert str(caught.value) == f"download_to: {words}"

    cases = [(each, words) for words, given in REFUSED.items() for each in given]
    check_all(cases, check)


def test_a_folder_is_what_begins_alike():
    """A bucket, or a key with a final slash, is a folder; any other can be made one."""
    fox = ObjectURL("s3", "b", "p/fox")
    file = ObjectURL("file", "/data", "fox")

    assert [fox.folder, ObjectURL("s3", "b", "").folder] == [False, True]
    assert fox.as_folder() == ObjectURL("s3", "b", "p/fox/")
    assert fox.as_folder().as_folder() == fox.as_folder()
    assert file.as_folder() == ObjectURL("file", "/data/fox", "")
    assert ObjectURL("file", "/", "X").as_folder() == ObjectURL("file", "/X", "")
    assert ObjectURL("file", "/X", "fox").as_folder().bucket == "/X/fox"
    assert [fox.root, file.root] == ["s3://b", "file:///data"]
    assert ObjectURL("memory", "", "x").root == "memory://"
    assert ObjectURL("file", "/my out", "x").root == "file:///my%20out"
