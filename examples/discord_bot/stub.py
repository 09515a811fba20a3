"""A Discord on loopback: its REST API and its gateway, for one bot and one user."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, WSMsgType, web
from bot_studio.stub import Chat

APPLICATION, CHANNEL, USER = "100", "200", "300"
BOT = {
    "id": APPLICATION,
    "username": "painter",
    "discriminator": "0",
    "avatar": None,
    "bot": True,
}
ANN = {"id": USER, "username": "ann", "discriminator": "0", "avatar": None}
INFO = {
    "id": APPLICATION,
    "name": "painter",
    "icon": None,
    "description": "",
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "",
    "flags": 0,
    "summary": "",
    "owner": BOT,
}
HELLO, DISPATCH, IDENTIFY, HEARTBEAT, HEARD = 10, 0, 2, 1, 11
DIRECT = {"type": 1, "id": CHANNEL, "recipients": [ANN]}


class Discord(Chat):
    """One channel with one bot."""

    folder = Path(__file__).parent
    token = "stub.token"

    def __init__(self) -> None:
        super().__init__()
        self._gateway = ""
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.commands: list[dict[str, Any]] = []
        self.expired = False
        """Whether the tokens of interactions have."""
        self._socket: web.WebSocketResponse | None = None
        self._interaction: dict[str, Any] = {}
        self._numbers = itertools.count(1000)

    def routes(self) -> list[web.RouteDef]:
        """Return the gateway and the REST API."""
        return [
            web.get("/gateway/", self.connect),
            web.route("*", "/api/v10/{path:.*}", self.rest),
        ]

    def settings(self, host: str) -> dict[str, str]:
        """Return what the bot is told."""
        self._gateway = f"ws://{host}/gateway/"
        return {
            "DISCORD_BOT_TOKEN": self.token,
            "DISCORD_API_URL": f"http://{host}/api/v10",
            "DISCORD_GATEWAY_URL": self._gateway,
        }

    async def order(self, prompt: str, count: int = 1) -> None:
        """Let the user call /imagine."""
        await self.imagine(prompt, count=count)

    async def imagine(self, prompt: str, **options: object) -> None:
        """Let the user call /imagine, once the bot is there."""
        async with self._news:
            await self._news.wait_for(lambda: self._socket is not None)
        kinds = {str: 3, int: 4}
        given = {"prompt": prompt, **options}
        data = {
            "id": "1",
            "type": 1,
            "name": "imagine",
            "options": [
                {"name": name, "type": kinds[type(value)], "value": value}
                for name, value in given.items()
            ],
        }
        number = str(next(self._numbers))
        interaction = {
            "id": number,
            "application_id": APPLICATION,
            "type": 2,
            "token": f"interaction-{number}",
            "version": 1,
            "channel_id": CHANNEL,
            "channel": DIRECT,
            "user": ANN,
            "data": data,
            "locale": "en-GB",
            "entitlements": [],
            "attachment_size_limit": 10_000_000,
        }
        self._interaction = interaction
        await self.repeat()

    async def repeat(self) -> None:
        """Deliver the last command once more, as a resumed gateway may do."""
        await self._say(DISPATCH, self._interaction, t="INTERACTION_CREATE", s=2)

    async def _say(self, op: int, data: Any, **more: Any) -> None:
        assert self._socket is not None
        await self._socket.send_json(
            {"op": op, "d": data, "t": None, "s": None, **more}
        )

    @property
    def texts(self) -> list[str]:
        """Everything the bot said, edits included."""
        return [str(f["content"]) for _, _, f in self.calls if f.get("content")]

    async def rest(self, request: web.Request) -> web.Response:
        """Answer one REST call."""
        path = "/" + request.match_info["path"]
        fields, files = await read(request)
        if path == "/users/@me":
            return answer(BOT)
        if path == "/oauth2/applications/@me":
            return answer(INFO)
        if path.endswith("/commands"):
            self.commands = fields["list"]
            return answer([{**each, **NAMED} for each in self.commands])
        if path.startswith("/webhooks/") and self.expired:
            gone = {"code": 50027, "message": "Invalid Webhook Token"}
            return answer(gone, status=404)
        self.calls.append((request.method, path, fields))
        if files:
            self.files.append(files)
        await self._changed()
        if path.endswith("/callback"):
            number = path.split("/")[2]
            told = {"id": number, "type": 2, "response_message_id": "9" + number}
            return answer({"interaction": told})
        return answer(message(fields.get("content", "")))

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Be the gateway."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": HELLO, "d": {"heartbeat_interval": 41_250}})
        async for frame in socket:
            if frame.type is not WSMsgType.TEXT:
                break
            said = json.loads(frame.data)
            if said["op"] == HEARTBEAT:
                await socket.send_json({"op": HEARD, "d": None})
            if said["op"] == IDENTIFY:
                self._socket = socket
                ready = {
                    "v": 10,
                    "user": BOT,
                    "guilds": [],
                    "session_id": "s",
                    "resume_gateway_url": self._gateway,
                    "application": {"id": APPLICATION, "flags": 0},
                }
                await self._say(DISPATCH, ready, t="READY", s=1)
                await self._changed()
        self._socket = None
        return socket


NAMED = {"id": "1", "application_id": APPLICATION, "version": "1", "type": 1}


def message(content: str) -> dict[str, Any]:
    """Return a message of the bot's."""
    return {
        "id": "900",
        "channel_id": CHANNEL,
        "author": BOT,
        "content": content,
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "type": 0,
    }


async def read(request: web.Request) -> tuple[dict[str, Any], list[bytes]]:
    """Return fields and files of a request, whatever way it came."""
    if not request.content_type.startswith("multipart/"):
        found = await request.json() if request.can_read_body else {}
        return (found, []) if isinstance(found, dict) else ({"list": found}, [])
    fields: dict[str, Any] = {}
    files: list[bytes] = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read())
        if part.name == "payload_json":
            fields = json.loads(data)
        else:
            files.append(data)
    return fields, files


def answer(body: Any, status: int = 200) -> web.Response:
    """Return JSON with exactly the type that discord.py looks for."""
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    return web.Response(status=status, body=data, headers=headers)
