"""A database with valid contact methods, which tests of doctor break."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from contactsvc import doctor
from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import RulesVersion
from contactsvc.store import (
    COLLECTION,
    NORMAL_FORMS_COLLECTION,
    Collection,
    Deployment,
    Document,
    recorded_rules_of,
)
from tests.integration.service_process import ended
from tests.integration.stored import (
    LONG_AGO,
    NOON,
    PERSONAL,
    PERSONAL_DIGITS,
    document,
    phone,
    remembered_request,
)


@dataclass(frozen=True)
class CheckupResult:
    """The exit code, the JSON report and the questions of a run of doctor."""

    code: int
    lines: list[dict[str, Any]]
    questions: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[tuple[str, str]]:
        """Severity and check of each finding, without the note about the connection."""
        return [(line["severity"], line["check"]) for line in self.of("finding") if line["check"] != "database"]

    @property
    def wrong(self) -> list[dict[str, Any]]:
        """The findings that are wrong."""
        return [line for line in self.of("finding") if line["severity"] == "wrong"]

    @property
    def mendable(self) -> int:
        """The number of findings that --fix repairs."""
        count: int = self.lines[-1]["mendable"]
        return count

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of this event."""
        return [line for line in self.lines if line["event"] == event]


@dataclass(frozen=True)
class Patient:
    """A database with valid contact methods in both environments.

    Attributes:
        uri: of the deployment.
        name: of the database.
        driver: with which doctor connects.
        deployment: for what the tests write.
    """

    uri: str
    name: str
    driver: str
    deployment: Deployment

    @property
    def collection(self) -> Collection:
        """The collection of the live environment."""
        return self.deployment.driver.database(f"{self.name}_live")[COLLECTION]

    @property
    def other(self) -> Collection:
        """The collection of the test environment."""
        return self.deployment.driver.database(f"{self.name}_test")[COLLECTION]

    async def record_rules(self, version: RulesVersion | None = None) -> None:
        """Record the rules of both environments; by default those of a service without a default region."""
        for environment in Environment:
            recorded = recorded_rules_of(self.deployment, f"{self.name}_{environment}")
            await recorded.record(version or RulesVersion.current(None), NOON)

    async def forget_rules(self) -> None:
        """Make the live environment one of release 0.1.0, which recorded no rules."""
        await self.collection.database[NORMAL_FORMS_COLLECTION].delete_many({})

    async def recorded_rules(self) -> RulesVersion | None:
        """Return the recorded rules of the live environment."""
        return await recorded_rules_of(self.deployment, f"{self.name}_live").find()

    async def insert_valid(self) -> None:
        """Write valid documents of every kind."""
        await self.insert(
            document("sound", is_primary=True, verified_at=NOON, external_id="crm-1", label="Home"),
            phone("sound_phone", f"+52 {PERSONAL_DIGITS}99", f"phone:+52{PERSONAL_DIGITS}99"),
            remembered_request("remembering", datetime.now(UTC) + timedelta(hours=1)),
        )
        await self.other.insert_one(document("sound_too", is_primary=True))

    async def checked(
        self,
        settings: dict[str, str] | None = None,
        *,
        fix: bool = False,
        confirm: Callable[[str], bool] = lambda question: True,
    ) -> CheckupResult:
        """Run doctor with a JSON report."""
        flags = {"mongodb_uri": self.uri, "database": self.name, "driver": self.driver, **(settings or {})}
        printed: list[str] = []
        questions: list[str] = []

        def answer(question: str) -> bool:
            questions.append(question)
            return confirm(question)

        report = doctor.Report(printed.append, as_json=True)
        # In a thread: it runs event loops of its own.
        code = await asyncio.to_thread(doctor.run, flags, {}, fix=fix, report=report, confirm=answer)
        assert PERSONAL not in "".join(printed)
        assert PERSONAL_DIGITS not in "".join(printed)
        return CheckupResult(code, [json.loads(line) for line in printed], questions)

    async def state(self) -> Any:
        """Return all documents and indexes of both environments."""
        return [
            (await one.find({}).sort("_id").to_list(length=None), await one.index_information())
            for one in (self.collection, self.other)
        ]

    async def insert(self, *documents: Document) -> None:
        """Write documents to the live environment."""
        await self.collection.insert_many(documents)

    async def get(self, id_: str) -> Document:
        """Return a document of the live environment."""
        found = await self.collection.find_one({"_id": id_})
        assert found is not None
        return found


async def double_primary(patient: Patient) -> None:
    """Give a client three primaries of one type."""
    await patient.collection.drop_index("primary_slot")
    await patient.insert(
        document("older", client_id="client_2", is_primary=True, created_at=LONG_AGO),
        document("verified", client_id="client_2", is_primary=True, verified_at=NOON),
        document("newer", client_id="client_2", is_primary=True),
        # Of another type, and so in another slot.
        phone(
            "phone", f"+52 {PERSONAL_DIGITS}00", f"phone:+52{PERSONAL_DIGITS}00", client_id="client_2", is_primary=True
        ),
    )


async def stale_value(patient: Patient) -> None:
    """Store a normalized value from before the 1 of Mexican mobile numbers was abolished."""
    await patient.insert(
        phone("stale", f"+52 1 {PERSONAL_DIGITS}01", f"phone:+521{PERSONAL_DIGITS}01", verified_at=NOON),
    )


async def run_doctor(*flags: str, answer: str = "", **environ: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, output and errors."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", "doctor", *flags),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**clean, **environ},
    )
    assert process.stdin is not None
    process.stdin.write(answer.encode())
    process.stdin.close()
    return await ended(process)
