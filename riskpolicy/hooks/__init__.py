"""What plugins may implement, resolved once at load to plain callables."""

from riskpolicy.hooks.resolve import Resolved, resolve_plugins
from riskpolicy.hooks.specs import hookimpl

__all__ = ["Resolved", "hookimpl", "resolve_plugins"]
