"""The gallery under uvicorn, seen through Chromium, drawing at an emulator."""

from __future__ import annotations

import http.client
import json
import re
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, expect

from apimodels_async import TransportError, UnexpectedResponseError
from gallery.cards import Stage
from gallery.orders import offers, priced
from gallery.settings import RATIOS
from gallery.words import explain

HERE = Path(__file__).parent
MODEL = "flux-2-klein-4b"
MANY = [f"a red fox, take {number}" for number in range(9)]
SLOW = [f"a blue hare, take {number} [slow]" for number in range(9)]
NARROW = {"width": 390, "height": 844}
HOSTILE = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"

expect.set_options(timeout=20_000)  # ms; polls come every 2.5 s, on a busy machine
pytestmark = pytest.mark.timeout(120)


def order(gallery, *prompts, token="", **headers):
    """Post an order as a program would; return status, body."""
    form = {"prompts": "\n".join(prompts), "model": MODEL, "aspect_ratio": "1:1"}
    form["token"] = token
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    server = http.client.HTTPConnection("127.0.0.1", gallery.port)
    try:
        server.request("POST", "/orders", urlencode(form), headers)
        answer = server.getresponse()
        return answer.status, answer.read().decode()
    finally:
        server.close()


def check_access(page):
    """Fail where axe finds what shuts somebody out: contrast, names, roles."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


# --- pictures arrive -------------------------------------------------------------


def test_eighteen_pictures_arrive_without_a_reload(look, vendor, tmp_path):
    """Cards, states, progress and pictures come live; each file is fetched once."""
    tab = look()
    tab.page.evaluate("window.marker = 1")

    tab.draw(*MANY, *SLOW)
    tab.accepted(18)
    expect(tab.page.locator("#count")).to_have_text("0 of 18")
    vendor.begin()
    expect(tab.page.locator(".card.processing")).to_have_count(9)
    vendor.finish()
    expect(tab.pictures).to_have_count(9)
    expect(tab.page.locator("#count")).to_have_text("9 of 18")
    vendor.finish(slow=True)

    expect(tab.pictures).to_have_count(18)
    expect(tab.page.locator("#bar")).to_be_hidden()
    for picture in tab.pictures.all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("naturalWidth", 1024)
    expect(tab.page.locator("#spent")).to_have_text("$0.108")  # 18 at 0.006
    prompts = tab.page.locator(".about .prompt").all_inner_texts()
    assert prompts == [*MANY, *SLOW]
    assert tab.page.evaluate("window.marker") == 1
    assert sorted(vendor.ordered()) == sorted([*MANY, *SLOW])
    assert vendor.files() == 18
    assert len(list((tmp_path / "pictures").glob("*.*[gp]"))) == 18


def test_a_reload_in_the_middle_keeps_everything(look, vendor):
    """Cards, pictures, what is under way, and a draft are there again."""
    tab = look()
    tab.draw(*MANY, *SLOW)
    tab.accepted(18)
    vendor.finish()
    expect(tab.pictures).to_have_count(9)
    tab.page.get_by_label("Prompts").fill("a draft")

    tab.page.reload()

    expect(tab.pictures).to_have_count(9)
    tab.accepted(9)
    expect(tab.page.locator("#count")).to_have_text("9 of 18")
    expect(tab.page.get_by_label("Prompts")).to_have_value("a draft")
    vendor.finish(slow=True)
    expect(tab.pictures).to_have_count(18)
    assert len(vendor.ordered()) == 18


def test_two_tabs_see_the_same(look, vendor):
    """What one browser orders, another one sees, to the last picture."""
    one, other = look(), look()

    one.draw(*MANY)
    other.draw("from the other tab")

    for tab in (one, other):
        tab.accepted(10)
    vendor.finish()
    for tab in (one, other):
        expect(tab.pictures).to_have_count(10)
    prompts = [
        tab.page.locator(".about .prompt").all_inner_texts() for tab in (one, other)
    ]
    assert prompts[0] == prompts[1]


def test_a_synchronous_model_draws_too(look, vendor):
    """SparkPix answers at once, without a task, and is shown like the others."""
    tab = look()
    tab.page.get_by_label("Model").select_option("sparkpix-image")
    tab.page.get_by_label("Size").select_option("16:9")

    tab.draw("a moose")

    expect(tab.pictures).to_have_count(1)
    assert vendor.ordered() == ["a moose"]


@pytest.mark.parametrize("width", [1280, 390])
def test_before_ordering_it_is_said_how_many_and_about_what_they_cost(look, width):
    """The figures follow the lines and the model, and stand above the button."""
    tab = look(viewport={"width": width, "height": 844})
    amount, model = tab.page.locator("#amount"), tab.page.get_by_label("Model")

    expect(amount).to_have_text("about $0.006 a picture")
    tab.page.get_by_label("Prompts").fill("a moose\n\n a hare \n")
    expect(amount).to_have_text("2 pictures, about $0.012")
    expect(amount).to_be_in_viewport()
    button = tab.page.get_by_role("button", name="Draw", exact=True)
    below = button.bounding_box()["y"] - amount.bounding_box()["y"]
    assert below >= amount.bounding_box()["height"]
    model.select_option("gpt-image-2")
    expect(amount).to_have_text("2 pictures, about $0.100 at most")
    tab.page.get_by_label("Prompts").fill("a moose")
    expect(amount).to_have_text("1 picture, about $0.050 at most")
    tab.page.reload()  # the draft is there again
    expect(amount).to_have_text("1 picture, about $0.050 at most")


def test_only_what_draws_from_a_prompt_alone_is_offered():
    """Every model that is offered takes a prompt in every size, and has a price."""
    offered = {offer.id for offer in offers()}

    assert offered >= {"sparkpix-image", "doubao-seedream-5-0-pro", MODEL}
    assert not offered & {
        *("sparkpix-image-edit", "kling-expand", "kling-multi-image", "real-esrgan"),
        "gpt-image-2-beta",  # its price is not known
    }
    for offer in offers():
        for ratio in RATIOS:
            assert 0 < offer.least <= priced("a fox", offer.id, ratio) == offer.most


# --- pressed twice ---------------------------------------------------------------


def test_a_form_that_is_sent_twice_is_bought_once(gallery, vendor):
    """A double click has the cards that there are; other prompts are refused."""
    with ThreadPoolExecutor(4) as browsers:
        twice = [browsers.submit(order, gallery, "a moose", token="t") for _ in "1234"]
        answers = [json.loads(each.result()[1])["cards"] for each in twice]
    read_events(gallery, 0, "card pending")

    assert answers == [[1]] * 4
    status, said = order(gallery, "a hare", token="t")
    assert status == 422
    assert "ordered before" in said
    assert vendor.ordered() == ["a moose"]


def test_a_form_that_is_sent_again_after_a_kill_is_bought_once(gallery, vendor):
    """The next process knows the form's token from the history."""
    order(gallery, "a moose", "a hare", token="t")
    *_, (newest, _, _) = read_events(gallery, 0, "card pending")
    read_events(gallery, newest - 1, "card pending")

    gallery.end(signal.SIGKILL)
    gallery.start()

    assert order(gallery, "a moose", "a hare", token="t")[0] == 200
    vendor.finish()
    read_events(gallery, newest, "card completed")
    assert sorted(vendor.ordered()) == ["a hare", "a moose"]


