"""
The one cattrs converter: wire names, wire types and wire units stop here.

Required fields are read strictly: cattrs would otherwise make "5" of a 5. Optional
ones are read leniently: a date in a new format must not cost anyone a paid picture.
What is left out here is still in the ``raw`` of what it belongs to.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import cattrs
from attrs import frozen, has
from cattrs.gen import make_dict_structure_fn, override

from apimodels_async._api.decode import UnreadableError
from apimodels_async._text import Value, printable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

AMOUNT_DIGITS_MAX: Final = 18
"""Before or behind the point; no amount of money has more."""
COST_MAX: Final = Decimal(1000)
"""US dollars for one order; the dearest known picture costs 0.30."""
_NOTHING: Final = frozenset({"", "null", "none", "undefined", "false", "[]", "{}"})
"""What stands, in small letters, where there is no reason to give."""


@frozen(eq=False, repr=False)
class WireTask(Value):
    """``data`` of a create or poll answer. Source: API page, "Response Format"."""

    task_id: str
    state: str
    result_urls: list[Any] | None = None
    """As they came: one that cannot be used must not void the others."""
    create_time: float | None = None
    """Epoch milliseconds."""
    complete_time: float | None = None
    fail_message: str | None = None
    """As text, whatever JSON it came as."""
    fail_code: str | None = None
    credits: Decimal | None = None
    model: str | None = None


@frozen(eq=False, repr=False)
class WireImage(Value):
    """``data`` of a SparkPix answer. Source: API page, SparkPix notes."""

    url: Any = None
    model: str | None = None
    credits: Decimal | None = None
    duration: float | None = None
    """The page does not give the unit."""


@frozen(eq=False, repr=False)
class WireOpenAIImage(Value):
    """
    One item of ``data`` in an OpenAI-shaped answer (gpt-image-2-all with a WxH size).
    """

    url: Any = None
    b64_json: Any = None


@frozen(eq=False, repr=False)
class WireBalance(Value):
    """``data`` of ``GET /balance``."""

    balance: Decimal
    total: Decimal | None = None
    frozen: Decimal | None = None
    currency: str | None = None


@frozen(eq=False, repr=False)
class WireModel(Value):
    """One item of ``data`` of ``GET /models``."""

    id: str
    modality: str | None = None
    endpoint: str | None = None


@frozen(eq=False, repr=False)
class WireFile(Value):
    """``data`` of ``POST /files``: multipart answers have only the public URL."""

    public_url: str
    upload_url: str | None = None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        msg = f"expected text, got {type(value).__name__}"
        raise TypeError(msg)
    return value


def _number(value: Any) -> float:
    # A string is accepted because some JSON writers quote what JavaScript would round.
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        msg = f"expected a number, got {type(value).__name__}"
        raise TypeError(msg)
    number = float(value)  # OverflowError from an integer beyond 1e308
    if not math.isfinite(number):
        msg = "expected a finite number"
        raise ValueError(msg)
    return number


def _amount(value: Any) -> Decimal:
    # Through str: Decimal(0.01) would carry the binary error of the float.
    # A string is accepted because money often travels as one.
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        msg = f"expected an amount, got {type(value).__name__}"
        raise TypeError(msg)
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        amount = Decimal("NaN")
    # "1e999999999" is finite too, but adding it up overflows, and printing it hangs.
    if not amount.is_finite() or abs(amount.adjusted()) > AMOUNT_DIGITS_MAX:
        msg = f"expected an amount, got {printable(str(value), 40)}"
        raise ValueError(msg)
    return amount


def _cost(value: Any) -> Decimal:
    # It goes into sums that decide whether more is ordered: nothing below zero, nothing
    # that no picture costs. What is refused counts as not told.
    amount = _amount(value)
    if not 0 <= amount <= COST_MAX:
        msg = f"expected a cost, got {amount}"
        raise ValueError(msg)
    return amount


def _task_id(value: Any) -> str:
    # What ids are made of is the vendor's affair; that one of digits is quoted, too.
    return _text(str(value) if type(value) is int else value)


def _list(value: Any) -> list[Any] | None:
    return value if value is None or isinstance(value, list) else [value]


def _reason(value: Any) -> str | None:
    """Return a reason, an error or a code of the vendor's as text; None: no such."""
    if not _says(value):
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _says(value: Any) -> bool:
    # Many JSON writers fill in every field: with 0, "0", "null", or nothing but those.
    if isinstance(value, str):
        return value.strip().strip("0.").lower() not in _NOTHING
    if isinstance(value, (list, dict)):
        inner = value.values() if isinstance(value, dict) else value
        return any(_says(each) for each in inner)
    return bool(value)


