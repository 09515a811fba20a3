"""The tools for agents: a real MCP client in memory, the emulator behind them."""

from __future__ import annotations

import asyncio
import base64
from decimal import Decimal
from io import BytesIO

import pytest
from mcp.types import ImageContent, ResourceLink
from PIL import Image
from support.agents import call, connected, orders_of, refused, text_of
from support.waiting import until

from apimodels_async import (
    PollPolicy,
    Session,
    check_request,
)
from apimodels_async.cli.context import CommandContext
from apimodels_async.cli.output import Output

TASK = "gpt-image-2"
PAID = {"generate", "edit", "submit"}
FREE = {"status", "wait", "list_models", "balance"}


def links_of(result):
    """Return the links of a tool's answer."""
    return [block for block in result.content if isinstance(block, ResourceLink)]


# --- what they are ----------------------------------------------------------------


async def test_each_tool_says_whether_it_costs_money(agent):
    """Paid tools say so in words and in hints that make a client ask; free ones too."""
    tools = {tool.name: tool for tool in (await agent.list_tools()).tools}

    assert tools.keys() == PAID | FREE
    for name, tool in tools.items():
        hints, free = tool.annotations, name in FREE
        assert (hints.read_only_hint, hints.idempotent_hint) == (free, free)
        assert hints.destructive_hint is not free
        assert ("COSTS MONEY" in tool.description) is not free
        assert ("A picture costs $" in tool.description) is not free
        assert ("Free" in tool.description) is free


async def test_every_argument_is_typed_and_described(agent):
    """The schema of each tool gives type and meaning of every argument."""
    for tool in (await agent.list_tools()).tools:
        for name, schema in tool.input_schema["properties"].items():
            assert schema.get("description"), f"{tool.name}.{name}"
            assert {"type", "anyOf"} & schema.keys(), f"{tool.name}.{name}"
            assert name != "context"
        assert tool.output_schema["properties"]


async def test_the_server_tells_its_budget(agent):
    """The instructions of the server name the sum it may spend."""
    assert "may spend $1 in all" in agent.instructions


# --- pictures ---------------------------------------------------------------------


async def test_a_picture_comes_as_a_link_with_its_facts(agent, emulator):
    """A synchronous model gives words, one link, and the same as data."""
    result, facts = await call(agent, "generate", prompt="a fox", seed=3)

    (link,) = links_of(result)
    assert facts["urls"] == [str(link.uri)]
    assert link.mime_type == "image/jpeg"
    assert facts["state"] == "completed"
    assert Decimal(facts["cost"]) == emulator.spent
    assert "Done: 1 picture." in text_of(result)
    assert emulator.requests[0].body["seed"] == 3


async def test_a_task_is_waited_for_with_progress(agent):
    """A task model submits and waits; the client hears how far it is."""
    heard = []

    async def progress(done, total, message):
        heard.append((done, total, message))

    result = await agent.call_tool(
        "generate",
        {"prompt": "a moose", "model": TASK, "resolution": "1K"},
        progress_callback=progress,
    )

    assert result.structured_content["state"] == "completed"
    assert result.structured_content["task_id"]
    assert "good until" in text_of(result)
    assert [done for done, _, _ in heard] == sorted(done for done, _, _ in heard)
    assert {total for _, total, _ in heard} == {45.0}
    assert heard[0][2].startswith("task ")


async def test_a_slow_answer_is_waited_for_with_progress(agent, emulator):
    """A model without tasks keeps the client informed, too."""
    emulator.fault("sync", "slow", seconds=0.3)
    heard = []

    async def progress(done, total, message):
        heard.append(message)

    await agent.call_tool("generate", {"prompt": "a fox"}, progress_callback=progress)

    assert set(heard) == {"generating"}


