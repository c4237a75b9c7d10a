"""What every part of the written form is made of: the frozen base model and the scalar types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from riskpolicy.numbers import NumberError, parse_decimal, parse_instant, parse_rate

NOT_STATED = "not_stated"
UNLIMITED = "unlimited"


class Written(BaseModel):
    """A part of a ruleset as written: frozen, and without a place for a key that the language lacks."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise PydanticCustomError("number", "a number is due here")
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise PydanticCustomError("number", "a finite number is due here")
        return value
    try:
        return parse_decimal(str(value))
    except NumberError as error:
        raise PydanticCustomError("number", "{what}", {"what": str(error)}) from None


def _rate(value: object) -> Decimal:
    if isinstance(value, str):
        text = value
    else:
        number = _number(value)
        text = str(number)
    try:
        return parse_rate(text)
    except NumberError as error:
        kind = "bare_rate" if "percent sign" in str(error) else "number"
        raise PydanticCustomError(kind, "{what}", {"what": str(error)}) from None


def signed_rate(value: object) -> Decimal:
    """Return a rate that may be below zero, such as a rebate."""
    return _rate(value)


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise PydanticCustomError("positive", "must be above zero")
    return value


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise PydanticCustomError("not_negative", "must not be below zero")
    return value


def _expression(value: object) -> object:
    return format(value, "f") if isinstance(value, Decimal) and value.is_finite() else value


def _instant(value: object) -> datetime:
    if isinstance(value, str):
        try:
            return parse_instant(value)
        except ValueError:
            pass
    raise PydanticCustomError("instant", "an instant is due here, such as 2026-09-01T00:00:00Z")


_NUMBER_SCHEMA = {"type": ["number", "string"]}
_RATE_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^[-+]?[0-9.]+\s*%$"},
        {"type": "number", "exclusiveMinimum": -1, "exclusiveMaximum": 1},
    ],
    "description": "a rate: `0.4%`, or the fraction 0.004; 1 or more only with a percent sign",
}
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.:/-]*$"

Id = Annotated[str, StringConstraints(pattern=_NAME, max_length=100)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Number = Annotated[Decimal, BeforeValidator(_number), WithJsonSchema(_NUMBER_SCHEMA)]
Positive = Annotated[Decimal, BeforeValidator(lambda v: _positive(_number(v))), WithJsonSchema(_NUMBER_SCHEMA)]
Rate = Annotated[Decimal, BeforeValidator(lambda v: _not_negative(_rate(v))), WithJsonSchema(_RATE_SCHEMA)]
Expression = Annotated[
    str,
    BeforeValidator(_expression),
    WithJsonSchema({"type": ["string", "number"], "description": "an expression over the columns of its table"}),
]
Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string"})]

T = TypeVar("T")


class Stated(Written, Generic[T]):
    """A rule that the venue may have left open.

    Written as the rule itself, as `not_stated` (the documented default applies), or as
    `{not_stated: X}` (the venue is silent and X is the ruleset's own choice). `value` is None for the default.
    """

    value: T | None = None
    stated: bool = True

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, raw: object) -> object:
        if raw == NOT_STATED:
            return {"value": None, "stated": False}
        if isinstance(raw, Mapping) and set(raw) == {NOT_STATED}:
            return {"value": raw[NOT_STATED], "stated": False}
        return {"value": raw, "stated": True}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the three ways of writing it instead of the unwrapped form."""
        whole = handler.resolve_ref_schema(handler(schema))
        value: dict[str, Any] = whole["properties"]["value"]
        inner = next(part for part in value["anyOf"] if part != {"type": "null"})
        marked = {
            "type": "object",
            "properties": {NOT_STATED: inner},
            "required": [NOT_STATED],
            "additionalProperties": False,
            "description": "the venue is silent; this is the ruleset's own choice",
        }
        silent = {"const": NOT_STATED, "description": "the venue is silent; the documented default applies"}
        return {"anyOf": [inner, silent, marked]}


class Order(Written):
    """One key of an order: a column, ascending or descending."""

    column: Id
    descending: bool = False

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, raw: object) -> object:
        words = raw.split() if isinstance(raw, str) else []
        if len(words) == 1:
            return {"column": words[0]}
        if len(words) == 2 and words[1] in ("asc", "desc"):
            return {"column": words[0], "descending": words[1] == "desc"}
        raise PydanticCustomError("order_key", "an order key is a column, then `asc` or `desc`")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the text form."""
        return {
            "type": "string",
            "pattern": r"^\w+( (asc|desc))?$",
            "description": "a column, then asc or desc",
        }


__all__ = [
    "NOT_STATED", "UNLIMITED", "Expression", "Field", "Id", "Instant", "Number", "Order", "Positive", "Rate",
    "Stated", "Text", "Written", "signed_rate",
]  # fmt: skip
