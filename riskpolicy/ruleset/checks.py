"""What the shape cannot say: ids are unique, references lead somewhere, the waterfall ends."""

from __future__ import annotations

from collections.abc import Iterable

from riskpolicy.errors import Finding, one_of, suggestion
from riskpolicy.ruleset.document import Document, Steps
from riskpolicy.ruleset.fees import Fees
from riskpolicy.ruleset.liquidation import Auction, ImmediateOrCancel, LowerTier, MarketOrder, Takeover
from riskpolicy.ruleset.ruleset import Ruleset
from riskpolicy.ruleset.tiers import read_tiers
from riskpolicy.ruleset.waterfall import DELEVERAGING, INSTRUMENT_FUND, RESIDUAL, SOCIALIZATION, WORDS, Layer
from riskpolicy.vocabulary import ENGINE_ACCOUNTS


def check_ruleset(ruleset: Ruleset, document: Document) -> list[Finding]:
    """Return every fault in how the parts of a ruleset fit each other, in file order."""
    check = _Check(document)
    _ids(check, ruleset)
    _references(check, ruleset)
    _funds(check, ruleset)
    _waterfall(check, ruleset)
    _take(check, ruleset)
    _severity(check, ruleset)
    _plugins(check, ruleset)
    _regime(check, ruleset)
    if ruleset.fees is not None:
        _fees(check, ruleset, ruleset.fees)
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


def _not_the_engines(check: _Check, name: str, path: Steps) -> None:
    """Refuse a name whose account in the ledger would be one that the engine keeps."""
    if name in ENGINE_ACCOUNTS:
        check.fault("reserved_name", f"the ledger's account `@{name}` is the engine's own", "take another name", path)


def _references(check: _Check, ruleset: Ruleset) -> None:
    currencies, funds = ruleset.currencies, [f.id for f in ruleset.funds]
    tables = [t.id for t in ruleset.margin.tiers]
    for i, fund in enumerate(ruleset.funds):
        check.refers("currency", fund.currency, currencies, ("funds", i, "currency"))
        _not_the_engines(check, fund.id, ("funds", i, "id"))
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
        where: Steps = ("liquidation", "steps", i)
        if isinstance(step, Takeover):
            check.refers("fund", step.by, [*funds, INSTRUMENT_FUND], (*where, "by"))
            _of_instruments(check, ruleset, f"step `{step.id}`", step.by)
        if isinstance(step, ImmediateOrCancel | MarketOrder | LowerTier | Auction) and step.fee_to is not None:
            check.refers("fund", step.fee_to, [*funds, INSTRUMENT_FUND], (*where, "fee_to"))
            _of_instruments(check, ruleset, f"step `{step.id}`", step.fee_to)


def _of_instruments(check: _Check, ruleset: Ruleset, what: str, fund: str) -> None:
    """Refuse `instrument_fund` where an instrument names none."""
    for k, group in enumerate(ruleset.instruments):
        if fund == INSTRUMENT_FUND and group.fund is None:
            message = f"{what} means the funds of instruments; {group.symbols[0]} names none"
            check.fault("unknown_reference", message, "add `fund:` to these instruments", ("instruments", k))


