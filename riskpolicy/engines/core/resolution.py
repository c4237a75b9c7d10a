"""What a resolution says: what happened in which order, who paid, who was closed, what stays unpaid."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from riskpolicy.engines.core.ledger import Ledger
from riskpolicy.engines.core.reasons import Reason
from riskpolicy.numbers import fraction_text, moment_of
from riskpolicy.snapshot.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that happened to a bucket: contracts signed, above zero bought; `amount` is money in its currency."""

    account: str
    step: str
    what: str
    instrument: str | None = None
    quantity: Fraction | None = None
    price: Fraction | None = None
    amount: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Deleveraged:
    """A position closed, whole or in part, against a bankrupt one: its contracts are signed as they were held."""

    account: str
    instrument: str
    quantity: Fraction
    price: Fraction
    against: str
    rule: str
    lost: Fraction


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

    def taken_from(self, account: str | int) -> list[Deleveraged]:
        """Return what deleveraging took from an account."""
        return [d for d in self.deleveraged if d.account == str(account)]

    def explain(self, account: str | int) -> Reason:
        """Return the whole chain of one account as reasons."""
        name = str(account)
        lines = [Reason(_sentence(done), done.step) for done in self.steps if done.account == name]
        lines += [
            Reason(f"{layer} pays {fraction_text(amount)} {currency}", rule)
            for layer, currency, amount, rule, of in self.draws
            if of == name
        ]
        lines += [
            Reason(
                f"deleveraged: {fraction_text(abs(d.quantity))} {d.instrument} closed at {fraction_text(d.price)} "
                f"against {d.against}, {fraction_text(d.lost)} less than at the mark",
                d.rule,
            )
            for d in self.taken_from(name)
        ]
        head = (
            f"account {name}: {len(lines)} event{'' if len(lines) == 1 else 's'}"
            if lines
            else f"account {name}: nothing"
        )
        return Reason(head, None, tuple(lines))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON: money and prices as decimal text, ledger amounts as quanta."""
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
            "residual": {currency: _text(amount) for currency, amount in self.residual.items()},
            "waiting": self.waiting,
            "resumes_at": {name: moment_of(at).isoformat() for name, at in self.resumes.items()},
            "ledger": list(self.ledger.rows()),
        }


def _text(value: Fraction) -> str:
    return fraction_text(value).lstrip("~")


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
