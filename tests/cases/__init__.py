"""Tables of cases, and the one way to read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from contactsvc.domain.kinds import ContactMethodType

TABLES = ("values.json", "more_values.json")


@dataclass(frozen=True)
class ValueCase:
    """A text, and what it must become."""

    type: ContactMethodType
    region: str | None
    text: str
    normalized: str | None
    message: str
    why: str


def value_cases() -> list[ValueCase]:
    """Return all cases of values; `normalized` is None for those that are refused."""
    return [
        ValueCase(
            ContactMethodType(case["type"]),
            case["region"],
            text,
            None if case.get("refused") else case["normalized"],
            case.get("message", ""),
            case.get("why", ""),
        )
        for table in TABLES
        for case in json.loads((Path(__file__).parent / table).read_text())["cases"]
        for text in case.get("same") or case.get("values") or [case["value"]]
    ]
