"""What Chromium makes of the gallery."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from typing import NamedTuple

import pytest
from attrs import evolve
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from apimodels_async.cli.gallery.page import write_gallery

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
)
MANY = 2000
expect.set_options(timeout=20_000)  # ms; a busy machine

HOSTILE = (
    """'"><script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">"""
)
FACTS = {"wall time": "6.1 s", "spent": "$0.76"}
NARROW = {"width": 390, "height": 844}


class Seen(NamedTuple):
    """A page, what it asked for and what it complained about."""

    page: Page
    addresses: list[str]
    complaints: list[str]

    @property
    def visible(self):
        """The numbers of the cards that are shown."""
        return [
            int(one.get_attribute("data-number"))
            for one in self.page.locator(".card:visible").all()
        ]

    def press(self, *keys):
        """Press one key after another."""
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """Start the system's Chromium once for all tests of this module."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; on Debian: apt install chromium")
    home = tmp_path_factory.mktemp("home")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=FLAGS,
            env={**os.environ, "HOME": str(home)},
        ) as browser,
    ):
        yield browser


@pytest.fixture
def look(chromium, index):
    """Open the page; a complaint of the browser or a foreign request fails."""
    opened = []

    def look(after="", **options):
        context = chromium.new_context(**options)
        seen = Seen(context.new_page(), [], [])
        opened.append((context, seen))
        seen.page.on("request", lambda request: seen.addresses.append(request.url))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on(
            "console",
            lambda message: (
                seen.complaints.append(message.text)
                if message.type in {"error", "warning"}
                else None
            ),
        )
        seen.page.goto(index.as_uri() + after)
        return seen

    yield look
    for context, _ in opened:
        context.close()
    for _, seen in opened:
        assert seen.complaints == []
        assert {address.partition(":")[0] for address in seen.addresses} == {"file"}


def picture(path):
    """Draw a small picture and return where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20), "teal").save(path, "PNG")
    return path


@pytest.fixture
def mixed(index, card):
    """Write a page with six pictures and one card of each other state."""
    cards = [card(n, picture(index.parent / f"{n} fox.png")) for n in range(1, 7)]
    cards[2] = evolve(cards[2], params={"seed": 1003, "note": 'it\'s "odd"'})
    lost = {"time_s": None, "cost": None}
    cards += [
        card(7, state="failed", prompt="an owl", error="Content policy", **lost),
        card(8, state="refused", prompt="an owl", error="HTTP 400", **lost),
        card(9, state="unknown", prompt="an owl", error="connection cut", **lost),
        card(10, state="pending", prompt="a moose", task_id=None, **lost),
    ]
    write_gallery(index, "Ten pictures", cards, FACTS)


@pytest.mark.usefixtures("mixed")
def test_every_picture_is_shown(look):
    """Pictures come from files beside the page; nothing else is asked for."""
    seen = look()
    pictures = seen.page.locator(".shot img")

    for at in range(6):
        pictures.nth(at).scroll_into_view_if_needed()
        pictures.nth(at).evaluate("image => image.decode()")
    assert pictures.evaluate_all("all => all.map(one => one.naturalWidth)") == [30] * 6
    assert seen.visible == list(range(1, 11))
    expect(seen.page.locator("#count")).to_have_text("10 of 10")
    expect(seen.page.locator(".unknown .shot")).to_contain_text("May have been charged")
    assert sum(address.endswith(".png") for address in seen.addresses) == 6


@pytest.mark.usefixtures("mixed")
def test_the_filter_finds_by_text_and_state(look):
    """Words in prompt, model, id, seed or reason count, all of them; states as well."""
    seen = look()
    find = seen.page.get_by_role("searchbox")

    for text, numbers in {
        "RED  fox": [1, 2, 3, 4, 5, 6],
        "take 3": [3],
        "clx0009": [9],
        "1008": [8],
        "seed 1004": [4],
        "gpt owl": [7, 8, 9],
        "policy": [7],
        "4.2": [],  # times are not searched
    }.items():
        find.fill(text)
        assert seen.visible == numbers, text
        expect(seen.page.locator("#count")).to_have_text(f"{len(numbers)} of 10")
    seen.page.get_by_role("button", name="Show all").click()
    assert len(seen.visible) == 10
    find.fill("owl")
    for name, numbers in {
        "Failed 1": [7],
        "Refused 1": [8],
        "Unknown 1": [9],
        "Completed 0": [],
        "All 3": [7, 8, 9],
    }.items():
        seen.page.get_by_role("button", name=name).click()
        assert seen.visible == numbers, name