def _waterfall(check: _Check, ruleset: Ruleset) -> None:
    layers = ruleset.waterfall
    payers = [*WORDS, *(f.id for f in ruleset.funds)]
    for i, layer in enumerate(layers):
        check.refers("payer", layer.pays, payers, ("waterfall", i, "pays"))
        if layer.pays == RESIDUAL and i < len(layers) - 1:
            message = f"layer `{layer.id}` pays the residual, so nothing after it can pay"
            check.fault("waterfall_without_end", message, "move it to the end", ("waterfall", i))
        earlier = [k for k, other in enumerate(layers[:i]) if layer.group is not None and other.group == layer.group]
        if earlier and earlier[-1] != i - 1:
            message = f"layer `{layer.id}` is in group `{layer.group}`, which ended before it"
            check.fault("waterfall_group", message, "put the layers of a group next to each other", ("waterfall", i))
        if layer.group is not None and layer.pays in WORDS:
            message = f"layer `{layer.id}` pays by {layer.pays}, which shares with nobody"
            check.fault("waterfall_group", message, "only funds form groups", ("waterfall", i, "group"))
        _caps(check, layer, i, earlier=bool(earlier))
        _of_instruments(check, ruleset, f"layer `{layer.id}`", layer.pays)
        if layer.pays == DELEVERAGING and ruleset.deleveraging is None:
            message = f"layer `{layer.id}` pays by deleveraging, which the ruleset does not declare"
            check.fault("unknown_reference", message, "add `deleveraging:`", ("waterfall", i, "pays"))
    if layers[-1].pays != RESIDUAL:
        hint = "end with `{id: end, pays: residual}`; its amount is what nobody paid"
        check.fault("waterfall_without_end", "the waterfall has no end", hint, ("waterfall", len(layers) - 1))


def _take(check: _Check, ruleset: Ruleset) -> None:
    """Refuse `rule: plugin` without a plugin, and a plugin without it."""
    take = None if ruleset.deleveraging is None else ruleset.deleveraging.take
    if take is None or (take.rule == "plugin") == (take.plugin is not None):
        return
    if take.plugin is None:
        check.fault(
            "take_form", "`rule: plugin` names no plugin", "add `plugin: NAME`", ("deleveraging", "take", "rule")
        )
        return
    message = f"the plugin `{take.plugin}` allocates nothing under `rule: {take.rule}`"
    check.fault("take_form", message, "say `rule: plugin`", ("deleveraging", "take", "plugin"))


def _plugins(check: _Check, ruleset: Ruleset) -> None:
    """Refuse parameters of plugins that the ruleset names nowhere."""
    rules, fees = ruleset.deleveraging, ruleset.fees
    named = {function.plugin for function in ruleset.functions}
    named |= {
        name
        for name in (
            None if rules is None else rules.plugin, None if rules is None else rules.take.plugin,
            None if fees is None else fees.plugin, ruleset.liquidation.execution,
        )
        if name is not None
    }  # fmt: skip
    for name in ruleset.plugins:
        if name not in named:
            message = f"plugin `{name}` has parameters, and no rule names it"
            hint = suggestion(name, sorted(named)) or "name it where its rule stands, or take the parameters out"
            check.fault("unknown_reference", message, hint, ("plugins", name))


def _severity(check: _Check, ruleset: Ruleset) -> None:
    """Refuse bounds that are not in order, or above all of a position."""
    severity = None if ruleset.deleveraging is None else ruleset.deleveraging.severity
    if severity is None:
        return
    for lower, upper in (("least", "start"), ("start", "most")):
        low, high = getattr(severity, lower), getattr(severity, upper)
        if low > high:
            message = f"the severity's `{lower}` is above its `{upper}`"
            path: Steps = ("deleveraging", "severity", lower if lower in severity.model_fields_set else upper)
            check.fault("severity_form", message, "least <= start <= most", path)
    if severity.most > 1:
        message = "the severity asks for more than all of a position"
        check.fault("severity_form", message, "`most` is at most 100%", ("deleveraging", "severity", "most"))


def _caps(check: _Check, layer: Layer, i: int, *, earlier: bool) -> None:
    if layer.group_cap is not None:
        if layer.group is None or earlier:
            message = f"layer `{layer.id}` is not the first of a group"
            check.fault("waterfall_group", message, "state `group_cap` there", ("waterfall", i, "group_cap"))
        if layer.cap is not None and layer.cap > layer.group_cap:
            message = f"the cap of layer `{layer.id}` is above that of its group"
            check.fault("waterfall_group", message, "lower one of the two", ("waterfall", i, "cap"))


