"""A futures venue's risk rules as one declarative ruleset, applied to whole position snapshots.

Names are imported when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from riskpolicy.adapters.ccxt import from_ccxt
    from riskpolicy.engines.core.reasons import Reason
    from riskpolicy.engines.core.verdict import Verdict
    from riskpolicy.engines.evaluate import Evaluation
    from riskpolicy.engines.execution import BookLevels, GivenFills, linear_book, power_depth, sqrt_impact
    from riskpolicy.engines.heal import Healing
    from riskpolicy.errors import Finding, PluginError, QueryError, RiskPolicyError, RulesetError, SnapshotError
    from riskpolicy.hooks import hookimpl
    from riskpolicy.numbers import exact
    from riskpolicy.policy import Policy, load, loads
    from riskpolicy.snapshot import Snapshot
    from riskpolicy.vocabulary import ExpressionFunction

__version__ = "0.1.0"

__all__ = [
    "BookLevels",
    "Evaluation",
    "ExpressionFunction",
    "Finding",
    "GivenFills",
    "Healing",
    "PluginError",
    "Policy",
    "QueryError",
    "Reason",
    "RiskPolicyError",
    "RulesetError",
    "Snapshot",
    "SnapshotError",
    "Verdict",
    "exact",
    "from_ccxt",
    "hookimpl",
    "linear_book",
    "load",
    "loads",
    "power_depth",
    "sqrt_impact",
]

_HOMES = {
    "Verdict": "engines.core.verdict",
    "BookLevels": "engines.execution",
    "GivenFills": "engines.execution",
    "linear_book": "engines.execution",
    "power_depth": "engines.execution",
    "sqrt_impact": "engines.execution",
    "Healing": "engines.heal",
    "exact": "numbers",
    "from_ccxt": "adapters.ccxt",
    "Evaluation": "engines.evaluate",
    "ExpressionFunction": "vocabulary",
    "hookimpl": "hooks",
    "Policy": "policy",
    "Reason": "engines.core.reasons",
    "Snapshot": "snapshot",
    "load": "policy",
    "loads": "policy",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module `riskpolicy` has no attribute `{name}`")
    value = getattr(import_module(f"riskpolicy.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