def reason_text(value: Any) -> str | None:
    """Return what the vendor gives as a reason as text, whatever JSON it came as."""
    return _lenient(_reason)(value, None)


def number(value: Any) -> float | None:
    """Return *value* as a finite number, strings of digits too; None: it is none."""
    return _lenient(_number)(value, None)


_MISFITS: Final = (TypeError, ValueError, ArithmeticError, RecursionError)


def _lenient(read: Callable[[Any], T]) -> Callable[[Any, Any], T | None]:
    def hook(value: Any, _: Any) -> T | None:
        if value is None:
            return None
        try:
            return read(value)
        except _MISFITS:
            return None

    return hook


_NAMES: Final[dict[type[Any], dict[str, str]]] = {
    WireTask: {
        "task_id": "taskId",
        "result_urls": "resultUrls",
        "create_time": "createTime",
        "complete_time": "completeTime",
        "fail_message": "failMsg",
        "fail_code": "failCode",
    },
    WireFile: {"public_url": "publicUrl", "upload_url": "uploadUrl"},
}
_READS: Final[dict[type[Any], dict[str, Callable[[Any, Any], Any]]]] = {
    WireTask: {
        "task_id": lambda value, _: _task_id(value),
        "result_urls": lambda value, _: _list(value),
        "fail_message": _lenient(_reason),
        "fail_code": _lenient(_reason),
        "credits": _lenient(_cost),
    },
    WireImage: {"credits": _lenient(_cost)},
}


def _make_converter(*, detailed: bool) -> cattrs.BaseConverter:
    def make(wire: type[Any]) -> Callable[[Any, Any], Any]:
        names, reads = _NAMES.get(wire, {}), _READS.get(wire, {})
        overrides: dict[str, Any] = {
            name: override(rename=names.get(name), struct_hook=reads.get(name))
            for name in {**names, **reads}
        }
        return make_dict_structure_fn(wire, converter, **overrides)

    # What cattrs.Converter adds to it we do not use, and it takes longer to make.
    converter = cattrs.BaseConverter(detailed_validation=detailed)
    converter.register_structure_hook(str, lambda value, _: _text(value))
    converter.register_structure_hook(Decimal, lambda value, _: _amount(value))
    converter.register_structure_hook(str | None, _lenient(_text))
    converter.register_structure_hook(float | None, _lenient(_number))
    converter.register_structure_hook(Decimal | None, _lenient(_amount))
    converter.register_structure_hook_factory(has, make)
    return converter


_FAST: Final = _make_converter(detailed=False)
for _wire in (WireTask, WireImage):  # before anything is paid for
    _FAST.get_structure_hook(_wire)


@cache  # most programs never need it, and it takes 3 ms to make
def _detailed() -> cattrs.BaseConverter:
    """Return what says where it went wrong."""
    return _make_converter(detailed=True)


def structure(data: Any, wire: type[T]) -> T:
    """
    Return *data* as a *wire* value; unknown fields are ignored.

    Raises:
        UnreadableError: With the place: "expected text, got int @ $.data.state".
    """
    if not isinstance(data, dict):
        msg = f"expected an object, got {type(data).__name__} @ $.data"
        raise UnreadableError(msg)
    try:
        return _FAST.structure(data, wire)
    except (*_MISFITS, KeyError):
        pass
    return _explain(data, wire)


def _explain(data: Any, wire: type[T]) -> T:
    reasons: list[str] = []
    try:
        return _detailed().structure(data, wire)
    except cattrs.BaseValidationError as error:
        reasons = cattrs.transform_error(error, path="$.data", format_exception=_why)
    raise UnreadableError("; ".join(reasons))


def _why(error: BaseException, _: type[Any] | None) -> str:
    return "a field is missing" if isinstance(error, KeyError) else str(error)