@pytest.mark.usefixtures("mixed")
def test_the_filter_is_in_the_address(look):
    """The address carries the filter: it can be opened again, and changed by hand."""
    first = look()
    first.page.get_by_role("searchbox").fill("owl & 50%")
    first.page.get_by_role("searchbox").fill("an owl")
    first.page.get_by_role("button", name="Unknown").click()
    address = first.page.url

    second = look("#" + address.partition("#")[2])

    assert address.endswith("#q=an+owl&state=unknown")
    assert second.visible == [9]
    expect(second.page.get_by_role("searchbox")).to_have_value("an owl")
    second.page.evaluate("location.hash = 'state=pending'")
    expect(second.page.locator("#count")).to_have_text("1 of 10")
    second.page.evaluate("location.hash = 'state=nonsense'")
    expect(second.page.locator("#count")).to_have_text("10 of 10")
    second.page.get_by_role("searchbox").fill("x")
    second.page.get_by_role("searchbox").fill("")
    assert "#" not in second.page.url


@pytest.mark.usefixtures("mixed")
def test_a_larger_view_goes_through_what_is_shown(look):
    """A click opens it; arrows turn within the filter; Escape gives the focus back."""
    seen = look("#q=an+owl")
    view, page = seen.page.get_by_role("dialog"), seen.page
    page.get_by_role("searchbox").fill("take")

    page.locator(".card:visible .shot").nth(1).click()
    expect(view).to_be_visible()
    expect(view.locator("#place")).to_have_text("2 of 6")
    expect(view.locator(".prompt")).to_have_text("a red fox, take 2")
    expect(view.get_by_role("img")).to_have_js_property("naturalWidth", 30)
    link = view.get_by_role("link", name="Open the original")
    assert link.evaluate("one => one.href").endswith("/run/2%20fox.png")
    for fact in ("completed", "gpt-image-2", "4.2 s", "$0.030", "1002", "clx0002"):
        expect(view.locator("dl")).to_contain_text(fact)

    seen.press("ArrowRight", "ArrowRight")
    expect(view.locator("#place")).to_have_text("4 of 6")
    view.get_by_role("button", name="Previous").click()
    expect(view.locator(".prompt")).to_have_text("a red fox, take 3")
    seen.press(*["ArrowLeft"] * 9)
    expect(view.locator("#place")).to_have_text("1 of 6")
    expect(view.get_by_label("Previous")).to_be_disabled()
    seen.press("ArrowRight", "Escape")
    expect(view).to_be_hidden()
    expect(page.locator('[data-number="2"] .shot')).to_be_focused()


@pytest.mark.usefixtures("mixed")
def test_a_larger_view_tells_what_was_ordered_and_how(look):
    """Uncropped, with its pixels, its parameters, and a command that can be copied."""
    seen = look(permissions=["clipboard-read", "clipboard-write"])
    seen.page.locator('[data-number="3"] .shot').click()
    view = seen.page.get_by_role("dialog")

    expect(view.locator(".fact-pixels")).to_have_text("30 \u00d7 20")
    shown = view.get_by_role("img")
    assert shown.evaluate("one => getComputedStyle(one).objectFit") == "contain"
    told = view.locator(".fact-parameters").inner_text()
    assert told == 'seed 1003\nnote it\'s "odd"'
    view.locator(".fact-command button").click()
    expect(view.locator("#said")).to_have_text("Command copied")
    copied = seen.page.evaluate("navigator.clipboard.readText()")
    assert shlex.split(copied) == [
        *("apimodels", "generate", "a red fox, take 3", "--model", "gpt-image-2"),
        *("--seed", "1003", "--param", 'note=it\'s "odd"'),
    ]
    seen.press("ArrowRight")
    expect(view.locator(".fact-command")).to_have_count(0)  # it was given none
    expect(view.locator(".fact-pixels")).to_have_text("30 \u00d7 20")
    prompt = seen.page.locator('[data-number="3"] .prompt')
    prompt.evaluate("one => { one.textContent = '@home' }")
    seen.press("ArrowLeft")  # with one @ it would be read from a file
    expect(view.locator(".fact-command")).to_contain_text(" @@home --model")


@pytest.mark.usefixtures("mixed")
def test_a_larger_view_tells_why_there_is_no_picture(look):
    """What failed opens too, with its reason in full and no link to a file."""
    seen = look("#state=unknown")
    seen.page.locator(".card:visible .shot").click()

    view = seen.page.get_by_role("dialog")
    expect(view.locator("#view-reason")).to_contain_text("connection cut")
    expect(view.locator("#view-reason")).to_contain_text("May have been charged")
    expect(view.get_by_role("link")).to_have_count(0)
    seen.page.get_by_role("button", name="Close").click()
    expect(view).to_be_hidden()


