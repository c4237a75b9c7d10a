"""What a resolution's report shows besides its steps."""

import io

from rich.console import Console

from riskpolicy.report.resolution import resolution_report
from tests import venue


def shown(result):
    console = Console(file=io.StringIO(), width=120)
    console.print(resolution_report(result, 20))
    return console.file.getvalue()


def test_events_are_shown_with_what_they_book_also_where_nothing_is_due():
    tables = venue.cross([("A", "BTCUSDT", 1, 100), ("B", "BTCUSDT", -1, 100)], {"A": 500, "B": 500}, {"BTCUSDT": 100})
    events = [
        {"kind": "deposit", "account": "A", "currency": "USDT", "amount": 25},
        {"kind": "fill", "account": "B", "instrument": "BTCUSDT", "side": "buy", "quantity": 1, "price": 99},
    ]
    text = shown(venue.evaluate(venue.base(), tables).resolve(events=events))
    lines = [line.split() for line in text.splitlines()]
    assert ["A", "deposit", "25.00", "USDT", "event.deposit"] in lines
    assert ["B", "fill", "-99.00", "USDT", "event.fill"] in lines
    assert "@" not in text
    assert "Nothing is due" in text
    assert "Events" not in shown(venue.evaluate(venue.base(), tables).resolve())
