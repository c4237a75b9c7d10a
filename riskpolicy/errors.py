"""One exception family: every fault is a finding with a code, a place and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: Every code a finding can carry, with its meaning. Codes are stable; messages are not.
CODES: Mapping[str, str] = MappingProxyType(
    {
        # the file itself
        "file_unreadable": "the file cannot be opened or is not UTF-8 text",
        "file_too_large": "the file is larger than a ruleset may be",
        "yaml_syntax": "the file is not YAML",
        "yaml_too_deep": "lists and mappings are nested too deeply",
        "yaml_too_many_nodes": "the file, with its aliases expanded, has too many nodes",
        "yaml_alias_loop": "an alias stands inside the node that it repeats",
        "yaml_tag": "a YAML tag is not allowed here",
        "yaml_documents": "a file holds exactly one document",
        "duplicate_key": "a mapping has the same key twice",
        "number_out_of_range": "a number has more digits or a larger exponent than is allowed; 1e100 is the largest",
        # the written form
        "unknown_key": "a key that the language does not have",
        "missing_key": "a required key is absent",
        "invalid_value": "a value of the wrong type or outside its range",
        "bare_rate": "a rate of 1 or more without a percent sign",
        # what the written form means
        "duplicate_id": "two things have the same id",
        "unknown_reference": "an id that nothing in the ruleset declares",
        "tier_columns": "the columns of a tier table do not make a tier table",
        "tier_shape": "the keys of a tier table do not fit its `rate`",
        "tier_gap": "a tier starts above the cap of the one before",
        "tier_overlap": "a tier starts below the cap of the one before",
        "tier_cap_order": "caps must rise from tier to tier",
        "tier_rate_order": "maintenance rates must not fall from tier to tier",
        "tier_deduction": "a given deduction is not the one that makes the curve continuous",
        "waterfall_without_end": "the waterfall must end in one layer that pays `residual`",
        "severity_form": "the bounds of a severity are not in order",
        "take_form": "a plugin is named where none allocates, or the other way round",
        "fund_form": "a fund's keys do not fit what it holds",
        "regime_protects": "a layer touches what the regime protects",
        "funding_form": "a funding formula lacks what it needs",
        "fee_tiers": "fee tiers rise with volume, from 0",
        "fee_split": "a split gives away more than there is",
        "reserved_name": "a name that the engine keeps for itself",
        "waterfall_group": "layers of a group must stand together, and be funds",
        "validity_order": "valid_until must be later than valid_from",
        # expressions
        "expression_syntax": "the text is not an expression",
        "expression_limit": "an expression is longer or deeper than is allowed",
        "expression_form": "Python that the expression language leaves out",
        "unknown_name": "a name that this place does not have",
        "unknown_function": "a function that does not exist",
        "expression_type": "a number where a condition is due, or the other way round",
        "expression_arity": "a function is given too few or too many arguments",
        "expression_unit": "amounts of different units are added, compared or expected",
        "expression_value": "an expression has no value for a row",
        "trigger_form": "the trigger must compare sums of bucket amounts",
        "order_key": "an order key is a column, then `asc` or `desc`",
        # naming a ruleset
        "unknown_ruleset": "no installed ruleset has this name",
        "no_version": "no version of the ruleset was valid at that instant",
        "invalid_instant": "an instant is an ISO 8601 date or date and time",
        "outside_validity": "the snapshot was taken outside the validity of the ruleset",
        # plugins
        "unknown_plugin": "no installed plugin has this name",
        "doubled_plugin": "two installed plugins have this name",
        "plugin_not_allowed": "the plugin is not on the list that this process allows",
        "plugin_broken": "the plugin cannot be imported, or raised an exception",
        "missing_hook": "the plugin does not implement the hook that the ruleset needs of it",
        "unknown_hook": "the plugin implements a hook that does not exist",
        "doubled_hook": "the plugin implements a hook more than once",
        "hook_signature": "an implementation's arguments are not the hook's or have defaults, or it is a wrapper",
        "hook_result": "a hook or a function of a plugin returned something that it should not",
        # snapshots
        "snapshot_form": "a snapshot is an object of tables",
        "missing_table": "a table without which a snapshot says nothing is absent",
        "json_syntax": "the file is not JSON",
        "unknown_table": "a table that snapshots do not have",
        "unknown_column": "a column that the table does not have",
        "missing_column": "a required column is absent",
        "column_length": "the columns of a table differ in length",
        "null_value": "a required value is null",
        "wrong_type": "a value is of the wrong type",
        "not_finite": "a number is NaN or infinite",
        "not_positive": "a number must be above zero",
        "negative": "a number must not be below zero",
        "unknown_choice": "a text is not one of the allowed values",
        "duplicate_row": "two rows have the same key",
        "unknown_instrument": "an instrument that the ruleset does not declare",
        "unknown_currency": "a currency that the ruleset does not declare",
        "unknown_fund": "a fund that the ruleset does not declare",
        "unknown_account": "an account without a row for the currency that its position settles in",
        "unknown_asset": "an asset that the ruleset gives no weight as collateral",
        "book_order": "the levels of an order book are not sorted, the best price first",
        "book_crossed": "the best bid of an order book is not below its best ask",
        "contract_size": "a position's contract size is not the instrument's",
        "missing_price": "an asset or currency must be converted and has no price",
        "missing_market": "an instrument is held but has no row in `markets`",
        "missing_value": "a rule needs a column that the snapshot leaves out",
        "margin_mode": "a position is in a margin mode that it cannot be in",
        "position_side": "a position side that the venue does not have",
        "open_interest": "longs and shorts differ in a snapshot that declares itself complete",
        # rule tests
        "asserts_nothing": "a rule test, or a row that it expects, says nothing about a result",
        "error_not_raised": "a rule test expects an error that was not raised",
        "circular_reference": "files refer to each other in a circle",
        "ambiguous_row": "an expected row fits several rows of the result",
        "unknown_placeholder": "a `$name` that no case gives a value to",
        "unused_value": "a case gives a value that its test does not use",
        "no_tests": "no rule test is there, or none is selected",
        "selection_syntax": "the text after -k is no selection of tests",
        "file_exists": "a file that would be written is there already",
        # remarks of `check --strict`
        "unused_tier_table": "a tier table that no instrument names",
        "unused_fund": "a fund that no step, layer or instrument names",
        "undrawn_fund": "a fund on which no layer of the waterfall draws",
        "unused_currency": "a currency in which nothing settles and no fund is kept",
        "missing_source": "a ruleset, or a part of it, that does not say where it was read",
        "choice_not_stated": "the venue is silent, and the ruleset chose",
        "default_not_stated": "the venue is silent, and a documented default applies without being written down",
        "idle_tier": "neighbouring tiers that do the same",
        # use
        "contradiction": "public data that no book fits",
        "unknown_id": "a result was asked for an account or instrument that is not there",
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file: line and column count from 1; text is the line itself."""

    file: str
    line: int
    column: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: `code` is stable, `message` says what is wrong, `hint` what to do."""

    code: str
    message: str
    hint: str = ""
    place: Place | None = None

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"finding code `{self.code}` is not in the closed list")

    def __str__(self) -> str:
        head = f"{self.place}: " if self.place else ""
        lines = [f"{head}{self.message} [{self.code}]"]
        if self.place and self.place.text:
            # A long line is shown around the column, so that the caret stays on the screen.
            cut = max(0, self.place.column - 80)
            shown = self.place.text[cut : cut + 120]
            number = str(self.place.line)
            pad = "".join("\t" if c == "\t" else " " for c in shown[: self.place.column - 1 - cut])
            lines.append(f"  {number} | {shown}")
            lines.append(f"  {' ' * len(number)} | {pad}^")
        if self.hint:
            lines.append(f"  do: {self.hint}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the finding as plain data for JSON."""
        place = self.place
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint or None,
            "file": place.file if place else None,
            "line": place.line if place else None,
            "column": place.column if place else None,
        }


class RiskPolicyError(Exception):
    """Bad input. `findings` holds every fault of the phase that refused it, never none."""

    def __init__(self, findings: Finding | Iterable[Finding]) -> None:
        self.findings = (findings,) if isinstance(findings, Finding) else tuple(findings)
        super().__init__("\n".join(str(f) for f in self.findings))

    @property
    def codes(self) -> tuple[str, ...]:
        """The findings' codes, in order."""
        return tuple(f.code for f in self.findings)


class RulesetError(RiskPolicyError):
    """A ruleset that cannot be loaded or compiled."""


class SnapshotError(RiskPolicyError):
    """A snapshot that cannot be used, or does not fit the ruleset."""


class PluginError(RiskPolicyError):
    """A plugin that is missing, not allowed or not what it should be."""


class QueryError(RiskPolicyError):
    """A question about something that the result does not hold."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "did you mean `x`?" for the nearest known word, or an empty text."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else ""


def one_of(words: Iterable[str], limit: int = 20) -> str:
    """Return a readable list of words in backticks for messages, cut at `limit`."""
    listed = list(words)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(f"`{w}`" for w in listed[:limit]) + more
