"""The hooks: typed, documented, without defaults. A plugin marks its implementations with `hookimpl`."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from riskpolicy.vocabulary import ExpressionFunction

#: Grows when a hook changes; plugins are checked against the hooks of this version.
SPECIFICATION = 1
GROUP = "riskpolicy.plugins"

hookspec = pluggy.HookspecMarker("riskpolicy")
hookimpl = pluggy.HookimplMarker("riskpolicy")


class Hooks:
    """Every hook that a plugin may implement."""

    @hookspec
    def expression_functions(self) -> Sequence[ExpressionFunction]:  # type: ignore[empty-body]
        """Return functions that the expressions of a ruleset may call. Called once, when a ruleset is loaded."""
