"""
Names of picture files: letters of every script, and nothing that a file system refuses.
"""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._core.files.names import (
    NAME_BYTES_MAX,
    file_stem,
    item_stem,
    load_files,
    numbered,
    prompt_stem,
)

RESERVED = ["CON", "nul", "Aux", "com1", "LPT9", "COM\u00b9"]


def test_letters_of_every_script_stay():
    """A name says what is in the picture, in the language it was asked for."""

    def check(prompt, expected):
        assert prompt_stem(prompt) == expected

    check_all(
        [
            ("A red fox, in snow!", "a-red-fox-in-snow"),
            ("狐が雪の中", "狐が雪の中"),
            ("Лиса в снегу", "лиса-в-снегу"),
            ("لومړی ګیدړ", "لومړی-ګیدړ"),
            ("हिन्दी लोमड़ी", unicodedata.normalize("NFC", "हिन्दी-लोमड़ी")),
            ("fu\u0308chse", "f\u00fcchse"),
            ("a\u202eb\u200d\u2066c", "abc"),
            ("a\0b\nc/d\\e:f", "a-b-c-d-e-f"),
            ("\u0301fox", "fox"),
            ("\ud800 fox", "fox"),
            ("🦊", ""),
            (None, ""),
            ("...", ""),
            ("CON", "con_"),
        ],
        check,
    )


@given(st.integers(0, 10**6), st.none() | st.text(), st.none() | st.text(), st.text())
def test_a_name_fits_every_file_system(index, task_id, prompt, url):
    """No separator, no control, no final dot, in NFC, at most 255 bytes in all."""
    stems = (item_stem(index, task_id, prompt), file_stem(task_id, url, prompt))
    for stem in stems:
        name = numbered(stem, 12345, ".avif", ".json")

        assert stem
        assert stem == unicodedata.normalize("NFC", stem)
        assert len((name + ".json").encode()) <= NAME_BYTES_MAX
        assert not set(name) & set('/\\:*?"<>|') | {
            char for char in name if ord(char) < 32
        }
        assert not name.endswith((".", " "))


def test_devices_of_windows_are_no_names():
    """A prompt or a task called CON gets a name that Windows can write."""
    for word in RESERVED:
        assert prompt_stem(word).endswith("_")
        assert file_stem(word, "").endswith("_")


def test_what_is_added_to_a_name_fits():
    """A stem that is legal alone is cut, at a character, for what comes behind it."""

    def check(stem, number, beside, expected):
        assert numbered(stem, number, ".png", beside) == expected

    assert numbered("x" * 255, 1, ".png") == "x" * 251 + ".png"
    check_all(
        [
            ("fox", 1, "", "fox.png"),
            ("fox", 2, ".json", "fox-2.png"),
            ("x" * 255, 1, "", "x" * 251 + ".png"),
            ("狐" * 85, 1, ".json", "狐" * 82 + ".png"),
            ("x" * 255, 10, ".json", "x" * 243 + "-10.png"),
            ("x" * 256, 1, "", "x" * 256 + ".png"),  # never a name: for the disk to say
            ("\udcff", 1, "", "\udcff.png"),
        ],
        check,
    )


@given(st.lists(st.text(), min_size=1))
def test_the_files_of_an_item_are_read(files):
    """Whatever they are called, a list in an old journal gives what it was given."""
    assert list(load_files(json.dumps(files, ensure_ascii=False))) == files


def test_old_journals_are_read():
    """One file stands as it is, as in every release; a list only for several."""
    assert load_files("out/fox.png") == ("out/fox.png",)
    assert load_files(None) == ()
    for odd in ("[fox].png", "[1]", "[" * 10_000):
        assert load_files(odd) == (odd,)