def _funds(check: _Check, ruleset: Ruleset) -> None:
    members = [f.id for f in ruleset.funds if f.holds == "members"]
    for i, fund in enumerate(ruleset.funds):
        if (fund.holds == "assessments") != (fund.of is not None and fund.multiple is not None):
            message = f"fund `{fund.id}` holds {fund.holds}: `of` and `multiple` belong to assessments, and only there"
            check.fault("fund_form", message, "say whose contributions are called, and how often", ("funds", i))
        if fund.of is not None:
            check.refers("members' fund", fund.of, members, ("funds", i, "of"))
        if fund.refill is not None and fund.target is None:
            message = f"fund `{fund.id}` has no target to be refilled to"
            check.fault("fund_form", message, "add `target:`", ("funds", i, "refill"))
        if fund.refill is not None and max(fund.refill.below, fund.refill.share) > 1:
            message = f"fund `{fund.id}` is refilled below or by more than all of it"
            check.fault("fund_form", message, "`below` and `share` are at most 100%", ("funds", i, "refill"))
        if fund.staking is not None and fund.holds not in ("staked", "insurance"):
            message = f"fund `{fund.id}` holds {fund.holds}, which nobody stakes"
            check.fault("fund_form", message, "stakes go into a fund that holds `staked` or `insurance`", ("funds", i))
        check.unique("rider", ((r.id, ("funds", i, "riders", k, "id")) for k, r in enumerate(fund.riders)))


def _regime(check: _Check, ruleset: Ruleset) -> None:
    """Refuse layers that touch what the regime protects."""
    if ruleset.regime is None:
        return
    holds = {f.id: f.holds for f in ruleset.funds}
    for i, layer in enumerate(ruleset.waterfall):
        if layer.pays == SOCIALIZATION:
            touched = {"unrealized_profit"} if layer.by == "profit" else {"client_assets", "initial_margin"}
        elif layer.pays == DELEVERAGING:
            touched = {"unrealized_profit"}
        elif layer.pays == INSTRUMENT_FUND:
            touched = {holds[g.fund] for g in ruleset.instruments if g.fund in holds}
        else:
            touched = {holds[layer.pays]} if layer.pays in holds else set()
        wrong = [word for word in ruleset.regime.protects if word in touched]
        if wrong:
            message = f"layer `{layer.id}` touches {one_of(wrong)}, which the regime protects"
            check.fault(
                "regime_protects", message, "take the layer out, or the word from `regime.protects`", ("waterfall", i)
            )


def _fees(check: _Check, ruleset: Ruleset, fees: Fees) -> None:
    check.unique("fee tier", ((t.id, ("fees", "tiers", i, "id")) for i, t in enumerate(fees.tiers)))
    check.unique("part", ((p.id, ("fees", "split", i, "id")) for i, p in enumerate(fees.split)))
    volumes = [t.volume for t in fees.tiers]
    for i, volume in enumerate(volumes):
        if volume != 0 if i == 0 else volume <= volumes[i - 1]:
            message = "the first fee tier begins at a volume of 0" if i == 0 else "the volumes of fee tiers do not rise"
            check.fault("fee_tiers", message, "order the tiers by volume", ("fees", "tiers", i, "volume"))
    for kind in ("maker", "taker", "liquidation", "deleveraging"):
        parts = [(i, p) for i, p in enumerate(fees.split) if kind in p.on and p.of == "fee"]
        total = sum(p.share for _, p in parts)
        if total > 1:
            message = f"the split gives away {total * 100:f}% of a {kind} fee"
            check.fault("fee_split", message, "at most 100%", ("fees", "split", parts[-1][0], "share"))
            break
    for i, part in enumerate(fees.split):
        if part.of == "rest" and part.share > 1:
            message = f"part `{part.id}` takes more than what is left"
            check.fault("fee_split", message, "at most 100%", ("fees", "split", i, "share"))
    receivers: list[tuple[str, Steps]] = [(p.to, ("fees", "split", i, "to")) for i, p in enumerate(fees.split)]
    for name, path in [*receivers, (fees.residue, ("fees", "residue"))]:
        _of_instruments(check, ruleset, "the split", name)
        _not_the_engines(check, name, path)
    if fees.plugin is not None and fees.split:
        check.fault("fee_split", "a plugin splits the fees, or `split` does", "take one out", ("fees", "plugin"))
