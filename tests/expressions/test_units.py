"""Units follow the field's arithmetic, and what does not fit is refused at its place."""

import pytest

from riskpolicy.expressions.syntax import parse
from riskpolicy.expressions.units import MONEY, PRICE, RATIO, UNITS, Unit, UnitCheck

SCOPE = {"cash": MONEY, "mark": PRICE, "size": UNITS["contracts"], "lev": RATIO, "settle": MONEY}


def checked(text):
    check = UnitCheck(SCOPE)
    return check.unit(parse(text)), [(f.at, f.message) for f in check.faults]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("cash / lev", MONEY),
        ("cash / cash", RATIO),
        ("2 * cash", MONEY),
        ("1 / cash", Unit(money=-1)),
        ("mark * size", Unit(price=1, contracts=1)),
        ("max(0, cash)", MONEY),
        ("max(cash, 0, 5 * settle)", MONEY),
        ("cash if lev > 1 else 0", MONEY),
        ("0 if lev > 1 else cash", MONEY),
        ("-abs(cash)", MONEY),
        ("0", None),
        ("0 * cash", None),
        ("cash * 0 + lev", RATIO),
        ("lev + 1", RATIO),
    ],
)
def test_units(text, unit):
    assert checked(text) == (unit, [])


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("cash + 1", 7, "`+` joins money and a ratio"),
        ("cash < mark", 7, "`<` joins money and price"),
        ("max(1, cash)", 7, "`max` joins a ratio and money"),
        ("cash if lev > 1 else lev", 21, "the conditional joins money and a ratio"),
        ("cash * cash - cash", 14, "`-` joins money^2 and money"),
        ("cash / mark == lev", 15, "`==` joins money / price and a ratio"),
        ("not (cash > 1)", 12, "`>` joins money and a ratio"),
        ("lev > 1 and cash > 1", 19, "`>` joins money and a ratio"),
    ],
)
def test_units_that_do_not_fit(text, at, message):
    assert checked(text)[1] == [(at, message)]
