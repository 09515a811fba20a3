"""
The few calls of Google's and Azure's object storage that we make, on loopback.

Written from their documentation (XML API of Cloud Storage; Put, Get and Delete Blob,
Blob Batch). No signature is looked at: that is obstore's, not ours.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import re
import threading
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

SECRET = base64.b64encode(b"canary-7f3a9c51d2-secret").decode()
ACCOUNT = "canaryaccount"
_FIRST = {"If-None-Match": "*", "x-goog-if-generation-match": "0"}
"""Says that an object is to be put where none is."""


class Cloud(http.server.ThreadingHTTPServer):
    """Objects by path; "/ACCOUNT" before a container is Azure's."""

    daemon_threads = False  # waited for as it closes

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.objects = {}
        """Path -> content and type."""
        self.closed = False
        """Whether it refuses everybody."""

    def environment(self):
        """Return what the environment says where both are."""
        google = {"gcs_base_url": self.origin, "disable_oauth": True}
        google |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        return {
            "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(google),
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": SECRET,
            "AZURE_STORAGE_ENDPOINT": f"{self.origin}/{ACCOUNT}",
        }

    def inside(self, bucket):
        """Return content and type of what is in a bucket, or container, by its key."""
        place = re.compile(f"(?:/{ACCOUNT})?/{bucket}/(.*)")
        found = {place.fullmatch(path): value for path, value in self.objects.items()}
        return {each[1]: value for each, value in found.items() if each}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self):
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def do_PUT(self):
        path, body = self._read()
        first = any(self.headers.get(name) == value for name, value in _FIRST.items())
        kind = self.headers.get("x-ms-blob-content-type", self.headers["Content-Type"])
        if first and path in self.server.objects:
            azure = path.startswith(f"/{ACCOUNT}/")
            self._say(409 if azure else 412)
            return
        self.server.objects[path] = body, kind
        self._say(201)

    def do_GET(self):
        path, _ = self._read()
        found = self.server.objects.get(path)
        if found is None:
            self._say(404)
            return
        content, kind = found
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        more = {"Content-Type": kind} if kind else {}
        if part is None:
            self._say(200, content, **more)
            return
        some = content[int(part[1]) : int(part[2]) + 1]
        more["Content-Range"] = f"bytes {part[1]}-{part[2]}/{len(content)}"
        self._say(206, some, **more)

    def do_HEAD(self):
        self.do_GET()

    def do_DELETE(self):
        path, _ = self._read()
        self._say(404 if self.server.objects.pop(path, None) is None else 204)

    def do_POST(self):
        """Answer a batch of Azure's, which is how a blob is deleted."""
        _, body = self._read()
        for name in re.findall(r"^DELETE (\S+) HTTP", body.decode(), re.MULTILINE):
            self.server.objects.pop(unquote(name), None)
        part = "Content-Type: application/http\r\nContent-ID: 0\r\n\r\n"
        part += "HTTP/1.1 202 Accepted\r\n\r\n"
        text = f"--b\r\n{part}\r\n--b--\r\n"
        self._say(202, text.encode(), **{"Content-Type": "multipart/mixed; boundary=b"})

    def _read(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return unquote(urlsplit(self.path).path), body

    def _say(self, status, body=b"", **headers):
        if self.server.closed:
            status, body = 403, b"" if self.command == "HEAD" else SECRET.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Connection", "close")  # and so its thread ends
        self.send_header("Last-Modified", formatdate(usegmt=True))
        self.send_header("x-goog-generation", "1")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def serve_cloud():
    """Serve while the context is open."""
    with Cloud() as cloud:
        thread = threading.Thread(target=cloud.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield cloud
        finally:
            cloud.shutdown()
            thread.join()
