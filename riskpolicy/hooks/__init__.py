"""What plugins may implement, resolved once at load to plain callables; and the types that they are written with."""

from riskpolicy.engines.core.adl import Allocation, Candidate, Demand
from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.hooks.parameters import with_parameters
from riskpolicy.hooks.resolve import Hooked, Resolved, resolve_hook, resolve_plugins
from riskpolicy.hooks.specs import hookimpl

__all__ = [
    "Allocation",
    "Candidate",
    "Demand",
    "FeeDue",
    "Hooked",
    "Resolved",
    "hookimpl",
    "resolve_hook",
    "resolve_plugins",
    "with_parameters",
]
