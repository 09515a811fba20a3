"""An S3 service of its own on loopback, and what is in a bucket."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

SECRET = "canary-7f3a9c51d2-secret"


def environment(origin):
    """Return what the environment says where S3 is at *origin*."""
    return {
        "AWS_ENDPOINT_URL": origin,
        "AWS_ACCESS_KEY_ID": "AKIACANARY",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


@dataclass
class S3:
    """The service, and how many buckets it was asked for."""

    origin: str
    made: int = 0

    def bucket(self):
        """Make a bucket, and return its name."""
        self.made += 1
        name = f"pictures-{self.made}"
        request = urllib.request.Request(f"{self.origin}/{name}", method="PUT")  # noqa: S310  loopback
        with urllib.request.urlopen(request) as answer:  # noqa: S310  same
            assert answer.status == 200
        return name

    def uploads(self, bucket):
        """Return what a bucket says of uploads that were begun and never ended."""
        with urllib.request.urlopen(f"{self.origin}/{bucket}?uploads") as answer:  # noqa: S310  same
            return answer.read().decode().count("<UploadId>")


@contextlib.contextmanager
def serve_s3():
    """Run moto's server; skips the test where there is none."""
    if importlib.util.find_spec("moto") is None:
        pytest.skip("moto is not installed: no S3 service to try")
    # Into a file: a pipe that nobody reads is full after some 600 requests, and then
    # the service waits for ever.
    with (
        tempfile.TemporaryDirectory() as folder,
        (Path(folder) / "said").open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as server,
    ):
        try:
            while (found := _address_in(said.name)) is None:
                if server.poll() is not None:
                    pytest.fail("moto's server ended before it listened")
                time.sleep(0.02)
            yield S3(found[0])
        finally:
            server.kill()


def at_s3(server, monkeypatch, **options):
    """Return a store at a raw server that tries once; nothing is in the environment."""
    for name, value in environment(server.origin).items():
        monkeypatch.setenv(name, value)
    return S3Store(
        "pictures",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
        **options,
    )


def _address_in(file):
    text = Path(file).read_text(encoding="utf-8", errors="replace")
    return re.search(r"http://127\.0\.0\.1:\d+", text)


def objects(store):
    """Return the key and size of all that is in a store."""
    return {
        meta["path"]: meta["size"] for batch in obstore.list(store) for meta in batch
    }


def content(store, key):
    """Return the bytes of an object."""
    return bytes(obstore.get(store, key).bytes())
