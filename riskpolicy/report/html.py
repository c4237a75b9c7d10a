"""Explanations as one HTML page: no script, no network, light and dark."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from riskpolicy.engines.core.reasons import Reason

_STYLE = """
:root { color-scheme: light dark; --dim: #667; --line: #ccd; }
@media (prefers-color-scheme: dark) { :root { --dim: #99a; --line: #445; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
details, .leaf { margin: .15rem 0 .15rem 1rem; border-left: 1px solid var(--line); padding-left: .7rem; }
body > details { margin-left: 0; border-left: 0; padding-left: 0; }
summary { cursor: pointer; }
.rule { color: var(--dim); font-family: ui-monospace, monospace; font-size: .85em; margin-left: .6rem; }
@media print { details > * { display: block; } }
"""


def explanation_page(title: str, reasons: Sequence[Reason], place: Callable[[str], object]) -> str:
    """Return a page with the reasons as a tree that opens and closes; each rule is followed by where it stands."""
    body = "".join(_reason(reason, place, depth=0) for reason in reasons)
    name = html.escape(title)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}</title>'
    page = f"<head>{head}<style>{_STYLE}</style></head><body><h1>{name}</h1>{body}</body>"
    return f'<!doctype html><html lang="en">{page}</html>'


def _reason(reason: Reason, place: Callable[[str], object], depth: int) -> str:
    rule = ""
    if reason.rule:
        rule = f'<span class="rule">{html.escape(reason.rule)} {html.escape(str(place(reason.rule)))}</span>'
    line = html.escape(reason.statement) + rule
    if not reason.children:
        return f'<div class="leaf">{line}</div>'
    below = "".join(_reason(child, place, depth + 1) for child in reason.children)
    opened = " open" if depth < 2 else ""
    return f"<details{opened}><summary>{line}</summary>{below}</details>"