async def test_a_slow_task_is_handed_back(agent, emulator):
    """When time is up there is an id and advice; waiting for it orders nothing."""
    result, facts = await call(
        agent, "generate", prompt="a moose [slow]", model=TASK, wait_s=0.1
    )
    task_id = facts["task_id"]
    assert facts["state"] in {"pending", "processing"}
    assert "Do not order it again" in text_of(result)

    _, balance = await call(agent, "balance")
    assert balance["tasks"] == [task_id]
    assert Decimal(balance["reserved"]) > 0

    emulator.advance(3600)
    _, facts = await call(agent, "wait", task_id=task_id)
    _, balance = await call(agent, "balance")

    assert facts["state"] == "completed"
    assert len(emulator.tasks) == 1
    assert balance["tasks"] == []
    assert Decimal(balance["reserved"]) == 0
    assert Decimal(balance["spent"]) == emulator.spent


async def test_several_can_be_ordered_and_then_waited_for(agent, emulator):
    """Submit gives an id at once; status asks once; wait brings the picture."""
    _, one = await call(agent, "submit", prompt="one [slow]", model=TASK)
    _, two = await call(agent, "submit", prompt="two [slow]", model=TASK)

    _, now = await call(agent, "status", task_id=one["task_id"])
    assert now["state"] in {"pending", "processing"}

    emulator.advance(3600)
    for order in (one, two):
        _, facts = await call(agent, "wait", task_id=order["task_id"])
        assert facts["state"] == "completed"
    _, now = await call(agent, "status", task_id=one["task_id"])
    assert now["state"] == "completed"


async def test_a_task_of_an_earlier_server_can_be_asked_about(agent, orders, session):
    """Any id of the account will do; it is taken up once."""
    async with asyncio.timeout(10):
        handle = await session.images.submit("a moose", model=TASK)
        await handle
    _, facts = await call(agent, "status", task_id=handle.task_id)
    _, reorder = await call(agent, "wait", task_id=handle.task_id)

    assert facts["state"] == reorder["state"] == "completed"
    assert len(orders.handles) == 1


async def test_a_model_that_answers_at_once_needs_no_wait(agent, emulator):
    """A create call that comes back completed is done when submit returns."""
    emulator.fault("create", "completed")

    _, facts = await call(agent, "submit", prompt="a moose", model=TASK)

    assert facts["state"] == "completed"


async def test_pictures_are_edited_by_their_links(agent, emulator):
    """The links go where each model takes them; local files are not read."""
    _, fox = await call(agent, "generate", prompt="a fox")
    url = fox["urls"][0]
    expected = {
        "sparkpix-image-edit": {"images": [url]},
        "gemini-3-pro-image": {"image_url": url},
        "gpt-image-2": {"image_urls": [url, url]},
    }
    found = {}
    for model, sent in expected.items():
        images = [url] * (2 if model == "gpt-image-2" else 1)
        await call(agent, "edit", prompt="at night", images=images, model=model)
        body = [each.body for each in emulator.requests if each.method == "POST"][-1]
        found[model] = {name: body.get(name) for name in sent}

    assert found == expected


async def test_the_picture_itself_may_come_along(orders, agent):
    """With inline the first picture is part of the answer."""
    orders.inline = True

    result, _ = await call(agent, "generate", prompt="a fox")

    (block,) = [each for each in result.content if isinstance(each, ImageContent)]
    assert block.mime_type == "image/jpeg"
    assert Image.open(BytesIO(base64.b64decode(block.data))).size == (1024, 1024)


async def test_a_picture_that_is_gone_is_only_linked(orders, agent, emulator):
    """What cannot be fetched is no error: the picture is paid for and has its link."""
    orders.inline = True
    emulator.fault("file", "status", times=None, status=410)

    result, facts = await call(agent, "generate", prompt="a fox")

    assert len(facts["urls"]) == 1
    assert "Not shown here: " in text_of(result)


# --- money ------------------------------------------------------------------------


async def test_nothing_is_ordered_beyond_the_budget(agent, orders, emulator):
    """When the price does not fit, nothing is sent, and the agent is told the sums."""
    orders.budget.limit = Decimal("0.015")
    await call(agent, "generate", prompt="a fox")

    said = await refused(agent, "generate", prompt="a hare")

    assert "BudgetExceededError" in said
    assert "Not charged." in said
    assert len(emulator.generations) == 1


