"""``apimodels generate`` and ``edit``."""

from __future__ import annotations

import os
import socket
from decimal import Decimal

import pytest
from PIL import Image


async def test_generate_prints_the_url_and_saves_the_picture(run, folder):
    """A SparkPix picture is saved where asked, and its URL is printed."""
    done = await run("generate", "a red fox", "--seed", 7, "--out", "fox")

    (path,) = folder.iterdir()
    assert done.code == 0
    assert path.name == "fox.jpg"
    assert "url      http://127.0.0.1" in done.out
    assert "saved    fox.jpg" in done.out
    assert "cost     $0.01" in done.out


async def test_nothing_is_bought_for_a_place_that_takes_nothing(run, folder, emulator):
    """A file in the way of --out, or a name that is too long, is said at once."""
    (folder / "file").touch()
    for out in ("file/fox", "file/", "x" * 300):
        done = await run("generate", "a red fox", "--out", out)
        assert done.code == 2, out
        assert "nothing was ordered" in done.err

    assert not emulator.requests
    assert [each.name for each in folder.iterdir()] == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="nobody can remove a folder in use")
async def test_who_does_not_wait_needs_no_place(run, folder, emulator):
    """With --no-wait nothing is saved, so only a place that was named is tried."""
    made = await run("generate", "a fox", "--no-save", "--json")
    folder.rmdir()  # now nothing can be written here
    task, url = ("a moose", "--model", "gpt-image-2"), made.records[0]["url"]
    ordered = await run("generate", *task, "--no-wait")
    edited = await run("edit", *task, "--image", url, "--no-wait")
    sent = len(emulator.requests)
    named = await run("generate", *task, "--no-wait", "--out", "fox/")
    waited = await run("generate", *task)

    assert (ordered.code, edited.code) == (0, 0)
    assert sent == len(emulator.requests) == 3
    for done in (named, waited):
        assert done.code == 2
        assert "nothing was ordered" in done.err


async def test_parameters_reach_the_api(run, emulator):
    """Options and --param values arrive under the API's names, JSON as JSON."""
    argv = ["--width", 512, "--height", 256, "--no-save", "--json"]
    argv += ["--param", "prompt_upsampling=true", "--param", "note=a=b"]
    done = await run("generate", "a fox", *argv)

    (task,) = emulator.generations.values()
    assert done.code == 0
    assert task.params == {
        "width": 512,
        "height": 256,
        "prompt_upsampling": True,
        "note": "a=b",
    }
    assert done.records[0]["path"] is None


async def test_a_task_is_followed_to_its_picture(run, folder):
    """With --json a task tells its id, its states and its result, one a line."""
    done = await run("generate", "a moose", "--model", "gpt-image-2", "--json")

    submitted, *states, result = done.records
    assert done.code == 0
    assert (submitted["event"], submitted["model"]) == ("submitted", "gpt-image-2")
    assert states[-1]["state"] == "completed"
    assert submitted["task_id"] == result["task_id"]
    assert Decimal("0.025") == Decimal(result["credits"])
    assert (folder / result["path"]).stat().st_size > 1000
    assert done.err == ""


async def test_the_id_of_a_task_is_told_at_once(run):
    """Without --json the id is said on stderr, should somebody pull the plug."""
    done = await run("generate", "a moose", "--model", "gpt-image-2", "--no-save")

    task_id = done.out.partition("task     ")[2].split()[0]
    assert f"task {task_id} submitted" in done.err


async def test_all_pictures_of_one_task_are_saved(run, folder):
    """The second picture of a task gets the first one's name and a number."""
    argv = ["--model", "gpt-image-2", "--param", "n=2", "--out", "pair", "--json"]
    done = await run("generate", "two moose", *argv)

    assert sorted(p.name for p in folder.iterdir()) == ["pair-2.jpg", "pair.jpg"]
    assert done.records[-1]["paths"] == ["pair.jpg", "pair-2.jpg"]


async def test_no_wait_prints_the_id_and_leaves(run, emulator):
    """--no-wait submits, prints the task id, and does not poll."""
    done = await run("generate", "a moose", "--model", "gpt-image-2", "--no-wait")

    (task_id,) = emulator.tasks
    assert done.code == 0
    assert f"task     {task_id}" in done.out
    assert emulator.tasks[task_id].polls == 0


async def test_sparkpix_has_no_task_to_leave_behind(run, emulator):
    """--no-wait with SparkPix is a usage error, and nothing is sent."""
    done = await run("generate", "a fox", "--no-wait")

    assert done.code == 2
    assert "charged" not in done.err
    assert emulator.requests == []


async def test_bad_input_is_refused_before_anything_is_sent(run, emulator):
    """Bad options end with code 2 and one line that names them."""
    bad = {
        ("--param", "novalue"): "name=value",
        ("--param", "=1"): "name=value",
        ("--param", "seed=1", "--seed", "2"): "given twice",
        ("--param", "model=x"): "given twice",
        ("--width", "3"): "--width 3 is not allowed",
        ("--width", "three"): "three",
        ("--bogus",): "--bogus",
    }
    wrong = []
    for argv, why in bad.items():
        done = await run("generate", "a fox", *argv)
        if (done.code, len(done.err.splitlines()), why in done.err) != (2, 1, True):
            wrong.append((argv, done))

    assert wrong == []
    assert emulator.requests == []


