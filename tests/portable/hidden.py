"""
Hides what only POSIX has from the package: a plugin of pytest for ``nox -s portable``.

Here alone something is patched: no machine with Windows is at hand, and the other way
of each feature is to be run all the same. What pytest, aiohttp and the standard library
need is imported before. Nothing here can show what Windows itself does: its event loop,
its paths, its consoles.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import pkgutil
import select
import socket
import sys
from functools import wraps
from pathlib import Path
from types import SimpleNamespace

import pytest

BEFORE = (
    *("aiohttp.web", "anyio._backends._asyncio", "hypothesis", "PIL.Image", "pytest"),
    *("asyncio.subprocess", "concurrent.futures.process", "multiprocessing.util"),
    *("random", "sqlite3", "subprocess", "tempfile", "trustme", "uuid"),
    *("cyclopts", "jinja2", "mcp.server.stdio", "opentelemetry.sdk.trace", "rich"),
)
"""What takes POSIX from the system it finds, as it should."""
MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")
NAMES = {
    os: (
        "O_CLOEXEC O_DIRECTORY O_NOFOLLOW fchmod fchown fork forkpty geteuid"
        " getpgid killpg lchown mkfifo pread pwrite register_at_fork setsid statvfs"
        " writev"
    ),
    socket: "MSG_DONTWAIT",
    asyncio: "open_unix_connection start_unix_server",
}
LOOP = ("add_reader", "add_signal_handler", "add_writer")
"""What the event loop of Windows does not offer."""

LEFT_OUT = {
    "files have neither owner nor mode": (
        "a_directory_that_others_can_write_is_refused"
        " a_file_others_can_open_is_not_read"
        " only_its_user_may_enter"
    ),
    "there are no Unix sockets": (
        "a_killed_process_leaves_nothing_that_matters a_listener_that_closes_hangs_up"
        " a_listener_that_hangs_up_is_no"
        " a_path_too_long_for_a_socket_is_refused"
        " a_socket_belongs_to_us_or_to_root"
        " files_of_a_lent_unix_socket_come_from_there junk_is_not_passed_on"
    ),
    "there are no named pipes": (
        "a_pipe_is_no_file nothing_in_a_folder_leads_elsewhere"
        " what_is_no_file_of_ours_is_refused"
        " what_is_no_plain_file_is_never_the_picture"
    ),
    "nobody can delete an open file": "a_file_that_lost_its_name_takes_nothing_more",
}
"""Why -> tests that are about what Windows does not have."""


def windows_locking():
    """Return what stands in for ``msvcrt``, which locks bytes of an open file."""
    import fcntl

    def locking(descriptor, kind, size):
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        if place < os.fstat(descriptor).st_size:
            msg = "others could not read what is locked"
            raise AssertionError(msg)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error

    return SimpleNamespace(locking=locking, LK_NBLCK=2)


def is_open(path):
    """Return whether this process has the file at *path* open."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return False
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if os.path.samestat(entry.stat(), found):
                return True
        except OSError:  # the listing's own is closed by now
            continue
    return False


def refusing(function):
    """Return *function*, which moves or removes files, for files nobody has open."""

    @wraps(function)
    def refuse(*paths, **options):
        if not options and any(map(is_open, paths)):
            raise PermissionError(13, "Permission denied", paths[0])
        return function(*paths, **options)

    return refuse


def missing(*_):
    """Raise what a method raises that an event loop does not offer."""
    raise NotImplementedError


def hide_names():
    """Hide what is looked for when it is needed."""
    for owner, names in NAMES.items():
        for name in names.split():
            if hasattr(owner, name):
                delattr(owner, name)
    for name in LOOP:
        setattr(asyncio.SelectorEventLoop, name, missing)
    for name in ("remove", "rename", "replace", "unlink"):
        setattr(os, name, refusing(getattr(os, name)))


def import_without(modules, stand_ins):
    """Import the whole package without *modules*, which tests go on using."""
    kept = {name: sys.modules.get(name) for name in (*modules, *stand_ins)}
    sys.modules.update(dict.fromkeys(modules), **stand_ins)
    package = importlib.import_module("apimodels_async")
    for each in pkgutil.walk_packages(package.__path__, "apimodels_async."):
        if not each.name.endswith("__main__"):
            importlib.import_module(each.name)
    for name, module in kept.items():
        if module is None:  # others would take what has msvcrt for Windows
            del sys.modules[name]
        else:
            sys.modules[name] = module


if "apimodels_async.stores.sqlite.journal" in sys.modules:
    msg = "the package was imported with the names in place"
    raise RuntimeError(msg)
for needed in BEFORE:
    importlib.import_module(needed)
locking = windows_locking()
hide_names()
import_without(MODULES, {"msvcrt": locking})
# Only from where we look: subprocess waits with poll().
sys.modules["apimodels_async._io.http.silence"].select = SimpleNamespace(
    select=select.select
)


def pytest_collection_modifyitems(items):
    """Skip what is about the very things that are hidden."""
    reasons = {
        f"test_{name}": why for why in LEFT_OUT for name in LEFT_OUT[why].split()
    }
    for item in items:
        if reason := reasons.get(item.originalname):
            item.add_marker(pytest.mark.skip(reason=reason))
