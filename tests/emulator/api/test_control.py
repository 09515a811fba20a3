"""The live page, the state, the list of tasks, faults over HTTP."""

import operator
import re

BAD_FAULTS = [
    b"no json",
    b"[]",
    b"{}",
    b'{"where": "poll"}',
    b'{"where": "poll", "kind": "explode"}',
    b'{"where": [], "kind": "reset"}',
    b'{"where": "poll", "kind": "reset", "probability": "often"}',
    b'{"where": "poll", "kind": "reset", "times": "often"}',
    b'{"where": "poll", "kind": "status", "status": "bad"}',
    b'{"where": "poll", "kind": "status", "status": 7}',
    b'{"where": "poll", "kind": "redirect", "location": "a\\r\\nb: c"}',
    b'{"where": "poll", "kind": "slow", "seconds": "long"}',
    b'{"where": "poll", "kind": "reset", "match": 7}',
]


async def test_the_page_is_served_and_escapes_by_construction(api, emulator):
    """The page has a policy, both colour schemes, and never writes HTML from data."""
    status, headers, body = await api.send("GET", f"{emulator.origin}/", key="")
    text = body.decode()

    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "color-scheme: light dark" in text
    assert "innerHTML" not in text


async def test_the_page_says_how_to_use_it(api, emulator):
    """It has units, the key, a line for curl and links that lead somewhere."""
    _, _, body = await api.send("GET", f"{emulator.origin}/", key="")
    text = body.decode()
    links = re.findall(r'href="(/[^"]+)"', text)

    assert f"export APIMODELS_API_KEY={emulator.api_key}\n" in text
    assert "curl -X POST" in text
    assert f"Authorization: Bearer {emulator.api_key}" in text
    assert text.count("US dollars") == 3
    assert re.search(r">\d+ times as fast", text)
    assert len(links) == 3
    for link in links:
        status, _, _ = await api.send("GET", f"{emulator.origin}{link}", key="")
        assert status == 200


def luminance(colour):
    """Return the relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return sum(map(operator.mul, (0.2126, 0.7152, 0.0722), linear))


async def test_the_page_can_be_read(api, emulator):
    """Every colour of text has 4.5:1 on both backgrounds, light and dark (WCAG AA)."""
    _, _, body = await api.send("GET", f"{emulator.origin}/", key="")
    schemes = re.findall(r":root \{([^}]*)\}", body.decode())
    weak = []
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for name in ("text", "soft", "good", "bad", "busy", "link"):
            for ground in ("back", "card"):
                pair = [luminance(colours[each]) + 0.05 for each in (name, ground)]
                ratio = max(pair) / min(pair)
                weak += [(name, ground, ratio)] * (ratio < 4.5)

    assert len(schemes) == 2
    assert weak == []


async def test_the_state_counts(api, emulator):
    """The state has counts, money and the newest tasks first, up to a limit."""
    hostile = "<script>alert(1)</script> \ud800"
    first = await api.submit("one")
    await api.ended(first)
    failed = await api.submit("[refused]")
    await api.ended(failed)
    await api.sync(hostile)
    running = await api.submit("[stuck]")
    _, state = await api.ask("GET", f"{emulator.origin}/emulator/state", key="")
    _, short = await api.ask("GET", f"{emulator.origin}/emulator/state?limit=1")
    odd, _ = await api.ask("GET", f"{emulator.origin}/emulator/state?limit=many")

    counts = [state[name] for name in ("tasks", "pending", "completed", "failed")]
    assert counts == [3, 1, 2, 1]
    assert state["newest"][0]["id"] == running.id
    assert state["newest"][-1]["url"] == first.urls[0]
    assert state["newest"][2]["message"] == "Content policy violation"
    assert state["spent"] == str(emulator.spent)
    assert (len(short["newest"]), odd) == (1, 400)


async def test_faults_over_http(api, emulator):
    """Faults can be put in force and out of force over HTTP."""
    url = f"{emulator.origin}/emulator/faults"
    fault = {"where": "balance", "kind": "status", "status": 503, "times": None}
    made, _ = await api.ask("POST", url, json=fault)
    hit, _, _ = await api.send("GET", "balance")
    gone, _, _ = await api.send("DELETE", url)
    healed, _, _ = await api.send("GET", "balance")

    assert (made, hit, gone, healed) == (201, 503, 204, 200)


async def test_a_bad_fault_is_refused(api, emulator):
    """A fault that cannot be read is 400, and none is in force."""
    url = f"{emulator.origin}/emulator/faults"
    statuses = {body: (await api.ask("POST", url, data=body))[0] for body in BAD_FAULTS}
    _, state = await api.ask("GET", f"{emulator.origin}/emulator/state")

    assert {body: status for body, status in statuses.items() if status != 400} == {}
    assert state["faults"] == 0


async def test_tasks_and_generations_are_listed(api, emulator):
    """All tasks whose prompt has a text are listed, with their charge."""
    task = await api.submit("intent-1 a moose")
    await api.ended(task)
    await api.sync("intent-1 fox")
    await api.submit("intent-2 [stuck]")
    url = f"{emulator.origin}/emulator/tasks"
    _, some = await api.ask("GET", url, params={"prompt": "intent-1"})
    _, everything = await api.ask("GET", url)

    assert [(each["endpoint"], each["charged"]) for each in some["tasks"]] == [
        ("create", True),
        ("sync", True),
    ]
    assert len(everything["tasks"]) == 3
    assert isinstance(some["tasks"][0]["created_ms"], int)
