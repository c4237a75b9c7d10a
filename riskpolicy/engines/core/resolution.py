"""What a resolution says: what happened in which order, who paid, who was closed, what stays unpaid."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

from riskpolicy.engines.core.ledger import Ledger
from riskpolicy.engines.core.reasons import Reason
from riskpolicy.errors import Finding, QueryError, one_of, suggestion
from riskpolicy.numbers import fraction_text, moment_of
from riskpolicy.plan.plan import Regime
from riskpolicy.snapshot.snapshot import Snapshot


class Done(NamedTuple):
    """One thing that happened to a bucket: contracts signed, above zero bought; `amount` is money in its currency."""

    account: str
    step: str
    what: str
    instrument: str | None = None
    quantity: Fraction | None = None
    price: Fraction | None = None
    amount: Fraction | None = None


class Deleveraged(NamedTuple):
    """A position closed, whole or in part, against a bankrupt one: its contracts are signed as they were held."""

    account: str
    instrument: str
    quantity: Fraction
    price: Fraction
    against: str
    rule: str
    lost: Fraction


class Skipped(NamedTuple):
    """Somebody opposite to a bankrupt position from whom nothing was taken, and why."""

    account: str
    instrument: str
    against: str
    why: str


class Warned(Protocol):
    """A bucket that a funding payment pushes towards liquidation: see engines.funding.FundingWarning."""

    @property
    def account(self) -> str:
        """Whose bucket it is."""
        ...

    @property
    def payment(self) -> Fraction:
        """Money of its currency, below zero where it pays."""
        ...

    @property
    def ratio_after(self) -> Fraction | float:
        """Maintenance margin over equity after it."""
        ...


@dataclass
class Resolution:
    """What happened, in order; who paid; what nobody paid; and the snapshot after it, which can be evaluated again.

    `waiting` are the accounts that are not healthy and hold contracts still; `resumes` says from when on, in seconds
    since 1970, their rules let them go on, where these say.
    """

    steps: list[Done] = field(default_factory=list)
    draws: list[tuple[str, str, Fraction, str, str]] = field(default_factory=list)
    deleveraged: list[Deleveraged] = field(default_factory=list)
    residual: dict[str, Fraction] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=lambda: Ledger({}))
    after: Snapshot | None = None
    waiting: list[str] = field(default_factory=list)
    resumes: dict[str, Fraction] = field(default_factory=dict)
    whys: dict[tuple[str, str], list[tuple[Fraction, str]]] = field(default_factory=dict)
    regime: Regime | None = None
    skipped: list[Skipped] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    plugins: dict[str, str] = field(default_factory=dict)

    def taken_from(self, account: str | int) -> list[Deleveraged]:
        """Return what deleveraging took from an account."""
        return [d for d in self.deleveraged if d.account == str(account)]

    def explain(self, account: str | int) -> Reason:
        """Return the whole chain of one account as reasons."""
        name = str(account)
        lines = [Reason(_sentence(done), done.step) for done in self.steps if done.account == name]
        lines += self._draws_of(name)
        lines += [
            Reason(
                f"deleveraged: {fraction_text(abs(d.quantity))} {d.instrument} closed at {fraction_text(d.price)} "
                f"against {d.against}, {fraction_text(d.lost)} less than at the mark",
                d.rule,
            )
            for d in self.taken_from(name)
        ]
        lines += [
            Reason(f"not deleveraged in {s.instrument} against {s.against}: {s.why}", "deleveraging.take")
            for s in self.skipped
            if s.account == name
        ]
        lines += [
            Reason(
                f"funding of {fraction_text(w.payment)} takes its margin ratio to {float(w.ratio_after):.4g}", "funding"
            )
            for w in self.warnings
            if w.account == name
        ]
        head = (
            f"account {name}: {len(lines)} event{'' if len(lines) == 1 else 's'}"
            if lines
            else f"account {name}: nothing"
        )
        return Reason(head, None, tuple(lines))

    def explain_draw(self, layer: str) -> Reason:
        """Return what a layer, by its name or rule, paid for whom and why no more; QueryError for an unknown one."""
        rules = {rule for rule, _ in self.whys} | {rule for _, _, _, rule, _ in self.draws}
        shown = {name: rule for name, _, _, rule, _ in self.draws}
        found = next((r for r in sorted(rules) if layer in (r, r.removeprefix("waterfall."))), shown.get(layer))
        if found is None:
            names = sorted({*shown, *(r.removeprefix("waterfall.") for r in rules)})
            hint = suggestion(layer, names) or (
                f"layers that were asked: {one_of(names)}" if names else "none was asked"
            )
            raise QueryError(Finding("unknown_id", f"no layer `{layer}` was asked to pay", hint))
        # A fund that takes over has lost by a step what its layer shows.
        names_of = {name for name, _, _, rule, _ in self.draws if rule == found} or {found.removeprefix("waterfall.")}
        total: dict[str, Fraction] = {}
        by = {found}
        for name, currency, amount, rule, _ in self.draws:
            if rule == found or name in names_of:
                total[currency] = total.get(currency, Fraction(0)) + amount
                by.add(rule)
        lines = [
            Reason(f"{account}: {_why(amount, why)}", rule)
            for (rule, account), told in self.whys.items()
            if rule in by
            for amount, why in told
        ]
        paid = " and ".join(f"{fraction_text(x)} {c}" for c, x in sorted(total.items())) or "nothing"
        return Reason(f"{found.removeprefix('waterfall.')} pays {paid}", found, tuple(lines))

    def _draws_of(self, name: str) -> list[Reason]:
        """Return who paid for an account, and who was asked and did not, in the order of the waterfall."""
        paid: dict[str, list[str]] = {}
        for layer, currency, amount, rule, of in self.draws:
            if of == name:
                paid.setdefault(rule, []).append(f"{layer} pays {fraction_text(amount)} {currency}")
        told = {rule: whys for (rule, of), whys in self.whys.items() if of == name}
        lines = []
        for rule in dict.fromkeys([*(r for r in paid if r not in told), *told]):
            why = tuple(Reason(words, rule) for amount, words in told.get(rule, ()) if amount)
            heads = paid.get(rule) or [f"{rule.removeprefix('waterfall.')} pays nothing: {told[rule][0][1]}"]
            lines += [Reason(head, rule, why) for head in heads]
        if self.regime is not None and lines:
            lines += [Reason(text, "regime") for text in _quoted(self.regime)]
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON: money as decimal text, ledger amounts in quanta of `quantum`."""
        return {
            "steps": [_plain_step(done) for done in self.steps],
            "draws": [
                {"layer": layer, "currency": currency, "amount": _text(amount), "rule": rule, "account": account}
                for layer, currency, amount, rule, account in self.draws
            ],
            "deleveraged": [
                {
                    "account": d.account,
                    "instrument": d.instrument,
                    "quantity": float(d.quantity),
                    "price": float(d.price),
                    "against": d.against,
                    "lost": _text(d.lost),
                    "rule": d.rule,
                }
                for d in self.deleveraged
            ],
            "skipped": [
                {"account": s.account, "instrument": s.instrument, "against": s.against, "why": s.why}
                for s in self.skipped
            ],
            "warnings": [
                {"account": w.account, "payment": _text(w.payment), "margin_ratio_after": float(w.ratio_after)}
                for w in self.warnings
            ],
            "residual": {currency: _text(amount) for currency, amount in self.residual.items()},
            "plugins": self.plugins,
            "regime": _plain_regime(self.regime),
            "waiting": self.waiting,
            "resumes_at": {name: moment_of(at).isoformat() for name, at in self.resumes.items()},
            "quantum": {currency: _text(quantum) for currency, quantum in self.ledger.quantum.items()},
            "ledger": list(self.ledger.rows()),
        }


