"""
Pictures in a notebook, in a form that a saved notebook keeps.

A result shows itself by its address, which is good for 7 days and for whoever has it.
Here small copies are made and become part of the page; the address does not.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread
from attrs import frozen

from apimodels_async._api.checks import check_result, check_whole, refuse
from apimodels_async._io.files.thumbnails import make_thumbnail
from apimodels_async._notebook import html
from apimodels_async._text import counted
from apimodels_async.errors import ApiModelsError, ConfigurationError, DownloadError
from apimodels_async.models import ImageResult, Outcome

if TYPE_CHECKING:
    from apimodels_async._io.files.thumbnails import Thumbnail
    from apimodels_async._runtime import Runtime
    from apimodels_async._saving import Saver

PICTURES_MAX: Final = 100
"""A notebook with more is slow to open; the rest is counted."""
SIDES: Final = (512, 256)
"""Pixels of the longest side: of one picture, of each of several."""
SIDE_MAX: Final = 2048
AT_ONCE: Final = 8
"""Whole pictures in memory."""
BYTES_MAX: Final = 128 << 20
OUTSIDE: Final = (
    "a notebook shows what session.show() returns as the last line of a cell, or by "
    "display(...). Elsewhere write its .html into a file, or save the pictures: "
    "session.download(result, 'out/')"
)


@frozen(eq=False, repr=False)
class PictureGrid:
    """What ``Session.show`` returns: a notebook shows it, and keeps it."""

    html: str
    """All of it, pictures included, without a script."""
    count: int
    """Pictures in it."""

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        pictures = counted(self.count, "picture")
        return f"<{type(self).__name__} of {pictures}: {OUTSIDE}>"


@frozen
class _Place:
    """One place of the grid: a picture, or why there is none."""

    caption: str
    alt: str
    result: ImageResult | None
    index: int = 0
    path: Path | None = None
    """Where it was saved."""
    trouble: str = ""


class ShowsPictures:
    """What ``Session`` can do in a notebook. Everything here is free."""

    _runtime: Runtime

    async def show(
        self,
        results: ImageResult | Outcome | Collection[ImageResult | Outcome],
        *,
        side: int | None = None,
    ) -> PictureGrid:
        """
        Return pictures for a notebook that a saved notebook keeps; free.

        ``await session.show(outcomes)`` as the last line of a cell shows them in a
        grid, with their prompts, also as texts for those who cannot see them, and with
        the reason where there is none. They are scaled down, some 10 kB each, and
        hold no address; of more than 100 the first 100 are shown. Pictures that a batch
        saved are read from there. Needs the extra ``[notebook]``.

        Args:
            results: A result, an outcome, or a list of them.

            side: Longest side in pixels, 16 to 2048; else 512 for one picture and 256
                for several.

        Raises:
            ConfigurationError: Pillow is not installed. Nothing was fetched.
            InvalidRequestError: *results* are none, or *side* is out of range.
            SessionClosedError: The session is closed.
        """
        warn_outside()
        return await self._make_grid(results, side)

    async def _make_grid(
        self,
        results: ImageResult | Outcome | Collection[ImageResult | Outcome],
        side: int | None,
    ) -> PictureGrid:
        places = [place for each in _each(results) for place in _places(each)]
        if side is None:
            side = SIDES[len(places) > 1]
        check_whole("side", side)
        if not 16 <= side <= SIDE_MAX:  # noqa: PLR2004
            refuse("side", side, f"16 to {SIDE_MAX} pixels")
        if importlib.util.find_spec("PIL") is None:
            msg = "show() needs Pillow: pip install 'apimodels-async[notebook]'"
            raise ConfigurationError(msg)
        saver, turns = self._runtime.open().saver, asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            making = [
                group.create_task(_figure(place, side, saver, turns))
                for place in places[:PICTURES_MAX]
            ]
        figures = [each.result() for each in making]
        page = html.grid(figures, side, len(places) - len(figures))
        return PictureGrid(page, sum(figure.url is not None for figure in figures))


def warn_outside() -> None:
    """Warn whoever calls the caller of this where nothing would show its value."""
    # IPython says so itself; a prompt shows the text; marimo is no IPython.
    asked = hasattr(builtins, "__IPYTHON__") or hasattr(sys, "ps1")
    if not asked and "marimo" not in sys.modules:
        warnings.warn(f"this is no notebook: {OUTSIDE}", stacklevel=3)


def _each(results: object) -> list[ImageResult | Outcome]:
    if isinstance(results, (ImageResult, Outcome)):
        return [results]
    if not isinstance(results, Collection) or isinstance(results, (str, bytes)):
        # A batch, too: what it hands over is not to end here.
        allowed = (
            "an ImageResult, an Outcome, or a list of them, such as "
            "[outcome async for outcome in outcomes]"
        )
        if hasattr(results, "task_id"):
            allowed = "await the handle first (handle.result() in threads)"
        refuse("results", results, allowed)
    return [
        each if isinstance(each, Outcome) else check_result(each) for each in results
    ]


def _places(shown: ImageResult | Outcome) -> list[_Place]:
    if isinstance(shown, ImageResult):
        alt = html.alt_of(shown)
        return [
            _Place(shown.model or "", _numbered(alt, index, shown), shown, index)
            for index in range(len(shown.urls))
        ]
    prompt = (shown.request and shown.request.prompt) or ""
    caption = f"{shown.index}: {prompt}"
    result, error = shown.result, shown.error
    if result is None:
        trouble = "no picture" if error is None else html.trouble_of(error)
        return [_Place(caption, prompt, None, trouble=trouble)]
    # Of one that was not saved in whole it is not known which picture each path is.
    whole = len(shown.paths) == len(result.urls)
    return [
        _Place(
            caption,
            _numbered(prompt or "picture without a prompt", index, result),
            result,
            index,
            path if whole and isinstance(path := shown.paths[index], Path) else None,
        )
        for index in range(len(result.urls))
    ]


def _numbered(alt: str, index: int, result: ImageResult) -> str:
    count = len(result.urls)
    return alt if count == 1 else f"{alt}, {index + 1} of {count}"


async def _figure(
    place: _Place, side: int, saver: Saver, turns: asyncio.Semaphore
) -> html.Figure:
    small, trouble = None, place.trouble
    if place.result is not None:
        try:
            async with turns:
                small = await _thumbnail(place, place.result, side, saver)
        except ApiModelsError as error:
            trouble = f"{type(error).__name__}: {error}"
    return html.Figure(
        url=small.url if small else None,
        size=(small.width, small.height) if small else (0, 0),
        alt=place.alt,
        caption=place.caption,
        trouble=trouble,
    )


async def _thumbnail(
    place: _Place, result: ImageResult, side: int, saver: Saver
) -> Thumbnail:
    if place.path is not None:
        # Moved or changed since? The API has it for 7 days.
        with contextlib.suppress(DownloadError):
            return await anyio.to_thread.run_sync(make_thumbnail, place.path, side)
    data = await saver.fetch(result, place.index, BYTES_MAX)
    return await anyio.to_thread.run_sync(make_thumbnail, data, side)
