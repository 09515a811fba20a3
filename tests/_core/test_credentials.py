"""Which line of the credentials file is the key."""

from __future__ import annotations

import pytest

from apimodels_async._core.credentials import key_in

KEY = "sk_0123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        f"[default]\napi_key = {KEY}\n",
        f"; mine\n[apimodels]\n# now\nAPI_KEY={KEY}\nregion = eu\n",
        f"base_url=https://x.org\nexport APIMODELS_API_KEY='{KEY}'",
        f"[any]\n{KEY}",
        f"{KEY}\nanother",
        f"{KEY}\nregion = eu",
    ],
)
def test_ini_files_are_read(text):
    """One section may stand above; of several values the one named api_key counts."""
    assert key_in(text) == (KEY, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"[a]\napi_key={KEY}\n[b]\napi_key={KEY}", "2 [sections], and can have one"),
        (f"token={KEY}\nuser=me", "2 values: name the key, and it alone, api_key"),
        (f"api_key={KEY}\napimodels_api_key={KEY}", "2 values: name the key"),
    ],
)
def test_what_cannot_be_told_is_refused_in_words(text, why):
    """Nothing is guessed: another secret would go to the API."""
    key, reason = key_in(text)

    assert key is None
    assert why in reason
    assert KEY not in reason


@pytest.mark.parametrize("key", ["[sk", "sk]", "Xsk", "skX"])
def test_a_key_may_begin_and_end_as_it_likes(key):
    """A line with one bracket is no section, and only quotes are taken off."""
    assert key_in(f"api_key = '{key}'\n") == (key, None)
    assert key_in(key) == (key, None)


@pytest.mark.parametrize("text", ["", "[default]\n", "# nothing\n;\n"])
def test_a_file_of_nothing_has_no_key(text):
    """No value is no key, and no mistake."""
    assert key_in(text) == (None, None)
