"""
The tools of the MCP server: what an agent may do with the API.

Rules of this file:
1. One call orders at most one generation, and never sends it twice.
2. Nothing is ordered beyond the budget; what may have been charged counts as spent.
3. A call answers within its *wait_s*: clients give up on tools that take minutes.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from attrs import define, field
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult
from pydantic import Field

from apimodels_async import (
    ApiModelsError,
    CheckedRequest,
    ImageRequest,
    ImageResult,
    InvalidRequestError,
    OutcomeUnknownError,
    Session,
    SparkPixEdit,
    SparkPixImage,
    TaskHandle,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportError,
    check_request,
)
from apimodels_async._api.catalogue import find_model
from apimodels_async._api.spelling import EXTRA_HINT, reworded
from apimodels_async._core.money.budget import Budget
from apimodels_async._core.money.orders import FORGET_HINT
from apimodels_async._text import printable
from apimodels_async.cli.commands.pictures import (
    SPARKPIX,
    SPARKPIX_EDIT,
    image_value,
)
from apimodels_async.cli.delivery import first_answer
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
from apimodels_async.cli.mcp.payments import Payments
from apimodels_async.cli.mcp.replies import (
    ID_CHARS,
    MODELS_MAX,
    WORD_CHARS,
    Account,
    Listed,
    Models,
    Picture,
    error_text,
    finished_reply,
    links_of,
    pending_reply,
)

WAIT_S: Final = 45.0
"""Many clients give up on a tool after a minute."""
TICK_S: Final = 2.0
"""Between two progress notifications."""
USER_DECIDES: Final = (
    "Only the user may risk paying twice, by an order under another idempotency_key"
)
ASK_S: Final = 15.0
"""For one status; a poll may be tried again meanwhile."""

PictureResult = Annotated[CallToolResult, Picture]


@define(eq=False)
class Toolbox:
    """The tools, with the session and the budget they share."""

    session: Session
    budget: Budget
    handles: list[TaskHandle] = field(factory=list[TaskHandle])
    """Every task that was ordered or asked about; the command accounts for them."""
    due: list[TaskHandle | ImageResult] = field(factory=list[TaskHandle | ImageResult])
    """What was bought and no call has told of yet; also accounted for."""
    inline: bool = False
    stored: bool = False
    """Whether the session has a store, and orders may have idempotency keys."""
    tick_s: float = TICK_S
    ask_s: float = ASK_S
    _payments: Payments = field(init=False)
    _ordered: set[str] = field(init=False, factory=set[str])

    def __attrs_post_init__(self) -> None:
        self._payments = Payments(self.session, self.budget)

    async def generate(  # noqa: PLR0913  arguments, all by keyword
        self,
        context: Context,
        prompt: Prompt,
        *,
        model: Model = SPARKPIX,
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
        return await self._generate(context, order, idempotency_key, wait_s)

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
        return await self._generate(context, order, idempotency_key, wait_s)

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
            request = check_request(order)
            if not isinstance(request.request, ImageRequest):
                msg = f"{model} is answered at once and has no task: call generate"
                raise InvalidRequestError(msg, parameter="model")
            handle = await self._submit(request, request.request, idempotency_key)
            with self._telling(handle):
                return await self._current_reply(handle)

    async def status(self, task_id: TaskId) -> PictureResult:
        """Return the state of a task, or its picture."""
        with as_tool_error(orders=False), self._asking(task_id) as handle:
            try:
                async with asyncio.timeout(self.ask_s):
                    await first_answer(handle)
            except TimeoutError:
                msg = f"no readable answer in {self.ask_s:g} s"
                error = TransportError(msg, task_id=task_id)
                error.charged = None  # the question is free; the task is another matter
                raise error from None
            return await self._current_reply(handle)

    async def wait(
        self, context: Context, task_id: TaskId, wait_s: Wait = WAIT_S
    ) -> PictureResult:
        """Wait for a task, *wait_s* seconds at most, and return its picture."""
        with as_tool_error(orders=False), self._asking(task_id) as handle:
            return await self._follow(context, handle, wait_s)

    async def list_models(self) -> Models:
        """Return the models the API has now, with price hints."""
        with as_tool_error(orders=False):
            found = await self.session.models()
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
        with as_tool_error(orders=False):
            held = await self.session.balance()
        await self._payments.settle()
        budget, waiting = self.budget, [handle for handle, _ in self._payments.open]
        # Nobody has been told of these yet.
        lost = [*self.due, *self.session.orphans]
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

    async def _generate(
        self,
        context: Context,
        order: Mapping[str, Any],
        key: str | None,
        wait_s: float,
    ) -> CallToolResult:
        with as_tool_error():
            checked = check_request(order)
            if isinstance(checked.request, ImageRequest):
                handle = await self._submit(checked, checked.request, key)
                with self._telling(handle):
                    return await self._follow(context, handle, wait_s)
            async with self._payments.paying(checked, key) as payment:
                result = await self._with_progress(context, checked.request, key)
            if await self._payments.bought(payment):
                self.budget.settle(payment.price, result)
            with self._telling(result):
                return await finished_reply(result, self.session, inline=self.inline)

    async def _submit(
        self, checked: CheckedRequest, request: ImageRequest, key: str | None
    ) -> TaskHandle:
        async with self._payments.paying(checked, key) as payment:
            handle = await self.session.images.submit(request, idempotency_key=key)
            self.handles.append(handle)
            self.due.append(handle)
            self._ordered.add(handle.task_id)
        if await self._payments.bought(payment):
            self._payments.open.append((handle, payment.price))
        return handle

    @contextlib.contextmanager
    def _telling(self, bought: TaskHandle | ImageResult) -> Iterator[None]:
        """Tell of *bought* in the body; a cancelled call has told nobody."""
        try:
            yield
        except ApiModelsError:  # names the task
            self._told(bought)
            raise
        self._told(bought)

    def _told(self, bought: TaskHandle | ImageResult) -> None:
        # In place: the command holds this list. Another call may have told of it.
        self.due[:] = [each for each in self.due if each is not bought]

    @contextlib.contextmanager
    def _asking(self, task_id: str) -> Iterator[TaskHandle]:
        """Find a task for the body; one that the API does not know is forgotten."""
        handle = self._find(task_id)
        try:
            yield handle
        except TaskNotFoundError:
            if task_id not in self._ordered:
                self.handles[:] = [each for each in self.handles if each is not handle]
            raise
        self.due[:] = [each for each in self.due if each.task_id != task_id]

    def _find(self, task_id: str) -> TaskHandle:
        for handle in self.handles:
            # One whose deadline passed has ended for us; its task may not have.
            lives = handle.state.finished or not handle.done
            if handle.task_id == task_id and lives:
                return handle
        handle = self.session.images.attach(task_id)
        self.handles.append(handle)
        return handle

    async def _follow(
        self, context: Context, handle: TaskHandle, wait_s: float
    ) -> CallToolResult:
        started = time.monotonic()
        while not handle.done:
            waited = time.monotonic() - started
            if waited >= wait_s:
                return pending_reply(handle, wait_s)
            state = printable(handle.state.value, WORD_CHARS)
            words = f"task {handle.task_id}: {state}"
            await context.report_progress(waited, wait_s, words)
            with contextlib.suppress(TaskTimeoutError):
                await handle.result(timeout=min(self.tick_s, wait_s - waited))
        return await self._current_reply(handle)

    async def _with_progress(
        self, context: Context, request: SparkPixImage | SparkPixEdit, key: str | None
    ) -> ImageResult:
        async def generate() -> ImageResult:
            result = await self.session.images.generate(request, idempotency_key=key)
            self.due.append(result)  # in this step: the call may be cancelled in it
            return result

        # Some clients give a tool more time as long as they hear from it.
        started = time.monotonic()
        order = asyncio.create_task(generate(), name="apimodels-mcp-order")
        try:
            while not (await asyncio.wait([order], timeout=self.tick_s))[0]:
                waited = time.monotonic() - started
                await context.report_progress(waited, None, "generating")
            return await order
        finally:
            order.cancel()  # this call was: the session finishes what it has sent
            await asyncio.gather(order, return_exceptions=True)

    async def _current_reply(self, handle: TaskHandle) -> CallToolResult:
        if not handle.done:
            return pending_reply(handle)
        return await finished_reply(await handle, self.session, inline=self.inline)


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
