"""Two databases, of which one is exported and imported into the other."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contactsvc.config import Settings
from contactsvc.domain.kinds import Environment
from contactsvc.domain.listing import Filter
from contactsvc.store import COLLECTION, Collection, Deployment, Document
from contactsvc.transfer.formats import FileFormat
from contactsvc.transfer.importer import Counts, OnConflict
from contactsvc.transfer.run import export_to, import_from
from tests.conftest import DRIVER, Api
from tests.integration.stored import NOON, PERSONAL, document

NOTHING = {"created": 0, "updated": 0, "unchanged": 0, "skipped": 0, "failed": 0, "dry_run": False}

VARIED = [
    document("plain"),
    document("primary", is_primary=True, verified_at=NOON, external_id="crm-1", label='A "label", and more'),
    # Stored under lenient rules.
    document("unreadable", type="phone", value=f"ask {PERSONAL}", value_key=None, written_key=f"phone:ask {PERSONAL}"),
    # Stored under rules that have changed since.
    document("stale", type="phone", value="+52 1 55 1234 5678", value_key="phone:+5215512345678", client_id="c2"),
    document(
        "odd",
        type="other",
        value="=1+1\u2028é\u0301",
        value_key="other:=1+1\u2028é\u0301",
        metadata=["a=b=c", 'd="\n\r\0,'],
    ),
]
"""A document of every kind that an export must keep."""


@dataclass(frozen=True)
class World:
    """A database with a service on it, and another one; both empty.

    Attributes:
        uri: of the deployment.
        deployment: holds both.
        name: of the database with the service.
        other: of the other one.
        api: the service.
    """

    uri: str
    deployment: Deployment
    name: str
    other: str
    api: Api

    @staticmethod
    def new_name() -> str:
        """Return the name of a database that does not exist."""
        return f"test_{uuid.uuid4().hex[:12]}"

    @property
    def collection(self) -> Collection:
        """The collection of the service."""
        return self.deployment.driver.database(f"{self.name}_live")[COLLECTION]

    @property
    def restored(self) -> Collection:
        """The collection of the other database."""
        return self.deployment.driver.database(f"{self.other}_live")[COLLECTION]

    async def exported(self, path: Path) -> None:
        """Export the database of the service."""
        await export_to(
            path,
            Settings(mongodb_uri=self.uri, database=self.name, driver=DRIVER),
            Environment.LIVE,
            file_format=FileFormat.JSON_LINES,
            wanted=Filter(),
            on_progress=lambda done, total: None,
        )

    async def imported(self, path: Path, *, database: str = "", **options: Any) -> tuple[Counts, list[str]]:
        """Import a file into the other database; return the counts and the messages."""
        messages: list[str] = []
        whole: dict[str, Any] = {
            "environment": Environment.LIVE,
            "file_format": FileFormat.chosen(None, path.name),
            "on_conflict": OnConflict.ERROR,
            "stop_on_error": True,
            "dry_run": False,
            "on_message": messages.append,
            "on_progress": lambda done: None,
            **options,
        }
        settings = Settings(mongodb_uri=self.uri, database=database or self.other, driver=DRIVER)
        counts = await import_from(path, settings, **whole)
        assert PERSONAL not in "".join(messages)
        return counts, messages

    async def run(self, *arguments: str, database: str = "", limit: str = "") -> tuple[int, str, str]:
        """Run a command in a process of its own, by default on the database of the service."""
        process = await self.start(*arguments, database=database, limit=limit)
        out, err = await process.communicate()
        assert process.returncode is not None
        assert PERSONAL not in err.decode()
        return process.returncode, out.decode(), err.decode()

    async def run_import(self, path: Path, *flags: str) -> tuple[int, dict[str, Any], str]:
        """Run the import command on the other database; return its exit code, summary and messages."""
        code, out, err = await self.run(
            "import", str(path), "--environment", "live", "--json", *flags, database=self.other
        )
        return code, json.loads(out) if out else {}, err

    async def start(self, *arguments: str, database: str = "", limit: str = "") -> asyncio.subprocess.Process:
        """Start a command; `limit` is shell code that runs before it."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
        command = [sys.executable, "-m", "contactsvc", *arguments]
        if limit:
            command = ["sh", "-c", f'{limit}; exec "$@"', "sh", *command]
        return await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**clean, "CONTACTSVC_MONGODB_URI": self.uri, "CONTACTSVC_DATABASE": database or self.name},
        )


async def contents(collection: Collection) -> dict[str, Document]:
    """Return all records by id, without etags and requests, which a restore does not keep."""
    found = {document["_id"]: document for document in await collection.find({}).to_list(length=None)}
    for one in found.values():
        one["metadata"] = sorted(one.get("metadata", []))
    left_out = {"etag", "requests", "request_ids"}
    return {
        id_: {name: value for name, value in one.items() if name not in left_out}
        for id_, one in found.items()
        if "client_id" in one
    }
