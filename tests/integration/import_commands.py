"""The commands import and export in this process, on a database of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from contactsvc.cli.main import main
from tests.conftest import DRIVER

EXPORTS = Path(__file__).parents[1] / "cases" / "exports"
"""Files as address books write them, with invented people."""

NOTHING = {"created": 0, "updated": 0, "unchanged": 0, "skipped": 0, "failed": 0, "dry_run": False}

_FIELDS = ("client_id", "type", "value", "label", "is_primary")


@dataclass(frozen=True)
class Ended:
    """How an import ended.

    Attributes:
        code: the exit code.
        counts: the summary, without its key "error".
        messages: what it printed on standard error.
    """

    code: int
    counts: dict[str, Any]
    messages: str


@dataclass(frozen=True)
class ImportCommands:
    """Both environments of a database.

    Attributes:
        uri: of the deployment.
        database: the name of the database.
    """

    uri: str
    database: str

    def run(self, *arguments: str) -> tuple[int, bytes, str]:
        """Run a command; return its exit code, output and messages."""
        settings = {"MONGODB_URI": self.uri, "DATABASE": self.database, "DRIVER": DRIVER}
        result = CliRunner(env={f"CONTACTSVC_{name}": value for name, value in settings.items()}).invoke(
            main, arguments
        )
        return result.exit_code, result.stdout_bytes, result.stderr

    def import_file(self, path: Path, *flags: str, environment: str = "test") -> Ended:
        """Import a file."""
        code, out, messages = self.run("import", str(path), "--environment", environment, "--json", *flags)
        counts = json.loads(out) if out else {}
        counts.pop("error", None)
        return Ended(code, counts, messages)

    def export(self, format_: str, *, environment: str = "test") -> bytes:
        """Return an export."""
        code, out, messages = self.run("export", "--environment", environment, "--format", format_)
        assert code == 0, messages
        return out

    def records(self, *, environment: str = "test") -> list[dict[str, Any]]:
        """Return all records as JSON Lines have them."""
        return [json.loads(line) for line in self.export("jsonl", environment=environment).splitlines()[1:-1]]

    def by_client(self, *, environment: str = "test") -> dict[str, list[tuple[str, str, str, bool]]]:
        """Return type, value, label and primary flag of all records, sorted, by client."""
        found: dict[str, list[tuple[str, str, str, bool]]] = {}
        for record in self.records(environment=environment):
            client_id, type_, value, label, is_primary = (record.get(name, "") for name in _FIELDS)
            found.setdefault(client_id, []).append((type_, value, label, is_primary))
        return {client_id: sorted(records) for client_id, records in found.items()}
