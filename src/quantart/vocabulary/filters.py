"""The filter on a table of pictures: `genre == landscape and artist != "van Gogh"`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from unicodedata import normalize

_CLAUSE = re.compile(
    r"""\s*(?P<column>[^=!]*[^=!\s])\s*(?P<operator>==|!=)\s*
        (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^"'\s=!](?:(?![=!]=).)*?))
        \s*(?:$|\sand\s)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Clause:
    """`column == value`; if not `equal`: `column != value`."""

    column: str
    equal: bool
    value: str

    def holds(self, row: Mapping[str, str]) -> bool:
        return (normalize("NFC", row[self.column]) == self.value) is self.equal


def parse_where(text: str) -> list[Clause]:
    """The clauses of a filter, all of which must hold for a row; `ValueError` if it is not a filter.

    Values are compared as text, however their accents are coded. Quotes are needed only around a value that contains
    ` and `, begins with a quote, or begins or ends with a space.
    """
    clauses: list[Clause] = []
    text, place = normalize("NFC", text), 0
    while place < len(text) or not clauses:
        match = _CLAUSE.match(text, place)
        if match is None:
            raise ValueError(
                f"{text[place:]!r} is not a filter; write `column == value` or `column != value`, several joined by "
                '` and `, with quotes around a value that contains ` and `: `genre == "sea and sky"`'
            )
        value = next(part for part in match.group("double", "single", "bare") if part is not None)
        clauses.append(Clause(match["column"], match["operator"] == "==", value))
        place = match.end()
    if re.search(r"\sand\s*$", text):
        raise ValueError(f"{text!r} ends with `and`; write another `column == value` after it, or remove it")
    return clauses
