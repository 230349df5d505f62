"""What doctor says: findings, what is going to be done, what has been, and a summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from contactsvc.doctor.plan import Fix
from contactsvc.domain.kinds import Environment

FOUND = 1
"""The exit code when something is wrong, or the database cannot be examined."""


class Severity(StrEnum):
    """How bad a finding is; only `WRONG` makes the exit code 1."""

    WRONG = "wrong"
    WARNING = "warning"
    NOTE = "note"


class Check(StrEnum):
    """What a finding is about."""

    CONFIGURATION = "configuration"
    DATABASE = "database"
    INDEX = "index"
    PRIMARY = "primary"
    EXTERNAL_ID = "external_id"
    REQUEST = "request"
    DOCUMENT = "document"
    LAYOUT = "layout"
    VALUE = "value"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        severity: how bad it is.
        check: what it is about.
        message: what is wrong, why that matters and what to do; holds no contact value.
        environment: `live` or `test`; empty for what concerns both.
        ids: of the documents, 20 at most.
        client_id: whose they are; empty when that is unknown or says nothing.
        mendable: whether --fix mends it.
    """

    severity: Severity
    check: Check
    message: str
    environment: str = ""
    ids: tuple[str, ...] = ()
    client_id: str = ""
    mendable: bool = False


@dataclass(slots=True)
class Report:
    """Prints what is found and done, a line each, and counts; as text, or as JSON Lines.

    Attributes:
        echo: prints a line.
        as_json: whether a line is a JSON object, whose `event` tells what it is about: `finding`, `plan`, `mended`,
            `skipped` or `summary`.
        counts: how many findings of each severity there are.
        mendable: how many of them --fix mends.
        documents: how many contact methods were examined, by environment.
    """

    echo: Callable[[str], None]
    as_json: bool
    counts: dict[Severity, int] = field(default_factory=lambda: dict.fromkeys(Severity, 0))
    mendable: int = 0
    documents: dict[Environment, int] = field(default_factory=dict)

    def anew(self) -> Report:
        """Return a report to the same place that has counted nothing."""
        return Report(self.echo, self.as_json)

    @property
    def exit_code(self) -> int:
        """What the findings make of the exit code."""
        return FOUND if self.counts[Severity.WRONG] else 0

    def find(self, finding: Finding) -> None:
        """Report a finding."""
        self.counts[finding.severity] += 1
        self.mendable += finding.mendable
        self._print("finding", finding.severity, finding.environment, finding.message, asdict(finding))

    def plan(self, fix: Fix) -> None:
        """Report what is going to be done."""
        self._print("plan", "plan", fix.environment, str(fix), asdict(fix))

    def mended(self, fix: Fix, obstacle: str) -> None:
        """Report that it has been done, or why not."""
        word = "skipped" if obstacle else "mended"
        message = f"{fix}: {obstacle}" if obstacle else str(fix)
        self._print(word, word, fix.environment, message, asdict(fix) | ({"message": obstacle} if obstacle else {}))

    def say(self, text: str) -> None:
        """Print a line for people only."""
        if not self.as_json:
            self.echo(text)

    def summarize(self) -> None:
        """Report how many findings there are."""
        if self.as_json:
            counts = {severity.value: count for severity, count in self.counts.items()}
            documents = {environment.value: count for environment, count in self.documents.items()}
            summary = {"event": "summary", **counts, "mendable": self.mendable, "contact_methods": documents}
            self.echo(json.dumps(summary))
            return
        wrong = self.counts[Severity.WRONG]
        parts = [f"{wrong} wrong" if wrong else "nothing wrong"]
        parts += [plural(self.counts[kind], kind) for kind in (Severity.WARNING, Severity.NOTE) if self.counts[kind]]
        seen = ", ".join(f"{count} in {environment}" for environment, count in self.documents.items())
        line = ", ".join(parts) + (f"; contact methods examined: {seen}" if seen else "")
        self.echo(line + (f"; contactsvc doctor --fix mends {self.mendable} of these" if self.mendable else ""))

    def _print(self, event: str, word: str, environment: str, message: str, facts: Mapping[str, Any]) -> None:
        if self.as_json:
            # What is empty does not apply. `mendable` always does to a finding.
            told = {name: value for name, value in facts.items() if value not in ("", ())}
            self.echo(json.dumps({"event": event, **told}))
        else:
            where = f"{environment}: " if environment else ""
            self.echo(f"{word:<8} {where}{message}")


def plural(count: int, noun: str) -> str:
    """Return a count and its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
