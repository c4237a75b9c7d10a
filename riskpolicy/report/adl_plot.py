"""Policies compared as a picture: what each takes of every candidate, in the order of the queue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from riskpolicy.engines.adl_metrics import Outcome, Share, haircuts
from riskpolicy.engines.comparison import Comparison, Run
from riskpolicy.report.adl import money, percent
from riskpolicy.report.text import price, quantity

WIDTH, NAME, PANEL, GAP, BARS = 960, 170, 64, 14, 760
#: More candidates than this are drawn in as many groups, each as high as its largest.
MOST = 190
#: Names longer than this are cut.
LONGEST = 21


def comparison_svg(comparisons: Sequence[Comparison]) -> str:
    """Return the picture: a strip a policy, a bar a candidate from rank 1 on, as high as the share it gives.

    The share is of its contracts, or of its profit where no contract closes.
    """
    strips, y = [], 30
    for c in comparisons:
        strips.append(
            _text(10, y, f"{c.currency}: share of its contracts that each candidate gives, from rank 1 on", "head")
        )
        strips.append(
            _text(10, y + 16, f"{_events(c)}; of a haircut on profit, the share of its profit{_groups(c)}", "note")
        )
        y += 30
        for run, row in zip(c.runs, c.rows, strict=True):
            note = f"{money(float(row.budget))} raised, {row.giving} of {row.candidates} give"
            largest = "" if not row.giving else f"largest haircut on profit {_percent(row.largest_haircut)}"
            name = run.policy if len(run.policy) <= LONGEST else run.policy[: LONGEST - 1] + "…"
            strips += [_text(10, y + 26, name, "name", title=run.policy), _text(10, y + 44, note, "note")]
            strips += [_text(10, y + 58, largest, "note"), *_strip(run, y)]
            y += PANEL + GAP
        y += 20
    style = (
        "text{font-family:sans-serif;fill:#222}.head{font-size:14px;font-weight:bold}.name{font-size:13px}"
        ".note{font-size:10px;fill:#666}.bar{fill:#3b6ea8}.base{stroke:#999;stroke-width:1}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">'
    ground = f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>'
    return "\n".join([head, f"<style>{style}</style>", ground, *strips, "</svg>"]) + "\n"


def _strip(run: Run, y: int) -> list[str]:
    shares = [share for side in run.sides for share in _shares(side)]
    size = math.ceil(len(shares) / MOST)
    shares = [max(shares[k : k + size]) for k in range(0, len(shares), size)] if size > 1 else shares
    width = BARS / max(len(shares), 1)
    left, base = NAME + 10, y + PANEL
    out = [f'<line class="base" x1="{left}" y1="{base}" x2="{left + BARS}" y2="{base}"/>']
    out += [_text(left - 4, y + 10, "100 %", "note", end=True), _text(left - 4, base, "0", "note", end=True)]
    for k, share in enumerate(shares):
        high = share * PANEL
        if high > 0:
            place = f'x="{left + k * width:.2f}" y="{base - high:.2f}"'
            size_ = f'width="{max(width * 0.8, 0.5):.2f}" height="{high:.2f}"'
            out.append(f'<rect class="bar" {place} {size_}><title>{share:.2%}</title></rect>')
    return out


def _events(c: Comparison) -> str:
    """Return what was asked for: the one event, or how many."""
    if len(c.events) != 1:
        return f"{len(c.events):,} events"
    of = c.events[0]
    return f"{quantity(float(of.contracts))} {of.instrument} of {of.side}s at {price(float(of.price))}"


def _groups(c: Comparison) -> str:
    many = max((row.candidates for row in c.rows), default=0)
    size = math.ceil(many / MOST)
    return f"; a bar is the largest of {size} candidates" if size > 1 else ""


def _percent(share: Share) -> str:
    return "infinite" if math.isinf(share) else percent(float(share))


def _shares(side: Outcome) -> list[float]:
    given = haircuts(side, "contracts") if any(side.closed) else haircuts(side)
    return [min(1.0, float(share)) for share in given]


def _text(x: float, y: float, text: str, kind: str, *, end: bool = False, title: str = "") -> str:
    anchor = ' text-anchor="end"' if end else ""
    whole = f"<title>{escape(title)}</title>" if title and title != text else ""
    return f'<text class="{kind}" x="{x}" y="{y}"{anchor}>{whole}{escape(text)}</text>'
