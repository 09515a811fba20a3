"""Options that commands share, and how their values are read."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from attrs import asdict, frozen
from cyclopts import Group, Parameter, validators

from apimodels_async import InvalidRequestError
from apimodels_async.cli.completion import (
    complete_model,
    complete_parameter,
    complete_path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import Token

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Positive = Annotated[float, Parameter(validator=validators.Number(gt=0))]
Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]
Params = Annotated[
    list[str] | None,
    Parameter(name="--param", negative="", completer=complete_parameter),
]
"""``name=value``, repeatable."""
Extra = Annotated[list[str] | None, Parameter(name="--extra", negative="")]
"""As *Params*; not checked."""
Model = Annotated[
    str | None,
    Parameter(("--model", "-m"), show_default=False, completer=complete_model),
]
ModelName = Annotated[str, Parameter(("--model", "-m"), completer=complete_model)]
Out = Annotated[
    str | None,
    Parameter(("--out", "-o"), show_default=False, completer=complete_path),
]
DELIVERY: Final = Group("Delivery", sort_key=3)
StorePlace = Annotated[
    str | None, Parameter(show_default=False, completer=complete_path)
]
Count = Annotated[
    int | None, Parameter(validator=validators.Number(gte=1), show_default=False)
]


def _read_dollars(_: object, tokens: Sequence[Token]) -> Decimal:
    try:
        return Decimal(tokens[0].value)
    except ArithmeticError:
        msg = f"{tokens[0].value!r} is no amount: write US dollars as 0.50"
        raise ValueError(msg) from None


Dollars = Annotated[
    Decimal | None,
    Parameter(
        converter=_read_dollars,
        validator=validators.Number(gt=0, lt=math.inf),
        show_default=False,
    ),
]
Amount = Annotated[
    Decimal,
    Parameter(converter=_read_dollars, validator=validators.Number(gte=0, lt=math.inf)),
]


@Parameter(name="*")
@frozen(kw_only=True)
class Connection:
    """Where the API is, and the way there."""

    base_url: str | None = None
    """Address of the API, else APIMODELS_BASE_URL, else the vendor's."""

    poll_interval: Annotated[float | None, Parameter(show_default=False)] = None
    """Seconds between two status requests, 2 to 3; any for an emulator on loopback."""

    proxy: Annotated[str | None, Parameter(show_default=False)] = None
    """HTTP proxy, else HTTPS_PROXY (a better place for a password); none: without."""

    @property
    def session_proxy(self) -> str | Literal[False] | None:
        """The proxy as a session takes it."""
        return False if self.proxy == "none" else self.proxy


@Parameter(name="*", group=Group("Connection and output", sort_key=9))
@frozen(kw_only=True)
class Common(Connection):
    """Options of every command that talks to the API."""

    json: Flag = False
    """One JSON object a line instead of text; money is a string, times ISO 8601."""


@Parameter(name="*", group=Group("Store", sort_key=4))
@frozen(kw_only=True)
class Remembering:
    """Where orders are remembered."""

    store: StorePlace = None
    """Remembers orders: SQLite file, made if missing, or redis://...; else
    APIMODELS_STORE (a better place for a password)."""

    idempotency_key: str | None = None
    """Your own name for the order; needs a store. It is bought once: again it brings
    the same picture, free."""


@Parameter(name="*")
@frozen(kw_only=True)
class Ordered:
    """An order that a store knows."""

    store: StorePlace = None
    """Where --idempotency-key is looked up: SQLite file or redis://..., else
    APIMODELS_STORE."""

    idempotency_key: str | None = None
    """Instead of a task id: the name that the order was given."""


@Parameter(name="*", group=Group("Picture", sort_key=2))
@frozen(kw_only=True)
class Picture:
    """The common parameters of a picture, in the API's own names."""

    aspect_ratio: str | None = None
    """1:1, 16:9, 9:16, 4:3, 3:4, 3:2, 2:3, or what the model takes."""

    width: int | None = None
    """Pixels; SparkPix: 256-1440, a multiple of 16."""

    height: int | None = None
    """Pixels, as --width."""

    resolution: str | None = None
    """1K, 2K, 4K, where the model takes it."""

    quality: str | None = None
    """low, medium, high, where the model takes it."""

    seed: int | None = None
    """Same seed, same picture."""


@Parameter(name="*", group=Group("Limits", sort_key=3))
@frozen(kw_only=True)
class Limits:
    """How much at once, and how much in all."""

    max_pending: Count = None
    """Pictures under way at once, 50 unless given; 1000 with --broker."""

    max_cost: Dollars = None
    """US dollars, for all runs with this folder together; stops before it is passed.
    Each picture counts at its dearest hint until its result says what it cost."""


@Parameter(name="*", group=Group("Workers", sort_key=6))
@frozen(kw_only=True)
class Workers:
    """Who orders, if not this program."""

    broker: StorePlace = None
    """Have workers order (see: apimodels worker): their Redis server, redis://HOST;
    else APIMODELS_BROKER (a better place for a password); none: order from here."""

    queue: str = "apimodels"
    """Name of the workers' queue."""


@Parameter(name="*", group=Group("Ordering again", sort_key=4))
@frozen(kw_only=True)
class Reorder:
    """What is ordered although an earlier run ordered it."""

    retry_failed: Flag = False
    """Order again what failed; it was not charged."""

    resubmit_unknown: Flag = False
    """Order again what is of unknown outcome; this may pay twice, so it asks first."""

    yes: Flag = False
    """Do not ask."""


@Parameter(name="*", group=Group("Practice", sort_key=5))
@frozen(kw_only=True)
class EmbeddedEmulator:
    """The emulator instead of the API."""

    emulator: Flag = False
    """Use an emulator inside: no key, no network, no real money."""

    speed: Annotated[float | None, Parameter(show_default=False)] = None
    """How many times faster than the real service it works; 20 unless given."""


OURS: Final = {"idempotency_key", "manual_ack"}
"""Parameters of the library, not of the API."""


def gather_parameters(
    picture: Picture, params: list[str] | None, extra: list[str] | None = None
) -> dict[str, Any]:
    """
    Return all parameters by name, those not given left out; *extra* under its own.

    Raises:
        InvalidRequestError: Not ``name=value``, or a name given twice.
    """
    found = asdict(picture, filter=lambda _, value: value is not None)
    _gather("--param", params, found, {"prompt", "model", "extra", *OURS})
    unchecked: dict[str, Any] = {}
    _gather("--extra", extra, unchecked, {"prompt", "model", *found})
    return {**found, "extra": unchecked} if unchecked else found


def _gather(
    option: str, texts: list[str] | None, found: dict[str, Any], taken: set[str]
) -> None:
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not sign or not name:
            msg = f"{option} needs name=value, not {text!r}"
            raise InvalidRequestError(msg, parameter=name or None)
        if name in found or name in taken:
            msg = f"parameter {name!r} is given twice"
            raise InvalidRequestError(msg, parameter=name)
        found[name] = read_value(value)


def read_value(text: str) -> Any:
    """Return what *text* is as JSON, or *text* itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