@pytest.mark.parametrize("scripted", [True, False])
def test_a_double_click_orders_once(look, vendor, scripted):
    """A browser without JavaScript sends the form twice, with the same token."""
    tab = look(java_script_enabled=scripted)
    tab.page.get_by_label("Prompts").fill("a moose")
    tab.page.get_by_role("button", name="Draw", exact=True).dblclick()

    while not tab.page.locator(".card.pending").count():
        with suppress(Error):  # the page that a click brings came in between
            tab.page.reload()
    expect(tab.cards).to_have_count(1)
    assert vendor.ordered() == ["a moose"]


# --- the server goes and comes back ----------------------------------------------


def test_a_killed_server_takes_its_tasks_up_again(look, vendor, gallery):
    """After SIGKILL tasks are attached, none is paid twice, the page comes back."""
    tab = look()
    tab.page.evaluate("window.marker = 1")
    tab.draw(*MANY, *SLOW)
    tab.accepted(18)
    vendor.finish()
    expect(tab.pictures).to_have_count(9)

    gallery.end(signal.SIGKILL)
    expect(tab.page.locator("#link")).to_be_visible()
    vendor.finish(slow=True)
    gallery.start()

    expect(tab.pictures).to_have_count(18)
    expect(tab.page.locator("#link")).to_be_hidden()
    assert tab.page.evaluate("window.marker") == 1
    assert len(vendor.ordered()) == len(vendor.emulator.tasks) == 18
    refused = [one for one in tab.complaints if "ERR_" in one]
    tab.complaints[:] = [one for one in tab.complaints if one not in refused]


