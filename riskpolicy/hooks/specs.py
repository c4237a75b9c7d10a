"""The hooks: typed, documented, without defaults. A plugin marks its implementations with `hookimpl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import pluggy

from riskpolicy.engines.core.adl import Allocation, Candidate, Demand
from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.engines.execution import Execution
from riskpolicy.vocabulary import ExpressionFunction

#: Grows when a hook changes; plugins are checked against the hooks of this version.
SPECIFICATION = 3
GROUP = "riskpolicy.plugins"

hookspec = pluggy.HookspecMarker("riskpolicy")
hookimpl = pluggy.HookimplMarker("riskpolicy")


class Hooks:
    """Every hook that a plugin may implement. None is called for a row: each takes a batch or an event."""

    @hookspec
    def expression_functions(self) -> Sequence[ExpressionFunction]:  # type: ignore[empty-body]
        """Return functions that the expressions of a ruleset may call. Called once, when a ruleset is loaded."""

    @hookspec
    def rank_adl(self, demand: Demand, candidates: Sequence[Candidate]) -> Sequence[Fraction]:  # type: ignore[empty-body]
        """Return one exact score a candidate, in their order; the highest is closed first.

        Equal scores keep the order of the ruleset's own ranking. Called once for every bankrupt position; where ranks
        are read of an evaluation, once a queue, with a demand for all its contracts at the mark.
        """

    @hookspec
    def allocate_adl(self, demand: Demand, candidates: Sequence[Candidate]) -> Allocation:  # type: ignore[empty-body]
        """Return who gives how many contracts, and why who gives nothing was passed over.

        Within each one's `cap`, in whole lots or the whole position; given and remaining are what was demanded.
        """

    @hookspec
    def split_fees(self, fees: Sequence[FeeDue]) -> Sequence[Mapping[str, int]]:  # type: ignore[empty-body]
        """Return for every fee, in order, the whole quanta of each receiver; they sum to its amount.

        A receiver is a fund's id, or the name of an outside party.
        """

    @hookspec
    def execution(self, markets: Mapping[str, Mapping[str, Fraction | None]]) -> Execution:  # type: ignore[empty-body]
        """Return the execution model of a snapshot, from the numbers of `markets` by instrument and column."""

    @hookspec
    def configured(self, parameters: Mapping[str, object]) -> object:
        """Return the plugin as a ruleset configures it: an object with the same hooks. Called once, at load.

        Numbers and percentages are fractions; ValueError for a parameter that makes no sense.
        """

    @hookspec
    def laws(self) -> Sequence[str]:  # type: ignore[empty-body]
        """Return the laws, of engines.core.adl.LAWS, that this plugin's allocation keeps."""


#: The names of all hooks.
HOOKS = tuple(name for name in vars(Hooks) if not name.startswith("_"))
