"""The table of routes: documented, behind the key, and JSON where there is none."""

import json

from openapi_spec_validator import validate

from apimodels_async.emulator.api.routes import API, CONTROL


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


async def test_every_api_route_wants_the_key(api, emulator):
    """Without the right key every API route is 401, known or not."""
    known = [(row[0], row[1]) for row in API if row[1].startswith("/api")]
    answers = {
        (method, path, key): await api.ask(method, emulator.origin + path, key=key)
        for method, path in [*known, ("GET", "/api/v1/nothing")]
        for key in ("", "sk_wrong", "sk_\u00e9")
    }

    assert {(status, body["code"]) for status, body in answers.values()} == {(401, 401)}


async def test_what_is_not_there_answers_in_json(api, emulator):
    """Unknown paths are 404 and wrong methods 405, as JSON."""
    missing, why = await api.ask("GET", "nothing")
    outside, _ = await api.ask("GET", f"{emulator.origin}/nothing", key="")
    status, headers, body = await api.send("DELETE", "images/generations")

    assert (missing, why["code"], outside) == (404, 404, 404)
    assert (status, json.loads(body)["code"]) == (405, 405)
    assert "POST" in headers["Allow"]