@pytest.mark.usefixtures("mixed")
def test_the_keyboard_is_enough(look):
    """Slash goes to the filter, Escape empties it, Tab and Enter open a picture."""
    seen = look()
    find = seen.page.get_by_role("searchbox")

    seen.press("/")
    expect(find).to_be_focused()
    seen.page.keyboard.type("take 5/")
    expect(find).to_have_value("take 5/")
    seen.press("Escape")
    expect(find).to_have_value("")
    assert len(seen.visible) == 10
    seen.press("/", *["Tab"] * 7)  # past the six chips
    shot = seen.page.locator('[data-number="1"] .shot')
    expect(shot).to_be_focused()
    assert shot.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    seen.press("Enter")
    expect(seen.page.get_by_role("dialog")).to_be_visible()


@pytest.mark.usefixtures("mixed")
def test_a_task_id_is_copied(look):
    """A click on a task id puts it on the clipboard and says so."""
    seen = look(permissions=["clipboard-read", "clipboard-write"])

    seen.page.get_by_role("button", name="clx0003").click()

    expect(seen.page.locator("#said")).to_have_text("Task id copied")
    assert seen.page.evaluate("navigator.clipboard.readText()") == "clx0003"
    seen.page.locator('[data-number="4"] .shot').click()
    view = seen.page.get_by_role("dialog")
    view.get_by_role("button", name="clx0004").click()
    expect(view.locator("#said")).to_have_text("Task id copied")


@pytest.mark.usefixtures("mixed")
def test_a_task_id_is_selected_where_nothing_may_be_copied(look):
    """Without a clipboard the id is selected, ready for the keyboard."""
    seen = look()
    seen.page.evaluate("delete Navigator.prototype.clipboard")

    seen.page.get_by_role("button", name="clx0003").click()

    expect(seen.page.locator("#said")).to_contain_text("Selected")
    assert seen.page.evaluate("String(getSelection())") == "clx0003"


@pytest.mark.usefixtures("mixed")
def test_light_and_dark_follow_the_system(look):
    """Both schemes have their own ground, and text that stands out from it."""
    grounds = {}
    for scheme in ("light", "dark"):
        page = look(color_scheme=scheme).page
        ground, ink = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.body).color]"
        )
        grounds[scheme] = [
            sum(map(int, re.findall(r"\d+", one)[:3])) for one in (ground, ink)
        ]

    (light, light_ink), (dark, dark_ink) = grounds["light"], grounds["dark"]
    assert light - light_ink > 600
    assert dark_ink - dark > 600


@pytest.mark.usefixtures("mixed")
def test_a_narrow_screen_scrolls_one_way_only(look):
    """On a telephone nothing is wider than the screen."""
    seen = look(viewport=NARROW)

    assert seen.page.evaluate("document.documentElement.scrollWidth") == 390
    seen.page.locator('[data-number="1"] .shot').click()
    box = seen.page.get_by_role("button", name="Next").bounding_box()
    assert box["x"] + box["width"] <= 390


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nobody_is_shut_out(look, tmp_path, scheme, width):
    """Contrast, names and roles are right, in the grid and in the larger view."""
    seen = look(color_scheme=scheme, viewport={"width": width, "height": 844})
    opened = {"page": None, "view": 3, "failed": 7, "unknown": 9}

    for name, number in opened.items():
        if number is not None:
            seen.page.locator(f'[data-number="{number}"] .shot').click()
        shot = tmp_path / f"{name}-{width}-{scheme}.png"
        shot.write_bytes(seen.page.screenshot())  # given a path, it leaves a thread
        found = Axe().run(seen.page)
        assert found.violations_count == 0, found.generate_report()
        if number is not None:
            seen.press("Escape")


@pytest.mark.usefixtures("mixed")
def test_nothing_moves_for_those_who_asked(look):
    """With reduced motion there are no transitions."""
    style = "one => getComputedStyle(one).transitionDuration"

    still = look(reduced_motion="reduce").page.locator(".shot img").first
    spinner = look(reduced_motion="no-preference").page.locator(".shot img").first

    assert still.evaluate(style) == "0s"
    assert spinner.evaluate(style) != "0s"


@pytest.mark.usefixtures("mixed")
def test_the_page_is_whole_without_scripts(look):
    """Without JavaScript all is shown, pictures link to files, no filter is dead."""
    seen = look(java_script_enabled=False)

    assert seen.page.locator(".card:visible").count() == 10
    expect(seen.page.locator("#tools")).to_be_hidden()
    expect(seen.page.locator("#view")).to_be_hidden()
    link = seen.page.locator('[data-number="2"] .shot')
    assert link.get_attribute("href") == "2%20fox.png"
    expect(seen.page.locator(".failed .reason")).to_have_text("Content policy")


@pytest.mark.usefixtures("mixed")
def test_paper_gets_the_pictures_without_the_filter(look):
    """In print the filter is left out and the ground is light."""
    seen = look(color_scheme="dark")
    seen.page.emulate_media(media="print")

    expect(seen.page.locator("#tools")).to_be_hidden()
    expect(seen.page.locator(".card").first).to_be_visible()
    ground = "getComputedStyle(document.body).backgroundColor"
    assert seen.page.evaluate(ground) == "rgb(252, 252, 251)"


