"""riskpolicy adl compare: its table within 100 columns, its JSON, its picture, and what it refuses."""

import json
from xml.etree import ElementTree

import pytest

import riskpolicy as rp
from riskpolicy.engines.policies import known
from riskpolicy.hooks import Allocation
from tests.venue import base, cross, text

BOOK = cross(
    [("A", "BTCUSDT", 10, 100), ("W", "BTCUSDT", -6, 120), ("V", "BTCUSDT", -30, 100), ("L", "BTCUSDT", 26, 50)],
    {"A": 60, "W": 100, "V": 500, "L": 1000},
    {"BTCUSDT": 90},
)


@pytest.fixture
def files(tmp_path):
    ruleset, snapshot = tmp_path / "venue.yaml", tmp_path / "crash.json"
    ruleset.write_text(text(base()))
    snapshot.write_text(json.dumps(BOOK))
    return ruleset, snapshot


def test_the_table_has_a_row_a_policy_and_fits(run, files):
    status, out, err = run("adl", "compare", *files)
    assert (status, err) == (0, "")
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 100
    assert "10 BTCUSDT of shorts at 94" in out
    first = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert [word for word in first if word in known()] == known() * 2


def test_json_has_every_metric(run, files):
    status, out, _ = run("adl", "compare", *files, "--policies", "queue, pro_rata", "--format", "json")
    (comparison,) = json.loads(out)["comparisons"]
    assert status == 0
    (event,) = comparison["events"]
    assert event == {
        "instrument": "BTCUSDT", "side": "short", "contracts": 10.0, "price": 94.0, "mark_price": 90.0, "deficit": "40",
    }  # fmt: skip
    queue, pro_rata = comparison["policies"]
    # W gives its 6 contracts at 4 each, 24 of a profit of 180; V gives 4, 16 of 300.
    expected = {
        "policy": "queue", "budget": "40", "needed": "40", "overshoot": "0", "undershoot": "0", "residual": "0",
        "candidates": 2, "giving": 2, "participation": 1.0, "rank_inversions": 0, "largest_closed": 1.0,
        "top_survivor": "284", "top_survivor_over_covered": 7.1, "top_survivor_over_uncovered": None, "tracking": "0",
        "fairness": "0", "path_variation": "0",
    }  # fmt: skip
    assert {k: queue[k] for k in expected} == expected
    assert queue["largest_haircut"] == pytest.approx(24 / 180)
    assert pro_rata["largest_haircut"] == pytest.approx(40 / 480)
    assert float(pro_rata["fairness"]) == pytest.approx(40 * (24 / 180 - 40 / 480))


def test_an_event_that_is_supposed(run, files):
    more = ("--instrument", "BTCUSDT", "--side", "short", "--policies", "queue", "--format", "json")
    _, out, _ = run("adl", "compare", *files, *more, "--budget", "100", "--price", "100")
    (comparison,) = json.loads(out)["comparisons"]
    assert comparison["events"][0]["contracts"] == 10
    assert comparison["policies"][0]["budget"] == "100"
    _, out, _ = run("adl", "compare", *files, *more, "--quantity", "36")
    assert json.loads(out)["comparisons"][0]["events"][0]["price"] == 90.9


def test_a_severity_asks_for_a_part_of_each_event(run, files):
    more = ("--policies", "queue,profit_haircut", "--format", "json", "--accounts")
    _, out, _ = run("adl", "compare", *files, *more, "--severity", "static:start=50%")
    queue, haircut = json.loads(out)["comparisons"][0]["policies"]
    # Half of 10 contracts at 4 each, and half of a deficit of 40 from profits of 180 and 300.
    assert (queue["budget"], queue["undershoot"], queue["severities"]) == ("20", "20", [0.5])
    assert queue["allocations"] == [
        {
            "given": [{"account": "W", "contracts": 5.0}],
            "remaining": 5.0,
            "skipped": [{"account": "V", "why": "not reached"}],
        }
    ]
    assert haircut["allocations"] == [
        {"given": [{"account": "W", "paid": "7.5"}, {"account": "V", "paid": "12.5"}], "remaining": "20", "skipped": []}
    ]


