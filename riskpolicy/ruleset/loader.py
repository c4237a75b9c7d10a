"""From a file to a checked Ruleset, with every fault of a phase located and reported at once.

The phases are: the file is YAML (document), it has the language's shape (the models), and its parts
fit each other (checks). Expressions are checked when the ruleset is compiled.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from riskpolicy.errors import Finding, Place, RulesetError, one_of, suggestion
from riskpolicy.ruleset.checks import check_ruleset
from riskpolicy.ruleset.document import Document, Steps, child, read_document
from riskpolicy.ruleset.liquidation import Step
from riskpolicy.ruleset.ruleset import Ruleset
from riskpolicy.ruleset.written import NOT_STATED, Written

_CODES = {
    "bare_rate": "bare_rate",
    "order_key": "order_key",
    "tier_shape": "tier_shape",
    "missing": "missing_key",
    "extra_forbidden": "unknown_key",
}
#: What is due, in words of ours where pydantic's are about Python.
_WORDS = {
    "string_pattern_mismatch": "an id is made of letters, digits and `_ . : / -`, beginning with a letter or digit",
    "tuple_type": "a list is due here",
    "dict_type": "a mapping is due here",
    "model_type": "a mapping is due here",
    "string_type": "text is due here",
    "bool_type": "true or false is due here",
}
_HINTS = {
    "tuple_type": "write `[a, b]`, or a line `- a` each",
    "bare_rate": "write `0.4%` or `0.004`; for a rate of 100% or more write the percent sign",
    "number": "write a plain number",
    "instant": "write an ISO 8601 date or date and time",
}


@dataclass(frozen=True, slots=True)
class LoadedRuleset:
    """A ruleset together with the document that knows where its parts stand."""

    ruleset: Ruleset
    document: Document


def load_ruleset(source: str | Path, text: str | None = None) -> LoadedRuleset:
    """Read and check one ruleset file, or `text` under the name `source`.

    Raises RulesetError with all findings of the first phase that has any.
    """
    document = read_document(source, text)
    data = document.data()
    if not isinstance(data, dict):
        hint = "a ruleset begins with `riskpolicy: 1`"
        raise RulesetError(Finding("invalid_value", "a ruleset is a mapping", hint, document.place(0, 0)))
    try:
        ruleset = Ruleset.model_validate(data)
    except ValidationError as error:
        raise RulesetError(_shape_findings(document, error)) from None
    findings = check_ruleset(ruleset, document)
    if findings:
        raise RulesetError(findings)
    return LoadedRuleset(ruleset, document)


def _shape_findings(document: Document, error: ValidationError) -> list[Finding]:
    found: dict[tuple[Place, str], Finding] = {}
    items = error.errors(include_url=False)
    for item in items:
        loc = item["loc"]
        if item["type"] == "too_short" and any(i["loc"][: len(loc)] == loc and i["loc"] != loc for i in items):
            continue  # too short only because its items are faulty, which is reported
        finding = _shape_finding(document, item)
        if finding.place is not None:
            found.setdefault((finding.place, finding.message), finding)
    return sorted(found.values(), key=lambda f: (f.place.line, f.place.column) if f.place else (0, 0))


def _shape_finding(document: Document, item: ErrorDetails) -> Finding:
    kind, loc, message = item["type"], item["loc"], item["msg"]
    path = _steps_in(document, loc)
    code = _CODES.get(kind, "invalid_value")
    if kind == "extra_forbidden":
        word = str(loc[-1])
        fields = _fields_at(loc[:-1])
        hint = suggestion(word, fields) or f"known here: {one_of(fields)}"
        return Finding(code, f"unknown key `{word}`", hint, document.key_place(path))
    if kind == "missing":
        where = document.key_place(path) if path else document.place(0, 0)
        return Finding(code, f"key `{loc[-1]}` is missing", f"add `{loc[-1]}:` here", where)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _tag_finding(document, path, item["ctx"])
    name = next((str(step) for step in reversed(path) if isinstance(step, str)), "ruleset")
    message = _WORDS.get(kind, message)
    text = message[0].lower() + message[1:] if message else message
    text = text.replace("input should be", "must be")
    hint = _HINTS.get(kind, "")
    if kind == "literal_error":
        hint = suggestion(str(item["input"]), re.findall(r"'([^']*)'", item["ctx"]["expected"]))
    return Finding(code, f"`{name}`: {text}", hint, document.value_place(path))


def _tag_finding(document: Document, path: Steps, context: dict[str, Any]) -> Finding:
    """Report a missing or unknown `do`."""
    known = [tag.strip("' ") for tag in context.get("expected_tags", "").split(",") if tag]
    if "tag" not in context:
        hint = f"add `do:` with one of {one_of(_step_tags())}"
        return Finding("missing_key", "key `do` is missing", hint, document.value_place(path))
    tag = context["tag"]
    hint = suggestion(tag, known) or f"known: {one_of(known)}"
    return Finding("invalid_value", f"`do`: no step is called `{tag}`", hint, document.value_place((*path, "do")))


def _step_tags() -> list[str]:
    steps = typing.get_args(typing.get_args(Step)[0])
    return [tag for step in steps for tag in _tags(step)]


def _steps_in(document: Document, loc: Steps) -> Steps:
    """Keep of pydantic's location the steps that stand in the document (it adds union tags and `value`)."""
    path: list[str | int] = []
    node = document.root
    for step in loc:
        if step == "value" and child(node, NOT_STATED) is not None:
            step = NOT_STATED
        below = child(node, step)
        if below is not None:
            path.append(step)
            node = below
    return tuple(path)


def _fields_at(loc: Steps) -> list[str]:
    """Return the keys that the language has at a location."""
    models: list[type[Written]] = [Ruleset]
    for step in loc:
        below = [m.model_fields[step].annotation for m in models if isinstance(step, str) and step in m.model_fields]
        if below:
            models = [m for annotation in below for m in _models(annotation)]
        elif isinstance(step, str):
            tagged = [m for m in models if step in _tags(m)]
            models = tagged or models
    return sorted({name for m in models for name in m.model_fields})


def _models(annotation: Any) -> Iterator[type[Written]]:
    if isinstance(annotation, type) and issubclass(annotation, Written):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


def _tags(model: type[Written]) -> tuple[Any, ...]:
    field = model.model_fields.get("do")
    return typing.get_args(field.annotation) if field else ()
