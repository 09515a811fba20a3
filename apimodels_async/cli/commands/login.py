"""``apimodels login``, ``logout`` and ``whoami``: the API key of this user."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from apimodels_async import (
    ApiModelsError,
    AuthenticationError,
    ConfigurationError,
)
from apimodels_async._io.config import CREDENTIALS, KEY_VARIABLE, locate_key
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.files import replace_file
from apimodels_async.cli.options import Common, Flag
from apimodels_async.cli.output import Output, spinner
from apimodels_async.cli.terminal.asking import read_secret
from apimodels_async.cli.words import plain_words

if TYPE_CHECKING:
    from apimodels_async import Balance
    from apimodels_async.cli.context import CommandContext

SHOWN_CHARS: Final = 4
LONG_CHARS: Final = 16
"""A key shorter than that is not shown in part."""
PRIVATE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700


async def login(*, common: Common = Common()) -> None:
    """
    Store an API key for all commands; free.

    It is asked for and not shown while you type, or read from stdin. The API is asked
    whether it is good; then it is written to ~/.apimodels/credentials, which nobody
    else can read.
    """
    output = Output(common.json, orders=False)
    key = await read_secret("API key (not shown while you type): ", output)
    if not key:
        msg = "no key was given, and nothing is stored"
        raise ConfigurationError(msg)
    session = open_session(common, api_key=key)
    async with command_context(session, output) as context:
        try:
            held = await _balance(context)
        except AuthenticationError as error:
            raise _refused(error, "this key, and nothing is stored") from error
    path = _place()
    await asyncio.to_thread(_store, path, key)
    _print_key(output, key, str(path), session.base_url, held, stored=True)
    if os.environ.get(KEY_VARIABLE):
        output.note(f"{KEY_VARIABLE} is set, and goes before it.", "yellow")


async def logout(*, json: Flag = False) -> None:
    """
    Remove the stored API key; free, needs no network.

    Args:
        json: One JSON object a line instead of text.
    """
    output = Output(json, orders=False)
    path = _place()
    try:
        await asyncio.to_thread(path.unlink)
    except FileNotFoundError:
        output.note(f"There is no key in {path}.")
    except OSError as error:
        msg = f"{path} cannot be removed: {error.strerror}"
        raise ConfigurationError(msg) from error
    else:
        output.facts(removed=path)
    if os.environ.get(KEY_VARIABLE):
        output.note(f"{KEY_VARIABLE} is still set.", "yellow")


async def whoami(*, common: Common = Common()) -> None:
    """
    Show which API key is used, where it is from and what is left on it; free.

    Of the key only the last four characters are shown.
    """
    output = Output(common.json, orders=False)
    session = open_session(common)
    key, source = locate_key()
    text = "" if key is None else key.reveal()
    async with command_context(session, output) as context:
        try:
            held = await _balance(context)
        except AuthenticationError as error:
            _print_key(output, text, source, session.base_url, None)
            raise _refused(error, "this key") from error
        _print_key(output, text, source, session.base_url, held)


def _refused(error: AuthenticationError, what: str) -> AuthenticationError:
    msg = f"the API does not accept {what}; run: apimodels login, with another one"
    return AuthenticationError(msg, status=error.status, code=error.code)


def _place() -> Path:
    return Path(CREDENTIALS).expanduser()


async def _balance(context: CommandContext) -> Balance | None:
    """Return what the account has; None, and a note, where nobody can tell now."""
    try:
        with spinner(context.output, "asking the API"):
            return await context.session.balance()
    except AuthenticationError:
        raise
    except ApiModelsError as error:
        context.output.note(f"The key was not tried: {plain_words(str(error))}")
        return None


def _store(path: Path, key: str) -> None:
    try:
        path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        replace_file(path, [f"api_key = {key}\n".encode()], PRIVATE)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise ConfigurationError(msg) from error


def masked(key: str) -> str:
    """Return the end of *key*, by which its owner knows it."""
    return f"…{key[-SHOWN_CHARS:]}" if len(key) >= LONG_CHARS else "…"


def _print_key(
    output: Output,
    key: str,
    source: str,
    base_url: str,
    held: Balance | None,
    *,
    stored: bool = False,
) -> None:
    left = None if held is None else f"{held.balance} {held.currency}"
    where = {"stored" if stored else "from": source}
    output.facts(key=masked(key), **where, api=base_url, balance=left)
    output.record(
        "key",
        key=masked(key),
        source=source,
        base_url=base_url,
        stored=stored,
        balance=held and held.balance,
    )
