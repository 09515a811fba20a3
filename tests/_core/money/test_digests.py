"""Which requests are the same order."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._core.money.digests import addresses_in, digest_of, unsigned

PATH = "images/generations"
PINNED = "1:c64add88f6124d7c72f4381095647fb9"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=8,
)
BODIES = st.dictionaries(TEXT, VALUES, max_size=4)


def respelt(value):
    """Return the same value: other order, other numbers, other Unicode form."""
    if isinstance(value, dict):
        return {
            unicodedata.normalize("NFD", name): respelt(each)
            for name, each in reversed(value.items())
        }
    if isinstance(value, list):
        return [respelt(each) for each in value]
    if isinstance(value, str):
        return unicodedata.normalize("NFD", value)
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


@given(BODIES)
def test_spelling_does_not_matter(body):
    """Order of parameters, 1 and 1.0, and the Unicode form change no digest."""
    if len({unicodedata.normalize("NFD", name) for name in body}) == len(body):
        twin = json.loads(json.dumps(body))
        assert digest_of(PATH, twin) == digest_of(PATH, body)
        assert digest_of(PATH, dict(reversed(body.items()))) == digest_of(PATH, body)


def test_the_same_request_has_one_digest():
    """Whatever its spelling, its callback address and its addresses' signatures."""
    body = {"prompt": "café", "n": 1, "image": ["https://a.example/b.png?sig=1#top"]}
    same = [
        respelt(body),
        {**body, "n": 1.0},
        {**body, "callBackUrl": "https://me.example/hook"},
        {**body, "callback_url": "https://me.example/hook"},
        {**body, "image": ["https://a.example/b.png?sig=2"]},
        {**body, "image": ["https://a.example/b.png"]},
    ]

    def check(other):
        assert digest_of(PATH, other) == digest_of(PATH, body)

    check_all([(each,) for each in same], check)
    big = {"image": ["HTTPS://a.example/b.png?sig=1"]}
    assert digest_of(PATH, big) == digest_of(
        PATH, {"image": ["HTTPS://a.example/b.png"]}
    )


SIGNED = [
    "AWSAccessKeyId=A&Signature=b%3D&Expires=1",
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2Fs3&X-Amz-Signature=b",
    "Policy=a&Key-Pair-Id=b&Signature=c",
    "X-Goog-Credential=a&X-Goog-Date=b&x-goog-signature=c",
    "sv=2024-11-04&st=a&se=b&sr=b&sp=r&sig=c%3D",
    "OSSAccessKeyId=a&Expires=1&Signature=b&security-token=c",
    "x-oss-signature-version=a&x-oss-expires=9&x-oss-date=1&x-oss-signature=b",
    "q-sign-algorithm=sha1&q-ak=a&q-signature=b&x-cos-security-token=c",
    "ex=65d903de&is=65c68ede&hm=2481f30dd67f",
    "e=1700000000&token=abc:def",
    "token=abc",
    "",
]


def test_a_signature_makes_no_other_order():
    """Signed in any of the usual ways, or unsigned, it is the same picture."""

    def check(signature):
        for query, kept in (("", ""), ("id=1&", "?id=1"), ("&", "")):
            assert unsigned(f"https://a.example/b.png?{query}{signature}") == (
                f"https://a.example/b.png{kept}"
            )

    check_all([(each,) for each in SIGNED], check)
    body = {"image": f"https://a.example/b.png?id=1&{SIGNED[0]}"}
    assert digest_of(PATH, body) == digest_of(
        PATH, {"image": "https://a.example/b.png?id=1"}
    )


def test_a_query_that_signs_nothing_counts():
    """What chooses the picture tells orders apart, also beside a signature."""
    queries = [
        *("", "?id=1", "?id=2", "?id=1&id=2", "?se=1", "?e=1", "?is=1", "?v"),
        *("?x-oss-process=image/resize,w_1", "?x-oss-process=a&x-oss-signature=b"),
    ]
    digests = {
        digest_of(PATH, {"image": f"https://a.example/b.png{query}"})
        for query in queries
    }

    assert len(digests) == len(queries)


