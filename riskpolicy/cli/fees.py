"""riskpolicy fees: what a day's volume brings in, who gets it, and how long a fund takes to be whole again."""

from __future__ import annotations

from fractions import Fraction

import click

from riskpolicy.cli.common import allowed, format_option, plugin_option, ruleset_argument, show, show_json
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.fees import Kind, fee_report, fees_of, flows_of
from riskpolicy.engines.funding import FundingWarning, funding_warnings
from riskpolicy.engines.funds import FundLine, daily_notional, fund_report
from riskpolicy.errors import Finding, QueryError, one_of
from riskpolicy.numbers import NumberError, exact, parse_decimal
from riskpolicy.plan.plan import OF_INSTRUMENT, Plan
from riskpolicy.policy import load
from riskpolicy.report.fees import fees_dict, fees_text, warning_dict
from riskpolicy.snapshot import Snapshot


@click.command()
@ruleset_argument
@click.option(
    "--volume", "volumes", multiple=True, metavar="[KIND[:TIER]=]AMOUNT",
    help="Notional traded in a day. KIND is maker or taker, without it both; TIER a fee tier, without it the first. "
    "May be repeated. Without any, the daily volume of the snapshot.",
)  # fmt: skip
@click.option("--liquidated", default="0", metavar="AMOUNT", help="Notional liquidated in a day.")
@click.option("--draw", "draws", multiple=True, metavar="[FUND=]AMOUNT", help="What was taken from a fund.")
@click.option("--trade-size", metavar="AMOUNT", help="Notional of one trade, for caps of the split.")
@click.option("--currency", help="What fees are paid in; the first fund's of the split, else the first instrument's.")
@click.option(
    "--snapshot", "source", type=click.Path(exists=True), help="Show funds, riders and funding warnings of it."
)
@format_option
@plugin_option
def fees(
    ruleset: str, volumes: tuple[str, ...], liquidated: str, draws: tuple[str, ...], trade_size: str | None,
    currency: str | None, source: str | None, format_: str, plugins: tuple[str, ...],
) -> None:  # fmt: skip
    """Show the fees of a day under RULESET: by kind and tier, by receiver, and how long they take to refill a fund.

    Exit status 0: done; 2: unusable input.
    """
    read = None if source is None else Snapshot.of(source)
    policy = load(ruleset, None if read is None else read.as_of, plugins=allowed(plugins))
    plan = policy.plan
    evaluation = None if read is None else policy.evaluate(read)
    lines, warnings = _of_snapshot(evaluation)
    found = dict[tuple[Kind, str | None], Fraction]()
    for text in volumes:
        for key, notional in _volume(text).items():
            found[key] = found.get(key, Fraction(0)) + notional
    lacks = {line.fund: line.lack for line in lines if line.lack}
    for text in draws:
        name, _, number = text.rpartition("=")
        name = name or _fed(plan)
        lacks[name] = lacks.get(name, Fraction(0)) + _number(number, "--draw")
    currency = currency or _currency(plan)
    if not volumes and evaluation is not None:
        traded = daily_notional(evaluation, currency)
        found = {} if traded is None else {("maker", None): traded, ("taker", None): traded}
    report = fee_report(
        plan, flows_of(plan, found, _number(liquidated, "--liquidated")), currency,
        trade_size=None if trade_size is None else _number(trade_size, "--trade-size"), lacks=lacks,
    )  # fmt: skip
    if format_ == "json":
        more = {"funds": [line.to_dict() for line in lines], "warnings": [warning_dict(w) for w in warnings]}
        show_json({"ruleset": f"{plan.id}@{plan.valid_from.date()}", **fees_dict(report), **more})
        return
    show(fees_text(report, lines, warnings))


def _of_snapshot(evaluation: Evaluation | None) -> tuple[list[FundLine], list[FundingWarning]]:
    return ([], []) if evaluation is None else (fund_report(evaluation), funding_warnings(evaluation))


def _volume(text: str) -> dict[tuple[Kind, str | None], Fraction]:
    """Return the volumes that `taker:vip=1000`, `taker=1000` or `1000` writes: the last one is both made and taken."""
    key, _, number = text.rpartition("=")
    kind, _, tier = key.partition(":")
    notional = _number(number, "--volume")
    kinds: dict[str, tuple[Kind, ...]] = {"": ("maker", "taker"), "maker": ("maker",), "taker": ("taker",)}
    if kind not in kinds:
        raise QueryError(Finding("unknown_choice", f"--volume `{text}`: `{kind}` is no kind of fee", "maker or taker"))
    return {(k, tier or None): notional for k in kinds[kind]}


def _number(text: str, option: str) -> Fraction:
    try:
        value = exact(parse_decimal(text.strip().replace(",", "").replace("_", "")))
    except NumberError as error:
        raise QueryError(Finding("wrong_type", f"{option}: {error}", "write a number, such as 1000000")) from None
    if value < 0:
        raise QueryError(Finding("negative", f"{option}: `{text}` is below zero", "amounts are unsigned"))
    return value


def _fed(plan: Plan) -> str:
    """Return the one fund that fees go to; QueryError where there are several, or none."""
    rules = fees_of(plan)
    numbers = {part.fund for part in rules.split} | {rules.residue_fund} | {s.fee_to for s in plan.steps if s.fee}
    if OF_INSTRUMENT in numbers:
        numbers |= set(plan.instruments.fund)
    names = [plan.funds[number].id for number in sorted(numbers - {-1, OF_INSTRUMENT})]
    if len(names) != 1:
        funds = [f.id for f in plan.funds]
        hint = (
            f"write FUND=AMOUNT; funds: {one_of(funds)}" if funds else "the ruleset has no fund that could be drawn on"
        )
        raise QueryError(Finding("unknown_id", f"--draw: {len(names)} funds get fees", hint))
    return names[0]


def _currency(plan: Plan) -> str:
    rules = fees_of(plan)
    funds = [part.fund for part in rules.split if part.fund >= 0]
    number = plan.funds[funds[0]].currency if funds else int(plan.instruments.currency[0])
    return plan.currencies[number]
