"""From the written form to the plan, with every fault of an expression located."""

from riskpolicy.compiler.compile import compile_ruleset

__all__ = ["compile_ruleset"]
