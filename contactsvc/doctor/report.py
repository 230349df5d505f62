"""The report of doctor: findings, planned repairs, their results, and a summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from contactsvc.doctor.plan import Fix, FixBatch, Repair
from contactsvc.domain.kinds import Environment

FOUND = 1
"""The exit code when something is wrong, or the database cannot be checked."""


class Severity(StrEnum):
    """The severity of a finding; only `WRONG` makes the exit code 1."""

    WRONG = "wrong"
    WARNING = "warning"
    NOTE = "note"


class Check(StrEnum):
    """The subject of a finding."""

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
    CHALLENGE = "challenge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A line of the report. The names of its attributes are keys of the JSON report.

    Attributes:
        severity: the severity.
        check: the subject.
        message: the problem, its consequence and the remedy; contains no contact value.
        environment: `live` or `test`; empty when it concerns both.
        ids: of the documents, at most 20.
        count: the number of documents; None when all of them are in `ids`.
        client_id: the client of the documents; empty when it is unknown or they have several.
        mendable: whether --fix repairs it.
    """

    severity: Severity
    check: Check
    message: str
    environment: str = ""
    ids: tuple[str, ...] = ()
    count: int | None = None
    client_id: str = ""
    mendable: bool = False


@dataclass(slots=True)
class Report:
    """Prints findings and repairs as they come, a line each, and counts them.

    Attributes:
        echo: prints a line.
        as_json: print JSON Lines. The `event` of a line is `finding`, `plan`, `progress`, `mended`, `skipped` or
            `summary`.
        counts: the number of findings by severity.
        mendable: the number of findings that --fix repairs.
        documents: the number of contact methods by environment.
    """

    echo: Callable[[str], None]
    as_json: bool
    counts: dict[Severity, int] = field(default_factory=lambda: dict.fromkeys(Severity, 0))
    mendable: int = 0
    documents: dict[Environment, int] = field(default_factory=dict)

    def fresh(self) -> Report:
        """Return a report with the same output, and counts of zero."""
        return Report(self.echo, self.as_json)

    @property
    def exit_code(self) -> int:
        """The exit code for the findings so far."""
        return FOUND if self.counts[Severity.WRONG] else 0

    def add(self, finding: Finding) -> None:
        """Report a finding."""
        self.counts[finding.severity] += 1
        self.mendable += finding.mendable
        self._print("finding", finding.severity, finding.environment, finding.message, asdict(finding))

    def add_planned(self, fix: Fix | FixBatch) -> None:
        """Report a planned repair."""
        self._print("plan", "plan", fix.environment, str(fix), asdict(fix))

    def add_progress(self, environment: Environment, repair: Repair, done: int, total: int) -> None:
        """Report how many of the contact methods to be repaired have been dealt with."""
        facts = {"environment": environment, "repair": repair, "done": done, "total": total}
        self._print("progress", "progress", environment, f"{done} of {plural(total, 'contact method')}", facts)

    def add_result(self, fix: Fix | FixBatch, obstacle: str) -> None:
        """Report a repair, or the obstacle because of which it was skipped."""
        if obstacle:
            facts = asdict(fix) | {"message": obstacle}
            self._print("skipped", "skipped", fix.environment, f"{fix}: {obstacle}", facts)
        else:
            self._print("mended", "fixed", fix.environment, str(fix), asdict(fix))

    def print_text(self, text: str) -> None:
        """Print a line, unless the report is JSON."""
        if not self.as_json:
            self.echo(text)

    def summarize(self) -> None:
        """Report the counts."""
        if self.as_json:
            counts = {severity.value: count for severity, count in self.counts.items()}
            documents = {environment.value: count for environment, count in self.documents.items()}
            summary = {"event": "summary", **counts, "mendable": self.mendable, "contact_methods": documents}
            self.echo(json.dumps(summary))
            return
        wrong = self.counts[Severity.WRONG]
        parts = [f"{wrong} wrong" if wrong else "nothing wrong"]
        parts += [plural(self.counts[kind], kind) for kind in (Severity.WARNING, Severity.NOTE) if self.counts[kind]]
        checked = ", ".join(f"{count} in {environment}" for environment, count in self.documents.items())
        line = ", ".join(parts) + (f"; contact methods checked: {checked}" if checked else "")
        self.echo(line + (f"; contactsvc doctor --fix repairs {self.mendable} of these" if self.mendable else ""))

    def _print(self, event: str, word: str, environment: str, message: str, facts: Mapping[str, Any]) -> None:
        if self.as_json:
            # Empty facts do not apply, and are left out; `mendable` is never empty.
            given = {name: value for name, value in facts.items() if value not in ("", (), None)}
            self.echo(json.dumps({"event": event, **given}))
        else:
            where = f"{environment}: " if environment else ""
            self.echo(f"{word:<8} {where}{message}")


def plural(count: int, noun: str) -> str:
    """Return a count and its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
