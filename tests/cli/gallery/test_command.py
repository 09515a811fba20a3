"""The command on the page orders the same picture again."""

from __future__ import annotations

import shlex

import pytest

from apimodels_async.cli.app import execute
from apimodels_async.cli.gallery.command import command_of, parameters_of

URL = "https://example.com/a.png?b=1&c=2"


@pytest.mark.usefixtures("environment")
async def test_what_is_copied_orders_the_same(emulator, capsys):
    """Pasted into a shell, it sends prompt, model and parameters as they were sent."""
    cases = [
        ("a fox", "sparkpix-image", {"seed": 2**60, "aspect_ratio": "16:9"}),
        ('it\'s "odd" $HOME `x` \\ \n too', "sparkpix-image", {}),
        ("-5 degrees", "sparkpix-image", {"prompt_upsampling": True}),
        ("at sunset", "sparkpix-image-edit", {"images": [URL, URL], "turbo": False}),
        ("a moose", "gpt-image-2", {"resolution": "2K", "image_urls": [URL]}),
        ("a moose", "kling-v2-1", {"n": 2, "note": "1984", "zebra": {"a": [1, None]}}),
    ]
    for prompt, model, params in cases:
        sent = {"prompt": prompt, "model": model, "callBackUrl": URL, **params}
        before, behind = command_of(prompt, model, sent)
        words = shlex.split(f"{before} {shlex.quote(prompt)} {behind}")
        assert words.pop(0) == "apimodels"
        words[1:1] = ("--no-save", "--poll-interval", "0.05")

        known = {**emulator.generations, **emulator.tasks}
        assert await execute(words) == 0, capsys.readouterr().err

        both = {**emulator.generations, **emulator.tasks}
        (made,) = (both[each] for each in both.keys() - known.keys())
        assert (made.prompt, made.model, made.params) == (prompt, model, params)


def test_what_no_command_line_holds_has_no_command():
    """A picture sent as text, an order without a prompt, and what is read as stdin."""
    inline = "data:image/png;base64," + "A" * 1000
    assert command_of("a fox", "gpt-image-2", {"image_urls": [inline]}) is None
    assert command_of("", "real-esrgan", {"image": URL}) is None
    assert command_of("-", "gpt-image-2", {}) is None  # stdin, as a word


def test_parameters_are_told_as_they_are_typed():
    """Text as it is, all else as JSON; long ones are cut, what is ours is left out."""
    params = {
        "prompt": "a fox",
        "model": "m",
        "callBackUrl": URL,
        "seed": 7,
        "size": "1984",
        "note": "a b",
        "flag": True,
        "none": None,
        "image": "x" * 1000,
    }
    assert parameters_of(params) == {
        "seed": "7",
        "size": '"1984"',
        "note": "a b",
        "flag": "true",
        "image": "x" * 200 + "…",
    }
