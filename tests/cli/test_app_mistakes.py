"""
Typical mistakes, by every door: each is refused with its remedy, none is charged.
"""

from __future__ import annotations

import pytest
from PIL import Image
from support.agents import refused

from apimodels_async import ApiModelsError, ImageRequest

TASK, ALL = "gpt-image-2", "gpt-image-2-all"
URL = "https://example.com/a.png"
HINT = "To send it all the same: extra={...}"

# What is called by its arguments -> what is said.
CODE = [
    (
        ("generate", "a fox", {"aspect_ratoi": "16:9"}),
        f"`aspect_ratoi`: did you mean aspect_ratio? {HINT}",
    ),
    (
        ("generate", "a fox", {"model": TASK, "resolutoin": "2K"}),
        f"`resolutoin`: did you mean resolution? {HINT}",
    ),
    (
        ("generate", "a fox", {"modle": TASK}),
        f"`modle`: did you mean model? {HINT}",
    ),
    (
        ("submit", "a fox", {"model": "qwen3-image", "image_ulrs": [URL]}),
        f"`image_ulrs`: did you mean image_urls? {HINT}",
    ),
    (
        ("edit", "at night", {"imags": [URL]}),
        f"`imags`: did you mean images? {HINT}",
    ),
    (
        ("submit", "a fox", {"model": TASK, "resolution": "8K"}),
        f"resolution='8K' is not allowed: one of 1K, 2K, 4K. {HINT}",
    ),
    (
        ("submit", "a fox", {"model": ALL, "quality": "hgih"}),
        (
            "quality='hgih' is not allowed: one of low, medium, high, auto; did you "
            f"mean high? {HINT}"
        ),
    ),
    (
        ("submit", "a fox", {"model": TASK, "aspect_ratio": "16x9"}),
        f"aspect_ratio='16x9' is not allowed: a ratio such as 16:9, or auto. {HINT}",
    ),
    (
        ("submit", "a fox", {"model": ALL, "size": "1000x1000"}),
        "size='1000x1000' is not allowed: sides that are multiples of 16. " + HINT,
    ),
    (
        ("submit", "a fox", {"model": "z-image-spicy", "width": 2000}),
        f"width=2000 is not allowed: a whole number from 256 to 1536. {HINT}",
    ),
    (
        ("submit", "a fox", {"model": "flux-2-klein-4b", "image_urls": [URL] * 4}),
        (
            "image_urls='4 images' is not allowed: flux-2-klein-4b takes at most "
            f"3. {HINT}"
        ),
    ),
    (
        ("submit", "a fox", {"model": TASK, "image_urls": URL}),
        f"image_urls='{URL}' is not allowed: a list of images. {HINT}",
    ),
    (
        ("submit", None, {"model": "real-esrgan"}),
        "image=None is not allowed: real-esrgan needs an image",
    ),
    (
        ("edit", "at night", {"images": ["photo.png"]}),
        (
            "images[0]='photo.png' is not allowed: an http(s) URL; a local file "
            f"becomes a URL with session.upload(path). {HINT}"
        ),
    ),
    (
        ("generate", ImageRequest("kling-v3-image", "x" * 2501), {}),
        (
            "prompt=2501 characters is not allowed: kling-v3-image takes at most "
            "2500 characters"
        ),
    ),
]
OPTION = "To send it all the same: --extra name=value"
COMMANDS = [
    (
        ("generate", "a fox", "--param", "sede=1"),
        f'there is no parameter "sede" | tip: did you mean seed? {OPTION}',
    ),
    (
        ("generate", "a fox", "--model", TASK, "--resolution", "8K"),
        (
            '--resolution "8K" is not allowed: one of 1K, 2K, 4K | tip: to send it all '
            "the same: --extra name=value"
        ),
    ),
    (
        ("generate", "x", "--model", TASK, "--param", "image_url=gone.png"),
        (
            'image_url "gone.png" is not allowed: an http(s) URL, a data: URI or '
            "base64; a local file is uploaded, but there is none of that name"
        ),
    ),
    (
        ("edit", "x", "--image", "photo.png", "--param", "trubo=false"),
        f'there is no parameter "trubo" | tip: did you mean turbo? {OPTION}',
    ),
]
COLUMN = 'To send it all the same, put it into "extra": {...}'
FILES = [
    (
        ("a.csv", "prompt,aspect_ratoi\na fox,16:9\na hare,\na lynx,1:1\n"),
        [
            f"a.csv:1: column `aspect_ratoi`: did you mean aspect_ratio? {COLUMN}",
            "2 of 3 rows cannot be ordered; nothing was sent",
        ],
    ),
    (
        ("b.csv", "promt,seed\na fox,1\n"),
        ["must name the columns, not: promt, seed | tip: did you mean prompt?"],
    ),
    (
        ("c.jsonl", '"a fox"\n{"promt": "a hare"}\n{"prompt": "a", "seed": "x"}\n'),
        [
            f"c.jsonl:2: `promt`: did you mean prompt? {COLUMN}",
            f'c.jsonl:3: seed "x" is not allowed: a whole number. {COLUMN}',
            "2 of 3 rows cannot be ordered; nothing was sent",
        ],
    ),
    (
        ("d.jsonl", f'{{"prompt": "a fox", "modle": "{TASK}"}}\n'),
        [f"d.jsonl:1: `modle`: did you mean model? {COLUMN}"],
    ),
]
TOOLS = [
    (
        ("generate", {"prompt": "a fox", "params": {"aspect_ratoi": "16:9"}}),
        f"`aspect_ratoi`: did you mean aspect_ratio? {HINT}",
    ),
    (
        ("submit", {"prompt": "a fox", "model": TASK, "resolution": "8K"}),
        f"resolution='8K' is not allowed: one of 1K, 2K, 4K. {HINT}",
    ),
    (
        ("edit", {"prompt": "at night", "images": ["photo.png"]}),
        "an http(s) URL; this server reads no local files: give a link",
    ),
    (
        ("generate", {"prompt": "a fox", "model": "gpt-imagee-2"}),
        "did you mean gpt-image-2?",
    ),
    (
        ("generate", {"prompt": "a fox", "seed": 1, "params": {"seed": 2}}),
        "seed is given twice",
    ),
]


