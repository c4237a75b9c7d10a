"""Which tests to run: words joined by `and`, `or`, `not` and brackets, each found in a test's name or not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from riskpolicy.errors import Finding, QueryError

Selection: TypeAlias = Callable[[str], bool]
_TOKEN = re.compile(r"""\s*(?:([()])|"([^"]*)"|'([^']*)'|([^\s()"']+))""")


def parse_selection(text: str) -> Selection:
    """Return what tells whether a name is selected; letters count in any case. QueryError for no selection."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, bool]] = []
        at = 0
        while at < len(text.rstrip()):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self.fault("a quote is not closed")
            word = next(g for g in found.groups() if g is not None)
            # A quoted word is never an operator.
            self.tokens.append((word, found[2] is None and found[3] is None))
            at = found.end()

    def whole(self) -> Selection:
        selection = self.any_of()
        if self.tokens:
            raise self.fault(f"`{self.tokens[0][0]}` is not expected here")
        return selection

    def any_of(self) -> Selection:
        parts = [self.all_of()]
        while self.took("or"):
            parts.append(self.all_of())
        return lambda name: any(part(name) for part in parts)

    def all_of(self) -> Selection:
        parts = [self.one()]
        while self.took("and"):
            parts.append(self.one())
        return lambda name: all(part(name) for part in parts)

    def one(self) -> Selection:
        if self.took("not"):
            inner = self.one()
            return lambda name: not inner(name)
        if self.took("("):
            inner = self.any_of()
            if not self.took(")"):
                raise self.fault("a bracket is not closed")
            return inner
        if not self.tokens or self.tokens[0] in ((")", True), ("and", True), ("or", True)):
            raise self.fault("a word is missing")
        word = self.tokens.pop(0)[0].lower()
        return lambda name: word in name.lower()

    def took(self, operator: str) -> bool:
        if self.tokens and self.tokens[0] == (operator, True):
            self.tokens.pop(0)
            return True
        return False

    def fault(self, message: str) -> QueryError:
        hint = "write words, `and`, `or`, `not` and brackets, such as `tier and not isolated`; quote words with blanks"
        return QueryError(Finding("selection_syntax", f"-k `{self.text}`: {message}", hint))