def test_a_page_comes_back_after_a_proxy_refused_it(look, vendor, gallery):
    """A 502 ends a browser's own tries; the page goes on, where it had been."""
    tab = look()
    tab.draw("a moose")
    tab.accepted(1)
    tab.page.context.route("**/events*", lambda route: route.fulfill(status=502))

    gallery.end(signal.SIGKILL)
    gallery.start()
    going_on = re.compile(r"/events\?since=[1-9]")
    with tab.page.expect_request(going_on, timeout=20_000):
        expect(tab.page.locator("#link")).to_be_visible()
    tab.page.context.unroute("**/events*")
    vendor.finish()

    expect(tab.pictures).to_have_count(1)
    expect(tab.page.locator("#link")).to_be_hidden()
    tab.complaints.clear()  # of the 502


def test_an_order_cut_off_by_a_kill_is_unknown_and_never_repeated(
    look, vendor, gallery
):
    """Nobody knows whether it was taken: the page says so and sends nothing."""
    vendor.fault("create", "hang", match="cut off")
    tab = look()
    tab.draw("cut off", "a moose")
    tab.accepted(1)
    expect(tab.page.locator(".card.sent")).to_have_count(1)

    gallery.end(signal.SIGKILL)
    expect(tab.page.locator("#link")).to_be_visible()
    gallery.let_leases_end()
    gallery.start()

    card = tab.card("cut off")
    expect(card).to_contain_text("It may have been charged")
    expect(card.get_by_role("button")).to_have_count(0)
    vendor.finish()
    expect(tab.pictures).to_have_count(1)
    assert sorted(vendor.ordered()) == ["a moose", "cut off"]
    tab.complaints.clear()  # of the connection that was refused meanwhile


def test_a_server_told_to_stop_ends_its_streams_and_keeps_its_tasks(
    look, vendor, gallery
):
    """SIGTERM with a page open ends it soon; the next start finishes the rest."""
    tab = look()
    tab.draw(*MANY)
    tab.accepted(9)

    code, said = gallery.end(signal.SIGTERM)
    assert code in {0, -signal.SIGTERM}
    assert "Traceback" not in said
    expect(tab.page.locator("#link")).to_be_visible()
    vendor.finish()
    gallery.start()

    expect(tab.pictures).to_have_count(9)
    assert len(vendor.ordered()) == 9
    tab.complaints.clear()  # of the connection that was refused meanwhile


def test_a_stop_waits_for_orders_under_way(look, vendor, gallery):
    """An answer that is on its way is heard: its task id is kept."""
    vendor.fault("create", "slow", seconds=3)
    tab = look()
    tab.draw("a late answer")
    expect(tab.page.locator(".card.sent")).to_have_count(1)

    gallery.end(signal.SIGTERM)
    gallery.start()

    tab.accepted(1)
    vendor.finish()
    expect(tab.pictures).to_have_count(1)
    assert vendor.ordered() == ["a late answer"]
    tab.complaints.clear()


