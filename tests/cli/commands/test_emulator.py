"""``apimodels emulator``."""

from __future__ import annotations

import asyncio
import signal

from apimodels_async.cli.main import main


async def test_the_emulator_serves_until_ctrl_c(program, environment, run):
    """It prints its exports, serves with the faults asked for, and sums up."""
    argv = ("emulator", "--port", "0", "--fault", "balance:unauthorized:1")
    server = program(*argv)
    exports = [await asyncio.to_thread(server.stdout.readline) for _ in range(2)]
    url = exports[0].strip().partition("=")[2]
    done = await run("balance", "--base-url", url)
    server.send_signal(signal.SIGINT)
    _, said = await asyncio.to_thread(server.communicate, timeout=20)

    assert exports[0].startswith("export APIMODELS_BASE_URL=http://127.0.0.1:")
    assert exports[1].startswith("export APIMODELS_API_KEY=sk_")
    assert done.code == 3
    assert "Served 1 requests" in said
    assert "Traceback" not in said
    assert server.returncode == 130


def test_an_emulator_that_cannot_be_set_up(capsys):
    """An unknown fault, or an address that is not ours, is a usage error."""
    for argv, why in {
        ("--port", "0", "--fault", "moon:drop"): "--fault: ",
        ("--host", "192.0.2.1"): "the emulator cannot listen there",
    }.items():
        assert main(["emulator", *argv]) == 2
        assert why in capsys.readouterr().err
