"""
Draws pictures in a few worker threads, with a bounded cache.

Pictures are drawn when their file is first fetched, so tasks nobody downloads
cost nothing. Equal sketches give equal bytes, so a dropped one is drawn again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from apimodels_async.emulator.service.values import Sketch

CACHE_BYTES = 64 * 1024 * 1024  # a few hundred 1K pictures
_THREADS = 2

Prepared = tuple[bytes, tuple[int, int]]
_NO_PILLOW = (
    "the emulator draws pictures with Pillow: pip install 'apimodels-async[emulator]'"
)


@contextmanager
def _needing_pillow() -> Iterator[None]:
    """Say what to install, where what is imported in the body lacks it."""
    try:
        yield
    except ImportError as error:
        raise ImportError(_NO_PILLOW) from error


# What draws is loaded on first use, in a worker thread.
def _paint(sketch: Sketch) -> bytes:
    with _needing_pillow():
        from apimodels_async.emulator.pictures.painting import paint
    return paint(sketch)


def _shrink(data: bytes) -> Prepared | None:
    with _needing_pillow():
        from apimodels_async.emulator.pictures.inputs import shrink
    return shrink(data)


class Studio:
    """Draws sketches and prepares input images off the event loop."""

    def __init__(
        self,
        cache_bytes: int = CACHE_BYTES,
        paint: Callable[[Sketch], bytes] = _paint,
    ) -> None:
        self._cache_bytes = cache_bytes
        self._paint = paint
        self._drawn: OrderedDict[str, bytes] = OrderedDict()
        self._drawing: dict[str, asyncio.Future[bytes]] = {}
        self._pool: ThreadPoolExecutor | None = None

    async def draw(self, name: str, sketch: Sketch) -> bytes:
        """
        Return the file *name*; callers who ask at once share one drawing.

        Raises:
            ImportError: Pillow is not installed.
        """
        if name in self._drawn:
            self._drawn.move_to_end(name)
            return self._drawn[name]
        drawing = self._drawing.get(name)
        if drawing is None:
            loop = asyncio.get_running_loop()
            drawing = loop.run_in_executor(self._workers(), self._paint, sketch)
            self._drawing[name] = drawing
            drawing.add_done_callback(lambda done: self._cache(name, done))
        return await asyncio.shield(drawing)

    async def prepare(self, data: bytes) -> Prepared | None:
        """
        Return an input image small enough to keep, with the sides it came in.

        None when it is no image.

        Raises:
            ImportError: Pillow is not installed.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers(), _shrink, data)

    def close(self) -> None:
        """End the worker threads; waits for pictures being drawn, not queued ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        self._drawn.clear()

    def _workers(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, "emulator-pictures")
        return self._pool

    def _cache(self, name: str, done: asyncio.Future[bytes]) -> None:
        del self._drawing[name]
        if done.cancelled() or done.exception():
            return
        self._drawn[name] = done.result()
        while sum(map(len, self._drawn.values())) > self._cache_bytes:
            self._drawn.popitem(last=False)