def _why(amount: Fraction, why: str) -> str:
    return f"{fraction_text(amount)}, {why}" if amount else f"nothing: {why}"


def _quoted(regime: Regime) -> list[str]:
    """Return what a regime says, as sentences."""
    out = [f"no layer may touch {word.replace('_', ' ')} of others" for word in regime.protects]
    if regime.recourse is not None:
        owes = {"none": "nothing", "limited": "no more than the ruleset says", "full": "all of what it lacks"}
        out.append(f"beyond its margin the account owes {owes[regime.recourse]}: recourse is {regime.recourse}")
    return out if regime.insolvency is None else [*out, f"if the venue is insolvent: {regime.insolvency}"]


def _text(value: Fraction) -> str:
    return fraction_text(value).lstrip("~")


def _plain_regime(regime: Regime | None) -> dict[str, Any] | None:
    if regime is None:
        return None
    return {"protects": list(regime.protects), "insolvency": regime.insolvency, "recourse": regime.recourse}


def _plain_step(done: Done) -> dict[str, Any]:
    row: dict[str, Any] = {"account": done.account, "rule": done.step, "what": done.what, "instrument": done.instrument}
    row["quantity"] = None if done.quantity is None else float(done.quantity)
    row["price"] = None if done.price is None else float(done.price)
    row["amount"] = None if done.amount is None else _text(done.amount)
    return row


def _sentence(done: Done) -> str:
    parts = [done.what]
    if done.quantity is not None and done.instrument is not None:
        verb = "bought" if done.quantity > 0 else "sold"
        parts.append(f"{verb} {fraction_text(abs(done.quantity))} {done.instrument}")
    if done.price is not None:
        parts.append(f"at {fraction_text(done.price)}")
    if done.amount is not None:
        parts.append(f"{fraction_text(done.amount)}")
    return " ".join(parts)
