"""A Bot API on loopback: hands out messages, keeps what the bot sends."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web
from bot_studio.stub import Chat

CHAT = {"id": 7, "type": "private", "first_name": "Ann"}
USER = {"id": 7, "is_bot": False, "first_name": "Ann"}
ME = {"id": 42, "is_bot": True, "first_name": "Painter", "username": "painter_bot"}
POLL_S = 0.2


class Telegram(Chat):
    """One chat with one bot."""

    folder = Path(__file__).parent
    token = "42:stub"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.patience_s = 0.0
        """How long a message with pictures goes without its answer."""
        self._updates: list[dict[str, Any]] = []
        self._message: dict[str, Any] = {}
        self._numbers = itertools.count(1)

    def routes(self) -> list[web.RouteDef]:
        """Return the Bot API."""
        return [web.post("/bot{token}/{method}", self.handle)]

    def settings(self, host: str) -> dict[str, str]:
        """Return what the bot is told."""
        url = f"http://{host}"
        return {"TELEGRAM_BOT_TOKEN": self.token, "TELEGRAM_API_URL": url}

    async def order(self, prompt: str, count: int = 1) -> None:
        """Let the user write /imagine."""
        await self.write(f"/imagine {prompt} --n {count}")

    async def write(self, text: str) -> None:
        """Let the user write to the bot."""
        number = next(self._numbers)
        message: dict[str, Any] = {
            "message_id": number,
            "date": 0,
            "chat": CHAT,
            "from": USER,
            "text": text,
        }
        if text.startswith("/"):
            length = len(text.split(maxsplit=1)[0])
            entity = {"type": "bot_command", "offset": 0, "length": length}
            message["entities"] = [entity]
        self._message = message
        self._updates.append({"update_id": number, "message": message})
        await self._changed()

    async def repeat(self) -> None:
        """Deliver the last message once more, as the real one does now and then."""
        number = next(self._numbers)
        self._updates.append({"update_id": number, "message": self._message})
        await self._changed()

    async def until_answers(self, count: int) -> None:
        """Wait until the bot has said that many things."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.texts) >= count)

    @property
    def texts(self) -> list[str]:
        """Everything the bot said, edits included."""
        return [str(fields["text"]) for _, fields in self.calls if "text" in fields]

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one method."""
        method = request.match_info["method"]
        fields, files = await read(request)
        if method == "getMe":
            return ok(ME)
        if method == "getUpdates":
            return ok(await self._next(int(fields.get("offset") or 0)))
        self.calls.append((method, fields))
        if files:
            self.files.append(files)
        await self._changed()
        if files:
            await asyncio.sleep(self.patience_s)
        message = {"message_id": next(self._numbers), "date": 0, "chat": CHAT}
        if method == "sendMediaGroup":
            return ok([message])
        return ok(message | {"text": fields.get("text", "")})

    async def _next(self, offset: int) -> list[dict[str, Any]]:
        self._updates = [u for u in self._updates if u["update_id"] >= offset]
        if not self._updates:
            await asyncio.sleep(POLL_S)
        return list(self._updates)


async def read(request: web.Request) -> tuple[dict[str, Any], list[bytes]]:
    """Return fields and files of a request, whatever way it came."""
    if not request.content_type.startswith("multipart/"):
        return dict(await request.post()), []
    fields: dict[str, Any] = {}
    files: list[bytes] = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read())
        if part.filename:
            files.append(data)
        else:
            fields[part.name or ""] = data.decode()
    return fields, files


def ok(result: Any) -> web.Response:
    """Return an answer as the Bot API gives it."""
    return web.json_response({"ok": True, "result": result}, dumps=json.dumps)
