"""The files of a new plugin, as `riskpolicy plugin new` writes them."""

from __future__ import annotations

from pathlib import Path

_PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "riskpolicy-{name}"
version = "0.1.0"
description = "A plugin for riskpolicy"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["riskpolicy"]

[project.optional-dependencies]
test = ["riskpolicy[test]"]

[project.entry-points."riskpolicy.plugins"]
{name} = "{module}:plugin"

[tool.setuptools]
py-modules = ["{module}"]
"""

_MODULE = '''\
"""An own ranking and an own fee split; take out what you do not need."""

import riskpolicy as rp


class Plugin:
    """The plugin."""

    @rp.hookimpl
    def rank_adl(self, demand, candidates):
        """Rank by profit on what the position is worth: exact numbers only, the highest is closed first."""
        return [c.unrealized_pnl / c.notional if c.notional else 0 for c in candidates]

    @rp.hookimpl
    def split_fees(self, fees):
        """Give a tenth of every fee to `community`, rounded down to whole quanta, and the rest to `fees`."""
        tenths = [max(0, fee.amount) // 10 for fee in fees]
        return [{{"community": part, "fees": fee.amount - part}} for fee, part in zip(fees, tenths, strict=True)]


plugin = Plugin()
'''

_TEST = '''\
"""The plugin held to its laws over generated books."""

from {module} import plugin

from riskpolicy.testing.conformance import conforms


def test_it_keeps_its_laws():
    conforms(plugin)
'''

_README = """\
# riskpolicy-{name}

A plugin for riskpolicy. `pip install -e '.[test]'` installs it, `pytest` holds it to its laws, and a ruleset names it:

```yaml
deleveraging:
  plugin: {name}
fees:
  plugin: {name}
```
"""


def template_files(name: str, folder: Path) -> dict[Path, str]:
    """Return the files of a new plugin in `folder`, by path: a package that installs, with a README and a test."""
    module = f"riskpolicy_{name.replace('-', '_')}"
    texts = {
        "pyproject.toml": _PROJECT, f"{module}.py": _MODULE, "README.md": _README, f"tests/test_{module}.py": _TEST,
    }  # fmt: skip
    return {folder / path: text.format(name=name, module=module) for path, text in texts.items()}