async def said_by_code(session, name, prompt, params):
    """Return what a call of the session says when it is refused."""
    with pytest.raises(ApiModelsError) as caught:
        await getattr(session.images, name)(prompt, **params)
    assert caught.value.charged is False
    return str(caught.value)


async def test_mistakes_cost_no_money(session, agent, run, emulator, folder):
    """None of these reaches the API, and each is told what was probably meant."""
    assert len(CODE) + len(COMMANDS) + len(FILES) + len(TOOLS) >= 25
    Image.new("RGB", (64, 64)).save(folder / "photo.png")
    wrong = []
    for call, words in CODE:
        said = await said_by_code(session, *call)
        wrong += [(call, said)] * (said != words)
    for argv, words in COMMANDS:
        done = await run(*argv)
        wrong += [(argv, done)] * (done.code != 2 or words not in done.err)
    for (name, text), lines in FILES:
        (folder / name).write_text(text)
        done = await run("batch", name, "--out", "deck")
        missing = [line for line in lines if line not in done.err]
        wrong += [(name, missing, done)] * (done.code != 2 or bool(missing))
    for call, words in TOOLS:
        said = await refused(agent, call[0], **call[1])
        wrong += [(call, said)] * (words not in said)

    assert wrong == []
    assert emulator.requests == []
    assert emulator.spent == 0


async def test_extra_is_sent_unchecked_by_every_door(run, agent, emulator, folder):
    """--extra, a column or key ``extra`` and a tool's argument are sent as they are."""
    extra = {"aspect_ratoi": "16:9", "steps": 3}
    (folder / "a.csv").write_text(
        'prompt,extra\na,"{""aspect_ratoi"": ""16:9"", ""steps"": 3}"\n'
    )
    (folder / "b.jsonl").write_text(
        '{"prompt": "b", "extra": {"aspect_ratoi": "16:9", "steps": 3}}\n'
    )
    options = ("--extra", "aspect_ratoi=16:9", "--extra", "steps=3")
    runs = [
        ("generate", "c", *options, "--no-save"),
        ("edit", "d", "--image", URL, *options, "--no-save"),
        ("batch", "a.csv", "--out", "one"),
        ("batch", "b.jsonl", "--out", "two"),
    ]
    for argv in runs:
        done = await run(*argv)
        assert done.code == 0, done
    await agent.call_tool("generate", {"prompt": "e", "extra": extra})

    sent = [each.body for each in emulator.requests if each.prompt]
    assert len(sent) == 5
    assert all(body.items() >= extra.items() for body in sent)


