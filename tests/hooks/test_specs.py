"""The hooks and what they are asked stand in the reference, docs/hooks.md, with everything that a plugin can meet."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from riskpolicy.engines.core.fees import ENGINES, ENGINES_PREFIXES
from riskpolicy.engines.execution import Fill
from riskpolicy.errors import CODES
from riskpolicy.hooks import Allocation, Candidate, Demand, FeeDue, resolve
from riskpolicy.hooks.specs import HOOKS, SPECIFICATION, Hooks

PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in row.strip("|").split("|")] for row in PAGE.splitlines() if row.startswith("|")]


def row_of(name):
    """The one row of the page whose first cell is a name, and that has as many cells as the table of hooks."""
    (row,) = [row for row in ROWS if row[0] == f"`{name}`" and len(row) == 5]
    return row


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_stands_in_the_reference_with_its_arguments(name):
    arguments = [p for p in inspect.signature(getattr(Hooks, name)).parameters if p != "self"]
    _, given, returns, called, _ = row_of(name)
    assert re.findall(r"`(\w+)`", given) == arguments
    assert returns
    assert called


@pytest.mark.parametrize("form", [Demand, Candidate, Allocation, FeeDue, Fill])
def test_every_field_stands_in_the_reference(form):
    names = [f"`{field.name}`" for field in dataclasses.fields(form)]
    tables = re.split(r"\n\n(?=\|)", PAGE)
    assert any([row.split("|")[1].strip() for row in table.splitlines() if row.startswith("| `")] == names
               for table in tables), f"{form.__name__}: {names}"  # fmt: skip


def test_every_code_of_a_plugin_stands_in_the_reference():
    raised = set(re.findall(r'Finding\("(\w+)"', Path(resolve.__file__).read_text(encoding="utf-8")))
    shown = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Errors")[2], re.MULTILINE)
    assert set(shown) == raised <= set(CODES)


def test_the_accounts_of_the_engine_stand_in_the_reference():
    kept = ", ".join([*(f"`{name}`" for name in ENGINES), *(f"`{prefix}...`" for prefix in ENGINES_PREFIXES)])
    assert kept in PAGE


def test_the_reference_is_of_this_specification():
    assert f"specification {SPECIFICATION}" in PAGE
