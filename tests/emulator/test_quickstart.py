"""The two commands of the API documentation, with host and key changed."""

import asyncio
import json
import shutil

import pytest

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

IMAGE = """{
"prompt": "A cute cat wearing a space helmet, digital art",
"aspect_ratio": "16:9",
"seed": 42
}"""
EDIT = """{
"prompt": "Make the background a sunset beach",
"images": ["https://example.com/photo.jpg"],
"aspect_ratio": "16:9"
}"""


@pytest.mark.parametrize(
    ("path", "body", "credits_each"),
    [("generations-sync", IMAGE, 0.01), ("edit", EDIT, 0.013)],
)
async def test_the_documented_commands_work(api, emulator, path, body, credits_each):
    """Both documented curl commands answer a picture of the ratio asked for."""
    curl = await asyncio.create_subprocess_exec(
        "curl",
        *("-s", "--noproxy", "*", "-X", "POST"),
        f"{emulator.base_url}/images/{path}",
        *("-H", f"Authorization: Bearer {emulator.api_key}"),
        *("-H", "Content-Type: application/json"),
        *("-d", body),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await curl.communicate()
    answer = json.loads(output)
    picture = await api.fetch(answer["data"]["url"])

    assert (answer["code"], answer["data"]["credits"]) == (200, credits_each)
    assert picture.size == (1280, 720)
