"""
Addresses of object storage as a user writes them: "s3://bucket/prefix".

Read by hand and not as other URLs are: a key may hold what has a meaning there. Nothing
is echoed: what was meant as an address may hold a password or a token.
"""

from __future__ import annotations

import re
from os import PathLike, fspath
from typing import Final, NoReturn
from urllib.parse import quote, unquote

from attrs import frozen

from apimodels_async.errors import InvalidRequestError

BUCKETS: Final = {"s3": "bucket", "gs": "bucket", "az": "container"}
"""Scheme -> what the first part of the address names."""
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
"""With two letters or more: one is a drive of Windows."""
_FOLDED: Final = re.compile(r"(?:s3|gs|az|file|memory):/(?!/)", re.IGNORECASE)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_NOT_IN_KEYS: Final = re.compile(r"[\x00-\x1f\x7f?#\ud800-\udfff]")


@frozen
class ObjectURL:
    """One address in object storage."""

    scheme: str
    bucket: str
    """Of az a container, of file the directory; empty for memory."""
    key: str
    """Empty, or with a final slash: whatever begins so."""

    @property
    def root(self) -> str:
        """What stands before the key, and the slash between."""
        if self.scheme == "file":
            return f"file://{quote(self.bucket.rstrip('/'))}"
        return f"{self.scheme}://{self.bucket}"

    @property
    def address(self) -> str:
        """The text that is read as this."""
        return object_address(self.root, self.key)

    @property
    def prefix(self) -> str:
        """The folder's part of the key, with its final slash; or empty."""
        return self.key[: self.key.rfind("/") + 1]

    @property
    def folder(self) -> bool:
        """Whether pictures go below it, rather than being called so."""
        return not self.key or self.key.endswith("/")

    def as_folder(self) -> ObjectURL:
        """Return the address of what is below this one."""
        if self.folder:
            return self
        if self.scheme == "file":
            return ObjectURL("file", f"{self.bucket.rstrip('/')}/{self.key}", "")
        return ObjectURL(self.scheme, self.bucket, f"{self.key}/")

    def address_of(self, name: str) -> str:
        """Return the address of what is called *name* below this one."""
        below = self.as_folder()
        return object_address(below.root, below.key + name)


def object_address(root: str, key: str) -> str:
    """Return the address of what has *key* in the place *root*."""
    return f"{root}/{quote(key) if root.startswith('file:') else key}"


def read_object_url(target: object, parameter: str) -> ObjectURL | None:
    """
    Return what *target* says of object storage; None: it is a path, or no text at all.

    Raises:
        InvalidRequestError: It is an address, and cannot be used.
    """
    if isinstance(target, PathLike):
        text = fspath(target)
        if isinstance(text, str) and _FOLDED.match(text):
            _refuse(parameter, "give an address as text: a path folds its slashes")
        return None
    found = _URL.fullmatch(target) if isinstance(target, str) else None
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2]
    if scheme == "file":
        return _read_file(rest, parameter)
    if scheme == "memory":
        return ObjectURL(scheme, "", _checked_key(rest.lstrip("/"), parameter))
    if scheme not in BUCKETS:
        _refuse(
            parameter,
            "pictures go to a path, or to s3://, gs://, az://, file:// or memory://; "
            "for others give a store of obstore's own",
        )
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        named = BUCKETS[scheme]
        _refuse(
            parameter,
            f"{scheme}:// is followed by the name of a {named} alone: {scheme}://"
            f"{named}/prefix; keys and endpoints come from the environment",
        )
    return ObjectURL(scheme, bucket, _checked_key(key, parameter))


def _read_file(rest: str, parameter: str) -> ObjectURL:
    host, slash, path = rest.partition("/")
    if host not in {"", "localhost"} or not slash:
        _refuse(parameter, "file:// is followed by an absolute path: file:///data/out")
    folder, _, key = unquote(path).rpartition("/")
    return ObjectURL("file", f"/{folder}", _checked_key(key, parameter))


def _checked_key(key: str, parameter: str) -> str:
    parts = key.removesuffix("/").split("/") if key else []
    if _NOT_IN_KEYS.search(key) or not {"", ".", ".."}.isdisjoint(parts):
        _refuse(
            parameter,
            "what follows the bucket has no empty part, '.', '..', '?', '#' or control "
            "character",
        )
    return key


def _refuse(parameter: str, reason: str) -> NoReturn:
    msg = f"{parameter}: {reason}"
    raise InvalidRequestError(msg, parameter=parameter)
