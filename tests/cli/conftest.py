"""Running the command line in this process."""

import sys

import pytest

from riskpolicy.cli import main


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `riskpolicy` with arguments; return its exit status and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["riskpolicy", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        try:
            main()
            status = 0
        except SystemExit as exit_:
            status = exit_.code or 0
        out, err = capsys.readouterr()
        return status, out, err

    return run