def test_a_folder_has_one_gallery(gallery):
    """A second process on a folder would follow the same tasks: it is refused."""
    second = subprocess.run(
        (sys.executable, "-m", "uvicorn", "gallery.app:app", "--port", "0"),
        cwd=HERE.parent,
        env=gallery.env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert second.returncode != 0
    assert "run one gallery with one worker for a folder" in second.stderr


# --- when there is no picture ----------------------------------------------------


def test_waiting_stops_and_is_taken_up_again(look, vendor):
    """The task lives on at the API; picked up later, it gives its one picture."""
    tab = look()
    tab.draw("a patient fox")
    tab.accepted(1)
    card = tab.card("a patient fox")
    card.get_by_role("button", name="Stop waiting").click()

    expect(card).to_contain_text("Nobody is waiting for it")
    vendor.finish()
    card.get_by_role("button", name="Pick up again").click()

    expect(tab.pictures).to_have_count(1)
    assert vendor.ordered() == ["a patient fox"]


def test_a_refused_prompt_is_explained(look, vendor):
    """The content policy's no says that it is not charged and what to do."""
    tab = look()
    tab.draw("something bad [refused]", "a moose")
    tab.accepted(2)
    vendor.finish()

    card = tab.card("something bad")
    expect(card).to_contain_text("Refused by the content policy")
    expect(card).to_contain_text("Not charged. Say it in other words")
    expect(tab.pictures).to_have_count(1)


@pytest.mark.parametrize(
    ("fault", "title", "advice"),
    [
        (
            ("create", "status", {"status": 402}),
            "Not enough credit",
            "Nothing was charged. Add credit",
        ),
        (
            ("create", "envelope", {"code": 402}),
            "Not enough credit",
            "Nothing was charged. Add credit",
        ),
        (
            ("create", "rate_limit", {"retry_after": 300}),
            "Too many requests",
            "in 300 seconds",
        ),
        (
            ("create", "unauthorized", {}),
            "The API does not accept the key",
            "APIMODELS_API_KEY",
        ),
    ],
    ids=["402", "402 in a 200", "429", "401"],
)
def test_an_order_not_taken_is_explained_and_can_be_repeated(
    look, vendor, fault, title, advice
):
    """What the API did not take was not charged; ordering again is offered."""
    where, kind, options = fault
    vendor.fault(where, kind, **options)
    tab = look()
    tab.draw("a moose")

    card = tab.card("a moose")
    expect(card).to_contain_text(title)
    expect(card).to_contain_text(advice)
    again = card.get_by_role("button", name="Order again")
    if kind == "rate_limit":  # it would wait for as long as the API said
        expect(again).to_be_visible()
        return
    again.click()
    tab.accepted(1)
    vendor.finish()
    expect(tab.pictures).to_have_count(1)


def test_an_answer_that_never_came_is_unknown(look, vendor):
    """The task may exist: the card says so and offers no second order."""
    vendor.fault("create", "reset", after=True)
    tab = look()
    tab.draw("a moose")

    card = tab.card("a moose")
    expect(card).to_contain_text("It may have been charged")
    expect(card.get_by_role("button")).to_have_count(0)
    assert vendor.ordered() == ["a moose"]


def test_a_file_that_does_not_come_is_fetched_again(look, vendor):
    """A paid picture whose file is refused is not lost, and not ordered again."""
    vendor.fault("file", "forbidden", times=None)
    tab = look()
    tab.draw("a moose")
    tab.accepted(1)
    vendor.finish()
    card = tab.card("a moose")
    expect(card).to_contain_text("The file did not arrive")
    vendor.emulator.clear_faults()

    card.get_by_role("button", name="Fetch again").click()

    expect(tab.pictures).to_have_count(1)
    assert vendor.ordered() == ["a moose"]


def test_the_budget_holds(look, vendor, gallery):
    """What would pass GALLERY_BUDGET is not sent, and the card says why."""
    gallery.end(signal.SIGTERM)
    gallery.env["GALLERY_BUDGET"] = "0.013"  # two at 0.006
    gallery.start()
    tab = look()

    tab.draw("one", "two", "three")

    tab.accepted(2)
    expect(tab.page.locator(".card.refused")).to_contain_text("The budget is used up")
    vendor.finish()
    expect(tab.pictures).to_have_count(2)
    assert len(vendor.ordered()) == 2


# --- whoever sits before it ------------------------------------------------------


def test_everything_works_from_the_keyboard(look, vendor):
    """Tab reaches what there is, in order; a closed view gives the focus back."""
    tab = look()
    keyboard = tab.page.keyboard
    keyboard.press("Tab")
    keyboard.type("a moose")
    for _ in range(3):  # model, size, Draw
        keyboard.press("Tab")
    keyboard.press("Enter")
    expect(tab.page.get_by_label("Prompts")).to_be_focused()
    keyboard.type("a hare")
    keyboard.press("Control+Enter")
    tab.accepted(2)
    vendor.finish()
    expect(tab.pictures).to_have_count(2)

    for _ in range(4):
        keyboard.press("Tab")
    keyboard.press("Enter")
    view = tab.page.get_by_role("dialog")
    expect(view).to_be_visible()
    expect(view.locator(".prompt")).to_have_text("a hare")
    keyboard.press("ArrowRight")
    expect(view.locator(".prompt")).to_have_text("a moose")
    keyboard.press("Escape")

    expect(view).to_be_hidden()
    expect(tab.card("a moose").locator("a.shot")).to_be_focused()
    expect(tab.page.locator("#told")).to_contain_text("Done")


def test_a_button_keeps_the_focus_when_its_card_changes(look, vendor):
    """Who stopped waiting from the keyboard stands on what can be done next."""
    tab = look()
    tab.draw("a moose")
    tab.accepted(1)
    tab.page.get_by_role("button", name="Stop waiting").focus()

    tab.page.keyboard.press("Enter")

    expect(tab.page.get_by_role("button", name="Pick up again")).to_be_focused()


def test_a_hostile_prompt_is_text(look, vendor):
    """Markup in a prompt is shown as it was typed, live and after a reload."""
    tab = look()
    tab.draw(HOSTILE)
    tab.accepted(1)
    vendor.finish()
    expect(tab.pictures).to_have_count(1)

    for _ in range(2):
        expect(tab.page.locator(".about .prompt")).to_have_text(HOSTILE)
        tab.page.locator("a.shot").click()
        expect(tab.page.locator("#view-prompt")).to_have_text(HOSTILE)
        assert tab.page.evaluate("window.pwned") is None
        tab.page.reload()


def test_it_works_without_javascript(look, vendor):
    """Plain forms order, stop and complain; a reload shows how things are."""
    tab = look(java_script_enabled=False)
    tab.draw("a moose")
    while not tab.page.locator(".card.pending").count():
        tab.page.reload()  # nothing else would show it
    tab.page.get_by_role("button", name="Stop waiting").click()
    expect(tab.cards).to_contain_text("Nobody is waiting")

    tab.draw("x" * 2001)

    expect(tab.page.get_by_role("alert")).to_have_text(
        "Prompt 1 has 2001 characters: at most 2000."
    )
    tab.complaints.clear()  # of the 422 behind it


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_window(look, vendor, tmp_path, scheme, width):
    """Nothing overflows sideways or is out of reach, whatever is on the page."""
    tab = look(color_scheme=scheme, viewport={"width": width, "height": 844})
    vendor.fault("create", "reset", after=True, match="doubt")
    vendor.fault("create", "status", status=402, match="credit")
    tab.draw(
        *(f"tarot card {number}, woodcut, two colours" for number in range(7)),
        "a crowd [refused]",
        "a doubt",
        "no credit",
        "a" * 300,
    )
    tab.accepted(9)
    vendor.finish()
    expect(tab.pictures).to_have_count(8)
    tab.draw("a slow hare [slow]", "a slow bear [slow]")
    tab.accepted(2)
    for picture in tab.pictures.all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", value=True)
    tab.page.evaluate("scrollTo(0, 0)")

    tab.page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
    check_access(tab.page)
    tab.page.locator("a.shot").first.click()
    tab.page.screenshot(path=tmp_path / f"{width}-{scheme}-view.png")
    check_access(tab.page)

    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    tab.page.keyboard.press("Escape")


# --- the door --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 400),
        ({}, 201),
    ],
)
def test_other_sites_cannot_order(gallery, vendor, headers, status):
    """A form on another site, or a name bound to this address, orders nothing."""
    assert order(gallery, "a moose", **headers)[0] == status
    if status != 201:
        assert vendor.ordered() == []


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        ([""], "Write at least one prompt"),
        (["a fox"] * 51, "at most 50"),
        (["x" * 2001], "at most 2000"),
    ],
    ids=["none", "many", "long"],
)
def test_an_order_has_its_limits(gallery, vendor, prompts, told):
    """Too much or nothing at all is refused in words, and nothing is sent."""
    status, text = order(gallery, *prompts)

    assert status == 422
    assert told in text
    assert vendor.ordered() == []