def test_other_requests_have_other_digests():
    """Also where a prompt begins like an address, or Unicode forms meet."""
    bodies = [
        {},
        {"prompt": "a"},
        {"prompt": "A"},
        {"prompt": ["a"]},
        {"prompt": "https://shop.example/a.png?draw it in red"},
        {"prompt": "https://shop.example/a.png?draw it in blue"},
        {"prompt": "https://shop.example/a.png?sig=red"},
        {"prompt": "https://shop.example/a.png?sig=blue"},
        {"text": "number #1"},
        {"text": "number #2"},
        {"text": "https://shop.example/a.png ?red"},
        {"text": "https://shop.example/a.png ?blue"},
        {"n": 1},
        {"n": True},
        {"n": "1"},
        {"n": 1.5},
        {"n": None},
        {"n": [1, 2]},
        {"n": [2, 1]},
        {"n": {"a": 1}},
        {"n": {"fields": [["a", 1]]}},
        {"n": [["a", 1]]},
        {"\u00e9": 1, "e\u0301": 2},
        {"\u00e9": 2, "e\u0301": 2},
        {"image": "https://a.example/b.png"},
        {"image": "https://a.example/c.png"},
        {"inner": {"callBackUrl": "https://me.example"}},
        {"inner": {}},
    ]
    digests = {digest_of(PATH, body) for body in bodies}

    assert len(digests) == len(bodies)
    assert digest_of("images/edits", {}) not in digests
    assert all(each.startswith("1:") for each in digests)


def test_a_digest_is_the_same_in_the_next_release():
    """Stores hold digests: an order is known again by another program."""
    body = {
        "prompt": "caf\u00e9",
        "n": 1.0,
        "image": ["https://f.example/1", "https://a.example/b.png?id=1"],
        "new": {"b": None, "a": [True, 0.5, "\u6771"]},
    }

    assert digest_of(PATH, body, {"https://f.example/1": "abc"}) == PINNED


def test_names_of_one_unicode_form_have_an_order():
    """Whatever their values are: text and a number cannot be compared."""
    one = {"\u00e9": 1, "e\u0301": "x"}

    assert digest_of(PATH, one) == digest_of(PATH, dict(reversed(one.items())))


def test_what_stands_between_two_signatures_stays():
    """Of an address all is kept that does not sign it, as it was written."""
    address = "https://a.example/b.png?id=1&sig=b=&sv=1&v=a=b#top"

    assert unsigned(address) == "https://a.example/b.png?id=1&v=a=b"
    assert unsigned("https://a.example/b.png#top") == "https://a.example/b.png"


def test_an_upload_counts_by_what_it_holds():
    """Two addresses of one content are the same, and no text is."""
    contents = {"https://f.example/1": "abc", "https://f.example/2": "abc"}
    one = digest_of(PATH, {"image": "https://f.example/1"}, contents)

    assert digest_of(PATH, {"image": "https://f.example/2"}, contents) == one
    assert digest_of(PATH, {"image": "https://f.example/1"}) != one
    assert digest_of(PATH, {"image": "content abc"}, contents) != one
    assert digest_of(PATH, {"image": {"content": "abc"}}, contents) != one


def test_the_addresses_of_a_request():
    """All that may be uploads, however deep; no prompt, no callback, no text."""
    body = {
        "prompt": "https://a.example/p",
        "callBackUrl": "https://a.example/c",
        "callback_url": "https://a.example/c",
        "image": ["https://a.example/1", {"mask": "HTTP://a.example/2"}],
        "text": "https://a.example/ is where it is",
        "n": 1,
    }

    assert addresses_in(body) == {"https://a.example/1", "HTTP://a.example/2"}


def test_numbers_without_end_have_a_digest():
    """JSON's own reader makes them; they are sent, so they are named."""
    bodies = [{"n": float("inf")}, {"n": float("nan")}, {"n": 1e300}]

    assert len({digest_of(PATH, body) for body in bodies}) == 3
