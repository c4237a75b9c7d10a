"""The JSON Schema of rule tests, for editors: the keys of a test, the columns of what is given and expected."""

from __future__ import annotations

from typing import Any

from riskpolicy.engines.core.tables import Column as ResultColumn
from riskpolicy.engines.core.tables import ResultTable, Shape
from riskpolicy.engines.core.verdict import VERDICTS
from riskpolicy.errors import CODES
from riskpolicy.policy import loads
from riskpolicy.ruleset.schema import DIALECT
from riskpolicy.testing.compare import KEYS
from riskpolicy.testing.resolutions import ROWS
from riskpolicy.testing.run import MODELS
from riskpolicy.testing.starter import RULESET
from riskpolicy.testing.verdicts import ORDER
from riskpolicy.vocabulary import STATES, TABLES, Column, Kind, Table

#: A placeholder for the value of a case.
_CASE = {"type": "string", "pattern": r"^\$(\w+|\{\w+\})$"}
_ID = {"type": ["string", "integer"]}
_PATH = {"type": "string", "minLength": 1}
_RULES = {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "ids that the row must have"}


def tests_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a file of rule tests."""
    shared = {
        "ruleset": {**_PATH, "description": "NAME[@INSTANT], or a path from this file"},
        "snapshot": {**_PATH, "description": "a file with tables, JSON or YAML"},
        "given": _given(),
        "marks": {"type": "object", "description": "mark prices by instrument", "additionalProperties": _number()},
        "tolerance": _tolerance(),
        "exact": {"type": "boolean", "description": "every number must be the exact one"},
    }
    cases = {"type": "array", "minItems": 1, "items": {"type": "object", "minProperties": 1}}
    test = _object(
        {
            "test": {"type": "string", "minLength": 1, "description": "what the test shows"},
            **shared,
            "cases": {**cases, "description": "each makes a test of its own; `$name` stands for its values"},
            "expect": _expect(),
        },
        ["test", "expect"],
    )
    listed = {"type": "array", "minItems": 1, "items": test}
    return {
        "$schema": DIALECT,
        "$id": "riskpolicy-tests-1.json",
        "title": "riskpolicy rule tests",
        "anyOf": [listed, _object({**shared, "tests": listed}, ["tests"])],
    }


def _given() -> dict[str, Any]:
    tables = {table.name: {"anyOf": [_rows(table), {"type": "object"}]} for table in TABLES.values()}
    as_of = {"type": "string", "description": "the instant, an ISO 8601 date or date and time"}
    execution = {"enum": list(MODELS), "description": "what orders get in a resolution"}
    events = {"type": "array", "items": {"type": "object"}, "description": "applied one by one in a resolution"}
    more = {"as_of": as_of, "complete": {"type": "boolean"}, "execution": execution, "events": events}
    return _object({**tables, **more}, [])


def _rows(table: Table) -> dict[str, Any]:
    columns = {column.name: _column(column) for column in table.columns}
    # `marks` may give what a row of markets leaves out.
    required = [c.name for c in table.columns if c.required and c.name != "mark_price"]
    return {"type": "array", "items": _object(columns, required)}


def _column(column: Column) -> dict[str, Any]:
    kinds = {
        Kind.ID: _ID,
        Kind.NUMBER: _number(),
        Kind.INSTANT: {"anyOf": [{"type": ["string", "null"]}, _CASE]},
        Kind.CHOICE: {"anyOf": [{"enum": [*column.choices, None]}, _CASE]},
    }
    return {**kinds[column.kind], "description": column.meaning}


def _expect() -> dict[str, Any]:
    # The columns are those that an evaluation has, of a ruleset with every mechanism.
    evaluation = loads(RULESET.replace("@NAME@", "columns")).evaluate({"positions": []})
    results: list[ResultTable] = [getattr(evaluation, name) for name in KEYS]
    tables = {table.name: {"type": "array", "minItems": 1, "items": _expected(table)} for table in results}
    error = _object(
        {
            "code": {"enum": list(CODES)},
            "line": {"type": "integer", "description": "the line in the ruleset"},
            "place": {"type": "string", "description": "what the place or the message begins with"},
            "message": {"type": "string", "description": "a part of the message"},
        },
        ["code"],
    )
    texts = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    return {
        **_object(
            {
                **tables,
                "order": {"type": "array", "items": _ID, "description": "the accounts liquidated, first to last"},
                "verdicts": {"type": "array", "minItems": 1, "items": _verdict()},
                "resolution": _resolution(),
                "reasons": {"type": "object", "minProperties": 1, "additionalProperties": texts},
                "not_stated": {"type": "array", "items": {"type": "string"}},
                "error": error,
            },
            [],
        ),
        "minProperties": 1,
    }


def _expected(table: ResultTable) -> dict[str, Any]:
    """Return the schema of an expected row; later versions add columns, so that none is refused."""
    return {"type": "object", "properties": {name: _cell(name, column) for name, column in table.columns.items()}}


def _resolution() -> dict[str, Any]:
    """Return the schema of what is expected of a resolution."""
    rows = {key: {"type": "array", "items": _object({c: {} for c in columns}, [])} for key, columns in ROWS.items()}
    residual = {"type": "object", "additionalProperties": _number(), "description": "what nobody pays, by currency"}
    waiting = {"type": "array", "items": _ID, "description": "accounts that wait for the market"}
    booked = {
        "type": "object", "additionalProperties": _number(),
        "description": "money booked on an account in all events, summed; outside parties begin with `@`",
    }  # fmt: skip
    parts = {**rows, "booked": booked, "residual": residual, "waiting": waiting}
    return {**_object(parts, []), "minProperties": 1}


def _verdict() -> dict[str, Any]:
    """Return the schema of an order and what is expected of its verdict."""
    numbers = {"type": "object", "minProperties": 1, "additionalProperties": _number()}
    said: dict[str, Any] = {
        "allowed": {"anyOf": [{"type": "boolean"}, _CASE]},
        "code": {"anyOf": [{"enum": list(VERDICTS)}, _CASE]},
        "rule": {"type": ["string", "null"], "description": "the id of the rule that decides"},
        "max_quantity": {**_number(), "description": "the largest quantity of this order that would be allowed"},
        "numbers": {**numbers, "description": "equity and margins before and after the fill"},
    }
    return _object({**{name: {} for name in ORDER}, **said}, ["account", "instrument", "side", "quantity"])


def _cell(name: str, column: ResultColumn) -> dict[str, Any]:
    if column.shape is Shape.RULES:
        return _RULES
    if name == "state":
        return {"anyOf": [{"enum": list(STATES)}, _CASE]}
    return {"type": ["string", "integer", "null"]} if column.shape is Shape.TEXT else _number()


def _number() -> dict[str, Any]:
    return {"anyOf": [{"type": ["number", "null"]}, _CASE, {"const": "Infinity"}]}


def _tolerance() -> dict[str, Any]:
    one = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9.]+\s*%$"}]}
    return {"anyOf": [*one["anyOf"], {"type": "object", "additionalProperties": one}]}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
