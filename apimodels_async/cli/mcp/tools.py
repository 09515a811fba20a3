"""
The tools of the MCP server, as their schemas show them: what an agent may do.

Their descriptions are in ``command.py``, what their arguments mean in ``arguments.py``.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from attrs import frozen
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult
from pydantic import Field

from apimodels_async import (
    ApiModelsError,
    ImageResult,
    OutcomeUnknownError,
)
from apimodels_async._api.catalogue import SPARKPIX_EDIT, SPARKPIX_IMAGE, find_model
from apimodels_async._api.spelling import EXTRA_HINT, reworded
from apimodels_async._core.money.orders import FORGET_HINT
from apimodels_async._text import printable
from apimodels_async.cli.commands.pictures import image_value
from apimodels_async.cli.mcp.arguments import (
    Extra,
    Key,
    Model,
    Params,
    Prompt,
    Ratio,
    Resolution,
    Seed,
    TaskId,
    Wait,
)
from apimodels_async.cli.mcp.orders import Orders
from apimodels_async.cli.mcp.replies import (
    ID_CHARS,
    MODELS_MAX,
    WORD_CHARS,
    Account,
    Listed,
    Models,
    Picture,
    error_text,
    links_of,
)

WAIT_S: Final = 45.0
"""Many clients give up on a tool after a minute."""
USER_DECIDES: Final = (
    "Only the user may risk paying twice, by an order under another idempotency_key"
)

PictureResult = Annotated[CallToolResult, Picture]


@frozen
class Toolbox:
    """The tools of one server."""

    orders: Orders
    stored: bool = False
    """Whether the session has a store, and orders may have idempotency keys."""

    async def generate(  # noqa: PLR0913  arguments, all by keyword
        self,
        context: Context,
        prompt: Prompt,
        *,
        model: Model = SPARKPIX_IMAGE,
        aspect_ratio: Ratio = None,
        resolution: Resolution = None,
        seed: Seed = None,
        params: Params = None,
        extra: Extra = None,
        idempotency_key: Key = None,
        wait_s: Wait = WAIT_S,
    ) -> PictureResult:
        """Order a picture and wait for it, *wait_s* seconds at most."""
        order = _order(
            params,
            prompt=prompt,
            model=model,
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            seed=seed,
            extra=extra,
        )
        with as_tool_error():
            return await self.orders.generate(context, order, idempotency_key, wait_s)

    async def edit(  # noqa: PLR0913  as above
        self,
        context: Context,
        prompt: Prompt,
        images: Annotated[
            list[str],
            Field(min_length=1, description="http(s) URLs; the first is 'image 1'"),
        ],
        *,
        model: Model = SPARKPIX_EDIT,
        aspect_ratio: Ratio = None,
        seed: Seed = None,
        params: Params = None,
        extra: Extra = None,
        idempotency_key: Key = None,
        wait_s: Wait = WAIT_S,
    ) -> PictureResult:
        """Order an edit and wait for it, *wait_s* seconds at most."""
        known = find_model(model)
        if known is None or known.image_field is None:
            msg = f"Model {model!r} is not known to take images. Next: see list_models."
            raise ToolError(msg)
        field_ = known.image_field
        order = _order(
            params,
            prompt=prompt,
            model=model,
            aspect_ratio=aspect_ratio,
            seed=seed,
            extra=extra,
            **{field_: image_value(field_, images)},
        )
        with as_tool_error():
            return await self.orders.generate(context, order, idempotency_key, wait_s)

    async def submit(
        self,
        prompt: Prompt,
        model: Annotated[
            str, Field(description="From list_models; sparkpix-* have no tasks")
        ],
        aspect_ratio: Ratio = None,
        resolution: Resolution = None,
        seed: Seed = None,
        params: Params = None,
        extra: Extra = None,
        idempotency_key: Key = None,
    ) -> PictureResult:
        """Order a picture and return its task."""
        order = _order(
            params,
            prompt=prompt,
            model=model,
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            seed=seed,
            extra=extra,
        )
        with as_tool_error():
            return await self.orders.submit(order, idempotency_key)

    async def status(self, task_id: TaskId) -> PictureResult:
        """Return the state of a task, or its picture."""
        with as_tool_error(orders=False):
            return await self.orders.status(task_id)

    async def wait(
        self, context: Context, task_id: TaskId, wait_s: Wait = WAIT_S
    ) -> PictureResult:
        """Wait for a task, *wait_s* seconds at most, and return its picture."""
        with as_tool_error(orders=False):
            return await self.orders.wait(context, task_id, wait_s)

    async def list_models(self) -> Models:
        """Return the models the API has now, with price hints."""
        with as_tool_error(orders=False):
            found = await self.orders.session.models()
        listed = []
        for info in found[:MODELS_MAX]:
            hint = find_model(info.id)
            prices = {} if hint is None else hint.prices
            listed.append(
                Listed(
                    id=printable(info.id, ID_CHARS),
                    modality=info.modality and printable(info.modality, WORD_CHARS),
                    prices={tier or "each": str(usd) for tier, usd in prices.items()},
                    takes_images=None if hint is None else bool(hint.image_field),
                )
            )
        return Models(models=listed, left_out=len(found) - len(listed))

    async def balance(self) -> Account:
        """Return what the account has, and what this server may still spend."""
        orders, budget = self.orders, self.orders.budget
        with as_tool_error(orders=False):
            held = await orders.session.balance()
        await orders.payments.settle()
        waiting = [handle for handle, _ in orders.payments.open]
        # Nobody has been told of these yet.
        lost = [*orders.due, *orders.session.orphans]
        tasks = [each.task_id for each in (*waiting, *lost) if each.task_id]
        return Account(
            balance=str(held.balance),
            budget=str(budget.limit),
            spent=str(budget.spent),
            reserved=str(budget.reserved),
            left=str(budget.left),
            tasks=list(dict.fromkeys(tasks)),
            pictures=[
                url
                for each in lost
                if isinstance(each, ImageResult)
                for url in links_of(each)
            ],
            unknown=sum(
                isinstance(each, OutcomeUnknownError) and not each.task_id
                for each in lost
            ),
        )


@contextlib.contextmanager
def as_tool_error(*, orders: bool = True) -> Iterator[None]:
    """
    Turn an error of the library into a tool's error, in words for an agent.

    Args:
        orders: Whether the tool orders; the others are free.
    """
    try:
        yield
    except ApiModelsError as error:
        words = reworded(
            error_text(error, orders=orders),
            extra=EXTRA_HINT,
            upload="this server reads no local files: give a link",
        )
        raise ToolError(words.replace(FORGET_HINT, USER_DECIDES)) from None


def _order(params: Mapping[str, Any] | None, **named: Any) -> dict[str, Any]:
    given = {name: value for name, value in named.items() if value is not None}
    for name, value in (params or {}).items():
        if name in given and given[name] != value:
            msg = (
                f"{name} is given twice. Next: leave it out of params, and call again."
            )
            raise ToolError(msg)
    return {**(params or {}), **given}
