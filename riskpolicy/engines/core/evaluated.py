"""What mechanisms that report on an evaluation read of it."""

from __future__ import annotations

from typing import Protocol

from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.margins import Margins
from riskpolicy.plan.plan import Plan


class Evaluated(Protocol):
    """A snapshot under a plan with its margins, such as an Evaluation."""

    plan: Plan
    bound: Bound
    margins: Margins
