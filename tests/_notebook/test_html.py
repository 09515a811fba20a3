"""What a notebook shows of a result: HTML that is safe whatever the API said."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all
from support.pages import Page

from apimodels_async._notebook.html import CHARS_MAX, card, is_showable
from apimodels_async.errors import GenerationFailedError, OutcomeUnknownError
from apimodels_async.models import ImageRequest, ImageResult, Outcome, SparkPixImage

URL = "https://example.com/a.png?token=1&sign=2"
FULL = ImageResult(
    urls=(URL,),
    task_id="clx1",
    model="gpt-image-2",
    credits=Decimal("0.03"),
    duration_s=12.34,
    expires_at=datetime(2026, 11, 30, 12, 5, tzinfo=UTC),
)
ALLOWED = {"div", "a", "img", "p", "code", "table", "tr", "th", "td"}
NASTY = [
    "<script>alert(1)</script>",
    '" onerror="alert(1)',
    "\x1b]0;owned\x07",
    "\u202egnp.exe",
    "a\r\nb\u2028c",
    "</table></div><iframe src=x>",
]


def page_of(result):
    """Return the page a notebook shows of *result*."""
    return Page(result._repr_mimebundle_()["text/html"])


def test_a_result_shows_its_picture_and_what_is_known_of_it():
    """The picture stands there by its URL, above model, task, price and times."""
    page = page_of(FULL)

    assert page.images() == [URL]
    ((_, image),) = [each for each in page.elements if each[0] == "img"]
    assert (image["loading"], image["alt"]) == ("lazy", "picture by gpt-image-2")
    assert image["referrerpolicy"] == "no-referrer"
    for fact in ("gpt-image-2", "clx1", "0.03", "12.3 s", "2026-11-30 12:05 UTC"):
        assert fact in page.text


def test_what_is_not_known_is_left_out():
    """A result with nothing but a URL shows its picture and no empty rows."""
    page = page_of(ImageResult(urls=(URL,)))

    assert page.images() == [URL]
    assert page.text == ""


def test_many_pictures_are_counted():
    """Four pictures are shown, and the number of the others."""
    page = page_of(ImageResult(urls=tuple(f"https://a/{n}.png" for n in range(7))))

    assert len(page.images()) == 4
    assert "and 3 more" in page.text


def test_text_is_always_there():
    """A terminal gets the repr; a notebook may choose what it wants."""
    assert FULL._repr_mimebundle_()["text/plain"] == repr(FULL)
    assert FULL._repr_mimebundle_(include={"text/plain"}).keys() == {"text/plain"}
    assert FULL._repr_mimebundle_(exclude={"text/plain"}).keys() == {"text/html"}


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://127.0.0.1:8787/files/a.png",
        "http://localhost/a.png",
        "http://[::1]:80/a.png",
    ],
)
def test_a_web_address_is_shown(url):
    """https anywhere, and http on this machine, are addresses of pictures."""
    assert is_showable(url)


def test_anything_else_is_not_an_address():
    """What is no web address is never made one; it is shown as text, or not at all."""
    cases = [
        "javascript:alert(1)",
        "JaVaScRiPt://example.com/%0aalert(1)",
        "data:text/html,<script>alert(1)</script>",
        "http://example.com/a.png",
        "http://127.0.0.1.example.com/a.png",
        "https://user:password@example.com/a.png",
        "https:///a.png",
        "https://[bad/a.png",
        "file:///etc/passwd",
        "//example.com/a.png",
        "https://example.com/\x1b[2J",
        "https://example.com/\u202egnp.a",
        "https://example.com/" + "a" * 9000,
        "",
    ]

    def check(url):
        page = page_of(ImageResult(urls=(url,)))

        assert not is_showable(url)
        assert page.images() == []
        assert not [tag for tag, attrs in page.elements if "href" in attrs]
        assert "Not shown" in page.text or "session.download()" in page.text

    check_all(cases, check)


def test_every_text_is_escaped():
    """Markup, control and bidirectional characters in any field stay text."""

    def check(text):
        result = ImageResult(urls=(f"https://a/{text}", text), model=text, task_id=text)
        forms = result._repr_mimebundle_()

        assert {tag for tag, _ in Page(forms["text/html"]).elements} <= ALLOWED
        for form in forms.values():
            assert form.replace("\n", "").isprintable()

    check_all(NASTY, check)


def test_an_outcome_shows_what_was_asked_for_and_what_became_of_it():
    """Prompt, model, picture and file; or the error, and whether it was charged."""
    asked = ImageRequest("gpt-image-2", "a red fox")
    saved = Page(Outcome(7, asked, FULL, paths=["out/7.png"])._repr_html_())
    failed = GenerationFailedError("no", task_id="clx9")
    unknown = OutcomeUnknownError("cut")

    assert saved.images() == [URL]
    for fact in ("7", "a red fox", "gpt-image-2", "clx1", "0.03", "out/7.png"):
        assert fact in saved.text
    html = Outcome(0, SparkPixImage(prompt="x"), error=failed)._repr_html_()
    assert "GenerationFailedError: no (not charged)" in Page(html).text
    assert "clx9" in Page(html).text
    html = Outcome(0, None, error=unknown)._repr_html_()
    assert "may have been charged" in Page(html).text


def test_an_outcome_is_escaped():
    """Markup in a prompt, a model, an error or a file name stays text."""

    def check(text):
        result = ImageResult(urls=(URL,), model=text, task_id=text)
        outcome = Outcome(
            0, ImageRequest(text, text), result, GenerationFailedError(text), [text]
        )
        html = outcome._repr_html_()

        assert {tag for tag, _ in Page(html).elements} <= ALLOWED
        assert html.replace("\n", "").isprintable()

    check_all(NASTY, check)


@given(st.text(), st.text())
def test_no_text_can_add_an_element(name, value):
    """Whatever a fact says, the page has the elements it had."""
    elements = [tag for tag, _ in Page(card({name: value})).elements]

    assert elements == ["div", "table", "tr", "th", "td"]


def test_a_fact_has_an_end():
    """A text of a megabyte is shown by its beginning."""
    html = card({"error": "x" * 1_000_000})

    assert re.findall("x+…", html) == ["x" * (CHARS_MAX - 1) + "…"]