async def test_bad_options_for_extra_are_usage_errors(run, emulator):
    """A name without a value, and one that is given twice, are refused."""
    for argv, words in (
        (("--extra", "seed"), "--extra needs name=value"),
        (("--extra", "seed=1", "--seed", "2"), '"seed" is given twice'),
        (("--extra", "prompt=x"), '"prompt" is given twice'),
        (("--param", "extra={}"), '"extra" is given twice'),
    ):
        done = await run("generate", "a fox", *argv)
        assert (done.code, words in done.err) == (2, True), done.err
    assert emulator.requests == []


async def test_files_named_by_param_are_uploaded(run, emulator, folder):
    """As with --image: a path on the command line becomes a link, alone or listed."""
    Image.new("RGB", (64, 64)).save(folder / "a.png")
    for model, param in (
        ("gemini-2.5-flash-image", "image_url=a.png"),
        (TASK, "image_urls=a.png"),
        (TASK, f'image_urls=["{URL}", "a.png"]'),
    ):
        argv = ("--model", model, "--param", param, "--no-wait")
        done = await run("generate", "x", *argv)
        assert done.code == 0, done.err

    one, alone, both = [task.params for task in emulator.tasks.values()]
    assert one["image_url"].endswith("a.png")
    assert one["image_url"].startswith(emulator.origin)
    assert len(alone["image_urls"]) == 1
    assert both["image_urls"][0] == URL
    assert both["image_urls"][1].startswith(emulator.origin)


async def test_text_that_no_file_can_be_called_is_no_file(run, emulator):
    """Base64 on the command line is sent as it is; an image given twice is refused."""
    for size in (300, 8000):
        argv = ("--model", "grok-4.2-image", "--param", f"image={'A' * size}")
        done = await run("generate", "x", *argv, "--no-wait")
        assert done.code == 0, done.err
    done = await run("edit", "x", "--image", URL, "--param", f"images={URL}")

    assert "images is given twice: by --image and by --param" in done.err
    assert [len(t.params["image"]) for t in emulator.tasks.values()] == [300, 8000]


async def test_an_id_close_to_a_known_one_is_said_on_one_line(run, emulator, folder):
    """It passes; stderr asks once whether another was meant, the API decides."""
    ask = 'warning: model "gpt-imgae-2" is not known (did you mean gpt-image-2?)'
    (folder / "a.txt").write_text("a\nb\n")
    runs = [
        ("generate", "x", "--model", "gpt-imgae-2"),
        ("batch", "a.txt", "--model", "gpt-imgae-2", "--out", "deck"),
    ]
    for argv in runs:
        done = await run(*argv)
        assert done.err.count(ask) == 1, done.err
        assert done.code == 1
    limited = await run("batch", "a.txt", "--model", "gpt-imgae-2", "--max-cost", 1)

    assert "no price is known for gpt-imgae-2; did you mean gpt-image-2?" in limited.err
    assert emulator.spent == 0


async def test_a_mistake_in_the_command_line_says_what_to_do(run, emulator):
    """A prompt without quotes, and a wait that nothing could be waited for."""
    for words, expected in (
        (["generate", "a", "fox"], "put quotes around what has blanks in it"),
        (["generate"], "see: apimodels generate --help"),
        (["nonsense"], "see: apimodels --help"),
        (["generate", "a", "--no-wait"], "leave out --no-wait"),
        (["mcp", "--max-cost", "x"], '"x" is no amount: write US dollars as 0.50'),
        (["mcp", "--max-cost", "inf"], "--max-cost"),
        (["emulator", "--credits", "abc"], "write US dollars as 0.50"),
        (["batch", "a.txt", "--out", "b", "--max-cost", "5$"], "as 0.50"),
    ):
        code, _, err = await run(*words)
        assert (code, expected in err) == (2, True), err
    assert emulator.requests == []
