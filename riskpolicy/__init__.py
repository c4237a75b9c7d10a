"""A futures venue's risk rules as one declarative ruleset, applied to whole position snapshots."""

from riskpolicy.engines.core.reasons import Reason
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.errors import Finding, QueryError, RiskPolicyError, RulesetError, SnapshotError
from riskpolicy.policy import Policy, load, loads
from riskpolicy.snapshot import Snapshot

__version__ = "0.1.0"

__all__ = [
    "Evaluation",
    "Finding",
    "Policy",
    "QueryError",
    "Reason",
    "RiskPolicyError",
    "RulesetError",
    "Snapshot",
    "SnapshotError",
    "load",
    "loads",
]
