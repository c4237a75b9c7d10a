"""From a rule id to the place in the file that states the rule."""

from __future__ import annotations

from riskpolicy.errors import Finding, Place, QueryError
from riskpolicy.ruleset.document import Node, Steps
from riskpolicy.ruleset.loader import LoadedRuleset
from riskpolicy.ruleset.tiers import read_tiers


def rule_place(loaded: LoadedRuleset, rule_id: str) -> Place:
    """Return where a rule stands; for a tier, its row; for a step or layer, its item. QueryError for no such rule."""
    return loaded.document.value_place(_path(loaded, rule_id))


def _path(loaded: LoadedRuleset, rule_id: str) -> Steps:
    if rule_id.startswith("margin.tiers."):
        for index, table in enumerate(loaded.ruleset.margin.tiers):
            rows, _ = read_tiers(table, index, loaded.document)
            for number, row in enumerate(rows):
                if row.id != rule_id:
                    continue
                if not table.rows:
                    return ("margin", "tiers", index)
                below = ("rows", number) if number < len(table.rows) else ("generated",)
                return ("margin", "tiers", index, *below)
    path: list[str | int] = []
    node: Node = loaded.document.root
    for word in rule_id.split("."):
        step: str | int = word
        if isinstance(node.value, list):
            step = next((i for i, item in enumerate(node.value) if _id(item) == word), -1)
            if step < 0:
                raise _unknown(rule_id)
            node = node.value[step]
        elif isinstance(node.value, dict) and word in node.value:
            node = node.value[word]
        else:
            raise _unknown(rule_id)
        path.append(step)
    return tuple(path)


def _unknown(rule_id: str) -> QueryError:
    hint = "rule ids are paths in the ruleset, such as `liquidation.trigger`"
    return QueryError(Finding("unknown_id", f"the ruleset has no rule `{rule_id}`", hint))


def _id(node: Node) -> object:
    return node.value["id"].value if isinstance(node.value, dict) and "id" in node.value else None
