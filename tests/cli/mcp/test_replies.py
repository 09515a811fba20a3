"""What an agent is told."""

from __future__ import annotations

import base64
from io import BytesIO

from mcp.types import ImageContent, ResourceLink
from PIL import Image
from support.agents import text_of

from apimodels_async import (
    ApiModelsError,
    AuthenticationError,
    GenerationFailedError,
    ImageResult,
    OutcomeUnknownError,
    SessionClosedError,
)
from apimodels_async.cli.mcp.replies import error_text, finished_reply


async def test_a_large_picture_is_only_linked(session):
    """Above a megabyte the link has to do, and the answer says so."""
    result = await session.images.generate("a fox", width=1440, height=1440)
    large = await finished_reply(result, session, inline=True, most=1000)

    assert not [each for each in large.content if isinstance(each, ImageContent)]
    assert "more than 1000" in text_of(large)


async def test_a_picture_without_a_link_says_how_to_see_it(session):
    """A picture that came as data has no link; with inline it is shown."""
    png = BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    result = ImageResult(urls=(url,))

    told = await finished_reply(result, session, inline=False)
    shown = await finished_reply(result, session, inline=True)

    assert not [each for each in shown.content if isinstance(each, ResourceLink)]
    assert "--inline shows it" in text_of(told)
    assert shown.content[-1].mime_type == "image/png"


def test_advice_names_the_task_and_leads_to_it():
    """An unknown outcome with an id leads to wait, which is free."""
    said = error_text(OutcomeUnknownError("gone", task_id="clx1"))

    assert "Task: clx1." in said
    assert "DO NOT REPEAT" in said
    assert "Call wait with task_id clx1." in said


def test_what_happened_has_one_full_stop():
    """Whether or not the error's own words end with one."""
    said = [error_text(ApiModelsError(f"gone{end}")) for end in ("", ".", "?")]

    found = [each.partition(" Not charged")[0].rpartition(": ")[2] for each in said]
    assert found == ["gone.", "gone.", "gone?"]


async def test_what_the_api_says_is_bounded(session):
    """Links are cut in number and length, each is there once; words are cut, too."""
    links = [f"https://x.org/{number}" for number in range(20_000)]
    urls = ("https://x.org/0", "https://x.org/" + "a" * 5000, *links)
    result = ImageResult(urls=urls, model="\x1b[2J" + "!" * 9000, task_id="clx1")
    told = await finished_reply(result, session, inline=False)
    facts = told.structured_content

    assert facts["urls"] == links[:20]
    assert len([each for each in told.content if isinstance(each, ResourceLink)]) == 20
    assert facts["model"].isprintable()
    assert len(told.model_dump_json()) < 20_000
    assert "19981 more are not listed here" in text_of(told)
    assert "apimodels wait clx1" in text_of(told)


def test_errors_say_what_may_be_charged():
    """A verdict on a request is none on the task that another one bought."""
    refused = AuthenticationError("no", task_id="clx1")
    refused.charged = None
    unsent = SessionClosedError("bye", charged=False)

    assert "DO NOT ORDER IT AGAIN" in error_text(refused)
    assert "DO NOT ORDER" not in error_text(AuthenticationError("no"))
    assert "Nothing was sent" in error_text(unsent)
    assert "call wait" in error_text(SessionClosedError("bye", task_id="clx1"))
    assert len(error_text(GenerationFailedError("x" * 90_000))) < 3_000


def test_advice_is_one_line_whatever_the_api_said():
    """Control and bidirectional characters of a message are written out."""
    error = GenerationFailedError("a\n\x1b[2J\u202eb", fail_message="x", task_id="t")

    assert error_text(error).isprintable()