def test_a_hostile_prompt_is_only_shown(look, index, card):
    """Markup in a prompt, an id, an error, a title or a file name never runs."""
    file = picture(index.parent / HOSTILE.replace("/", "|"))
    told = dict.fromkeys(("prompt", "model", "task_id"), HOSTILE)
    lost = card(2, **told, state="failed", error=HOSTILE)
    write_gallery(index, HOSTILE, [card(1, file, **told), lost], {HOSTILE: HOSTILE})

    seen = look()

    for number in (1, 2):
        seen.page.locator(f'[data-number="{number}"] .shot').click()
        expect(seen.page.locator("#view-prompt")).to_have_text(HOSTILE)
        seen.press("Escape")
    expect(seen.page.locator("h1")).to_have_text(HOSTILE)
    shown = seen.page.locator(".shot img")
    expect(shown).to_have_js_property("naturalWidth", 30)
    seen.page.get_by_role("searchbox").fill("window.pwned")
    assert seen.visible == [1, 2]
    assert seen.page.evaluate("window.pwned") is None


def test_the_policy_stops_what_escaping_would_miss(look, index, card):
    """Even markup that got into the page would not run: only our own script may."""
    write_gallery(index, "Run", [card(1)], {})
    page = index.read_text()
    planted = "<script>window.pwned = 1</script><b onclick='window.pwned = 1'>b</b>"
    index.write_text(page.replace("<main>", f"<main>{planted}"))

    seen = look()
    seen.page.locator("main > b").click()

    assert seen.page.evaluate("window.pwned") is None
    assert any("Content Security Policy" in one for one in seen.complaints)
    seen.complaints.clear()


def test_a_picture_that_is_not_there_says_so(look, index, card):
    """A file that was moved, or never saved, leaves a note, also in the larger view."""
    gone = card(1, index.parent / "gone.png")
    write_gallery(index, "Run", [gone, card(2)], {})

    seen = look()

    expect(seen.page.locator(".shot")).to_contain_text(["No file", "No file"])
    seen.page.locator(".shot").first.click()
    expect(seen.page.locator("#view-reason")).to_contain_text("not where it was saved")
    seen.complaints.clear()  # Chromium tells of the missing file itself


def test_two_thousand_pictures_are_loaded_as_they_come_near(look, index, card):
    """Far pictures are not loaded, and nothing jumps when they are."""
    first = picture(index.parent / "00001.png")
    files = [first]
    for number in range(2, MANY + 1):
        files.append(index.parent / f"{number:05d}.png")
        files[-1].hardlink_to(first)
    write_gallery(index, "Run", [card(n, f) for n, f in enumerate(files, 1)], {})

    seen = look()
    loaded = "[...document.images].filter(one => one.naturalWidth > 0).length"
    height = "document.documentElement.scrollHeight"
    seen.page.wait_for_function(f"{loaded} > 0")
    before = seen.page.evaluate(height)
    seen.page.evaluate(f"scrollTo(0, {height})")
    last = seen.page.locator(".shot img").last
    expect(last).to_have_js_property("naturalWidth", 30)

    assert seen.page.evaluate(loaded) < MANY / 4
    assert seen.page.evaluate(height) == before
    assert seen.page.evaluate("scrollY + innerHeight") == pytest.approx(before, abs=1)
    seen.page.get_by_role("searchbox").fill("clx1999")
    expect(seen.page.locator("#count")).to_have_text(f"1 of {MANY}")


def test_a_page_with_pending_cards_follows_the_run(look, index, card):
    """It loads itself again, with filter, place and focus, until nothing is pending."""
    cards = [card(n, state="pending") for n in range(1, 100)]
    write_gallery(index, "At work", cards, {})
    seen = look("#q=take")
    page, after_ms = seen.page, 11_000
    page.clock.install()
    page.reload()
    page.locator('[data-number="60"] .shot').focus()
    place = page.evaluate("scrollY")
    write_gallery(index, "Done", [card(n) for n in range(1, 100)], {})

    page.locator('[data-number="60"] .shot').press("Enter")
    page.clock.fast_forward(after_ms)
    expect(page.locator("h1")).to_have_text("At work")  # not under an open view
    seen.press("Escape")
    page.clock.fast_forward(after_ms)

    expect(page.locator("h1")).to_have_text("Done")
    expect(page.locator('[data-number="60"] .shot')).to_be_focused()
    expect(page.get_by_role("searchbox")).to_have_value("take")
    assert place > 0
    assert page.evaluate("scrollY") == pytest.approx(place, abs=2)
    write_gallery(index, "Later", [], {})
    page.clock.fast_forward(after_ms)
    expect(page.locator("h1")).to_have_text("Done")