def test_orders_that_come_at_once_are_all_taken(gallery, vendor):
    """Many browsers may press at the same time; nobody gets anybody else's card."""
    prompts = [f"moose {number}" for number in range(40)]
    with ThreadPoolExecutor(20) as browsers:
        answers = list(browsers.map(lambda prompt: order(gallery, prompt), prompts))

    assert {status for status, _ in answers} == {201}
    assert len({text for _, text in answers}) == 40


def test_a_number_of_any_size_is_a_message(gallery):
    """In an address, a header or a path: never a fault of the program."""
    server = http.client.HTTPConnection("127.0.0.1", gallery.port)
    for digits in (1, 19, 20, 400, 4300, 4301, 9000):
        for number in ("9" * digits, "-" + "9" * digits, "9" * digits + "x"):
            last = number.endswith("x") or digits > 4300
            for method, path in (
                ("GET", f"/?before={number}"),
                ("POST", f"/cards/{number}/stop"),
                ("GET", f"/events?since={number}" if last else "/missing"),
            ):
                server.request(method, path)
                answer = server.getresponse()
                said = answer.read().decode()
                assert answer.status in {200, 404, 422}, (path[:20], digits)
                assert ('role="alert"' in said) or answer.status == 404
                assert ("integer" in said) is (answer.status == 422)
    server.close()