async def test_edit_uploads_files_and_passes_urls_on(run, emulator, folder):
    """A local file is uploaded first; a URL is sent as it is."""
    Image.new("RGB", (64, 64), "red").save(folder / "a.png")
    made = await run("generate", "a fox", "--no-save", "--json")
    url = made.records[0]["url"]

    done = await run("edit", "fuse", "--image", "a.png", "--image", url, "--no-save")

    (edit,) = [r for r in emulator.requests if r.endpoint == "edit"]
    assert done.code == 0
    assert url == edit.body["images"][1]
    assert edit.body["images"][0].startswith("http")


async def test_edit_knows_how_a_model_takes_its_image(run, emulator):
    """The picture goes under the model's own parameter, alone or in a list."""
    url = "https://example.com/a.png"
    expected = {
        "gpt-image-2": {"image_urls": [url]},
        "gemini-2.5-flash-image": {"image_url": url},
    }
    for model in expected:
        argv = ("--image", url, "--model", model, "--no-wait")
        assert (await run("edit", "x", *argv)).code == 0

    found = {task.model: dict(task.params) for task in emulator.tasks.values()}
    assert found == expected


async def test_edit_refuses_images_a_model_does_not_take(run, emulator):
    """Too many images, or images nobody can place, are a usage error."""
    for model, images, why in (
        ("brand-new", 1, "not known to take"),
        ("z-image-spicy", 1, "takes no images"),
        ("flux-2-klein-4b", 4, "at most 3"),
    ):
        urls = ["--image", "https://x.org/a.png"] * images
        done = await run("edit", "x", *urls, "--model", model)

        assert (done.code, why in done.err) == (2, True), done.err
    assert emulator.requests == []


async def test_a_picture_that_cannot_be_saved_is_not_lost(run, emulator):
    """If saving fails the URL is printed all the same, and the error says charged."""
    emulator.fault("file", "forbidden")
    done = await run("generate", "a fox", "--out", "fox.jpg", "--json")

    result, error = done.records
    assert done.code == 1
    assert (error["charged"], result["path"]) == (True, None)
    assert result["url"].startswith("http")


async def test_a_terminal_gets_a_spinner(run_on_terminal):
    """Before a terminal, the state moves on stderr and is wiped in the end."""
    argv = ["--model", "gpt-image-2", "--no-save"]
    done = await run_on_terminal("generate", "a moose", *argv)

    assert "task cl" in done.err
    assert "\x1b[" in done.err
    assert "http" in done.out


async def test_a_model_that_answers_at_once_is_delivered_at_once(run, folder):
    """A picture that is already there is saved even with --no-wait."""
    argv = ["--model", "gpt-image-2-lite", "--no-wait", "--out", "quick"]
    done = await run("generate", "a fox", *argv)

    assert done.code == 0
    assert [path.name for path in folder.iterdir()] == ["quick.jpg"]
    assert "submitted" not in done.err


async def test_a_refused_second_picture_is_not_replaced_by_the_first(
    run, emulator, folder
):
    """Where the second address is refused, the first picture never takes its place."""
    argv = ("--model", "gpt-image-2", "--param", "n=2", "--no-save", "--json")
    made = (await run("generate", "two moose", *argv)).records[-1]
    emulator.fault("file", "forbidden", match=made["urls"][1].rpartition("/")[2])
    done = await run("wait", made["task_id"], "--out", "pair")

    assert done.code == 1
    assert "saved    pair.jpg" in done.out
    assert [path.name for path in folder.iterdir()] == ["pair.jpg"]


async def test_a_folder_that_is_not_there_is_made(run, folder):
    """A name that ends in a separator is a folder, made for the picture."""
    done = await run("generate", "a fox", "--out", "new/")

    (path,) = (folder / "new").iterdir()
    assert done.code == 0
    assert path.suffix == ".jpg"


async def test_an_address_where_nobody_answers_is_named(run):
    """Who mistyped the address reads which one it was."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        url = f"http://127.0.0.1:{port}/api/v1"
        done = await run("generate", "a fox", "--base-url", url)

    assert done.code == 1
    assert f"Connection refused at 127.0.0.1:{port}" in done.err


async def test_options_that_contradict_each_other_are_refused(run, emulator):
    """--no-save and --out together are a usage error, and nothing is sent."""
    for argv in (("generate", "a fox"), ("wait", "clx123")):
        done = await run(*argv, "--no-save", "--out", "fox")

        assert (done.code, "contradict" in done.err) == (2, True)
    assert emulator.requests == []


async def test_an_out_that_cannot_be_used_costs_nothing(run, emulator):
    """An address that is none of a bucket's is refused before anything is ordered."""
    done = [
        await run("generate", "a fox", "--out", out)
        for out in ("ftp://h/fox", "s3://", "s3://id:canary@b/fox")
    ]

    assert {each.code for each in done} == {2}
    assert "s3://, gs://, az://, file:// or memory://" in " ".join(done[0].err.split())
    assert "canary" not in done[2].err
    assert emulator.generations == {}


async def test_a_file_is_named_after_its_prompt(run, folder):
    """Another picture of the same name is numbered, or takes its place if asked."""
    for more in ((), ("--seed", 5), ("--seed", 6, "--overwrite")):
        done = await run("generate", "A red fox!", *more)
        assert done.code == 0, done

    assert sorted(path.name for path in folder.iterdir()) == [
        "a-red-fox-2.jpg",
        "a-red-fox.jpg",
    ]


async def test_what_a_picture_was_made_of_is_written_down(run, folder):
    """--sidecar writes it beside the picture, --embed into it."""
    done = await run("generate", "a red fox", "--seed", 7, "--sidecar", "--embed")
    (sidecar,) = folder.glob("*.json")

    assert done.code == 0
    assert '"a red fox"' in sidecar.read_text()
    assert b"a red fox" in (folder / "a-red-fox.jpg").read_bytes()
