"""What plugins may implement, resolved once at load to plain callables."""

from riskpolicy.hooks.resolve import Hooked, Resolved, resolve_hook, resolve_plugins
from riskpolicy.hooks.specs import hookimpl

__all__ = ["Hooked", "Resolved", "hookimpl", "resolve_hook", "resolve_plugins"]
