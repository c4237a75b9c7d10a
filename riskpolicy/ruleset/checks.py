"""What the shape cannot say: ids are unique, references lead somewhere, the waterfall ends."""

from __future__ import annotations

from collections.abc import Iterable

from riskpolicy.errors import Finding, one_of, suggestion
from riskpolicy.ruleset.document import Document, Steps
from riskpolicy.ruleset.liquidation import ImmediateOrCancel, LowerTier, MarketOrder, Takeover
from riskpolicy.ruleset.ruleset import Ruleset
from riskpolicy.ruleset.tiers import read_tiers
from riskpolicy.ruleset.waterfall import DEFAULTER, DELEVERAGING, RESIDUAL, SOCIALIZATION


def check_ruleset(ruleset: Ruleset, document: Document) -> list[Finding]:
    """Return every fault in how the parts of a ruleset fit each other, in file order."""
    check = _Check(document)
    _ids(check, ruleset)
    _references(check, ruleset)
    _waterfall(check, ruleset)
    for index, table in enumerate(ruleset.margin.tiers):
        check.findings += read_tiers(table, index, document)[1]
    if ruleset.valid_until is not None and ruleset.valid_until <= ruleset.valid_from:
        check.fault("validity_order", "valid_until is not later than valid_from", "", ("valid_until",))
    return sorted(check.findings, key=lambda f: (f.place.line, f.place.column) if f.place else (0, 0))


class _Check:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.findings: list[Finding] = []

    def fault(self, code: str, message: str, hint: str, path: Steps) -> None:
        self.findings.append(Finding(code, message, hint, self.document.value_place(path)))

    def unique(self, what: str, ids: Iterable[tuple[str, Steps]]) -> None:
        seen: dict[str, Steps] = {}
        for name, path in ids:
            if name in seen:
                line = self.document.value_place(seen[name]).line
                self.fault("duplicate_id", f"{what} `{name}` is there already, in line {line}", "rename one", path)
            seen.setdefault(name, path)

    def refers(self, what: str, name: str, known: Iterable[str], path: Steps) -> None:
        names = list(known)
        if name not in names:
            hint = suggestion(name, names) or (f"known: {one_of(names)}" if names else f"no {what} is declared")
            self.fault("unknown_reference", f"no {what} `{name}`", hint, path)


def _ids(check: _Check, ruleset: Ruleset) -> None:
    groups = ruleset.instruments
    check.unique("fund", ((f.id, ("funds", i, "id")) for i, f in enumerate(ruleset.funds)))
    check.unique("tier table", ((t.id, ("margin", "tiers", i, "id")) for i, t in enumerate(ruleset.margin.tiers)))
    check.unique("step", ((s.id, ("liquidation", "steps", i, "id")) for i, s in enumerate(ruleset.liquidation.steps)))
    check.unique("layer", ((w.id, ("waterfall", i, "id")) for i, w in enumerate(ruleset.waterfall)))
    symbols = [(s, ("instruments", i, "symbols", j)) for i, g in enumerate(groups) for j, s in enumerate(g.symbols)]
    aliases = [
        (name, ("instruments", i, "aliases", symbol, j))
        for i, g in enumerate(groups)
        for symbol, names in g.aliases.items()
        for j, name in enumerate(names)
    ]
    check.unique("instrument", [*symbols, *aliases])


def _references(check: _Check, ruleset: Ruleset) -> None:
    currencies, funds = ruleset.currencies, [f.id for f in ruleset.funds]
    tables = [t.id for t in ruleset.margin.tiers]
    for i, fund in enumerate(ruleset.funds):
        check.refers("currency", fund.currency, currencies, ("funds", i, "currency"))
    if ruleset.margin.collateral is not None:
        check.refers("currency", ruleset.margin.collateral.currency, currencies, ("margin", "collateral", "currency"))
    for i, group in enumerate(ruleset.instruments):
        check.refers("currency", group.settle, currencies, ("instruments", i, "settle"))
        check.refers("tier table", group.tiers, tables, ("instruments", i, "tiers"))
        if group.fund is not None:
            check.refers("fund", group.fund, funds, ("instruments", i, "fund"))
        for symbol in group.aliases:
            check.refers("symbol", symbol, group.symbols, ("instruments", i, "aliases", symbol))
    for i, step in enumerate(ruleset.liquidation.steps):
        if isinstance(step, Takeover):
            check.refers("fund", step.by, funds, ("liquidation", "steps", i, "by"))
        if isinstance(step, ImmediateOrCancel | MarketOrder | LowerTier) and step.fee_to is not None:
            check.refers("fund", step.fee_to, funds, ("liquidation", "steps", i, "fee_to"))


def _waterfall(check: _Check, ruleset: Ruleset) -> None:
    layers = ruleset.waterfall
    payers = [DEFAULTER, *(f.id for f in ruleset.funds), DELEVERAGING, SOCIALIZATION, RESIDUAL]
    for i, layer in enumerate(layers):
        check.refers("payer", layer.pays, payers, ("waterfall", i, "pays"))
        if layer.pays == RESIDUAL and i < len(layers) - 1:
            message = f"layer `{layer.id}` pays the residual, so nothing after it can pay"
            check.fault("waterfall_without_end", message, "move it to the end", ("waterfall", i))
        earlier = [k for k, other in enumerate(layers[:i]) if layer.group is not None and other.group == layer.group]
        if earlier and earlier[-1] != i - 1:
            message = f"layer `{layer.id}` is in group `{layer.group}`, which ended before it"
            check.fault("waterfall_group", message, "put the layers of a group next to each other", ("waterfall", i))
        if layer.group is not None and layer.pays in (DEFAULTER, DELEVERAGING, SOCIALIZATION, RESIDUAL):
            message = f"layer `{layer.id}` pays by {layer.pays}, which shares with nobody"
            check.fault("waterfall_group", message, "only funds form groups", ("waterfall", i, "group"))
        if layer.pays == DELEVERAGING and ruleset.deleveraging is None:
            message = f"layer `{layer.id}` pays by deleveraging, which the ruleset does not declare"
            check.fault("unknown_reference", message, "add `deleveraging:`", ("waterfall", i, "pays"))
    if layers[-1].pays != RESIDUAL:
        hint = "end with `{id: end, pays: residual}`; its amount is what nobody paid"
        check.fault("waterfall_without_end", "the waterfall has no end", hint, ("waterfall", len(layers) - 1))
