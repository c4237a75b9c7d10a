"""The package's face: every public name is there, and importing it drags in nothing heavy."""

import subprocess
import sys

import pytest

import riskpolicy


@pytest.mark.parametrize("name", riskpolicy.__all__)
def test_a_public_name_is_there_and_documented(name):
    assert getattr(riskpolicy, name).__doc__
    assert name in dir(riskpolicy)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute `Sanpshot`"):
        _ = riskpolicy.Sanpshot


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, riskpolicy; print([m for m in ('numpy', 'pydantic', 'yaml', 'rich', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_evaluating_needs_neither_the_command_line_nor_the_reports():
    code = "import sys, riskpolicy as rp; rp.load('hyperliquid'); print({'rich', 'click'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
