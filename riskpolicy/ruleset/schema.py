"""The JSON Schema of the ruleset language, for editors."""

from __future__ import annotations

from typing import Any

from riskpolicy.ruleset.ruleset import Ruleset

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of language version 1."""
    schema = Ruleset.model_json_schema()
    return {"$schema": DIALECT, "$id": "riskpolicy-ruleset-1.json", **schema, "title": "riskpolicy ruleset"}