async def test_orders_under_way_count(agent, orders, emulator):
    """What has not ended is set aside, so that many at once do not pass the limit."""
    price = check_request({"prompt": "x", "model": TASK, "resolution": "1K"}).price
    orders.budget.limit = price * 2
    more = {"model": TASK, "resolution": "1K", "prompt": "a [slow] moose"}
    results = await asyncio.gather(*(agent.call_tool("submit", more) for _ in range(4)))

    assert sorted(each.is_error for each in results) == [False, False, True, True]
    assert len(emulator.tasks) == 2


async def test_a_refusal_and_a_failure_cost_nothing(agent, orders, emulator):
    """What was not charged is free to be ordered again."""
    emulator.fault("paid", "status", status=402)
    assert "top up" in await refused(agent, "generate", prompt="a fox")

    said = await refused(agent, "generate", prompt="[refused]", model=TASK)
    assert "GenerationFailedError" in said
    await call(agent, "balance")

    assert orders.budget.left == orders.budget.limit


async def test_a_model_without_a_price_is_not_ordered(agent, emulator):
    """What cannot be kept within the budget is refused before anything is sent."""
    said = await refused(agent, "generate", prompt="a fox", model="novelty-9")

    assert "no published price" in said
    assert emulator.requests == []


@pytest.mark.parametrize("model", [None, TASK])
async def test_a_lost_answer_is_never_repeated(agent, orders, emulator, model):
    """The agent is told not to call again, and the money counts as spent."""
    emulator.fault("paid", "reset", after=True)
    more = {} if model is None else {"model": model}

    said = await refused(agent, "generate", prompt="a fox", **more)

    assert "DO NOT REPEAT THIS CALL" in said
    assert "May have been charged." in said
    assert len([each for each in emulator.requests if each.method == "POST"]) == 1
    assert orders.budget.reserved > 0


@pytest.mark.parametrize("model", ["sparkpix-image", TASK])
async def test_a_cancelled_call_keeps_its_money_aside(agent, orders, emulator, model):
    """A client that gives up has ordered all the same; nothing is given back."""
    emulator.fault("paid", "slow", seconds=0.5)
    calling = asyncio.create_task(
        agent.call_tool("generate", {"prompt": "a moose", "model": model})
    )
    await until(lambda: emulator.requests)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling

    await until(lambda: orders.session.orphans)
    assert orders.budget.reserved > 0
    assert len([*emulator.tasks, *emulator.generations]) == 1
    _, account = await call(agent, "balance")
    assert account["tasks"] == list(emulator.tasks)


async def test_an_order_of_a_cancelled_call_is_told_by_balance(agent, orders, emulator):
    """A task that ended meanwhile, a picture and a lost answer are all to be found."""
    for prompt, model in (("a", TASK), ("[slow] b", TASK), ("c", None), ("d", None)):
        if prompt == "d":
            emulator.fault("sync", "drop", after=True, match="d")
        emulator.fault("paid", "slow", seconds=0.3, match=prompt)
        before = len(emulator.requests)
        more = {} if model is None else {"model": model}
        call_ = asyncio.create_task(
            agent.call_tool("generate", {"prompt": prompt, **more})
        )
        if prompt == "[slow] b":  # while it waits for the task
            await until(lambda: orders.handles)
        else:
            await until(lambda before=before: len(emulator.requests) > before)
        call_.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call_

    await until(lambda: len(orders.session.orphans) == 3)
    emulator.advance(3600)
    await until(lambda: all(handle.done for handle in orders.handles))
    _, account = await call(agent, "balance")

    assert set(account["tasks"]) == set(emulator.tasks)
    assert len(account["pictures"]) == account["unknown"] == 1
    task_id = orders.handles[0].task_id
    assert [each.task_id for each in orders.due] == [task_id]
    await call(agent, "wait", task_id=task_id)
    assert orders.due == []


