"""python -m tests.vectors FILE: run published examples, a line an entry; exit 1 if one fails, 2 for a bad file."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from tests.vectors import read_entries, run_entries


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m tests.vectors FILE", file=sys.stderr)
        return 2
    try:
        entries = read_entries(Path(arguments[0]))
    except (OSError, ValueError, yaml.YAMLError) as error:
        print(error, file=sys.stderr)
        return 2
    failed = False
    for outcome in run_entries(entries):
        print(outcome, flush=True)
        failed = failed or outcome.verdict == "fail"
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
