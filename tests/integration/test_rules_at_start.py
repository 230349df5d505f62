"""The rules that normal forms were written under: when a service records them, and when it warns at its start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mongomock_motor import AsyncMongoMockClient

from contactsvc import store
from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import RulesVersion, ValueRules
from contactsvc.runtime.rules_check import warn_of_other_rules
from contactsvc.store import COLLECTION, NORMAL_FORMS_COLLECTION, Deployment, RecordedRules, recorded_rules_of
from tests.integration.stored import NOON, document, remembered_request
from tests.integration.transfer_world import World

Log = pytest.LogCaptureFixture

IN_MEXICO, IN_FRANCE = ValueRules("MX"), ValueRules("FR")
MEXICAN, FRENCH = RulesVersion.current("MX"), RulesVersion.current("FR")
OF_OLD_LIBRARY = replace(MEXICAN, phonenumbers="8.13.0")


class Database:
    """The databases of both environments."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        self.deployment = deployment
        self.name = name

    async def start(self, rules: ValueRules) -> None:
        """Do what a service does when it starts."""
        for environment in Environment:
            await self.deployment.open_store(f"{self.name}_{environment}")
        await warn_of_other_rules(self.deployment, self.name, rules)

    async def insert(self, *documents: dict[str, Any], environment: str = "live") -> None:
        """Write documents."""
        await self.deployment.driver.database(f"{self.name}_{environment}")[COLLECTION].insert_many(documents)

    def recorded(self, environment: str = "live") -> RecordedRules:
        """Return the record of an environment."""
        return recorded_rules_of(self.deployment, f"{self.name}_{environment}")


@pytest.fixture(params=["motor", "pymongo"])
async def database(request: pytest.FixtureRequest, embedded_uri: str) -> AsyncIterator[Database]:
    """Name two fresh databases, with each of the drivers."""
    deployment = await store.connect(embedded_uri, request.param)
    try:
        yield Database(deployment, World.new_name())
    finally:
        await deployment.close()


def warnings(caplog: Log) -> list[str]:
    """Return the warnings about rules so far."""
    return [record.getMessage() for record in caplog.records if record.name == "contactsvc.runtime.rules_check"]


async def test_a_new_environment_records_the_rules_of_its_first_service(database: Database, caplog: Log) -> None:
    await database.start(IN_MEXICO)
    await database.insert(document("a"))
    await database.start(IN_MEXICO)

    assert await database.recorded("live").find() == await database.recorded("test").find() == MEXICAN
    assert warnings(caplog) == []


@pytest.mark.parametrize("written_under", [FRENCH, OF_OLD_LIBRARY, replace(MEXICAN, default_region=None)], ids=str)
async def test_each_start_with_other_rules_warns_and_records_nothing(
    database: Database, caplog: Log, written_under: RulesVersion
) -> None:
    await database.start(IN_MEXICO)
    await database.recorded().record(written_under, NOON)
    await database.insert(document("a"))

    await database.start(IN_MEXICO)
    await database.start(ValueRules("MX", lenient=True))

    first, second = warnings(caplog)
    assert first == second
    assert str(written_under) in first
    assert str(MEXICAN) in first
    assert "normalized values of live were" in first
    assert "lookups by value may miss some" in first
    assert "`contactsvc doctor --fix`" in first
    assert "\n" not in first
    assert await database.recorded().find() == written_under


async def test_environments_of_the_same_rules_share_a_warning(database: Database, caplog: Log) -> None:
    await database.start(IN_MEXICO)
    for environment in Environment:
        await database.insert(document("a"), environment=environment)

    await database.start(IN_FRANCE)

    (warning,) = warnings(caplog)
    assert "normalized values of live and test were" in warning


async def test_records_of_release_0_1_0_are_of_unknown_rules(database: Database, caplog: Log) -> None:
    await database.insert(document("a"))

    await database.start(IN_MEXICO)

    (warning,) = warnings(caplog)
    assert "normalized values of live were written under are not recorded" in warning
    assert "`contactsvc doctor`" in warning
    assert await database.recorded("live").find() is None
    assert await database.recorded("test").find() == MEXICAN


async def test_without_contact_methods_the_rules_may_change(database: Database, caplog: Log) -> None:
    await database.start(IN_MEXICO)
    await database.insert(remembered_request("a", datetime.now(UTC) + timedelta(hours=1)))

    await database.start(IN_FRANCE)

    assert await database.recorded().find() == FRENCH
    assert warnings(caplog) == []


async def test_services_that_start_at_the_same_time_record_one_version(database: Database, caplog: Log) -> None:
    await asyncio.gather(*(database.start(IN_MEXICO) for _ in range(5)))

    records = database.deployment.driver.database(f"{database.name}_live")[NORMAL_FORMS_COLLECTION]
    assert await records.count_documents({}) == 1
    assert await database.recorded().find() == MEXICAN
    assert warnings(caplog) == []


async def test_a_record_that_cannot_be_read_is_none(database: Database, caplog: Log) -> None:
    await database.start(IN_MEXICO)
    await database.insert(document("a"))
    records = database.deployment.driver.database(f"{database.name}_live")[NORMAL_FORMS_COLLECTION]
    await records.update_one({}, {"$set": {"phonenumbers": 9}})

    await database.start(IN_MEXICO)

    assert len(warnings(caplog)) == 1
    assert await database.recorded().find() is None


class Unread:
    """A collection that must not be read."""

    full_name = "unread"


async def test_a_start_under_the_recorded_rules_reads_no_contact_methods(database: Database) -> None:
    await database.start(IN_MEXICO)
    records = database.deployment.driver.database(f"{database.name}_live")[NORMAL_FORMS_COLLECTION]
    unread: Any = Unread()

    assert await RecordedRules(records, unread).record_if_empty(MEXICAN, NOON) == MEXICAN


async def test_rules_are_recorded_on_mongomock() -> None:
    client: Any = AsyncMongoMockClient(tz_aware=True)
    recorded = RecordedRules(client["x"][NORMAL_FORMS_COLLECTION], client["x"][COLLECTION])

    first = await recorded.record_if_empty(MEXICAN, NOON)
    without_records = await recorded.record_if_empty(FRENCH, NOON)
    await client["x"][COLLECTION].insert_one(document("a"))
    with_records = await recorded.record_if_empty(MEXICAN, NOON)
    await recorded.record(MEXICAN, NOON)

    assert (first, without_records, with_records) == (MEXICAN, FRENCH, FRENCH)
    assert await recorded.find() == MEXICAN
