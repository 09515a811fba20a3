"""The table of routes: documented, behind the key, and JSON where there is none."""

import json
import re
from pathlib import Path

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from apimodels_async.emulator.api.routes import API, CONTROL
from apimodels_async.emulator.service.catalogue import MODELS

SAMPLES = Path(__file__).parents[2] / "samples"


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


OPERATIONS = {
    "balance": ("/balance", "get"),
    "create": ("/images/generations", "post"),
    "edit": ("/images/edit", "post"),
    "edits": ("/images/edits", "post"),
    "files": ("/files", "post"),
    "models": ("/models", "get"),
    "poll": ("/images/generations", "get"),
    "sync": ("/images/generations-sync", "post"),
}
"""Folder of samples -> where the description has their operation."""


def described(document, folder, status):
    """Return the schema of an answer, by the folder of its sample."""
    if folder == "callback":
        return {"$ref": "#/components/schemas/Callback"}
    path, method = OPERATIONS[folder]
    answer = document["paths"][f"/api/v1{path}"][method]["responses"][status]
    name = answer.get("$ref", "").rpartition("/")[2]
    answer = document["components"]["responses"][name] if name else answer
    return answer["content"]["application/json"]["schema"]


async def test_every_sample_is_what_the_description_says(api, emulator):
    """The samples of the documentation fit the description of the emulator."""
    _, document = await api.ask("GET", f"{emulator.origin}/openapi.json", key="")
    samples = sorted(SAMPLES.rglob("*.json"))
    wrong = []
    for path in samples:
        schema = described(document, path.parent.name, path.name.split(".")[1])
        # An envelope may say no where HTTP says yes, as the real one was seen to.
        if "envelope_402" in path.name:
            schema = {"$ref": "#/components/schemas/Error"}
        checker = Draft202012Validator({**document, **schema})
        body = json.loads(path.read_text(encoding="utf-8"))
        wrong += [(path.name, each.message) for each in checker.iter_errors(body)]

    assert wrong == []
    assert {path.parent.name for path in samples} == {*OPERATIONS, "callback"}


async def test_the_description_has_the_models_of_the_catalogue(api, emulator):
    """The models that an order may name are those of the emulator's catalogue."""
    _, document = await api.ask("GET", f"{emulator.origin}/openapi.json", key="")
    order = document["components"]["schemas"]["Generation"]["properties"]
    named = re.compile(order["model"]["pattern"])

    assert not [name for name in MODELS if not named.search(name)]
    assert len(order["model"]["pattern"].split("|")) == len(MODELS)


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
