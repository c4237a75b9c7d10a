"""Runs what the documentation shows: Python blocks, commands with their output, tables of computed figures.

A `python` block runs as it stands; the blocks of a page share their names. In a `console` block each line after `$ ` is
run, and the lines below it must be its output; a line `...` stands for any lines. A block with a caption is a file,
written before the commands that use it. The comment `<!-- table: NAME -->` above a table says which variable holds its
cells, `<!-- column: NAME -->` which one holds its first column.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sybil import Document, Example, Region, Sybil
from sybil.parsers.myst import PythonCodeBlockParser

ROOT = Path(__file__).parent.parent
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"^<!-- (table|column): (\w+) -->\n\n((?:\|.*\n)+)", re.MULTILINE)


def parse_console(document: Document) -> Iterator[Region]:
    for found in CONSOLE.finditer(document.text):
        yield Region(found.start(), found.end(), found[1], run_commands)


def parse_files(document: Document) -> Iterator[Region]:
    for found in FILE.finditer(document.text):
        yield Region(found.start(), found.end(), (found[1], found[2]), write_file)


def parse_tables(document: Document) -> Iterator[Region]:
    for found in TABLE.finditer(document.text):
        yield Region(found.start(), found.end(), found.groups(), compare_table)


def run_commands(example: Example) -> None:
    for part in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        printed = lines(run(command, example.namespace["folder"].name))
        expected = "".join(r"(.*\n)*?" if line == "..." else re.escape(f"{line}\n") for line in lines(shown))
        same = re.fullmatch(expected, "".join(f"{line}\n" for line in printed)) is not None
        assert same, "\n".join([f"$ {command}", *printed])


def run(command: str, folder: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {**os.environ, "PATH": path, "PYTHONUTF8": "1", "COLUMNS": "80"}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=env, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.stdout


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def write_file(example: Example) -> None:
    name, text = example.parsed
    (Path(example.namespace["folder"].name) / name).write_text(text, encoding="utf-8")


def compare_table(example: Example) -> None:
    kind, name, text = example.parsed
    rows = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in text.splitlines()[2:]]
    shown: list[Any] = rows if kind == "table" else [row[0].strip("`") for row in rows]
    assert shown == example.namespace[name], example.namespace[name]


def prepare(namespace: dict[str, Any]) -> None:
    folder = namespace["folder"] = tempfile.TemporaryDirectory()
    for name in ("examples", "rulesets"):
        (Path(folder.name) / name).symlink_to(ROOT / name)


def clean(namespace: dict[str, Any]) -> None:
    namespace["folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), parse_console, parse_files, parse_tables],
    patterns=["*.md"],
    excludes=["_*/**"],
    setup=prepare,
    teardown=clean,
).pytest()