def test_a_huge_body_is_not_read(gallery):
    """A form beyond a megabyte is refused by its size."""
    assert order(gallery, "x" * 1_100_000)[0] == 413


@pytest.mark.parametrize(
    "path", ["/pictures/orders.sqlite", "/pictures/../orders.sqlite", "/cards/7/stop"]
)
def test_only_pictures_are_served_from_the_folder(gallery, path):
    """The history is nobody's download."""
    server = http.client.HTTPConnection("127.0.0.1", gallery.port)
    server.request("GET", path)
    assert server.getresponse().status in {404, 405}
    server.close()


def read_events(gallery, since, until):
    """Return (id, kind, data) of what comes after *since*, up to *until* in it."""
    server = http.client.HTTPConnection("127.0.0.1", gallery.port, timeout=20)
    server.request("GET", "/events", headers={"Last-Event-ID": str(since)})
    answer = server.getresponse()
    assert answer.getheader("Content-Type").startswith("text/event-stream")
    found, seen = [], {}
    while not (found and until in found[-1][2]):
        name, _, value = answer.readline().decode().rstrip().partition(": ")
        if name == "data":
            seen[name] = seen.get(name, "") + value
        elif name:
            seen[name] = value
        elif seen.get("event", "spent") == "spent":
            seen = {}
        else:
            found.append((int(seen["id"]), seen["event"], seen.get("data", "")))
            seen = {}
    answer.close()
    server.close()
    return found


def test_a_stream_goes_on_after_the_last_event_seen(gallery, vendor):
    """Last-Event-ID: each card once, at its last state; nothing that was seen."""
    order(gallery, "a moose", "a hare [slow]")
    *_, (newest, _, _) = read_events(gallery, 0, "card pending")
    vendor.finish()

    later = read_events(gallery, newest, "card completed")
    now = read_events(gallery, 0, "card completed")

    numbers = [number for number, _, _ in later]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > newest
    assert len(now) == 2  # both cards as they are, not how they came to be so


def test_a_page_from_another_history_is_loaded_anew(gallery):
    """A page that has seen what this folder never had is told to reload."""
    assert read_events(gallery, 1000, "") == [(0, "reload", "")]


def test_one_command_runs_it_without_a_key(tmp_path):
    """``python examples/gallery --emulator`` says where it is and stops on Ctrl-C."""
    program = subprocess.Popen(
        (sys.executable, str(HERE), "--emulator", "--port", "0"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = next(line for line in program.stdout if "running on" in line)
    program.send_signal(signal.SIGINT)
    rest = program.stdout.read()
    program.stdout.close()

    assert program.wait() == 0
    assert "http://127.0.0.1:" in said
    assert "Traceback" not in rest
    assert (tmp_path / "gallery-demo").is_dir()


def test_the_history_is_plain_sql(gallery, vendor, tmp_path):
    """Once the gallery has stopped, its file can be read with any SQLite."""
    order(gallery, "a moose")
    read_events(gallery, 0, "card pending")
    gallery.end(signal.SIGTERM)

    rows = sqlite3.connect(tmp_path / "pictures" / "orders.sqlite")
    found = rows.execute("SELECT prompt, task_id IS NOT NULL FROM orders").fetchall()
    rows.close()

    assert found == [("a moose", 1)]


def test_an_order_that_may_be_paid_for_is_not_called_free():
    """Where an error does not say that nothing was charged, the card does not."""
    paid = UnexpectedResponseError("odd", charged=True)

    assert explain(paid, accepted=False).stage is Stage.UNKNOWN
    assert "Nothing was charged" in explain(TransportError("x"), accepted=False).advice
