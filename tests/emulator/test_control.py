"""The live page, the state, faults over HTTP, the OpenAPI document."""

import json

import pytest
from openapi_spec_validator import validate

from apimodels_async.emulator.api.routes import API, CONTROL

pytestmark = pytest.mark.anyio


async def test_the_page_is_served_and_escapes_by_construction(api, emulator):
    """The page has a policy, both colour schemes, and never writes HTML from data."""
    status, headers, body = await api.send("GET", f"{emulator.origin}/", key="")
    text = body.decode()

    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "color-scheme: light dark" in text
    assert "innerHTML" not in text


async def test_the_state_counts(api, emulator):
    """The state has counts, money and the newest tasks first, up to a limit."""
    hostile = "<script>alert(1)</script> \ud800"
    first = await api.submit("one")
    await api.ended(first.id)
    failed = await api.submit("[refused]")
    await api.ended(failed.id)
    await api.ask("POST", "images/generations-sync", json={"prompt": hostile})
    running = await api.submit("[stuck]")
    _, state = await api.ask("GET", f"{emulator.origin}/emulator/state", key="")
    _, short = await api.ask("GET", f"{emulator.origin}/emulator/state?limit=1")
    _, odd = await api.ask("GET", f"{emulator.origin}/emulator/state?limit=many")

    counts = [state[name] for name in ("tasks", "pending", "completed", "failed")]
    assert counts == [3, 1, 2, 1]
    assert state["newest"][0]["id"] == running.id
    assert state["newest"][-1]["url"] == first.urls[0]
    assert state["newest"][2]["message"] == "Content policy violation"
    assert state["spent"] == str(emulator.spent)
    assert (len(short["newest"]), len(odd["newest"])) == (1, 4)


async def test_faults_over_http(api, emulator):
    """Faults can be put in force and out of force over HTTP."""
    url = f"{emulator.origin}/emulator/faults"
    fault = {"where": "balance", "kind": "status", "status": 503, "times": None}
    made, _ = await api.ask("POST", url, json=fault)
    hit, _, _ = await api.send("GET", "balance")
    gone, _, _ = await api.send("DELETE", url)
    healed, _, _ = await api.send("GET", "balance")

    assert (made, hit, gone, healed) == (201, 503, 204, 200)


@pytest.mark.parametrize(
    "body",
    [
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
    ],
)
async def test_a_bad_fault_is_refused(api, emulator, body):
    """A fault that cannot be read is 400, and none is in force."""
    status, _ = await api.ask("POST", f"{emulator.origin}/emulator/faults", data=body)

    assert status == 400
    assert not emulator._world.faults


async def test_the_ledger_lists_tasks_and_generations(api, emulator):
    """The ledger has all work whose prompt has a text, with its charge."""
    task = await api.submit("intent-1 a moose")
    await api.ended(task.id)
    await api.ask("POST", "images/generations-sync", json={"prompt": "intent-1 fox"})
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


async def test_the_openapi_document_is_valid_and_complete(api, emulator):
    """The document is sound OpenAPI and has every route, and no other."""
    _, document = await api.ask("GET", f"{emulator.origin}/openapi.json", key="")
    validate(document)

    methods = {"get", "put", "post", "delete"}
    written = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method in methods
    }
    routed = {(row[0], row[1]) for row in (*API, *CONTROL)}
    assert written == routed


@pytest.mark.parametrize("key", ["", "sk_wrong", "sk_\u00e9"])
async def test_every_api_route_wants_the_key(api, emulator, key):
    """Without the right key every API route is 401, known or not."""
    for method, path, _, _ in (*API, ("GET", "/api/v1/nothing", "", None)):
        if path.startswith("/api"):
            url = emulator.origin + path
            status, body = await api.ask(method, url, key=key)
            assert (status, body["code"]) == (401, 401)


async def test_what_is_not_there_answers_in_json(api, emulator):
    """Unknown paths are 404 and wrong methods 405, as JSON."""
    missing, why = await api.ask("GET", "nothing")
    outside, _ = await api.ask("GET", f"{emulator.origin}/nothing", key="")
    status, headers, body = await api.send("DELETE", "images/generations")

    assert (missing, why["code"], outside) == (404, 404, 404)
    assert (status, json.loads(body)["code"]) == (405, 405)
    assert "POST" in headers["Allow"]


async def test_the_catalogue(api):
    """GET /models lists ids with modality and endpoint."""
    _, body = await api.ask("GET", "models")
    endpoints = {each["id"]: each["endpoint"] for each in body["data"]}

    assert endpoints["sparkpix-image"] == "/api/v1/images/generations-sync"
    assert endpoints["gpt-image-2"] == "/api/v1/images/generations"
    assert len(endpoints) >= 35
