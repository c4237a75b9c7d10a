"""Coverage of rules in a terminal, and as a page that shows the ruleset with covered and uncovered lines."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from riskpolicy.report.text import bar, plain_table
from riskpolicy.testing.coverage import Coverage, Item, RulesetCoverage

KINDS = (
    "rule", "tier", "edge", "condition", "branch", "mode", "state", "order", "step", "layer", "fee", "funding", "stake",
)  # fmt: skip
_STYLE = """
:root { color-scheme: light dark; --text: #1c2128; --dim: #626b76; --back: #fff; --yes: #d7f2dd; --part: #fbeec2;
  --no: #fbd9d5; --line: #d8dde3; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7eb; --dim: #97a1ad; --back: #15181c; --yes: #143d22;
  --part: #4a3b0c; --no: #55201c; --line: #343b43; } }
body { color: var(--text); background: var(--back); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 78rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; margin-top: 2.5rem; }
.key span { padding: 0 .5rem; margin-right: .5rem; border-radius: 3px; }
table { border-collapse: collapse; width: 100%; font: 13px/1.45 ui-monospace, monospace; }
td { padding: 0 .6rem; vertical-align: top; white-space: pre-wrap; overflow-wrap: anywhere; }
td.n { color: var(--dim); text-align: right; width: 3rem; user-select: none; }
td.s { color: var(--dim); width: 26rem; font: 12px/1.5 system-ui, sans-serif; border-left: 1px solid var(--line); }
.yes { background: var(--yes); } .part { background: var(--part); } .no { background: var(--no); }
@media (max-width: 50rem) { td.s { width: 40%; } }
"""


def coverage_report(coverage: Coverage, uncovered: int = 40) -> RenderableType:
    """Return what is covered, by ruleset and kind, and the first items that are not."""
    parts: list[RenderableType] = []
    for _, ruleset in sorted(coverage.rulesets.items()):
        parts += [Text(""), *_ruleset(ruleset, uncovered)]
    total = f"{coverage.covered} of {coverage.total} items covered, {shown_percent(coverage)}"
    return Group(*parts, Text(""), Text(total, style="bold"))


def shown_percent(coverage: Coverage) -> str:
    """Return the percentage with one decimal, never rounded up to 100."""
    tenths = coverage.covered * 1000 // coverage.total if coverage.total else 1000
    return f"{tenths // 10}.{tenths % 10}%"


def _ruleset(ruleset: RulesetCoverage, most: int) -> Iterator[RenderableType]:
    items = list(ruleset.items.values())
    yield Text(f"Coverage of {ruleset.name}", style="bold")
    table = plain_table([("kind", False), ("covered", True), ("of", True), ("", False)])
    for kind in KINDS:
        of_kind = [item for item in items if item.kind == kind]
        if of_kind:
            covered = sum(item.covered for item in of_kind)
            table.add_row(kind, str(covered), str(len(of_kind)), bar(covered / len(of_kind), 20))
    yield table
    missing = [item for item in items if not item.covered]
    if missing:
        yield Text(f"Not covered, in {Path(ruleset.file).name}")
        yield _missing(missing[:most])
        if len(missing) > most:
            yield Text(f"and {len(missing) - most} more; --format json lists all", style="dim")


def _missing(items: Sequence[Item]) -> Table:
    table = plain_table([("line", True), ("item", False), ("what", False)])
    for item in items:
        table.add_row(str(item.line), item.id, item.what)
    for column in table.columns:
        column.no_wrap, column.overflow = False, "fold"
    return table


def coverage_page(coverage: Coverage) -> str:
    """Return a page of its own, without anything from outside: every ruleset's text, its lines by what covers them."""
    sections = [_section(ruleset) for _, ruleset in sorted(coverage.rulesets.items())]
    legend = (("yes", "covered"), ("part", "in part"), ("no", "not"))
    spans = "".join(f'<span class="{name}">{word}</span>' for name, word in legend)
    key = f'<p class="key">{spans}</p>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Coverage of rules</title><style>{_STYLE}</style></head><body>"
        f"<h1>Coverage of rules: {coverage.covered} of {coverage.total}, {shown_percent(coverage)}</h1>{key}"
        f"{''.join(sections)}</body></html>\n"
    )


def _section(ruleset: RulesetCoverage) -> str:
    on_line: dict[int, list[Item]] = {}
    for item in ruleset.items.values():
        on_line.setdefault(item.line, []).append(item)
    lines = ruleset.policy.loaded.document.lines
    rows = (_line(number, text, on_line.get(number, [])) for number, text in enumerate(lines, 1))
    head = f"{ruleset.name}: {ruleset.covered} of {len(ruleset.items)}"
    return f"<h2>{html.escape(head)}</h2><p>{html.escape(ruleset.file)}</p><table>{''.join(rows)}</table>"


def _line(number: int, text: str, items: Sequence[Item]) -> str:
    covered = sum(item.covered for item in items)
    kind = "" if not items else "yes" if covered == len(items) else "part" if covered else "no"
    missing = "\n".join(f"not covered: {item.what}" for item in items if not item.covered)
    title = "\n".join(f"{item.id}: {item.hits}" for item in items)
    side = missing or (f"{covered} of {len(items)}" if items else "")
    return (
        f'<tr class="{kind}"><td class="n">{number}</td><td>{html.escape(text)}</td>'
        f'<td class="s" title="{html.escape(title, quote=True)}">{html.escape(side)}</td></tr>'
    )
