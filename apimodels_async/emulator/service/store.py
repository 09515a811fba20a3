"""
File store: the pictures that were drawn and the images that were uploaded.

Every file is gone 7 days after it was made, by the emulator's clock.
"""

import mimetypes
from urllib.parse import quote

from attrs import define, evolve, field, frozen

from apimodels_async.emulator.pictures.studio import Studio
from apimodels_async.emulator.service.timeline import Timeline
from apimodels_async.emulator.service.values import EmulatedTask, Sketch, is_count

KEPT_S = 7 * 24 * 3600  # API documentation: "stored for 7 days"
UPLOAD_WINDOW_S = 600  # files page: PUT within 10 minutes
_MAX_PICTURES = 200_000
_MAX_UPLOAD_BYTES = 512 * 1024 * 1024

TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


@frozen
class Upload:
    """An upload, reserved or received."""

    content_type: str
    made_at: float
    """Clock seconds of its arrival, or while reserved of the reservation."""

    data: bytes | None = None
    size: int | None = None
    """Bytes announced, if any were."""

    token: str = ""


@define(eq=False)
class Store:
    """Files by path below ``/files/``."""

    timeline: Timeline
    studio: Studio
    max_pictures: int = _MAX_PICTURES
    max_upload_bytes: int = _MAX_UPLOAD_BYTES
    """In all; the oldest go when there are more."""

    _pictures: dict[str, tuple[float, Sketch]] = field(factory=dict)
    _uploads: dict[str, Upload] = field(factory=dict)

    def publish(self, task: EmulatedTask) -> None:
        """Make the pictures of a completed task fetchable."""
        if not task.urls:
            return
        for name, sketch in task.sketches:
            self._pictures[name] = (task.due_at, sketch)
        while len(self._pictures) > self.max_pictures:
            del self._pictures[next(iter(self._pictures))]

    async def picture(self, name: str) -> tuple[bytes, str] | None:
        """Return bytes and type of a picture; None when there is none (any more)."""
        made_at, sketch = self._pictures.get(name, (0.0, None))
        if sketch is None or self.timeline.now() >= made_at + KEPT_S:
            return None
        return await self.studio.draw(name, sketch), TYPES[sketch.format]

    def reserve(self, path: str, upload: Upload) -> None:
        """Reserve *path* for an upload that is still to come."""
        self._uploads[path] = upload

    def add_upload(self, path: str, upload: Upload) -> None:
        """Keep an upload that was received; the oldest go when they grow too many."""
        self._uploads.pop(path, None)
        self._uploads[path] = upload
        total = sum(len(held.data or b"") for held in self._uploads.values())
        while total > self.max_upload_bytes:
            oldest = next(iter(self._uploads))
            total -= len(self._uploads.pop(oldest).data or b"")

    def reservation(self, path: str, token: str) -> Upload | None:
        """Return what was reserved at *path*, None when unknown, used or too old."""
        upload = self._uploads.get(path)
        if upload is None or upload.data is not None or upload.token != token:
            return None
        late = self.timeline.now() > upload.made_at + UPLOAD_WINDOW_S
        return None if late else upload

    def receive(self, path: str, data: bytes) -> None:
        """Keep the bytes of a reserved upload; its 7 days start now."""
        reserved = self._uploads[path]
        self.add_upload(path, evolve(reserved, data=data, made_at=self.timeline.now()))

    def uploaded(self, path: str) -> tuple[bytes, str] | None:
        """Return bytes and type of an upload; None when there is none (any more)."""
        upload = self._uploads.get(path)
        if upload is None or upload.data is None:
            return None
        if self.timeline.now() >= upload.made_at + KEPT_S:
            return None
        return upload.data, upload.content_type

    async def read(self, path: str) -> bytes | None:
        """Return the bytes of any file, by its path below ``/files/``."""
        kind, _, name = path.partition("/")
        if kind == "images":
            found = await self.picture(name)
        else:
            found = self.uploaded(name)
        return found[0] if found else None


def upload_path(user: str, token: str, filename: str) -> str:
    """Return where an upload is kept; nothing in *filename* can leave that place."""
    name = filename.replace("\\", "/").rpartition("/")[2] or "file"
    return f"{user}/{token}-{quote(name[-100:], safe='', errors='replace')}"


def guess_type(filename: str, given: str | None) -> str:
    """Return the content type of an uploaded file."""
    return given or mimetypes.guess_type(filename)[0] or "application/octet-stream"


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """
    Return first byte and length a Range header asks for, None for the whole.

    A header that cannot be read is ignored, as RFC 9110 section 14.2 asks; one
    that starts past the end gives length 0.
    """
    first, dash, last = (header or "").removeprefix("bytes=").partition("-")
    numbers = first.strip(), last.strip()
    readable = all(not part or is_count(part) for part in numbers)
    if not (header or "").startswith("bytes=") or not dash or not readable:
        return None
    if not numbers[0]:
        length = min(int(numbers[1] or 0), size)
        return size - length, length
    start = int(numbers[0])
    end = min(int(numbers[1]) + 1 if numbers[1] else size, size)
    return start, max(0, end - start)
