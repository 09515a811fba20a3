"""
``apimodels mcp`` as a process: the protocol on stdout and nothing else, and its ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from apimodels_async.cli.main import main
from apimodels_async.testing import serve_emulator

COMMAND = ("-P", "-m", "apimodels_async.cli.main", "mcp")
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@pytest.fixture
def served():
    """Serve the API from a thread of its own."""
    with serve_emulator() as emulator:
        yield emulator


def calling(number, tool, **arguments):
    """Return the message that calls a tool."""
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def write(process, *messages):
    """Send messages to a server."""
    process.stdin.write("".join(json.dumps(each) + "\n" for each in messages))
    process.stdin.flush()


def wait_for_an_order(served):
    """Return once an order has come."""
    deadline = time.monotonic() + 20
    while not served.record.orders:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def server(served, program, monkeypatch):
    """Start a server by hand, greeted; its pipes are the test's."""
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    process = program("mcp", stdin=subprocess.PIPE)
    write(process, HELLO, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert json.loads(process.stdout.readline())["id"] == 1
    return process


async def test_a_client_starts_it_and_draws(served):
    """The official client starts the program, and draws until the budget is spent."""
    program = StdioServerParameters(
        command=sys.executable,
        args=[*COMMAND, "--inline", "--max-cost", "0.02"],
        env=dict(served.environment),
    )
    async with Client(program) as client:
        answers = [
            await client.call_tool("generate", {"prompt": "a fox"}) for _ in range(3)
        ]
        tools = await client.list_tools()
        long = await client.call_tool("status", {"task_id": "x" * 200_000})

    first, _, third = answers
    assert [block.type for block in first.content] == ["text", "resource_link", "image"]
    assert [answer.is_error for answer in answers] == [False, False, True]
    assert "BudgetExceededError" in third.content[0].text
    assert len(served.record.orders) == 2
    assert len(tools.tools) == 7
    assert "InvalidRequestError" in long.content[0].text


def test_stdout_is_the_protocol_alone(server):
    """Every line of stdout is a message; it ends with its stdin, quietly."""
    write(server, calling(2, "generate", prompt="a fox"), calling(3, "balance"))
    answers = [json.loads(server.stdout.readline()) for _ in range(2)]
    out, err = server.communicate(timeout=60)

    assert {answer["id"] for answer in answers} == {2, 3}
    assert (server.returncode, out, err) == (0, "", "")


def test_a_signal_ends_it_and_what_goes_on_is_said(server):
    """Ctrl-C ends the server; a task under way is named on stderr, with what to do."""
    write(server, calling(2, "submit", prompt="a [stuck] moose", model="gpt-image-2"))
    answer = json.loads(server.stdout.readline())
    task_id = answer["result"]["structuredContent"]["task_id"]

    server.send_signal(signal.SIGINT)
    out, err = server.communicate(timeout=60)

    assert server.returncode == 130
    assert out == ""
    assert f"apimodels wait {task_id}" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_while_its_client_lives(server, number):
    """With stdin open it ends all the same, and names the task under way."""
    write(server, calling(2, "submit", prompt="a [stuck] moose", model="gpt-image-2"))
    answer = json.loads(server.stdout.readline())
    task_id = answer["result"]["structuredContent"]["task_id"]
    server.send_signal(number)

    assert server.wait(60) == 128 + number
    assert f"apimodels wait {task_id}" in server.stderr.read()


def test_a_client_that_no_longer_reads_ends_it(server, served):
    """Where stdout fails it ends with that code, and names the task under way."""
    server.stdout.close()
    server.stdout = None
    write(server, calling(2, "submit", prompt="a [stuck] moose", model="gpt-image-2"))
    wait_for_an_order(served)

    deadline = time.monotonic() + 20
    while server.poll() is None:  # seen at the first message after the failed answer
        assert time.monotonic() < deadline
        with contextlib.suppress(OSError):
            write(server, calling(3, "balance"))
        time.sleep(0.05)
    err = server.stderr.read()

    assert server.returncode == 141
    assert "apimodels wait cl" in err
    assert "stdout cannot be written: Broken pipe" in err
    assert "Traceback" not in err


def test_without_both_streams_it_does_not_start(served, program, monkeypatch):
    """A server that nobody can talk to says so."""
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    for number in (0, 1):
        process = program("mcp", preexec_fn=lambda number=number: os.close(number))
        _, err = process.communicate(timeout=60)

        assert process.returncode == 2
        assert "stdin or stdout is closed" in err


def test_an_optimised_python_says_what_costs_money():
    """Without docstrings the tools are described all the same."""
    code = (
        "import asyncio\n"
        "from decimal import Decimal\n"
        "from apimodels_async import Session\n"
        "from apimodels_async._core.money.budget import Budget\n"
        "from apimodels_async.cli.mcp.command import build_server\n"
        "from apimodels_async.cli.mcp.orders import Orders\n"
        "from apimodels_async.cli.mcp.tools import Toolbox\n"
        "orders = Orders(Session('k'), Budget(Decimal(1)))\n"
        "server = build_server(Toolbox(orders))\n"
        "tools = asyncio.run(server.list_tools())\n"
        "print(sum('COSTS MONEY' in tool.description for tool in tools))\n"
        "print(sum('Free' in tool.description for tool in tools))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-OO", "-c", code],
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout.split() == ["3", "4"]


def test_what_goes_on_when_the_client_leaves_is_said(server, served):
    """When stdin ends, what goes on is said on stderr."""
    write(server, calling(2, "submit", prompt="a [stuck] moose", model="gpt-image-2"))
    server.stdout.readline()
    out, err = server.communicate(timeout=60)

    assert (server.returncode, out) == (0, "")
    assert "may still be running" in err
    assert len(served.record.orders) == 1


def test_an_order_under_way_is_finished_when_the_client_leaves(server, served):
    """A paid request that has left is let finish, and what it made is said."""
    served.faults.slow(0.5)
    write(server, calling(2, "generate", prompt="a fox"))
    wait_for_an_order(served)
    out, err = server.communicate(timeout=60)

    (order,) = served.record.orders
    assert server.returncode == 0
    assert {json.loads(line)["jsonrpc"] for line in out.splitlines()} <= {"2.0"}
    assert order.charged
    assert "Finished and paid for:" in err
    assert "/files/images/" in err


def test_requests_may_come_from_a_file(served, tmp_path):
    """A file as stdin works like a pipe that ends."""
    file = tmp_path / "requests.jsonl"
    file.write_text(json.dumps(HELLO) + "\n", encoding="utf-8")

    with file.open(encoding="utf-8") as stdin:
        done = subprocess.run(
            [sys.executable, *COMMAND],
            check=False,
            stdin=stdin,
            env=dict(served.environment),
            capture_output=True,
            text=True,
        )

    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_key_it_does_not_start(capsys):
    """A set-up that cannot work is said on stderr at once."""
    assert main(["mcp"]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert "no API key" in err
