"""Request bodies."""

from contextlib import suppress
from decimal import Decimal
from io import BytesIO

import aiohttp
from hypothesis import given
from hypothesis import strategies as st
from support.serving import serving

from apimodels_async.emulator.api import forms
from apimodels_async.emulator.api.routes import application
from apimodels_async.emulator.service.durations import Durations
from apimodels_async.emulator.service.values import RefusalError, seeded
from apimodels_async.emulator.world import World


@given(st.binary(max_size=200))
def test_any_bytes_are_a_form_or_a_refusal(data):
    """A form is read or refused, whatever it holds."""
    for body in (data, b"--b" + data, b"--b\r\n" + data + b"\r\n--b--"):
        with suppress(RefusalError):
            parts = forms.parse_form("multipart/form-data; boundary=b", body)
            assert all(part.name for part in parts)


@given(st.binary(max_size=300).filter(lambda data: b"--b" not in data))
def test_binary_parts_arrive_unchanged(data):
    """The bytes of a part are those that were sent."""
    head = b'Content-Disposition: form-data; name="file"; filename="a.bin"'
    body = b"--b\r\n" + head + b"\r\n\r\n" + data + b"\r\n--b--\r\n"
    [part] = forms.parse_form("multipart/form-data; boundary=b", body)

    assert (part.name, part.filename, part.data) == ("file", "a.bin", data)


async def test_a_body_beyond_the_limit_is_413():
    """A body that is too large answers 413 as JSON, on every endpoint."""
    world = World.build(
        api_key="sk_x",
        total=Decimal(1),
        durations=Durations(seeded(0, "x"), 1, None),
        seed=0,
        strict_inputs=False,
    )
    key = {"Authorization": "Bearer sk_x"}
    answers = []
    async with (
        serving(application(world, max_body_bytes=1000)) as site,
        aiohttp.ClientSession(headers=key) as http,
    ):
        for path in ("/api/v1/images/generations", "/emulator/faults"):
            async with http.post(site + path, data=BytesIO(b"x" * 2000)) as reply:
                answers.append((reply.status, (await reply.json())["code"]))

    assert answers == [(413, 413)] * 2