async def test_a_picture_that_was_not_told_of_is_kept(agent, orders, emulator):
    """A call cancelled while it fetches the picture leaves it to be found."""
    orders.inline = True
    emulator.fault("file", "hang")
    call_ = asyncio.create_task(agent.call_tool("generate", {"prompt": "a fox"}))
    await until(lambda: any(each.endpoint == "file" for each in emulator.requests))
    call_.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call_
    _, account = await call(agent, "balance")

    assert len(account["pictures"]) == 1
    assert orders.due[0].urls == tuple(account["pictures"])


# --- errors and the account -------------------------------------------------------


async def test_wrong_arguments_send_nothing(agent, emulator):
    """A refused argument is an error that says what is allowed."""
    wrong = [
        ("generate", {"prompt": "a fox", "aspect_ratio": "5:1"}, "Correct the"),
        ("generate", {"prompt": "a fox", "wait_s": -1}, "wait_s"),
        ("submit", {"prompt": "a fox", "model": "sparkpix-image"}, "call generate"),
        ("edit", {"prompt": "a fox", "images": []}, "images"),
        ("edit", {"prompt": "x", "images": ["https://a/b"], "model": "m"}, "not known"),
    ]
    for name, arguments, words in wrong:
        assert words in await refused(agent, name, **arguments)

    assert emulator.requests == []


async def test_an_unknown_task_is_an_error_in_words(agent):
    """A task the API does not know ends in advice."""
    said = await refused(agent, "status", task_id="clnothing")

    assert "TaskNotFoundError" in said
    assert "Check the task_id" in said


async def test_a_task_that_the_api_does_not_know_is_not_said_to_go_on(emulator, capsys):
    """A mistyped id is forgotten; an order of this server's own is not."""
    async with Session(
        base_url=emulator.base_url,
        api_key=emulator.api_key,
        polling=PollPolicy.unchecked(interval=0.02),
    ) as session:
        orders = orders_of(session)
        async with connected(orders) as agent:
            await refused(agent, "wait", task_id="clnothing")
            _, facts = await call(agent, "submit", prompt="a [stuck] moose", model=TASK)
            orders.handles.append(session.images.attach("clgone"))
            orders._ordered.add("clgone")
            await refused(agent, "wait", task_id="clgone")
        CommandContext(session, Output(), orders.handles).print_unfinished()

    said = capsys.readouterr().err
    assert "clnothing" not in said
    assert "clgone" in said
    assert facts["task_id"] in said


async def test_a_silent_api_is_said(agent, orders, emulator):
    """A status that gets no readable answer says so after a while."""
    orders.ask_s = 0.2
    emulator.fault("poll", "status", times=None, status=502)

    said = await refused(agent, "status", task_id="clx1")
    assert "no readable answer" in said
    assert "Asking is free, but what was ordered may have been charged." in said


async def test_a_task_past_its_deadline_is_taken_up_again(emulator):
    """An id whose handle ended without an answer is attached anew."""
    polling = PollPolicy.unchecked(interval=0.05, deadline=0.2)
    async with Session(
        base_url=emulator.base_url, api_key=emulator.api_key, polling=polling
    ) as session:
        orders = orders_of(session)
        async with connected(orders) as agent:
            _, facts = await call(agent, "submit", prompt="a [stuck] moose", model=TASK)
            late = await refused(agent, "wait", task_id=facts["task_id"])
            reorder = await refused(agent, "wait", task_id=facts["task_id"])
            _, account = await call(agent, "balance")

    assert "TaskTimeoutError" in late
    assert "call wait with its task_id" in reorder
    assert len(orders.handles) == 2
    assert Decimal(account["reserved"]) > 0


async def test_models_are_listed_with_prices(agent):
    """The models of the API come with dated hints, as text and as data."""
    _, facts = await call(agent, "list_models")

    models = {model["id"]: model for model in facts["models"]}
    assert models[TASK]["takes_images"] is True
    assert models["sparkpix-image"]["prices"]["each"]
    assert facts["left_out"] == 0


async def test_errors_of_the_account_say_who_must_act(agent, emulator):
    """A refused key is the user's to mend."""
    emulator.fault("balance", "status", status=401)
    emulator.fault("models", "status", status=401)

    for name in ("balance", "list_models"):
        assert "must check the API key" in await refused(agent, name)