def test_the_ruleset_s_own_policy_and_a_plugin_s_are_compared(run, files, install):
    class First:
        @rp.hookimpl
        def allocate_adl(self, demand, candidates):
            given = [demand.contracts if c.account == "V" else 0 for c in candidates]
            return Allocation(tuple(given), tuple(None if g else "not V" for g in given), 0)

    install("first", First())
    written = base()
    written["deleveraging"]["take"] |= {"rule": "capped_pro_rata", "parameters": {"most": "5%"}}
    files[0].write_text(text(written))
    more = ("--policies", "ruleset,plugin:first,capped_pro_rata:most=5%", "--format", "json", "--accounts")
    _, out, _ = run("adl", "compare", *files, *more)
    ruleset, plugin, named = json.loads(out)["comparisons"][0]["policies"]
    # 5 % of profits of 180 and 300.
    assert float(ruleset["budget"]) == 24
    assert {**ruleset, "policy": named["policy"], "fairness": ""} == {**named, "fairness": ""}
    assert plugin["allocations"][0]["given"] == [{"account": "V", "contracts": 10.0}]
    _, out, _ = run("adl", "compare", *files, "--policies", "plugin:first,queue,profit_haircut", "--accounts")
    assert "plugin:first    V 10" in out
    assert "queue           W 6, V 4" in out
    assert "profit_haircut  V 25.00, W 15.00 (money)" in out


def test_the_severity_of_the_ruleset_counts_without_another(run, files):
    written = base()
    written["deleveraging"]["severity"] = {"rule": "back_off", "start": "40%"}
    files[0].write_text(text(written))
    more = ("--policies", "queue", "--format", "json")
    for option, share in (((), 0.4), (("--severity", "static"), 1.0)):
        _, out, _ = run("adl", "compare", *files, *more, *option)
        assert json.loads(out)["comparisons"][0]["policies"][0]["severities"] == [share]


def test_a_picture(run, files, tmp_path):
    picture = tmp_path / "out.svg"
    status, _, err = run("adl", "compare", *files, "--policies", "queue,profit_haircut", "--plot", picture)
    assert status == 0
    assert str(picture) in err
    root = ElementTree.parse(picture).getroot()
    names = [e.text for e in root.iter() if e.get("class") == "name"]
    bars = [e for e in root.iter() if e.get("class") == "bar"]
    assert names == ["queue", "profit_haircut"]
    assert [bar[0].text for bar in bars] == ["100.00%", "13.33%", "8.33%", "8.33%"]


def test_nothing_to_deleverage(run, files):
    calm = {**BOOK, "markets": [{"instrument": "BTCUSDT", "mark_price": 100}]}
    files[1].write_text(json.dumps(calm))
    status, out, _ = run("adl", "compare", *files)
    assert status == 0
    assert "No bucket is bankrupt" in out
    assert json.loads(run("adl", "compare", *files, "--format", "json")[1]) == {"comparisons": [], "plugins": {}}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--policies", "queu"), "did you mean `queue`?"),
        (("--policies", ","), "--policies names none"),
        (("--quantity", "5"), "say its --instrument"),
        (("--instrument", "BTCUSDT", "--quantity", "5"), "say --side"),
        (("--instrument", "BTCUSDT", "--side", "long"), "one of --quantity and --budget"),
        (("--instrument", "BTCUSDT", "--side", "long", "--quantity", "-5"), "--quantity must be a number above zero"),
        (("--instrument", "ETHUSDT", "--side", "long", "--quantity", "5"), "the ruleset has no instrument `ETHUSDT`"),
        (("--reference", "quee"), "did you mean `queue`?"),
        (("--plot", "/no/such/folder/x.svg"), "cannot write `/no/such/folder/x.svg`"),
        (("--policies", "plugin:nobody"), "no installed plugin is called `nobody`"),
        (("--severity", "backoff"), "did you mean `back_off`?"),
        (("--severity", "static:start=2"), "`start` is 2, not a number from 0 to 1"),
        (("--severity", "static:start=10%:least=0.2"), "least <= start <= most"),
        (("--severity", "back_off:factor"), "write NAME:parameter=value"),
    ],
)
def test_what_it_refuses(run, files, options, words):
    status, out, err = run("adl", "compare", *files, *options)
    assert (status, out) == (2, "")
    assert words in err
